"""Concurrent orders, settlements, retries and deletions: every order is charged once."""

import random
import threading
import time
from collections import Counter
from uuid import UUID

import psycopg
import pytest
from database_harness import Database, Row
from paid_orders import PRICE, add_model, begin, settle, submit_paid
from test_races import LoadTest, wrong_totals

from tests.seeds import SEEDS


class Provider:
    """Runs jobs by their orders' keys, none twice; some cost nothing."""

    def __init__(self) -> None:
        self.charged: dict[UUID, bool] = {}
        self.lock = threading.Lock()

    def submit(self, db: Database, claim: Row, chance: random.Random) -> UUID:
        """Record the order and send it in one step: a pause between the two is the worker's own concern."""
        with self.lock:
            key = begin(db, claim)
            assert key not in self.charged
            self.charged[key] = chance.random() < 0.7
        return key

    def knows(self, key: UUID | None) -> bool:
        with self.lock:
            return key in self.charged

    def costs(self, key: UUID) -> bool:
        with self.lock:
            return self.charged.get(key, False)


PROVIDER = Provider()


def work(load: LoadTest, db: Database, chance: random.Random) -> None:
    """Order, resume, end an attempt in any way. A job costs what its provider says."""
    name = f"worker-{threading.get_ident()}"
    for claim in db.claim(chance.randint(1, 3), name):
        with load.perhaps_lost():
            _attempt(load, db, chance, claim, name)


def _attempt(load: LoadTest, db: Database, chance: random.Random, claim: Row, worker: str) -> None:
    key = claim["order_key"]
    if claim["provider_job_id"] is None:
        if not PROVIDER.knows(key):
            assert not claim["is_late"]
            key = PROVIDER.submit(db, claim, chance)
            load.counts["ordered"] += 1
        if chance.random() < 0.9:
            db.attach(claim, f"job of {key}")
    is_charged = PROVIDER.costs(key)
    match chance.randrange(6):
        case 0 | 1 if is_charged:
            db.complete(claim, order={"charged": True})
        case 0 | 1:
            db.fail(claim, code="no", retryable=True, order={"over": True, "charged": False})
        case 2:
            db.fail(claim, code="late", retryable=False, order={"over": False})
        case 3:
            db.fail(claim, code="again", retryable=True, order={"over": False})
        case 4:
            db.release(claim, worker=worker)
        case _:
            db.run("update batchgen.queue set lease_expires_at = now() where lease_id = %s", claim["lease_id"])


def sweep(load: LoadTest, db: Database, chance: random.Random) -> None:
    # Whoever waits for one order while it holds another may deadlock with the deletion of a batch.
    db.run(
        "update batchgen.orders set ask_at = now(), ended_at = now() - interval '1 minute'"
        " where key in (select key from batchgen.orders where ask_at > now() for update skip locked)"
    )
    taken = db.as_service("select * from public.take_open_orders(%s, 3, 60)", f"sweeper-{threading.get_ident()}")
    for order in taken:
        is_charged = PROVIDER.costs(order["order_key"])
        has_picture = is_charged and chance.random() < 0.7
        is_over = chance.random() < 0.8
        if settle(db, order, over=is_over, charged=is_charged if is_over else None, has_picture=has_picture):
            load.counts["late"] += 1
        load.counts["settled"] += 1
    time.sleep(0.005)


def use(load: LoadTest, db: Database, chance: random.Random) -> None:
    """Submit, retry and cancel, as users do."""
    user = chance.choice(load.users)
    batches = db.run("select id from public.batch_generations where user_id = %s order by random() limit 1", user)
    if not batches or chance.random() < 0.4:
        submit_paid(db, prompts=3, user=user)
    else:
        action = chance.choice(["retry_failed", "retry_failed", "cancel_batch"])
        try:
            db.as_user(user, f"select public.{action}(%s)", batches[0]["id"])
        except psycopg.Error as error:
            if error.sqlstate not in ("PT404", "PT409"):  # deleted meanwhile, or held for long
                raise
    load.counts["used"] += 1
    time.sleep(0.01)


def edit_as_admin(load: LoadTest, db: Database, chance: random.Random) -> None:
    some = "(select id from public.image_generations where batch_id is not null order by random() limit 1)"
    match chance.randrange(4):
        case 0:
            batch = "(select id from public.batch_generations order by random() limit 1)"
            db.run(f"delete from public.batch_generations where id = {batch}")  # noqa: S608
        case 1:
            db.run(f"delete from public.image_generations where id = {some}")  # noqa: S608
        case 2:
            set_back = "update public.image_generations set status = 'pending' where status <> 'completed'"
            db.run(f"{set_back} and id = {some}")
        case _:
            db.run(f"update public.image_generations set status = 'failed' where id = {some}")  # noqa: S608
    load.counts["edits"] += 1
    time.sleep(0.02)


def end_all(db: Database) -> None:
    """End all items and orders; the provider says what each cost."""
    for _ in range(500):
        db.run("update batchgen.queue set lease_expires_at = now() where state = 'running'")
        db.return_expired()
        db.make_due()
        claims = db.claim(1000)
        for claim in claims:
            charged = PROVIDER.costs(claim["order_key"])
            db.fail(claim, code="end", retryable=False, order={"over": True, "charged": charged})
        db.run("update batchgen.orders set ask_at = now(), ended_at = now() - interval '1 minute' where ask_at > now()")
        taken = db.as_service("select * from public.take_open_orders('w', 1000, 60)")
        for order in taken:
            settle(db, order, over=True, charged=PROVIDER.costs(order["order_key"]))
        if not claims and not taken and db.value("select count(*) from batchgen.queue") == 0:
            return
    raise AssertionError("it does not end")


@pytest.mark.random_faults
@pytest.mark.parametrize("seed", SEEDS)
def test_every_job_that_costs_is_charged_once_and_no_other_one(db: Database, seed: int) -> None:
    PROVIDER.charged.clear()
    add_model(db)
    db.run(
        "update batchgen.settings set retry_delays_seconds = '{0}', max_retries = 3, max_crashes = 20,"
        " max_waiting_per_user = 1000000, default_daily_limit = 1000000, default_hourly_limit = 1000000"
    )
    load = LoadTest(db.dsn, [db.new_user() for _ in range(4)])
    for user in load.users:
        submit_paid(db, prompts=5, user=user)

    load.run(*[work] * 4, sweep, sweep, use, use, edit_as_admin, at_least={"ordered": 20, "settled": 5})
    end_all(db)

    rows = db.run("select order_key, is_charged from batchgen.ledger where order_key is not null")
    charges = Counter[UUID](row["order_key"] for row in rows if row["is_charged"])
    assert charges == {key: 1 for key, is_charged in PROVIDER.charged.items() if is_charged}
    assert db.value("select sum(paid_usd) from batchgen.costs_of_users") == charges.total() * PRICE
    assert db.value("select count(*) from batchgen.charges where is_unknown") == 0
    assert db.value("select count(*) from batchgen.orders") == 0
    assert wrong_totals(db) == []
