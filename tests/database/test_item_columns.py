"""error_code and started_at of an item, written in the updates that happen anyway."""

import pytest
from database_harness import Database, NewDatabase, Row, a_request, refused

from devstack.migrations import apply_migrations, default_migrations_dir


def code(db: Database, claim: Row) -> str | None:
    return db.item(claim["generation_id"])["error_code"]


def test_a_waiting_item_has_no_error_code_and_no_start_time(db: Database) -> None:
    batch = db.submit()

    item = db.item(batch["generations"][0]["id"])

    assert (item["error_code"], item["started_at"]) == (None, None)


def test_an_attempt_says_when_it_began_and_a_failure_why(db: Database) -> None:
    db.submit()
    claim = db.claim_one()
    started = db.item(claim["generation_id"])["started_at"]
    assert started == db.value(
        "select g.started_at from public.image_generations g, batchgen.queue q where g.id = q.generation_id"
        " and g.id = %s and g.started_at between q.started_at and q.started_at + interval '1 second'",
        claim["generation_id"],
    )

    db.fail(claim, code="blocked_by_policy", message="No.")

    item = db.item(claim["generation_id"])
    assert (item["error_code"], item["error_message"], item["started_at"]) == ("blocked_by_policy", "No.", started)


def test_an_attempt_that_is_tried_again_leaves_no_code(db: Database) -> None:
    db.submit()
    claim = db.claim_one()

    db.fail(claim, code="timeout", retryable=True)

    assert code(db, claim) is None


@pytest.mark.parametrize("how", ["retry_failed", "app", "admin"])
def test_a_retry_clears_the_code_as_it_clears_the_message(db: Database, how: str) -> None:
    user = db.new_user()
    batch = db.submit(user)
    claim = db.claim_one()
    db.fail(claim)
    started = db.item(claim["generation_id"])["started_at"]
    assert code(db, claim) == "timeout"

    if how == "retry_failed":
        db.as_user(user, "select public.retry_failed(%s)", batch["id"])
    elif how == "app":
        db.as_user(
            user,
            "update public.image_generations set status = 'pending', error_message = null, retry_count = 0"
            " where batch_id = %s and status = 'failed'",
            batch["id"],
        )
    else:
        db.run("update public.image_generations set status = 'pending' where id = %s", claim["generation_id"])

    item = db.item(claim["generation_id"])
    assert (item["status"], item["error_code"], item["started_at"]) == ("pending", None, started)
    again = next(one for one in db.claim() if one["generation_id"] == claim["generation_id"])
    db.complete(again)
    assert code(db, again) is None
    assert db.item(again["generation_id"])["started_at"] > started


@pytest.mark.parametrize("how", ["cancel_batch", "app", "admin", "deleted"])
def test_a_cancelled_item_says_so_whoever_cancelled_it(db: Database, how: str) -> None:
    user = db.new_user()
    batch = db.submit(user)
    item_id = batch["generations"][0]["id"]
    cancel = (
        "update public.image_generations set status = 'failed', error_message = 'Cancelled by user'"
        " where batch_id = %s and status = 'pending'"
    )

    match how:
        case "cancel_batch":
            db.as_user(user, "select public.cancel_batch(%s)", batch["id"])
        case "app":
            db.as_user(user, cancel, batch["id"])
        case "admin":
            db.run(cancel, batch["id"])
        case _:
            db.as_user(user, "delete from public.batch_generations where id = %s", batch["id"])

    assert (db.item(item_id)["status"], db.item(item_id)["error_code"]) == ("failed", "cancelled")


def test_an_item_that_an_admin_fails_has_a_code(db: Database) -> None:
    batch = db.submit()

    db.run("update public.image_generations set status = 'failed' where batch_id = %s", batch["id"])

    assert db.item(batch["generations"][0]["id"])["error_code"] == "failed"


UPDATES = {
    "error_code": "update public.image_generations set error_code = 'x' where batch_id = %s",
    "started_at": "update public.image_generations set started_at = now() where batch_id = %s",
}
INSERTS = {
    "error_code": "insert into public.image_generations (user_id, prompt, error_code) values (%s, 'a', 'x')",
    "started_at": "insert into public.image_generations (user_id, prompt, started_at) values (%s, 'a', now())",
}


@pytest.mark.parametrize("column", ["error_code", "started_at"])
def test_users_write_neither_the_error_code_nor_the_start_time(db: Database, column: str) -> None:
    user = db.new_user()
    batch = db.submit(user)
    db.run("grant insert, update on public.image_generations to authenticated")

    with refused("PT403") as refusal:
        db.as_user(user, UPDATES[column], batch["id"])
    assert refusal.detail["field"] == column
    with refused("PT403") as refusal:
        db.as_user(user, INSERTS[column], user)
    assert refusal.detail["field"] == column


async def test_a_project_with_columns_of_these_names_keeps_them(bare: NewDatabase) -> None:
    db = await bare("app_schema.sql")
    db.run("alter table public.image_generations add error_code varchar(200), add started_at timestamp default now()")

    await apply_migrations(db.dsn, default_migrations_dir())

    db.create(db.new_user(), a_request())
    failed, done = db.claim()
    db.fail(failed)
    db.complete(done)
    assert (code(db, failed), code(db, done)) == ("timeout", None)
