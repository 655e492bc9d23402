"""Connections to Postgres with the settings that the protocol's values depend on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import psycopg

Connection: TypeAlias = psycopg.AsyncConnection[tuple[Any, ...]]

# Text taken from the log is cast back on another connection: both must write and read values alike.
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
    """One connection that one task at a time may use; made when first needed and made anew once it broke."""

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
    """Whether the session is gone, so that the same statement may work on a new connection."""
    state = error.sqlstate or ""
    return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError) and (
        not state or state.startswith(("08", "57P", "53"))
    )
