"""A crash counts for the item that caused it: items of a dead worker are claimed alone until an attempt has ended."""

import json
from collections import Counter
from decimal import Decimal
from uuid import UUID

import pytest
from database_harness import OTHER_WORKER, WORKER, Database, Row, a_result, connect
from paid_orders import PRICE, entries, open_order, orders, settle, submit_order, submit_paid, take


def ids(claims: list[Row]) -> set[UUID]:
    return {claim["generation_id"] for claim in claims}


def dies(db: Database, *claims: Row) -> None:
    """The worker of these items does, and their leases end."""
    for claim in claims:
        db.expire(claim)
    db.return_expired()


def suspects(db: Database, count: int) -> list[Row]:
    """Items of different users whose worker died, `count` of them."""
    db.run("update batchgen.settings set max_parallel_global = 100000")
    for _ in range(count):
        db.run("delete from public.image_generations where batch_id = %s and batch_index = 1", db.submit()["id"])
    claims = db.claim(count, worker="dead")
    assert len(claims) == count
    dies(db, *claims)
    return claims


def turn_comes(db: Database) -> None:
    """The suspects' turn, for which others have waited."""
    db.run("update batchgen.turns set suspects_at = now() - interval '1 second' where suspects_at <> 'infinity'")
    db.run("update batchgen.queue set due_at = now() - interval '1 hour' where is_suspect and state = 'waiting'")


def test_items_of_a_dead_worker_run_again_one_by_one(db: Database) -> None:
    dead = suspects(db, 3)

    first = db.claim()

    assert [claim["generation_id"] for claim in first] == [dead[0]["generation_id"]]
    assert db.claim() == []  # its worker gets nothing beside it
    second = db.claim(worker=OTHER_WORKER)
    assert [claim["generation_id"] for claim in second] == [dead[1]["generation_id"]]
    db.complete(first[0])
    [third] = db.claim()
    assert third["generation_id"] == dead[2]["generation_id"]


def test_a_worker_that_is_busy_is_given_no_suspect(db: Database) -> None:
    db.submit()
    [held] = db.claim(1)
    suspects(db, 1)

    assert ids(db.claim()) == ids([held]) ^ ids(db.run("select generation_id from batchgen.queue where not is_suspect"))


def test_nothing_comes_beside_a_suspect_with_the_answer_to_a_result(db: Database) -> None:
    """A result that is written while the suspect runs belongs to an item that its worker had before a loss."""
    suspects(db, 1)
    [suspect] = db.claim()
    db.submit()

    [row] = db.as_service("select public.complete_and_claim('[]'::jsonb, %s, 5, 60) as answer", WORKER)
    assert row["answer"]["claims"] == []

    result = {key: str(suspect[key]) for key in ("generation_id", "lease_id")} | {"result": a_result(suspect)}
    [row] = db.as_service(
        "select public.complete_and_claim(%s::jsonb, %s, 5, 60) as answer", json.dumps([result]), WORKER
    )
    assert len(row["answer"]["claims"]) == 2


def test_only_crashes_of_an_item_that_ran_alone_count(db: Database) -> None:
    db.run("update batchgen.settings set max_crashes = 1")
    db.submit(prompts=3)
    claims = db.claim()
    dies(db, claims[0])  # one after the other, as their renewals were
    dies(db, claims[1])
    dies(db, claims[2])
    rows = db.run("select crash_count, lone_crash_count, is_suspect from batchgen.queue")
    assert [tuple(row.values()) for row in rows] == [(1, 0, True)] * 3

    [alone] = db.claim()
    dies(db, alone)

    assert db.item(alone["generation_id"])["error_code"] == "crashed"
    assert db.value("select count(*) from batchgen.queue") == 2


def test_an_item_claimed_alone_is_no_suspect_once_its_worker_took_others(db: Database) -> None:
    db.submit(prompts=3)
    first = db.claim_one()
    db.claim()

    dies(db, first)

    assert db.waiting_row(first["generation_id"])["lone_crash_count"] == 0


def test_a_poison_item_takes_nobody_with_it(db: Database) -> None:
    """Its worker dies whenever it has it. All others complete, and it ends after max_crashes of its own."""
    for _ in range(5):
        db.submit(prompts=3)
    poison = db.value("select generation_id from batchgen.queue order by random() limit 1")
    lives = 0
    while db.value("select count(*) from batchgen.queue") and lives < 50:
        lives += 1
        claims = db.claim(20, worker=f"life-{lives}")
        while claims and poison not in ids(claims):
            for claim in claims:
                db.complete(claim)
            claims = db.claim(20, worker=f"life-{lives}")
        dies(db, *claims)

    assert db.item(poison)["error_code"] == "crashed"
    assert Counter(row["status"] for row in db.run("table made.image_generations")) == {"completed": 14, "failed": 1}
    assert lives <= 6


@pytest.mark.parametrize("end", ["retry", "wait", "release"])
def test_an_attempt_that_has_ended_clears_an_item_and_a_wait_or_a_release_does_not(db: Database, end: str) -> None:
    suspects(db, 1)
    [claim] = db.claim()

    match end:
        case "retry":
            db.fail(claim, retryable=True)
        case "wait":
            db.fail(claim, retryable=True, retry_after_seconds=5)
        case _:
            db.release(claim)

    row = db.waiting_row(claim["generation_id"])
    assert (row["is_suspect"], row["lone_crash_count"], row["crash_count"]) == (end != "retry", 1, 1)
    db.make_due()
    db.submit()
    again = db.claim()
    assert claim["generation_id"] in ids(again)
    assert (len(again) == 1) == (end != "retry")


def test_a_planned_shutdown_makes_no_item_a_suspect(db: Database) -> None:
    db.submit()
    claims = db.claim()

    db.release(*claims)

    assert len(db.claim()) == 2


def test_a_suspect_that_is_cancelled_ends(db: Database) -> None:
    suspects(db, 1)
    batch_id = db.value("select id from made.batch_generations")

    db.as_user(db.batch(batch_id)["user_id"], "select public.cancel_batch(%s)", batch_id)

    assert db.value("select count(*) from batchgen.queue") == 0
    db.submit()
    assert len(db.claim()) == 2


def test_an_admin_who_sets_a_running_suspect_back_leaves_it_a_suspect(db: Database) -> None:
    [dead] = suspects(db, 1)
    db.claim()

    db.run("update public.image_generations set status = 'pending' where id = %s", dead["generation_id"])
    db.submit()

    assert ids(db.claim()) == ids([dead])


# turns


def test_a_worker_that_is_never_idle_makes_way_for_a_suspect(db: Database) -> None:
    db.run("update batchgen.settings set max_parallel_per_user = 1000")
    user = db.new_user()
    for _ in range(5):
        db.submit(user, 10)
    held = db.claim(2)
    [dead] = suspects(db, 1)
    assert len(db.claim(1)) == 1  # the others' turn

    turn_comes(db)

    assert db.claim(5) == []
    running = db.run("select generation_id, lease_id, user_id from batchgen.queue where state = 'running'")
    assert len(running) == 3
    *first, last = running
    for claim in first:
        db.complete(claim)
        assert db.claim(5) == []
    db.complete(last)
    [suspect] = db.claim(5)
    assert ids([suspect]) == ids([dead])
    db.complete(suspect)
    assert len(db.claim(5)) == 5
    assert len(held) == 2


def test_half_of_several_busy_workers_make_way(db: Database) -> None:
    db.run("update batchgen.settings set max_parallel_per_user = 1000")
    user = db.new_user()
    for _ in range(5):
        db.submit(user, 10)
    workers = [f"worker-{n}" for n in range(4)]
    for worker in workers:
        assert len(db.claim(1, worker=worker)) == 1
    suspects(db, 4)
    turn_comes(db)

    # The dead one was seen as well: two of five.
    assert [len(db.claim(1, worker=worker)) for worker in workers] == [0, 0, 1, 1]


def test_a_worker_that_died_while_it_made_way_keeps_nobody_waiting(db: Database) -> None:
    db.run("update batchgen.settings set max_parallel_per_user = 1000")
    user = db.new_user()
    for _ in range(2):
        db.submit(user, 10)
    db.claim(1, worker="one")
    db.claim(1, worker="two")
    suspects(db, 1)
    turn_comes(db)
    assert db.claim(1, worker="one") == []
    assert len(db.claim(1, worker="two")) == 1

    db.run("update batchgen.workers set drains_until = now() where worker = 'one'")
    turn_comes(db)

    assert db.claim(1, worker="two") == []


def test_twenty_suspects_and_everybody_elses_items_take_turns(db: Database) -> None:
    dead = suspects(db, 20)
    for _ in range(10):
        db.submit(prompts=3)
    order = list[str]()
    for _ in range(60):
        turn_comes(db)
        for claim in db.claim(1):
            order.append("suspect" if claim["generation_id"] in ids(dead) else "other")
            db.complete(claim)

    assert Counter(order) == {"suspect": 20, "other": 30}
    assert order[:9] == ["suspect", "suspect", "other"] * 3


def test_workers_that_die_at_each_suspect_leave_the_others_their_turn(db: Database) -> None:
    """No clock helps here: each worker starts idle, and a suspect kills it."""
    dead = suspects(db, 20)
    db.submit()
    for life in range(3):
        for claim in db.claim(5, worker=f"life-{life}"):
            if claim["generation_id"] in ids(dead):
                dies(db, claim)
            else:
                db.complete(claim)

    assert db.value("select count(*) from made.image_generations where status = 'completed'") == 2


def test_a_suspect_waits_for_its_users_limit_and_for_the_limit_in_all(db: Database) -> None:
    [dead] = suspects(db, 1)
    db.run("update batchgen.settings set max_parallel_per_user = 1, max_parallel_global = 1")
    user = db.item(dead["generation_id"])["user_id"]
    db.submit(user)
    db.run("update batchgen.queue set is_suspect = false where generation_id = %s", dead["generation_id"])
    [running] = db.claim(1, worker=OTHER_WORKER)
    db.run("update batchgen.queue set is_suspect = true, ready_rank = null where state = 'waiting'")

    assert db.claim() == []
    db.run("update batchgen.settings set max_parallel_global = 9")
    assert db.claim() == []
    db.complete(running)
    assert len(db.claim()) == 1


def test_a_suspect_says_why_it_waits(db: Database) -> None:
    [dead] = suspects(db, 1)
    item = db.item(dead["generation_id"])

    [row] = db.as_user(item["user_id"], "select * from public.batch_waits(%s)", item["batch_id"])

    assert (row["reason"], row["position"]) == ("runs_alone", None)
    assert db.one("table batchgen.queue_health")["suspects"] == 1


# late pictures


def test_a_crashed_items_picture_is_charged_and_not_collected_by_itself(db: Database) -> None:
    db.run("update batchgen.settings set max_crashes = 1")
    submit_paid(db)
    claim = db.claim_one()
    submit_order(db, claim)
    dies(db, claim)

    assert settle(db, open_order(db), over=True, charged=True, has_picture=True) is False

    assert db.item(claim["generation_id"])["status"] == "failed"
    assert entries(db, claim) == [("attempt", "crashed", None, Decimal(0)), ("settlement", "settled", True, PRICE)]
    db.run("update batchgen.orders set ask_at = now() + interval '1 hour'")
    assert db.as_service("select * from public.take_open_orders(%s, 10, 60)", WORKER) == []


def test_a_crashed_items_picture_collected_by_an_operator_is_not_charged_twice(db: Database) -> None:
    db.run("update batchgen.settings set max_crashes = 1")
    batch = submit_paid(db)
    claim = db.claim_one()
    key = submit_order(db, claim)
    dies(db, claim)
    settle(db, open_order(db), over=True, charged=True, has_picture=True)

    db.as_user(claim["user_id"], "select public.retry_failed(%s)", batch["id"])

    again = next(one for one in db.claim() if one["generation_id"] == claim["generation_id"])
    assert (again["generation_id"], again["order_key"], again["provider_job_id"]) == (
        claim["generation_id"],
        key,
        "job-1",
    )
    db.complete(again)
    assert [(outcome, paid) for _, outcome, _, paid in entries(db, claim)] == [
        ("crashed", Decimal(0)),
        ("settled", PRICE),
        ("completed", Decimal(0)),
    ]
    assert orders(db) == []


def test_a_settled_picture_that_nobody_asks_for_is_forgotten_after_a_day(db: Database) -> None:
    db.run("update batchgen.settings set max_crashes = 1")
    submit_paid(db)
    claim = db.claim_one()
    submit_order(db, claim)
    dies(db, claim)
    settle(db, open_order(db), over=True, charged=True, has_picture=True)
    assert len(orders(db)) == 1
    assert db.value("select ask_at > now() + interval '23 hours' from batchgen.orders")

    db.run("update batchgen.orders set ask_at = now()")
    assert db.as_service("select * from public.take_open_orders(%s, 10, 60)", WORKER) == []

    assert orders(db) == []


def test_a_sweep_leaves_a_settled_order_that_somebody_holds(db: Database) -> None:
    """A retry or deletion of a batch holds several orders; a sweep that waited for one could deadlock with it."""
    submit_paid(db, prompts=2)
    for claim in db.claim():
        submit_order(db, claim, f"job of {claim['generation_id']}")
        db.fail(claim, order={"over": False})
    db.run("update batchgen.orders set is_settled = true, ask_at = now()")
    held, _ = (order["key"] for order in orders(db))

    with connect(db.dsn) as other, other.transaction():
        other.execute("select from batchgen.orders where key = %s for update", [held])
        db.run("set lock_timeout = '10s'")
        assert take(db) == []
        assert [order["key"] for order in orders(db)] == [held]

    assert take(db) == []
    assert orders(db) == []
