"""Connections to Postgres with the settings that determine the format of values."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import psycopg

Connection: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]

# Text from the log is cast back to values on another connection, so both must use the same formats.
_SETTINGS = """
    set datestyle = 'ISO, YMD'; set intervalstyle = 'postgres'; set timezone = 'UTC';
    set extra_float_digits = 1; set bytea_output = 'hex'; set statement_timeout = 0; set lock_timeout = 0;
    set idle_in_transaction_session_timeout = 0; set client_min_messages = 'error';
"""


async def connect(database_url: str, purpose: str) -> Connection:
    connection = await psycopg.AsyncConnection.connect(
        database_url,
        autocommit=True,
        client_encoding="utf8",
        application_name=f"devstack realtime {purpose}",
        connect_timeout=5,
    )
    try:
        await connection.execute(_SETTINGS)
    except BaseException:
        await connection.close()
        raise
    return connection


class SharedConnection:
    """A connection for one task at a time, opened on first use and reopened after it broke."""

    def __init__(self, database_url: str, purpose: str) -> None:
        self._database_url = database_url
        self._purpose = purpose
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def use(self) -> AsyncGenerator[Connection]:
        async with self._lock:
            if self._connection is None or self._connection.closed:
                self._connection = await connect(self._database_url, self._purpose)
            yield self._connection

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def is_connection_loss(error: psycopg.Error) -> bool:
    """Whether the connection was lost, so that the statement may work on a new one."""
    state = error.sqlstate or ""
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and (
        not state or state.startswith(("08", "57P", "53"))
    )
