"""Apply `supabase/migrations` and record them as the Supabase CLI does, so that both can be used on one database."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from devstack.errors import MigrationFailed
from devstack.statements import split_statements

FILE_NAME = re.compile(r"^(?P<version>\d{14})_(?P<name>.+)\.sql$")

HISTORY = b"""
create schema if not exists supabase_migrations;
create table if not exists supabase_migrations.schema_migrations (version text not null primary key);
alter table supabase_migrations.schema_migrations add column if not exists statements text[];
alter table supabase_migrations.schema_migrations add column if not exists name text;
"""


@dataclass(frozen=True)
class Migration:
    version: str
    name: str
    file: Path


def default_migrations_dir() -> Path:
    """The folder in the checkout, or its copy in an installed package."""
    package = Path(__file__).resolve().parent
    checkout = package.parent / "supabase" / "migrations"
    return checkout if checkout.is_dir() else package / "migrations_sql"


def find_migrations(folder: Path) -> list[Migration]:
    """All migrations of a folder, by version."""
    matches = ((FILE_NAME.match(file.name), file) for file in sorted(folder.glob("*.sql")))
    return [Migration(match["version"], match["name"], file) for match, file in matches if match]


async def apply_migrations(dsn: str, folder: Path) -> list[Migration]:
    """Apply the migrations that the database does not have, and return them. A failing one is rolled back."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute(HISTORY)
        seen = await connection.execute("select version from supabase_migrations.schema_migrations")
        versions = {str(row[0]) for row in await seen.fetchall()}
        waiting = [migration for migration in find_migrations(folder) if migration.version not in versions]
        for migration in waiting:
            await _apply(connection, migration)
    return waiting


async def changed_migrations(dsn: str, folder: Path) -> list[Migration]:
    """The migrations whose file differs from what was applied to the database."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute(HISTORY)
        rows = await connection.execute("select version, statements from supabase_migrations.schema_migrations")
        applied = {str(version): _words(statements or ()) for version, statements in await rows.fetchall()}
    return [
        migration
        for migration in find_migrations(folder)
        if applied.get(migration.version) not in (None, _words(split_statements(migration.file.read_text())))
    ]


def _words(statements: Sequence[str]) -> list[str]:
    """The words without semicolons: the Supabase CLI may have split the statements differently."""
    return " ".join(statements).replace(";", " ").split()


async def _apply(connection: psycopg.AsyncConnection, migration: Migration) -> None:
    text = migration.file.read_text()
    try:
        async with connection.transaction():
            await connection.execute(text.encode())
            await connection.execute(
                "insert into supabase_migrations.schema_migrations (version, statements, name) values (%s, %s, %s)",
                (migration.version, split_statements(text), migration.name),
            )
    except psycopg.Error as error:
        raise MigrationFailed(_explain(migration, text, error)) from error
    await connection.execute("reset all")


def _explain(migration: Migration, text: str, error: psycopg.Error) -> str:
    diagnosis = error.diag
    where = migration.file.name
    if diagnosis.statement_position:
        before = text[: int(diagnosis.statement_position) - 1]
        where += f", line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}"
    parts = [diagnosis.message_primary or str(error).strip(), diagnosis.message_detail, diagnosis.message_hint]
    message = "; ".join(part for part in parts if part)
    context = (diagnosis.context or "").splitlines()
    inside = f" [{context[0]}]" if context else ""
    return f"Migration {where}: {message} (SQLSTATE {error.sqlstate}){inside}. It was rolled back."
