"""Credits: what is held, captured and released, whoever ends the items; nobody spends more than they have."""

import asyncio
import json
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from database_harness import Database, Row, a_request, connect, refused

Credits = tuple[Decimal, Decimal, Decimal]
"""Balance, held, available."""


@pytest.fixture
def paid(db: Database) -> Database:
    """A project with credits on, whose default model costs 2."""
    db.run("update batchgen.settings set credits = true")
    db.run("update public.models set cost_per_generation = 2 where is_default")
    return db


def payer(db: Database, credits: float = 10) -> UUID:
    user = db.new_user()
    if credits:
        grant(db, user, credits)
    return user


def grant(db: Database, user: UUID, credits: float, **more: object) -> Row:
    sql = "select public.grant_credits(%s, %s, %s, %s) as answer"
    return db.as_service(sql, user, credits, more.get("note"), more.get("key"))[0]["answer"]


def credits_of(db: Database, user: UUID) -> Credits:
    row = db.one("select balance, held, balance - held as available from batchgen.credits_of(%s)", user)
    return row["balance"], row["held"], row["available"]


def entries_of(db: Database, user: UUID) -> list[tuple[str, Decimal]]:
    sql = "select entry, amount from batchgen.credit_ledger where user_id = %s and entry <> 'grant' order by id"
    return [(row["entry"], row["amount"]) for row in db.run(sql, user)]


def set_status(db: Database, status: str, *ids: object) -> None:
    """As an admin does in the dashboard."""
    db.run("update public.image_generations set status = %s where id = any(%s)", status, [UUID(str(i)) for i in ids])


def ids_of(batch: Row) -> list[str]:
    return [item["id"] for item in batch["generations"]]


# submit, and the ends of an item


def test_a_batch_is_held_when_submitted_and_each_picture_captured(paid: Database) -> None:
    user = payer(paid)

    paid.submit(user)
    submitted = credits_of(paid, user)
    paid.complete(paid.claim_one())
    one_done = credits_of(paid, user)
    paid.complete_all(paid.claim())

    assert submitted == (10, 4, 6)
    assert one_done == (8, 2, 6)
    assert credits_of(paid, user) == (6, 0, 6)
    assert entries_of(paid, user) == [("hold", 2), ("hold", 2), ("capture", 2), ("capture", 2)]


def test_a_batch_that_costs_more_than_is_available_is_refused_with_what_it_needs(paid: Database) -> None:
    user = payer(paid, 5)

    with refused("PT402") as refusal:
        paid.submit(user, 3)

    assert refusal.message == "Not enough credits: 6 needed, 5 available."
    assert refusal.detail == {
        "code": "credits_short",
        "message": refusal.message,
        "index": None,
        "field": "credits",
        "limit": 5,
        "remedy": "Send fewer items or choose a cheaper model, or ask an admin of the project for credits.",
        "needed": 6,
        "available": 5,
    }
    assert paid.value("select count(*) from public.image_generations where user_id = %s", user) == 0
    assert credits_of(paid, user) == (5, 0, 5)


def test_a_preview_shows_the_price_and_the_refusal_that_a_submit_gets(paid: Database) -> None:
    user = payer(paid, 5)

    def preview(prompts: int) -> Row:
        request = json.dumps(a_request(prompts))
        return paid.as_user(user, "select public.preview_batch(%s::jsonb) as answer", request)[0]["answer"]

    affordable, too_dear = preview(2), preview(3)
    with refused("PT402") as refusal:
        paid.submit(user, 3)

    assert affordable["credits"] == {"each": 2, "total": 4, "available": 5}
    assert affordable["refusal"] is None
    assert too_dear["refusal"] == refusal.detail
    assert credits_of(paid, user) == (5, 0, 5)


def test_an_operator_cannot_overdraw_a_user_either(paid: Database) -> None:
    user = payer(paid, 3)

    with refused("PT402"):
        paid.as_service("select public.create_batch_as(%s, %s::jsonb)", user, json.dumps(a_request(2)))

    assert credits_of(paid, user) == (3, 0, 3)


def test_a_request_repeated_with_its_client_key_is_held_once(paid: Database) -> None:
    user = payer(paid, 4)
    first = paid.submit(user, client_key="k")

    again = paid.submit(user, client_key="k")

    assert again["id"] == first["id"]
    assert credits_of(paid, user) == (4, 4, 0)


def test_a_failure_releases_and_a_retry_by_the_worker_keeps_the_hold(paid: Database) -> None:
    user = payer(paid)
    paid.submit(user)
    first, second = paid.claim()

    paid.fail(first, retryable=True)
    retried = credits_of(paid, user)
    paid.fail(second)

    assert retried == (10, 4, 6)
    assert credits_of(paid, user) == (10, 2, 8)


def test_a_retry_by_the_user_holds_anew_and_is_refused_if_it_cannot_be_paid(paid: Database) -> None:
    user = payer(paid, 4)
    batch = paid.submit(user)
    for claim in paid.claim():
        paid.fail(claim)
    paid.as_user(user, "select public.retry_failed(%s)", batch["id"])
    held = credits_of(paid, user)
    for claim in paid.claim():
        paid.fail(claim)
    adjust(paid, user, -1)

    with refused("PT402") as refusal:
        paid.as_user(user, "select public.retry_failed(%s)", batch["id"])

    assert held == (4, 4, 0)
    assert (refusal.detail["needed"], refusal.detail["available"]) == (4, 3)
    assert credits_of(paid, user) == (3, 0, 3)
    assert paid.totals(batch["id"]) == ("failed", 0, 2)


def test_a_retry_with_another_model_is_held_at_its_price_or_refused(paid: Database) -> None:
    user = payer(paid, 7)
    batch = paid.submit(user)
    for claim in paid.claim():
        paid.fail(claim)
    dear = paid.value(
        "insert into public.models (name, display_name, replicate_id, cost_per_generation, is_active)"
        " values ('dear', 'Dear', 'maker/dear', 4, true) returning id"
    )

    def retry(*items: str) -> None:
        edits = json.dumps([{"generation_id": item, "model_id": str(dear)} for item in items])
        paid.as_user(user, "select public.retry_failed(%s, null, %s::jsonb)", batch["id"], edits)

    with refused("PT402") as refusal:
        retry(*ids_of(batch))
    retry(ids_of(batch)[0])

    assert (refusal.detail["needed"], refusal.detail["available"]) == (8, 7)
    assert credits_of(paid, user) == (7, 4, 3)


def adjust(db: Database, user: UUID, credits: float) -> None:
    db.as_service("select public.note_credit_adjustment(%s, %s, 'a correction')", user, credits)


def test_a_retry_by_the_apps_own_update_is_held_or_refused_alike(paid: Database) -> None:
    user = payer(paid, 4)
    batch = paid.submit(user)
    for claim in paid.claim():
        paid.fail(claim)
    update = "update public.image_generations set status = 'pending' where batch_id = %s"
    adjust(paid, user, -1)

    with refused("PT402") as refusal:
        paid.as_user(user, update, batch["id"])
    adjust(paid, user, 1)
    paid.as_user(user, update, batch["id"])

    assert (refusal.detail["needed"], refusal.detail["available"]) == (4, 3)
    assert credits_of(paid, user) == (4, 4, 0)


def test_a_cancel_releases_what_waits_and_captures_a_picture_that_was_finished(paid: Database) -> None:
    user = payer(paid)
    batch = paid.submit(user, 3)
    kept, stopped = paid.claim(2)

    paid.as_user(user, "select public.cancel_batch(%s)", batch["id"])
    cancelled = credits_of(paid, user)
    paid.complete(kept)
    paid.fail(stopped, code="cancelled")

    assert cancelled == (10, 4, 6)
    assert credits_of(paid, user) == (8, 0, 8)


def test_a_paid_picture_found_after_a_cancel_is_captured_at_the_price_of_its_run(paid: Database) -> None:
    user = payer(paid)
    batch = paid.submit(user)
    claim = paid.claim_one()
    order: Row = {"provider": "replicate", "inputs": {}}
    [row] = paid.as_service(
        "select public.begin_order(%s, %s, %s::jsonb) as key",
        claim["generation_id"],
        claim["lease_id"],
        json.dumps(order),
    )
    paid.attach(claim, "job-1")
    paid.as_user(user, "select public.cancel_batch(%s)", batch["id"])
    paid.fail(claim, code="cancelled", order={"over": False})
    cancelled = credits_of(paid, user)
    paid.run("update public.models set cost_per_generation = 7 where is_default")
    paid.run("update batchgen.orders set ask_at = now()")
    [taken] = paid.as_service("select * from public.take_open_orders('worker-a', 10, 60)")

    outcome = {"order": {"over": True, "charged": True}, "has_picture": True}
    paid.as_service("select public.settle_order(%s, %s, %s::jsonb)", row["key"], taken["lease_id"], json.dumps(outcome))
    paid.complete(paid.claim_one())

    assert cancelled == (10, 0, 10)
    assert credits_of(paid, user) == (8, 0, 8)


@pytest.mark.parametrize(
    "end",
    [
        "delete from public.image_generations where user_id = %s",
        "delete from public.batch_generations where user_id = %s",
        "delete from auth.users where id = %s",
        "update public.image_generations set status = 'failed' where user_id = %s",
        "update public.image_generations set status = 'completed' where user_id = %s",  # and no picture
        "update public.image_generations set batch_id = null where user_id = %s",
    ],
)
def test_whatever_an_admin_ends_items_with_releases_their_holds(paid: Database, end: str) -> None:
    user = payer(paid)
    paid.submit(user, 3)
    paid.claim(1)

    paid.run(end, user)
    while expired := paid.run("select * from batchgen.queue where state = 'running'"):  # the worker ends it
        paid.expire(expired[0])
        paid.return_expired()

    assert credits_of(paid, user) == (10, 0, 10)


def test_a_worker_that_dies_until_the_item_fails_releases_it(paid: Database) -> None:
    user = payer(paid)
    paid.submit(user)
    paid.run("update batchgen.settings set max_crashes = 1, suspect_turn_seconds = 0")

    for _ in range(20):
        if not (claims := paid.claim()):
            break
        for claim in claims:
            paid.expire(claim)
        paid.return_expired()

    assert paid.value("select count(*) from batchgen.queue") == 0
    assert credits_of(paid, user) == (10, 0, 10)


def test_an_admin_who_runs_items_again_holds_them_even_over_the_balance(paid: Database) -> None:
    user = payer(paid, 4)
    batch = paid.submit(user)
    paid.complete_all(paid.claim())

    set_status(paid, "pending", *ids_of(batch))
    again = credits_of(paid, user)
    paid.complete_all(paid.claim())

    assert again == (0, 4, -4)
    assert credits_of(paid, user) == (-4, 0, -4)


def test_a_running_item_set_back_by_an_admin_keeps_its_one_hold(paid: Database) -> None:
    user = payer(paid)
    batch = paid.submit(user)
    paid.claim()

    set_status(paid, "pending", *ids_of(batch))
    paid.complete_all(paid.claim())

    assert entries_of(paid, user) == [("hold", 2), ("hold", 2), ("capture", 2), ("capture", 2)]


def test_the_payer_stays_when_an_admin_gives_the_item_to_somebody_else(paid: Database) -> None:
    user, other = payer(paid), payer(paid)
    batch = paid.submit(user)

    paid.run("update public.image_generations set user_id = %s where batch_id = %s", other, batch["id"])
    paid.complete_all(paid.claim())

    assert credits_of(paid, user) == (6, 0, 6)
    assert credits_of(paid, other) == (10, 0, 10)


# prices


def test_prices_are_the_users_own_for_the_model_then_for_all_models_then_the_models(paid: Database) -> None:
    user, model = paid.new_user(), paid.value("select id from public.models where is_default")

    def price() -> Decimal:
        return paid.value("select batchgen.price_of(%s, %s)", user, model)

    prices = [price()]
    paid.run("insert into batchgen.credit_prices (user_id, credits) values (%s, 1.5)", user)
    prices.append(price())
    paid.run("insert into batchgen.credit_prices (user_id, model_id, credits) values (%s, %s, 0.25)", user, model)
    prices.append(price())

    assert prices == [2, Decimal("1.5"), Decimal("0.25")]


@pytest.mark.parametrize("cost", ["null", "0", "-3", "'NaN'", "'Infinity'"])
def test_a_model_without_a_valid_price_costs_nothing(paid: Database, cost: str) -> None:
    user = payer(paid, 0)
    paid.run(f"update public.models set cost_per_generation = {cost} where is_default")  # noqa: S608

    paid.submit(user)
    paid.complete_all(paid.claim())

    assert entries_of(paid, user) == []


def test_a_user_in_debt_may_submit_what_costs_nothing(paid: Database) -> None:
    user = payer(paid, 0)
    adjust(paid, user, -3)
    paid.run("insert into batchgen.credit_prices (user_id, credits) values (%s, 0)", user)

    paid.submit(user)

    assert credits_of(paid, user) == (-3, 0, -3)


def test_an_item_pays_the_price_at_which_it_was_submitted(paid: Database) -> None:
    user = payer(paid)
    paid.submit(user)

    paid.run("update public.models set cost_per_generation = 5 where is_default")
    paid.complete_all(paid.claim())

    assert credits_of(paid, user) == (6, 0, 6)


# on and off


def test_while_credits_are_off_nothing_is_written(db: Database) -> None:
    db.run("update public.models set cost_per_generation = 2 where is_default")
    user = db.new_user()

    db.submit(user)
    db.complete_all(db.claim())

    assert db.value("select count(*) from batchgen.credit_ledger") == 0


def test_items_end_as_they_began_when_credits_are_switched(paid: Database) -> None:
    user = payer(paid)
    held = paid.submit(user)
    paid.run("update batchgen.settings set credits = false")
    free = paid.submit(user)
    paid.run("update batchgen.settings set credits = true")
    claims = paid.claim()
    for claim in claims:
        if str(claim["batch_id"]) == free["id"]:
            paid.fail(claim, retryable=True)  # a retry by the worker is no new run
    paid.make_due()
    paid.run("update batchgen.settings set credits = false")

    paid.complete_all([claim for claim in claims if str(claim["batch_id"]) == held["id"]])
    paid.complete_all(paid.claim())

    assert paid.totals(free["id"])[1] == 2
    assert entries_of(paid, user) == [("hold", 2), ("hold", 2), ("capture", 2), ("capture", 2)]


# single generations of the app


def test_single_generations_of_the_app_are_its_own_and_cost_no_credits(paid: Database) -> None:
    user = payer(paid, 0)

    paid.as_user(user, "insert into public.image_generations (user_id, prompt) values (%s, 'a fox')", user)

    assert entries_of(paid, user) == []


def test_items_that_a_backend_writes_into_a_batch_are_held(paid: Database) -> None:
    user = payer(paid)
    batch = paid.submit(user)

    paid.as_service(
        "insert into public.image_generations (user_id, prompt, batch_id, batch_index, status, model_id)"
        " select user_id, 'a third', %s, 2, 'pending', model_id from public.image_generations where batch_id = %s"
        " limit 1",
        batch["id"],
        batch["id"],
    )

    assert credits_of(paid, user) == (10, 6, 4)


# the ledger


def test_the_credit_ledger_cannot_be_changed_even_by_its_owner(paid: Database) -> None:
    payer(paid)

    for statement in (
        "update batchgen.credit_ledger set amount = 1000",
        "delete from batchgen.credit_ledger",
        "truncate batchgen.credit_ledger",
    ):
        with refused("PT422"):
            paid.run(statement)


def test_a_run_is_held_and_ended_once(paid: Database) -> None:
    user = payer(paid)
    batch = paid.submit(user)
    again = "insert into batchgen.credit_ledger (user_id, entry, amount, generation_id, run) values (%s, %s, 2, %s, 1)"
    item = ids_of(batch)[0]

    with refused("23505"):
        paid.run(again, user, "hold", item)
    paid.complete_all(paid.claim())
    with refused("23505"):
        paid.run(again, user, "release", item)


def test_a_grant_counts_once_per_key_and_another_one_under_that_key_is_refused(paid: Database) -> None:
    user = paid.new_user()

    first = grant(paid, user, 5, key="invoice 7")
    again = grant(paid, user, 5, key="invoice 7")
    with refused("PT409") as refusal:
        grant(paid, user, 6, key="invoice 7")

    assert (first["is_new"], again["is_new"], refusal.detail["code"]) == (True, False, "key_reused")
    assert again["available"] == 5


@pytest.mark.parametrize("credits", [None, 0, -1, "NaN", "Infinity", 1_000_000_001])
def test_a_grant_is_a_positive_number_in_bounds(paid: Database, credits: Any) -> None:
    user = paid.new_user()

    with refused("PT422") as refusal:
        paid.as_service("select public.grant_credits(%s, %s::numeric)", user, credits)

    assert refusal.detail["field"] == "p_credits"


# checkpoints


def old_entries(db: Database, user: UUID, captured: int, held: int = 0) -> None:
    """Entries of many earlier items at 1 credit, and some that are still held."""
    db.run(
        "insert into batchgen.credit_ledger (user_id, entry, amount, generation_id, run)"
        " select %s, e, 1, i.id, 1 from (select n, gen_random_uuid() as id from generate_series(1, %s) n) i,"
        " unnest('{hold,capture}'::text[]) e where i.n > %s or e = 'hold'",
        user,
        captured + held,
        held,
    )


def sums_of(db: Database, user: UUID) -> tuple[Decimal, Decimal]:
    row = db.one("select balance, held from batchgen.credits_between(%s, 0, 9223372036854775807)", user)
    return row["balance"], row["held"]


def move_horizon(db: Database) -> bool:
    return db.as_service("select public.move_credit_horizon() as moved")[0]["moved"]


def test_a_long_history_gets_a_checkpoint_and_the_balance_stays(paid: Database) -> None:
    user = payer(paid, 10_000)
    old_entries(paid, user, 400, held=7)
    move_horizon(paid)

    paid.submit(user)
    first = paid.one("select * from batchgen.credit_checkpoints where user_id = %s", user)
    old_entries(paid, user, 400)
    move_horizon(paid)
    paid.submit(user)
    second = paid.one("select * from batchgen.credit_checkpoints where user_id = %s", user)

    assert (first["balance"], first["held"]) == (9600, 7)
    assert (second["balance"], second["held"]) == (9200, 11)
    assert credits_of(paid, user)[:2] == sums_of(paid, user) == (9200, 15)


def test_a_short_history_and_one_that_is_not_complete_get_no_checkpoint(paid: Database) -> None:
    short, open_ended = payer(paid, 1000), payer(paid, 1000)
    old_entries(paid, short, 200)
    move_horizon(paid)
    old_entries(paid, open_ended, 600)

    for user in (short, open_ended):
        paid.submit(user)

    assert paid.run("select * from batchgen.credit_checkpoints") == []


def test_the_horizon_waits_for_entries_that_are_written_but_not_committed(paid: Database) -> None:
    user = payer(paid, 1000)
    with connect(paid.dsn) as other, other.transaction():
        other.execute("select public.grant_credits(%s, 5)", [user])
        old_entries(paid, user, 600)
        moved_while_open = move_horizon(paid)
        paid.submit(user)
    moved = move_horizon(paid)
    paid.submit(user)

    assert (moved_while_open, moved) == (False, True)
    assert paid.value("select balance from batchgen.credit_checkpoints") == 1000 + 5 - 600
    assert credits_of(paid, user)[:2] == sums_of(paid, user)


# the monthly credits


def test_each_user_gets_the_credits_of_the_month_once(paid: Database) -> None:
    usual, more, none = paid.new_user(), paid.new_user(), paid.new_user()
    paid.run("update batchgen.settings set monthly_credits = 20")
    paid.run("insert into batchgen.credit_terms values (%s, 50), (%s, 0)", more, none)

    granted = monthly(paid), monthly(paid), monthly(paid)

    assert granted[1:] == (0, 0)
    assert [credits_of(paid, user)[0] for user in (usual, more, none)] == [20, 50, 0]


def monthly(db: Database, limit: int = 1000) -> int:
    """Whatever was granted, as if five minutes had passed."""
    db.run("update batchgen.credit_schedule set next_at = now()")
    return db.as_service("select public.grant_monthly_credits(%s) as count", limit)[0]["count"]


def test_a_new_month_grants_again_and_a_new_user_gets_the_current_one(paid: Database) -> None:
    user = paid.new_user()
    paid.run("update batchgen.settings set monthly_credits = 20")
    last = "to_char(now() at time zone 'UTC' - interval '1 month', '\"month\" YYYY-MM')"
    paid.run(
        f"insert into batchgen.credit_ledger (user_id, entry, amount, key) values (%s, 'grant', 20, {last})",  # noqa: S608
        user,
    )
    monthly(paid)
    late = paid.new_user()

    monthly(paid)

    assert (credits_of(paid, user)[0], credits_of(paid, late)[0]) == (40, 20)


def test_grants_are_made_in_chunks_and_then_rest_for_five_minutes(paid: Database) -> None:
    for _ in range(5):
        paid.new_user()
    paid.run("update batchgen.settings set monthly_credits = 1")
    everybody = paid.value("select count(*) from auth.users")

    counts = [
        paid.as_service("select public.grant_monthly_credits(%s) as n", 2)[0]["n"] for _ in range(everybody // 2 + 2)
    ]

    assert sum(counts) == everybody
    assert paid.value("select next_at > clock_timestamp() from batchgen.credit_schedule")


def test_nothing_is_granted_while_credits_are_off(db: Database) -> None:
    db.new_user()
    db.run("update batchgen.settings set monthly_credits = 20")

    assert monthly(db) == 0


async def test_workers_that_grant_at_once_grant_once(paid: Database) -> None:
    users = [paid.new_user() for _ in range(30)]
    paid.run("update batchgen.settings set monthly_credits = 20")

    def work() -> None:
        with connect(paid.dsn) as connection:
            for _ in range(20):
                connection.execute("select public.grant_monthly_credits(3)")
                connection.execute("update batchgen.credit_schedule set next_at = now()")

    await asyncio.gather(*(asyncio.to_thread(work) for _ in range(3)))

    assert {credits_of(paid, user)[0] for user in users} == {20}


# races


async def test_two_hundred_submits_at_once_spend_exactly_what_fifty_cost(paid: Database) -> None:
    user = payer(paid, 50 * 4)
    paid.run("update batchgen.settings set max_waiting_per_user = 100000")

    def submit(count: int) -> Counter[str]:
        answers: Counter[str] = Counter()
        with connect(paid.dsn) as connection:
            claims = json.dumps({"role": "authenticated", "sub": str(user)})
            connection.execute("select set_config('request.jwt.claims', %s, false)", [claims])
            connection.execute("set role authenticated")
            for _ in range(count):
                try:
                    connection.execute("select public.create_batch(%s::jsonb)", [json.dumps(a_request(2))])
                    answers["done"] += 1
                except psycopg.Error as error:
                    answers[error.sqlstate or ""] += 1
        return answers

    answers = await asyncio.gather(*(asyncio.to_thread(submit, 10) for _ in range(20)))

    assert sum(answers, Counter[str]()) == {"done": 50, "PT402": 150}
    assert credits_of(paid, user) == (200, 200, 0)


async def test_ends_and_submits_of_many_users_at_once_neither_deadlock_nor_lose_a_credit(paid: Database) -> None:
    users = [payer(paid, 1000) for _ in range(4)]
    paid.run("update batchgen.settings set max_parallel_global = 1000, max_parallel_per_user = 1000, max_retries = 0")

    def act(seed: int) -> None:
        chance = random.Random(seed)
        db = Database(paid.dsn, connect(paid.dsn))
        with db.admin:
            for _ in range(25):
                user = chance.choice(users)
                batch = db.submit(user)
                claims = db.claim(6, worker=f"worker-{seed}")
                done = [claim for claim in claims if chance.random() < 0.7]
                db.complete_all(done)
                for claim in claims:
                    if claim not in done:
                        db.fail(claim)
                if chance.random() < 0.3:
                    db.as_user(user, "select public.cancel_batch(%s)", batch["id"])
                elif chance.random() < 0.5:
                    db.as_user(user, "select public.retry_failed(%s)", batch["id"])

    await asyncio.gather(*(asyncio.to_thread(act, seed) for seed in range(4)))
    paid.run("delete from public.image_generations g using batchgen.queue q where q.generation_id = g.id")

    pictures = {row["user_id"]: row["n"] for row in paid.run("select user_id, count(*) as n from images group by 1")}
    for user in users:
        assert credits_of(paid, user) == (1000 - 2 * pictures[user], 0, 1000 - 2 * pictures[user])


# random histories


def sqlstate_of(call: Callable[[], object]) -> str | None:
    try:
        call()
    except psycopg.Error as error:
        return error.sqlstate
    return None


@dataclass
class Books:
    """The ledger as it should be, computed from which items are in the queue before and after each step."""

    balance: Counter[UUID] = field(default_factory=Counter[UUID])
    holds: dict[UUID, tuple[UUID, int]] = field(default_factory=dict[UUID, tuple[UUID, int]])
    """By item: the payer and the price."""
    captured: int = 0

    def follow(self, before: set[UUID], after: dict[UUID, Row], ended: dict[UUID, bool], price: int | None) -> None:
        """`ended`: of items that are gone from the queue, whether they are completed with a picture."""
        for item in before - after.keys():
            if (hold := self.holds.pop(item, None)) and ended.get(item):
                self.balance[hold[0]] -= hold[1]
                self.captured += hold[1]
        for item in after.keys() - before:
            if price:
                self.holds[item] = after[item]["user_id"], price

    def held(self, user: UUID) -> int:
        return sum(price for payer, price in self.holds.values() if payer == user)


class History:
    """Random steps of users, workers and admins on one project."""

    def __init__(self, db: Database, seed: int) -> None:
        self.db, self.chance, self.books = db, random.Random(seed), Books()
        self.users = [db.new_user() for _ in range(3)]
        self.prices, self.is_on, self.claims = 2, True, list[Row]()
        for user in self.users:
            self.give(user, 30)
        self.steps = {
            self.submit: 6,
            self.claim: 6,
            self.complete: 5,
            self.fail: 3,
            self.kill_workers: 1,
            self.hand_back: 1,
            self.cancel: 1,
            self.retry: 3,
            self.app_update: 2,
            self.admin_edit: 3,
            self.delete_item: 1,
            self.delete_batch: 1,
            self.delete_user: 0.2,
            self.reprice: 1,
            self.switch: 0.5,
            self.top_up: 1,
            self.move_horizon: 2,
        }

    def run(self, steps: int) -> None:
        for _ in range(steps):
            [step] = self.chance.choices([*self.steps], [*self.steps.values()])
            self.take(step)
        self.take(self.end_all)

    def take(self, step: Any) -> None:
        before = {row["generation_id"] for row in self.queue()}
        price = self.prices if self.is_on else None
        step()
        rows = self.db.run(
            "select g.id, g.status = 'completed' and exists (select from images i where i.generation_id = g.id) as done"
            " from public.image_generations g"
        )
        after = {row["generation_id"]: row for row in self.queue()}
        self.books.follow(before, after, {row["id"]: row["done"] for row in rows}, price)
        for user in self.users:
            expected = self.books.balance[user], self.books.held(user)
            assert credits_of(self.db, user)[:2] == expected, f"after {step.__name__}"

    def queue(self) -> list[Row]:
        return self.db.run("select generation_id, user_id from batchgen.queue")

    def give(self, user: UUID, credits: int) -> None:
        grant(self.db, user, credits)
        self.books.balance[user] += credits

    def someone(self) -> UUID:
        return self.chance.choice(self.users)

    def some_id(self, table: str) -> UUID:
        rows = self.db.run(f"select id from public.{table}")  # noqa: S608
        return self.chance.choice(rows)["id"] if rows else uuid4()

    # users

    def submit(self) -> None:
        user, count = self.someone(), self.chance.randint(2, 5)
        needed = count * self.prices if self.is_on else 0
        available = self.books.balance[user] - self.books.held(user)
        is_refused = sqlstate_of(lambda: self.db.submit(user, count)) == "PT402"
        assert is_refused == (needed > 0 and needed > available)

    def cancel(self) -> None:
        self.as_owner("select public.cancel_batch(%s)")

    def retry(self) -> None:
        self.as_owner("select public.retry_failed(%s)")

    def app_update(self) -> None:
        status = self.chance.choice(["pending", "failed"])
        self.as_owner(f"update public.image_generations set status = '{status}' where batch_id = %s")  # noqa: S608

    def as_owner(self, sql: str) -> None:
        rows = self.db.run("select id, user_id from public.batch_generations where user_id is not null")
        if not rows:
            return
        batch = self.chance.choice(rows)
        assert sqlstate_of(lambda: self.db.as_user(batch["user_id"], sql, batch["id"])) in (None, "PT402")

    def delete_user(self) -> None:
        user = self.someone()
        self.db.run("delete from auth.users where id = %s", user)
        self.users[self.users.index(user)] = new = self.db.new_user()
        self.give(new, 30)

    # workers

    def claim(self) -> None:
        self.db.make_due()
        self.claims += self.db.claim(self.chance.randint(1, 6))

    def complete(self) -> None:
        count = self.chance.randint(1, 4)
        done, self.claims = self.claims[:count], self.claims[count:]
        self.db.complete_all(done)

    def fail(self) -> None:
        if self.claims:
            claim = self.claims.pop(0)
            if self.db.run("select from batchgen.queue where lease_id = %s", claim["lease_id"]):
                self.db.fail(claim, retryable=self.chance.random() < 0.5)

    def kill_workers(self) -> None:
        self.db.run("update batchgen.queue set lease_expires_at = now() - interval '1 s' where state = 'running'")
        self.claims.clear()
        self.db.return_expired()

    def hand_back(self) -> None:
        if self.claims:
            self.db.release(*self.claims)
            self.claims.clear()

    # admins

    def admin_edit(self) -> None:
        status = self.chance.choice(["pending", "pending", "processing", "failed", "completed"])
        item = self.some_id("image_generations")
        running = self.db.run("select user_id from batchgen.queue where generation_id = %s and state = 'running'", item)
        set_status(self.db, status, item)
        if running and status == "pending" and self.is_on and self.prices:  # queued again, free until now or not
            self.books.holds.setdefault(item, (running[0]["user_id"], self.prices))

    def delete_item(self) -> None:
        self.db.run("delete from public.image_generations where id = %s", self.some_id("image_generations"))

    def delete_batch(self) -> None:
        self.db.run("delete from public.batch_generations where id = %s", self.some_id("batch_generations"))

    def reprice(self) -> None:
        self.prices = self.chance.choice([0, 1, 2, 3])
        self.db.run("update public.models set cost_per_generation = %s where is_default", self.prices)

    def switch(self) -> None:
        self.is_on = not self.is_on
        self.db.run("update batchgen.settings set credits = %s", self.is_on)

    def top_up(self) -> None:
        self.give(self.someone(), self.chance.randint(1, 20))

    def move_horizon(self) -> None:
        assert move_horizon(self.db)
        # The histories are too short for a checkpoint otherwise.
        self.db.run(
            "insert into batchgen.credit_checkpoints select l.user_id, h.ledger_id, s.balance, s.held"
            " from (select distinct user_id from batchgen.credit_ledger) l, batchgen.credit_horizon h,"
            " batchgen.credits_between(l.user_id, 0, h.ledger_id) s"
            " on conflict (user_id) do update"
            " set ledger_id = excluded.ledger_id, balance = excluded.balance, held = excluded.held"
        )

    def end_all(self) -> None:
        self.db.run("update public.image_generations set status = 'failed' where status in ('pending', 'processing')")


@pytest.mark.parametrize("seed", range(4))
def test_after_a_random_history_the_ledger_agrees_with_the_books_and_holds_nothing(paid: Database, seed: int) -> None:
    paid.run("update batchgen.settings set max_waiting_per_user = 100000, max_parallel_per_user = 20")
    history = History(paid, seed)

    history.run(120)

    captured = paid.value("select coalesce(sum(amount), 0) from batchgen.credit_ledger where entry = 'capture'")
    assert captured == history.books.captured
    assert history.books.holds == {}
    assert (
        paid.value(
            "select count(*) from batchgen.credit_ledger h where entry = 'hold' and not exists (select from"
            " batchgen.credit_ledger c where c.generation_id = h.generation_id and c.run = h.run and c.entry <> 'hold')"
        )
        == 0
    )
