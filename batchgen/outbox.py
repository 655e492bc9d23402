"""The outbox of files whose rows are gone, as the worker sees it."""

from collections.abc import Sequence
from typing import Protocol
from uuid import UUID

from batchgen.models import StorageDeletion


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
