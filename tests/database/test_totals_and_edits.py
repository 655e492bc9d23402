"""Totals and states of batches, and the effects of admins' direct edits."""

import pytest
from database_harness import Database, Row, refused


def finish(db: Database, claim: Row, end: str) -> None:
    if end == "completed":
        db.complete(claim)
    else:
        db.fail(claim)


@pytest.mark.parametrize(
    ("ends", "status"),
    [
        (["completed", "completed"], "completed"),
        (["completed", "failed"], "partial"),
        (["failed", "completed"], "partial"),
        (["failed", "failed"], "failed"),
    ],
)
def test_a_batch_is_pending_then_processing_then_what_its_items_say(db: Database, ends: list[str], status: str) -> None:
    batch = db.submit(prompts=2)
    assert db.totals(batch["id"]) == ("pending", 0, 0)

    first = db.claim_one()
    assert db.totals(batch["id"]) == ("processing", 0, 0)
    finish(db, first, ends[0])
    assert db.totals(batch["id"]) == ("processing", ends[:1].count("completed"), ends[:1].count("failed"))
    assert db.batch(batch["id"])["completed_at"] is None
    finish(db, db.claim_one(), ends[1])

    assert db.totals(batch["id"]) == (status, ends.count("completed"), ends.count("failed"))
    assert db.batch(batch["id"])["completed_at"] is not None


def test_a_batch_stays_processing_while_its_only_started_item_waits_again(db: Database) -> None:
    batch = db.submit()
    db.release(db.claim_one())
    assert db.totals(batch["id"]) == ("processing", 0, 0)

    db.fail(db.claim_one(), retryable=True)

    assert db.totals(batch["id"]) == ("processing", 0, 0)


def test_a_failed_item_that_an_admin_sets_to_pending_runs_again(db: Database) -> None:
    batch = db.submit()
    ok, bad = db.claim()
    db.complete(ok)
    db.fail(bad, message="No.")
    assert db.totals(batch["id"])[0] == "partial"

    db.run("update public.image_generations set status = 'pending' where id = %s", bad["generation_id"])

    assert db.totals(batch["id"]) == ("processing", 1, 0)
    assert db.batch(batch["id"])["completed_at"] is None
    assert db.value("select count(*) from batchgen.failures") == 0
    again = db.claim_one()
    item = db.item(again["generation_id"])
    assert (item["id"], item["error_message"], item["completed_at"]) == (bad["generation_id"], None, None)
    db.complete(again)
    assert db.totals(batch["id"]) == ("completed", 2, 0)


def test_a_final_item_that_an_admin_sets_to_processing_runs_again_too(db: Database) -> None:
    batch = db.submit()
    for claim in db.claim():
        db.fail(claim)

    db.run("update made.image_generations set status = 'processing' where batch_index = 0")

    assert db.totals(batch["id"]) == ("processing", 0, 1)
    db.complete(db.claim_one())
    assert db.totals(batch["id"]) == ("partial", 1, 1)


def test_a_waiting_item_that_an_admin_sets_to_failed_is_never_claimed(db: Database) -> None:
    batch = db.submit()

    db.run("update public.image_generations set status = 'failed' where batch_index = 0")

    assert [claim["batch_index"] for claim in db.claim()] == [1]
    assert db.totals(batch["id"]) == ("processing", 0, 1)


def test_a_running_item_that_an_admin_sets_to_pending_goes_to_another_worker(db: Database) -> None:
    db.submit()
    claim = db.claim_one()

    db.run("update public.image_generations set status = 'pending' where id = %s", claim["generation_id"])

    with refused("PT409"):
        db.complete(claim)
    assert claim["generation_id"] in {again["generation_id"] for again in db.claim()}


def test_a_raised_priority_goes_first(db: Database) -> None:
    db.submit()
    late = db.submit()

    db.run("update public.image_generations set priority = 5 where batch_id = %s", late["id"])

    assert {str(claim["batch_id"]) for claim in db.claim(2)} == {late["id"]}


def test_an_item_that_moves_to_another_user_counts_there(db: Database) -> None:
    db.run("update batchgen.settings set max_parallel_per_user = 1")
    busy = db.new_user()
    moved = db.submit(busy)
    db.claim()
    new_owner = db.new_user()

    db.run("update public.image_generations set user_id = %s where batch_index = 1", new_owner)

    [claim] = db.claim()
    assert (str(claim["batch_id"]), claim["user_id"]) == (moved["id"], new_owner)


def test_a_deleted_item_leaves_queue_and_totals(db: Database) -> None:
    batch = db.submit(prompts=3)
    running = db.claim_one()

    db.run("delete from public.image_generations where batch_index in (0, 1)")

    with refused("PT409"):
        db.complete(running)
    assert db.value("select count(*) from batchgen.queue") == 1
    db.complete(db.claim_one())
    assert db.totals(batch["id"]) == ("completed", 1, 0)


def test_deleting_a_batch_ends_its_items_and_keeps_finished_pictures(db: Database) -> None:
    batch = db.submit(prompts=3)
    done, running = db.claim(2)
    db.complete(done)

    db.run("delete from public.batch_generations where id = %s", batch["id"])

    items = {row["batch_index"]: row for row in db.run("select * from made.image_generations")}
    assert {index: item["status"] for index, item in items.items()} == {0: "completed", 1: "processing", 2: "failed"}
    assert items[2]["error_message"] == "The batch was deleted."
    assert {item["batch_id"] for item in items.values()} == {None}
    assert [row["generation_id"] for row in db.run("select * from batchgen.queue")] == [running["generation_id"]]
    assert db.value("select count(*) from made.images") == 1
    assert db.claim() == []
    assert [renewal["cancel_requested"] for renewal in db.renew(running)] == [True]
    db.fail(running, code="cancelled", message="Stopped.")
    assert db.item(running["generation_id"])["status"] == "failed"
    assert db.value("select count(*) from batchgen.queue") == 0


def test_a_deleted_user_leaves_nothing_to_run(db: Database) -> None:
    user = db.new_user()
    db.submit(user, client_key="k", prompts=5)
    running = db.claim_one()
    other = db.submit()

    db.run("delete from auth.users where id = %s", user)

    assert db.value("select count(*) from public.image_generations where user_id = %s", user) == 0
    with refused("PT409"):
        db.complete(running)
    assert {str(claim["batch_id"]) for claim in db.claim()} == {other["id"]}


def test_an_item_added_by_hand_is_queued_and_counted(db: Database) -> None:
    batch = db.submit()
    for claim in db.claim():
        db.complete(claim)

    db.run(
        "insert into public.image_generations (user_id, prompt, batch_id, batch_index)"
        " select user_id, 'one more', id, 2 from made.batch_generations"
    )

    assert db.totals(batch["id"]) == ("processing", 2, 0)
    assert db.batch(batch["id"])["total_count"] == 3
    claim = db.claim_one()
    assert claim["prompt"] == "one more"
    assert claim["seed"] is not None


def test_an_item_that_moves_to_another_batch_is_counted_there(db: Database) -> None:
    user = db.new_user()
    first, second = db.submit(user), db.submit(user)
    for claim in db.claim(3):
        db.complete(claim)
    db.complete(db.claim_one())

    db.run("update public.image_generations set batch_id = %s where batch_id = %s", second["id"], first["id"])

    assert db.totals(second["id"]) == ("completed", 4, 0)
    assert db.totals(first["id"])[1:] == (0, 0)


@pytest.mark.parametrize("write", ["insert", "update"])
def test_a_single_generation_is_never_queued(db: Database, write: str) -> None:
    user = db.new_user()
    db.run("insert into public.image_generations (user_id, prompt, status) values (%s, 'single', 'failed')", user)
    if write == "insert":
        db.run("insert into public.image_generations (user_id, prompt) values (%s, 'another')", user)
    else:
        db.run("update made.image_generations set status = 'pending'")

    assert db.value("select count(*) from batchgen.queue") == 0
    assert db.claim() == []


def test_an_item_without_an_owner_fails_and_its_batch_with_it(db: Database) -> None:
    db.run("insert into public.batch_generations (total_count, status) values (1, 'pending')")
    db.run(
        "insert into public.image_generations (prompt, batch_id, batch_index)"
        " select 'nobody', id, 0 from made.batch_generations"
    )

    assert db.claim() == []

    item = db.one("select * from made.image_generations")
    assert (item["status"], item["error_code"]) == ("failed", "no_owner")
    assert db.one("select status from made.batch_generations")["status"] == "failed"


@pytest.mark.parametrize(
    "edit",
    [
        "status = 'processing', failed_count = 0",
        "status = 'failed', completed_at = '2001-01-01'",
        "completed_count = 0",
        "status = null",
        "completed_at = null",
    ],
)
def test_a_direct_edit_of_totals_is_no_error_and_changes_nothing(db: Database, edit: str) -> None:
    batch = db.submit()
    done, failed = db.claim()
    db.complete(done)
    db.fail(failed)
    before = db.batch(batch["id"])

    db.run(f"update public.batch_generations set {edit} where id = %s", batch["id"])  # noqa: S608

    assert db.batch(batch["id"]) == before


def test_a_batch_without_a_status_is_pending_once_it_has_items(db: Database) -> None:
    db.run("insert into public.batch_generations (user_id, total_count) values (%s, 1)", db.new_user())

    db.run(
        "insert into public.image_generations (user_id, prompt, batch_id, batch_index)"
        " select user_id, 'one', id, 0 from made.batch_generations"
    )

    assert db.one("select status from made.batch_generations")["status"] == "pending"


def test_the_name_of_a_batch_can_be_edited(db: Database) -> None:
    batch = db.submit()

    db.run("update public.batch_generations set name = 'Better' where id = %s", batch["id"])

    assert db.batch(batch["id"])["name"] == "Better"


@pytest.mark.parametrize(
    "edit",
    [
        "max_parallel_per_user = 0",
        "max_parallel_global = 0",
        "max_retries = -1",
        "retry_delays_seconds = '{}'",
        "retry_delays_seconds = '{5,null}'",
        "retry_delays_seconds = '{NaN}'",
        "retry_delays_seconds = '{-1}'",
        "min_batch_size = 11",
        "max_batch_size = 1",
        "max_crashes = 0",
        "id = false",
    ],
)
def test_settings_out_of_range_are_refused(shared_db: Database, edit: str) -> None:
    with refused("23514"):
        shared_db.run(f"update batchgen.settings set {edit}")  # noqa: S608


def test_settings_begin_with_the_specifications_values_and_note_each_edit(db: Database) -> None:
    row = db.one("select * from batchgen.settings")
    assert (row["max_parallel_per_user"], row["max_parallel_global"], row["max_retries"]) == (3, 20, 3)
    assert (row["retry_delays_seconds"], row["min_batch_size"], row["max_batch_size"]) == ([5, 10, 30], 2, 10)

    db.run("update batchgen.settings set max_retries = 2")

    assert db.one("select * from batchgen.settings")["updated_at"] > row["updated_at"]
