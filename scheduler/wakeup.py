"""Wakes the worker when a batch arrives or items wait again, through Realtime.

Only a hint: whatever is missed here, polling finds.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import structlog
from realtime import AsyncRealtimeClient, RealtimePostgresChangesListenEvent, RealtimeSubscribeStates

from batchgen.backend.realtime import STEADY_SECONDS, close_client, reason_of
from scheduler.retries import RANDOM

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

SPREAD_SECONDS = 0.05
LONGEST_SPREAD_SECONDS = 0.8
"""Many workers hear of a batch at once: one whose wake-ups come to nothing waits longer, and lets others go first."""


class Wakeup:
    """Calls `wake` soon after batches are inserted or items are set back to pending, once for those of one moment.

    `claimed` says how many items the worker has ever got, `pause` how long to wait after the n-th failure in a row.
    A subscription that ends within `steady_seconds` counts as a failure, too, however often the server confirms it.
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
        steady_seconds: float = STEADY_SECONDS,
    ) -> None:
        self._url = url
        self._key = key
        self._wake = wake
        self._claimed = claimed
        self._pause = pause
        self._random = random
        self._steady_seconds = steady_seconds
        self.is_listening = asyncio.Event()
        self._failures = 0
        self._claimed_before = -1
        self._coming: asyncio.TimerHandle | None = None
        self._steady: asyncio.TimerHandle | None = None
        self.spread_seconds = SPREAD_SECONDS

    async def run(self) -> None:
        """Listen until cancelled, with a new connection whenever one ends."""
        while True:
            try:
                reason = await self.listen_once()
            except Exception as error:  # noqa: BLE001 - polling does the work anyway
                reason = type(error).__name__
            self._note_failure(reason)
            await asyncio.sleep(self._pause(self._failures))

    async def listen_once(self) -> str:
        """Connect, subscribe, and return when the subscription ends, with the reason.

        It listens once the server says so: a subscription that is taken may still be refused by a `system` message
        with status `error`, as for a table that is not published.
        """
        ended = asyncio.Event()
        reasons: list[str] = []
        client = AsyncRealtimeClient(f"{self._url}/realtime/v1", token=self._key, auto_reconnect=False, max_retries=1)

        def on_state(state: RealtimeSubscribeStates, error: Exception | None) -> None:
            if state is not RealtimeSubscribeStates.SUBSCRIBED:
                reasons.append(reason_of(error) or "the subscription ended")
                self.is_listening.clear()
                ended.set()

        def on_system(payload: Any) -> None:
            if payload.extension == "postgres_changes" and not ended.is_set() and not self.is_listening.is_set():
                self._note_success()

        channel = client.channel("batchgen-worker")
        listen = partial(channel.on_postgres_changes, schema="public")
        listen(RealtimePostgresChangesListenEvent.Insert, self.on_batch, "batch_generations")
        listen(RealtimePostgresChangesListenEvent.Update, self.on_item, "image_generations", filter="status=eq.pending")
        try:
            await channel.on_system(on_system).subscribe(on_state)
            await ended.wait()
            return reasons[0]
        finally:
            self.is_listening.clear()
            for timer in (self._coming, self._steady):
                if timer:
                    timer.cancel()
            self._coming = self._steady = None
            await close_client(client, channel)

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
        if not self._failures:
            log.info("listening for new batches")
        self.is_listening.set()
        self._steady = asyncio.get_running_loop().call_later(self._steady_seconds, self._note_steady)
        self._wake()

    def _note_steady(self) -> None:
        """Not before: a server that confirms and refuses in turns would fill the log."""
        if self._failures:
            log.info("Realtime delivers again", failed_calls=self._failures)
        self._failures = 0

    def _note_failure(self, reason: str) -> None:
        self._failures += 1
        if self._failures == 1:
            log.warning("Realtime does not deliver, polling goes on", reason=reason)
