"""Scratch databases with hosted-like schemas and all migrations, under either grant model."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from enum import Enum

import psycopg

from devstack.database import prepare_roles
from devstack.migrations import apply_migrations, default_migrations_dir
from devstack.postgres import PostgresServer
from tests.fast_folder import fast_folder
from tests.sqlchecks.schema_files import ROOT, schema_files

HOSTED_SCHEMAS = (ROOT / "tests" / "database" / "hosted_schemas.sql").read_text()
GRANT_EVERYTHING = (
    "alter default privileges in schema public grant all on tables to anon, authenticated, service_role;"
    "alter default privileges in schema public grant all on sequences to anon, authenticated, service_role;"
    "alter default privileges in schema public grant execute on functions to anon, authenticated, service_role"
)


class Grants(Enum):
    """Default grants of a hosted project on new tables and functions of `public`."""

    EVERYTHING = GRANT_EVERYTHING
    NOTHING = "select"

    @property
    def sentence(self) -> str:
        return f"{self.name.lower()} granted by default"


@asynccontextmanager
async def postgres(kind: type[PostgresServer] = PostgresServer) -> AsyncGenerator[PostgresServer]:
    """A server that leaves nothing behind."""
    with fast_folder() as folder:
        async with kind(folder / "data", durable=False) as server:
            yield server


async def hosted(server: PostgresServer, name: str, grants: Grants = Grants.NOTHING) -> str:
    """A new database as a hosted project has it before the first migration; its address."""
    run(server.dsn(), f"create database {name}")
    dsn = server.dsn(name)
    await prepare_roles(dsn)
    run(dsn, HOSTED_SCHEMAS)
    run(dsn, grants.value)
    return dsn


async def migrated(server: PostgresServer, name: str, grants: Grants = Grants.NOTHING) -> str:
    """The same after `supabase db push`."""
    dsn = await hosted(server, name, grants)
    await apply_migrations(dsn, default_migrations_dir())
    # Without it nine of the advisors look at nothing.
    run(dsn, f"alter database {name} set pgrst.db_schemas = 'public, graphql_public'")
    return dsn


async def declared(server: PostgresServer, name: str, grants: Grants = Grants.NOTHING) -> str:
    """A new database of `supabase/schemas` alone."""
    dsn = await hosted(server, name, grants)
    for file in schema_files():
        try:
            run(dsn, file.read_text())
        except psycopg.Error as error:
            raise AssertionError(f"{file.relative_to(ROOT)}: {error}") from error
    return dsn


def run(dsn: str, sql: str) -> list[tuple[object, ...]]:
    """Run SQL as the owner; return the rows of the last statement."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        cursor = connection.execute(sql.encode())
        while cursor.nextset():
            pass
        return cursor.fetchall() if cursor.description else []
