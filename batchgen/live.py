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
        self._delivering = False
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
        failures = 0
        while True:
            self._delivering = False
            await self._one_subscription()
            failures = 0 if self._delivering else failures + 1
            await asyncio.sleep(PAUSES_SECONDS[min(failures, len(PAUSES_SECONDS) - 1)])

    async def _one_subscription(self) -> None:
        """Subscribe and stay until it breaks. Never raises: without Realtime the slow poll goes on alone."""
        self._broken.clear()
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
            log.debug("Realtime is not there: %s", type(error).__name__)
        finally:
            self._joined = None
            await _close(client, channel)

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
            self._delivering = True
            self._on_change(payload)

    def _on_state(self, state: RealtimeSubscribeStates, _error: Exception | None) -> None:
        if state is not RealtimeSubscribeStates.SUBSCRIBED:
            self._broken.set()


async def _close(client: AsyncRealtimeClient, channel: AsyncRealtimeChannel | None) -> None:
    """Close the socket and stop the timers that `AsyncRealtimeClient.close` leaves running."""
    if channel:
        channel.rejoin_timer.reset()
        channel.join_push.destroy()
    with contextlib.suppress(Exception):
        await client.close()
    await asyncio.sleep(0)  # its cancelled tasks end here
