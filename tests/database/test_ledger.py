"""The ledger: a row for each attempt however it ends, each order charged once, and right sums."""

import json
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from database_harness import Database, Row, a_result, connect, query, refused
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paid_orders import PRICE, begin, entries, open_order, orders, settle, submit_order, submit_paid, take
from test_batch_actions_races import BackgroundCall, until_somebody_waits

FREE, UNPRICED = Decimal(0), None


@pytest.fixture
def claim(db: Database) -> Row:
    submit_paid(db)
    return db.claim_one()


def again(db: Database, claim: Row) -> Row:
    db.make_due()
    [next_claim] = [one for one in db.claim() if one["generation_id"] == claim["generation_id"]]
    return next_claim


def edit(db: Database, claim: Row, what: str) -> None:
    """An admin's edits of the item in the dashboard."""
    db.run(f"update public.image_generations set {what} where id = %s", claim["generation_id"])  # noqa: S608


def costs(db: Database, view: str) -> Row:
    return db.one(f"select * from batchgen.costs_of_{view}")  # noqa: S608


# more ends of an attempt, beside those in test_orders.py


def complete_and_claim(db: Database, claim: Row) -> None:
    result = {
        "generation_id": str(claim["generation_id"]),
        "lease_id": str(claim["lease_id"]),
        "result": a_result(claim),
    }
    db.as_service("select public.complete_and_claim(%s::jsonb, 'w', 0, 60)", json.dumps([result]))


def cancel_and_end(db: Database, claim: Row) -> None:
    db.as_user(claim["user_id"], "select public.cancel_batch(%s)", claim["batch_id"])
    db.fail(claim, code="cancelled", order={"over": False})


def delete_batch_and_end(db: Database, claim: Row) -> None:
    db.run("delete from public.batch_generations where id = %s", claim["batch_id"])
    db.fail(claim, code="cancelled", order={"over": False})


def delete_batch_and_crash(db: Database, claim: Row) -> None:
    db.run("delete from public.batch_generations where id = %s", claim["batch_id"])
    db.expire(claim)
    db.return_expired()


def cancel_and_release(db: Database, claim: Row) -> None:
    db.as_user(claim["user_id"], "select public.cancel_batch(%s)", claim["batch_id"])
    db.release(claim)


ENDS: dict[str, tuple[Callable[[Database, Row], object], str, bool | None]] = {
    "completed with the next claim": (complete_and_claim, "completed", True),
    "completed for nothing": (lambda db, claim: db.complete(claim, order={"charged": False}), "completed", False),
    "completed, nothing said": (lambda db, claim: db.complete(claim, order=None), "completed", True),
    "cancelled while it ran": (cancel_and_end, "cancelled", None),
    "cancelled and handed back": (cancel_and_release, "cancelled", None),
    "its batch deleted": (delete_batch_and_end, "cancelled", None),
    "its batch deleted, then crashed": (delete_batch_and_crash, "cancelled", None),
    "failed by an admin": (lambda db, claim: edit(db, claim, "status = 'failed'"), "failed", None),
    "completed by an admin": (lambda db, claim: edit(db, claim, "status = 'completed'"), "completed", None),
    "taken out of its batch": (lambda db, claim: edit(db, claim, "batch_id = null"), "withdrawn", None),
}


@pytest.mark.parametrize("end", ENDS)
def test_an_attempt_leaves_one_row_and_its_order_is_settled_or_open(db: Database, claim: Row, end: str) -> None:
    submit_order(db, claim)
    act, outcome, is_charged = ENDS[end]

    act(db, claim)

    assert entries(db, claim) == [("attempt", outcome, is_charged, PRICE if is_charged else 0)]
    assert [order["ended_at"] is not None for order in orders(db)] == ([True] if is_charged is None else [])


@pytest.mark.parametrize("end", ENDS)
def test_an_attempt_without_an_order_leaves_one_row_that_costs_nothing(db: Database, claim: Row, end: str) -> None:
    act, outcome, _ = ENDS[end]

    act(db, claim)

    assert entries(db, claim) == [("attempt", outcome, False, 0)]


def test_three_crashes_are_three_rows_of_one_order_that_is_asked_about(db: Database, claim: Row) -> None:
    key = submit_order(db, claim)
    for _ in range(3):
        db.expire(claim)
        db.return_expired()
        if db.item(claim["generation_id"])["status"] == "pending":
            claim = again(db, claim)

    assert entries(db, claim) == [("attempt", "crashed", None, 0)] * 3
    assert open_order(db)["order_key"] == key
    assert (costs(db, "batches")["unknown"], costs(db, "batches")["unknown_usd"]) == (1, PRICE)


def test_an_item_that_only_waited_leaves_no_row(db: Database) -> None:
    batch = submit_paid(db)

    db.as_user(UUID(str(db.batch(batch["id"])["user_id"])), "select public.cancel_batch(%s)", batch["id"])

    assert db.run("select * from batchgen.ledger") == []


def test_results_in_bulk_leave_a_row_each(db: Database) -> None:
    submit_paid(db, prompts=3)
    claims = db.claim()
    for number, claim in enumerate(claims):
        submit_order(db, claim, f"job-{number}")

    db.complete_all(claims)

    rows = db.run("select generation_id, provider_job_id, amount_usd from batchgen.ledger order by provider_job_id")
    assert [(row["provider_job_id"], row["amount_usd"]) for row in rows] == [(f"job-{n}", PRICE) for n in range(3)]
    assert {row["generation_id"] for row in rows} == {claim["generation_id"] for claim in claims}


# what is written is never written over


@pytest.mark.parametrize(
    "change", ["update batchgen.ledger set outcome = 'x'", "delete from batchgen.ledger", "truncate batchgen.ledger"]
)
def test_the_ledger_refuses_changes_by_admins(db: Database, claim: Row, change: str) -> None:
    db.complete(claim)

    with refused("PT422"):
        db.run(change)

    assert len(entries(db, claim)) == 1


def test_money_outlives_the_user(db: Database, claim: Row) -> None:
    submit_order(db, claim)
    db.complete(claim)

    db.run("delete from auth.users where id = %s", claim["user_id"])

    assert (costs(db, "users")["user_id"], costs(db, "users")["paid_usd"]) == (claim["user_id"], PRICE)


# an item that somebody else sets to completed says nothing of its job


def test_the_job_of_an_item_that_was_completed_by_hand_is_asked_about(db: Database, claim: Row) -> None:
    submit_order(db, claim)
    edit(db, claim, "status = 'completed'")

    assert not settle(db, open_order(db), over=True, charged=True, has_picture=True)

    assert entries(db, claim)[1:] == [("settlement", "settled", True, PRICE)]
    assert db.item(claim["generation_id"])["status"] == "completed"


def test_an_item_that_waits_with_its_job_and_is_completed_by_hand_is_asked_about(db: Database, claim: Row) -> None:
    submit_order(db, claim)
    db.release(claim)
    edit(db, claim, "status = 'completed'")

    settle(db, open_order(db), over=True, charged=False)

    assert entries(db, claim)[1:] == [("settlement", "settled", False, 0)]


# a picture that is collected late


@pytest.fixture
def late(db: Database, claim: Row) -> Row:
    """An item that waits to collect its picture; it had ended as too late."""
    submit_order(db, claim)
    db.fail(claim, order={"over": False})
    assert settle(db, open_order(db), over=True, charged=True, has_picture=True)
    return claim


LATE_ENDS: dict[str, Callable[[Database, Row], object]] = {
    "cancelled": lambda db, late: db.as_user(late["user_id"], "select public.cancel_batch(%s)", late["batch_id"]),
    "failed by an admin": lambda db, late: edit(db, late, "status = 'failed'"),
    "completed by an admin": lambda db, late: edit(db, late, "status = 'completed'"),
    "deleted": lambda db, late: db.run("delete from public.image_generations where id = %s", late["generation_id"]),
    "batch deleted": lambda db, late: db.run("delete from public.batch_generations where id = %s", late["batch_id"]),
}


@pytest.mark.parametrize("end", LATE_ENDS)
def test_a_late_picture_is_charged_even_if_nobody_collects_it(db: Database, late: Row, end: str) -> None:
    LATE_ENDS[end](db, late)

    assert entries(db, late)[1:] == [("settlement", "settled", True, PRICE)]
    assert orders(db) == []


@pytest.mark.parametrize("end", LATE_ENDS)
def test_a_late_picture_is_charged_while_it_is_being_collected(db: Database, late: Row, end: str) -> None:
    running = again(db, late)

    LATE_ENDS[end](db, late)
    if end in ("cancelled", "batch deleted"):
        db.fail(running, code="cancelled", order={"over": False})

    assert [entry[2:] for entry in entries(db, late)] == [(None, 0), (True, PRICE)]
    assert orders(db) == []


def test_a_late_picture_that_can_never_be_fetched_leaves_the_item_as_it_ended(db: Database, late: Row) -> None:
    running = again(db, late)

    db.fail(running, code="picture_damaged", message="Half a picture.", order={"over": False})

    assert db.item(late["generation_id"])["error_message"] == "It took too long."
    assert db.value("select code from batchgen.failures") == "timeout"
    assert entries(db, late)[1:] == [("attempt", "picture_damaged", True, PRICE)]


def test_a_late_item_orders_nothing(db: Database, late: Row) -> None:
    running = again(db, late)

    with refused("PT422"):
        begin(db, running)

    db.complete(running)
    assert [entry[2:] for entry in entries(db, late)] == [(None, 0), (True, PRICE)]


def test_a_picture_whose_costs_nobody_knows_is_collected_too(db: Database, claim: Row) -> None:
    submit_order(db, claim)
    db.fail(claim, order={"over": False})

    assert settle(db, open_order(db), over=True, has_picture=True)
    db.complete(again(db, claim))

    assert [entry[2:] for entry in entries(db, claim)] == [(None, 0), (True, PRICE)]


def test_a_picture_that_cost_nothing_is_not_made_the_users_again(db: Database, claim: Row) -> None:
    submit_order(db, claim)
    db.fail(claim, order={"over": False})

    assert not settle(db, open_order(db), over=True, charged=False, has_picture=True)

    assert db.item(claim["generation_id"])["status"] == "failed"


# no job is forgotten


def test_an_item_that_is_ordered_anew_leaves_its_job_to_be_asked_about(db: Database, claim: Row) -> None:
    first = submit_order(db, claim, "job-1")
    db.release(claim)
    claim = again(db, claim)

    second = submit_order(db, claim, "job-2")
    db.complete(claim)

    assert second != first
    assert entries(db, claim) == [("attempt", "handed_back", None, 0), ("attempt", "completed", True, PRICE)]
    order = open_order(db)
    assert order["order_key"] == first
    assert not settle(db, order, over=True, charged=True, has_picture=True)
    assert costs(db, "days")["paid_usd"] == 2 * PRICE


def test_an_attempt_orders_no_second_job(db: Database, claim: Row) -> None:
    submit_order(db, claim)

    with refused("PT422"):
        begin(db, claim)

    db.complete(claim)
    assert entries(db, claim) == [("attempt", "completed", True, PRICE)]


def test_the_job_says_who_makes_it(db: Database, claim: Row) -> None:
    key = begin(db, claim)

    db.attach(claim, "job-1", "fal")

    [order] = orders(db)
    assert (order["key"], order["provider"], order["provider_job_id"]) == (key, "fal", "job-1")


def test_a_worker_with_a_provider_of_its_own_leaves_the_job_of_another_one(db: Database, claim: Row) -> None:
    """With BATCHGEN_PROVIDER=offline: an ordered job is neither lost nor taken for the offline provider's."""
    key = submit_order(db, claim)
    db.expire(claim)
    found = again(db, claim)

    db.attach(found, "offline-1", "offline")
    db.complete(found)

    assert entries(db, claim) == [("attempt", "crashed", None, 0), ("attempt", "completed", False, 0)]
    order = open_order(db)
    assert (order["order_key"], order["provider"], order["provider_job_id"]) == (key, "replicate", "job-1")
    assert not settle(db, order, over=True, charged=True, has_picture=True)
    assert costs(db, "batches")["paid_usd"] == PRICE


def test_an_item_with_a_job_left_behind_runs_on_with_its_own(db: Database, claim: Row) -> None:
    left = submit_order(db, claim, "job-1")
    db.release(claim)
    claim = again(db, claim)
    own = submit_order(db, claim, "job-2")
    db.release(claim)
    claim = again(db, claim)
    assert (claim["order_key"], claim["provider_job_id"]) == (own, "job-2")
    db.fail(claim, retryable=True, order={"over": False})
    claim = again(db, claim)
    assert (claim["order_key"], claim["provider_job_id"]) == (own, "job-2")
    db.expire(claim)
    edit(db, claim, "status = 'pending'")
    db.complete(again(db, claim))

    order = open_order(db)
    assert order["order_key"] == left
    settle(db, order, over=True, charged=True)
    assert costs(db, "models")["paid_usd"] == 2 * PRICE


def test_a_wait_that_is_cancelled_does_not_end_the_job(db: Database, claim: Row) -> None:
    """A worker that says nothing of the job, as the ones before this migration."""
    submit_order(db, claim)
    db.as_user(claim["user_id"], "select public.cancel_batch(%s)", claim["batch_id"])

    db.fail(claim, code="provider_busy", retryable=True, retry_after_seconds=5)

    assert entries(db, claim) == [("attempt", "cancelled", None, 0)]
    assert open_order(db)["provider_job_id"] == "job-1"


# what a person decides


@pytest.fixture
def unknown(db: Database, claim: Row) -> Row:
    begin(db, claim)
    db.fail(claim, code="outcome_unknown", order={"over": True})
    return claim


def note_charge(db: Database, claim: Row, is_charged: bool, attempt: int = 1) -> None:
    db.run("select batchgen.note_charge(%s, %s, %s)", claim["generation_id"], attempt, is_charged)


@pytest.mark.parametrize("is_charged", [True, False])
def test_an_operators_decision_is_final(db: Database, unknown: Row, is_charged: bool) -> None:
    note_charge(db, unknown, is_charged)

    assert (costs(db, "models")["unknown"], costs(db, "models")["paid_usd"]) == (0, PRICE if is_charged else 0)
    with refused("PT404"):
        note_charge(db, unknown, True)


def test_an_order_that_a_person_has_decided_is_asked_about_no_more(db: Database, claim: Row) -> None:
    submit_order(db, claim)
    db.fail(claim, order={"over": False})
    order = open_order(db)

    note_charge(db, claim, True)

    assert not settle(db, order, over=True, charged=True, has_picture=True)
    assert entries(db, claim)[1:] == [("settlement", "person", True, PRICE)]


def test_nobody_decides_about_an_order_that_its_item_waits_for(db: Database, claim: Row) -> None:
    submit_order(db, claim)
    db.release(claim)

    with refused("PT409"):
        note_charge(db, claim, True)

    db.complete(again(db, claim))
    assert costs(db, "batches")["paid_usd"] == PRICE


def test_a_job_from_before_there_were_orders_can_be_decided_too(db: Database, claim: Row) -> None:
    db.attach(claim, "job-1")
    db.fail(claim)
    assert db.value("select count(*) from batchgen.charges where is_unknown") == 1

    note_charge(db, claim, True)

    assert db.value("select count(*) from batchgen.charges where is_unknown") == 0
    with refused("PT404"):
        note_charge(db, claim, True)


# at the same moment


def test_an_operator_and_a_settlement_at_once_charge_once(db: Database, claim: Row) -> None:
    submit_order(db, claim)
    db.fail(claim, order={"over": False})
    order = open_order(db)
    with connect(db.dsn) as other, other.transaction():
        query(other, "select batchgen.note_charge(%s, 1, true)", claim["generation_id"])
        settling = BackgroundCall(db, lambda mine: settle(mine, order, over=True, charged=True))
        until_somebody_waits(db)

    assert settling.answer() is False
    assert costs(db, "batches")["paid_usd"] == PRICE


def test_two_workers_never_take_the_same_order(db: Database, claim: Row) -> None:
    submit_order(db, claim)
    db.fail(claim, order={"over": False})
    db.run("update batchgen.orders set ask_at = now()")
    with connect(db.dsn) as connection, connection.transaction():
        assert len(take(Database(db.dsn, connection))) == 1
        db.run("set lock_timeout = '1s'")
        assert take(db) == []


# a history, counted by hand


@dataclass
class Order:
    """An order as the model of the ledger knows it."""

    job: bool = False
    is_charged: bool | None = None
    is_late: bool = False


@dataclass
class Item:
    """An item and the rows that its history must have left."""

    id: UUID
    price: Decimal | None
    state: str = "waiting"
    order: Order | None = None
    last_attempt_of_order: int = 0
    attempts: int = 0
    attempts_of_no_batch: int = 0
    rows: dict[tuple[int, str], tuple[str, bool | None]] = field(
        default_factory=dict[tuple[int, str], tuple[str, bool | None]]
    )
    claim: Row | None = None

    def learn(self, is_charged: bool | None) -> None:
        if self.order and is_charged is not None:
            self.order.is_charged = is_charged
        if self.order and self.price == FREE:
            self.order.is_charged = False

    def ends(self, outcome: str, *, state: str, over: bool = False) -> None:
        """An attempt ends. The item's end is the end of an order that is over or late."""
        self.attempts += 1
        if outcome == "deleted" and self.order is None:  # nothing says any more which batch it was
            self.attempts_of_no_batch += 1
        is_known = over or (self.order is not None and self.order.is_late and state != "waiting")
        charged = False if self.order is None or self.price == FREE else self.order.is_charged if is_known else None
        self.rows[self.attempts, "attempt"] = (outcome, charged)
        if self.order:
            self.last_attempt_of_order = self.attempts
        if is_known:
            self.order = None
        self.state, self.claim = state, None

    def settles(self) -> None:
        """The order is over, and no attempt ends with it."""
        if self.order and self.order.is_charged is not None:
            self.rows[self.last_attempt_of_order, "settlement"] = ("settled", self.order.is_charged)
        self.order = None

    @property
    def is_open(self) -> bool:
        return self.order is not None and self.state in ("failed", "completed", "gone")


class History:
    """Does something to the database and to the model; what does not fit the item's state is left out."""

    def __init__(self, db: Database, price: Decimal | None) -> None:
        self.db, self.price = db, price
        model = db.value(
            "insert into batchgen.models (name, provider, provider_model, price_usd)"
            " values (gen_random_uuid()::text, 'replicate', 'owner/paid', %s) returning id",
            price,
        )
        self.model_id = model
        batch = db.submit(shared_settings={"model_id": str(model)})
        self.batch_id = batch["id"]
        self.items = [Item(UUID(one["id"]), price) for one in batch["generations"]]

    def do(self, step: str, item: Item) -> None:
        getattr(self, f"_{step}")(item)

    # before the end

    def _claim(self, _: Item) -> None:
        self.db.make_due()
        self.db.run("update batchgen.queue set is_suspect = false")  # all at once: the ledger is the same
        for claim in self.db.claim():
            [item] = [one for one in self.items if one.id == claim["generation_id"]]
            assert item.state == "waiting"
            assert (claim["order_key"] is not None) == (item.order is not None)
            assert (claim["provider_job_id"] is not None) == (item.order is not None and item.order.job)
            assert claim["is_late"] == (item.order is not None and item.order.is_late)
            item.state, item.claim = "running", claim
        assert not [one for one in self.items if one.state == "waiting"]

    def _begin(self, item: Item) -> None:
        if item.claim and not (item.order and item.order.job):
            begin(self.db, item.claim)
            item.order = Order()

    def _submit_order(self, item: Item) -> None:
        if item.claim and not (item.order and item.order.job):
            submit_order(self.db, item.claim)
            item.order = Order(job=True)

    # ends by a worker

    def _complete(self, item: Item, is_charged: bool | None = None) -> None:
        if item.claim:
            self.db.complete(item.claim, order={"charged": is_charged})
            item.learn(is_charged if is_charged is not None else True)
            item.ends("completed", state="completed", over=True)

    def _complete_for_nothing(self, item: Item) -> None:
        self._complete(item, False)

    def _fail(self, item: Item, *, over: bool, retryable: bool = True, is_charged: bool | None = None) -> None:
        if item.claim:
            self.db.fail(item.claim, code="no", retryable=retryable, order={"over": over, "charged": is_charged})
            item.learn(is_charged if over or is_charged else None)
            is_final = not retryable or (over and item.order is not None and item.order.is_late)
            item.ends("no", state="failed" if is_final else "waiting", over=over)

    def _retry_charged(self, item: Item) -> None:
        self._fail(item, over=True, is_charged=True)

    def _retry_for_nothing(self, item: Item) -> None:
        self._fail(item, over=True, is_charged=False)

    def _retry_unknown(self, item: Item) -> None:
        self._fail(item, over=True)

    def _retry_same_job(self, item: Item) -> None:
        self._fail(item, over=False)

    def _retry_same_paid_job(self, item: Item) -> None:
        self._fail(item, over=False, is_charged=True)

    def _fail_charged(self, item: Item) -> None:
        self._fail(item, over=True, retryable=False, is_charged=True)

    def _fail_open(self, item: Item) -> None:
        self._fail(item, over=False, retryable=False)

    def _wait(self, item: Item) -> None:
        if item.claim:
            self.db.fail(item.claim, code="busy", retryable=True, retry_after_seconds=9)
            item.ends("busy", state="waiting")

    def _release(self, item: Item) -> None:
        if item.claim:
            self.db.release(item.claim)
            item.ends("handed_back", state="waiting")

    def _crash(self, item: Item) -> None:
        if item.claim:
            self.db.expire(item.claim)
            self.db.return_expired()
            item.ends("crashed", state="waiting")

    # edits

    def _set(self, item: Item, status: str) -> None:
        self.db.run("update public.image_generations set status = %s where id = %s", status, item.id)

    def _set_back(self, item: Item) -> None:
        if item.state == "gone":
            return
        self._set(item, "pending")
        if item.state == "running":
            item.ends("handed_back", state="waiting")
        item.state = "waiting"

    def _set_failed(self, item: Item) -> None:
        if item.state == "gone":
            return
        self._set(item, "failed")
        self._ended(item, "failed", "failed")

    def _delete(self, item: Item) -> None:
        self.db.run("delete from public.image_generations where id = %s", item.id)
        self._ended(item, "deleted", "gone")

    def _ended(self, item: Item, outcome: str, state: str) -> None:
        if item.state == "running":
            item.ends(outcome, state=state)
        elif item.state == "waiting" and item.order and item.order.is_late:
            item.settles()
        item.state = state

    # afterwards

    @contextmanager
    def _asking(self, item: Item) -> Generator[Row | None]:
        if not item.is_open:
            yield None
            return
        self.db.run("update batchgen.orders set ask_at = now() where generation_id = %s", item.id)
        [order] = take(self.db)
        assert order["generation_id"] == item.id
        yield order

    def _settle(self, item: Item, is_charged: bool | None, *, has_picture: bool = False) -> None:
        with self._asking(item) as order:
            if order is None or item.order is None:
                return
            is_queued = settle(self.db, order, over=True, charged=is_charged, has_picture=has_picture)
            item.learn(is_charged)
            is_late = has_picture and item.state == "failed" and item.order.is_charged is not False
            assert is_queued == is_late
            if is_late:
                item.order.is_late, item.state = True, "waiting"
            else:
                item.settles()

    def _settle_charged(self, item: Item) -> None:
        self._settle(item, True)

    def _settle_for_nothing(self, item: Item) -> None:
        self._settle(item, False)

    def _settle_unknown(self, item: Item) -> None:
        self._settle(item, None)

    def _settle_picture(self, item: Item) -> None:
        self._settle(item, True, has_picture=True)

    def _settle_picture_of_unknown_costs(self, item: Item) -> None:
        self._settle(item, None, has_picture=True)

    def _settle_not_yet(self, item: Item) -> None:
        with self._asking(item) as order:
            if order:
                settle(self.db, order, over=False)

    def _give_up(self, item: Item) -> None:
        with self._asking(item) as order:
            if order:
                self.db.run(
                    "update batchgen.orders set ended_at = now() - interval '25 h' where key = %s", order["order_key"]
                )
                settle(self.db, order, over=False)
                item.learn(None)
                item.settles()

    # what must be true

    def check(self) -> None:
        for item in self.items:
            rows = self.db.run("select * from batchgen.ledger where generation_id = %s", item.id)
            found = {(row["attempt"], row["entry"]): (row["outcome"], row["is_charged"]) for row in rows}
            assert found == item.rows
            left = self.db.run(
                "select ended_at is not null as is_open from batchgen.orders where generation_id = %s", item.id
            )
            assert [row["is_open"] for row in left] == ([item.is_open] if item.order else [])
        self._check_orders_are_charged_once()
        self._check_views()

    def _check_orders_are_charged_once(self) -> None:
        charged = defaultdict[UUID, int](int)
        for row in self._rows():
            charged[row["order_key"]] += row["is_charged"] is True
        assert {number for number in charged.values()} <= {0, 1}

    def _check_views(self) -> None:
        rows = self._rows()
        by_key = defaultdict[Any, list[Row]](list)
        for row in rows:
            by_key[row["order_key"] or row["generation_id"]].append(row)
        # By hand: an order is unknown while none of its rows says, unless all of them cost nothing.
        unknown = sum(all(row["is_charged"] is None for row in same) for same in by_key.values())
        paid = sum(charged for item in self.items for _, charged in item.rows.values() if charged)
        price = self.price or Decimal(0)
        expected = {"attempts": sum(item.attempts for item in self.items), "paid": paid, "paid_usd": paid * price}
        expected |= {"unknown": unknown, "unknown_usd": unknown * price}
        for view, column, value in (
            ("models", "model_id", self.model_id),
            ("users", "user_id", rows[0]["user_id"] if rows else None),
            ("batches", "batch_id", self.batch_id),
        ):
            if view == "batches":
                expected["attempts"] -= sum(item.attempts_of_no_batch for item in self.items)
            sql = f"select * from batchgen.costs_of_{view} where {column} = %s"  # noqa: S608
            found = self.db.run(sql, value)
            assert [{name: row[name] for name in expected} for row in found] == (
                [expected] if expected["attempts"] else []
            )

    def _rows(self) -> list[Row]:
        return self.db.run("select * from batchgen.ledger where model_id = %s order by attempt", self.model_id)


NO_STEPS = ("__", "_check", "_asking", "_ended", "_rows", "_set", "_settle", "_fail")
STEPS = sorted(
    name[1:]
    for name in vars(History)
    if name.startswith("_") and name not in NO_STEPS and not name.startswith(NO_STEPS[:2])
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    price=st.sampled_from([PRICE, PRICE, FREE, UNPRICED]),
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.sampled_from([0, 0, 1])), min_size=10, max_size=40),
)
def test_whatever_happens_the_ledger_says_what_a_person_would_count(
    shared_db: Database, price: Decimal | None, steps: list[tuple[str, int]]
) -> None:
    shared_db.run("update batchgen.settings set max_retries = 20, max_crashes = 20, max_parallel_global = 1000")
    history = History(shared_db, price)
    history.do("claim", history.items[0])
    history.do("submit_order", history.items[0])

    for step, number in steps:
        history.do(step, history.items[number])
        history.check()

    for item in history.items:  # leave nothing that the next example could claim
        history.do("delete", item)
        history.do("settle_unknown", item)
    history.check()
