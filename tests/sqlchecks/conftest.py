"""One Postgres for the folder, with databases as a hosted project has them after `supabase db push`."""

from collections.abc import AsyncGenerator, Generator
from itertools import count

import pytest

from devstack.postgres import PostgresServer
from tests.sqlchecks import postgres_versions, tap
from tests.sqlchecks.scratch import migrated, postgres, run

_numbers = count(1)


@pytest.fixture(scope="session")
async def server() -> AsyncGenerator[PostgresServer]:
    async with postgres(postgres_versions.chosen()) as server:
        yield server


@pytest.fixture(scope="session")
async def template(server: PostgresServer) -> str:
    """The name of a migrated database with pgTAP, to be copied."""
    tap.install_pgtap(await migrated(server, "template_sqlchecks"))
    return "template_sqlchecks"


@pytest.fixture
def dsn(server: PostgresServer, template: str) -> Generator[str]:
    """A database of the test's own."""
    name = f"test_{next(_numbers)}"
    run(server.dsn(), f"create database {name} template {template} strategy file_copy")
    run(server.dsn(), f"alter database {name} set pgrst.db_schemas = 'public, graphql_public'")
    yield server.dsn(name)
    run(server.dsn(), f"drop database {name} with (force)")


@pytest.fixture(scope="session")
def shared_dsn(server: PostgresServer, template: str) -> str:
    """One for all tests that leave nothing behind."""
    run(server.dsn(), f"create database shared template {template} strategy file_copy")
    return server.dsn("shared")
