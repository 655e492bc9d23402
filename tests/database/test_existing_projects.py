"""Existing projects of many kinds: each works after the migrations, or is refused whole."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import psycopg
import pytest
from database_harness import Database, NewDatabase, Row, a_request

from devstack.errors import MigrationFailed
from devstack.migrations import apply_migrations, default_migrations_dir

APP = ("app_schema.sql",)
SPECIFIED = ("app_schema.sql", "seed_schema.sql")
FIRST_LOOK = "20261123095900_first_look.sql"


@dataclass(frozen=True)
class Project:
    """A project before the migrations. `in_the_way`: the objects that the refusal names; empty if it works."""

    name: str
    files: tuple[str, ...] = ()
    sql: str = ""
    in_the_way: tuple[str, ...] = ()
    owner: str = ""
    """The role that applies the migrations; empty: the superuser."""
    remedy: str = ""
    """A superuser's statement after which it works."""


PERMISSIVE = """
do $$
declare
  v_table text;
begin
  foreach v_table in array array['models', 'image_generations', 'images', 'tags', 'image_tags'] loop
    execute format('grant all on public.%I to anon, authenticated, service_role', v_table);
    execute format('create policy "all" on public.%I for all to anon, authenticated using (true)', v_table);
  end loop;
end
$$;
"""

WORKING = [
    Project("bare"),
    Project("hosted schemas", ("hosted_schemas.sql",)),
    Project("the app's tables", APP),
    Project("the app's tables with the specification's", SPECIFIED),
    Project("the specification's with rows", ("app_schema.sql", "seed_schema.sql", "seed_rows.sql")),
    Project("the app's tables and limits", (*APP, "app_limits.sql")),
    Project("permissive policies", APP, PERMISSIVE),
    Project(
        "everything granted by default",
        APP,
        "alter default privileges in schema public grant all on tables to anon, authenticated",
    ),
    Project("bare, hosted owners", ("hosted_schemas.sql", "hosted_owners.sql"), owner="project_owner"),
    Project("the app's tables, hosted owners", (*APP, "hosted_owners.sql"), owner="project_owner"),
    Project(
        "hosted owners, and policies on Storage and Realtime by special grant",
        ("hosted_schemas.sql", "hosted_owners.sql"),
        "grant supabase_storage_admin, supabase_realtime_admin to project_owner",
        owner="project_owner",
    ),
    Project(
        "the app's tables, hosted owners, all of the app's grants",
        (*APP, "hosted_owners.sql"),
        PERMISSIVE,
        owner="project_owner",
    ),
    Project(
        "a second key from pictures to items, and from items to batches",
        SPECIFIED,
        "alter table public.images add constraint images_generation_again foreign key (generation_id)"
        " references public.image_generations (id) on delete set null;"
        "alter table public.image_generations add column first_batch_id uuid references public.batch_generations"
        " (id) on delete set null,"
        " add constraint batch_again foreign key (batch_id) references public.batch_generations (id) on delete set"
        " null;"
        "alter table public.batch_generations add column cover_id uuid references public.image_generations (id) on"
        " delete set null",
    ),
    Project(
        "columns of the other types that fit",
        SPECIFIED,
        "alter table public.models alter column cost_per_generation type numeric(10,4), alter column"
        " default_guidance_scale type real;"
        "alter table public.image_generations alter column guidance_scale type numeric, alter column"
        " generation_strength type real;"
        "alter table public.images alter column file_size type bigint, alter column generation_strength type numeric",
    ),
    Project(
        "columns that batchgen has no use for are missing or others",
        SPECIFIED,
        "alter table public.models drop column description, drop column version, drop column default_strength, drop"
        " column strength_min,"
        " drop column supported_aspect_ratios, drop column supports_img2img, drop column created_at, drop column"
        " updated_at;"
        "alter table public.images drop column rating;"
        "alter table public.image_tags drop column added_at, drop column id, add primary key (image_id, tag_id);"
        "alter table public.image_generations add column app_note text not null default 'x'",
    ),
    Project(
        "the app's own get_user_limits",
        APP,
        "create function public.get_user_limits(p_user_id uuid) returns text language sql as $$ select 'old' $$",
    ),
    Project(
        "a bucket that will do, with policies of the app's",
        ("hosted_schemas.sql",),
        "insert into storage.buckets (id, name, public, allowed_mime_types)"
        " values ('generated-images', 'generated-images', true, '{image/*}');"
        'create policy "own files" on storage.objects for all to authenticated using (true)',
    ),
    Project(
        "a bucket that a role without superuser's rights may look at",
        ("hosted_schemas.sql", "hosted_owners.sql"),
        "insert into storage.buckets (id, name, public) values ('generated-images', 'generated-images', true)",
        owner="project_owner",
    ),
    Project(
        "another migration history",
        APP,
        "create schema supabase_migrations; create table supabase_migrations.schema_migrations (version text primary"
        " key);"
        "insert into supabase_migrations.schema_migrations values ('20250101000000'), ('20990101000000')",
    ),
]

REFUSED = [
    Project(
        "tables of its own with names of the app's",
        sql="create table public.images (id bigint primary key);"
        "create table public.tags (id uuid primary key, label text)",
        in_the_way=("public.images.id", "public.images", "public.tags", "public.tags.id"),
        remedy="alter table public.images rename to pictures; alter table public.tags rename to labels",
    ),
    Project(
        "a view where a table is needed",
        APP,
        "drop table public.image_tags; create view public.image_tags as select 1 as id",
        ("public.image_tags",),
        remedy="drop view public.image_tags",
    ),
    Project(
        "other things of the tables' names",
        sql="create type public.tags as enum ('a'); create sequence public.images;"
        "create table public.batch_progress (id uuid);"
        "create materialized view public.models as select 1 as id",
        in_the_way=("type public.tags", "public.images", "public.batch_progress", "public.models"),
        remedy="drop type public.tags; drop sequence public.images; drop table public.batch_progress;"
        "drop materialized view public.models",
    ),
    Project(
        "an index of a name that is needed",
        sql="create table public.others (id uuid); create index idx_images_user on public.others (id)",
        in_the_way=("public.idx_images_user",),
        remedy="alter index public.idx_images_user rename to others_id",
    ),
    Project(
        "functions of ours",
        APP,
        "create function public.create_batch(p_request jsonb) returns jsonb language sql as 'select p_request';"
        "create function public.cancel_batch(p_id text, p_why text) returns void language sql as '';"
        "create function public.get_user_limits(p_user_id uuid) returns integer language sql stable as 'select 1';"
        "create view public.limits as select public.get_user_limits(null)",
        (
            "function public.create_batch(p_request jsonb)",
            "function public.cancel_batch(p_id text, p_why text)",
            "function public.get_user_limits(p_user_id uuid)",
        ),
        remedy="drop function public.create_batch(jsonb); drop function public.cancel_batch; drop view public.limits",
    ),
    Project(
        "the schema is there",
        sql="create schema batchgen; create schema batchgen_api",
        in_the_way=("schema batchgen", "schema batchgen_api"),
        remedy="drop schema batchgen; drop schema batchgen_api",
    ),
    Project(
        "columns that are missing or of other types",
        SPECIFIED,
        "drop view public.batch_progress;"
        "alter table public.images drop column storage_path, alter column rating type text;"
        "alter table public.image_generations alter column status type varchar(20), alter column seed type integer,"
        " alter column completed_at type timestamp; alter table public.batch_generations alter column model_id type"
        " uuid using null",
        (
            "public.images",
            "public.images.rating",
            "public.image_generations.status",
            "public.image_generations.seed",
            "public.image_generations.completed_at",
            "public.batch_generations.model_id",
        ),
        remedy="alter table public.images add column storage_path text not null default '',"
        " alter column rating type integer using null;"
        "alter table public.images alter column storage_path drop default;"
        "alter table public.image_generations alter column status type text, alter column seed type bigint,"
        " alter column completed_at type timestamptz; alter table public.batch_generations alter column model_id"
        " type text",
    ),
    Project(
        "keys that are missing",
        APP,
        "alter table public.image_tags drop constraint image_tags_image_id_tag_id_key; alter table public.tags drop"
        " constraint tags_name_key;"
        "create unique index partial on public.tags (name) where color is null;"
        "alter table public.images drop constraint images_source_image_id_fkey, drop constraint images_pkey cascade",
        ("public.image_tags", "public.tags", "public.images"),
        remedy="alter table public.image_tags add unique (tag_id, image_id); alter table public.tags add unique (name);"
        "alter table public.images add primary key (id)",
    ),
    Project(
        "columns that may not be empty",
        APP,
        "alter table public.images add column updated_at timestamptz; update public.images set updated_at = now();"
        "alter table public.images alter column updated_at set not null, alter column id drop default;"
        "alter table public.image_generations alter column negative_prompt set default '';"
        "update public.image_generations set negative_prompt = ''; alter table public.image_generations alter column"
        " negative_prompt set not null",
        ("public.images.updated_at", "public.images.id", "public.image_generations.negative_prompt"),
        remedy="alter table public.images alter column updated_at set default now(),"
        " alter column id set default gen_random_uuid();"
        "alter table public.image_generations alter column negative_prompt drop not null",
    ),
    Project(
        "checks that take no status of ours",
        SPECIFIED,
        "alter table public.image_generations add constraint old_words check (status in ('pending', 'done',"
        " 'failed', 'completed')) not valid",
        ("public.image_generations.status",),
        remedy="alter table public.image_generations drop constraint old_words",
    ),
    Project(
        "a batch that takes its items along",
        SPECIFIED,
        "alter table public.image_generations drop constraint image_generations_batch_id_fkey,"
        " add foreign key (batch_id) references public.batch_generations (id) on delete cascade",
        ("public.image_generations.batch_id", "public.image_generations"),
        remedy="alter table public.image_generations drop constraint image_generations_batch_id_fkey,"
        " add foreign key (batch_id) references public.batch_generations (id) on delete set null",
    ),
    Project(
        "tables of another owner",
        (*APP, "hosted_owners.sql"),
        "alter table public.images owner to prisma",
        ("public.images",),
        "project_owner",
        "alter table public.images owner to project_owner",
    ),
    Project(
        "tables of another owner, whose role is granted",
        (*APP, "hosted_owners.sql"),
        "alter table public.images owner to prisma; alter table public.tags owner to prisma",
        ("public.images", "public.tags"),
        "project_owner",
        "grant prisma to project_owner",
    ),
    Project(
        "a publication of another owner",
        ("hosted_schemas.sql", "hosted_owners.sql"),
        "alter publication supabase_realtime owner to postgres",
        ("publication supabase_realtime",),
        "project_owner",
        "alter publication supabase_realtime owner to project_owner",
    ),
    Project(
        "a bucket that will not do",
        ("hosted_schemas.sql",),
        "insert into storage.buckets (id, name, public, file_size_limit, allowed_mime_types)"
        " values ('generated-images', 'generated-images', false, 1000000, '{image/png,image/jpeg}')",
        ("bucket generated-images",) * 3,
        remedy="update storage.buckets set public = true where id = 'generated-images';"
        "update storage.buckets set file_size_limit = 52428800 where id = 'generated-images';"
        "update storage.buckets set allowed_mime_types = allowed_mime_types ||"
        " '{image/png,image/webp,image/jpeg}' where id = 'generated-images'",
    ),
    Project(
        "a role with few rights",
        (*APP, "hosted_owners.sql"),
        "revoke all on auth.users from project_owner;"
        "alter table public.images force row level security; alter role project_owner nobypassrls",
        ("auth.users", "public.images"),
        "project_owner",
        "grant all on auth.users to project_owner; alter role project_owner bypassrls",
    ),
]


def named(project: Project) -> str:
    return project.name


async def migrate(db: Database, owner: str = "") -> Sequence[str]:
    dsn = as_owner(db, owner)
    return [migration.name for migration in await apply_migrations(dsn, default_migrations_dir())]


def as_owner(db: Database, owner: str) -> str:
    """The database's address for this role."""
    return re.sub(r"//postgres:[^@]*@", f"//{owner}:{owner}@", db.dsn) if owner else db.dsn


async def prepared(bare: NewDatabase, project: Project) -> Database:
    db = await bare(*project.files)
    if project.sql:
        db.run(project.sql)
    return db


@pytest.mark.parametrize("project", WORKING, ids=named)
async def test_the_main_job_runs_on_a_project_that_is_taken(bare: NewDatabase, project: Project) -> None:
    db = await prepared(bare, project)

    await migrate(db, project.owner)

    the_main_job_runs(db)


@pytest.mark.parametrize("project", REFUSED, ids=named)
async def test_obstacles_are_listed_before_any_change_and_the_remedy_works(bare: NewDatabase, project: Project) -> None:
    db = await prepared(bare, project)
    before = catalog(db)

    with pytest.raises(MigrationFailed) as caught:
        await migrate(db, project.owner)

    said = str(caught.value)
    lines = re.findall(r"^- (.*?): ", said, re.MULTILINE)
    assert FIRST_LOOK in said
    assert "docs/existing-projects.md" in said
    assert Counter(project.in_the_way) <= Counter(lines), said
    assert catalog(db) == before
    db.run(project.remedy)
    await migrate(db, project.owner)
    the_main_job_runs(db)


async def test_a_role_without_rights_is_told_what_to_grant(bare: NewDatabase) -> None:
    db = await bare("hosted_schemas.sql", "hosted_owners.sql")
    look = (default_migrations_dir() / FIRST_LOOK).read_text()

    with psycopg.connect(as_owner(db, "prisma")) as stranger, pytest.raises(psycopg.Error) as caught:
        stranger.execute(look.encode())

    said = str(caught.value)
    assert caught.value.sqlstate == "55000"
    for line in ("grant create on database", "grant usage on schema auth to prisma", "publication supabase_realtime"):
        assert line in said


async def test_the_first_look_knows_all_names_that_the_migrations_make(bare: NewDatabase) -> None:
    """A new function, index or table in public needs its name in first_look.sql."""
    db = await bare()
    await migrate(db)
    look = (default_migrations_dir() / FIRST_LOOK).read_text()

    names = db.run(
        "select proname as name from pg_proc where pronamespace = 'public'::regnamespace"
        " union select relname from pg_class where relnamespace = 'public'::regnamespace and relkind in ('r', 'v')"
        " union select indexrelid::regclass::text from pg_index join pg_class c on c.oid = indrelid"
        " where c.relnamespace = 'public'::regnamespace and indexrelid::regclass::text like 'idx%%'"
    )

    assert [row["name"] for row in names if f"'{row['name']}'" not in look] == []


async def test_projects_installed_before_the_first_look_existed_are_not_checked(bare: NewDatabase) -> None:
    db = await bare()
    await migrate(db)
    db.run("delete from supabase_migrations.schema_migrations where version = '20261123095900'")

    assert await migrate(db) == ["first_look"]


def the_main_job_runs(db: Database) -> None:
    """From the request to the pictures, then everything that a user may do with them."""
    waiting = db.run("select id from public.batch_generations where status = 'pending'")
    user = db.new_user()
    batch = db.create(user, a_request(3) | {"prompts": [{"text": f"a fox {n}", "tags": ["fox"]} for n in range(3)]})
    claims = [claim for claim in db.claim() if claim["user_id"] == user]
    assert len(claims) == 3
    db.fail(claims[0], retryable=True)
    for claim in claims[1:]:
        db.complete(claim, file_size=10, width=512, height=512)
    db.make_due()
    [again] = [claim for claim in db.claim() if claim["user_id"] == user]
    db.fail(again)
    assert db.totals(batch["id"]) == ("partial", 2, 1)
    assert len(waiting) == len(
        db.run("select id from public.batch_generations where user_id <> %s and status = 'processing'", user)
    )
    sql = "select public.{}(%s) as answer"
    assert db.as_user(user, sql.format("retry_failed"), batch["id"])[0]["answer"]["batch"]["status"] == "processing"
    assert db.as_user(user, sql.format("cancel_batch"), batch["id"])[0]["answer"]["batch"]["status"] == "partial"
    db.as_user(user, sql.format("save_batch_images"), batch["id"])
    db.as_user(user, "select public.tag_batch_images(%s, '{red}')", batch["id"])
    assert db.as_user(user, "select public.get_user_limits(%s) as answer", user)[0]["answer"]["daily_used"] == 4
    [progress] = db.as_user(user, "select * from public.batch_progress where id = %s", batch["id"])
    assert [item["status"] for item in progress["items"]] == ["failed", "completed", "completed"]
    snapshot = db.as_user(user, sql.format("batch_snapshot"), batch["id"])[0]["answer"]
    assert [len(item["images"]) for item in snapshot["generations"]] == [0, 1, 1]
    deleted = db.as_user(user, sql.format("delete_batch_images"), batch["id"])[0]["answer"]
    assert [done["action"] for done in deleted["done"]] == ["already_deleted", "deleted", "deleted"]
    db.run("delete from auth.users where id = %s", user)
    assert db.run("select id from public.image_generations where user_id = %s", user) == []


CATALOG = {
    "relations": """
        select c.oid::regclass::text as name, c.relkind::text, c.relacl::text, c.relrowsecurity,
          c.relowner::regrole::text, c.reloptions::text, obj_description(c.oid, 'pg_class') as comment
        from pg_class c where c.relnamespace::regnamespace::text {ours} order by 1""",
    "columns": """
        select a.attrelid::regclass::text as name, a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
          a.attacl::text, pg_get_expr(d.adbin, d.adrelid) as default_value,
          col_description(a.attrelid, a.attnum) as comment
        from pg_attribute a left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
        join pg_class c on c.oid = a.attrelid
        where a.attnum > 0 and not a.attisdropped and c.relnamespace::regnamespace::text {ours} order by 1, 2""",
    "constraints": """
        select k.conrelid::regclass::text as name, k.conname, pg_get_constraintdef(k.oid)
        from pg_constraint k where k.connamespace::regnamespace::text {ours} order by 1, 2""",
    "functions": """
        select p.oid::regprocedure::text as name, p.prosrc, p.proacl::text
        from pg_proc p where p.pronamespace::regnamespace::text {ours} order by 1""",
    "triggers": "select tgrelid::regclass::text as name, tgname from pg_trigger where not tgisinternal order by 1, 2",
    "policies": "select * from pg_policies order by schemaname, tablename, policyname",
    "types": """
        select t.oid::regtype::text as name from pg_type t
        where t.typnamespace::regnamespace::text {ours} order by 1""",
    "schemas": """
        select nspname, nspacl::text from pg_namespace
        where nspname <> 'supabase_migrations' and nspname !~ '^pg_(temp|toast_temp)' order by 1""",
    "published": "select * from pg_publication_tables order by 1, 2, 3",
    "views": "select schemaname, viewname, definition from pg_views where schemaname = 'public' order by 1, 2",
}
"""Everything that there is, but for the history of migrations, which stands before the first one."""


def catalog(db: Database) -> dict[str, list[Row]]:
    ours = "not in ('pg_catalog', 'information_schema', 'pg_toast', 'supabase_migrations')"
    return {name: db.run(sql.replace("{ours}", ours)) for name, sql in CATALOG.items()}
