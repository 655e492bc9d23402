"""Exports and their files in memory, as `scheduler.exports` sees them."""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID, uuid4

from batchgen.errors import FileMissing
from batchgen.exports.types import ExportBatch, ExportItem, ExportPicture
from batchgen.queue.exports import ExportJob, ExportPart


@dataclass
class FakeExports:
    """A queue of exports; what workers report is kept in `completed` and `failed`."""

    waiting: list[ExportJob] = field(default_factory=list[ExportJob])
    batches: dict[UUID, ExportBatch] = field(default_factory=dict[UUID, ExportBatch])
    taken: int = 0
    renewed: list[int] = field(default_factory=list[int])
    noted: list[str] = field(default_factory=list[str])
    completed: list[tuple[UUID, Sequence[ExportPart], int, int]] = field(
        default_factory=list[tuple[UUID, Sequence[ExportPart], int, int]]
    )
    failed: list[tuple[UUID, str, bool]] = field(default_factory=list[tuple[UUID, str, bool]])
    on_renew: Callable[[], None] = lambda: None

    def ask(self, *pictures: str, part_bytes: int = 1_000_000) -> ExportJob:
        """Add an export of one batch with pictures at these paths."""
        batch = ExportBatch(
            id=uuid4(),
            status="completed",
            items=tuple(
                ExportItem(
                    id=uuid4(),
                    index=index,
                    status="completed",
                    prompt="a fox",
                    pictures=(ExportPicture(id=uuid4(), storage_path=path, format="png"),),
                )
                for index, path in enumerate(pictures)
            ),
        )
        self.batches[batch.id] = batch
        job = ExportJob(
            export_id=uuid4(),
            lease_id=uuid4(),
            user_id=uuid4(),
            batch_ids=(batch.id,),
            attempt=1,
            part_bytes=part_bytes,
            link_seconds=60,
        )
        self.waiting.append(job)
        return job

    async def take(self) -> ExportJob | None:
        self.taken += 1
        return self.waiting.pop(0) if self.waiting else None

    async def batch(self, job: ExportJob, batch_id: UUID) -> ExportBatch | None:
        return self.batches.get(batch_id)

    async def renew(self, job: ExportJob, done: int) -> None:
        self.renewed.append(done)
        self.on_renew()

    async def note_file(self, job: ExportJob, path: str) -> None:
        self.noted.append(path)

    async def complete(self, job: ExportJob, parts: Sequence[ExportPart], *, pictures: int, missing: int) -> None:
        self.completed.append((job.export_id, parts, pictures, missing))

    async def fail(self, job: ExportJob, *, code: str, message: str, retryable: bool) -> None:
        self.failed.append((job.export_id, code, retryable))


@dataclass
class FakeExportFiles:
    """Files by path. `errors` are raised one after the other by `put`."""

    stored: dict[str, bytes] = field(default_factory=dict[str, bytes])
    errors: list[Exception] = field(default_factory=list[Exception])

    async def put(self, path: str, file: io.FileIO, size: int) -> None:
        if self.errors:
            raise self.errors.pop(0)
        file.seek(0)
        self.stored[path] = file.read()
        assert len(self.stored[path]) == size

    async def sign(self, part: ExportPart, seconds: int) -> str:
        return f"https://storage/{part.path}?seconds={seconds}"


async def no_download(path: str, _write: Callable[[bytes], object]) -> None:
    raise FileMissing(path)
