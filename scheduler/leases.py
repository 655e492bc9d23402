"""The leases that this worker holds: renewed together, stopped one by one."""

import asyncio
from collections.abc import Collection, Coroutine, Sequence
from enum import StrEnum
from typing import Any, TypeVar
from uuid import UUID

import structlog

from batchgen.errors import BatchgenError
from batchgen.queue.ports import Queue
from batchgen.queue.types import Claim, Renewal
from scheduler.logs import item_fields
from scheduler.outages import QueueOutage

T = TypeVar("T")
log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

RENEWAL_SHARE = 0.3
"""Of a lease, for one renewal with all its tries: less than a third, so that two more fit into the lease."""
RETRY_SHARE = 0.03


class Stop(StrEnum):
    """Why an item stops before its end."""

    LOST = "the lease is lost"
    CANCELLED = "the user cancelled"
    SHUTDOWN = "the worker stops"


class Stopped(BatchgenError):
    """The item's work was ended by `Lease.stop`."""

    def __init__(self, reason: Stop) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Lease:
    """One leased item while this worker has it. Stops by itself when nothing prolongs it, by this machine's clock."""

    def __init__(self, claim: Claim, *, ends_at: float) -> None:
        self.claim = claim
        self.is_paid = False
        """The picture is there: a cancellation comes too late, and the result is kept."""
        self.may_order = True
        """False once the worker stops: an order whose picture only this process can have is not sent any more."""
        self.is_bound = False
        """An order was sent whose picture comes to this process alone: it is lost where the worker does not wait."""
        self.is_reporting = False
        """The attempt is over and the database is being told."""
        self.stopped: Stop | None = None
        self._stopping = asyncio.Event()
        self._work: asyncio.Task[Any] | None = None
        self._end = asyncio.get_running_loop().call_at(ends_at, self._outlive)

    @property
    def seconds_left(self) -> float:
        """Until the lease ends unless it is prolonged, by this machine's clock; below 0 where it has ended."""
        return self._end.when() - asyncio.get_running_loop().time()

    @property
    def is_held(self) -> bool:
        """By this machine's clock, which tells also where the worker was paused and has not noticed the end yet."""
        return self.stopped is not Stop.LOST and self.seconds_left > 0

    def prolong(self, ends_at: float) -> None:
        """`ends_at` is a time of the running loop's clock."""
        self._end.cancel()
        self._end = asyncio.get_running_loop().call_at(ends_at, self._outlive)

    def stop(self, reason: Stop) -> None:
        """End the item's work; the first reason counts. A report under way is not cut off."""
        if self.stopped is None:
            self.stopped = reason
            self._stopping.set()
            if self._work is not None:
                self._work.cancel()

    async def until_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` to its end. Raises `Stopped` when `stop` was called first."""
        task = self._work = asyncio.create_task(work)
        if self.stopped is not None:
            task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            if _is_being_cancelled():
                raise
            if self.stopped is None:  # else the item would count as running for ever
                raise RuntimeError("the item's work was cancelled from within") from None
            raise Stopped(self.stopped) from None
        finally:
            self._work = None

    async def pause(self, seconds: float) -> None:
        """Sleep, but not beyond a stop."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    def shorten(self, seconds: float) -> None:
        """The machine slept for so long, and the clock of this process stood still meanwhile."""
        self.prolong(self._end.when() - seconds)

    def close(self) -> None:
        """The item is settled: nothing ends it any more."""
        self._end.cancel()

    def _outlive(self) -> None:
        log.warning("lease ended before it could be renewed", **item_fields(self.claim))
        self.stop(Stop.LOST)


class Leases:
    """All leases of this worker."""

    def __init__(self, queue: Queue, *, lease_seconds: float, outage: QueueOutage | None = None) -> None:
        self._queue = queue
        self._lease_seconds = lease_seconds
        self._held: dict[UUID, Lease] = {}
        self._outage = outage or QueueOutage()

    @property
    def held(self) -> Collection[Lease]:
        return list(self._held.values())

    def hold(self, claim: Claim, *, asked_at: float) -> Lease:
        """Take charge of a claim. `asked_at`: when the claim was sent; the lease cannot end before it is counted so."""
        lease = Lease(claim, ends_at=asked_at + self._lease_seconds)
        self._held[claim.lease_id] = lease
        return lease

    def settle(self, lease: Lease) -> None:
        """Nothing is owed for this lease any more."""
        lease.close()
        self._held.pop(lease.claim.lease_id, None)

    async def renew(self) -> None:
        """Prolong all leases in one call, and stop the items whose lease did not come back.

        One that is missing from an answer with others in it is asked for again: it is lost where an answer has none.
        """
        leases: dict[UUID, Lease] = dict(self._held)
        while leases:
            try:
                async with asyncio.timeout(self._lease_seconds * RENEWAL_SHARE):
                    asked_at, renewals = await self._ask(list(leases))
            except TimeoutError as error:
                self._outage.begin("renewals", error)
                return
            self._outage.end("renewals")
            kept = {renewal.lease_id: renewal for renewal in renewals if renewal.lease_id in leases}
            self._apply(leases, kept, asked_at)
            leases = {one: lease for one, lease in self._held.items() if kept and one in leases and one not in kept}

    def drop_ended(self, slept_seconds: float = 0.0) -> int:
        """Stop the items whose lease ended while nobody was awake; return how many.

        `slept_seconds`: how long the machine slept, which the clock of this process did not count.
        """
        ended = 0
        for lease in self.held:
            if slept_seconds:
                lease.shorten(slept_seconds)
            if lease.stopped is None and lease.seconds_left <= 0:
                lease.close()
                lease.stop(Stop.LOST)
                ended += 1
        return ended

    async def _ask(self, lease_ids: list[UUID]) -> tuple[float, Sequence[Renewal]]:
        """One renewal that was answered, and when it was asked for. Tries on: the next tick may be too late."""
        while True:
            asked_at = asyncio.get_running_loop().time()
            try:
                return asked_at, await self._queue.renew(lease_ids)
            except BatchgenError as error:
                self._outage.begin("renewals", error)
                await asyncio.sleep(self._lease_seconds * RETRY_SHARE)

    def _apply(self, leases: dict[UUID, Lease], renewals: dict[UUID, Renewal], asked_at: float) -> None:
        for lease_id, lease in leases.items():
            if lease_id not in self._held:  # settled while the answer was on its way
                continue
            renewal = renewals.get(lease_id)
            if renewal is None:
                if not renewals:
                    self._lose(lease)
                continue
            lease.prolong(asked_at + self._lease_seconds)
            if renewal.cancel_requested and not lease.is_paid:
                lease.stop(Stop.CANCELLED)

    def _lose(self, lease: Lease) -> None:
        # A report that was written while the renewal was on its way ended the lease, too: nothing is wrong then.
        if lease.claim.lease_id in self._held and not lease.is_reporting:
            log.warning("lease lost, its item is stopped", **item_fields(lease.claim))
        lease.stop(Stop.LOST)


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
