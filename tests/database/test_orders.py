"""Orders are recorded before they are sent, resumed by the next attempt, and settled when no item waits for them."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from database_harness import OTHER_WORKER, Database, Row, connect, query, refused
from paid_orders import (
    PRICE,
    add_model,
    begin,
    entries,
    make_open_orders_due,
    open_order,
    orders,
    settle,
    submit_order,
    submit_paid,
    take,
)
from test_batch_actions_races import BackgroundCall, until_somebody_waits


@pytest.fixture
def claim(db: Database) -> Row:
    submit_paid(db)
    return db.claim_one()


def again(db: Database, claim: Row) -> Row:
    """The next attempt at the same item."""
    db.make_due()
    [next_claim] = [one for one in db.claim() if one["generation_id"] == claim["generation_id"]]
    return next_claim


# what the next attempt finds


def test_a_begun_order_stays_as_it_was_when_the_models_row_changes(db: Database, claim: Row) -> None:
    key = begin(db, claim, version="v7", inputs={"prompt": "a", "seed": 7})
    db.run(
        "update batchgen.models set provider = 'fal', provider_model = 'x/y', inputs = '{\"prompt\": \"text\"}'"
        " where name = 'paid'"
    )
    db.expire(claim)

    found = again(db, claim)

    assert (found["order_key"], found["provider"], found["provider_job_id"]) == (key, "replicate", None)
    assert (found["model"], found["model_version"]) == ("owner/paid", "v7")
    assert found["ordered_inputs"] == {"prompt": "a", "seed": 7}
    assert 0 <= found["ordered_seconds_ago"] < 60
    assert found["model_provider"] == "fal"


def test_an_order_that_never_arrived_keeps_its_key_and_is_sent_as_new(db: Database, claim: Row) -> None:
    key = begin(db, claim)
    db.expire(claim)
    found = again(db, claim)

    assert begin(db, found, model="owner/other", inputs={"prompt": "b"}) == key

    [order] = orders(db)
    assert (order["provider_model"], order["inputs"], order["worker"]) == ("owner/other", {"prompt": "b"}, "worker-a")


def test_a_job_is_found_by_whoever_takes_the_item_over(db: Database, claim: Row) -> None:
    key = submit_order(db, claim)
    db.release(claim)

    found = again(db, claim)

    assert (found["order_key"], found["provider_job_id"]) == (key, "job-1")


@pytest.mark.parametrize(
    "fault",
    [
        {"code": "generation_failed", "retryable": True, "order": {"over": True, "charged": False}},
        {"code": "generation_failed", "retryable": True},
        {"code": "provider_busy", "retryable": True, "retry_after_seconds": 1, "order": {"over": True}},
    ],
    ids=["over", "nothing said", "the order was turned away"],
)
def test_a_job_that_is_over_is_not_asked_for_again_and_the_next_order_is_another_one(
    db: Database, claim: Row, fault: dict[str, Any]
) -> None:
    key = submit_order(db, claim)
    db.fail(claim, **fault)

    found = again(db, claim)

    assert (found["order_key"], found["provider"], found["provider_job_id"]) == (None, None, None)
    assert orders(db) == []
    assert begin(db, found) != key


@pytest.mark.parametrize(
    "fault",
    [
        {"code": "download_failed", "retryable": True, "order": {"over": False}},
        {"code": "provider_busy", "retryable": True, "retry_after_seconds": 1},
    ],
    ids=["it goes on", "asked too early"],
)
def test_a_job_that_goes_on_is_asked_for_again_in_every_attempt(
    db: Database, claim: Row, fault: dict[str, Any]
) -> None:
    key = submit_order(db, claim)
    for _ in range(3):
        db.fail(claim, **fault)
        claim = again(db, claim)
        assert (claim["order_key"], claim["provider_job_id"]) == (key, "job-1")

    db.complete(claim)

    assert [entry[2:] for entry in entries(db, claim)] == [(None, 0), (None, 0), (None, 0), (True, PRICE)]
    assert orders(db) == []


def test_a_model_that_cannot_be_ordered_waits_alone_and_no_attempt_is_used_up(db: Database, claim: Row) -> None:
    user = claim["user_id"]
    db.submit(user, 2)

    verdict = db.fail(claim, code="inputs_missing", retryable=True, retry_after_seconds=60, model_fault=True)

    assert (verdict["status"], verdict["retry_count"]) == ("pending", 0)
    assert db.run("select * from batchgen.providers") == []
    assert db.value("select reason from batchgen.breakers") == "inputs_missing"
    assert {one["model"] for one in db.claim()} == {"batchgen/offline-sketch"}
    db.run("update batchgen.models set price_usd = 0.05 where name = 'paid'")
    db.run("update batchgen.queue set due_at = now() where state = 'delayed'")
    assert {one["model"] for one in db.claim()} == {"owner/paid"}


# what each end leaves in the ledger


def crash(db: Database, claim: Row) -> None:
    db.expire(claim)
    db.return_expired()


def crash_for_good(db: Database, claim: Row) -> None:
    db.run("update batchgen.settings set max_crashes = 1")
    crash(db, claim)


ENDS: dict[str, tuple[Callable[[Database, Row], object], str, bool | None]] = {
    "completed": (lambda db, claim: db.complete(claim), "completed", True),
    "completed in bulk": (lambda db, claim: db.complete_all([claim]), "completed", True),
    "failed": (lambda db, claim: db.fail(claim, order={"over": True, "charged": True}), "timeout", True),
    "failed for nothing": (lambda db, claim: db.fail(claim, order={"over": True, "charged": False}), "timeout", False),
    "failed, who knows": (lambda db, claim: db.fail(claim, order={"over": True}), "timeout", None),
    "failed, it goes on": (lambda db, claim: db.fail(claim, order={"over": False, "charged": False}), "timeout", None),
    "tried again": (
        lambda db, claim: db.fail(claim, retryable=True, order={"over": True, "charged": True}),
        "timeout",
        True,
    ),
    "told to wait": (lambda db, claim: db.fail(claim, retryable=True, retry_after_seconds=5), "timeout", None),
    "handed back": (lambda db, claim: db.release(claim), "handed_back", None),
    "crashed": (crash, "crashed", None),
    "crashed for good": (crash_for_good, "crashed", None),
    "set back by an admin": (
        lambda db, claim: db.run(
            "update public.image_generations set status = 'pending' where id = %s", claim["generation_id"]
        ),
        "handed_back",
        None,
    ),
    "deleted": (
        lambda db, claim: db.run("delete from public.image_generations where id = %s", claim["generation_id"]),
        "deleted",
        None,
    ),
}


@pytest.mark.parametrize("end", ENDS)
def test_an_attempt_leaves_one_row_in_the_ledger_however_it_ends(db: Database, claim: Row, end: str) -> None:
    submit_order(db, claim)
    act, outcome, is_charged = ENDS[end]

    act(db, claim)

    assert entries(db, claim) == [("attempt", outcome, is_charged, PRICE if is_charged else Decimal(0))]
    row = db.one("select * from batchgen.ledger")
    assert (row["user_id"], row["provider"], row["provider_job_id"]) == (claim["user_id"], "replicate", "job-1")
    assert (row["batch_id"], row["price_usd"]) == (claim["batch_id"], PRICE)


def test_an_attempt_without_an_order_costs_nothing(db: Database) -> None:
    db.submit(prompts=2)
    first, second = db.claim()
    db.attach(first, "offline-1", "offline")
    db.complete(first)
    db.fail(second, code="bad_prompt")

    assert [row["is_charged"] for row in db.run("select * from batchgen.ledger")] == [False, False]
    assert db.value("select count(*) from batchgen.charges where is_unknown") == 0


def test_times_at_the_provider_are_kept(db: Database, claim: Row) -> None:
    submit_order(db, claim)
    db.complete(claim, order={"charged": True, "queued_seconds": 1.5, "running_seconds": 2.5})

    row = db.one("select * from batchgen.ledger")
    assert (row["queued_seconds"], row["running_seconds"]) == (1.5, 2.5)


def test_a_picture_keeps_the_seed_and_version_it_was_made_with(db: Database, claim: Row) -> None:
    db.complete(claim, seed=2**62, model_version="v7", is_black=True)

    image = db.one("select * from public.images where generation_id = %s", claim["generation_id"])
    assert (image["seed"], image["model_version"], image["is_black"]) == (2**62, "v7", True)


# orders that nobody waits for any more


@pytest.fixture
def ended(db: Database, claim: Row) -> Row:
    """An item that failed while its job went on."""
    submit_order(db, claim)
    db.fail(claim, code="timeout", message="It took too long.", order={"over": False})
    return claim


def test_the_worker_that_sent_an_order_asks_first_and_two_never_ask_at_once(db: Database, ended: Row) -> None:
    db.run("update batchgen.orders set ask_at = now()")
    assert take(db, OTHER_WORKER) == []

    [order] = take(db)

    assert (order["generation_id"], order["provider_job_id"]) == (ended["generation_id"], "job-1")
    assert take(db) == []
    db.run("update batchgen.orders set lease_expires_at = now() - interval '1 s', ended_at = now() - interval '31 s'")
    assert len(take(db, OTHER_WORKER)) == 1


def test_open_orders_are_asked_about_less_and_less_often_and_dropped_after_a_day(db: Database, ended: Row) -> None:
    waits: list[float] = []
    for _ in range(5):
        assert not settle(db, open_order(db), over=False)
        waits.append(db.value("select extract(epoch from ask_at - clock_timestamp())::float8 from batchgen.orders"))
    assert waits == sorted(waits)
    assert waits[-1] > 40

    db.run("update batchgen.orders set ended_at = now() - interval '25 hours'")
    settle(db, open_order(db), over=False)

    assert orders(db) == []
    assert [entry[2] for entry in entries(db, ended)] == [None]
    assert db.value("select unknown_usd from batchgen.costs_of_batches") == PRICE


@pytest.mark.parametrize("is_charged", [True, False])
def test_a_cost_can_become_known_afterwards(db: Database, ended: Row, is_charged: bool) -> None:
    settle(db, open_order(db), over=True, charged=is_charged)

    assert entries(db, ended)[1:] == [("settlement", "settled", is_charged, PRICE if is_charged else Decimal(0))]
    assert db.value("select count(*) from batchgen.charges where is_unknown") == 0
    assert db.item(ended["generation_id"])["status"] == "failed"


def test_a_picture_that_was_paid_for_is_collected_and_the_ledger_says_so(db: Database, ended: Row) -> None:
    assert settle(db, open_order(db), over=True, charged=True, has_picture=True)

    late = again(db, ended)
    assert (late["is_late"], late["provider_job_id"]) == (True, "job-1")
    db.complete(late)

    assert db.item(ended["generation_id"])["status"] == "completed"
    assert [entry[1:] for entry in entries(db, ended)] == [("timeout", None, 0), ("completed", True, PRICE)]
    assert db.value("select is_late from batchgen.ledger where outcome = 'completed'")
    assert orders(db) == []


def test_a_late_picture_that_is_gone_leaves_the_item_as_it_ended(db: Database, ended: Row) -> None:
    settle(db, open_order(db), over=True, charged=True, has_picture=True)
    late = again(db, ended)

    verdict = db.fail(late, code="output_expired", retryable=True, order={"over": True, "charged": True})

    item = db.item(ended["generation_id"])
    assert (verdict["status"], item["status"], item["error_message"]) == ("failed", "failed", "It took too long.")
    assert db.value("select code from batchgen.failures where generation_id = %s", item["id"]) == "timeout"
    assert [entry[2:] for entry in entries(db, ended)] == [(None, 0), (True, PRICE)]
    assert orders(db) == []


def test_a_late_picture_that_cannot_be_fetched_at_once_is_fetched_in_a_later_attempt(db: Database, ended: Row) -> None:
    settle(db, open_order(db), over=True, charged=True, has_picture=True)
    late = again(db, ended)
    db.fail(late, code="download_failed", retryable=True, order={"over": False})

    late = again(db, ended)
    assert (late["is_late"], late["provider_job_id"]) == (True, "job-1")
    db.complete(late)

    assert sum(entry[3] for entry in entries(db, ended)) == PRICE


def test_a_cancelled_items_paid_picture_is_kept(db: Database, claim: Row) -> None:
    submit_order(db, claim)
    db.as_user(claim["user_id"], "select public.cancel_batch(%s)", claim["batch_id"])
    db.fail(claim, code="cancelled", message="Cancelled by user", order={"over": False})

    assert settle(db, open_order(db), over=True, charged=True, has_picture=True)
    db.complete(again(db, claim))

    assert db.totals(claim["batch_id"]) == ("partial", 1, 1)


def test_an_item_that_is_cancelled_while_it_waits_leaves_its_job_to_be_asked_about(db: Database, claim: Row) -> None:
    submit_order(db, claim)
    db.release(claim)

    db.as_user(claim["user_id"], "select public.cancel_batch(%s)", claim["batch_id"])

    assert open_order(db)["provider_job_id"] == "job-1"


@pytest.mark.parametrize(
    ("deletion", "gone"),
    [
        ("delete from public.batch_generations where id = %s", "batch_id"),
        ("delete from public.image_generations where id = %s", "generation_id"),
    ],
    ids=["batch", "item"],
)
def test_a_settlement_after_a_deletion_records_the_costs_alone(
    db: Database, ended: Row, deletion: str, gone: str
) -> None:
    db.run(deletion, ended[gone])

    assert not settle(db, open_order(db), over=True, charged=True, has_picture=True)

    assert entries(db, ended)[1:] == [("settlement", "settled", True, PRICE)]


def test_a_returned_item_gets_its_open_order_and_late_settlements_change_nothing(db: Database, ended: Row) -> None:
    order = open_order(db)
    db.as_user(ended["user_id"], "select public.retry_failed(%s)", ended["batch_id"])

    assert not settle(db, order, over=True, charged=True, has_picture=True)

    found = again(db, ended)
    assert (found["order_key"], found["provider_job_id"], found["is_late"]) == (order["order_key"], "job-1", False)
    assert len(entries(db, ended)) == 1


def test_an_item_of_unknown_outcome_that_an_admin_sets_back_is_ordered_anew(db: Database, claim: Row) -> None:
    begin(db, claim)
    db.fail(claim, code="outcome_unknown", order={"over": True})

    db.run("update public.image_generations set status = 'pending' where id = %s", claim["generation_id"])

    assert again(db, claim)["order_key"] is None


def test_an_operator_settles_an_unknown_cost(db: Database, claim: Row) -> None:
    begin(db, claim)
    db.fail(claim, code="outcome_unknown", order={"over": True})

    db.run("select batchgen.note_charge(%s, 1, true)", claim["generation_id"])

    assert entries(db, claim)[1:] == [("settlement", "person", True, PRICE)]
    with refused("PT404"):
        db.run("select batchgen.note_charge(%s, 1, false)", claim["generation_id"])


# at the same moment


def test_a_retry_and_a_settlement_at_the_same_moment_end_as_one_after_the_other(db: Database, ended: Row) -> None:
    order = open_order(db)
    with connect(db.dsn) as admin, admin.transaction():
        query(admin, "select 1 from public.batch_generations where id = %s for update", ended["batch_id"])
        settling = BackgroundCall(db, lambda other: settle(other, order, over=True, charged=True, has_picture=True))
        until_somebody_waits(db)
        query(admin, "update public.image_generations set status = 'pending' where id = %s", ended["generation_id"])

    assert settling.answer() is False

    db.complete(again(db, ended))
    assert sum(entry[3] for entry in entries(db, ended)) == PRICE


def test_a_deleted_batch_and_a_settlement_at_the_same_moment_are_no_deadlock(db: Database, ended: Row) -> None:
    order = open_order(db)
    with connect(db.dsn) as admin, admin.transaction():
        query(admin, "delete from public.batch_generations where id = %s", ended["batch_id"])
        settling = BackgroundCall(db, lambda other: settle(other, order, over=True, charged=True, has_picture=True))
        until_somebody_waits(db)

    assert settling.answer() is False
    assert entries(db, ended)[1:] == [("settlement", "settled", True, PRICE)]


def test_an_order_is_begun_and_attached_while_somebody_edits_its_item_and_batch(db: Database, claim: Row) -> None:
    with db.admin.transaction():
        db.run("select 1 from public.batch_generations where id = %s for update", claim["batch_id"])
        db.run("select 1 from public.image_generations where id = %s for update", claim["generation_id"])
        assert isinstance(BackgroundCall(db, lambda other: submit_order(other, claim)).answer(), UUID)


# models are data


def test_one_update_moves_a_model_and_the_next_claim_names_its_new_provider(db: Database) -> None:
    submit_paid(db, prompts=3)
    before = db.claim_one()

    db.run(
        "update batchgen.models set provider = 'fal', provider_model = 'fal-ai/x', provider_version = 'v2',"
        " inputs = '{\"prompt\": \"text\"}', estimated_seconds = 3 where name = 'paid'"
    )
    after = db.claim_one()

    assert (before["model_provider"], before["model"], before["input_spec"]) == (
        "replicate",
        "owner/paid",
        {"prompt": "prompt"},
    )
    assert (after["model_provider"], after["model"], after["model_version"]) == ("fal", "fal-ai/x", "v2")
    assert (after["input_spec"], after["estimated_seconds"]) == ({"prompt": "text"}, 3)


def test_the_price_of_an_order_is_the_one_when_it_was_begun(db: Database, claim: Row) -> None:
    submit_order(db, claim)
    db.run("update batchgen.models set price_usd = 1 where name = 'paid'")

    db.complete(claim)

    assert sum(entry[3] for entry in entries(db, claim)) == PRICE


def test_users_ask_for_a_model_as_before_wherever_it_is_made(db: Database) -> None:
    add_model(db)
    db.run("update batchgen.models set provider = 'fal', provider_model = 'fal-ai/x' where name = 'paid'")

    db.submit(shared_settings={"model_id": "owner/paid"})

    assert db.claim_one()["model"] == "fal-ai/x"


def test_open_orders_are_asked_about_again_when_the_first_lease_has_ended(db: Database, ended: Row) -> None:
    first = open_order(db)
    make_open_orders_due(db)
    [second] = take(db)

    assert not settle(db, first, over=True, charged=True)
    settle(db, second, over=True, charged=True)

    assert [entry[0] for entry in entries(db, ended)] == ["attempt", "settlement"]
