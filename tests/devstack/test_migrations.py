"""Migrations: in order, whole or not at all, recorded as the Supabase CLI records them."""

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from devstack import DevstackError, PostgresServer
from devstack.migrations import apply_migrations, changed_migrations, default_migrations_dir, find_migrations
from devstack.statements import split_statements


@pytest.fixture
async def dsn(postgres: PostgresServer) -> AsyncIterator[str]:
    name = f"m_{uuid4().hex}"
    async with await psycopg.AsyncConnection.connect(postgres.dsn(), autocommit=True) as connection:
        await connection.execute(f"create database {name}".encode())
        yield postgres.dsn(name)
        await connection.execute(f"drop database {name} with (force)".encode())


async def history(dsn: str) -> list[tuple[str, str, list[str]]]:
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        found = await connection.execute(
            "select version, name, statements from supabase_migrations.schema_migrations order by version"
        )
        return [(str(row[0]), str(row[1]), list(row[2])) for row in await found.fetchall()]


async def test_migrations_are_applied_once_in_version_order(dsn: str, tmp_path: Path) -> None:
    (tmp_path / "20260102000000_second.sql").write_text("insert into t values (1);")
    (tmp_path / "20260101000000_first.sql").write_text("create table t (id int);")
    (tmp_path / "notes.sql").write_text("not a migration")

    applied = await apply_migrations(dsn, tmp_path)
    again = await apply_migrations(dsn, tmp_path)

    assert [migration.name for migration in applied] == ["first", "second"]
    assert again == []
    assert await history(dsn) == [
        ("20260101000000", "first", ["create table t (id int)"]),
        ("20260102000000", "second", ["insert into t values (1)"]),
    ]


async def test_a_migration_changed_after_it_was_applied_is_named(dsn: str, tmp_path: Path) -> None:
    (tmp_path / "20260101000000_first.sql").write_text("create table t (id int); -- the first\n")
    (tmp_path / "20260102000000_second.sql").write_text("insert into t values (1);")
    before = await changed_migrations(dsn, tmp_path)
    await apply_migrations(dsn, tmp_path)
    unchanged = await changed_migrations(dsn, tmp_path)

    (tmp_path / "20260102000000_second.sql").write_text("insert into t values (2);")
    (tmp_path / "20260103000000_third.sql").write_text("insert into t values (3);")
    [changed] = await changed_migrations(dsn, tmp_path)

    assert before == unchanged == []
    assert changed.name == "second"


async def test_a_failing_migration_leaves_nothing_and_names_its_line(dsn: str, tmp_path: Path) -> None:
    (tmp_path / "20260101000000_broken.sql").write_text("create table t (id int);\n\n  select nothing_here;\n")

    with pytest.raises(DevstackError, match=r"20260101000000_broken.sql, line 3, column 10: .*nothing_here.*42703"):
        await apply_migrations(dsn, tmp_path)

    assert await history(dsn) == []
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        found = await connection.execute("select to_regclass('public.t')")
        assert await found.fetchone() == (None,)


async def test_migrations_applied_by_the_cli_are_not_repeated(dsn: str, tmp_path: Path) -> None:
    (tmp_path / "20260101000000_first.sql").write_text("create table t (id int);")
    await apply_migrations(dsn, tmp_path / "none")
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        await connection.execute(
            "insert into supabase_migrations.schema_migrations (version) values ('20260101000000')"
        )

    assert await apply_migrations(dsn, tmp_path) == []


def test_the_projects_own_migrations_are_found() -> None:
    assert find_migrations(default_migrations_dir())


@pytest.mark.parametrize(
    ("sql", "statements"),
    [
        ("select 1; select 2", ["select 1", "select 2"]),
        ("select ';'; select \";\"", ["select ';'", 'select ";"']),
        ("-- a;\nselect 1;\n-- the end", ["-- a;\nselect 1"]),
        ("/* a; /* b; */ c; */ select 1;", ["/* a; /* b; */ c; */ select 1"]),
        ("do $x$ begin; $$;$$; end $x$; select 1;", ["do $x$ begin; $$;$$; end $x$", "select 1"]),
        (r"select E'it\'s;'; select 1", [r"select E'it\'s;'", "select 1"]),
        (
            "create function f() returns int begin atomic select case when true then 1 end; end; select 2;",
            ["create function f() returns int begin atomic select case when true then 1 end; end", "select 2"],
        ),
    ],
)
def test_statements_are_split_where_they_end(sql: str, statements: list[str]) -> None:
    assert split_statements(sql) == statements
