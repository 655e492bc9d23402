"""The comparison of schema files and migrations notices each change, made to either side alone."""

from pathlib import Path

import pytest

from devstack.postgres import PostgresServer
from tests.sqlchecks import catalog
from tests.sqlchecks.schema_files import schema_files, unnamed_files
from tests.sqlchecks.scratch import declared, migrated, run

NAMES = ("schemas", "migrations")

CHANGES = {
    "create or replace function batchgen.place_of(p_priority integer) returns integer language sql immutable"
    " set search_path = '' as $$ select coalesce(p_priority, 0) $$": (
        "function batchgen.place_of(integer)",
        "coalesce(p_priority, 0)",
    ),
    "revoke execute on function public.create_batch(jsonb) from anon": (
        "acl public.FUNCTION create_batch(p_request jsonb)",
        "TO anon",
    ),
    "alter table batchgen.settings alter column max_retries set default 4": (
        "table batchgen.settings",
        "max_retries integer DEFAULT 4 NOT NULL",
    ),
    "comment on column batchgen.queue.worker is null": ("comment batchgen.COLUMN queue.worker", ""),
    "alter table public.images disable trigger batchgen_bounds": (
        "trigger public.images batchgen_bounds",
        "DISABLE TRIGGER batchgen_bounds",
    ),
    "drop index batchgen.queue_due": ("index batchgen.queue_due", ""),
    'alter policy "Owners read their images" on public.images using (true)': (
        "policy public.images Owners read their images",
        "USING (true)",
    ),
    'drop policy "batchgen: owners list their pictures" on storage.objects': (
        "policy storage.objects batchgen: owners list their pictures",
        "",
    ),
    "alter table batchgen.turns disable row level security": ("row security batchgen.turns", ""),
    "alter view batchgen.charges set (security_invoker = off)": ("view batchgen.charges", "security_invoker"),
    "alter publication supabase_realtime drop table public.images": (
        "publication table public.supabase_realtime images",
        "",
    ),
    "alter default privileges in schema batchgen_api grant execute on functions to anon": (
        "default acl batchgen_api.DEFAULT PRIVILEGES FOR FUNCTIONS",
        "",
    ),
    "grant usage on schema batchgen to anon": ("acl SCHEMA batchgen", "TO anon"),
    "grant update (rating) on public.images to service_role": ("acl public.COLUMN images.rating", "TO service_role"),
    "update batchgen.settings set max_retries = 4": ("rows of batchgen.settings", '"max_retries": 4'),
    "update batchgen.models set provider = 'fal' where name = 'qwen/qwen-image'": (
        "rows of batchgen.models",
        '"provider": "fal"',
    ),
    "update storage.buckets set public = false": ("rows of storage.buckets", '"public": false'),
    "insert into public.tags (name) values ('fox')": ("rows of public.tags", ""),
    "alter table batchgen.touched add column place integer": ("table batchgen.touched", "place integer"),
}


@pytest.fixture(scope="module")
async def kept(server: PostgresServer) -> catalog.Objects:
    return await catalog.objects(await migrated(server, "catalog_kept"))


async def test_schema_files_and_migrations_make_the_same_database(
    server: PostgresServer, kept: catalog.Objects
) -> None:
    schemas = await catalog.objects(await declared(server, "catalog_schemas"))

    assert catalog.differences(schemas, kept, NAMES) == []
    assert len(kept) > 1000


@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_of_either_side_alone_is_named(
    server: PostgresServer, kept: catalog.Objects, change: str
) -> None:
    key, new_text = CHANGES[change]
    run(server.dsn(), "create database catalog_changed template catalog_kept strategy file_copy")
    try:
        run(server.dsn("catalog_changed"), change)
        changed = await catalog.objects(server.dsn("catalog_changed"))
    finally:
        run(server.dsn(), "drop database catalog_changed with (force)")

    for one, other in ((kept, changed), (changed, kept)):
        lines = catalog.differences(one, other, NAMES)
        assert any(line.startswith(f"{key}: ") for line in lines), lines
        assert any(new_text in line for line in lines), lines


async def test_the_order_in_which_objects_are_made_makes_no_difference(server: PostgresServer) -> None:
    makes = [
        "create table public.a (id uuid); create table public.b (id uuid)",
        "grant select on public.a to anon; grant select on public.a to authenticated",
        "create function public.c() returns integer language sql as 'select 1'",
    ]
    backwards = [
        "create function public.c() returns integer language sql as 'select 1'",
        "create table public.b (id uuid); create table public.a (id uuid)",
        "grant select on public.a to authenticated; grant select on public.a to anon",
    ]
    found: list[catalog.Objects] = []
    for number, statements in enumerate((makes, backwards)):
        run(server.dsn(), f"create database catalog_order_{number}")
        for statement in statements:
            run(server.dsn(f"catalog_order_{number}"), statement)
        found.append(await catalog.objects(server.dsn(f"catalog_order_{number}")))

    assert catalog.differences(found[0], found[1], NAMES) == []


def test_each_schema_file_is_applied_once_and_none_is_left_out() -> None:
    files = schema_files()

    assert len(files) == len(set(files)) > 100
    assert unnamed_files() == []


def test_a_file_that_no_pattern_names_is_found(tmp_path: Path) -> None:
    for name in ("one/b.sql", "one/a.sql", "two/deeper/c.sql"):
        (tmp_path / "schemas" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "schemas" / name).write_text("select 1;")
    (tmp_path / "config.toml").write_text(
        '[db.migrations]\nschema_paths = ["./schemas/one/b.sql", "./schemas/*/*.sql"]\n'
    )

    assert [file.name for file in schema_files(tmp_path)] == ["b.sql", "a.sql"]
    [line] = unnamed_files(tmp_path)
    assert line.startswith("schemas/two/deeper/c.sql: ")
