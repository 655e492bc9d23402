"""Build an export: download pictures a few at a time and write them into one or more ZIP files.

A picture is downloaded whole to a temporary file before its entry begins, so that a broken download can be repeated,
and the memory needed does not depend on the number or the size of pictures.
"""

import asyncio
import hashlib
import tempfile
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any, NamedTuple
from uuid import UUID

from batchgen.errors import FileMissing, StorageError
from batchgen.exports.archive import MANIFEST, TABLE, Archive, entry_bytes
from batchgen.exports.manifest import batch_entry, item_entry, manifest_bytes, picture_entry
from batchgen.exports.names import Names
from batchgen.exports.spreadsheet import csv_bytes
from batchgen.exports.types import ExportBatch, ExportItem, ExportPicture, Writable

DOWNLOADS_AT_ONCE = 4
DOWNLOAD_TRIES = 3
PAUSE_SECONDS = 0.5
"""Before the second try of a download; doubles with each further one."""
IN_MEMORY = 256 * 1024
"""Larger pictures wait for their turn on disk."""
EMPTY_PART = 20_000
"""More than a ZIP with an empty manifest and table has."""

Download = Callable[[str, Callable[[bytes], object]], Awaitable[None]]
"""Passes the file at a path of the bucket to a function, piece by piece. Raises `FileMissing` or `StorageError`."""
CloseFile = Callable[[int, IO[bytes]], Awaitable[None]]
OnProgress = Callable[["ExportProgress"], None]


@dataclass(frozen=True, slots=True)
class ExportProgress:
    """How far an export is."""

    done: int
    """Pictures that are written, or known to be missing."""
    total: int
    written_bytes: int
    total_bytes: int
    """As far as the rows of the pictures tell."""


@dataclass(frozen=True, slots=True)
class MissingPicture:
    """An item or a picture that has no file in the export."""

    batch_id: UUID
    index: int
    code: str
    message: str


@dataclass(slots=True)
class ExportSummary:
    """What an export holds."""

    batches: int = 0
    pictures: int = 0
    picture_bytes: int = 0
    missing: list[MissingPicture] = field(default_factory=list[MissingPicture])


class _Wanted(NamedTuple):
    batch: ExportBatch
    item: ExportItem
    position: int
    picture: ExportPicture | None
    """None for an item without a picture."""


class _Fetched(NamedTuple):
    file: IO[bytes] | None
    sha256: str = ""
    size: int = 0
    missing: tuple[str, str] | None = None


class ExportBuilder:
    """Writes batches into ZIP files.

    `max_part_bytes` begins a new file before one becomes larger; `next_part` then ends the current file and returns the
    next one. Each file has a manifest and a table of its own pictures, so that it can be used alone.
    """

    def __init__(
        self,
        batches: Sequence[ExportBatch],
        download: Download,
        *,
        on_progress: OnProgress | None = None,
        max_part_bytes: int | None = None,
        folder: Path | None = None,
        downloads_at_once: int = DOWNLOADS_AT_ONCE,
    ) -> None:
        self._batches = batches
        self._download = download
        self._on_progress = on_progress
        self._max_part_bytes = max_part_bytes
        self._folder = folder
        self._downloads_at_once = downloads_at_once
        self._names = Names(batches)
        self._at = datetime.now(UTC)
        self.summary = ExportSummary(batches=len(batches))
        self._total = sum(batch.picture_count for batch in batches)
        self._total_bytes = sum(batch.picture_bytes for batch in batches)
        self._done = 0

    async def write(self, out: Writable, next_part: Callable[[], Awaitable[Writable]] | None = None) -> ExportSummary:
        """Write everything to `out`, and to what `next_part` returns. Closes neither.

        Raises `StorageError` if Storage does not answer after some tries.
        """
        part = _Part(out, 1 if self._max_part_bytes else None)
        try:
            async with aclosing(self._fetched()) as pictures:
                async for wanted, fetched in pictures:
                    with fetched.file or nullcontext():
                        row = self._row(wanted, fetched)
                        adds = fetched.size + entry_bytes(row["file"] or "", row)
                        if next_part and self._is_full(part, adds):
                            await _in_thread(partial(part.close, self._at))
                            part = _Part(await next_part(), (part.number or 1) + 1)
                        await _in_thread(partial(part.add, wanted, fetched, row, adds))
                    self._note(wanted, fetched)
            await _in_thread(partial(part.close, self._at))
        finally:
            part.abandon()
        return self.summary

    def _is_full(self, part: "_Part", adds: int) -> bool:
        return bool(self._max_part_bytes and part.has_some and part.size + adds > self._max_part_bytes)

    def _note(self, wanted: _Wanted, fetched: _Fetched) -> None:
        if fetched.missing:
            index = wanted.position if wanted.item.index is None else wanted.item.index
            self.summary.missing.append(MissingPicture(wanted.batch.id, index, *fetched.missing))
        else:
            self.summary.pictures += 1
            self.summary.picture_bytes += fetched.size
        self._done += wanted.picture is not None
        if self._on_progress:
            self._on_progress(ExportProgress(self._done, self._total, self.summary.picture_bytes, self._total_bytes))

    def _row(self, wanted: _Wanted, fetched: _Fetched) -> dict[str, Any]:
        """The picture's row in the table."""
        batch, item, position, picture = wanted
        entry = item_entry(batch, item, position)
        file = self._names.path_of(batch, item, position, picture) if picture and not fetched.missing else None
        return {
            **{name: entry[name] for name in ("prompt", "negative_prompt", "seed", "model", "model_version", "width")},
            **{name: entry[name] for name in ("height", "steps", "guidance_scale", "created_at", "started_at")},
            **{name: entry[name] for name in ("completed_at", "generation_seconds", "cost_usd", "tags")},
            "file": file,
            "batch": batch.name,
            "batch_id": str(batch.id),
            "number": entry["index"] + 1,
            "sha256": fetched.sha256 or None,
            "bytes": fetched.size if file else None,
            "missing": fetched.missing[1] if fetched.missing else None,
        }

    async def _fetched(self) -> AsyncGenerator[tuple[_Wanted, _Fetched]]:
        """All pictures in order, a few of them downloaded ahead."""
        wanted = iter(
            [
                _Wanted(batch, item, position, picture)
                for batch in self._batches
                for position, item in enumerate(batch.items)
                for picture in (item.pictures or (None,))
            ]
        )
        ahead: deque[tuple[_Wanted, asyncio.Task[_Fetched]]] = deque()

        def fill() -> None:
            while len(ahead) < self._downloads_at_once and (one := next(wanted, None)) is not None:
                ahead.append((one, asyncio.create_task(self._fetch(one))))

        try:
            fill()
            while ahead:
                one, task = ahead[0]
                fetched = await task
                ahead.popleft()
                fill()
                yield one, fetched
        finally:
            for _, task in ahead:
                task.cancel()
            for result in await asyncio.gather(*(task for _, task in ahead), return_exceptions=True):
                if isinstance(result, _Fetched) and result.file:
                    result.file.close()

    async def _fetch(self, wanted: _Wanted) -> _Fetched:
        picture = wanted.picture
        if picture is None:
            return _Fetched(None, missing=_why_no_picture(wanted.item))
        if picture.is_archived:
            return _Fetched(None, missing=("archived", "The picture is in the trash; restore it first."))
        for tries in range(1, DOWNLOAD_TRIES + 1):
            try:
                fetched = await self._fetch_once(picture.storage_path)
                break
            except FileMissing:
                return _Fetched(None, missing=("file_missing", "Storage has no file for this picture."))
            except StorageError:
                if tries == DOWNLOAD_TRIES:
                    raise
            await asyncio.sleep(PAUSE_SECONDS * 2 ** (tries - 1))
        else:
            raise AssertionError("the last try returns or raises")
        if self._max_part_bytes and fetched.size + EMPTY_PART > self._max_part_bytes:
            assert fetched.file  # noqa: S101 - it was just downloaded
            fetched.file.close()
            message = (
                f"The picture has {fetched.size} bytes, more than a file of an export may have; download it alone."
            )
            return _Fetched(None, missing=("too_large", message))
        return fetched

    async def _fetch_once(self, path: str) -> _Fetched:
        file = tempfile.SpooledTemporaryFile(IN_MEMORY, prefix="batchgen-", dir=self._folder and str(self._folder))  # noqa: SIM115 - the writer closes it
        digest = hashlib.sha256()
        size = 0

        def take(piece: bytes) -> None:
            nonlocal size
            digest.update(piece)
            size += len(piece)
            file.write(piece)

        try:
            await self._download(path, take)
        except BaseException:
            file.close()
            raise
        return _Fetched(file, digest.hexdigest(), size)


class _Part:
    """A ZIP file being written, with its manifest and table."""

    def __init__(self, out: Writable, number: int | None) -> None:
        self.number = number
        self.size = EMPTY_PART
        self._archive = Archive(out)
        self._batches: dict[UUID, dict[str, Any]] = {}
        self._items: dict[UUID, dict[str, Any]] = {}
        self._rows: list[dict[str, Any]] = []

    @property
    def has_some(self) -> bool:
        return bool(self._rows)

    def add(self, wanted: _Wanted, fetched: _Fetched, row: dict[str, Any], adds: int) -> None:
        batch, item, position, picture = wanted
        if item.id not in self._items:
            self._items[item.id] = item_entry(batch, item, position)
            self._batches.setdefault(batch.id, batch_entry(batch))["items"].append(self._items[item.id])
        entry = self._items[item.id]
        reason = {"code": fetched.missing[0], "message": fetched.missing[1]} if fetched.missing else None
        if picture is None:
            entry["missing"] = reason
        else:
            told = picture_entry(picture) | {"missing": reason}
            if fetched.file and row["file"]:
                told |= {"file": row["file"], "sha256": fetched.sha256, "bytes": fetched.size}
                self._archive.add_file(row["file"], fetched.file, size=fetched.size, at=picture.created_at)
            entry["pictures"].append(told)
        self._rows.append(row)
        self.size += adds

    def close(self, at: datetime) -> None:
        content = manifest_bytes([*self._batches.values()], version=version("batchgen"), at=at, part=self.number)
        self._archive.add_text(MANIFEST, content, at)
        self._archive.add_text(TABLE, csv_bytes(self._rows), at)
        self._archive.close()

    def abandon(self) -> None:
        """Write nothing more, not even the end of the file."""
        self._archive.abandon()


async def _in_thread(work: Callable[[], None]) -> None:
    """Do blocking work in a thread, and wait for it even if cancelled: it uses files that the caller closes."""
    task = asyncio.create_task(asyncio.to_thread(work))
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


def _why_no_picture(item: ExportItem) -> tuple[str, str]:
    match item.status:
        case "completed":
            return "deleted", "The picture was deleted."
        case "failed":
            return item.error_code or "failed", item.error_message or "The item failed."
        case _:
            return "not_finished", "The item has not finished yet."
