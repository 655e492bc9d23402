"""One durable Postgres for a whole run, and new databases in it, empty or with the migrations."""

import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, LiteralString, TypeAlias

import psycopg
from psycopg import sql

from devstack import PostgresServer, database, migrations

Connection: TypeAlias = "psycopg.AsyncConnection[tuple[Any, ...]]"

SHOWN_SETTINGS = ("fsync", "synchronous_commit", "wal_level", "shared_buffers", "max_connections", "full_page_writes")


class Cluster:
    def __init__(self, server: PostgresServer) -> None:
        self._server = server

    async def fresh_database(self, name: str, *, migrated: bool = False) -> str:
        """Create a database, dropping one of the same name; return its URL."""
        async with await connect(self._server.dsn()) as connection:
            await connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))
            await connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        dsn = self._server.dsn(name)
        if migrated:
            await database.prepare_roles(dsn)
            await migrations.apply_migrations(dsn, migrations.default_migrations_dir())
        return dsn

    async def drop_database(self, name: str) -> None:
        async with await connect(self._server.dsn()) as connection:
            await connection.execute(sql.SQL("drop database if exists {} with (force)").format(sql.Identifier(name)))

    async def facts(self) -> dict[str, str]:
        async with await connect(self._server.dsn()) as connection:
            shown = {name: str(await scalar(connection, "select current_setting(%s)", name)) for name in SHOWN_SETTINGS}
            return {"version": str(await scalar(connection, "select version()")), **shown}


@asynccontextmanager
async def running_cluster(folder: Path) -> AsyncGenerator[Cluster]:
    """A cluster with the dev stack's settings, and durable: speed at the cost of data is not measured."""
    async with PostgresServer(folder, durable=True) as server:
        yield Cluster(server)


async def connect(dsn: str) -> Connection:
    """Connect like PostgREST, which prepares statements at their first use."""
    return await psycopg.AsyncConnection.connect(dsn, autocommit=True, prepare_threshold=0)


async def scalar(connection: Connection, statement: LiteralString, *values: Any) -> Any:
    row = await (await connection.execute(statement, values)).fetchone()
    return row[0] if row else None


async def settle(dsn: str) -> None:
    """Analyze and checkpoint, so that neither happens during a measurement."""
    async with await connect(dsn) as connection:
        await connection.execute("vacuum (analyze)")
        await connection.execute("checkpoint")


class Stopwatch:
    def __init__(self) -> None:
        self._began = time.perf_counter()

    @property
    def milliseconds(self) -> float:
        return (time.perf_counter() - self._began) * 1000
