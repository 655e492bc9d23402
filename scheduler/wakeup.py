"""Wake the worker through Realtime when a batch arrives or items wait again.

The database's broadcast comes first, and the row changes later. Only a hint: polling finds whatever is missed here.
"""

import asyncio
import time
from collections.abc import Callable
from typing import Any

import structlog

from batchgen.backend.realtime import STEADY_SECONDS, Broadcasts, RowChanges, Subscription, run_best
from scheduler.outages import Outage
from scheduler.retries import RANDOM

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

SPREAD_SECONDS = 0.05
LONGEST_SPREAD_SECONDS = 0.8
"""Many workers hear of a batch at once: one that woke in vain waits longer and lets others go first."""
ANNOUNCED_SECONDS = 5
"""For so long after a broadcast, row changes of the same batch are old news."""
MOST_ANNOUNCED = 1_000


class Wakeup:
    """Calls `wake` soon after batches are inserted or items are set back to pending, once for those of one moment.

    `claimed` returns how many items the worker has ever claimed, `pause` the seconds to wait after n failures in a row.
    A subscription that ends within `steady_seconds` counts as a failure, even if the server confirmed it.
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
        self._url = f"{url}/realtime/v1"
        self._key = key
        self._wake = wake
        self._claimed = claimed
        self._pause = pause
        self._random = random
        self._steady_seconds = steady_seconds
        self._outage = Outage("Realtime does not deliver, polling goes on", "Realtime delivers again")
        self.is_listening = asyncio.Event()
        self.spread_seconds = SPREAD_SECONDS
        self._claimed_before = -1
        self._announced: dict[str, float] = {}
        self._connected_at = time.time()
        self._waking: asyncio.TimerHandle | None = None
        self._steady: asyncio.TimerHandle | None = None

    async def run(self) -> None:
        """Listen until cancelled, with a new connection whenever one ends."""
        while True:
            try:
                reason = await self.listen_once()
            except Exception as error:  # noqa: BLE001 - polling does the work anyway
                reason = type(error).__name__
            self._outage.begin(reason)
            await asyncio.sleep(self._pause(self._outage.failures))

    async def listen_once(self) -> str:
        """Connect, subscribe, and return the reason when the subscription ends."""
        try:
            return await run_best(self._make)
        finally:
            self._stop_timers()

    def _stop_timers(self) -> None:
        self.is_listening.clear()
        for timer in (self._waking, self._steady):
            if timer:
                timer.cancel()
        self._waking = self._steady = None

    def _make(self, with_broadcasts: bool, with_changes: bool) -> Subscription:
        batches = RowChanges("batch_generations", self.on_batch, "INSERT")
        items = RowChanges("image_generations", self.on_item, "UPDATE", "status=eq.pending")
        return Subscription(
            url=self._url,
            key=self._key,
            topic="batchgen-worker",
            changes=[batches, items] if with_changes else [],
            broadcasts=Broadcasts("batchgen:workers", "waiting", self.on_broadcast, self._connected_at)
            if with_broadcasts
            else None,
            on_delivering=self._on_delivering,
            on_ended=self._stop_timers,
        )

    def on_broadcast(self, news: dict[str, Any]) -> None:
        self._connected_at = time.time()
        if len(self._announced) > MOST_ANNOUNCED:
            self._announced.clear()
        self._announced |= dict.fromkeys(news.get("batch_ids", ()), time.monotonic())
        self._wake_soon()

    def on_batch(self, change: Any) -> None:
        if not self._is_announced(change):
            self._wake_soon()

    def _is_announced(self, change: Any) -> bool:
        row: dict[str, Any] = change["data"]["record"] if change else {}
        announced_at = self._announced.get(str(row.get("batch_id") or row.get("id")))
        return announced_at is not None and time.monotonic() - announced_at < ANNOUNCED_SECONDS

    def _wake_soon(self) -> None:
        if self._waking is None:
            self._adapt_spread()
            seconds = self.spread_seconds * self._random()
            self._waking = asyncio.get_running_loop().call_later(seconds, self._wake_up)

    def on_item(self, change: Any) -> None:
        """The app and admins retry with such an update; an item that a worker failed waits for its delay."""
        if not change["data"]["record"].get("retry_count"):
            self.on_batch(change)

    def _wake_up(self) -> None:
        self._waking = None
        self._wake()

    def _adapt_spread(self) -> None:
        """Double the spread if nothing was claimed since the last wake-up."""
        claimed = self._claimed()
        is_in_vain = claimed == self._claimed_before
        self.spread_seconds = min(self.spread_seconds * 2, LONGEST_SPREAD_SECONDS) if is_in_vain else SPREAD_SECONDS
        self._claimed_before = claimed

    def _on_delivering(self) -> None:
        self._connected_at = time.time()
        if self.is_listening.is_set():
            return
        if not self._outage.is_on:
            log.info("listening for new batches")
        self.is_listening.set()
        # Not at once: a server that confirms and refuses in turns would fill the log.
        self._steady = asyncio.get_running_loop().call_later(self._steady_seconds, self._outage.end)
        self._wake()
