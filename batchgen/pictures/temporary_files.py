"""Unnamed files that hold a picture for a moment, and are gone when closed or when their process ends."""

import asyncio
import io
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from batchgen.errors import StorageError


def unnamed_file(folder: Path | None = None) -> io.FileIO:
    """An empty file in `folder` or the system's temporary folder. Raises `StorageError` if there is no room."""
    try:
        return tempfile.TemporaryFile(buffering=0, prefix="batchgen-", dir=folder)
    except OSError as error:
        raise _no_room(error) from error


@asynccontextmanager
async def in_a_file(content: bytes, folder: Path | None = None) -> AsyncGenerator[io.FileIO]:
    """The content in an open file, at its start."""
    with unnamed_file(folder) as file:
        await asyncio.to_thread(write, file, content)
        file.seek(0)
        yield file


def write(file: io.FileIO, data: bytes | bytearray) -> None:
    """Write all of it; a raw file may take less at a time. Raises `StorageError` if there is no room."""
    rest = memoryview(data)
    try:
        while rest:
            rest = rest[file.write(rest) :]
    except OSError as error:
        raise _no_room(error) from error


def _no_room(error: OSError) -> StorageError:
    return StorageError(f"This machine cannot keep the picture for a moment: {error.strerror}.")
