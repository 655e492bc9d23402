"""Names of files in an export: readable, and valid on every file system."""

import re
import unicodedata
from collections.abc import Sequence

from batchgen.exports.types import ExportBatch, ExportItem, ExportPicture
from batchgen.text import slug


class Names:
    """Gives each picture a path of its own. Paths differ even where case and Unicode composition do not count.

    A name is `<number>-<words of the prompt>.<format>`. It never begins with a device name such as `CON`, and has no
    separators, dots at its ends, control characters or characters that change the direction of text. The pictures of
    several batches are in a folder per batch.
    """

    def __init__(self, batches: Sequence[ExportBatch]) -> None:
        self._has_folders = len(batches) > 1
        self._digits = {batch.id: len(str(len(batch.items))) for batch in batches}
        self._taken: set[str] = set()
        self._folders: dict[object, str] = {}

    def path_of(self, batch: ExportBatch, item: ExportItem, position: int, picture: ExportPicture) -> str:
        """The path of a picture. `position` is its item's place in the batch, for items without an index."""
        number = (position if item.index is None else item.index) + 1
        stem = f"{number:0{self._digits[batch.id]}}-{slug(item.prompt)}"
        return self._unique(self._folder(batch), stem, _extension(picture))

    def _folder(self, batch: ExportBatch) -> str:
        if not self._has_folders:
            return ""
        if batch.id not in self._folders:
            # The id at the end keeps a name such as CON from being a device on Windows.
            self._folders[batch.id] = f"{slug(batch.name or 'batch')}-{batch.id.hex[:8]}"
            if list(self._folders.values()).count(self._folders[batch.id]) > 1:
                self._folders[batch.id] = f"{slug(batch.name or 'batch')}-{batch.id.hex}"
        return self._folders[batch.id] + "/"

    def _unique(self, folder: str, stem: str, extension: str) -> str:
        count = 1
        while True:
            path = f"{folder}{stem}{'' if count == 1 else f'-{count}'}.{extension}"
            key = unicodedata.normalize("NFKC", path).casefold()
            if key not in self._taken:
                self._taken.add(key)
                return path
            count += 1


def _extension(picture: ExportPicture) -> str:
    suffix = picture.format or picture.storage_path.rpartition(".")[2]
    return re.sub(r"[^a-z0-9]", "", suffix.lower())[:5] or "bin"
