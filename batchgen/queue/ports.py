"""What the worker asks of the database: the queue, the outbox of files and the open orders.

The database decides; every write is fenced by a lease.
"""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from batchgen.models import Outlook
from batchgen.queue.types import (
    Claim,
    Completed,
    FailureVerdict,
    Fault,
    NewOrder,
    OpenOrder,
    OrderOutcome,
    Renewal,
    StorageDeletion,
    StoredImage,
)


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

    async def begin_order(self, claim: Claim, order: NewOrder) -> UUID:
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


class OpenOrders(Protocol):
    """Where open orders come from and what became of them goes to. Raises `QueueUnavailable` like the queue."""

    async def take(self, limit: int) -> Sequence[OpenOrder]:
        """Lease up to `limit` open orders that are due to be asked about."""
        ...

    async def settle(self, order: OpenOrder, outcome: OrderOutcome) -> bool:
        """Write down what the provider said; whether its item was queued to collect the picture.

        An order that is not over is asked about again later. One that is not leased any more is left alone.
        """
        ...


class Outbox(Protocol):
    """Where a deleted picture's file waits to be removed from Storage, which no SQL can do.

    Every method raises `QueueUnavailable` where the database cannot be reached.
    """

    async def take(self, limit: int) -> Sequence[StorageDeletion]:
        """Lease up to `limit` files. Another worker may take them when the leases have ended."""
        ...

    async def end(self, lease_ids: Sequence[UUID]) -> int:
        """The files are gone, or never were; return how many entries this ended. Lost leases are passed over."""
        ...

    async def remove_expired_images(self) -> int:
        """Put pictures that the retention setting does not keep into the outbox; return how many, a few hundred."""
        ...
