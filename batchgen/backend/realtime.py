"""Subscribe to broadcasts and row changes through Realtime."""

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
from realtime.types import RealtimeChannelOptions

from batchgen.text import printable

LONGEST_REASON = 300
TIMEOUT_SECONDS = 10
CONFIRMED_SECONDS = 3
"""A server that does not confirm broadcasts within this time knows no private topics, or does not read the database."""
STEADY_SECONDS = 30
"""A subscription that ends earlier counts as a failure, even if the server confirmed it."""
MOST_REPLAYED = 25
"""Messages that the server sends again at most."""


@dataclass(frozen=True, slots=True)
class RowChanges:
    """Changes of one table in `public`, and the function to call with each."""

    table: str
    on_change: Callable[[Any], None]
    event: Literal["*", "INSERT", "UPDATE"] = "*"
    filter: str | None = None


@dataclass(frozen=True, slots=True)
class Broadcasts:
    """Messages of a private topic with this event, and the function to call with each payload.

    Messages sent since `since` (seconds since 1970), such as during a reconnect, are sent again.
    """

    topic: str
    event: str
    on_message: Callable[[dict[str, Any]], None]
    since: float


class Subscription:
    """One subscription to broadcasts, row changes or both, with a client of its own.

    Make a new one to reconnect: realtime-py's own reconnect gives up after five tries, in a task nobody awaits.
    `on_delivering` is called when the server confirms that messages or changes will come. It may refuse a subscription
    after it has accepted it, for example for a table that is not published; then `on_ended` is called.
    """

    def __init__(
        self,
        *,
        url: str,
        key: str,
        topic: str,
        changes: Sequence[RowChanges],
        on_delivering: Callable[[], None],
        on_ended: Callable[[], None] = lambda: None,
        broadcasts: Broadcasts | None = None,
    ) -> None:
        """`topic` is that of a channel for changes alone; with `broadcasts`, their topic is used."""
        self._client = AsyncRealtimeClient(url, key, auto_reconnect=False, timeout=TIMEOUT_SECONDS)
        self._topic = broadcasts.topic if broadcasts else topic
        self._changes = changes
        self._broadcasts = broadcasts
        self._on_delivering = on_delivering
        self._on_ended = on_ended
        self._channel: AsyncRealtimeChannel | None = None
        self.is_joined = False
        self.was_refused = False
        """Whether the server refused the channel, or did not answer."""
        self.lost_changes = False
        """Whether it ended because the server refused the changes."""
        self._is_accepted = False
        self._is_confirmed = False
        self._settled = asyncio.Event()  # confirmed or ended
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
            if not self._changes:
                async with asyncio.timeout(CONFIRMED_SECONDS):
                    await self._settled.wait()
            await self._ended.wait()
            return self._reason
        except TimeoutError:
            return "the server did not confirm that it delivers broadcasts"
        finally:
            self.is_joined = False
            self._ended.set()
            await close_client(self._client, self._channel)

    def end(self) -> None:
        self._ended.set()
        self._settled.set()
        self._on_ended()

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
        channel = self._client.channel(self._topic, self._options())
        if self._broadcasts:
            on_message = self._broadcasts.on_message
            channel.on_broadcast(self._broadcasts.event, lambda message: on_message(message["payload"]))
        for one in self._changes:
            event = RealtimePostgresChangesListenEvent(one.event)
            channel.on_postgres_changes(event, one.on_change, table=one.table, schema="public", filter=one.filter)
        return channel.on_system(self._on_system)

    def _options(self) -> RealtimeChannelOptions | None:
        if self._broadcasts is None:
            return None
        since = int(self._broadcasts.since * 1000)
        return {
            "config": {
                "broadcast": {
                    "ack": False,
                    "self": False,
                    "replay": {"since": since, "limit": MOST_REPLAYED},
                    "replication_ready": True,
                },
                "presence": {"key": "", "enabled": False},
                "private": True,
            }
        }

    def _on_system(self, payload: Any) -> None:
        confirms = (self._changes and payload.extension == "postgres_changes") or (
            self._broadcasts and payload.extension == "system"
        )
        if confirms and not self._ended.is_set():
            self._is_confirmed = True
            self._settled.set()
            self._on_delivering()

    def _on_state(self, state: RealtimeSubscribeStates, error: Exception | None) -> None:
        """Also called for a `system` message with status `error`, which may follow an accepted subscription."""
        if state is RealtimeSubscribeStates.SUBSCRIBED:
            self._is_accepted = True
            return
        if error is not None:
            self._reason = printable(str(error), LONGEST_REASON) or self._reason
        self.was_refused = not self._is_accepted
        self.lost_changes = self._is_accepted and "postgres_changes" in str(error)
        self.end()


async def run_best(make: Callable[[bool, bool], Subscription], token: str | None = None) -> str:
    """Run a subscription to broadcasts and changes. If the server refuses one of them, run one to the other alone.

    `make` gets whether broadcasts and whether changes are wanted. Returns the reason of the end.
    """
    both = make(True, True)
    reason = await both.run(token)
    if both.was_refused:
        return await make(False, True).run(token)
    if both.lost_changes:
        alone = await make(True, False).run(token)
        return f"{reason}; {alone}" if alone not in reason else reason
    return reason


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
