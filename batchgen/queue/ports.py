"""The worker's interfaces to the database: the queue, the outbox of files and the open orders.

The database decides; every write is fenced by a lease.
"""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from batchgen.models import Outlook
from batchgen.queue.types import (
    Claim,
    Completed,
    DueSchedules,
    FailureVerdict,
    Fault,
    NewOrder,
    OpenOrder,
    OrderOutcome,
    Renewal,
    SchedulePlan,
    StorageDeletion,
    StoredImage,
)


class Queue(Protocol):
    """Gives out items and takes their results.

    Every method raises `QueueUnavailable` if the database cannot be reached. Writes raise `LeaseLost` if the lease is
    no longer held: drop the result.
    """

    async def claim(self, limit: int) -> Sequence[Claim]:
        """Lease up to `limit` items, fairly and within the limits of all workers together."""
        ...

    async def renew(self, lease_ids: Sequence[UUID]) -> Sequence[Renewal]:
        """Renew leases, counted from now. A lease that is missing from the answer is lost."""
        ...

    async def begin_order(self, claim: Claim, order: NewOrder) -> UUID:
        """Record an order before it is sent, and return its key: the same one until its outcome is known."""
        ...

    async def attach_provider_job(self, claim: Claim, provider: str, job_id: str) -> None:
        """Store the provider's job id. Call this before waiting for the job."""
        ...

    async def complete(self, claim: Claim, image: StoredImage) -> None:
        """End the item as completed, with its picture."""
        ...

    async def complete_and_claim(self, results: Sequence[tuple[Claim, StoredImage]], limit: int) -> Completed:
        """End items as completed, then lease up to `limit` others, in one transaction.

        A lost lease is no error here: it is missing from the answer. Raises `InvalidRequest`, with nothing written or
        claimed, if any of the results is refused.
        """
        ...

    async def fail(self, claim: Claim, fault: Fault) -> FailureVerdict:
        """End the attempt; the database decides whether the item is retried."""
        ...

    async def release(self, lease_ids: Sequence[UUID]) -> Sequence[UUID]:
        """Hand items back without using up their attempts; return the leases that were still held."""
        ...

    async def discard(self, claim: Claim, *, seconds: float, paths: Sequence[str] | None = None) -> None:
        """Delete, after `seconds`, files that were stored for an item and that no row names then.

        These are the files with the item's plain names, unless `paths` names others. The picture of another worker that
        has the item, or has completed it, stays.
        """
        ...

    async def outlook(self) -> Outlook:
        """Return what waits, and how soon the next item may start."""
        ...

    async def return_expired(self) -> int:
        """Take back items whose leases have expired, of any worker; return how many."""
        ...


class OpenOrders(Protocol):
    """Gives out open orders and takes their outcomes. Raises `QueueUnavailable` like the queue."""

    async def take(self, limit: int) -> Sequence[OpenOrder]:
        """Lease up to `limit` open orders that are due for a question to their provider."""
        ...

    async def settle(self, order: OpenOrder, outcome: OrderOutcome) -> bool:
        """Record the provider's answer; return whether the item was queued to collect its picture.

        An order that is not over is asked about again later. One whose lease is lost is left unchanged.
        """
        ...


class Outbox(Protocol):
    """The files of deleted pictures, which a worker has to remove from Storage since SQL cannot.

    Every method raises `QueueUnavailable` if the database cannot be reached.
    """

    async def take(self, limit: int) -> Sequence[StorageDeletion]:
        """Lease up to `limit` files. Another worker may take them once the leases have expired."""
        ...

    async def end(self, lease_ids: Sequence[UUID]) -> int:
        """Delete the entries of files that are gone; return how many. Lost leases are skipped."""
        ...

    async def remove_expired_images(self) -> int:
        """Delete pictures past their retention, up to a few hundred, so that their files get here; return how many."""
        ...


class Schedules(Protocol):
    """Runs the due slots of schedules. Raises `QueueUnavailable` like the queue."""

    async def run_due(self) -> DueSchedules:
        """Decide the due slots of one schedule, and return those whose next times are to be computed."""
        ...

    async def plan(self, plans: Sequence[SchedulePlan]) -> int:
        """Store computed times; return how many plans were taken. Others planned the rest, or its times were edited."""
        ...
