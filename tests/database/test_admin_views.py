"""The dashboard: comments explain every object, and views of the queue show no prompt."""

from datetime import timedelta

import pytest
from database_harness import Database, NewDatabase, Row, refused

from devstack.migrations import apply_migrations, default_migrations_dir

VIEWS = ("queue_health", "queue_by_user", "queue_by_model", "queue_by_worker", "recent_failures")
UNCOMMENTED = """
  select c.oid::regclass::text as name from pg_class c
  where c.relnamespace::regnamespace::text = any (%(schemas)s) and c.relkind in ('r', 'v', 'm')
    and obj_description(c.oid, 'pg_class') is null
  union all
  select c.oid::regclass || '.' || a.attname from pg_class c join pg_attribute a on a.attrelid = c.oid
  where c.relnamespace::regnamespace::text = any (%(schemas)s) and c.relkind in ('r', 'v', 'm')
    and a.attnum > 0 and not a.attisdropped and col_description(c.oid, a.attnum) is null
  union all
  select p.oid::regprocedure::text from pg_proc p
  where p.pronamespace::regnamespace::text = any (%(schemas)s) and obj_description(p.oid, 'pg_proc') is null
  union all
  select n.nspname from pg_namespace n where n.nspname = any (%(schemas)s)
    and obj_description(n.oid, 'pg_namespace') is null
  order by 1
"""
SCHEMAS = {"schemas": ["public", "batchgen", "batchgen_api"]}
HIDDEN = "unmistakable prompt"


def health(db: Database) -> Row:
    return db.one("table batchgen.queue_health")


def test_everything_has_a_comment(shared_db: Database) -> None:
    assert shared_db.admin.execute(UNCOMMENTED.encode(), SCHEMAS).fetchall() == []


def test_comments_are_sentences(shared_db: Database) -> None:
    rows = shared_db.run(
        "select d.objoid::regclass::text as name, d.description as words from pg_description d"
        " join pg_class c on c.oid = d.objoid and d.classoid = 'pg_class'::regclass"
        " where c.relnamespace in ('public'::regnamespace, 'batchgen'::regnamespace)"
    )

    assert len(rows) > 150
    assert [row for row in rows if len(row["words"]) < 8 or not row["words"].endswith(".")] == []


async def test_a_comment_that_the_app_has_stays_and_the_rest_is_filled(bare: NewDatabase) -> None:
    db = await bare("app_schema.sql", "app_limits.sql")

    await apply_migrations(db.dsn, default_migrations_dir())

    column = (
        "select col_description(attrelid, attnum) from pg_attribute"
        " where attrelid = 'public.user_rate_limits'::regclass and attname = %s"
    )
    assert db.value(column, "max_batch_size") == "The app's own words."
    assert db.value(column, "daily_reset_at").startswith("End of the current day")
    assert db.admin.execute(UNCOMMENTED.encode(), SCHEMAS).fetchall() == []


def test_an_idle_queue_is_told_as_nothing_to_look_at(db: Database) -> None:
    row = health(db)

    assert (row["running"], row["waiting"], row["delayed"], row["parked"], row["users"], row["workers"]) == (0,) * 6
    assert (row["oldest_wait"], row["remark"], row["running_at_most"]) == (None, None, 20)


def test_the_queue_is_counted_by_state_user_model_and_worker(db: Database) -> None:
    user, other = db.new_user(), db.new_user()
    db.submit(user, 5)
    db.submit(other, 2)
    claims = db.claim(4, worker="one") + db.claim(1, worker="two")
    db.fail(next(claim for claim in claims if claim["user_id"] == user), retryable=True)
    db.run("update batchgen.queue set due_at = now() - interval '90 seconds' where state = 'waiting'")

    row = health(db)
    assert (row["running"], row["waiting"], row["delayed"], row["parked"]) == (4, 2, 1, 0)
    assert (row["users"], row["workers"], row["expired_leases"], row["remark"]) == (2, 2, 0, None)
    assert timedelta(seconds=90) <= row["oldest_wait"] < timedelta(minutes=5)
    users = {row["user_id"]: row for row in db.run("table batchgen.queue_by_user")}
    assert (users[user]["running"], users[user]["waiting"], users[user]["delayed"]) == (2, 2, 1)
    assert (users[other]["running"], users[other]["waiting"], users[other]["oldest_wait"]) == (2, 0, None)
    model = db.one("table batchgen.queue_by_model")
    assert (model["model"], model["provider"], model["running"], model["waiting"]) == (
        "Offline sketch",
        "offline",
        4,
        2,
    )
    assert (model["provider_paused_until"], model["breaker_open_until"], model["faults"]) == (None, None, 0)
    workers = {row["worker"]: row["running"] for row in db.run("table batchgen.queue_by_worker")}
    assert sum(workers.values()) == 4
    assert set(workers) == {"one", "two"}


def test_a_paused_provider_an_open_breaker_and_parked_items_are_told(db: Database) -> None:
    db.run("update batchgen.settings set breaker_failures = 1")
    db.submit(prompts=4)
    first, second = db.claim(2)
    db.fail(first, retryable=True, provider_fault=True)
    db.fail(second, retryable=True, retry_after_seconds=300)
    db.claim()

    row = health(db)
    assert (row["providers_paused"], row["breakers_open"], row["parked"]) == (1, 1, 2)
    assert row["remark"] == "Items wait for a paused provider or model: see queue_by_model."
    model = db.one("select *, now() as now from batchgen.queue_by_model")
    assert model["provider_paused_until"] > model["now"] < model["breaker_open_until"]
    assert (model["faults"], model["parked"]) == (1, 2)


def test_a_worker_that_is_gone_is_told_from_the_leases_that_it_left(db: Database) -> None:
    db.submit()
    for claim in db.claim():
        db.expire(claim)
    row = health(db)
    assert (row["running"], row["expired_leases"], row["overdue_leases"], row["remark"]) == (2, 2, 0, None)
    assert db.one("table batchgen.queue_by_worker")["expired_leases"] == 2

    db.run("update batchgen.queue set lease_expires_at = now() - interval '2 minutes'")

    assert health(db)["overdue_leases"] == 2
    assert health(db)["remark"].startswith("Leases expired more than a minute ago")


def test_waiting_with_no_worker_and_running_at_the_limit_are_told(db: Database) -> None:
    db.submit(prompts=5)
    assert health(db)["remark"] is None
    db.run("update batchgen.queue set due_at = now() - interval '2 minutes'")
    assert health(db)["remark"] == "Items wait and none runs: is a worker running?"

    db.run("update batchgen.settings set max_parallel_global = 1")
    db.claim()

    assert health(db)["remark"].startswith("The limit of running items is reached")


def test_failures_are_counted_by_code_and_time(db: Database) -> None:
    db.submit(prompts=4)
    claims = [*db.claim(), *db.claim()]
    for claim, code in zip(claims, ["timeout", "timeout", "blocked_by_policy"], strict=True):
        db.fail(claim, code=code)
    db.fail(db.claim_one(), code="old")
    db.run("update batchgen.failures set failed_at = now() - interval '2 hours' where code = 'timeout'")
    db.run("update batchgen.failures set failed_at = now() - interval '8 days' where code = 'old'")

    rows = {row["code"]: row for row in db.run("table batchgen.recent_failures")}

    assert set(rows) == {"timeout", "blocked_by_policy"}
    assert [rows["timeout"][name] for name in ("last_hour", "last_day", "last_week")] == [0, 2, 2]
    assert [rows["blocked_by_policy"][name] for name in ("last_hour", "last_day", "last_week")] == [1, 1, 1]
    assert health(db)["failed_last_hour"] == 1


def test_no_view_of_the_queue_shows_a_prompt_or_a_name_of_a_batch(db: Database) -> None:
    request = {"prompts": [{"text": HIDDEN, "negative_prompt": HIDDEN, "tags": [HIDDEN]}] * 3, "batch_name": HIDDEN}
    db.create(db.new_user(), request)
    db.fail(db.claim_one(), message=HIDDEN)
    db.claim_one()

    shown = {view: db.run(f"table batchgen.{view}") for view in VIEWS}

    assert all(shown.values())
    assert HIDDEN not in str(shown)


@pytest.mark.parametrize("view", VIEWS)
def test_views_of_the_queue_read_as_their_caller_and_nobody_is_granted_them(shared_db: Database, view: str) -> None:
    options = shared_db.value("select reloptions from pg_class where oid = to_regclass(%s)", f"batchgen.{view}")

    assert options == ["security_invoker=on"]
    for role in ("anon", "authenticated", "service_role"):
        with refused("42501"), shared_db.acting(role, shared_db.new_user()) as connection:
            connection.execute(f"table batchgen.{view}".encode())


async def test_a_plain_owner_reads_the_views_as_the_dashboard_does(bare: NewDatabase) -> None:
    """Hosted projects have no superuser: what migrated owns the tables, and row level security lets it through."""
    db = await bare()
    await apply_migrations(db.dsn, default_migrations_dir())
    db.submit()
    db.run("create role dashboard; grant authenticated to dashboard")
    db.run("alter schema batchgen owner to dashboard")
    objects = db.run(
        "select c.oid::regclass::text as name, c.relkind::text as kind from pg_class c"
        " where c.relnamespace = 'batchgen'::regnamespace and c.relkind in ('r', 'v')"
    )
    for one in objects:
        db.run(f"alter {'view' if one['kind'] == 'v' else 'table'} {one['name']} owner to dashboard")
    db.run("grant execute on all functions in schema batchgen to dashboard; grant select on public.models to dashboard")

    with db.acting("dashboard") as connection:
        row = connection.execute("table batchgen.queue_health").fetchone()
        models = connection.execute("table batchgen.queue_by_model").fetchall()

    assert row is not None
    assert row["waiting"] == 2
    assert [model["waiting"] for model in models] == [2]
