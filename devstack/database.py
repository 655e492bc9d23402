"""Prepare a database like that of a new hosted project, before the first migration."""

from pathlib import Path

import psycopg

SQL = Path(__file__).parent / "sql"
ROLES = (SQL / "roles.sql").read_bytes()
HOSTED = (SQL / "hosted.sql").read_bytes()
REALTIME = (SQL / "realtime.sql").read_bytes()
REALTIME_PARTITIONS = (SQL / "realtime_partitions.sql").read_bytes()


async def prepare_roles(dsn: str) -> None:
    """Create the roles, grants, publication and Realtime's schema that Supabase Lite and migrations expect."""
    await _run(dsn, ROLES + REALTIME + REALTIME_PARTITIONS)


async def adapt_to_hosted(dsn: str) -> None:
    """Adapt the schemas auth and storage, once they exist, to those of a hosted project."""
    await _run(dsn, HOSTED)


async def keep_message_partitions(dsn: str) -> None:
    """Create the partitions of `realtime.messages` for the next days; drop those of messages older than 72 hours."""
    await _run(dsn, REALTIME_PARTITIONS)


async def has_auth_and_storage(dsn: str) -> bool:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        found = await connection.execute(
            "select to_regclass('auth.users') is not null and to_regclass('auth.audit_log_entries') is not null"
            " and to_regprocedure('storage.allow_any_operation(text[])') is not null"
        )
        row = await found.fetchone()
    return row is not None and bool(row[0])


async def _run(dsn: str, script: bytes) -> None:
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        await connection.execute(script)
