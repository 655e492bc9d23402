"""Retries with another prompt, negative prompt, seed or model."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from app_writes import COUNT_UPDATES, RETRY, codes, everything, failed_batch, statuses, updates
from database_harness import Database, Row, connect, refused
from paid_orders import PRICE, add_model, entries, open_order, orders, settle, submit_order, submit_paid
from test_batch_actions import done, refusals
from test_batch_actions_races import BackgroundCall, until_somebody_waits

RETRY_EDITED = "select public.retry_failed(%s, %s::uuid[], %s::jsonb) as answer"


def item(batch: Row, index: int) -> str:
    return batch["generations"][index]["id"]


def retry(db: Database, user: UUID | None, batch: Row, edits: object, ids: list[str] | None = None) -> Row:
    return db.as_user(user, RETRY_EDITED, batch["id"], ids, json.dumps(edits))[0]["answer"]


def edit(batch: Row, index: int, **fields: Any) -> Row:
    return {"generation_id": item(batch, index)} | fields


def used(db: Database, user: UUID) -> int:
    return db.value("select daily_generations_count from public.user_rate_limits where user_id = %s", user)


def test_an_edited_item_runs_with_its_new_text_seed_and_model(db: Database) -> None:
    user = db.new_user()
    batch = failed_batch(db, user, "timeout", "timeout")
    model = add_model(db)
    db.run("update public.image_generations set negative_prompt = 'old' where batch_index > 0")
    edits = [
        edit(batch, 1, prompt="a green fox", negative_prompt="blur", seed=0, model_id=str(model)),
        edit(batch, 2, negative_prompt=""),
    ]

    answer = retry(db, user, batch, edits)

    assert done(answer) == {1: "requeued", 2: "requeued"}
    changed = {entry["index"]: entry["edited"] for entry in answer["done"]}
    assert changed == {1: ["prompt", "negative_prompt", "seed", "model_id"], 2: ["negative_prompt"]}
    first, second = db.claim()
    assert (first["prompt"], first["negative_prompt"], first["seed"]) == ("a green fox", "blur", 0)
    assert (first["model"], first["model_provider"], first["attempt"]) == ("owner/paid", "replicate", 1)
    assert (second["prompt"], second["negative_prompt"]) == ("a red fox, number 2", None)
    row = db.item(item(batch, 1))
    assert (row["model_id"], row["model"]) == (model, "paid")
    db.complete(first)
    image = db.one("select * from public.images where generation_id = %s", item(batch, 1))
    assert (image["prompt"], image["model"]) == ("a green fox", "paid")


def test_only_edited_items_are_retried_unless_others_are_named(db: Database) -> None:
    user = db.new_user()
    batch = failed_batch(db, user, "timeout", "timeout", "timeout")

    first = retry(db, user, batch, [edit(batch, 1, prompt="a cat")])
    second = retry(db, user, batch, [edit(batch, 2, prompt="a dog")], [item(batch, 3), item(batch, 2)])

    assert done(first) == {1: "requeued"}
    assert {entry["index"]: entry["edited"] for entry in second["done"]} == {2: ["prompt"], 3: []}
    assert done(retry(db, user, batch, [])) == {}


def test_a_policy_blocked_item_runs_again_only_with_a_change(db: Database) -> None:
    user = db.new_user()
    batch = failed_batch(db, user, "blocked_by_policy")
    prompt = db.item(item(batch, 1))["prompt"]

    for same in ({}, {"prompt": prompt}, {"negative_prompt": ""}, {"seed": None, "model_id": None}):
        assert refusals(retry(db, user, batch, [edit(batch, 1, **same)])) == {1: "blocked_by_policy"}
    before = used(db, user)
    answer = retry(db, user, batch, [edit(batch, 1, prompt="a tame fox")])

    assert done(answer) == {1: "requeued"}
    assert used(db, user) == before + 1
    assert db.claim_one()["prompt"] == "a tame fox"
    assert codes(db) == {}


@pytest.mark.parametrize("code", ["cancelled", "outcome_unknown"])
def test_an_edit_runs_no_cancelled_item_and_none_of_unknown_outcome(db: Database, code: str) -> None:
    user = db.new_user()
    batch = failed_batch(db, user, code)
    before = everything(db)

    answer = retry(db, user, batch, [edit(batch, 1, prompt="a cat"), edit(batch, 0, prompt="a dog")])

    assert refusals(answer) == {0: "already_completed", 1: code}
    assert everything(db) == before


def test_a_repeated_call_changes_nothing_and_an_unfinished_item_takes_no_edit(db: Database) -> None:
    user = db.new_user()
    batch = failed_batch(db, user, "timeout", "timeout")
    edits = [edit(batch, 1, prompt="a cat"), edit(batch, 2, prompt="a dog")]
    retry(db, user, batch, edits)
    db.claim(1)
    before = everything(db)

    again = retry(db, user, batch, edits)
    other = retry(db, user, batch, [edit(batch, 1, seed=5), edit(batch, 2, prompt="a bird")])

    assert done(again) == {1: "already_waiting", 2: "already_waiting"}
    assert refusals(other) == {1: "not_failed", 2: "not_failed"}
    assert everything(db) == before


def test_an_edited_item_is_updated_once(db: Database) -> None:
    user = db.new_user()
    batch = failed_batch(db, user, "timeout")
    db.run(COUNT_UPDATES)

    retry(db, user, batch, [edit(batch, 1, prompt="a cat")])

    assert updates(db) == {1: 1}


def test_users_see_the_new_text_alone_and_admins_the_old_one(db: Database) -> None:
    user = db.new_user()
    batch = failed_batch(db, user, "blocked_by_policy", "timeout")
    prompt = db.item(item(batch, 1))["prompt"]

    retry(db, user, batch, [edit(batch, 1, prompt="a tame fox"), edit(batch, 2)])

    [view] = db.as_user(user, "select items from public.batch_progress where id = %s", batch["id"])
    assert view["items"][1]["prompt"] == "a tame fox"
    [kept] = db.run("select * from batchgen.item_versions")
    assert (str(kept["generation_id"]), kept["prompt"], kept["error_code"]) == (
        item(batch, 1),
        prompt,
        "blocked_by_policy",
    )
    db.run("delete from public.image_generations")
    assert db.value("select count(*) from batchgen.item_versions") == 0


INVALID: list[tuple[Any, str, str]] = [
    ({}, "wrong_type", "p_edits"),
    ("x", "wrong_type", "p_edits"),
    ([1], "wrong_type", "p_edits[0]"),
    ([None], "wrong_type", "p_edits[0]"),
    ([{}], "item_not_found", "p_edits[0].generation_id"),
    ([{"generation_id": 7}], "wrong_type", "p_edits[0].generation_id"),
    ([{"generation_id": "x" * 37}], "too_long", "p_edits[0].generation_id"),
    ([{"generation_id": "no uuid"}], "item_not_found", "p_edits[0].generation_id"),
    ([{"text": "a cat"}], "unknown_field", "p_edits[0].text"),
    ([{}] * 1001, "too_many_items", "p_edits"),
]
INVALID_FIELDS: list[tuple[Row, str, str]] = [
    ({"prompt": " "}, "blank_prompt", "prompt"),
    ({"prompt": ""}, "blank_prompt", "prompt"),
    ({"prompt": 7}, "wrong_type", "prompt"),
    ({"prompt": "x" * 4001}, "too_long", "prompt"),
    ({"negative_prompt": "x" * 4001}, "too_long", "negative_prompt"),
    ({"negative_prompt": []}, "wrong_type", "negative_prompt"),
    ({"seed": 1.5}, "wrong_type", "seed"),
    ({"seed": 2**63}, "out_of_range", "seed"),
    ({"model_id": 7}, "wrong_type", "model_id"),
    ({"model_id": "nothing"}, "unknown_model", "model_id"),
    ({"model_id": "x" * 201}, "too_long", "model_id"),
]


@pytest.mark.parametrize(("edits", "code", "field"), INVALID)
def test_invalid_edits_are_refused_with_their_path(shared_db: Database, edits: Any, code: str, field: str) -> None:
    user = shared_db.new_user()
    batch = failed_batch(shared_db, user, "timeout")

    with refused("PT404" if code == "item_not_found" else "PT422") as refusal:
        retry(shared_db, user, batch, edits)

    assert (refusal.detail["code"], refusal.detail["field"]) == (code, field)
    assert refusal.detail["remedy"]
    assert statuses(shared_db, batch) == ["completed", "failed"]


@pytest.mark.parametrize(("fields", "code", "field"), INVALID_FIELDS)
def test_an_edit_follows_the_rules_of_a_new_request(shared_db: Database, fields: Row, code: str, field: str) -> None:
    user = shared_db.new_user()
    batch = failed_batch(shared_db, user, "timeout", "blocked_by_policy")

    with refused("PT422") as refusal:
        retry(shared_db, user, batch, [edit(batch, 1, prompt="fine"), edit(batch, 2, **fields)])

    detail = refusal.detail
    assert (detail["code"], detail["field"], detail["index"]) in [
        (code, f"p_edits[1].{field}", 2),
        (code, f"p_edits[1].{field}", None),
    ]
    assert statuses(shared_db, batch) == ["completed", "failed", "failed"]


def test_an_item_has_one_edit_and_is_among_the_named_ones(db: Database) -> None:
    user = db.new_user()
    batch = failed_batch(db, user, "timeout", "timeout")

    with refused("PT422") as twice:
        retry(db, user, batch, [edit(batch, 1, seed=1), edit(batch, 1, seed=1)])
    with refused("PT422") as unnamed:
        retry(db, user, batch, [edit(batch, 1, seed=1)], [item(batch, 2)])

    assert (twice.detail["code"], twice.detail["field"]) == ("duplicate_item", "p_edits[1].generation_id")
    assert (unnamed.detail["code"], unnamed.detail["field"]) == ("item_not_named", "p_edits[0].generation_id")


def test_items_of_other_users_are_refused_like_unknown_ones(db: Database) -> None:
    user = db.new_user()
    batch, theirs = failed_batch(db, user, "timeout"), failed_batch(db, db.new_user(), "timeout")

    with refused("PT404") as foreign:
        retry(db, user, batch, [edit(theirs, 1, seed=1)])
    with refused("PT404") as unknown:
        retry(db, user, batch, [{"generation_id": str(uuid4()), "seed": 1}])
    with refused("PT404") as batchs:
        retry(db, user, theirs, [edit(theirs, 1, seed=1)])

    assert foreign.detail == unknown.detail
    assert batchs.detail["code"] == "batch_not_found"


def test_an_inactive_model_and_one_that_cannot_make_the_size_are_refused(db: Database) -> None:
    user = db.new_user()
    batch = failed_batch(db, user, "timeout")
    model = add_model(db)
    cases = {
        "max_width = 512": "width",
        "max_width = null, min_height = 2048": "height",
        "min_height = null, max_steps = 5": "steps",
    }
    for change, what in cases.items():
        db.run(f"update public.models set {change} where id = %s", model)  # noqa: S608
        with refused("PT422") as unfit:
            retry(db, user, batch, [edit(batch, 1, model_id=str(model))])
        assert (unfit.detail["code"], unfit.detail["field"]) == ("out_of_range", "p_edits[0].model_id")
        assert what in unfit.message
        assert unfit.detail["limit"].keys() == {"min", "max"}

    db.run("update public.models set max_steps = null, is_active = false where id = %s", model)
    with refused("PT422") as inactive:
        retry(db, user, batch, [edit(batch, 1, model_id=str(model))])
    db.run("update public.models set is_active = false")
    with refused("PT422") as own:
        retry(db, user, batch, [edit(batch, 1, prompt="a cat")])

    assert inactive.detail["code"] == own.detail["code"] == "inactive_model"
    assert done(retry(db, user, batch, None)) == {1: "requeued"}


def test_the_batchs_version_is_used_for_the_batchs_model_alone(db: Database) -> None:
    user = db.new_user()
    db.run("update batchgen.settings set max_parallel_per_user = 10")
    batch = db.submit(user, shared_settings={"model_version": "v7"})
    for claim in db.claim():
        db.fail(claim)
    model = add_model(db)

    retry(db, user, batch, [edit(batch, 0, model_id=str(model)), edit(batch, 1, seed=3)])

    assert [claim["model_version"] for claim in db.claim()] == [None, "v7"]


def test_a_limit_refuses_edits_whole(db: Database) -> None:
    user = db.new_user()
    batch = failed_batch(db, user, "timeout", "blocked_by_policy")
    db.run("update public.user_rate_limits set daily_generations_limit = daily_generations_count + 1")
    before = everything(db)

    with refused("PT429") as refusal:
        retry(db, user, batch, [edit(batch, 1, prompt="a cat"), edit(batch, 2, prompt="a dog")])

    assert refusal.detail["code"] == "daily_limit"
    assert everything(db) == before
    assert db.value("select count(*) from batchgen.item_versions") == 0


def test_the_apps_own_retry_leaves_blocked_items_as_before(db: Database) -> None:
    user = db.new_user()
    batch = failed_batch(db, user, "blocked_by_policy", "timeout")

    db.as_user(user, RETRY, batch["id"])

    assert statuses(db, batch) == ["completed", "failed", "pending"]


# orders that are still open


def failed_with_open_order(db: Database, user: UUID) -> tuple[Row, Row]:
    """A paid batch whose first item failed while its job went on, and that item's claim."""
    batch = submit_paid(db, user=user)
    claim = db.claim_one()
    submit_order(db, claim)
    db.fail(claim, code="timeout", retryable=False, order={"over": False})
    return batch, claim


def test_a_plain_retry_resumes_the_open_order_and_an_edited_one_orders_anew(db: Database) -> None:
    user = db.new_user()
    batch, claim = failed_with_open_order(db, user)

    retry(db, user, batch, [edit(batch, 0, prompt="a cat")])

    again = next(one for one in db.claim() if one["generation_id"] == claim["generation_id"])
    assert (again["order_key"], again["provider_job_id"], again["prompt"]) == (None, None, "a cat")
    key = submit_order(db, again, "job-2")
    old, new = orders(db)
    assert (old["is_superseded"], old["provider_job_id"]) == (True, "job-1")
    assert (new["key"], new["is_superseded"]) == (key, False)


def test_an_edit_that_changes_nothing_resumes_the_open_order(db: Database) -> None:
    user = db.new_user()
    batch, claim = failed_with_open_order(db, user)

    retry(db, user, batch, [edit(batch, 0)])

    again = next(one for one in db.claim() if one["generation_id"] == claim["generation_id"])
    assert again["provider_job_id"] == "job-1"


def test_both_orders_of_an_edited_item_are_charged_and_the_old_picture_stays(db: Database) -> None:
    user = db.new_user()
    batch, claim = failed_with_open_order(db, user)
    retry(db, user, batch, [edit(batch, 0, prompt="a cat")])
    again = next(one for one in db.claim() if one["generation_id"] == claim["generation_id"])
    submit_order(db, again, "job-2")
    db.fail(again, code="no", order={"over": True, "charged": True})

    order = open_order(db)
    queued = settle(db, order, has_picture=True, over=True, charged=True)

    assert order["provider_job_id"] == "job-1"
    assert not queued
    assert db.item(claim["generation_id"])["status"] == "failed"
    assert entries(db, claim) == [
        ("attempt", "timeout", None, 0),
        ("settlement", "settled", True, PRICE),
        ("attempt", "no", True, PRICE),
    ]
    assert orders(db) == []


def test_the_picture_that_crashed_workers_is_settled_after_an_edit(db: Database) -> None:
    user = db.new_user()
    batch = submit_paid(db, user=user)
    db.run("update batchgen.settings set max_crashes = 1")
    claim = db.claim_one()
    submit_order(db, claim)
    db.expire(claim)
    db.return_expired()
    retry(db, user, batch, [edit(batch, 0, seed=3)])
    again = db.claim(1)[0]
    db.expire(again)
    db.return_expired()

    assert not settle(db, open_order(db), has_picture=True, over=True, charged=True)
    assert orders(db) == []


def test_a_settlement_beside_a_retry_with_edits_never_queues_the_item_twice(db: Database) -> None:
    user = db.new_user()
    batch, claim = failed_with_open_order(db, user)
    order = open_order(db)
    with connect(db.dsn) as connection, connection.transaction():
        answer = retry(Database(db.dsn, connection), user, batch, [edit(batch, 0, prompt="a cat")])
        settlement = BackgroundCall(db, lambda other: settle(other, order, has_picture=True, over=True, charged=True))
        until_somebody_waits(db)

    assert settlement.answer() is False
    assert done(answer) == {0: "requeued"}
    again = next(one for one in db.claim() if one["generation_id"] == claim["generation_id"])
    assert (again["is_late"], again["order_key"], again["prompt"]) == (False, None, "a cat")
    assert entries(db, claim)[-1] == ("settlement", "settled", True, PRICE)


def test_a_retry_with_edits_beside_a_settlement_finds_the_item_waiting(db: Database) -> None:
    user = db.new_user()
    batch, claim = failed_with_open_order(db, user)
    order = open_order(db)
    with connect(db.dsn) as connection, connection.transaction():
        assert settle(Database(db.dsn, connection), order, has_picture=True, over=True, charged=True)
        edited = BackgroundCall(db, lambda other: retry(other, user, batch, [edit(batch, 0, prompt="a cat")]))
        until_somebody_waits(db)

    assert refusals(edited.answer()) == {0: "not_failed"}
    again = next(one for one in db.claim() if one["generation_id"] == claim["generation_id"])
    assert (again["is_late"], again["prompt"]) == (True, "a red fox, number 0")


def test_a_late_result_of_the_earlier_attempt_is_dropped_after_an_edit(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user)
    db.run("update batchgen.settings set max_crashes = 1")
    late = db.claim_one()
    db.expire(late)
    db.return_expired()
    retry(db, user, batch, [edit(batch, 0, prompt="a cat")])

    with refused("PT409"):
        db.complete(late)
    again = next(one for one in db.claim() if one["generation_id"] == late["generation_id"])
    with refused("PT409"):
        db.complete(late)
    db.complete(again)

    assert db.value("select prompt from public.images where generation_id = %s", late["generation_id"]) == "a cat"
