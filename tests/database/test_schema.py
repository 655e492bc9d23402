"""The tables are the specification's own, on a new project and on one that has the app's tables already."""

from collections.abc import Collection
from pathlib import Path
from uuid import UUID

import pytest
from database_harness import Database, NewDatabase, Row, a_request

from batchgen.imaging.limits import LARGEST_PICTURE_BYTES
from devstack.migrations import apply_migrations, default_migrations_dir
from tests.sqlchecks.schema_files import ROOT
from tests.sqlchecks.scratch import GRANT_EVERYTHING

OLD_USER = UUID("11111111-1111-4111-8111-111111111111")
APP_TABLES = ("models", "image_generations", "images", "tags", "image_tags")
ADDED_COLUMNS = ("batch_id", "batch_index", "retry_count", "priority")


async def migrate(db: Database) -> list[str]:
    return [migration.name for migration in await apply_migrations(db.dsn, default_migrations_dir())]


async def test_tables_indexes_and_view_are_identical_to_those_of_the_specification(
    shared_db: Database, bare: NewDatabase
) -> None:
    specified = await bare("app_schema.sql", "seed_schema.sql")

    assert columns(shared_db, "batch_generations") == columns(specified, "batch_generations")
    assert constraints(shared_db, "batch_generations") == constraints(specified, "batch_generations")
    ours, theirs = (columns(db, "image_generations", ADDED_COLUMNS) for db in (shared_db, specified))
    assert len(ours) == 4
    assert ours == theirs
    assert constraints_on_batch(shared_db) == constraints_on_batch(specified)
    for index in ("idx_batch_generations_user_status", "idx_image_generations_batch"):
        assert definition_of_index(shared_db, index) == definition_of_index(specified, index)
    assert definition_of_view(shared_db) == definition_of_view(specified)
    assert columns(shared_db, "batch_progress") == columns(specified, "batch_progress")


async def test_the_copy_of_the_specification_is_what_the_migration_runs() -> None:
    """Line by line: the statements of the migration stand in the specification's words."""
    migration = next(default_migrations_dir().glob("*_batch_schema.sql")).read_text()
    written = {line.strip().rstrip(";") for line in migration.splitlines()}
    seed = (Path(__file__).parent / "seed_schema.sql").read_text()

    missing = [
        line for line in seed.splitlines() if line.strip().rstrip(";") not in written and not line.startswith("--")
    ]

    assert missing == []


def test_the_specification_stands_in_the_schema_files_word_for_word() -> None:
    seed = (Path(__file__).parent / "seed_schema.sql").read_text()
    specified = seed[seed.index("CREATE TABLE batch_generations") :].strip()

    assert specified in (ROOT / "supabase" / "schemas" / "20_batches" / "specification.sql").read_text()


async def test_no_row_of_an_existing_project_changes(bare: NewDatabase) -> None:
    db = await bare("app_schema.sql")
    before = {table: snapshot(db, table) for table in APP_TABLES}
    policies = policies_of(db)

    await migrate(db)

    for table, rows in before.items():
        assert snapshot(db, table, rows[0].keys()) == rows
    assert [policy for policy in policies_of(db) if policy in policies] == policies
    assert db.value("select count(*) from batchgen.queue") == 0


async def test_a_project_with_the_specifications_tables_keeps_them_and_its_items_run(
    bare: NewDatabase,
) -> None:
    db = await bare("app_schema.sql", "seed_schema.sql", "seed_rows.sql")
    before = {table: snapshot(db, table) for table in (*APP_TABLES, "batch_generations")}

    await migrate(db)

    assert {table: snapshot(db, table, rows[0].keys()) for table, rows in before.items()} == before
    claims = db.claim()
    assert [claim["prompt"] for claim in claims] == ["waits since before 0", "waits since before 1"]
    for claim in claims:
        db.complete(claim)
    assert db.totals(claims[0]["batch_id"]) == ("completed", 2, 0)


@pytest.mark.parametrize("files", [["app_schema.sql"], ["app_schema.sql", "seed_schema.sql"], []])
async def test_a_batch_runs_from_request_to_picture_whatever_was_there_before(
    bare: NewDatabase, files: list[str]
) -> None:
    db = await bare(*files)
    await migrate(db)
    user = db.new_user()

    batch = db.create(user, a_request() | {"shared_settings": {"width": 512}})
    for claim in db.claim():
        db.complete(claim, file_size=10, width=512, height=512)

    assert db.totals(batch["id"]) == ("completed", 2, 0)
    [progress] = db.as_user(user, "select * from public.batch_progress where id = %s", batch["id"])
    assert [(item["index"], item["status"], item["progress"]) for item in progress["items"]] == [
        (0, "completed", 100),
        (1, "completed", 100),
    ]


async def test_the_rows_of_the_app_that_have_no_batch_stay_the_apps(bare: NewDatabase) -> None:
    db = await bare("app_schema.sql")
    await migrate(db)

    db.as_user(OLD_USER, "update public.image_generations set status = 'pending' where status = 'failed'")

    assert db.claim() == []


async def test_a_second_run_applies_nothing(bare: NewDatabase) -> None:
    db = await bare()
    assert len(await migrate(db)) == len(list(default_migrations_dir().glob("*.sql")))

    assert await migrate(db) == []


async def test_the_bucket_and_its_policies_are_made_where_storage_is(bare: NewDatabase) -> None:
    db = await bare("hosted_schemas.sql")

    await migrate(db)

    bucket = db.one("select * from storage.buckets where id = 'generated-images'")
    assert (bucket["id"], bucket["public"], bucket["file_size_limit"]) == (
        "generated-images",
        True,
        LARGEST_PICTURE_BYTES,
    )
    user, stranger = db.new_user(), db.new_user()
    insert = "insert into storage.objects (bucket_id, name) values ('generated-images', %s)"
    db.as_user(user, insert, f"{user}/a.png")
    with pytest.raises(Exception, match="row-level security"):
        db.as_user(stranger, insert, f"{user}/b.png")
    assert db.as_user(stranger, "select * from storage.objects") == []
    assert len(db.as_user(user, "select * from storage.objects")) == 1


async def test_grants_are_the_same_whether_or_not_new_objects_are_granted_by_default(bare: NewDatabase) -> None:
    strict = await bare()
    generous = await bare(before=GRANT_EVERYTHING)

    await migrate(strict)
    await migrate(generous)

    assert grants(strict) == grants(generous)


@pytest.mark.parametrize("table", ["batch_generations", "image_generations", "images", "image_tags"])
def test_realtime_publishes_what_users_watch_with_the_default_identity(shared_db: Database, table: str) -> None:
    published = shared_db.run(
        "select tablename from pg_publication_tables where pubname = 'supabase_realtime' and schemaname = 'public'"
    )

    assert {row["tablename"] for row in published} == {"batch_generations", "image_generations", "images", "image_tags"}
    assert shared_db.value("select relreplident::text from pg_class where oid = %s::regclass", f"public.{table}") == "d"


async def test_a_publication_that_has_the_tables_already_stays_as_it_is(bare: NewDatabase) -> None:
    db = await bare("app_schema.sql", "seed_schema.sql")
    db.run(
        "alter publication supabase_realtime"
        " add table public.image_generations, public.batch_generations, public.images, public.image_tags"
    )

    await migrate(db)

    assert db.value("select count(*) from pg_publication_tables where pubname = 'supabase_realtime'") == 4


def columns(db: Database, table: str, names: Collection[str] | None = None) -> list[Row]:
    rows = db.run(
        "select a.attname, format_type(a.atttypid, a.atttypmod) as type, a.attnotnull, a.attidentity, a.attgenerated,"
        " pg_get_expr(d.adbin, d.adrelid) as default_value"
        " from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum"
        " where a.attrelid = to_regclass(%s) and a.attnum > 0 and not a.attisdropped order by a.attnum",
        f"public.{table}",
    )
    return [row for row in rows if names is None or row["attname"] in names]


def constraints(db: Database, table: str) -> list[Row]:
    return db.run(
        "select conname, contype::text, pg_get_constraintdef(oid) as definition from pg_constraint"
        " where conrelid = to_regclass(%s) order by conname",
        f"public.{table}",
    )


def constraints_on_batch(db: Database) -> list[Row]:
    """Constraints of image_generations on the four added columns."""
    rows = constraints(db, "image_generations")
    return [row for row in rows if any(column in row["definition"] for column in ADDED_COLUMNS)]


def definition_of_index(db: Database, name: str) -> str:
    return db.value("select pg_get_indexdef(to_regclass(%s))", f"public.{name}")


def definition_of_view(db: Database) -> str:
    return db.value("select pg_get_viewdef('public.batch_progress'::regclass)")


def snapshot(db: Database, table: str, names: Collection[str] | None = None) -> list[Row]:
    """All rows with the transaction that wrote them: an update that changes nothing would show, too."""
    rows = db.run(f"select t.xmin::text as written_by, t.* from public.{table} t order by t.id")  # noqa: S608
    return [{key: value for key, value in row.items() if names is None or key in names} for row in rows]


def policies_of(db: Database) -> list[Row]:
    return db.run("select * from pg_policies where schemaname = 'public' order by tablename, policyname")


def grants(db: Database) -> list[Row]:
    """Every privilege on everything in our schemas."""
    return db.run(
        "select c.oid::regclass::text as name, a.grantee::regrole::text, a.privilege_type from pg_class c"
        " cross join lateral aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) a"
        " where c.relnamespace::regnamespace::text in ('public', 'batchgen', 'batchgen_api')"
        " and c.relkind in ('r', 'v', 'S')"
        " union all"
        " select p.oid::regprocedure::text, a.grantee::regrole::text, a.privilege_type from pg_proc p"
        " cross join lateral aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a"
        " where p.pronamespace::regnamespace::text in ('public', 'batchgen', 'batchgen_api')"
        " union all"
        " select n.nspname, a.grantee::regrole::text, a.privilege_type from pg_namespace n"
        " cross join lateral aclexplode(n.nspacl) a where n.nspname in ('batchgen', 'batchgen_api')"
        " order by 1, 2, 3"
    )
