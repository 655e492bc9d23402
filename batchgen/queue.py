"""The queue as the worker sees it. The database decides; every write is fenced by a lease."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from batchgen.models import Claim, Completed, FailureVerdict, Fault, Order, Outlook, Renewal, StoredImage


class Queue(Protocol):
    """Where work comes from and results go to.

    Every method raises `QueueUnavailable` where the database cannot be reached. Writes raise `LeaseLost`
    where the lease is not held any more: drop the result.
    """

    async def claim(self, limit: int) -> Sequence[Claim]:
        """Lease up to `limit` items, fairly and within the limits that hold for all workers."""
        ...

    async def renew(self, lease_ids: Sequence[UUID]) -> Sequence[Renewal]:
        """Prolong leases from now on. One that does not come back is lost."""
        ...

    async def begin_order(self, claim: Claim, order: Order) -> UUID:
        """Write a purchase down before it is sent, and return its key: the same one until its outcome is known."""
        ...

    async def attach_provider_job(self, claim: Claim, provider: str, job_id: str) -> None:
        """Store the provider's job id before anybody waits for the job."""
        ...

    async def complete(self, claim: Claim, image: StoredImage) -> None:
        """End the item as completed, with its picture."""
        ...

    async def complete_and_claim(self, results: Sequence[tuple[Claim, StoredImage]], limit: int) -> Completed:
        """Both in one transaction: end items as completed, then lease up to `limit` others.

        A lost lease is no error here: its item is missing from the answer. Raises `InvalidRequest`, with nothing
        written or claimed, where any of the results is refused.
        """
        ...

    async def fail(self, claim: Claim, fault: Fault) -> FailureVerdict:
        """End the attempt; the database decides whether the item is tried again."""
        ...

    async def release(self, lease_ids: Sequence[UUID]) -> Sequence[UUID]:
        """Hand items back unharmed and return the leases that were still held."""
        ...

    async def discard(self, claim: Claim, *, seconds: float) -> None:
        """Have the files deleted that were stored for an item whose lease is lost, after so many seconds.

        What another worker makes of the item, or has made, stays.
        """
        ...

    async def outlook(self) -> Outlook:
        """What waits, and how soon something of it may start."""
        ...

    async def return_expired(self) -> int:
        """Take back items whose lease has ended, whoever held it; return how many."""
        ...
