"""Download the pictures of a batch to files."""

import asyncio
import re
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

from batchgen.errors import InvalidRequest
from batchgen.models import BatchSnapshot, Generation, Image
from batchgen.session import write_atomically
from batchgen.storage import ImageStorage
from batchgen.texts import slug

DOWNLOADS_AT_ONCE = 4

T = TypeVar("T")


@dataclass(frozen=True)
class SavedImage:
    path: Path
    generation_id: UUID
    index: int


OnSaved = Callable[[SavedImage], None]


async def save_images(
    storage: ImageStorage, snapshot: BatchSnapshot, directory: Path, on_saved: OnSaved | None = None
) -> tuple[SavedImage, ...]:
    """Write the pictures into `directory`, made where it is missing, in the order of the batch.

    A file that is there with other content is somebody's and stays: the picture's name then gets a part of its
    generation's id, and under that name a newer picture of the same generation replaces an older one.
    """
    _make(directory)

    async def save(item: Generation, image: Image) -> SavedImage:
        content = await storage.get(image.storage_path)
        saved = SavedImage(await asyncio.to_thread(_write, directory, item, image, content), item.id, item.index)
        if on_saved:
            on_saved(saved)
        return saved

    return await _for_all(snapshot, save)


async def read_images(storage: ImageStorage, snapshot: BatchSnapshot) -> Mapping[UUID, bytes]:
    """The pictures' files by generation id."""

    async def read(item: Generation, image: Image) -> tuple[UUID, bytes]:
        return item.id, await storage.get(image.storage_path)

    return dict(await _for_all(snapshot, read))


def picture_name(item: Generation, image: Image) -> str:
    """`<index>-<words of the prompt>.<format>`: one path part, whatever the prompt says."""
    suffix = image.format or image.storage_path.rpartition(".")[2]
    extension = re.sub(r"[^a-z0-9]", "", suffix.lower())[:5] or "bin"
    return f"{item.index}-{slug(item.prompt)}.{extension}"


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InvalidRequest(
            f"The folder {directory} cannot be made: {error.strerror}.",
            code="folder_unusable",
            field="save_to",
            remedy="Name a folder that can be written to.",
        ) from error


def _write(directory: Path, item: Generation, image: Image, content: bytes) -> Path:
    path = directory / picture_name(item, image)
    if path.is_dir() or (path.exists() and path.read_bytes() != content):
        path = path.with_name(f"{path.stem}-{str(item.id)[:8]}{path.suffix}")
    try:
        write_atomically(path, content, mode=0o644)
    except OSError as error:
        raise InvalidRequest(
            f"{path} cannot be written: {error.strerror}.", code="folder_unusable", field="save_to"
        ) from error
    return path


async def _for_all(
    snapshot: BatchSnapshot, work: Callable[[Generation, Image], Coroutine[Any, Any, T]]
) -> tuple[T, ...]:
    """Do `work` for every picture, a few at once; where some fail, the others are done first."""
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
