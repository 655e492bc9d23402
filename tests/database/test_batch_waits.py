"""The reasons why an item waits, for its owner and the operator and nobody else."""

from uuid import UUID

import pytest
from database_harness import Database, Row, refused

WAITS = "select * from public.batch_waits(%s)"


def waits(db: Database, batch: Row) -> list[Row]:
    """The reasons, read by the batch's owner."""
    owner: UUID = db.batch(batch["id"])["user_id"]
    return db.as_user(owner, WAITS, batch["id"])


def told(row: Row) -> Row:
    """The details beside the item and the reason."""
    return {key: value for key, value in row.items() if value is not None and key not in ("generation_id", "reason")}


def reasons(db: Database, batch: Row) -> list[str]:
    return [row["reason"] for row in waits(db, batch)]


def test_a_user_with_three_running_items_waits_for_their_own_limit(db: Database) -> None:
    batch = db.submit(prompts=5)
    db.claim()

    rows = waits(db, batch)

    assert [row["generation_id"] for row in rows] == [UUID(item["id"]) for item in batch["generations"][3:]]
    assert [row["reason"] for row in rows] == ["own_cap", "own_cap"]
    assert [told(row) for row in rows] == [
        {"running": 3, "cap": 3, "position": 1},
        {"running": 3, "cap": 3, "position": 2},
    ]


def test_at_the_global_limit_that_limit_is_the_reason(db: Database) -> None:
    db.run("update batchgen.settings set max_parallel_global = 2")
    db.submit()
    db.claim()
    batch = db.submit()

    rows = waits(db, batch)

    assert [row["reason"] for row in rows] == ["total_cap", "total_cap"]
    assert told(rows[0]) == {"running": 2, "cap": 2, "position": 1}


@pytest.mark.parametrize("is_claimed", [True, False])
def test_an_item_behind_others_says_its_place(db: Database, is_claimed: bool) -> None:
    """The same answer before and after a claim has ranked the queue."""
    db.submit(prompts=5)
    batch = db.submit(prompts=5)
    if is_claimed:
        db.claim(0)

    rows = waits(db, batch)

    # The other user's three ready items and mine take turns; my fourth and fifth come after all of these.
    assert [row["reason"] for row in rows] == ["queue"] * 5
    assert [row["position"] for row in rows] == [2, 4, 6, 7, 8]
    claims = [db.claim_one() for _ in range(6)]
    mine = [claims.index(claim) + 1 for claim in claims if str(claim["batch_id"]) == batch["id"]]
    assert mine == [2, 4, 6]


def test_a_higher_priority_goes_before(db: Database) -> None:
    batch, urgent = db.submit(), db.submit()
    db.run("update public.image_generations set priority = 1 where batch_id = %s", urgent["id"])

    assert [row["position"] for row in waits(db, urgent)] == [1, 2]
    assert [row["position"] for row in waits(db, batch)] == [3, 4]


def test_a_place_is_counted_to_a_thousand(db: Database) -> None:
    db.run(
        "with users as (insert into auth.users (id, email) select gen_random_uuid(), n || '@example.com'"
        " from generate_series(1, 1500) n returning id)"
        " insert into public.image_generations (user_id, batch_id, batch_index, prompt, model, status, created_at)"
        " select id, %s, 0, 'a fox', 'flux', 'pending', now() - interval '1 day' from users",
        db.submit()["id"],
    )
    batch = db.submit()
    db.claim(0)

    assert [row["position"] for row in waits(db, batch)] == [1000, 1000]


def test_a_failed_attempt_waits_for_its_retry(db: Database) -> None:
    batch = db.submit()
    claims = db.claim()
    db.fail(claims[0], retryable=True)

    [row] = waits(db, batch)

    assert row["reason"] == "retry"
    assert told(row) == {"until": db.waiting_row(claims[0]["generation_id"])["due_at"]}


def test_a_provider_that_asked_to_wait_is_named_with_its_time_to_all_its_items(db: Database) -> None:
    batch, other = db.submit(), db.submit()
    first, *_ = db.claim(1)
    db.fail(first, retryable=True, retry_after_seconds=60)
    until = db.value("select not_before from batchgen.providers")

    for _ in range(2):  # before and after a claim has parked them
        for one in (batch, other):
            rows = waits(db, one)
            assert [row["reason"] for row in rows] == ["provider", "provider"]
            assert told(rows[1]) == {"until": until, "detail": "offline"}
        db.claim()


def test_a_retry_that_is_due_later_than_its_provider_is_a_retry(db: Database) -> None:
    batch = db.submit()
    first, second = db.claim()
    db.run("update batchgen.settings set retry_delays_seconds = '{600}'")
    db.fail(first, retryable=True)
    db.fail(second, retryable=True, retry_after_seconds=60)

    assert reasons(db, batch) == ["retry", "provider"]


def test_an_open_breaker_names_its_model_and_its_time(db: Database) -> None:
    db.run("update batchgen.settings set breaker_failures = 1")
    batch = db.submit(prompts=4)
    first, *others = db.claim()
    db.release(*others)
    db.fail(first, retryable=True, provider_fault=True)
    until = db.value("select opened_until from batchgen.breakers")

    for _ in range(2):
        rows = waits(db, batch)
        assert [row["reason"] for row in rows] == ["breaker"] * 4
        assert told(rows[1]) == {"until": until, "detail": "Offline sketch"}
        db.claim()


def test_while_one_item_is_tried_the_others_wait_for_the_breaker_without_a_time(db: Database) -> None:
    db.run("update batchgen.settings set breaker_failures = 1, breaker_open_seconds = 0")
    batch = db.submit(prompts=4)
    first, *others = db.claim()
    db.release(*others)
    db.fail(first, retryable=True, provider_fault=True)
    db.make_due()
    assert set(reasons(db, batch)) == {"breaker"}

    assert len(db.claim()) == 1

    rows = waits(db, batch)
    assert [row["reason"] for row in rows] == ["breaker"] * 3
    assert told(rows[0]) == {"detail": "Offline sketch"}


def test_items_that_run_or_have_ended_wait_for_nothing(db: Database) -> None:
    batch = db.submit()
    first, _ = db.claim()
    db.complete(first)

    assert waits(db, batch) == []


def test_a_stranger_is_told_that_there_is_no_such_batch(db: Database) -> None:
    batch = db.submit()

    with refused("PT404") as refusal:
        db.as_user(db.new_user(), WAITS, batch["id"])

    assert refusal.detail["code"] == "batch_not_found"
    with refused("PT404"):
        db.as_user(db.new_user(), WAITS, UUID(int=5))
    with refused("PT404"):
        db.as_user(db.new_user(), WAITS, None)


def test_callers_who_are_not_signed_in_learn_nothing(db: Database) -> None:
    batch = db.submit()

    with refused("PT401"):
        db.as_user(None, WAITS, batch["id"])
    with refused("42501"), db.acting("anon") as connection:
        connection.execute(WAITS.encode(), [batch["id"]])


def test_users_cannot_bypass_the_check(db: Database) -> None:
    with refused("42501"):
        db.as_user(db.new_user(), "select * from batchgen_api.waits_of_any_batch(%s)", db.submit()["id"])


def test_an_operator_is_told_of_any_batch(db: Database) -> None:
    batch = db.submit()

    assert [row["reason"] for row in db.as_service(WAITS, batch["id"])] == ["queue", "queue"]
    assert db.as_service(WAITS, UUID(int=5)) == []
