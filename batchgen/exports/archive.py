"""One ZIP file, written front to back, so that it can go to a pipe."""

import stat
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import IO, Any, cast

from batchgen.exports.types import Writable

MANIFEST = "manifest.json"
TABLE = "pictures.csv"
CHUNK = 1024 * 1024
ENTRY_BYTES = 400
"""More than a ZIP needs for an entry beside its content and twice its name."""


class Archive:
    """A ZIP file being written. Pictures are stored as they are; they do not get smaller by compression.

    Needs a few hundred bytes of memory per entry, whatever the size of the pictures. ZIP64 is used where it is needed.
    """

    def __init__(self, out: Writable) -> None:
        self._zip = zipfile.ZipFile(cast("IO[bytes]", out), "w", zipfile.ZIP_STORED, allowZip64=True)

    def add_file(self, name: str, content: IO[bytes], *, size: int, at: datetime | None) -> None:
        """Add a file of `size` bytes from the start of `content`."""
        info = _entry(name, at, zipfile.ZIP_STORED)
        info.file_size = size
        content.seek(0)
        with self._zip.open(info, "w") as entry:
            while chunk := content.read(CHUNK):
                entry.write(chunk)

    def add_text(self, name: str, content: bytes, at: datetime) -> None:
        self._zip.writestr(_entry(name, at, zipfile.ZIP_DEFLATED), content)

    def close(self) -> None:
        self._zip.close()

    def abandon(self) -> None:
        """Write nothing more. Without this, a ZipFile ends its file when it is collected."""
        self._zip.fp = None


def entry_bytes(name: str, row: Mapping[str, Any]) -> int:
    """An upper bound for what an entry adds to its ZIP beside its content: headers, manifest and table.

    `row` is its row of the table, whose texts the manifest repeats.
    """
    texts = sum(len(str(value).encode("utf-8", "replace")) for value in row.values() if value is not None)
    return ENTRY_BYTES + 2 * len(name.encode()) + 8 * texts + 2000


def _entry(name: str, at: datetime | None, compression: int) -> zipfile.ZipInfo:
    moment = (at or datetime.now(UTC)).astimezone(UTC)
    info = zipfile.ZipInfo(name, date_time=(max(1980, min(2107, moment.year)), *moment.timetuple()[1:6]))
    info.compress_type = compression
    info.external_attr = (stat.S_IFREG | 0o644) << 16
    info.create_system = 3  # Unix: the permissions above count
    return info
