"""The worker's loop: fill slots, wait for work, drain."""

import asyncio
import contextlib
from collections.abc import Callable, Generator, Sequence

import structlog

from batchgen.errors import BatchgenError, QueueUnavailable
from batchgen.queue.ports import Queue
from batchgen.queue.types import Claim
from scheduler.completions import Completions
from scheduler.draining import Drain
from scheduler.due_items import DueItems
from scheduler.leases import Leases
from scheduler.outages import QueueOutage
from scheduler.retries import RANDOM, RetryPolicy
from scheduler.runner import Runner
from scheduler.running_items import RunningItems, Tally
from scheduler.slots import Slots
from scheduler.stop_request import StopRequest
from scheduler.timing import WorkerTiming

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

ONCE_WAITS_SECONDS = 45.0
"""How long `run_once` without `max_seconds` waits after the last attempt: long enough for retries, which are due after
30 s at most by default, but not for a breaker or for providers that ask to wait again and again."""


class TicksDied(BatchgenError):
    """Leases are no longer renewed: the worker must end before it loses what it makes."""


class Worker:
    """Keeps its slots filled until it is told to stop, then hands back what it could not finish."""

    def __init__(
        self,
        *,
        queue: Queue,
        slots: Slots,
        completions: Completions,
        runner: Runner,
        leases: Leases,
        timing: WorkerTiming,
        retry_policy: RetryPolicy,
        outage: QueueOutage | None = None,
        can_store: Callable[[], bool] = lambda: True,
        dead_tick: Callable[[], str | None] = lambda: None,
        random: Callable[[], float] = RANDOM,
    ) -> None:
        self._queue = queue
        self._slots = slots
        self._leases = leases
        self._timing = timing
        self._retry_policy = retry_policy
        self._outage = outage or QueueOutage()
        self._can_store = can_store
        self._dead_tick = dead_tick
        self._random = random
        self._stop = StopRequest()
        self._items = RunningItems(runner, leases, slots)
        self._due_items = DueItems(self.wake)
        self._drain = Drain(
            queue=queue,
            leases=leases,
            items=self._items,
            completions=completions,
            timing=timing,
            retry_policy=retry_policy,
            stop=self._stop,
            random=random,
        )
        self._claims_paused_until = 0.0
        slots.serve(may_claim=self._may_claim, start=self._start)

    @property
    def running(self) -> int:
        return len(self._items)

    @property
    def tally(self) -> Tally:
        return self._items.tally

    @property
    def stopping(self) -> asyncio.Event:
        return self._stop.stopping

    async def run(self) -> None:
        """Work until `stop`, then drain. Raises what makes going on useless, after it has drained."""
        try:
            while not self._stop.is_set:
                await self.fill_slots()
                self._outage.check_key()
                self.check_ticks()
                await self.wait_for_work()
        finally:
            await self.drain()

    async def run_once(self, max_seconds: float | None = None) -> None:
        """Work until nothing runs and nothing is due before `max_seconds` are over, then drain.

        Without `max_seconds`, wait for what is due within `ONCE_WAITS_SECONDS` of the last attempt. Raises
        `QueueUnavailable` when the queue does not answer and nothing runs any more.
        """
        self._items.progress_at = self._now()
        ends_at = None if max_seconds is None else self._now() + max_seconds
        try:
            with self._ending_at(ends_at):
                while not self._stop.is_set:
                    await self.fill_slots()
                    self.check_ticks()
                    if self.is_done() and not await self._is_more_due(ends_at):
                        break
                    await self.wait_for_work()
        finally:
            await self.drain()

    def stop(self) -> None:
        """Claim nothing more and drain; called again, drain at once."""
        self._stop.ask()
        self._slots.changed.set()

    def wake(self) -> None:
        """Look at the queue soon."""
        self._slots.wake()

    async def fill_slots(self) -> int:
        """Claim as many items as there are free slots, in one call, and start each one. Returns how many.

        Claims nothing if nothing has happened since the queue had no more for this worker.
        """
        if not self._slots.has_news or not (reservation := self._slots.reserve()).slots:
            return 0
        try:
            claims = await self._queue.claim(reservation.slots)
        except Exception as error:  # no answer of the queue, whatever it holds, ends a worker
            if not isinstance(error, BatchgenError):
                log.exception("a claim met a fault of the worker itself")
            self._outage.begin("claims", error)
            self.pause_claims(self._retry_policy.pause(self._outage.failures("claims"), self._random))
            self._slots.take(None, reservation)
            return 0
        self._outage.end("claims")
        self._slots.take(claims, reservation)
        return len(claims)

    async def wait_for_work(self) -> None:
        """Wait until a slot is free, a batch arrives, the poll tick comes or the worker is stopped."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._timing.longest_wait_seconds):
                await self._slots.changed.wait()
        if not self._stop.is_set:
            await asyncio.sleep(self._timing.refill_pause_seconds)
        self._slots.changed.clear()

    async def return_expired(self) -> None:
        """Return the items of expired leases, of any worker, to the queue."""
        try:
            returned = await self._queue.return_expired()
        except BatchgenError:  # the claims of this worker report it
            return
        if returned:
            log.info("expired leases returned", count=returned)
            self.wake()

    def pause_claims(self, seconds: float) -> None:
        """Claim nothing for so long, and look at the queue then."""
        until = self._now() + seconds
        if until > self._claims_paused_until:
            self._claims_paused_until = until
            asyncio.get_running_loop().call_at(until, self.wake)

    def is_done(self) -> bool:
        """Whether nothing is due and nothing runs. Raises `QueueUnavailable` if that cannot be found out."""
        failures = self._outage.failures("claims")
        if failures >= self._timing.failed_claims and not self.running:
            raise QueueUnavailable("The project's API does not answer as it should: the line 'queue lost' says what.")
        is_idle = self._slots.is_queue_empty and not self.running and not failures
        return is_idle and not self._slots.has_news  # what ended during the claim may have made room for more

    def check_ticks(self) -> None:
        """Raises `TicksDied` if a tick no longer runs."""
        if name := self._dead_tick():
            raise TicksDied(f"The tick '{name}' is dead: the worker stops and should be started again.")

    async def drain(self) -> None:
        self._stop.stopping.set()
        await self._drain.run()

    def _may_claim(self) -> bool:
        return not self._stop.is_set and self._now() >= self._claims_paused_until and self._can_store()

    def _start(self, claims: Sequence[Claim], asked_at: float) -> None:
        """Start what was claimed, or hand it back after a stop."""
        leases = [self._leases.hold(claim, asked_at=asked_at) for claim in claims]
        if not leases:
            return
        self._due_items.stop_waiting()
        if self._stop.is_set:
            self._drain.release(leases)
            return
        for lease in leases:
            self._items.start(lease)

    async def _is_more_due(self, ends_at: float | None) -> bool:
        """Whether an item will start before the run ends; the worker is woken for it."""
        asked_at = self._now()
        try:
            outlook = await self._queue.outlook()
        except BatchgenError as error:
            log.warning("nothing is due, and what waits could not be asked", reason=str(error))
            return not self.is_done()
        if not self.is_done():  # a batch arrived meanwhile
            return True
        run_ends_at = self._items.progress_at + ONCE_WAITS_SECONDS if ends_at is None else ends_at
        return self._due_items.is_waited_for(outlook, asked_at=asked_at, run_ends_at=run_ends_at)

    @contextlib.contextmanager
    def _ending_at(self, ends_at: float | None) -> Generator[None]:
        """End the run at that time, by the loop's clock."""
        timer = None if ends_at is None else asyncio.get_running_loop().call_at(ends_at, self._end_in_time)
        try:
            yield
        finally:
            if timer:
                timer.cancel()
            self._due_items.stop_waiting()

    def _end_in_time(self) -> None:
        self._stop.end_in_time()
        self._slots.changed.set()

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
