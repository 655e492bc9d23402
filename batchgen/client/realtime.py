"""Hints over Realtime that a batch may have changed. They only make a watch faster; nothing depends on them."""

import asyncio
import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from batchgen.backend.realtime import STEADY_SECONDS, Broadcasts, RowChanges, Subscription, run_best

log = logging.getLogger(__name__)

PAUSES_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)


class LiveChanges:
    """Sets `changed` when the batch may have changed, and whenever a subscription begins to deliver.

    A context manager with a background task that keeps a subscription alive: to broadcasts on the owner's topic and to
    row changes. A row change that a broadcast has announced is not reported again. Without `owner_id`, or if the server
    refuses the private topic, there are only row changes.
    """

    def __init__(self, *, url: str, key: str, token: Callable[[], str], batch_id: UUID, changed: asyncio.Event) -> None:
        self._url = url
        self._key = key
        self._token = token
        self._batch_id = batch_id
        self._changed = changed
        self.owner_id: UUID | None = None
        self._announced: dict[str, Any] = {}
        self._connected_at = time.time()
        self._sent_token = ""
        self._last_event_at = time.monotonic()
        self._delivering_since: float | None = None
        self._subscription: Subscription | None = None
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._keep_subscribed(), name=f"watch {self._batch_id}")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task:
            self._task.cancel()
            await asyncio.wait([self._task])

    @property
    def silent_seconds(self) -> float:
        """Seconds since the last event or the last attempt to subscribe."""
        return time.monotonic() - self._last_event_at

    @property
    def is_delivering(self) -> bool:
        """Whether the server has confirmed the subscription and not ended it since."""
        return self._subscription is not None and self._subscription.is_delivering

    def subscribe_again(self) -> None:
        self._last_event_at = time.monotonic()
        if self._subscription:
            self._subscription.end()

    async def renew_token(self) -> None:
        """Send a renewed token to the server, which otherwise closes the channel when the old one expires."""
        subscription, token = self._subscription, self._token()
        if subscription and token != self._sent_token and await subscription.renew_token(token):
            self._sent_token = token

    async def _keep_subscribed(self) -> None:
        failures, is_logged = 0, False
        while True:
            reason = await self._one_subscription()
            since, self._delivering_since = self._delivering_since, None
            if since is not None:
                self._changed.set()  # further changes are not delivered
            if since is not None and time.monotonic() - since >= STEADY_SECONDS:
                failures, is_logged = 0, False
            failures += 1
            if not is_logged:
                log.info("Realtime does not deliver, polling goes on: %s", reason)
                is_logged = True
            await asyncio.sleep(PAUSES_SECONDS[min(failures, len(PAUSES_SECONDS)) - 1])

    async def _one_subscription(self) -> str:
        """Subscribe, wait until the subscription ends, and return the reason. Never raises, since polling goes on."""
        self._last_event_at = time.monotonic()
        try:
            self._sent_token = self._token()
            if self.owner_id is None:
                return await self._make(False, True).run(self._sent_token)
            return await run_best(self._make, self._sent_token)
        except Exception as error:  # noqa: BLE001 - whatever websockets and realtime raise; a hint must not end a watch
            return type(error).__name__

    def _make(self, with_broadcasts: bool, with_changes: bool) -> Subscription:
        tables = (("batch_generations", "id"), ("image_generations", "batch_id")) if with_changes else ()
        self._subscription = Subscription(
            url=self._url,
            key=self._key,
            topic=f"batch_{self._batch_id}",
            changes=[
                RowChanges(table, self._on_row, filter=f"{column}=eq.{self._batch_id}") for table, column in tables
            ],
            broadcasts=Broadcasts(f"user:{self.owner_id}", "changed", self._on_broadcast, self._connected_at)
            if with_broadcasts
            else None,
            on_delivering=self._on_delivering,
        )
        return self._subscription

    def _on_broadcast(self, news: dict[str, Any]) -> None:
        self._connected_at = time.time()
        if news.get("batch_id") == str(self._batch_id):
            self._announced |= {str(item.get("id")): item.get("status") for item in news.get("items", ())}
            self._announced[str(self._batch_id)] = _totals(news)
            self._on_change(news)

    def _on_row(self, change: Any) -> None:
        row: dict[str, Any] = change["data"].get("record") or {}
        state = _totals(row) if row.get("id") == str(self._batch_id) else row.get("status")
        if row and self._announced.get(str(row.get("id"))) == state:
            self._last_event_at = time.monotonic()
        else:
            self._on_change(change)

    def _on_change(self, _payload: Any) -> None:
        self._last_event_at = time.monotonic()
        self._changed.set()

    def _on_delivering(self) -> None:
        self._connected_at = time.time()
        self._delivering_since = self._delivering_since or time.monotonic()
        self._on_change(None)


def _totals(batch: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(batch.get(name) for name in ("status", "total_count", "completed_count", "failed_count"))
