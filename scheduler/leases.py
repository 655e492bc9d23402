"""The leases of this worker: renewed together, stopped one by one."""

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
"""Share of a lease for one renewal with all its retries: under a third, so that two more renewals fit."""
RETRY_SHARE = 0.03


class Stop(StrEnum):
    """Reason to stop an item early."""

    LOST = "the lease is lost"
    CANCELLED = "the user cancelled"
    SHUTDOWN = "the worker stops"


class Stopped(BatchgenError):
    """`Lease.stop` ended the item's work."""

    def __init__(self, reason: Stop) -> None:
        super().__init__(reason.value)
        self.reason = reason


class Lease:
    """The lease of one item. Stops the item by itself when it expires by this machine's clock."""

    def __init__(self, claim: Claim, *, ends_at: float) -> None:
        self.claim = claim
        self.is_paid = False
        """The provider has made the picture: a cancellation is too late, and the picture is kept."""
        self.may_order = True
        """False once the worker stops: orders whose picture only this process can get are no longer sent."""
        self.is_bound = False
        """An order was sent whose picture only this process can get: it is lost unless the worker waits for it."""
        self.is_reporting = False
        """The attempt has ended, and its outcome is being written."""
        self.stopped: Stop | None = None
        self._stopping = asyncio.Event()
        self._work: asyncio.Task[Any] | None = None
        self._end = asyncio.get_running_loop().call_at(ends_at, self._expire)

    @property
    def seconds_left(self) -> float:
        """Seconds until the lease expires by this machine's clock; negative once it has."""
        return self._end.when() - asyncio.get_running_loop().time()

    @property
    def is_held(self) -> bool:
        """False once the lease has expired by this machine's clock, even if a suspended worker has not noticed it."""
        return self.stopped is not Stop.LOST and self.seconds_left > 0

    def prolong(self, ends_at: float) -> None:
        """Extend the lease to `ends_at`, a time of the running loop's clock."""
        self._end.cancel()
        self._end = asyncio.get_running_loop().call_at(ends_at, self._expire)

    def stop(self, reason: Stop) -> None:
        """Stop the item's work; the first reason counts. A report under way is not interrupted."""
        if self.stopped is None:
            self.stopped = reason
            self._stopping.set()
            if self._work is not None:
                self._work.cancel()

    async def until_stopped(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` to its end. Raises `Stopped` if `stop` is called first."""
        task = self._work = asyncio.create_task(work)
        if self.stopped is not None:
            task.cancel()
        try:
            return await task
        except asyncio.CancelledError:
            if _is_being_cancelled():
                raise
            if self.stopped is None:  # else the item would count as running forever
                raise RuntimeError("the item's work was cancelled from within") from None
            raise Stopped(self.stopped) from None
        finally:
            self._work = None

    async def pause(self, seconds: float) -> None:
        """Sleep for `seconds`, or until the item is stopped."""
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    def shorten(self, seconds: float) -> None:
        """Subtract a time for which the machine slept and this process's clock stood still."""
        self.prolong(self._end.when() - seconds)

    def close(self) -> None:
        """Stop the expiry timer of a settled item."""
        self._end.cancel()

    def _expire(self) -> None:
        log.warning("lease expired before it could be renewed", **item_fields(self.claim))
        self.stop(Stop.LOST)


class Leases:
    """All leases that this worker holds."""

    def __init__(self, queue: Queue, *, lease_seconds: float, outage: QueueOutage | None = None) -> None:
        self._queue = queue
        self._lease_seconds = lease_seconds
        self._held: dict[UUID, Lease] = {}
        self._outage = outage or QueueOutage()

    @property
    def held(self) -> Collection[Lease]:
        return list(self._held.values())

    def hold(self, claim: Claim, *, asked_at: float) -> Lease:
        """Hold a claim's lease. It is counted from `asked_at`, when the claim was sent, so it never counts too long."""
        lease = Lease(claim, ends_at=asked_at + self._lease_seconds)
        self._held[claim.lease_id] = lease
        return lease

    def settle(self, lease: Lease) -> None:
        """Forget a lease whose item is settled."""
        lease.close()
        self._held.pop(lease.claim.lease_id, None)

    async def renew(self) -> None:
        """Renew all leases in one call, and stop the items whose leases are lost.

        A lease that is missing from an answer is asked for again; it is lost once an answer renews none.
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
        """Stop the items whose lease expired while the process was suspended; return how many.

        `slept_seconds`: how long the machine slept, which this process's clock did not count.
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
        """Renew, retrying until answered: the next tick may be too late. Return when it was sent, and the answer."""
        while True:
            asked_at = asyncio.get_running_loop().time()
            try:
                return asked_at, await self._queue.renew(lease_ids)
            except BatchgenError as error:
                self._outage.begin("renewals", error)
                await asyncio.sleep(self._lease_seconds * RETRY_SHARE)

    def _apply(self, leases: dict[UUID, Lease], renewals: dict[UUID, Renewal], asked_at: float) -> None:
        for lease_id, lease in leases.items():
            if lease_id not in self._held:  # settled before the answer came
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
        # A report that was written during the renewal also ends the lease: then nothing is wrong.
        if lease.claim.lease_id in self._held and not lease.is_reporting:
            log.warning("lease lost, item stopped", **item_fields(lease.claim))
        lease.stop(Stop.LOST)


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
