"""Check that lines of Markdown fit the screen, tables and code blocks included."""

import os
from collections.abc import Iterator
from pathlib import Path

from tests.sqlchecks.schema_files import ROOT
from tests.sqlchecks.sources import long_lines


def findings(root: Path = ROOT) -> list[str]:
    """One line per finding."""
    return long_lines(sorted(_files(root)))


def _files(root: Path) -> Iterator[Path]:
    for folder, subfolders, names in os.walk(root):
        subfolders[:] = [name for name in subfolders if not name.startswith(".") and name != "node_modules"]
        yield from (Path(folder, name) for name in names if name.endswith(".md"))
