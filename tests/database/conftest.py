"""A Postgres for the folder, a template with all migrations, and a fresh database from it for every test."""

import itertools
import os
from collections.abc import AsyncIterator, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
import pytest_asyncio
from app_writes import ALLOW_EVERYTHING, NO_ROW_SECURITY
from database_harness import Database, NewDatabase, connect

from devstack.database import prepare_roles
from devstack.migrations import apply_migrations, default_migrations_dir
from devstack.postgres import PostgresServer
from tests.sqlchecks import postgres_versions, scratch

PROJECTS = {"new": (), "app": ("app_schema.sql", "seed_schema.sql", "app_rows.sql")}
"""What is there before the migrations, by BATCHGEN_TEST_PROJECT: nothing, or the app's tables with rows in them."""

_numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="session")
async def postgres() -> AsyncIterator[PostgresServer]:
    async with scratch.postgres(postgres_versions.chosen()) as server:
        yield server


@pytest_asyncio.fixture(scope="session")
async def template(postgres: PostgresServer) -> str:
    """The name of a database with roles and all migrations, to be copied."""
    name = "template_batchgen"
    _create(postgres, name, "template1")
    await prepare_roles(postgres.dsn(name))
    for file in PROJECTS[os.environ.get("BATCHGEN_TEST_PROJECT", "new")]:
        _run_file(postgres.dsn(name), file)
    await apply_migrations(postgres.dsn(name), default_migrations_dir())
    _run_file(postgres.dsn(name), "made.sql")
    if mutant := os.environ.get("BATCHGEN_TEST_MUTANT"):  # `make mutate-sql` asks whether a test notices
        _run_in(postgres.dsn(name), mutant)
    return name


@pytest.fixture(scope="session")
def pool(postgres: PostgresServer, template: str) -> Iterator["DatabasePool"]:
    with ThreadPoolExecutor(1) as maker:
        yield DatabasePool(postgres, template, maker)


@pytest.fixture
def db(pool: "DatabasePool") -> Iterator[Database]:
    """A database of the test's own, with everything applied."""
    with pool.take() as database:
        yield database


@pytest.fixture(params=["our policies", "policies that allow all", "no row security"])
def project(request: pytest.FixtureRequest, db: Database) -> Database:
    """A database with our policies and grants, or with those of a project that refuses nothing."""
    if request.param != "our policies":
        db.run(ALLOW_EVERYTHING if request.param == "policies that allow all" else NO_ROW_SECURITY)
    return db


@pytest.fixture(scope="module")
def shared_db(pool: "DatabasePool") -> Iterator[Database]:
    """One for a whole module, for tests that only read or that clean up themselves."""
    with pool.take() as database:
        yield database


@pytest_asyncio.fixture
async def bare(postgres: PostgresServer) -> AsyncIterator[NewDatabase]:
    """Makes databases with Supabase's roles and the given SQL files, but without our migrations."""
    made: list[Database] = []

    async def make(*sql_files: str, before: str = "") -> Database:
        name = f"bare_{next(_numbers)}"
        _create(postgres, name, "template1")
        await prepare_roles(postgres.dsn(name))
        database = Database(postgres.dsn(name), connect(postgres.dsn(name)))
        made.append(database)
        if before:
            database.run(before)
        for file in sql_files:
            database.run((Path(__file__).parent / file).read_text())
        return database

    yield make
    for database in made:
        name = database.admin.info.dbname
        database.admin.close()
        _run(postgres, f"drop database {name} with (force)")


class DatabasePool:
    """Copies of the template, one made ahead in the background while a test uses the one before."""

    def __init__(self, postgres: PostgresServer, template: str, maker: ThreadPoolExecutor) -> None:
        self._postgres, self._template, self._maker = postgres, template, maker
        self._next = self._order()

    @contextmanager
    def take(self) -> Generator[Database]:
        name = self._next.result()
        self._next = self._order()
        with connect(self._postgres.dsn(name)) as connection:
            yield Database(self._postgres.dsn(name), connection)
        self._maker.submit(_run, self._postgres, f"drop database {name} with (force)")

    def _order(self) -> "Future[str]":
        return self._maker.submit(_create, self._postgres, f"test_{next(_numbers)}", self._template)


def _run_file(dsn: str, name: str) -> None:
    _run_in(dsn, (Path(__file__).parent / name).read_text())


def _create(postgres: PostgresServer, name: str, template: str) -> str:
    _run(postgres, f"create database {name} template {template} strategy file_copy")
    return name


def _run(postgres: PostgresServer, sql: str) -> None:
    _run_in(postgres.dsn(), sql)


def _run_in(dsn: str, sql: str) -> None:
    with psycopg.connect(dsn, autocommit=True) as admin:
        admin.execute(sql.encode())
