"""Many results in one call: each is fenced by its own lease, and all are written or none."""

import json
from typing import Any
from uuid import UUID

import pytest
from database_harness import Database, Row, a_result, connect, query, refused


def complete_and_claim(db: Database, results: object, limit: int) -> Row:
    sql = "select public.complete_and_claim(%s::jsonb, 'worker-a', %s, 60) as answer"
    return db.as_service(sql, json.dumps(results), limit)[0]["answer"]


def entry(claim: Row, **result: object) -> Row:
    ids = {name: str(claim[name]) for name in ("generation_id", "lease_id")}
    return {**ids, "result": a_result(claim) | result}


def test_results_of_several_batches_write_items_pictures_and_totals(db: Database) -> None:
    batches = [db.submit(prompts=2), db.submit(prompts=3)]
    claims = db.claim()

    rows = db.complete_all(claims, width=640)

    assert {(row["generation_id"], row["lease_id"]) for row in rows} == {
        (claim["generation_id"], claim["lease_id"]) for claim in claims
    }
    assert [db.totals(batch["id"]) for batch in batches] == [("completed", 2, 0), ("completed", 3, 0)]
    pictures = db.run("select id, generation_id, user_id, width, storage_path from made.images")
    assert {picture["id"] for picture in pictures} == {row["image_id"] for row in rows}
    assert all(p["storage_path"] == f"{p['user_id']}/{p['generation_id']}.png" for p in pictures)
    assert {picture["width"] for picture in pictures} == {640}
    assert db.value("select count(*) from batchgen.queue") == 0


def test_a_result_whose_lease_is_lost_is_left_out_and_the_others_are_written(db: Database) -> None:
    batch = db.submit(prompts=3)
    first, late, last = db.claim()
    db.expire(late)

    rows = db.complete_all([first, late, last])

    assert {row["generation_id"] for row in rows} == {first["generation_id"], last["generation_id"]}
    assert db.item(late["generation_id"])["status"] == "processing"
    assert db.totals(batch["id"]) == ("processing", 2, 0)
    assert db.value("select count(*) from public.images where generation_id = %s", late["generation_id"]) == 0


def test_a_lease_of_another_item_completes_nothing(db: Database) -> None:
    db.submit(prompts=2)
    one, other = db.claim()

    assert db.complete_all([one | {"lease_id": other["lease_id"]}]) == []


def test_one_result_that_does_not_fit_writes_none_of_them(db: Database) -> None:
    db.submit(prompts=2)
    good, bad = db.claim()

    with refused("PT422") as refusal:
        results = [entry(good), entry(bad, storage_path=f"{good['user_id']}/../x.png")]
        complete_and_claim(db, results, 1)

    assert refusal.detail["field"] == "p_result.storage_path"
    assert {db.item(claim["generation_id"])["status"] for claim in (good, bad)} == {"processing"}
    assert db.value("select count(*) from made.images") == 0


def test_a_result_that_stands_twice_makes_one_picture(db: Database) -> None:
    db.submit()
    claim = db.claim_one()

    rows = db.complete_all([claim, claim])

    assert len(rows) == 1
    assert db.value("select count(*) from made.images") == 1


def test_an_item_that_ran_again_keeps_its_picture_row_in_bulk_too(db: Database) -> None:
    db.submit()
    claim = db.claim_one()
    image_id = db.complete(claim)["image_id"]
    db.run("update public.image_generations set status = 'pending' where id = %s", claim["generation_id"])

    [row] = db.complete_all([next(c for c in db.claim() if c["generation_id"] == claim["generation_id"])], width=8)

    assert str(row["image_id"]) == image_id
    assert db.one("select width from public.images where id = %s", image_id)["width"] == 8


@pytest.mark.parametrize(
    "results", [None, {}, "x", [{"generation_id": "x"}] * 1001], ids=["null", "object", "text", "many"]
)
def test_anything_but_a_list_of_results_is_refused(shared_db: Database, results: Any) -> None:
    with refused("PT422") as refusal:
        complete_and_claim(shared_db, results, 0)

    assert refusal.detail["field"] == "p_results"


def test_the_claim_of_the_same_call_sees_the_room_that_its_results_made(db: Database) -> None:
    db.submit(prompts=6)
    done, *others = db.claim()
    assert db.claim() == []

    answer = complete_and_claim(db, [entry(done)], 5)

    assert answer["lease_ids"] == [str(done["lease_id"])]
    [claim] = answer["claims"]
    assert (claim["batch_index"], claim["attempt"]) == (3, 1)
    assert len(db.renew(*others, {"lease_id": UUID(claim["lease_id"])})) == 3


def test_without_a_limit_nothing_is_claimed(db: Database) -> None:
    db.submit(prompts=6)
    done, *_ = db.claim()

    assert complete_and_claim(db, [entry(done)], 0)["claims"] == []


@pytest.mark.parametrize("end", ["released", "expired", "tried again", "told to wait"])
def test_an_item_with_a_cancel_request_ends_instead_of_waiting_again(db: Database, end: str) -> None:
    batch = db.submit(prompts=2)
    claim = db.claim_one()
    db.run("update batchgen.queue set cancel_requested = true where generation_id = %s", claim["generation_id"])

    match end:
        case "released":
            db.release(claim)
        case "expired":
            db.expire(claim)
            db.return_expired()
        case "tried again":
            assert db.fail(claim, retryable=True)["status"] == "failed"
        case _:
            assert db.fail(claim, retryable=True, retry_after_seconds=5)["status"] == "failed"

    item = db.item(claim["generation_id"])
    assert (item["status"], item["error_message"]) == ("failed", "Cancelled by user")
    assert (
        db.value("select code from batchgen.failures where generation_id = %s", claim["generation_id"]) == "cancelled"
    )
    assert db.queued(claim["generation_id"]) is None
    assert db.totals(batch["id"]) == ("processing", 0, 1)


def test_a_picture_that_comes_in_spite_of_a_cancel_request_is_kept(db: Database) -> None:
    db.submit(prompts=2)
    claim = db.claim_one()
    db.run("update batchgen.queue set cancel_requested = true where generation_id = %s", claim["generation_id"])

    assert db.complete(claim)["image_id"]
    assert db.item(claim["generation_id"])["status"] == "completed"


def test_an_entry_without_a_result_completes_nothing(db: Database) -> None:
    db.submit()
    claim = db.claim_one()

    with refused("PT422") as refusal:
        complete_and_claim(db, [{name: value for name, value in entry(claim).items() if name != "result"}], 0)

    assert refusal.detail["field"] == "p_result.storage_path"
    assert db.item(claim["generation_id"])["status"] == "processing"


def test_two_entries_with_each_others_leases_complete_nothing(db: Database) -> None:
    db.submit()
    one, other = db.claim()

    rows = db.complete_all([one | {"lease_id": other["lease_id"]}, other | {"lease_id": one["lease_id"]}])

    assert rows == []


def test_a_held_item_is_named_so_that_the_others_can_be_written_without_it(db: Database) -> None:
    db.submit()
    held, free = db.claim()

    with connect(db.dsn) as other, other.transaction():
        query(other, "select from public.image_generations where id = %s for update", held["generation_id"])
        with refused("PT409") as refusal:
            db.complete_all([held, free])

    assert refusal.detail["code"] == "busy"
    assert len(db.complete_all([held, free])) == 2


def test_a_claim_that_fails_costs_no_result(db: Database) -> None:
    """Paid results are written even if the claim in the same call fails."""
    db.submit(prompts=3)
    claim = db.claim_one()
    db.run("alter function batchgen.repair_ready_ranks(integer) rename to repaired_by_nobody")

    answer = complete_and_claim(db, [entry(claim)], 5)

    assert (answer["lease_ids"], answer["claims"]) == ([str(claim["lease_id"])], [])
    assert answer["claim_error"]["code"] == "42883"
    assert "repair_ready_ranks" in answer["claim_error"]["message"]
    assert db.item(claim["generation_id"])["status"] == "completed"


def test_a_claim_that_takes_longer_than_a_statement_may_costs_no_result(db: Database) -> None:
    db.submit(prompts=3)
    claim = db.claim_one()
    db.run(
        "create or replace function batchgen.repair_ready_ranks(p_depth integer default 2) returns void"
        " language sql as 'select pg_sleep(60)'"
    )
    db.run("set statement_timeout = '1s'")

    answer = complete_and_claim(db, [entry(claim)], 5)

    assert answer["claim_error"]["code"] == "57014"
    assert db.item(claim["generation_id"])["status"] == "completed"


def test_a_claim_without_results_fails_like_any_other(db: Database) -> None:
    with refused("PT422"):
        complete_and_claim(db, [], -1)
