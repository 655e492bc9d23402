"""What the app writes with its users' own tokens, in the app's own words: each becomes a proper transition or nothing.

Everything here runs twice: with our policies and grants, and on a project whose policies and grants refuse nothing.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest
from database_harness import Database, NewDatabase, Row, refused

from devstack.migrations import apply_migrations, default_migrations_dir

RETRY = (
    "update public.image_generations set status = 'pending', error_message = null, retry_count = 0"
    " where batch_id = %s and status = 'failed'"
)
AFTER_RETRY = "update public.batch_generations set status = 'processing', failed_count = 0 where id = %s"
CANCEL = (
    "update public.image_generations set status = 'failed', error_message = 'Cancelled by user'"
    " where batch_id = %s and status = 'pending'"
)
AFTER_CANCEL = "update public.batch_generations set status = 'failed', completed_at = now() where id = %s"
DELETE = "delete from public.batch_generations where id = %s"

ALLOW_EVERYTHING = """
grant all on all tables in schema public to anon, authenticated;
do $$
declare
  v record;
begin
  for v in select policyname, tablename from pg_policies where schemaname = 'public' loop
    execute format('drop policy %I on public.%I', v.policyname, v.tablename);
  end loop;
  for v in select relname from pg_class where relnamespace = 'public'::regnamespace and relkind = 'r' loop
    execute format('create policy "all" on public.%I for all to public using (true) with check (true)', v.relname);
  end loop;
end
$$;
"""
NO_ROW_SECURITY = """
grant all on all tables in schema public to anon, authenticated;
alter table public.image_generations disable row level security;
alter table public.batch_generations disable row level security;
"""
TABLES = ("batch_generations", "image_generations", "images", "tags", "image_tags")
PRIVATE = ("batchgen.queue", "batchgen.failures", "batchgen.storage_deletions")


@pytest.fixture(params=["ours", "anything goes", "no row security"])
def project(request: pytest.FixtureRequest, db: Database) -> Database:
    match request.param:
        case "anything goes":
            db.run(ALLOW_EVERYTHING)
        case "no row security":
            db.run(NO_ROW_SECURITY)
        case _:
            pass
    return db


def everything(db: Database) -> dict[str, list[Row]]:
    """All rows, and the transaction that wrote each: an update that changes nothing would show, too."""
    names = [*(f"public.{table}" for table in TABLES), *PRIVATE]
    return {name: db.run(f"select xmin::text as written_by, * from {name} order by 2, 3") for name in names}  # noqa: S608


def statuses(db: Database, batch: Row) -> list[str]:
    rows = db.run("select status from public.image_generations where batch_id = %s order by batch_index", batch["id"])
    return [row["status"] for row in rows]


def codes(db: Database) -> dict[int, str]:
    rows = db.run(
        "select g.batch_index, f.code from batchgen.failures f"
        " join public.image_generations g on g.id = f.generation_id"
    )
    return {row["batch_index"]: row["code"] for row in rows}


def requested(db: Database) -> list[int]:
    """The places of the items whose workers are asked to stop."""
    rows = db.run(
        "select g.batch_index from batchgen.queue q join public.image_generations g on g.id = q.generation_id"
        " where q.cancel_requested order by 1"
    )
    return [row["batch_index"] for row in rows]


# single generations

PROMPTS = ("prompt", "negative_prompt")
SINGLE = "insert into public.image_generations (user_id, prompt, model, width, height, seed, status) values"


def test_a_single_generation_is_the_apps_and_never_queued(project: Database) -> None:
    user = project.new_user()

    [row] = project.as_user(user, SINGLE + " (%s, 'one', 'flux', 512, 512, 0, 'pending') returning *", user)

    assert (row["status"], row["batch_id"], row["seed"]) == ("pending", None, 0)
    assert project.value("select count(*) from batchgen.queue") == 0
    assert project.claim() == []


@pytest.mark.parametrize("field", PROMPTS)
def test_the_prompts_of_a_single_generation_are_no_longer_than_those_of_a_batch(project: Database, field: str) -> None:
    user, longest = project.new_user(), "ä" * 4000
    sql = "insert into public.image_generations (user_id, prompt, negative_prompt) values (%s, %s, %s)"

    project.as_user(user, sql, user, longest, longest)
    with refused("PT422") as refusal:
        project.as_user(user, sql, user, *(longest + "x" if field == name else "" for name in PROMPTS))

    assert refusal.detail | {"code": "too_long", "field": field, "limit": 4000} == refusal.detail
    assert refusal.message == f"{field} is 4001 characters long; at most 4000 are allowed."
    project.run("update batchgen.settings set max_prompt_characters = 4001")
    project.as_user(user, sql, user, longest + "x", longest + "x")


def test_admins_and_workers_write_prompts_of_any_length(project: Database) -> None:
    user, long = project.new_user(), "x" * 4001
    sql = "insert into public.image_generations (user_id, prompt, negative_prompt) values (%s, %s, %s)"

    project.run(sql, user, long, long)
    project.as_service(sql, user, long, long)

    assert project.value("select count(*) from public.image_generations where length(prompt) = 4001") == 2


def test_a_single_generation_can_be_given_up_with_a_message(project: Database) -> None:
    user = project.new_user()
    project.as_user(user, SINGLE + " (%s, 'one', 'flux', 512, 512, 1, 'pending')", user)

    sql = "update public.image_generations set status = 'failed', error_message = 'No answer.' where prompt = 'one'"
    project.as_user(user, sql)

    item = project.one("select * from public.image_generations")
    assert (item["status"], item["error_message"]) == ("failed", "No answer.")
    assert item["completed_at"] is not None
    assert project.value("select count(*) from batchgen.failures") == 0


def test_a_single_generation_that_is_finished_stays_finished(project: Database) -> None:
    user = project.new_user()
    project.run("insert into public.image_generations (user_id, prompt, status) values (%s, 'one', 'completed')", user)

    project.as_user(user, "update public.image_generations set status = 'failed', error_message = 'No.' where true")

    assert project.one("select status, error_message from public.image_generations") == {
        "status": "completed",
        "error_message": None,
    }


# retry


def failed_batch(db: Database, user: UUID, *errors: str) -> Row:
    """A batch with one finished item, and a failed one for each code; an empty code is an edit by an admin."""
    db.run("update batchgen.settings set max_parallel_per_user = 10")
    batch = db.submit(user, prompts=len(errors) + 1)
    done, *rest = db.claim()
    db.complete(done)
    for claim, code in zip(rest, errors, strict=True):
        if code:
            db.fail(claim, code=code, retryable=False)
        else:
            db.run("update public.image_generations set status = 'failed' where id = %s", claim["generation_id"])
    return batch


def test_a_retry_makes_the_failed_items_due_again_and_no_others(project: Database) -> None:
    user = project.new_user()
    batch = failed_batch(project, user, "timeout", "blocked_by_policy", "cancelled", "crashed", "")
    project.run("update public.image_generations set retry_count = 3 where batch_index = 1")
    other = failed_batch(project, user, "timeout")

    project.as_user(user, RETRY, batch["id"])
    project.as_user(user, AFTER_RETRY, batch["id"])

    assert statuses(project, batch) == ["completed", "pending", "failed", "failed", "pending", "pending"]
    assert statuses(project, other) == ["completed", "failed"]
    assert project.totals(batch["id"]) == ("processing", 1, 2)
    again = project.claim()
    assert [claim["batch_index"] for claim in again] == [1, 4, 5]
    assert {(claim["attempt"], claim["retry_count"]) for claim in again} == {(1, 0)}
    assert {item["error_message"] for item in map(project.item, [claim["generation_id"] for claim in again])} == {None}
    for claim in again:
        project.complete(claim)
    assert project.totals(batch["id"]) == ("partial", 4, 2)


def test_a_retried_item_has_all_its_retries_before_it(project: Database) -> None:
    user = project.new_user()
    batch = failed_batch(project, user, "timeout")

    project.as_user(user, RETRY, batch["id"])

    assert project.fail(project.claim_one(), retryable=True)["retry_count"] == 1


def test_a_retry_that_finds_nothing_to_retry_is_no_error_and_changes_nothing(project: Database) -> None:
    user = project.new_user()
    batch = failed_batch(project, user, "blocked_by_policy", "cancelled")
    before = everything(project)

    project.as_user(user, RETRY, batch["id"])

    assert everything(project) == before


LIMIT = """
create or replace function batchgen.take_from_limits(p_user_id uuid, p_items integer) returns void
language plpgsql security definer set search_path = '' as $$
begin
  insert into public.asked values (p_user_id, p_items, (select count(*) from batchgen.queue));
  if p_items > 2 then
    perform batchgen.refuse('daily_limit', 'Enough for today.', null, 'Wait.', null, null, 'PT429');
  end if;
end
$$;
create table public.asked (user_id uuid, items integer, queued bigint);
"""


def test_a_retry_is_asked_for_once_with_its_number_of_items_before_they_are_queued(project: Database) -> None:
    user = project.new_user()
    batch = failed_batch(project, user, "timeout", "timeout", "cancelled")
    project.run(LIMIT)

    project.as_user(user, RETRY, batch["id"])

    assert project.run("select * from public.asked") == [{"user_id": user, "items": 2, "queued": 0}]


def test_a_retry_above_the_limits_is_refused_whole(project: Database) -> None:
    user = project.new_user()
    batch = failed_batch(project, user, "timeout", "timeout", "timeout")
    project.run(LIMIT)
    before = everything(project)

    with refused("PT429") as refusal:
        project.as_user(user, RETRY, batch["id"])

    assert refusal.detail["code"] == "daily_limit"
    assert everything(project) == before


def test_a_cancel_and_a_retry_by_an_operator_do_not_ask_the_limits(project: Database) -> None:
    user = project.new_user()
    batch = failed_batch(project, user, "timeout", "timeout", "timeout")
    project.run(LIMIT)

    project.as_service(RETRY, batch["id"])

    assert statuses(project, batch) == ["completed", "pending", "pending", "pending"]
    assert project.run("select * from public.asked") == []


def test_an_operator_requeues_even_what_users_cannot(project: Database) -> None:
    batch = failed_batch(project, project.new_user(), "blocked_by_policy", "cancelled")

    project.as_service(RETRY, batch["id"])

    assert statuses(project, batch) == ["completed", "pending", "pending"]
    assert codes(project) == {}


# cancel


def test_a_cancel_ends_what_waits_and_asks_for_the_end_of_what_runs(project: Database) -> None:
    user = project.new_user()
    batch = project.submit(user, prompts=6)
    done, delayed, running = project.claim()
    project.complete(done)
    project.fail(delayed, retryable=True)

    project.as_user(user, CANCEL, batch["id"])
    project.as_user(user, AFTER_CANCEL, batch["id"])

    assert statuses(project, batch) == ["completed", "failed", "processing", "failed", "failed", "failed"]
    assert codes(project) == dict.fromkeys((1, 3, 4, 5), "cancelled")
    assert requested(project) == [2]
    assert project.totals(batch["id"]) == ("processing", 1, 4)
    assert project.claim() == []
    assert [renewal["cancel_requested"] for renewal in project.renew(running)] == [True]
    project.fail(running, code="cancelled", message="Stopped.")
    assert project.totals(batch["id"]) == ("partial", 1, 5)
    assert codes(project)[2] == "cancelled"
    item = project.item(running["generation_id"])
    assert item["completed_at"] is not None


def test_the_items_update_alone_already_cancels_the_whole_batch(project: Database) -> None:
    user = project.new_user()
    batch = project.submit(user, prompts=5)
    project.claim(2)

    project.as_user(user, CANCEL, batch["id"])

    assert requested(project) == [0, 1]
    assert statuses(project, batch) == ["processing", "processing", "failed", "failed", "failed"]


def test_the_batch_update_alone_already_cancels_the_whole_batch(project: Database) -> None:
    """Where everything runs, the update of the items finds no row; and one may have been set back to waiting since."""
    user = project.new_user()
    batch = project.submit(user, prompts=3)
    released, _, _ = project.claim()
    project.as_user(user, CANCEL, batch["id"])
    assert requested(project) == []
    project.release(released)

    project.as_user(user, AFTER_CANCEL, batch["id"])

    assert statuses(project, batch) == ["failed", "processing", "processing"]
    assert requested(project) == [1, 2]
    assert codes(project) == {0: "cancelled"}
    assert project.totals(batch["id"]) == ("processing", 0, 1)


def test_a_batch_that_is_cancelled_before_it_starts_has_failed(project: Database) -> None:
    user = project.new_user()
    batch = project.submit(user)

    project.as_user(user, CANCEL, batch["id"])
    project.as_user(user, AFTER_CANCEL, batch["id"])

    assert project.totals(batch["id"]) == ("failed", 0, 2)
    assert project.value("select count(*) from batchgen.queue") == 0


def test_a_cancel_of_one_waiting_item_leaves_the_others_alone(project: Database) -> None:
    user = project.new_user()
    batch = project.submit(user, prompts=4)
    project.claim(1)

    sql = "update public.image_generations set status = 'failed' where batch_id = %s and batch_index = 1"
    project.as_user(user, sql, batch["id"])

    assert statuses(project, batch) == ["processing", "failed", "pending", "pending"]
    assert requested(project) == []
    assert codes(project) == {1: "cancelled"}


def test_a_cancel_of_a_running_item_asks_its_worker(project: Database) -> None:
    user = project.new_user()
    batch = project.submit(user, prompts=3)
    project.claim(2)

    sql = "update public.image_generations set status = 'failed' where batch_id = %s and batch_index = 1"
    project.as_user(user, sql, batch["id"])

    assert statuses(project, batch) == ["processing", "processing", "pending"]
    assert requested(project) == [1]


def test_what_was_cancelled_is_not_run_again_by_a_retry(project: Database) -> None:
    user = project.new_user()
    batch = project.submit(user)
    project.as_user(user, CANCEL, batch["id"])

    project.as_user(user, RETRY, batch["id"])
    project.as_user(user, AFTER_RETRY, batch["id"])

    assert statuses(project, batch) == ["failed", "failed"]
    assert project.totals(batch["id"]) == ("failed", 0, 2)
    assert project.claim() == []


# delete


def test_a_deleted_batch_ends_what_waits_and_keeps_finished_pictures(project: Database) -> None:
    user = project.new_user()
    batch = project.submit(user, prompts=4)
    done, running = project.claim(2)
    project.complete(done)

    project.as_user(user, DELETE, batch["id"])

    items = {row["batch_index"]: row for row in project.run("select * from public.image_generations")}
    assert [items[n]["status"] for n in range(4)] == ["completed", "processing", "failed", "failed"]
    assert {item["batch_id"] for item in items.values()} == {None}
    assert codes(project) == {2: "cancelled", 3: "cancelled"}
    assert project.value("select count(*) from public.images") == 1
    assert project.value("select count(*) from batchgen.storage_deletions") == 0
    assert [renewal["cancel_requested"] for renewal in project.renew(running)] == [True]


@pytest.fixture
def orphan(project: Database) -> Row:
    """The claim of an item whose batch was deleted while it ran."""
    user = project.new_user()
    batch = project.submit(user)
    running = project.claim_one()
    project.as_user(user, DELETE, batch["id"])
    return running


def ends_as_cancelled(db: Database, claim: Row) -> bool:
    code = db.value("select code from batchgen.failures where generation_id = %s", claim["generation_id"])
    status = db.item(claim["generation_id"])["status"]
    return (status, code, db.queued(claim["generation_id"]), db.claim()) == ("failed", "cancelled", None, [])


def test_a_running_item_of_a_deleted_batch_ends_when_its_worker_says_so(project: Database, orphan: Row) -> None:
    project.fail(orphan, code="cancelled", message="Stopped.")

    assert ends_as_cancelled(project, orphan)


def test_a_picture_of_a_deleted_batch_that_was_finished_already_is_kept(project: Database, orphan: Row) -> None:
    project.complete(orphan)

    assert project.item(orphan["generation_id"])["status"] == "completed"
    assert project.queued(orphan["generation_id"]) is None
    assert project.value("select count(*) from public.images") == 1


def test_a_running_item_of_a_deleted_batch_ends_with_its_lease(project: Database, orphan: Row) -> None:
    project.expire(orphan)

    assert project.return_expired() == 1

    assert ends_as_cancelled(project, orphan)
    with refused("PT409"):
        project.complete(orphan)


@pytest.mark.parametrize("end", ["released", "failed for now", "told to wait"])
def test_a_running_item_of_a_deleted_batch_never_waits_again(project: Database, orphan: Row, end: str) -> None:
    match end:
        case "released":
            project.release(orphan)
        case "failed for now":
            project.fail(orphan, retryable=True)
        case _:
            project.fail(orphan, retryable=True, retry_after_seconds=0)

    assert ends_as_cancelled(project, orphan)


def test_an_admin_ends_a_running_item_of_a_deleted_batch(project: Database, orphan: Row) -> None:
    project.run("update public.image_generations set status = 'failed' where id = %s", orphan["generation_id"])

    assert project.queued(orphan["generation_id"]) is None
    assert project.renew(orphan) == []


def test_its_owner_cannot_end_a_running_item_of_a_deleted_batch_twice(project: Database, orphan: Row) -> None:
    sql = "update public.image_generations set status = 'failed', error_message = 'Mine.' where id = %s"
    project.as_user(orphan["user_id"], sql, orphan["generation_id"])

    assert project.item(orphan["generation_id"])["status"] == "processing"
    assert [renewal["cancel_requested"] for renewal in project.renew(orphan)] == [True]


def test_a_deleted_running_item_of_a_deleted_batch_frees_its_users_slot(project: Database, orphan: Row) -> None:
    project.run("update batchgen.settings set max_parallel_per_user = 1")
    project.submit(orphan["user_id"])
    assert project.claim() == []

    project.run("delete from public.image_generations where id = %s", orphan["generation_id"])

    assert len(project.claim()) == 1


# updates of published rows

COUNT_UPDATES = """
create table public.updates (table_name text, id uuid);
create function public.count_update() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  insert into public.updates values (tg_table_name, new.id);
  return null;
end $$;
create trigger zz_count_update after update on public.image_generations
for each row execute function public.count_update();
"""


def updates(db: Database) -> dict[int, int]:
    """By place in the batch; forgets them."""
    rows = db.run(
        "with u as (delete from public.updates returning id)"
        " select g.batch_index, count(*) as n from u join public.image_generations g using (id) group by 1"
    )
    return {row["batch_index"]: row["n"] for row in rows}


def test_an_item_is_updated_once_by_each_of_these_writes(project: Database) -> None:
    user = project.new_user()
    batch = failed_batch(project, user, "timeout", "timeout", "blocked_by_policy")
    project.run(COUNT_UPDATES)

    project.as_user(user, RETRY, batch["id"])
    project.as_user(user, AFTER_RETRY, batch["id"])
    assert updates(project) == {1: 1, 2: 1}

    running = project.claim_one()
    assert updates(project) == {1: 1}
    project.as_user(user, CANCEL, batch["id"])
    project.as_user(user, AFTER_CANCEL, batch["id"])
    assert updates(project) == {2: 1}
    project.fail(running, code="cancelled")
    assert updates(project) == {1: 1}


def test_a_deleted_batch_updates_each_of_its_items_once(project: Database) -> None:
    user = project.new_user()
    batch = project.submit(user, prompts=3)
    done, running = project.claim(2)
    project.complete(done)
    project.run(COUNT_UPDATES)

    project.as_user(user, DELETE, batch["id"])

    assert updates(project) == {0: 1, 1: 1, 2: 1}
    project.fail(running, code="cancelled")
    assert updates(project) == {1: 1}


# all else

ITEM = "update public.image_generations set {} where batch_id = %(batch)s"
SINGLES = "update public.image_generations set {} where batch_id is null and user_id = %(user)s"
BATCH = "update public.batch_generations set {} where id = %(batch)s"
INSERT = "insert into public.image_generations ({}) values ({})"
NOT_ALLOWED: list[tuple[str, str | None]] = [
    # what a user sends, and the answer where policies and grants would let it through; None: no error and no effect
    (ITEM.format("status = 'completed'"), "PT403"),
    (ITEM.format("status = 'processing'"), "PT403"),
    (ITEM.format("status = null"), "PT403"),
    (ITEM.format("status = 'cancelled'"), "PT403"),
    (ITEM.format("prompt = 'other'"), "PT403"),
    (ITEM.format("batch_id = null"), "PT403"),
    (ITEM.format("batch_id = %(other)s"), "PT403"),
    (ITEM.format("batch_index = 7"), "PT403"),
    (ITEM.format("priority = 100"), "PT403"),
    (ITEM.format("seed = 1"), "PT403"),
    (ITEM.format("user_id = %(stranger)s"), "PT403"),
    (ITEM.format("created_at = '2001-01-01'"), "PT403"),
    (ITEM.format("replicate_prediction_id = 'mine'"), "PT403"),
    (ITEM.format("id = gen_random_uuid()"), "PT403"),
    (ITEM.format("generation_time_seconds = 1"), "PT403"),
    (ITEM.format("status = 'failed', priority = 100"), "PT403"),
    (ITEM.format("status = 'pending', priority = 100"), "PT403"),
    (ITEM.format("error_message = 'mine'") + " and status in ('processing', 'completed')", "PT403"),
    (ITEM.format("retry_count = 0"), "PT403"),
    (ITEM.format("retry_count = -5") + " and status in ('pending', 'failed')", None),
    (ITEM.format("completed_at = null") + " and status = 'failed'", None),
    (ITEM.format("status = 'pending'") + " and status in ('pending', 'processing', 'completed')", None),
    (ITEM.format("status = 'failed'") + " and status in ('completed', 'failed')", None),
    (SINGLES.format("status = 'completed'"), "PT403"),
    (SINGLES.format("status = 'pending', error_message = null"), None),
    (SINGLES.format("batch_id = %(batch)s"), "PT403"),
    (INSERT.format("user_id, prompt, batch_id", "%(user)s, 'free', %(batch)s"), "PT403"),
    (INSERT.format("user_id, prompt, batch_index", "%(user)s, 'free', 0"), "PT403"),
    (INSERT.format("user_id, prompt", "%(stranger)s, 'theirs'"), "PT403"),
    (INSERT.format("user_id, prompt", "null, 'nobodys'"), "PT403"),
    (INSERT.format("user_id, prompt, status", "%(user)s, 'done', 'completed'"), "PT422"),
    (INSERT.format("user_id, prompt, status", "%(user)s, 'runs', 'processing'"), "PT422"),
    (INSERT.format("user_id, prompt, status", "%(user)s, 'nothing', null"), "PT422"),
    (INSERT.format("user_id, prompt, priority", "%(user)s, 'me first', 5"), "PT403"),
    (INSERT.format("user_id, prompt, retry_count", "%(user)s, 'endless', -5"), "PT403"),
    (INSERT.format("user_id, prompt, replicate_prediction_id", "%(user)s, 'forged', 'job'"), "PT403"),
    (INSERT.format("user_id, prompt, completed_at", "%(user)s, 'forged', now()"), "PT403"),
    ("insert into public.batch_generations (user_id, total_count) values (%(user)s, 1)", "PT403"),
    ("delete from public.image_generations where batch_id = %(batch)s", "PT403"),
    ("delete from public.image_generations where batch_id is null", "PT403"),
    ("truncate public.image_generations cascade", "42501"),
    ("truncate public.batch_generations cascade", "42501"),
    (BATCH.format("completed_count = 2"), "PT403"),
    (BATCH.format("total_count = 1"), "PT403"),
    (BATCH.format("name = 'other'"), "PT403"),
    (BATCH.format("user_id = %(stranger)s"), "PT403"),
    (BATCH.format("created_at = '2001-01-01'"), "PT403"),
    (BATCH.format("status = 'failed', name = 'other'"), "PT403"),
]


@dataclass
class Stage:
    """A user with a batch in all states, another batch, and singles of their own; and a stranger."""

    db: Database
    user: UUID
    names: dict[str, Any]

    def sends(self, sql: str, *, by: UUID | None = None, role: str = "authenticated") -> str | None:
        """The SQLSTATE of the answer, None where there was no error."""
        try:
            with self.db.acting(role, by or self.user) as connection:
                connection.execute(sql.encode(), self.names if "%(" in sql else None)
        except psycopg.Error as error:
            return error.sqlstate
        return None


@pytest.fixture
def stage(project: Database) -> Stage:
    user, stranger = project.new_user(), project.new_user()
    batch = project.submit(user, prompts=5)
    done, failed, _ = project.claim()
    project.complete(done)
    project.fail(failed)
    other = project.submit(user)
    project.run("update public.image_generations set retry_count = 1 where batch_id = %s", batch["id"])
    for status in ("pending", "failed", "completed"):
        sql = "insert into public.image_generations (user_id, prompt, status) values (%s, 'single', %s)"
        project.run(sql, user, status)
    return Stage(project, user, {"user": user, "stranger": stranger, "batch": batch["id"], "other": other["id"]})


@pytest.mark.parametrize(("sql", "answer"), NOT_ALLOWED, ids=[sql for sql, _ in NOT_ALLOWED])
def test_everything_else_is_refused_or_without_effect(
    stage: Stage, request: pytest.FixtureRequest, sql: str, answer: str | None
) -> None:
    before = everything(stage.db)

    said = stage.sends(sql)

    assert everything(stage.db) == before
    is_ours = "ours" in request.node.name
    assert said in ({answer, "42501"} if is_ours else {answer})


@pytest.mark.parametrize("sql", [RETRY, AFTER_RETRY, CANCEL, AFTER_CANCEL, DELETE])
@pytest.mark.parametrize("role", ["authenticated", "anon"])
def test_a_stranger_writes_nothing(stage: Stage, request: pytest.FixtureRequest, sql: str, role: str) -> None:
    before = everything(stage.db)

    said = stage.sends(sql.replace("%s", "%(batch)s"), by=stage.names["stranger"], role=role)

    assert everything(stage.db) == before
    assert said in ({None, "42501"} if "ours" in request.node.name else {"PT403"})


def test_a_refusal_names_the_column_and_what_to_do(stage: Stage) -> None:
    stage.db.run(ALLOW_EVERYTHING)

    with refused("PT403") as refusal:
        stage.db.as_user(stage.user, "update public.image_generations set status = 'failed', priority = 9")

    assert (refusal.detail["code"], refusal.detail["field"]) == ("not_writable", "priority")
    assert refusal.detail["remedy"]


async def test_on_a_project_that_has_the_apps_tables_and_batches_the_app_goes_through(bare: NewDatabase) -> None:
    """Create, watch, cancel, retry and delete, with the app's own policies and grants and rows from before."""
    db = await bare("app_schema.sql", "seed_schema.sql", "seed_rows.sql")
    cancelled_before = "44444444-4444-4444-8444-444444444441"
    db.run(
        "update public.image_generations set status = 'failed', error_message = 'Cancelled by user' where id = %s",
        cancelled_before,
    )
    await apply_migrations(db.dsn, default_migrations_dir())
    old_batch = {"id": UUID("33333333-3333-4333-8333-333333333333")}
    user = db.batch(old_batch["id"])["user_id"]
    db.fail(db.claim_one())
    assert statuses(db, old_batch) == ["failed", "failed"]

    db.as_user(user, RETRY, old_batch["id"])
    db.as_user(user, AFTER_RETRY, old_batch["id"])
    assert statuses(db, old_batch) == ["pending", "failed"]

    db.as_user(user, CANCEL, old_batch["id"])
    db.as_user(user, AFTER_CANCEL, old_batch["id"])
    assert statuses(db, old_batch) == ["failed", "failed"]
    assert db.totals(old_batch["id"]) == ("failed", 0, 2)

    db.as_user(user, DELETE, old_batch["id"])
    assert db.run("select * from public.batch_generations") == []
    assert db.value("select count(*) from public.image_generations where batch_index is not null") == 2


async def test_items_that_ran_before_there_was_a_queue_can_be_cancelled(bare: NewDatabase) -> None:
    db = await bare("app_schema.sql", "seed_schema.sql", "seed_rows.sql")
    db.run("update public.image_generations set status = 'processing' where batch_index = 0")
    await apply_migrations(db.dsn, default_migrations_dir())
    batch = db.one("select * from public.batch_generations")
    claim = db.claim_one()

    answer = db.as_user(batch["user_id"], "select public.cancel_batch(%s) as answer", batch["id"])[0]["answer"]

    assert [entry["action"] for entry in answer["done"]] == ["cancelled", "cancel_requested"]
    assert statuses(db, batch) == ["failed", "processing"]
    db.fail(claim, code="cancelled")
    assert db.totals(batch["id"]) == ("failed", 0, 2)
