"""Makes a database look as hosted Supabase's does before the first migration."""

from pathlib import Path

import psycopg

SQL = Path(__file__).parent / "sql"
ROLES = (SQL / "roles.sql").read_bytes()
HOSTED = (SQL / "hosted.sql").read_bytes()


async def prepare_roles(dsn: str) -> None:
    """Roles, grants and the publication: what Supabase Lite and migrations expect to find."""
    await _run(dsn, ROLES)


async def resemble_hosted(dsn: str) -> None:
    """The rest, once the schemas auth and storage are there."""
    await _run(dsn, HOSTED)


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
