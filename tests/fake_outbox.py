"""An outbox and a Storage in memory. The outbox passes the same contract tests as the real one."""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count
from uuid import UUID, uuid4

from batchgen.errors import InvalidRequest, QueueUnavailable, StorageError
from batchgen.queue.types import StorageDeletion


@dataclass
class Entry:
    bucket_id: str
    path: str
    lease_id: UUID | None = None
    lease_ends_at: float = 0


class FakeOutbox:
    """`expired`: numbers of pictures that the retention finds, one per call. `is_down` makes every call fail."""

    def __init__(self, *, lease_seconds: float = 60) -> None:
        self.entries: dict[int, Entry] = {}
        self.lease_seconds = lease_seconds
        self.expired: list[int] = []
        self.calls: list[str] = []
        self.is_down = False
        self._ids = count(1)

    def add(self, *paths: str, bucket: str = "pictures") -> None:
        self.entries |= {next(self._ids): Entry(bucket, path) for path in paths}

    def end_leases(self) -> None:
        for entry in self.entries.values():
            entry.lease_ends_at = 0

    async def take(self, limit: int) -> Sequence[StorageDeletion]:
        await self._called("take")
        free = [(key, entry) for key, entry in self.entries.items() if entry.lease_ends_at <= _now()][:limit]
        for _, entry in free:
            entry.lease_id, entry.lease_ends_at = uuid4(), _now() + self.lease_seconds
        return [
            StorageDeletion(deletion_id=key, lease_id=entry.lease_id, bucket_id=entry.bucket_id, path=entry.path)
            for key, entry in free
            if entry.lease_id
        ]

    async def end(self, lease_ids: Sequence[UUID]) -> int:
        await self._called("end")
        held = [key for key, e in self.entries.items() if e.lease_id in lease_ids and e.lease_ends_at > _now()]
        for key in held:
            del self.entries[key]
        return len(held)

    async def remove_expired_images(self) -> int:
        await self._called("remove_expired_images")
        number = self.expired.pop(0) if self.expired else 0
        self.add(*(f"expired-{uuid4()}" for _ in range(number)))
        return number

    async def _called(self, name: str) -> None:
        self.calls.append(name)
        await asyncio.sleep(0)
        if self.is_down:
            raise QueueUnavailable("the fake outbox is down")


@dataclass
class FakeFiles:
    """Files in Storage. `refuses` names paths that are never accepted; `is_down` makes every call fail."""

    removed: dict[str, list[str]] = field(default_factory=lambda: defaultdict[str, list[str]](list))
    refuses: set[str] = field(default_factory=set[str])
    is_down: bool = False
    calls: list[int] = field(default_factory=list[int])
    """The number of paths in each call."""

    async def remove(self, bucket: str, paths: Sequence[str]) -> None:
        self.calls.append(len(paths))
        await asyncio.sleep(0)
        if self.is_down:
            raise StorageError("Storage answered 503.")
        if self.refuses & set(paths):
            raise InvalidRequest("Storage does not take the request.", code="files_refused")
        self.removed[bucket] += paths


def _now() -> float:
    return asyncio.get_running_loop().time()
