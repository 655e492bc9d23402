"""`supabase/uninstall.sql` returns a project to its state before the first migration."""

import re
from pathlib import Path
from typing import Any

import psycopg
import pytest
from database_harness import Database, NewDatabase, Row
from test_existing_projects import (
    APP,
    PERMISSIVE,
    SPECIFIED,
    Project,
    as_owner,
    catalog,
    migrate,
    prepared,
    the_main_job_runs,
)

from devstack.migrations import default_migrations_dir, find_migrations

UNINSTALL = Path(__file__).parents[2] / "supabase" / "uninstall.sql"
LIMITS = (*APP, "app_limits.sql")
TABLES = ("models", "image_generations", "images", "tags", "image_tags", "user_rate_limits", "prompt_templates")

PROJECTS = [
    Project("the app's tables", APP),
    Project("the app's tables with the specification's, and rows", (*SPECIFIED, "seed_rows.sql")),
    Project("the app's tables and limits", LIMITS),
    Project(
        "tables without policies, with rights of their own",
        APP,
        """
        drop policy "tags" on public.tags; alter table public.tags disable row level security;
        drop policy "own images" on public.images;
        revoke all on public.tags, public.images from authenticated, service_role;
        grant select, insert on public.tags to anon with grant option; grant select (id, name) on public.tags to public;
        grant update (rating, filename) on public.images to authenticated;
        comment on column public.tags.color is 'The app''s own words.';
        """,
    ),
    Project(
        "some of ours there already",
        (*LIMITS, "seed_schema.sql"),
        """
        alter view public.batch_progress set (security_barrier = true);
        comment on view public.batch_progress is 'The app''s view.';
        grant select on public.batch_progress to anon;
        alter table public.images add column seed bigint, add column is_black boolean;
        create index idx_images_user on public.images (user_id);
        create policy "Owners read their images" on public.images for select using (user_id = auth.uid());
        alter publication supabase_realtime add table public.images, public.tags;
        comment on function public.get_user_limits(uuid) is 'The app''s function.';
        revoke execute on function public.get_user_limits(uuid) from public;
        grant execute on function public.get_user_limits(uuid) to anon;
        """,
    ),
    Project(
        "hosted owners",
        (*LIMITS, "hosted_owners.sql"),
        PERMISSIVE + "alter function public.get_user_limits(uuid) owner to project_owner;",
        owner="project_owner",
    ),
    Project(
        "hosted owners, and policies on Storage and Realtime by special grant",
        ("hosted_schemas.sql", "hosted_owners.sql"),
        "grant supabase_storage_admin, supabase_realtime_admin to project_owner",
        owner="project_owner",
    ),
    Project(
        "another migration history",
        APP,
        "create schema supabase_migrations; create table supabase_migrations.schema_migrations (version text primary"
        " key, name text);"
        "insert into supabase_migrations.schema_migrations values ('20250101000000', 'first_look'),"
        " ('20260101000000', 'something_else')",
    ),
]


def named(project: Project) -> str:
    return project.name


def uninstall(db: Database, owner: str = "", **settings: str) -> str:
    """Answers what it says."""
    said: list[str] = []
    with psycopg.connect(as_owner(db, owner), autocommit=True) as connection:
        connection.add_notice_handler(lambda notice: said.append(notice.message_primary or ""))
        for name, value in settings.items():
            connection.execute("select set_config(%s, %s, false)", (f"batchgen.{name}", value))
        connection.execute(UNINSTALL.read_bytes())
    return "\n".join(said)


def comparable(db: Database) -> dict[str, list[Row]]:
    """The catalog with rights as sets: one that is empty and one that says the same in words are equal."""
    found: dict[str, list[Row]] = {name: [dict(row) for row in rows] for name, rows in catalog(db).items()}
    found["indexes"] = db.run("select tablename, indexdef from pg_indexes where schemaname = 'public' order by 1, 2")
    rights = db.run(
        "select 'relation ' || c.oid::regclass::text as name, e.* from pg_class c cross join lateral"
        " aclexplode(coalesce(c.relacl, acldefault('r', c.relowner))) e"
        " where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'v')"
        " union all select 'function ' || p.oid::regprocedure::text, e.* from pg_proc p cross join lateral"
        " aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) e where p.pronamespace = 'public'::regnamespace"
        " order by 1, 2, 3, 4"
    )
    for name in ("relations", "functions"):
        for row in found[name]:
            row.pop("relacl", None)
            row.pop("proacl", None)
    for row in found["columns"]:
        row["attacl"] = sorted(re.sub("[{}]", "", row["attacl"] or "").split(","))
    return found | {"rights": rights}


def rows_of(db: Database, tables: list[str]) -> dict[str, list[Any]]:
    return {table: [dict(row) for row in db.run(f"table {table}")] for table in tables}


@pytest.mark.parametrize("pictures", ["keep", "drop"])
@pytest.mark.parametrize("project", PROJECTS, ids=named)
async def test_the_project_is_as_before_with_all_rows_and_takes_batchgen_again(
    bare: NewDatabase, project: Project, pictures: str
) -> None:
    db = await prepared(bare, project)
    tables = [
        row["name"]
        for row in db.run("select 'public.' || tablename as name from pg_tables where schemaname = 'public'")
    ]
    before, rows = comparable(db), rows_of(db, tables)
    await migrate(db, project.owner)
    new = db.submit(prompts=3)
    claims = db.claim()
    db.complete(next(claim for claim in claims if str(claim["batch_id"]) == str(new["id"])))
    with pytest.raises(psycopg.Error, match=r"Items of batches have not ended \(waiting: \d+, running: \d+\)"):
        uninstall(db, project.owner, pictures=pictures)

    said = uninstall(db, project.owner, unfinished="end", pictures=pictures)

    assert "end as failed, with the code cancelled" in said
    stay = set(re.findall(r"^- public\.(\S+) stays: batchgen made it", said, re.MULTILINE))
    assert stay <= (set() if pictures == "drop" else set(TABLES) | {"batch_generations"} - set(tables))
    now = {
        name: [row for row in rows if not any(table in str(row) for table in stay)]
        for name, rows in comparable(db).items()
    }
    assert now == before
    after = rows_of(db, tables)
    for table, kept in rows.items():
        # Items that waited have ended, and their batches with them; a claim had given them seeds.
        changes = ("status", "error_message", "completed_at", "failed_count", "seed")
        changed = changes if table in ("public.image_generations", "public.batch_generations") else ()
        there = [{k: v for k, v in row.items() if k not in changed} for row in after[table]]
        missing = [row for row in kept if {k: v for k, v in row.items() if k not in changed} not in there]
        assert missing == [], table
    mine = [row for row in after.get("public.images", []) if row not in rows.get("public.images", [])]
    if "public.images" in tables:
        assert len(mine) == (1 if pictures == "keep" else 0)
    if project.name == "another migration history":
        assert db.value("select count(*) from supabase_migrations.schema_migrations") == 2
        return
    assert db.run("select version from supabase_migrations.schema_migrations") == []
    await migrate(db, project.owner)
    the_main_job_runs(db)


@pytest.mark.parametrize("pictures", ["", "drop"])
@pytest.mark.parametrize("has_rows", [True, False], ids=["rows", "no rows"])
async def test_in_a_bare_project_tables_with_rows_stay_unless_they_are_to_be_dropped(
    bare: NewDatabase, has_rows: bool, pictures: str
) -> None:
    db = await bare()
    before = comparable(db)
    await migrate(db)
    if has_rows:
        db.submit()
        db.complete_all(db.claim())
    made = rows_of(db, ["public.batch_generations", "public.image_generations", "public.images"])

    said = uninstall(db, pictures=pictures)

    kept = set(re.findall(r"^- (\S+) stays: batchgen made it", said, re.MULTILINE))
    if has_rows and not pictures:
        assert {"public.batch_generations", "public.image_generations", "public.images", "public.models"} <= kept
        assert rows_of(db, list(made)) == made
        assert db.run("select nspname from pg_namespace where nspname like 'batchgen%%'") == []
        await migrate(db)
        the_main_job_runs(db)
        return
    assert kept == set()
    assert comparable(db) == before


async def test_the_list_names_what_goes_and_what_stays_and_changes_nothing(bare: NewDatabase) -> None:
    db = await bare(*LIMITS)
    await migrate(db)
    db.submit(prompts=2)
    before = catalog(db)

    with pytest.raises(psycopg.Error, match="This is what removing batchgen would do") as caught:
        uninstall(db, uninstall="list", unfinished="end")

    said = str(caught.value)
    for line in (
        "- Items of batches that have not ended (waiting: 2, running: 0) end as failed",
        "- public.image_generations: the rows of batches stay (2), with their pictures in public.images.",
        "- public.batch_generations stays: batchgen made it, and it has rows (1).",
        "- Dropped views and functions: public.batch_progress, public.attach_provider_job(uuid, uuid, text, text), ",
        "- The function public.get_user_limits(uuid) is the app's own again.",
        "column is_black, column model_version, column saved_at, column seed",
        "the ledger (rows: 0; USD: 0)",
    ):
        assert line in said
    assert catalog(db) == before


async def test_items_that_waited_have_ended_for_their_users(bare: NewDatabase) -> None:
    db = await bare(*APP)
    await migrate(db)
    batch = db.submit(prompts=3)
    db.complete(db.claim()[0])

    said = uninstall(db, unfinished="end")

    assert "(waiting: 0, running: 2) end as failed" in said
    assert re.search(r"The worker \S+ called \d+ seconds ago. Stop it", said)
    assert (
        db.run("select status, error_message from public.image_generations where error_message is not null")
        == [{"status": "failed", "error_message": "Cancelled: batches were removed from this project."}] * 2
    )
    assert db.totals(batch["id"]) == ("partial", 1, 2)


async def test_without_an_installation_it_says_so(bare: NewDatabase) -> None:
    db = await bare(*APP)
    await migrate(db)
    uninstall(db)
    before = catalog(db)

    with pytest.raises(psycopg.Error, match="batchgen is not installed in this database") as caught:
        uninstall(db)

    assert caught.value.sqlstate == "55000"
    assert catalog(db) == before


async def test_the_apps_objects_that_need_ours_are_named_and_nothing_is_changed(bare: NewDatabase) -> None:
    db = await bare(*APP)
    await migrate(db)
    db.run(
        "create view public.health as select * from batchgen.queue_health;"
        "create view public.seeds as select seed from public.images;"
        "create view public.last_batch as select max(created_at) from public.batch_generations;"
        "create function public.newest() returns setof public.batch_generations language plpgsql as 'begin end';"
        "create function public.waits(p_id uuid) returns bigint language sql begin atomic"
        " select count(*) from public.batch_waits(p_id); end;"
        'create policy "of batches" on public.tags using (exists (select from public.batch_generations));'
    )
    before = catalog(db)

    with pytest.raises(psycopg.Error, match="batchgen cannot be removed yet: 6 things are in the way") as caught:
        uninstall(db)

    for name in ("view health", "view seeds", "view last_batch", "function newest()", "function waits(uuid)"):
        assert f"- {name} depends on objects of batchgen." in re.sub(r"public\.", "", str(caught.value))
    assert "policy of batches on table" in str(caught.value)
    assert catalog(db) == before


async def test_the_refusal_names_the_role_that_may_remove_batchgen(bare: NewDatabase) -> None:
    db = await bare("hosted_schemas.sql", "hosted_owners.sql")
    await migrate(db, "project_owner")

    with pytest.raises(psycopg.Error, match="batchgen belongs to project_owner, and prisma may not remove it"):
        uninstall(db, "prisma")


async def test_policies_that_storages_owner_made_are_named_with_the_statement(bare: NewDatabase) -> None:
    db = await bare("hosted_schemas.sql", "hosted_owners.sql")
    db.run("revoke supabase_storage_admin from project_owner")
    await migrate(db, "project_owner")
    db.run('create policy "batchgen: more" on storage.objects for select using (false)')

    with pytest.raises(psycopg.Error, match=r"project_owner may not drop policies on storage\.objects") as caught:
        uninstall(db, "project_owner")

    assert 'drop policy "batchgen: more' in (caught.value.diag.message_hint or "")


async def test_new_policies_of_the_app_keep_row_level_security_on(bare: NewDatabase) -> None:
    db = await bare(*APP)
    db.run('drop policy "tags" on public.tags; alter table public.tags disable row level security')
    await migrate(db)
    db.run('create policy "new" on public.tags for select using (true)')

    said = uninstall(db)

    assert "public.tags has new policies of the app" in said
    assert db.value("select relrowsecurity from pg_class where oid = 'public.tags'::regclass") is True


async def test_a_table_that_the_app_refers_to_stays(bare: NewDatabase) -> None:
    db = await bare(*APP)
    await migrate(db)
    db.run("create table public.covers (batch_id uuid references public.batch_generations)")

    said = uninstall(db, pictures="drop")

    assert "- public.batch_generations stays: batchgen made it, and covers refers to it." in said
    assert "- The table public.prompt_templates is dropped, with its rows (0)." in said
    assert db.value("select to_regclass('public.batch_generations') is not null")
    assert db.value("select to_regclass('public.prompt_templates') is null")


@pytest.mark.parametrize(
    ("setting", "words"), [("uninstall", "do or list"), ("unfinished", "refuse or end"), ("pictures", "keep or drop")]
)
async def test_other_words_are_refused(bare: NewDatabase, setting: str, words: str) -> None:
    db = await bare()
    await migrate(db)

    with pytest.raises(psycopg.Error, match=f"batchgen.{setting} is 'yes': {words} is needed. Nothing was changed."):
        uninstall(db, **{setting: "yes"})


def test_the_list_of_migrations_is_the_folders() -> None:
    """A new migration needs its version and name in uninstall.sql."""
    listed = re.findall(r"\('(\d{14})', '(\w+)'\)", UNINSTALL.read_text())

    assert listed == [(migration.version, migration.name) for migration in find_migrations(default_migrations_dir())]
