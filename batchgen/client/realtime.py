"""Hints over Realtime that a batch may have changed. They only make a watch faster; nothing depends on them."""

import asyncio
import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from batchgen.backend.realtime import STEADY_SECONDS, RowChanges, Subscription

log = logging.getLogger(__name__)

PAUSES_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)


class LiveChanges:
    """Sets `changed` when the batch may have changed, and whenever a subscription begins to deliver.

    A context manager with a background task that keeps a subscription alive.
    """

    def __init__(self, *, url: str, key: str, token: Callable[[], str], batch_id: UUID, changed: asyncio.Event) -> None:
        self._url = url
        self._key = key
        self._token = token
        self._batch_id = batch_id
        self._changed = changed
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
        tables = (("batch_generations", "id"), ("image_generations", "batch_id"))
        self._subscription = Subscription(
            url=self._url,
            key=self._key,
            topic=f"batch_{self._batch_id}",
            changes=[
                RowChanges(table, self._on_change, filter=f"{column}=eq.{self._batch_id}") for table, column in tables
            ],
            on_delivering=self._on_delivering,
        )
        try:
            self._sent_token = self._token()
            return await self._subscription.run(self._sent_token)
        except Exception as error:  # noqa: BLE001 - whatever websockets and realtime raise; a hint must not end a watch
            return type(error).__name__

    def _on_change(self, _payload: Any) -> None:
        self._last_event_at = time.monotonic()
        self._changed.set()

    def _on_delivering(self) -> None:
        self._delivering_since = self._delivering_since or time.monotonic()
        self._on_change(None)
