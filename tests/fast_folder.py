"""A folder in memory for a test's Postgres: making and dropping databases there takes a tenth of the time."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108
ENOUGH_BYTES = 2 << 30
PREFIX = f"batchgen-tests-{os.getuid()}-"
LOCK = "in-use"
"""A file in each folder, locked by the process that uses it. The system ends a lock with its process."""


@contextmanager
def fast_folder(memory: Path = MEMORY) -> Generator[Path]:
    """A new folder that goes at the end; on the disk where there is no memory to spare, as in small containers."""
    with ExitStack() as held:
        if memory.is_dir() and os.access(memory, os.W_OK):
            with _locked(memory / f"{PREFIX}turn", fcntl.LOCK_EX):  # a new folder is locked before anybody looks at it
                _remove_abandoned(memory)
                folder = _new_folder(held, memory if shutil.disk_usage(memory).free >= ENOUGH_BYTES else None)
        else:
            folder = _new_folder(held, None)
        yield folder


def _new_folder(held: ExitStack, parent: Path | None) -> Path:
    folder = Path(held.enter_context(tempfile.TemporaryDirectory(prefix=PREFIX, dir=parent)))
    folder.chmod(0o711)  # Postgres may run as somebody else
    held.enter_context(_locked(folder / LOCK, fcntl.LOCK_EX))
    return folder


def _remove_abandoned(memory: Path) -> None:
    """Free what a run that was killed has left."""
    for lock in memory.glob(f"{PREFIX}*/{LOCK}"):
        try:
            with _locked(lock, fcntl.LOCK_EX | fcntl.LOCK_NB):
                shutil.rmtree(lock.parent, ignore_errors=True)
        except (BlockingIOError, FileNotFoundError):  # it is in use, or has just been removed
            continue


@contextmanager
def _locked(file: Path, how: int) -> Generator[None]:
    with file.open("a") as opened:
        fcntl.flock(opened, how)
        yield
