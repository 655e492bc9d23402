"""Checks SQL files as text: short lines, each function defined once, no function too long."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from devstack.statements import split_statements
from tests.sqlchecks.schema_files import ROOT, SUPABASE, unnamed_files

COLUMNS = 120
FUNCTION_LINES = 80
LABELS = ("-- Caller:", "-- States", "-- Locks:", "-- Errors:")
"""How lines of a header begin, in this order (docs/sql.md)."""
REASON = "-- Long because"
"""How the header of a longer function begins its reason."""

CREATED = re.compile(r"^create (?P<again>or replace )?function (?P<name>[\w.]+)\s*\(", re.IGNORECASE | re.MULTILINE)
DROPPED = re.compile(r"^drop function (?:if exists )?(?P<name>[\w.]+)", re.IGNORECASE | re.MULTILINE)
OTHER_SQL = ("supabase/*.sql", "tests/database/*.sql", "devstack/sql/*.sql")


@dataclass(frozen=True)
class Function:
    name: str
    header: str
    lines: int
    is_again: bool


def findings(supabase: Path = SUPABASE) -> list[str]:
    """One line per finding."""
    schemas = sorted((supabase / "schemas").rglob("*.sql"))
    migrations = sorted((supabase / "migrations").glob("*.sql"))
    others = [*(supabase / "tests").rglob("*.*sql"), *(file for glob in OTHER_SQL for file in ROOT.glob(glob))]
    return [
        *unnamed_files(supabase),
        *long_lines([*schemas, *migrations, *sorted(others)]),
        *defined_twice(schemas),
        *created_twice(migrations),
        *long_functions(schemas),
        *other_headers(schemas),
    ]


def long_lines(files: Iterable[Path]) -> list[str]:
    return [
        f"{_place(file)}:{number}: {len(line)} characters; at most {COLUMNS} are read without scrolling"
        for file in files
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if len(line) > COLUMNS and not line.startswith("\\")  # psql's own commands take one line
    ]


def defined_twice(files: Iterable[Path]) -> list[str]:
    """A schema file says what is in force: a function of one name stands in one place."""
    places: dict[str, list[str]] = {}
    for file in files:
        for function in _functions(file):
            places.setdefault(function.name, []).append(_place(file))
    return [f"{name}: defined in {', '.join(where)}" for name, where in sorted(places.items()) if len(where) > 1]


def created_twice(files: Iterable[Path]) -> list[str]:
    """A migration that changes a function says `create or replace`, or drops it first."""
    created = Counter[str]()
    for file in files:
        text = file.read_text()
        created.update(match["name"] for match in CREATED.finditer(text) if not match["again"])
        created.subtract(match["name"] for match in DROPPED.finditer(text) if created[match["name"]] > 1)
    return [f"{name}: created {number} times in migrations" for name, number in sorted(created.items()) if number > 1]


def long_functions(files: Iterable[Path]) -> list[str]:
    return [
        f"{_place(file)}: {function.name} has {function.lines} lines; at most {FUNCTION_LINES}, or the reason in its"
        f" header: {REASON} …"
        for file in files
        for function in _functions(file)
        if function.lines > FUNCTION_LINES and REASON not in function.header
    ]


def other_headers(files: Iterable[Path]) -> list[str]:
    """A header begins with the function's name and has its labels in order; one of the API names the caller."""
    found: list[str] = []
    for file in files:
        for function in _functions(file):
            lines = function.header.splitlines()
            places = [LABELS.index(label) for line in lines for label in LABELS if line.startswith(label)]
            name = function.name.split(".")[1]
            if lines and not lines[0].startswith(f"-- {name}("):
                found.append(f"{_place(file)}: the header of {function.name} does not begin with -- {name}(…)")
            if places != sorted(places):
                found.append(f"{_place(file)}: the header of {function.name} has not the order {', '.join(LABELS)}")
            if function.name.startswith("public.") and LABELS.index("-- Caller:") not in places:
                found.append(f"{_place(file)}: the header of {function.name} does not say its caller")
    return found


def _functions(file: Path) -> Iterator[Function]:
    for statement in split_statements(file.read_text()):
        if match := CREATED.search(statement):
            # The comment that ends above the function; one before an empty line is the file's.
            header = statement[: match.start()].rpartition("\n\n")[2]
            definition = statement[match.start() :]
            yield Function(match["name"], header, len(definition.splitlines()), bool(match["again"]))


def _place(file: Path) -> str:
    return str(file.relative_to(ROOT)) if file.is_relative_to(ROOT) else str(file)
