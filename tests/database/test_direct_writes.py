"""The app's own writes with its users' tokens: each becomes a proper transition of items and batches.

Most tests run three times: with our policies and grants, and on projects whose policies and grants refuse nothing.
What is refused is in supabase/tests.
"""

from uuid import UUID

import pytest
from app_writes import (
    AFTER_CANCEL,
    AFTER_RETRY,
    ALLOW_EVERYTHING,
    CANCEL,
    COUNT_UPDATES,
    DELETE,
    LIMIT,
    RETRY,
    codes,
    everything,
    failed_batch,
    requested,
    statuses,
    updates,
)
from database_harness import Database, NewDatabase, Row, refused

from devstack.migrations import apply_migrations, default_migrations_dir

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


def test_a_cancel_ends_waiting_items_and_asks_running_ones_to_stop(project: Database) -> None:
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


def test_a_retry_runs_no_cancelled_item_again(project: Database) -> None:
    user = project.new_user()
    batch = project.submit(user)
    project.as_user(user, CANCEL, batch["id"])

    project.as_user(user, RETRY, batch["id"])
    project.as_user(user, AFTER_RETRY, batch["id"])

    assert statuses(project, batch) == ["failed", "failed"]
    assert project.totals(batch["id"]) == ("failed", 0, 2)
    assert project.claim() == []


# delete


def test_a_deleted_batch_ends_waiting_items_and_keeps_finished_pictures(project: Database) -> None:
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


def test_a_refusal_names_the_column_and_what_to_do(db: Database) -> None:
    user = db.new_user()
    db.submit(user)
    db.run(ALLOW_EVERYTHING)

    with refused("PT403") as refusal:
        db.as_user(user, "update public.image_generations set status = 'failed', priority = 9")

    assert (refusal.detail["code"], refusal.detail["field"]) == ("not_writable", "priority")
    assert refusal.detail["remedy"]


async def test_the_apps_writes_work_on_a_project_with_its_tables_and_batches(bare: NewDatabase) -> None:
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
