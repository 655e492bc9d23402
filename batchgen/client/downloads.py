"""Download the pictures of a batch to files."""

import asyncio
import errno
import os
import re
import shutil
from collections.abc import Callable, Coroutine, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from batchgen.backend.bucket import ImageStorage
from batchgen.client.atomic_write import write_atomically
from batchgen.errors import InvalidRequest
from batchgen.models import BatchSnapshot, Generation, Image
from batchgen.text import printable, slug

DOWNLOADS_AT_ONCE = 4
LEAST_FREE_BYTES = 1_000_000
ANOTHER_FOLDER = "Give a writable folder, or one that does not exist yet."

T = TypeVar("T")


@dataclass(frozen=True)
class SavedImage:
    """A picture that was written to a file."""

    path: Path
    generation_id: UUID
    index: int


OnSaved = Callable[[SavedImage], None]


async def save_images(
    storage: ImageStorage, snapshot: BatchSnapshot, directory: Path, on_saved: OnSaved | None = None
) -> tuple[SavedImage, ...]:
    """Write the pictures into `directory`, which is created if missing. Returns them in the batch's order.

    An existing file with other content is kept: the picture's name then gets a part of its item's id, and under that
    name a newer picture of the same item replaces an older one.
    """
    _create(directory)

    async def save(item: Generation, image: Image) -> SavedImage:
        content = await storage.get(image.storage_path)
        name = picture_name(item, image, snapshot.batch.total_count)
        saved = SavedImage(await asyncio.to_thread(_write, directory, name, item, content), item.id, item.index)
        if on_saved:
            on_saved(saved)
        return saved

    return await _for_all(snapshot, save)


async def read_images(storage: ImageStorage, snapshot: BatchSnapshot) -> Mapping[UUID, bytes]:
    """The pictures' files by the items' ids."""

    async def read(item: Generation, image: Image) -> tuple[UUID, bytes]:
        return item.id, await storage.get(image.storage_path)

    return dict(await _for_all(snapshot, read))


def picture_name(item: Generation, image: Image, total: int = 1) -> str:
    """`<number>-<words of the prompt>.<format>`: a single path component, whatever the prompt contains.

    Numbers start at 1 and have as many digits as `total`, so that files sort in the batch's order.
    """
    suffix = image.format or image.storage_path.rpartition(".")[2]
    extension = re.sub(r"[^a-z0-9]", "", suffix.lower())[:5] or "bin"
    return f"{item.index + 1:0{len(str(total))}}-{slug(item.prompt)}.{extension}"


def check_folder(directory: Path) -> None:
    """Raise `InvalidRequest` if pictures cannot be written there. Creates nothing and opens only folders."""
    with write_errors(directory):
        place = directory.absolute()
        while not os.path.lexists(place):
            place = place.parent
        if not place.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{printable(str(place))} is not a folder")
        if not os.access(place, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, f"{printable(str(place))} is not writable")
        if shutil.disk_usage(place).free < LEAST_FREE_BYTES:
            raise OSError(errno.ENOSPC, "the disk is full")


def check_room(directory: Path, snapshot: BatchSnapshot) -> None:
    """Raise `InvalidRequest` if the pictures do not fit on the disk."""
    place = directory.absolute()
    while not place.exists():
        place = place.parent
    needed, free = sum(image.file_size or 0 for image in snapshot.images), shutil.disk_usage(place).free
    if needed > free:
        raise InvalidRequest(
            f"The pictures need {needed / 1e6:.1f} MB; {free / 1e6:.1f} MB are free for {printable(str(directory))}.",
            code="folder_unusable",
            field="save_to",
            limit=free,
            remedy=ANOTHER_FOLDER,
        )


@contextmanager
def write_errors(path: Path) -> Generator[None]:
    """Translate errors of the file system into `InvalidRequest` with the path."""
    try:
        yield
    except (OSError, ValueError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise InvalidRequest(
            f"Cannot write to {printable(str(path))}: {reason[:1].lower()}{reason[1:]}.",
            code="folder_unusable",
            field="save_to",
            remedy=ANOTHER_FOLDER,
        ) from error


def _create(directory: Path) -> None:
    check_folder(directory)
    with write_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)


def _write(directory: Path, name: str, item: Generation, content: bytes) -> Path:
    path = directory / name
    with write_errors(path):
        if os.path.lexists(path) and not _holds(path, content):
            path = path.with_name(f"{path.stem}-{str(item.id)[:8]}{path.suffix}")
        write_atomically(path, content, mode=0o644)
    return path


def _holds(path: Path, content: bytes) -> bool:
    """Whether the path is a file with this content. Pipes and devices are not opened."""
    return path.is_file() and path.stat().st_size == len(content) and path.read_bytes() == content


async def _for_all(
    snapshot: BatchSnapshot, work: Callable[[Generation, Image], Coroutine[Any, Any, T]]
) -> tuple[T, ...]:
    """Do `work` for every picture, a few at once. Errors are raised after all others are done."""
    room = asyncio.Semaphore(DOWNLOADS_AT_ONCE)
    items: dict[UUID | None, Generation] = {item.id: item for item in snapshot.generations}

    async def one(item: Generation, image: Image) -> T:
        async with room:
            return await work(item, image)

    pairs = [(item, image) for image in snapshot.images if (item := items.get(image.generation_id))]
    results = await asyncio.gather(*(one(*pair) for pair in pairs), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return tuple(result for result in results if not isinstance(result, BaseException))
