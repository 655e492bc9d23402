"""Limits the length of tests' names: Python functions, pgTAP files and descriptions."""

import re
from collections.abc import Iterable
from pathlib import Path

from tests.sqlchecks.schema_files import ROOT, SUPABASE

CHARACTERS = 80
TEST = re.compile(r"^\s*(?:async )?def (test_\w+)", re.MULTILINE)


def findings(tests: Path = ROOT / "tests", supabase: Path = SUPABASE) -> list[str]:
    """One line per name that is too long, `test_` counted and `.test.sql` not."""
    functions = ((file, name) for file in sorted(tests.rglob("test_*.py")) for name in TEST.findall(file.read_text()))
    files = sorted((supabase / "tests").rglob("*.test.sql"))
    return too_long([*functions, *((file, file.name.removesuffix(".test.sql")) for file in files)])


def too_long(names: Iterable[tuple[Path, str]]) -> list[str]:
    return [
        f"{file.name}: {name} has {len(name)} characters; a test's name has at most {CHARACTERS}"
        for file, name in names
        if len(name) > CHARACTERS
    ]
