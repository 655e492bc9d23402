"""Remove the files of deleted pictures, and pictures that were not saved within the retention time."""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence

import structlog

from batchgen.errors import InvalidRequest
from batchgen.queue.ports import Outbox
from batchgen.queue.types import StorageDeletion
from scheduler.outages import housekeeping_outage

Remove = Callable[[str, Sequence[str]], Awaitable[None]]
"""Removes files, given their bucket and paths, from Storage. Missing files are not an error."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

FILES_AT_ONCE = 100
PASS_SECONDS = 30.0
"""A tick begins no further round after this time; the next tick continues."""
OUTBOX_LEASE_SECONDS = 120
"""For one round. Deletions that it could not make are taken again after this time."""
RETENTION_SECONDS = 3600.0


class Housekeeping:
    """Never raises: whatever fails is tried again later, by this worker or another, and no item waits for it."""

    def __init__(self, outbox: Outbox, remove: Remove) -> None:
        self._outbox = outbox
        self._remove = remove
        self._removing, self._expiring = asyncio.Lock(), asyncio.Lock()
        self._are_files_left = self._are_expired_left = True
        self._has_expired_some = False
        self._refused: set[int] = set()
        self._stopping = asyncio.Event()
        self._deletions = housekeeping_outage("storage deletions")
        self._retention = housekeeping_outage("retention")

    async def remove_files(self, seconds: float = PASS_SECONDS) -> None:
        """Remove the files of deleted pictures until none are left or `seconds` are over."""
        clock = asyncio.get_running_loop().time
        ends_at = clock() + seconds
        async with self._removing:
            self._are_files_left = True
            with self._deletions.logged():
                while not self._stopping.is_set():
                    self._are_files_left = await self._remove_some()
                    if not self._are_files_left or clock() >= ends_at:
                        break

    async def remove_expired_images(self) -> None:
        """Delete pictures that are older than the retention setting allows and were not saved."""
        async with self._expiring:
            self._are_expired_left = True
            with self._retention.logged():
                while self._are_expired_left and not self._stopping.is_set():
                    count = await self._outbox.remove_expired_images()
                    self._are_expired_left = count > 0
                    if count:
                        self._has_expired_some = True
                        log.info("expired pictures deleted", count=count)

    async def finish(self, seconds: float | None = None) -> None:
        """Continue what a tick left, until nothing is left or `seconds` are over."""
        if seconds is not None and seconds <= 0:
            return
        ending = None if seconds is None else asyncio.get_running_loop().call_later(seconds, self.stop)
        if self._are_expired_left:
            await self.remove_expired_images()
        if self._are_files_left or self._has_expired_some:
            await self.remove_files(float("inf"))
        if ending:
            ending.cancel()

    def stop(self) -> None:
        """Start nothing more."""
        self._stopping.set()

    async def _remove_some(self) -> bool:
        """Remove one batch of files; return whether there may be more."""
        taken = await self._outbox.take(FILES_AT_ONCE)
        buckets: dict[str, list[StorageDeletion]] = defaultdict(list)
        for deletion in taken:
            buckets[deletion.bucket_id].append(deletion)
        for bucket, deletions in buckets.items():
            removed = await self._remove_of(bucket, deletions)
            await self._end(bucket, removed)
        return len(taken) == FILES_AT_ONCE

    async def _end(self, bucket: str, removed: Sequence[StorageDeletion]) -> None:
        if removed:
            ended = await self._outbox.end([deletion.lease_id for deletion in removed])
            log.info("files of deleted pictures removed", bucket=bucket, files=len(removed), ended=ended)

    async def _remove_of(self, bucket: str, deletions: Sequence[StorageDeletion]) -> Sequence[StorageDeletion]:
        """Remove these files and return those that are gone. One that Storage refuses must not hold up the others."""
        try:
            await self._remove(bucket, [deletion.path for deletion in deletions])
        except InvalidRequest as error:
            if len(deletions) > 1:
                alone = [await self._remove_of(bucket, [deletion]) for deletion in deletions]
                return [deletion for one in alone for deletion in one]
            self._note_refusal(deletions[0], error)
            return []
        return deletions

    def _note_refusal(self, deletion: StorageDeletion, error: InvalidRequest) -> None:
        if deletion.deletion_id not in self._refused:
            log.error("Storage refuses to remove a file", deletion_id=deletion.deletion_id, reason=error.message)
        self._refused.add(deletion.deletion_id)
