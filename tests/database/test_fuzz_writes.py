"""Strange values of admins and users in any column: the queue goes on, others' items run, and every view answers.

In each column of each table: least, greatest, null, NaN, infinity, empty, control characters, 5 MB. A write may be
refused; what is taken must harm nobody else. `BATCHGEN_FUZZ_CASES=20000` looks after each single write instead of after
those of a column.
"""

import contextlib
import os
from dataclasses import dataclass
from uuid import UUID

import psycopg
import pytest
from database_harness import Database, Row
from paid_orders import submit_order, submit_paid
from psycopg.types.json import Jsonb

LOOKS_AFTER_EACH = int(os.environ.get("BATCHGEN_FUZZ_CASES", "0")) >= 20000
BIG = "repeat('x', 5000000)"
CONTROL = r"E'\x01\x1b[31m\u202e\r\n'"
TEXTS = ["null", "''", BIG, CONTROL, "'completed'", "'pending'", "'failed'", "'javascript:alert(1)'"]
TIMES = ["null", "'infinity'", "'-infinity'", "'4713-01-01 BC'", "'294276-12-31'"]
VALUES = {
    "integer": ["null", "-2147483648", "2147483647", "0", "-1"],
    "bigint": ["null", "-9223372036854775808", "9223372036854775807", "0", "-1"],
    "double precision": ["null", "'NaN'", "'infinity'", "'-infinity'", "1e308", "-1e308", "1e-307", "0"],
    "numeric": ["null", "'NaN'", "999999.999999", "-999999.999999", "0"],
    "boolean": ["null", "true", "false"],
    "uuid": ["null", "'00000000-0000-0000-0000-000000000000'", "gen_random_uuid()"],
    "timestamp with time zone": TIMES,
    "timestamp with time zone[]": ["null", "'{}'", "'{null}'", "'{infinity}'", "'{-infinity,infinity}'"],
    "text": TEXTS,
    "jsonb": ["null", "'null'", "'[]'", "'{}'", f"to_jsonb({BIG})", '\'{"prompt": "prompt", "seed": 1e400}\''],
    "double precision[]": ["null", "'{}'", "'{NaN}'", "'{{1,2},{3,4}}'", "'[5:6]={1,2}'", "'{infinity}'"],
    "text[]": ["null", "'{}'", "'{null}'", f"array[{BIG}]"],
    "uuid[]": ["null", "'{}'", "'{null}'", "array_fill(gen_random_uuid(), array[100000])"],
    "bytea": ["null", "''"],
    "batchgen.queue_state": ["null", "'delayed'", "'parked'", "'waiting'", "'running'"],
}
VIEWS = (
    "batchgen.queue_health",
    "batchgen.queue_by_user",
    "batchgen.queue_by_model",
    "batchgen.queue_by_worker",
    "batchgen.recent_failures",
    "batchgen.totals",
    "batchgen.models",
    "batchgen.live_workers",
    "batchgen.charges",
    "batchgen.costs_of_batches",
    "batchgen.costs_of_users",
    "batchgen.costs_of_models",
    "batchgen.costs_of_days",
    "batchgen.credit_balances",
    "batchgen.item_details",
    "batchgen.model_times",
    "batchgen.satisfaction",
    "batchgen.trash",
    "public.batch_progress",
)
# Which rows of a table are the victim's. A setting is everybody's: it is put back before others are looked at.
OWN_ROWS = {
    "public.models": "id = %(model)s",
    "public.image_generations": "batch_id = %(batch)s",
    "public.batch_generations": "id = %(batch)s",
    "public.images": "user_id = %(user)s",
    "public.tags": "name = 'victim'",
    "public.image_tags": "image_id in (select id from public.images where user_id = %(user)s)",
    "public.user_rate_limits": "user_id = %(user)s",
    "public.prompt_templates": "user_id = %(user)s",
    "batchgen.queue": "generation_id in (select id from public.image_generations where batch_id = %(batch)s)",
    "batchgen.reopened_batches": "batch_id = %(batch)s",
    "batchgen.touched": "user_id = %(user)s",
    "batchgen.failures": "generation_id in (select id from public.image_generations where batch_id = %(batch)s)",
    "batchgen.workers": "worker = 'victim-worker'",
    "batchgen.model_providers": "model_id = %(model)s",
    "batchgen.providers": "name = 'replicate'",
    "batchgen.breakers": "model_id = %(model)s",
    "batchgen.requests": "user_id = %(user)s",
    "batchgen.generation_tags": "name = 'victim'",
    "batchgen.storage_deletions": "path like %(folder)s",
    "batchgen.orders": "user_id = %(user)s",
    "batchgen.turns": "true",
    "batchgen.settings": "true",
    "batchgen.known_models": "provider_model = 'black-forest-labs/flux-schnell'",
    "batchgen.batch_ratings": "batch_id = %(batch)s",
    "batchgen.batch_schedules": "user_id = %(user)s",
    "batchgen.batch_templates": "user_id = %(user)s",
    "batchgen.credit_checkpoints": "user_id = %(user)s",
    "batchgen.credit_horizon": "true",
    "batchgen.credit_prices": "user_id = %(user)s",
    "batchgen.credit_schedule": "true",
    "batchgen.credit_terms": "user_id = %(user)s",
    "batchgen.exports": "user_id = %(user)s",
    "batchgen.item_versions": "generation_id in (select id from public.image_generations where batch_id = %(batch)s)",
    "batchgen.schedule_runs": "schedule_id in (select id from batchgen.batch_schedules where user_id = %(user)s)",
    "batchgen.trashed_batches": "batch_id = %(batch)s",
    "batchgen.trashed_images": "user_id = %(user)s",
}
# Append-only, so that a trigger refuses every edit; and what nobody reads but supabase/uninstall.sql.
LEFT_OUT = {"batchgen.credit_ledger", "batchgen.ledger", "batchgen.found_objects"}
USERS_TABLES = [table for table in OWN_ROWS if table.startswith("public.")]

COLUMNS = """
  select format('%I.%I', n.nspname, c.relname) as table, a.attname as column,
    case when a.atttypid = 'numeric'::regtype then 'numeric' else format_type(a.atttypid, null) end as type
  from pg_attribute a join pg_class c on c.oid = a.attrelid join pg_namespace n on n.oid = c.relnamespace
  where n.nspname in ('public', 'batchgen') and c.relkind = 'r' and a.attnum > 0 and not a.attisdropped
    and a.attgenerated = '' and a.attidentity = ''
  order by 1, a.attnum
"""


@dataclass
class Victim:
    """A user with something in every table that an admin can edit."""

    user: UUID
    batch: UUID
    model: UUID

    @property
    def names(self) -> Row:
        return {**vars(self), "folder": f"{self.user}/%"}


def a_victim(db: Database) -> Victim:
    user = db.new_user()
    batch = submit_paid(db, prompts=5, user=user)
    model = db.value("select id from public.models where name = 'paid'")
    names = {"user": user, "batch": batch["id"], "model": model}
    items = [item["id"] for item in batch["generations"]]
    done, held, late = db.claim(3, worker="victim-worker")
    submit_order(db, held, "job-held")
    submit_order(db, late, "job-late")
    db.complete(done)
    db.fail(late, order={"over": False}, code="timeout")
    db.run(
        "update batchgen.queue set state = 'delayed', ready_rank = null, due_at = now() where generation_id = %s",
        items[3],
    )
    db.run("insert into public.tags (name) values ('victim') on conflict do nothing")
    db.run(
        "insert into public.image_tags (image_id, tag_id) select i.id, t.id from public.images i, public.tags t"
        " where i.user_id = %s and t.name = 'victim'",
        user,
    )
    db.run("insert into public.prompt_templates (name, prompt, user_id) values ('a', 'a', %s)", user)
    db.run("insert into batchgen.generation_tags (generation_id, name) values (%s, 'victim')", items[4])
    db.run("insert into batchgen.requests (user_id, client_key, body_hash) values (%s, 'k', '')", user)
    db.run("insert into batchgen.storage_deletions (path) values (%s)", f"{user}/gone.png")
    db.run("insert into batchgen.breakers (model_id) values (%s) on conflict do nothing", model)
    db.run("insert into batchgen.providers (name, not_before) values ('replicate', now()) on conflict do nothing")
    db.run("insert into batchgen.reopened_batches (batch_id) values (%s) on conflict do nothing", batch["id"])
    db.run("insert into batchgen.touched (user_id) values (%s)", user)
    db.run("update batchgen.queue set lease_expires_at = now() where generation_id = %s", held["generation_id"])
    for sql in VICTIMS_ROWS:
        db.admin.execute(sql.encode(), names)
    return Victim(**names)


VICTIMS_ROWS = (
    "insert into batchgen.batch_ratings (batch_id, stars) values (%(batch)s, 3)",
    "insert into batchgen.batch_templates (user_id, name, request)"
    ' values (%(user)s, \'a\', \'{"prompts": [{"text": "a"}]}\')',
    "insert into batchgen.batch_schedules (user_id, request, cron) values (%(user)s,"
    ' \'{"prompts": [{"text": "a"}, {"text": "b"}]}\', \'0 * * * *\')',
    "update batchgen.batch_schedules set slots = array[now() - interval '1 second'], planned_until = now() + '1 hour'"
    " where user_id = %(user)s",
    "insert into batchgen.schedule_runs (schedule_id, slot, outcome, fired_at)"
    " select id, now() - interval '1 hour', 'missed', now() from batchgen.batch_schedules where user_id = %(user)s",
    "insert into batchgen.credit_ledger (user_id, entry, amount, key) values (%(user)s, 'grant', 5, 'k')",
    "insert into batchgen.credit_terms values (%(user)s, 5)",
    "insert into batchgen.credit_prices (user_id, model_id, credits) values (%(user)s, %(model)s, 1)",
    "insert into batchgen.credit_checkpoints values (%(user)s, 0, 0, 0) on conflict do nothing",
    "insert into batchgen.exports (user_id, batch_ids, planned_bytes, files)"
    " values (%(user)s, array[%(batch)s::uuid], 1, array[%(user)s || '/x/a.zip'])",
    "insert into batchgen.item_versions (generation_id, prompt)"
    " select id, 'a' from public.image_generations where batch_id = %(batch)s limit 1",
    "insert into batchgen.trashed_images (image_id, user_id)"
    " select id, user_id from public.images where user_id = %(user)s",
    "insert into batchgen.trashed_batches (batch_id, user_id) values (%(batch)s, %(user)s)",
)
"""One row in each table of what users do with a batch."""


def others_are_served(db: Database, user: UUID, batch_id: str) -> None:
    """A user's export is leased, their schedule runs, and every list answers. Rows of the victim may come first."""
    db.as_user(user, "select public.request_export(array[%s]::uuid[])", batch_id)
    db.run(
        "insert into batchgen.batch_schedules (user_id, request, run_at) values (%s, %s, now() - interval '1 second')",
        user,
        Jsonb({"prompts": [{"text": "a"}, {"text": "b"}]}),
    )
    leased = set[str]()
    for _ in range(10):
        [row] = db.as_service("select public.take_export('w', 600) as answer")
        leased |= {export["user_id"] for export in row["answer"]["exports"]}
        db.as_service("select public.run_schedules()")
    runs = "select s.user_id from batchgen.schedule_runs r join batchgen.batch_schedules s on s.id = r.schedule_id"
    fired = {str(row["user_id"]) for row in db.run(runs)}
    assert str(user) in leased
    assert str(user) in fired
    db.as_service("select public.grant_monthly_credits()")
    for sql in (
        "select public.batch_details(%(batch)s)",
        "select public.batches_page()",
        "select public.get_trash()",
        "select public.get_credits()",
        "select public.credit_history()",
        "select public.get_exports()",
        "select public.get_schedules()",
        "select public.list_batch_templates()",
        "select public.get_models()",
    ):
        with db.acting("authenticated", user) as connection:
            connection.execute(sql.encode(), {"batch": batch_id})
    for sql in ("select public.get_exports()", "select public.batches_page()", "select public.get_schedules()"):
        db.as_service(sql)


def others_go_on(db: Database) -> None:
    """Another user's batch is claimed and completed, and whoever looks gets an answer."""
    user = db.new_user()
    batch = db.submit(user)
    db.as_user(user, "select * from public.batch_waits(%s)", batch["id"])
    rows = db.run("select id from public.batch_generations")
    for row in rows:
        db.as_service("select * from public.batch_waits(%s)", row["id"])
        db.as_service("select public.batch_snapshot(%s)", row["id"])
        db.as_service("select public.batch_details(%s)", row["id"])
    for _ in range(3):  # suspects of the victim's worker may have their turn first
        for claim in db.claim(100, worker=f"worker-{user}"):
            if claim["user_id"] == user:
                db.complete(claim)
            else:
                db.release(claim, worker=f"worker-{user}")
    assert db.totals(batch["id"]) == ("completed", 2, 0)
    for view in VIEWS:
        db.run(f"select count(*) from (select * from {view} offset 0) v")  # noqa: S608
        db.run(f"select v::text from {view} v")  # noqa: S608
    db.as_service("select * from public.get_workers()")
    for by in ("batch", "user", "model", "day"):
        db.as_service("select * from public.get_costs(%s)", by)
    db.as_service("select * from public.take_storage_deletions('w', 100, 60)")
    db.as_service("select * from public.take_open_orders('w', 100, 60)")
    db.as_service("select public.remove_expired_images()")
    others_are_served(db, user, batch["id"])


def write(db: Database, sql: str, names: Row, user: UUID | None = None) -> bool:
    """Write the value; return whether it was accepted."""
    with contextlib.suppress(psycopg.Error):
        if user is None:
            db.admin.execute(sql.encode(), names)
        else:
            with db.acting("authenticated", user) as connection:
                connection.execute(sql.encode(), names)
        return True
    return False


def clear(db: Database) -> None:
    """The victims so far make way, so that each write is looked at alone."""
    db.run("set session_replication_role = replica")
    db.run(
        "truncate public.image_generations, public.batch_generations, public.images, public.user_rate_limits,"
        " public.prompt_templates, batchgen.queue, batchgen.touched, batchgen.failures, batchgen.requests,"
        " batchgen.generation_tags, batchgen.storage_deletions, batchgen.orders, batchgen.breakers, batchgen.providers,"
        " batchgen.workers, batchgen.model_providers, batchgen.batch_ratings, batchgen.batch_schedules,"
        " batchgen.batch_templates, batchgen.credit_checkpoints, batchgen.credit_prices, batchgen.credit_terms,"
        " batchgen.exports, batchgen.item_versions, batchgen.trashed_images, batchgen.trashed_batches cascade"
    )
    db.run("delete from public.models where name <> 'offline-sketch' or name is null")
    db.run("reset session_replication_role")
    db.run("update public.models set is_active = true, is_default = true")


def columns_of(db: Database, table: str) -> list[Row]:
    return [row for row in db.run(COLUMNS) if row["table"] == table]


def test_each_table_that_an_admin_can_edit_is_tried(db: Database) -> None:
    tables = {row["table"] for row in db.run(COLUMNS)}

    assert tables == set(OWN_ROWS) | LEFT_OUT
    assert {row["type"] for row in db.run(COLUMNS) if row["table"] not in LEFT_OUT} <= set(VALUES)


@pytest.mark.parametrize("table", [table for table in OWN_ROWS if table != "batchgen.settings"])
def test_nothing_that_an_admin_writes_into_a_table_stops_anybody_else(db: Database, table: str) -> None:
    db.run("update batchgen.settings set max_parallel_global = 1000, suspect_turn_seconds = 0")
    for column in columns_of(db, table):
        victim = a_victim(db)
        for value in VALUES[column["type"]]:
            sql = f"update {table} set {column['column']} = {value} where {OWN_ROWS[table]}"  # noqa: S608
            if write(db, sql, victim.names) and LOOKS_AFTER_EACH:
                others_go_on(db)
        others_go_on(db)
        clear(db)


@pytest.mark.parametrize("table", USERS_TABLES)
def test_nothing_that_a_user_writes_into_a_table_stops_anybody_else(db: Database, table: str) -> None:
    """With the grants and policies of a project that lets its users write everything."""
    db.run("update batchgen.settings set max_parallel_global = 1000, suspect_turn_seconds = 0")
    db.run("grant select, insert, update, delete on all tables in schema public to authenticated")
    for name in USERS_TABLES:
        db.run(f"create policy everything on {name} to authenticated using (true) with check (true)")
    victim = a_victim(db)
    for column in columns_of(db, table):
        for value in VALUES[column["type"]]:
            sql = f"update {table} set {column['column']} = {value} where {OWN_ROWS[table]}"  # noqa: S608
            if write(db, sql, victim.names, victim.user) and LOOKS_AFTER_EACH:
                others_go_on(db)
    others_go_on(db)


def test_no_setting_that_is_taken_stops_the_queue(db: Database) -> None:
    db.run("create table public.kept as table batchgen.settings")
    victim = a_victim(db)
    for column in columns_of(db, "batchgen.settings"):
        name = column["column"]
        for value in VALUES[column["type"]]:
            if write(db, f"update batchgen.settings set {name} = {value}", {}):  # noqa: S608
                db.claim(5, worker="worker-of-the-settings")
                db.as_service("select * from public.batch_waits(%s)", victim.batch)
                db.run("select v::text from batchgen.queue_health v")
                db.run(f"update batchgen.settings set {name} = (select {name} from public.kept)")  # noqa: S608
    others_go_on(db)
