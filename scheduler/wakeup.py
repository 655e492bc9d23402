"""Wakes the worker when a batch arrives or items wait again, through Realtime.

Only a hint: whatever is missed here, polling finds.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog
from realtime import AsyncRealtimeClient, RealtimePostgresChangesListenEvent, RealtimeSubscribeStates

from scheduler.chance import RANDOM

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

SPREAD_SECONDS = 0.05
LONGEST_SPREAD_SECONDS = 0.8
"""Many workers hear of a batch at once: one whose wake-ups come to nothing waits longer, and lets others go first."""


class Wakeup:
    """Calls `wake` soon after batches are inserted or items are set back to pending, once for those of one moment.

    `claimed` says how many items the worker has ever got, `pause` how long to wait after the n-th failure in a row.
    """

    def __init__(
        self,
        *,
        url: str,
        key: str,
        wake: Callable[[], None],
        claimed: Callable[[], int],
        pause: Callable[[int], float],
        random: Callable[[], float] = RANDOM,
    ) -> None:
        self._url = url
        self._key = key
        self._wake = wake
        self._claimed = claimed
        self._pause = pause
        self._random = random
        self.is_listening = asyncio.Event()
        self._failures = 0
        self._claimed_before = -1
        self._coming: asyncio.TimerHandle | None = None
        self.spread_seconds = SPREAD_SECONDS

    async def run(self) -> None:
        """Listen until cancelled, with a new connection whenever one ends."""
        while True:
            try:
                await self.listen_once()
            except Exception as error:  # noqa: BLE001 - polling does the work anyway
                self._note_failure(type(error).__name__)
            else:
                self._note_failure("the subscription ended")
            await asyncio.sleep(self._pause(self._failures))

    async def listen_once(self) -> None:
        """Connect, subscribe, and return when the subscription ends."""
        ended = asyncio.Event()
        client = AsyncRealtimeClient(f"{self._url}/realtime/v1", token=self._key, auto_reconnect=False, max_retries=1)

        def on_state(state: RealtimeSubscribeStates, _error: Exception | None) -> None:
            if state is not RealtimeSubscribeStates.SUBSCRIBED:
                ended.set()

        channel = client.channel("batchgen-worker")
        listen = partial(channel.on_postgres_changes, schema="public")
        listen(RealtimePostgresChangesListenEvent.Insert, self.on_batch, "batch_generations")
        listen(RealtimePostgresChangesListenEvent.Update, self.on_item, "image_generations", filter="status=eq.pending")
        try:
            await channel.subscribe(on_state)
            if not ended.is_set():
                self._note_success()
            await ended.wait()
        finally:
            self.is_listening.clear()
            if self._coming:
                self._coming.cancel()
                self._coming = None
            await _close(client)

    def on_batch(self, _change: Any) -> None:
        if self._coming is None:
            self._note_how_it_went()
            seconds = self.spread_seconds * self._random()
            self._coming = asyncio.get_running_loop().call_later(seconds, self._wake_up)

    def on_item(self, change: Any) -> None:
        """The app and admins retry by such an update; one that a worker has failed waits for its delay."""
        if not change["data"]["record"].get("retry_count"):
            self.on_batch(change)

    def _wake_up(self) -> None:
        self._coming = None
        self._wake()

    def _note_how_it_went(self) -> None:
        """Whether anything was claimed since the wake-up before."""
        claimed = self._claimed()
        is_in_vain = claimed == self._claimed_before
        self.spread_seconds = min(self.spread_seconds * 2, LONGEST_SPREAD_SECONDS) if is_in_vain else SPREAD_SECONDS
        self._claimed_before = claimed

    def _note_success(self) -> None:
        log.info("listening for new batches", failures=self._failures)
        self._failures = 0
        self.is_listening.set()
        self._wake()

    def _note_failure(self, reason: str) -> None:
        self._failures += 1
        if self._failures == 1:
            log.info("Realtime is not reachable, polling goes on", reason=reason)


async def _close(client: AsyncRealtimeClient) -> None:
    """Close the socket and leave no task behind."""
    for channel in client.get_channels():
        channel.rejoin_timer.reset()
        channel.join_push.destroy()
    await client.close()
