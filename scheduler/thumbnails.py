"""Make the thumbnails that pictures lack: those of earlier versions, and those that could not be stored.

For `batchgen storage thumbnails`. Pictures are opened as in a worker, in separate processes with limits. Each thumbnail
is listed as soon as it is stored, so a run that was interrupted continues with the next call.
"""

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass
from functools import partial

from batchgen.backend.bucket import ImageStorage
from batchgen.backend.connection import connect, disconnect
from batchgen.errors import BackendUnavailable, BatchgenError, FileMissing, StorageError
from batchgen.pictures.check import Checker
from batchgen.pictures.temporary_files import unnamed_file, write
from batchgen.queue.missing_thumbnails import MissingThumbnails, PictureRow
from batchgen.settings import Settings

AT_ONCE = 2
"""Pictures that are in memory at the same time."""
TRIES = 3
PAUSE_SECONDS = 1.0
"""Before the second try; doubled for each further one."""
MOST_LOST_IN_A_ROW = 10
"""Pictures in a row for which the backend did not answer; then the run ends."""


@dataclass(slots=True)
class ThumbnailCounts:
    """The counts of a run so far."""

    missing: int = 0
    """Pictures without a thumbnail when the run began."""
    made: int = 0
    unneeded: int = 0
    """Pictures that were deleted meanwhile, or got a thumbnail from another run."""
    failed: int = 0

    @property
    def done(self) -> int:
        return self.made + self.unneeded + self.failed


OnCounts = Callable[[ThumbnailCounts], None]
OnFailure = Callable[[str, str], None]
"""Called with a picture's path and why it got no thumbnail."""


async def make_thumbnails(
    settings: Settings, key: str, on_counts: OnCounts, on_failure: OnFailure, *, pause_seconds: float = PAUSE_SECONDS
) -> ThumbnailCounts:
    """Make all thumbnails that are missing. A picture that cannot have one is passed over.

    Raises `BackendUnavailable` or `StorageError` if the project does not answer for a while.
    """
    client = await connect(settings, key=key)
    checker = Checker(at_once=AT_ONCE)
    try:
        thumbnails = MissingThumbnails(client, bucket=settings.bucket)
        maker = ThumbnailMaker(
            thumbnails, ImageStorage(client, bucket=settings.bucket), checker, on_counts, on_failure, pause_seconds
        )
        return await maker.run()
    finally:
        checker.close()
        await disconnect(client)


class ThumbnailMaker:
    """One run; see `make_thumbnails`."""

    def __init__(
        self,
        thumbnails: MissingThumbnails,
        storage: ImageStorage,
        checker: Checker,
        on_counts: OnCounts,
        on_failure: OnFailure,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._thumbnails = thumbnails
        self._storage = storage
        self._checker = checker
        self._on_counts = on_counts
        self._on_failure = on_failure
        self._pause_seconds = pause_seconds
        self._counts = ThumbnailCounts()
        self._lost_in_a_row = 0

    async def run(self) -> ThumbnailCounts:
        self._counts.missing = await self._thumbnails.count()
        self._on_counts(self._counts)
        running: set[asyncio.Task[None]] = set()
        try:
            async with aclosing(self._thumbnails.rows()) as rows:
                async for row in rows:
                    running.add(asyncio.create_task(self._make(row)))
                    if len(running) >= AT_ONCE:
                        running = await _after_one(running)
            while running:
                running = await _after_one(running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        return self._counts

    async def _make(self, row: PictureRow) -> None:
        try:
            is_listed = await self._retried(row)
        except FileMissing as error:
            self._fail(row, str(error))
        except (BackendUnavailable, StorageError) as error:
            self._fail(row, str(error))
            self._lost_in_a_row += 1
            if self._lost_in_a_row >= MOST_LOST_IN_A_ROW:
                raise
        except BatchgenError as error:
            self._fail(row, str(error))
        else:
            self._lost_in_a_row = 0
            self._counts.made += is_listed
            self._counts.unneeded += not is_listed
        self._on_counts(self._counts)

    async def _retried(self, row: PictureRow) -> bool:
        """Retry what may pass."""
        for tries in range(1, TRIES):
            try:
                return await self._make_once(row)
            except FileMissing:
                raise
            except (BackendUnavailable, StorageError):
                await asyncio.sleep(self._pause_seconds * 2 ** (tries - 1))
        return await self._make_once(row)

    async def _make_once(self, row: PictureRow) -> bool:
        if not row.is_in_its_folder:
            raise BatchgenError("The file is outside its owner's folder.")
        with unnamed_file() as file:
            await self._storage.get_pieces(row.storage_path, partial(write, file))
            image = await self._checker.check(file, keeps_metadata=True)
            if image.thumbnail is None:
                raise BatchgenError(f"There is no thumbnail: {image.no_thumbnail}.")
            return await self._thumbnails.store(row, image.thumbnail)

    def _fail(self, row: PictureRow, reason: str) -> None:
        self._counts.failed += 1
        self._on_failure(row.storage_path, reason)


async def _after_one(running: set[asyncio.Task[None]]) -> set[asyncio.Task[None]]:
    """Wait until a task ends, and return the others. Raises what the task raised."""
    done, others = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    for task in done:
        task.result()
    return others
