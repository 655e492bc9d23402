"""The worker: fill slots, wait, drain."""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from contextvars import copy_context
from dataclasses import dataclass

import structlog

from batchgen.errors import BatchgenError, QueueUnavailable
from batchgen.queue.ports import Queue
from batchgen.queue.types import Claim
from scheduler.completions import Completions
from scheduler.leases import Lease, Leases, Stop
from scheduler.logs import item_fields
from scheduler.outages import QueueOutage
from scheduler.retries import RANDOM, RetryPolicy
from scheduler.runner import Failed, Outcome, Released, RetryLater, Runner, Succeeded
from scheduler.slots import Slots

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

HURRIED_LAST_WORDS_SECONDS = 1.0
LONGEST_WAKE_SECONDS = 86_400.0
WAKE_MARGIN_SECONDS = 0.05
"""A pause is over by the database's clock a moment after the call that told of it returned."""
ONCE_WAITS_SECONDS = 45.0
"""How long a run without an end of its own waits after the last attempt that ended: for retries, the longest of which
are due after 30 s by default, and not for a breaker or for providers that ask to wait again and again."""
SHORTEST_LOOK_SECONDS = 1.0
"""Between two looks at what should be due by now, and is not given out."""


class TicksDied(BatchgenError):
    """Leases are not renewed any more: better no worker than one that loses what it makes."""


@dataclass(frozen=True, slots=True)
class Pace:
    """The worker's times."""

    grace_seconds: float = 30
    refill_pause_seconds: float = 0.02
    """Items that end within this time are replaced by one claim."""
    longest_wait_seconds: float = 30
    """The worker looks up after this time even where no tick beats, to notice just that."""
    last_words_seconds: float = 20
    """How long stopped items may finish what they are just telling the database."""
    failed_claims: int = 3
    """`run_once` gives up after so many in a row."""


@dataclass(slots=True)
class Tally:
    """What became of this run's items."""

    completed: int = 0
    failed: int = 0
    retried: int = 0
    left: int = 0

    def count(self, outcome: Outcome) -> None:
        match outcome:
            case Succeeded():
                self.completed += 1
            case Failed():
                self.failed += 1
            case RetryLater():
                self.retried += 1
            case Released():
                self.left += 1


class Worker:
    """Keeps its slots filled until it is told to stop, and hands back what it could not finish."""

    def __init__(
        self,
        *,
        queue: Queue,
        slots: Slots,
        completions: Completions,
        runner: Runner,
        leases: Leases,
        pace: Pace,
        retry_policy: RetryPolicy,
        outage: QueueOutage | None = None,
        can_store: Callable[[], bool] = lambda: True,
        dead_tick: Callable[[], str | None] = lambda: None,
        random: Callable[[], float] = RANDOM,
    ) -> None:
        self.tally = Tally()
        self._queue = queue
        self._slots = slots
        self._runner = runner
        self._leases = leases
        self._pace = pace
        self._retry_policy = retry_policy
        self._can_store = can_store
        self._dead_tick = dead_tick
        self._random = random
        self._items: dict[asyncio.Task[None], Lease] = {}
        self._completions = completions
        self._releases: set[asyncio.Task[None]] = set()
        self._outage = outage or QueueOutage()
        self._context = copy_context()
        self._is_time_over = False
        self._not_before = 0.0
        self._progress_at = 0.0
        """When an attempt last ended that was not put off by its provider."""
        self._due: asyncio.TimerHandle | None = None
        """Wakes a run that has nothing to do but to wait for what is due soon."""
        self._wake = asyncio.Event()
        self._stopping = asyncio.Event()
        self._told = asyncio.Event()
        """Somebody wants the process gone; otherwise a run that stops has come to the end of its time."""
        self._hurry = asyncio.Event()
        slots.may_claim, slots.start = self._may_claim, self._start_all

    @property
    def running(self) -> int:
        return len(self._items)

    async def run(self) -> None:
        """Work until `stop`, then drain. Raises what makes going on useless, after it has drained."""
        try:
            while not self._stopping.is_set():
                await self.fill_slots()
                self._outage.check_key()
                self.check_ticks()
                await self.wait_for_work()
        finally:
            await self.drain()

    async def run_once(self, max_seconds: float | None = None) -> None:
        """Work until nothing runs and nothing is due before `max_seconds` are over; then drain.

        Without `max_seconds` what is due within `ONCE_WAITS_SECONDS` of the last attempt is waited for. Raises
        `QueueUnavailable` when the queue does not answer and nothing runs any more.
        """
        self._progress_at = self._now()
        ends_at = None if max_seconds is None else self._now() + max_seconds
        ending = None if ends_at is None else asyncio.get_running_loop().call_at(ends_at, self._end_in_time)
        try:
            while not self._stopping.is_set():
                await self.fill_slots()
                self.check_ticks()
                if self.is_done() and not await self._is_more_due(ends_at):
                    break
                await self.wait_for_work()
        finally:
            for timer in (ending, self._due):
                if timer:
                    timer.cancel()
            await self.drain()

    async def _is_more_due(self, ends_at: float | None) -> bool:
        """Whether something is to start before the run ends; the worker is woken for it. Says so once, or why not."""
        asked_at = self._now()
        try:
            outlook = await self._queue.outlook()
        except BatchgenError as error:
            log.warning("nothing is due, and what waits could not be asked", reason=str(error))
            return not self.is_done()
        if not self.is_done():  # a batch arrived meanwhile
            return True
        seconds = outlook.due_in_seconds
        last = self._progress_at + ONCE_WAITS_SECONDS if ends_at is None else ends_at
        if seconds is None or asked_at + seconds >= last:
            log.info("nothing more is due", **outlook.model_dump(exclude_defaults=True))
            return False
        if self._due is None:
            log.info("waiting for what is due soon", **outlook.model_dump(exclude_defaults=True))
        else:
            self._due.cancel()
        due_at = self._now() + max(seconds + WAKE_MARGIN_SECONDS, SHORTEST_LOOK_SECONDS if seconds == 0 else 0)
        self._due = asyncio.get_running_loop().call_at(due_at, self.wake)
        return True

    @property
    def stopping(self) -> asyncio.Event:
        return self._stopping

    def stop(self) -> None:
        """Claim nothing more and drain; called again, drain at once."""
        if self._told.is_set():
            self._hurry.set()
        self._told.set()
        self._stopping.set()
        self._wake.set()

    def _end_in_time(self) -> None:
        self._is_time_over = True
        self._stopping.set()
        self._wake.set()

    def wake(self) -> None:
        """Look at the queue soon."""
        self._slots.note_news()
        self._wake.set()

    async def fill_slots(self) -> int:
        """Claim as many items as there are free slots, in one call, and start each one. Returns how many.

        Asks for nothing where nothing has happened since the queue had no more for this worker.
        """
        if not self._slots.has_news or not (reservation := self._slots.reserve()).slots:
            return 0
        try:
            claims = await self._queue.claim(reservation.slots)
        except Exception as error:  # no answer, whatever it holds, ends a worker
            if not isinstance(error, BatchgenError):
                log.exception("a claim met a fault of the worker itself")
            self._outage.begin("claims", error)
            self.hold_claims(self._retry_policy.pause(self._outage.failures("claims"), self._random))
            self._slots.take(None, reservation)
            return 0
        self._outage.end("claims")
        self._slots.take(claims, reservation)
        return len(claims)

    def _may_claim(self) -> bool:
        return not self._stopping.is_set() and self._now() >= self._not_before and self._can_store()

    def _start_all(self, claims: Sequence[Claim], asked_at: float) -> None:
        """Start what was claimed, or hand it back after a stop."""
        if claims and self._due:
            self._due.cancel()
            self._due = None
        late: list[Lease] = []
        for claim in claims:
            lease = self._leases.hold(claim, asked_at=asked_at)
            if self._stopping.is_set():
                late.append(lease)
            else:
                self._start(lease)
        if late:
            release = asyncio.create_task(self._release(late))
            self._releases.add(release)
            release.add_done_callback(self._releases.discard)

    async def wait_for_work(self) -> None:
        """Until a slot is free, a batch arrives, the poll tick beats or the worker is stopped."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._pace.longest_wait_seconds):
                await self._wake.wait()
        if not self._stopping.is_set():
            await asyncio.sleep(self._pace.refill_pause_seconds)
        self._wake.clear()

    async def return_expired(self) -> None:
        """Take back what other workers lost."""
        try:
            returned = await self._queue.return_expired()
        except BatchgenError:  # the claims of the same worker tell of it
            return
        if returned:
            log.info("expired leases returned", count=returned)
            self.wake()

    def hold_claims(self, seconds: float) -> None:
        """Claim nothing for so long, and look at the queue then."""
        until = self._now() + seconds
        if until > self._not_before:
            self._not_before = until
            asyncio.get_running_loop().call_at(until, self.wake)

    def is_done(self) -> bool:
        """Whether nothing is due and nothing runs. Raises `QueueUnavailable` where that cannot be found out."""
        failures = self._outage.failures("claims")
        if failures >= self._pace.failed_claims and not self.running:
            raise QueueUnavailable("The project's API does not answer as it should: the line 'queue lost' says what.")
        is_idle = self._slots.is_queue_empty and not self.running and not failures
        return is_idle and not self._slots.has_news  # what ended during the claim may have made room for more

    def check_ticks(self) -> None:
        """Raises `TicksDied` where something that must recur does not."""
        if name := self._dead_tick():
            raise TicksDied(f"The tick '{name}' is dead: the worker stops and should be started again.")

    async def drain(self) -> None:
        """Give running items the grace time, then stop them and hand their leases back.

        At the end of a run's time, orders whose pictures would be lost with this process are waited for, until they
        end or `stop` is called.
        """
        self._stopping.set()
        for lease in self._leases.held:
            lease.may_order = False
        if self._items:
            log.info("draining", running=self.running, grace_seconds=self._pace.grace_seconds)
            if self._is_time_over:
                await self._wait_for(self._items, self._pace.grace_seconds, unless=self._told)
                if any(lease.is_bound for lease in self._items.values()) and not self._told.is_set():
                    await self.hand_back(but_bound=True)
                    await self._wait_for_bound_items()
            if self._told.is_set() or not self._is_time_over:
                await self._wait_for(self._items, self._pace.grace_seconds, unless=self._hurry)
        await self.hand_back()

    async def _wait_for_bound_items(self) -> None:
        """Each of them ends by itself, by the item's timeout at the latest."""
        bound = [item for item, lease in self._items.items() if lease.is_bound]
        log.info("waiting for orders whose pictures no other worker can have", orders=len(bound))
        await self._wait_for(bound, None, unless=self._told)

    async def hand_back(self, *, but_bound: bool = False) -> None:
        """Stop what runs and release its leases in one call; `but_bound`: not those whose pictures would be lost."""
        leases = [lease for lease in self._leases.held if not (but_bound and lease.is_bound)]
        items = [item for item, lease in self._items.items() if lease in leases]
        for lease in leases:
            lease.stop(Stop.SHUTDOWN)
        await self._wait_for(items, self._pace.last_words_seconds, unless=self._hurry)
        if items and self._hurry.is_set():
            await asyncio.wait(items, timeout=HURRIED_LAST_WORDS_SECONDS)
        for item in items:
            item.cancel()
        await asyncio.gather(*items, return_exceptions=True)
        await self._completions.settled(
            HURRIED_LAST_WORDS_SECONDS if self._hurry.is_set() else self._pace.last_words_seconds
        )
        await asyncio.gather(*self._releases)
        if left := [lease for lease in self._leases.held if lease in leases]:
            await self._release(left)

    def _start(self, lease: Lease) -> None:
        # in the worker's context: where an item's end brings this one, its lines must not carry that item's fields
        name, context = f"generation {lease.claim.generation_id}", self._context.copy()
        item = asyncio.create_task(self._run_item(lease), name=name, context=context)
        self._items[item] = lease
        self._slots.running = len(self._items)
        item.add_done_callback(self._forget)

    async def _run_item(self, lease: Lease) -> None:
        structlog.contextvars.bind_contextvars(**item_fields(lease.claim))
        try:
            outcome = await self._runner.run(lease)
        except Exception:
            # The lease runs out, and the item counts as crashed: it may be the item that does this to its workers.
            log.exception("item stopped by a fault of the worker itself, others go on")
            self._leases.settle(lease)
            self._slots.note_news()
            return
        self.tally.count(outcome)
        if not isinstance(outcome, RetryLater) or outcome.fault.retry_after_seconds is None:
            self._progress_at = self._now()
        if not isinstance(outcome, Succeeded):  # a success has asked for the next item itself
            self._slots.note_news()
        if outcome != Released(Stop.SHUTDOWN):
            self._leases.settle(lease)
        if isinstance(outcome, RetryLater) and (wait := outcome.in_seconds) is not None:
            # The poll would find it, too, but later.
            asyncio.get_running_loop().call_later(min(wait, LONGEST_WAKE_SECONDS) + WAKE_MARGIN_SECONDS, self.wake)

    def _forget(self, item: asyncio.Task[None]) -> None:
        self._items.pop(item, None)
        self._slots.running = len(self._items)
        self._wake.set()

    async def _wait_for(
        self, items: Iterable[asyncio.Task[None]], seconds: float | None, *, unless: asyncio.Event
    ) -> None:
        """Until all of these ended, but no longer than `seconds`, and not where or when `unless` is set."""
        if not (items := list(items)):
            return
        unless_set = asyncio.create_task(unless.wait())
        everything = asyncio.gather(*items, return_exceptions=True)
        try:
            await asyncio.wait([unless_set, everything], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            unless_set.cancel()

    async def _release(self, leases: list[Lease]) -> None:
        for tries in range(1, 4):
            try:
                released = await self._queue.release([lease.claim.lease_id for lease in leases])
            except BatchgenError as error:
                log.warning("leases not handed back yet", leases=len(leases), reason=str(error))
                await asyncio.sleep(self._retry_policy.pause(tries, self._random) / 2)
            else:
                break
        else:
            log.error("leases not handed back: they end by themselves", leases=len(leases))
            released = []
        for lease in leases:
            if lease.claim.lease_id in released:
                log.info("item handed back", **item_fields(lease.claim))
            self._leases.settle(lease)

    def _now(self) -> float:
        return asyncio.get_running_loop().time()
