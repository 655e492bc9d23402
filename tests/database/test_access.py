"""Who may do what: a table for every public function, and what a stranger sees, which is nothing."""

from uuid import UUID

import pytest
from database_harness import Database, Row, query, refused

ROLES = ("anon", "authenticated", "service_role")
USERS = {
    "batch_waits(uuid)",
    "cancel_batch(uuid)",
    "create_batch(jsonb)",
    "delete_batch_images(uuid)",
    "get_user_limits(uuid)",
    "batch_facts(uuid[])",
    "batch_snapshot(uuid)",
    "retry_failed(uuid)",
    "save_batch_images(uuid)",
    "tag_batch_images(uuid,text[])",
}
WORKERS = (USERS - {"create_batch(jsonb)"}) | {
    "attach_provider_job(uuid,uuid,text,text)",
    "begin_order(uuid,uuid,jsonb)",
    "claim_generations(text,integer,integer)",
    "complete_generation(uuid,uuid,jsonb)",
    "complete_generations(jsonb)",
    "complete_and_claim(jsonb,text,integer,integer)",
    "create_batch_as(uuid,jsonb)",
    "discard_files(uuid,uuid,double precision)",
    "end_storage_deletions(text,uuid[])",
    "fail_generation(uuid,uuid,jsonb)",
    "get_costs(text,timestamp with time zone,integer,uuid)",
    "get_models()",
    "get_workers()",
    "claim_generations_as_json(text,integer,integer,jsonb)",
    "renew_leases_as_json(text,uuid[],integer)",
    "release_generations_as_json(text,uuid[])",
    "take_open_orders_as_json(text,integer,integer)",
    "take_storage_deletions_as_json(text,integer,integer)",
    "queue_outlook()",
    "release_generations(text,uuid[])",
    "remove_expired_images()",
    "renew_leases(text,uuid[],integer)",
    "return_expired_leases()",
    "settle_order(uuid,uuid,jsonb)",
    "take_open_orders(text,integer,integer)",
    "take_storage_deletions(text,integer,integer)",
    "worker_start()",
}
TABLES = ("batch_generations", "image_generations", "images", "models", "tags", "image_tags")


@pytest.mark.parametrize("role", ROLES)
def test_each_role_executes_its_own_functions_and_no_others(shared_db: Database, role: str) -> None:
    allowed = shared_db.run(
        "select p.oid::regprocedure::text as name from pg_proc p"
        " where p.pronamespace in ('public'::regnamespace, 'batchgen'::regnamespace)"
        " and has_function_privilege(%s, p.oid, 'execute')",
        role,
    )

    expected = {"anon": {"create_batch(jsonb)"}, "authenticated": USERS, "service_role": WORKERS}[role]
    assert {row["name"] for row in allowed} == expected


@pytest.mark.parametrize("role", ROLES)
def test_nobody_may_use_the_private_schema_or_anything_in_it(shared_db: Database, role: str) -> None:
    assert shared_db.value("select has_schema_privilege(%s, 'batchgen', 'usage')", role) is False
    granted = shared_db.run(
        "select c.relname from pg_class c where c.relnamespace = 'batchgen'::regnamespace and c.relkind in ('r', 'v')"
        " and has_table_privilege(%s, c.oid, 'select, insert, update, delete, truncate, references, trigger')",
        role,
    )
    assert granted == []


def test_behind_the_thin_functions_a_user_reaches_one_each(shared_db: Database) -> None:
    rows = shared_db.run(
        "select p.oid::regprocedure::text as name, r.role from pg_proc p, unnest(%s::text[]) r (role)"
        " where p.pronamespace = 'batchgen_api'::regnamespace and has_function_privilege(r.role, p.oid, 'execute')",
        list(ROLES),
    )

    assert {(row["name"], row["role"]) for row in rows} == {
        ("batchgen_api.act(text,uuid,text[])", "authenticated"),
        ("batchgen_api.act(text,uuid,text[])", "service_role"),
        ("batchgen_api.act_on_any_batch(text,uuid,text[])", "service_role"),
        ("batchgen_api.act_on_batch(text,uuid,text[])", "authenticated"),
        ("batchgen_api.batch_waits(uuid)", "authenticated"),
        ("batchgen_api.create_batch(jsonb)", "authenticated"),
        ("batchgen_api.get_user_limits(uuid)", "authenticated"),
        ("batchgen_api.limits_of_any_user(uuid)", "service_role"),
        ("batchgen_api.may_be_written(text)", "authenticated"),
        ("batchgen_api.may_store(text)", "authenticated"),
        ("batchgen_api.reopened_at(uuid)", "authenticated"),
        ("batchgen_api.reopened_at(uuid)", "service_role"),
        ("batchgen_api.waits_of_any_batch(uuid)", "service_role"),
    }


def test_every_table_has_row_level_security_and_a_policy(shared_db: Database) -> None:
    rows = shared_db.run(
        "select c.oid::regclass::text as name, c.relrowsecurity,"
        " exists (select from pg_policy p where p.polrelid = c.oid) as has_policy from pg_class c"
        " where c.relkind = 'r' and c.relnamespace in ('public'::regnamespace, 'batchgen'::regnamespace)"
    )

    assert {"batchgen.queue", "batch_generations"} <= {row["name"] for row in rows}
    assert [row for row in rows if not (row["relrowsecurity"] and row["has_policy"])] == []


def test_every_function_has_an_empty_search_path(shared_db: Database) -> None:
    rows = shared_db.run(
        "select oid::regprocedure::text as name, proconfig from pg_proc"
        " where pronamespace::regnamespace::text in ('public', 'batchgen', 'batchgen_api')"
    )

    assert len(rows) > 20
    assert [row["name"] for row in rows if 'search_path=""' not in (row["proconfig"] or [])] == []


def test_the_view_reads_as_its_caller(shared_db: Database) -> None:
    options = shared_db.value("select reloptions from pg_class where oid = 'public.batch_progress'::regclass")

    assert options == ["security_invoker=on"]


WRITABLE = {
    ("batch_generations", "update"): {"status", "failed_count", "completed_at"},
    ("image_generations", "insert"): {
        *("user_id", "prompt", "negative_prompt", "model", "model_id", "style", "width", "height", "steps"),
        *("guidance_scale", "seed", "status", "source_image_url", "generation_strength"),
    },
    ("image_generations", "update"): {"status", "error_message", "retry_count", "completed_at"},
    ("images", "insert"): {
        *("generation_id", "user_id", "filename", "storage_path", "prompt", "public_url", "negative_prompt", "model"),
        *("style", "width", "height", "format", "file_size", "blurhash", "is_public", "is_favorite", "rating"),
        *("download_count", "archived_at", "source_image_id", "generation_strength"),
    },
    ("images", "update"): {
        *("filename", "blurhash", "is_public", "is_favorite", "rating", "download_count", "archived_at"),
    },
    ("tags", "insert"): {"name", "color"},
    ("image_tags", "insert"): {"image_id", "tag_id"},
}
DELETABLE = {"batch_generations", "images", "image_tags", "tags"}


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_a_user_writes_the_columns_that_the_app_writes_and_no_others(shared_db: Database, role: str) -> None:
    granted = shared_db.run(
        "select c.relname as table, v.verb, a.attname as column from pg_class c"
        " join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped"
        " cross join unnest(array['insert', 'update', 'references']) v (verb)"
        " where c.relnamespace = 'public'::regnamespace and c.relname = any (%s)"
        " and has_column_privilege(%s, c.oid, a.attnum, v.verb)",
        [*TABLES, "batch_progress"],
        role,
    )

    writable = {(row["table"], row["verb"], row["column"]) for row in granted}
    expected = {(table, verb, column) for (table, verb), columns in WRITABLE.items() for column in columns}
    assert writable == (expected if role == "authenticated" else set())


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_a_user_deletes_where_the_app_deletes_and_truncates_nothing(shared_db: Database, role: str) -> None:
    for table in (*TABLES, "batch_progress"):
        for verb in ("delete", "truncate", "trigger"):
            may = shared_db.value("select has_table_privilege(%s, %s, %s)", role, f"public.{table}", verb)
            assert may is (role == "authenticated" and verb == "delete" and table in DELETABLE), (table, verb)


def test_nobody_but_the_owner_may_truncate(shared_db: Database) -> None:
    for table in TABLES:
        assert shared_db.value("select has_table_privilege('service_role', %s, 'truncate')", f"public.{table}") is False


@pytest.fixture
def owner(db: Database) -> UUID:
    """A user with a finished, tagged picture and a waiting item."""
    user = db.new_user()
    db.create(user, {"prompts": [{"text": "secret", "tags": ["mine"]}, {"text": "secret too"}]})
    db.complete(db.claim_one())
    return user


SEEN = ("batch_generations", "batch_progress", "image_generations", "images", "image_tags")


def test_owners_see_their_rows(db: Database, owner: UUID) -> None:
    seen = {table: len(db.as_user(owner, f"table public.{table}")) for table in SEEN}

    assert seen == {
        "batch_generations": 1,
        "batch_progress": 1,
        "image_generations": 2,
        "images": 1,
        "image_tags": 1,
    }


@pytest.mark.parametrize("table", SEEN)
def test_a_stranger_sees_nothing(db: Database, owner: UUID, table: str) -> None:
    assert db.as_user(db.new_user(), f"table public.{table}") == []
    assert db.as_user(None, f"table public.{table}") == []


@pytest.mark.parametrize("table", SEEN)
def test_anon_is_refused(db: Database, owner: UUID, table: str) -> None:
    with refused("42501"), db.acting("anon") as connection:
        connection.execute(f"table public.{table}".encode())


def test_a_strangers_client_key_does_not_reveal_a_batch(db: Database) -> None:
    request: Row = {"prompts": [{"text": "a"}, {"text": "b"}], "client_key": "shared"}
    mine = db.create(db.new_user(), request)

    theirs = db.create(db.new_user(), request)

    assert {item["id"] for item in mine["generations"]}.isdisjoint(item["id"] for item in theirs["generations"])


@pytest.mark.parametrize("role", ["anon", "authenticated"])
@pytest.mark.parametrize(
    "call",
    [
        "public.claim_generations('w', 1, 60)",
        "public.renew_leases('w', '{}', 60)",
        "public.attach_provider_job(gen_random_uuid(), gen_random_uuid(), 'p', 'j')",
        "public.complete_generation(gen_random_uuid(), gen_random_uuid(), '{}')",
        "public.complete_generations('[]')",
        "public.complete_and_claim('[]', 'w', 1, 60)",
        "public.fail_generation(gen_random_uuid(), gen_random_uuid(), '{}')",
        "public.release_generations('w', '{}')",
        "public.return_expired_leases()",
        "public.take_storage_deletions('w', 1, 60)",
        "public.end_storage_deletions('w', '{}')",
        "public.remove_expired_images()",
        "batchgen_api.act_on_any_batch('cancel', gen_random_uuid(), null)",
        "public.create_batch_as(gen_random_uuid(), '{}')",
        "batchgen.create_batch_for(gen_random_uuid(), '{}')",
        "batchgen.refresh_batches('{}')",
    ],
)
def test_a_user_calls_no_function_of_the_workers(shared_db: Database, role: str, call: str) -> None:
    with refused("42501"), shared_db.acting(role, shared_db.new_user()) as connection:
        query(connection, f"do $$ begin perform {call}; end $$")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize(
    "table",
    [
        "queue",
        "settings",
        "touched",
        "failures",
        "requests",
        "generation_tags",
        "model_providers",
        "known_models",
        "orders",
        "ledger",
        "providers",
        "breakers",
        "storage_deletions",
    ],
)
def test_nobody_reads_a_private_table(shared_db: Database, role: str, table: str) -> None:
    with refused("42501"), shared_db.acting(role) as connection:
        connection.execute(f"table batchgen.{table}".encode())


def test_anon_creates_no_batch(shared_db: Database) -> None:
    with refused("PT401"), shared_db.acting("anon") as connection:
        connection.execute("""select public.create_batch('{"prompts": []}')""")


def test_a_service_role_reads_what_it_watches(db: Database, owner: UUID) -> None:
    assert len(db.as_service("select * from public.batch_generations")) == 1
    assert len(db.as_service("select * from public.batch_progress")) == 1


def test_a_search_path_of_the_caller_changes_nothing(db: Database) -> None:
    """A table of the same name in front of ours is not read."""
    user = db.new_user()
    db.run("create schema evil; grant usage on schema evil to authenticated; create table evil.models (id uuid)")
    with db.acting("authenticated", user) as connection:
        connection.execute("set local search_path = evil, pg_temp, public")
        cursor = connection.execute("""select public.create_batch('{"prompts": [{"text": "a"}, {"text": "b"}]}')""")
        assert cursor.fetchone() is not None
