"""Subscribe to row changes through Realtime."""

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from realtime import (
    AsyncRealtimeChannel,
    AsyncRealtimeClient,
    RealtimePostgresChangesListenEvent,
    RealtimeSubscribeStates,
)
from realtime.message import Message

from batchgen.text import printable

LONGEST_REASON = 300
TIMEOUT_SECONDS = 10
STEADY_SECONDS = 30
"""A subscription that ends earlier counts as a failure, even if the server confirmed it."""


@dataclass(frozen=True, slots=True)
class RowChanges:
    """Changes of one table in `public`, and the function to call with each."""

    table: str
    on_change: Callable[[Any], None]
    event: Literal["*", "INSERT", "UPDATE"] = "*"
    filter: str | None = None


class Subscription:
    """One subscription to row changes, with a client of its own.

    Make a new one to reconnect: realtime-py's own reconnect gives up after five tries, in a task nobody awaits.
    `on_delivering` is called when the server confirms that changes will come. It may refuse a subscription after it
    has accepted it, for example for a table that is not published.
    """

    def __init__(
        self, *, url: str, key: str, topic: str, changes: Sequence[RowChanges], on_delivering: Callable[[], None]
    ) -> None:
        self._client = AsyncRealtimeClient(url, key, auto_reconnect=False, timeout=TIMEOUT_SECONDS)
        self._topic = topic
        self._changes = changes
        self._on_delivering = on_delivering
        self._channel: AsyncRealtimeChannel | None = None
        self.is_joined = False
        self._is_confirmed = False
        self._ended = asyncio.Event()
        self._reason = "the subscription ended"

    @property
    def is_delivering(self) -> bool:
        """Whether the server has confirmed the subscription and not ended it since."""
        return self._is_confirmed and not self._ended.is_set()

    async def run(self, token: str | None = None) -> str:
        """Subscribe, wait for the subscription to end, close the client and return the reason.

        `token` is the user's; without one the key decides what is delivered. Raises what realtime-py and websockets do.
        """
        try:
            if token is not None:
                await self._client.set_auth(token)
            self._channel = self._listening_channel()
            await self._channel.subscribe(self._on_state)
            self.is_joined = True
            await self._ended.wait()
            return self._reason
        finally:
            self.is_joined = False
            self._ended.set()
            await close_client(self._client, self._channel)

    def end(self) -> None:
        self._ended.set()

    async def renew_token(self, token: str) -> bool:
        """Send a renewed token, without which the server closes the channel when the old one expires.

        Returns False before the subscription is accepted and after it has ended.
        """
        if not self.is_joined or self._channel is None:
            return False
        # Not client.set_auth: its push waits ten seconds for a reply that this event never gets.
        message = Message(topic=self._channel.topic, event="access_token", payload={"access_token": token})
        with contextlib.suppress(Exception):
            await self._client.send(message)
        return True

    def _listening_channel(self) -> AsyncRealtimeChannel:
        channel = self._client.channel(self._topic)
        for one in self._changes:
            event = RealtimePostgresChangesListenEvent(one.event)
            channel.on_postgres_changes(event, one.on_change, table=one.table, schema="public", filter=one.filter)
        return channel.on_system(self._on_system)

    def _on_system(self, payload: Any) -> None:
        if payload.extension == "postgres_changes" and not self._ended.is_set():
            self._is_confirmed = True
            self._on_delivering()

    def _on_state(self, state: RealtimeSubscribeStates, error: Exception | None) -> None:
        """Also called for a `system` message with status `error`, which may follow an accepted subscription."""
        if state is not RealtimeSubscribeStates.SUBSCRIBED:
            if error is not None:
                self._reason = printable(str(error), LONGEST_REASON) or self._reason
            self._ended.set()


async def close_client(client: AsyncRealtimeClient, channel: AsyncRealtimeChannel | None = None) -> None:
    """Close the socket and leave no task behind, even if the wait for that is cancelled."""
    closing = asyncio.create_task(_close(client, channel))
    try:
        await asyncio.shield(closing)
    except asyncio.CancelledError:
        await asyncio.wait([closing])
        raise


async def _close(client: AsyncRealtimeClient, channel: AsyncRealtimeChannel | None) -> None:
    with contextlib.suppress(Exception):
        await client.close()
    if channel:  # messages received before may have started its timers, which `close` leaves running
        channel.rejoin_timer.reset()
        channel.join_push.destroy()
    await asyncio.sleep(0)  # cancelled tasks end here
