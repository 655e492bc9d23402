"""Hints over Realtime that a batch may have changed. Nothing depends on them: they only make a watch quicker."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from uuid import UUID

from realtime import AsyncRealtimeChannel, AsyncRealtimeClient, RealtimeSubscribeStates
from realtime.message import Message
from realtime.types import RealtimePostgresChangesListenEvent

from batchgen.backend.realtime import STEADY_SECONDS, close_client, reason_of

log = logging.getLogger(__name__)

PAUSES_SECONDS = (1.0, 2.0, 5.0, 10.0, 30.0)
TIMEOUT_SECONDS = 10


class LiveChanges:
    """Sets `changed` when the batch may have changed, and whenever a subscription begins to deliver.

    A context: inside it one background task keeps a subscription alive. Every (re)connect uses a new
    client and a new channel: realtime-py's own reconnect gives up after five tries, in a task nobody awaits.
    """

    def __init__(self, *, url: str, key: str, token: Callable[[], str], batch_id: UUID, changed: asyncio.Event) -> None:
        self._url = url
        self._key = key
        self._token = token
        self._batch_id = batch_id
        self._changed = changed
        self._broken = asyncio.Event()
        self._sent_token = ""
        self._last_sign_at = time.monotonic()
        self._delivering_since: float | None = None
        self._reason = ""
        self._joined: tuple[AsyncRealtimeClient, AsyncRealtimeChannel] | None = None
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
        """Since the last event, or since the last attempt to subscribe."""
        return time.monotonic() - self._last_sign_at

    @property
    def is_delivering(self) -> bool:
        """The server has confirmed the subscription, and not refused it since."""
        return self._delivering_since is not None and not self._broken.is_set()

    def subscribe_again(self) -> None:
        self._last_sign_at = time.monotonic()
        self._broken.set()

    async def pass_token_on(self) -> None:
        """Tell the server a renewed token; without it the server closes the channel when the old one ends."""
        if self._joined is None or self._sent_token == (token := self._token()):
            return
        client, channel = self._joined
        self._sent_token = token
        # not client.set_auth: its push waits ten seconds for an answer that this event never gets
        message = Message(topic=channel.topic, event="access_token", payload={"access_token": token})
        with contextlib.suppress(Exception):
            await client.send(message)

    async def _keep_subscribed(self) -> None:
        failures, has_told = 0, False
        while True:
            reason = await self._one_subscription()
            since, self._delivering_since = self._delivering_since, None
            if since is not None:
                self._changed.set()  # what comes from now on is not told
            if since is not None and time.monotonic() - since >= STEADY_SECONDS:
                failures, has_told = 0, False
            failures += 1
            if not has_told:
                log.info("Realtime does not deliver, polling goes on: %s", reason)
                has_told = True
            await asyncio.sleep(PAUSES_SECONDS[min(failures, len(PAUSES_SECONDS)) - 1])

    async def _one_subscription(self) -> str:
        """Subscribe, stay until it breaks, and return why. Never raises: without Realtime polling goes on alone."""
        self._broken.clear()
        self._reason = "the subscription ended"
        self._last_sign_at = time.monotonic()
        client = AsyncRealtimeClient(self._url, self._key, auto_reconnect=False, timeout=TIMEOUT_SECONDS)
        channel: AsyncRealtimeChannel | None = None
        try:
            self._sent_token = self._token()
            await client.set_auth(self._sent_token)
            channel = self._channel(client)
            await channel.subscribe(self._on_state)
            self._joined = (client, channel)
            await self._broken.wait()
        except Exception as error:  # noqa: BLE001 - whatever websockets and realtime raise; a hint must not end a watch
            return type(error).__name__
        else:
            return self._reason
        finally:
            self._joined = None
            await close_client(client, channel)

    def _channel(self, client: AsyncRealtimeClient) -> AsyncRealtimeChannel:
        channel = client.channel(f"batch_{self._batch_id}")
        for table, column in (("batch_generations", "id"), ("image_generations", "batch_id")):
            channel.on_postgres_changes(
                RealtimePostgresChangesListenEvent.All,
                self._on_change,
                table=table,
                schema="public",
                filter=f"{column}=eq.{self._batch_id}",
            )
        return channel.on_system(self._on_system)

    def _on_change(self, _payload: Any) -> None:
        self._last_sign_at = time.monotonic()
        self._changed.set()

    def _on_system(self, payload: Any) -> None:
        if payload.extension == "postgres_changes":  # "Subscribed to PostgreSQL": from now on events come
            self._delivering_since = self._delivering_since or time.monotonic()
            self._on_change(payload)

    def _on_state(self, state: RealtimeSubscribeStates, error: Exception | None) -> None:
        """A `system` message with status `error` arrives here, too, after a subscription that was taken."""
        if state is not RealtimeSubscribeStates.SUBSCRIBED:
            self._reason = reason_of(error) or self._reason
            self._broken.set()
