"""Export batches to a ZIP file: pictures under readable names, a manifest and a table."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any
from uuid import UUID

from pydantic import ValidationError

from batchgen.backend.bucket import ImageStorage
from batchgen.client.batch_queries import no_batch
from batchgen.client.caller import Caller
from batchgen.errors import BackendUnavailable, InvalidRequest
from batchgen.exports.build import ExportBuilder, MissingPicture, OnProgress
from batchgen.exports.types import ExportBatch, Writable
from batchgen.text import printable

ANOTHER_FILE = "Give the name of a file in a writable folder with enough room."


@dataclass(frozen=True, slots=True)
class ExportReport:
    """What an export holds."""

    path: Path | None
    """The ZIP file; None if the export went to a stream."""
    batches: int
    pictures: int
    picture_bytes: int
    missing: tuple[MissingPicture, ...]
    """Items and pictures that have no file in the export, with the reasons."""


async def export_batches(
    caller: Caller,
    storage: ImageStorage,
    batch_ids: Sequence[UUID],
    to: Path | Writable,
    on_progress: OnProgress | None = None,
) -> ExportReport:
    """Write the batches to a ZIP file, which appears under its name once it is complete, or to a stream."""
    batches = [await read_batch(caller, batch_id) for batch_id in dict.fromkeys(batch_ids)]

    async def download(path: str, write: Any) -> None:
        await caller.renew_if_needed()
        await storage.get_pieces(path, write)

    build = partial(ExportBuilder, batches, download, on_progress=on_progress)
    if not isinstance(to, Path):
        summary = await build().write(to)
    else:
        _check_room(to, batches)
        with new_file(to) as out:
            summary = await build(folder=_folder_of(to)).write(out)
    return ExportReport(
        to if isinstance(to, Path) else None,
        summary.batches,
        summary.pictures,
        summary.picture_bytes,
        tuple(summary.missing),
    )


async def read_batch(caller: Caller, batch_id: UUID) -> ExportBatch:
    """A batch with everything that its manifest says. Raises `NotFound` if the caller sees no such batch."""
    found: Any = await caller.rpc("batch_manifest", {"p_batch_id": str(batch_id)})
    if found is None:
        raise no_batch(batch_id)
    try:
        batch = ExportBatch.model_validate(found)
    except ValidationError:
        what = "batch_manifest: the response is not a batch. Is SUPABASE_URL the project's address?"
        raise BackendUnavailable(what) from None
    if caller.user_id and batch.user_id != caller.user_id:
        raise no_batch(batch_id)
    return batch


def check_file(path: Path) -> None:
    """Raise `InvalidRequest` if an export cannot be written there. Creates nothing."""
    with file_errors(path):
        if path.is_dir() or (path.exists() and not path.is_file()):
            raise ValueError("it is not a file")
        folder = _folder_of(path)
        if not folder.is_dir():
            raise FileNotFoundError(2, f"there is no folder {printable(str(folder))}")
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(13, f"{printable(str(folder))} is not writable")


@contextmanager
def file_errors(path: Path) -> Generator[None]:
    """Translate errors of the file system into `InvalidRequest` with the path."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InvalidRequest(
            f"Cannot write to {printable(str(path))}: {reason[:1].lower()}{reason[1:]}.",
            code="file_unusable",
            field="to",
            remedy=ANOTHER_FILE,
        ) from error


def _check_room(path: Path, batches: Sequence[ExportBatch]) -> None:
    check_file(path)
    needed = sum(batch.picture_bytes for batch in batches)
    with file_errors(path):
        free = shutil.disk_usage(_folder_of(path)).free
    if needed > free:
        raise InvalidRequest(
            f"The pictures need {needed / 1e6:.1f} MB; {free / 1e6:.1f} MB are free for {printable(str(path))}.",
            code="file_unusable",
            field="to",
            limit=free,
            remedy=ANOTHER_FILE,
        )


@contextmanager
def new_file(path: Path) -> Generator[IO[bytes]]:
    """A file that replaces the one at `path` at the end of the block, and vanishes if the block fails."""
    with file_errors(path):
        descriptor, name = tempfile.mkstemp(dir=_folder_of(path), prefix=".batchgen-", suffix=".part")
        part = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            part.chmod(0o644)
            part.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                part.unlink()
            raise


def _folder_of(path: Path) -> Path:
    return path.absolute().parent
