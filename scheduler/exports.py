"""Build the exports that users asked for, one at a time, beside the items.

An export needs no slot and little memory: pictures pass through temporary files, and each ZIP file is stored before the
next one begins. Whatever fails is tried again later, by this worker or another.
"""

import asyncio
import contextlib
import io
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import structlog

from batchgen.errors import BatchgenError, InvalidRequest, LeaseLost, QueueError, StorageError
from batchgen.exports.build import Download, ExportBuilder, ExportProgress, ExportSummary
from batchgen.pictures.temporary_files import unnamed_file
from batchgen.queue.exports import ExportFiles, ExportJob, ExportPart, Exports
from scheduler.outages import housekeeping_outage

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

EXPORT_LEASE_SECONDS = 120
RENEW_SECONDS = EXPORT_LEASE_SECONDS / 4
DOWNLOADS_AT_ONCE = 2
STORE_TRIES = 3
PAUSE_SECONDS = 1.0
"""Before the second try to store a file; doubles with each further one."""
HAND_BACK_SECONDS = 5.0


class Exporter:
    """Takes one export after the other while there are any. Never raises."""

    def __init__(self, exports: Exports, files: ExportFiles, download: Download) -> None:
        self._exports = exports
        self._files = files
        self._download = download
        self._working: asyncio.Task[None] | None = None
        self._is_stopping = False
        self._outage = housekeeping_outage("exports")

    async def begin(self) -> None:
        """Start to work off what is due, unless that is under way. Does not wait for it."""
        if not self._is_stopping and (self._working is None or self._working.done()):
            self._working = asyncio.create_task(self._work())

    async def finish(self, seconds: float | None = None) -> None:
        """Work until nothing is due or `seconds` have passed; then hand back what is under way."""
        await self.begin()
        if self._working:
            await asyncio.wait([self._working], timeout=seconds)
        self.stop()
        await self.aclose()

    def stop(self) -> None:
        """Start nothing more, and hand back the export that is being built."""
        self._is_stopping = True
        if self._working:
            self._working.cancel()

    async def aclose(self) -> None:
        """Stop, and wait until the export is handed back."""
        self.stop()
        if self._working:
            await asyncio.wait([self._working])

    async def _work(self) -> None:
        with self._outage.logged():
            while (job := await self._exports.take()) is not None:
                await self._end(job)

    async def _end(self, job: ExportJob) -> None:
        """Build an export and report how that ended."""
        told = {"export_id": str(job.export_id), "attempt": job.attempt}
        log.info("export started", **told, batches=len(job.batch_ids))
        try:
            summary, parts = await self._build(job)
            await self._exports.complete(job, parts, pictures=summary.pictures, missing=len(summary.missing))
        except asyncio.CancelledError:
            await asyncio.shield(self._hand_back(job))
            raise
        except LeaseLost:
            log.warning("export lost, another worker builds it", **told)
        except QueueError:
            raise  # the lease expires, and the export is taken again
        except Exception as error:
            if not isinstance(error, BatchgenError | OSError):
                log.exception("an export met a fault of the worker itself", **told)
            fault = _fault_of(error)
            log.warning("export failed", **told, code=fault.code, reason=fault.message)
            with contextlib.suppress(LeaseLost):
                await self._exports.fail(job, code=fault.code, message=fault.message, retryable=fault.retryable)
        else:
            log.info("export ready", **told, files=len(parts), pictures=summary.pictures, missing=len(summary.missing))

    async def _hand_back(self, job: ExportJob) -> None:
        with contextlib.suppress(BatchgenError, TimeoutError):
            async with asyncio.timeout(HAND_BACK_SECONDS):
                await self._exports.fail(job, code="handed_back", message="The worker stopped.", retryable=True)
                log.info("export handed back", export_id=str(job.export_id))

    async def _build(self, job: ExportJob) -> tuple[ExportSummary, list[ExportPart]]:
        async with self._renewed(job) as done:
            batches = [found for one in job.batch_ids if (found := await self._exports.batch(job, one)) is not None]
            if not batches:
                raise InvalidRequest("The batches were deleted.", code="batch_not_found")
            parts = _Parts(self, job)
            builder = ExportBuilder(
                batches,
                self._download,
                on_progress=done.note,
                max_part_bytes=job.part_bytes,
                downloads_at_once=DOWNLOADS_AT_ONCE,
            )
            with parts:
                summary = await builder.write(parts.first(), parts.next)
                await parts.store()
            signed = [
                part.model_copy(update={"url": await self._files.sign(part, job.link_seconds)}) for part in parts.stored
            ]
            return summary, signed

    @asynccontextmanager
    async def _renewed(self, job: ExportJob) -> AsyncGenerator["_Done"]:
        """Renew the lease during the block. Cancels the block and raises `LeaseLost` if it is lost."""
        done = _Done()
        block = asyncio.current_task()
        assert block is not None  # noqa: S101 - this runs in a task
        is_lost = False

        async def renew() -> None:
            nonlocal is_lost
            while True:
                await asyncio.sleep(RENEW_SECONDS)
                try:
                    await self._exports.renew(job, done.count)
                except LeaseLost:
                    is_lost = True
                    block.cancel()
                    return
                except BatchgenError as error:
                    log.warning("lease of an export not renewed yet", export_id=str(job.export_id), reason=str(error))

        renewing = asyncio.create_task(renew())
        try:
            yield done
        except asyncio.CancelledError:
            if is_lost and not self._is_stopping:
                block.uncancel()
                raise LeaseLost("The export has another worker.") from None
            raise
        finally:
            renewing.cancel()
            await asyncio.wait([renewing])

    async def store(self, job: ExportJob, part: ExportPart, file: io.FileIO) -> None:
        """Record and store one file, with a few tries."""
        await self._exports.note_file(job, part.path)
        for tries in range(1, STORE_TRIES + 1):
            try:
                await self._files.put(part.path, file, part.bytes)
                return
            except StorageError:
                if tries == STORE_TRIES:
                    raise
            await asyncio.sleep(PAUSE_SECONDS * 2 ** (tries - 1))


class _Done:
    """How many pictures are written."""

    count = 0

    def note(self, progress: ExportProgress) -> None:
        self.count = progress.done


class _Parts:
    """The files of an export: each one is on this machine only until it is stored."""

    def __init__(self, exporter: Exporter, job: ExportJob) -> None:
        self._exporter = exporter
        self._job = job
        self._raw: io.FileIO | None = None
        self._out: io.BufferedRandom | None = None
        self.stored: list[ExportPart] = []

    def first(self) -> io.BufferedRandom:
        self._raw = unnamed_file()
        self._out = io.BufferedRandom(self._raw)
        return self._out

    async def next(self) -> io.BufferedRandom:
        """Store the current file and begin the next one."""
        await self.store()
        return self.first()

    async def store(self) -> None:
        assert self._raw is not None  # noqa: S101 - `first` comes first
        assert self._out is not None  # noqa: S101
        self._out.flush()
        size = self._raw.seek(0, io.SEEK_END)
        job = self._job
        name = f"batchgen-export-{job.export_id.hex[:8]}-{len(self.stored) + 1}.zip"
        path = f"{job.user_id}/{job.export_id}/{job.lease_id.hex[:8]}/{name}"
        part = ExportPart(name=name, path=path, bytes=size)
        await self._exporter.store(job, part, self._raw)
        self.stored.append(part)
        self._close()

    def _close(self) -> None:
        if self._out is not None:
            self._out.close()
        self._raw = self._out = None

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._close()


class _Fault:
    def __init__(self, code: str, message: str, *, retryable: bool) -> None:
        self.code = code
        self.message = message
        self.retryable = retryable


def _fault_of(error: Exception) -> _Fault:
    match error:
        case InvalidRequest():
            return _Fault(error.code, error.message, retryable=False)
        case StorageError():
            return _Fault("storage_error", "Storage does not take or return files at the moment.", retryable=True)
        case OSError():
            return _Fault("worker_error", f"The worker cannot write temporary files: {error.strerror}.", retryable=True)
        case _:
            return _Fault("internal_error", f"The worker met a fault ({type(error).__name__}).", retryable=True)
