from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import psycopg
import pytest
import pytest_asyncio
from realtime_harness import ROLES, SCHEMA, BareClient, Stack

from devstack.database import REALTIME, REALTIME_PARTITIONS
from devstack.postgres import PostgresServer
from tests.fast_folder import fast_folder

_numbers = itertools.count(1)


@pytest_asyncio.fixture(scope="session")
async def postgres() -> AsyncIterator[PostgresServer]:
    with fast_folder() as folder:
        async with PostgresServer(folder / "postgres", durable=False) as server:
            await _prepare(server)
            yield server


async def _prepare(server: PostgresServer) -> None:
    async with await psycopg.AsyncConnection.connect(server.dsn(), autocommit=True) as connection:
        await connection.execute(ROLES)
        # a new replication slot waits until the log is written out
        await connection.execute("alter system set wal_writer_delay = '5ms'")
        await connection.execute("select pg_reload_conf()")
        await connection.execute("create database template_realtime")
    async with await psycopg.AsyncConnection.connect(server.dsn("template_realtime")) as connection:
        await connection.execute(SCHEMA)


@pytest_asyncio.fixture
async def dsn(postgres: PostgresServer) -> AsyncIterator[str]:
    """A new database for the test."""
    async for dsn in _database(postgres):
        yield dsn


async def _database(postgres: PostgresServer) -> AsyncIterator[str]:
    name = f"realtime_{next(_numbers)}"
    async with await psycopg.AsyncConnection.connect(postgres.dsn(), autocommit=True) as connection:
        await connection.execute(f"create database {name} template template_realtime strategy file_copy".encode())
    yield postgres.dsn(name)
    async with await psycopg.AsyncConnection.connect(postgres.dsn(), autocommit=True) as connection:
        await connection.execute(f"drop database {name} with (force)".encode())


@pytest_asyncio.fixture
async def stack(dsn: str) -> AsyncIterator[Stack]:
    stack = Stack(dsn)
    try:
        await stack.start()
        yield stack
    finally:
        await stack.stop()


OWN_TOPICS = """
    grant execute on function realtime.topic() to authenticated;
    create policy "own topic" on realtime.messages for select to authenticated
        using (extension = 'broadcast' and (select realtime.topic()) = 'user:' || (select auth.uid())::text);
"""


@pytest_asyncio.fixture
async def messaging(dsn: str) -> AsyncIterator[Stack]:
    """A stack whose database has Realtime's own schema, and a policy for topics of users."""
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        await connection.execute(REALTIME + REALTIME_PARTITIONS + OWN_TOPICS.encode())
    stack = Stack(dsn)
    try:
        await stack.start()
        yield stack
    finally:
        await stack.stop()


@pytest_asyncio.fixture(scope="module")
async def common(postgres: PostgresServer) -> AsyncIterator[Stack]:
    """A stack for the tests of one module that change nothing."""
    async for dsn in _database(postgres):
        stack = Stack(dsn)
        try:
            await stack.start()
            yield stack
        finally:
            await stack.stop()


@pytest.fixture(params=["1.0.0", "2.0.0"])
def version(request: pytest.FixtureRequest) -> str:
    """Both versions of the protocol."""
    return str(request.param)


@pytest_asyncio.fixture
async def client(stack: Stack) -> BareClient:
    return await stack.connect()
