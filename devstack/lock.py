"""One dev stack per data folder."""

import fcntl
import os
from pathlib import Path
from typing import IO

from devstack.errors import DataDirInUse


class DataDirLock:
    """A file lock, which ends with the process. The file's content only tells which process holds it."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        self._data_dir.mkdir(parents=True, exist_ok=True)
        file = (self._data_dir / "lock").open("a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            pid = file.read().strip() or "unknown"
            file.close()
            raise DataDirInUse(
                f"Another dev stack (pid {pid}) runs on {self._data_dir}: stop it, or choose another --data-dir."
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        self._file = file

    def release(self) -> None:
        if self._file:
            self._file.truncate(0)
            self._file.close()
        self._file = None
