"""Items of a model that costs money, and what a worker does with their orders."""

import json
from decimal import Decimal
from typing import Any
from uuid import UUID

from database_harness import WORKER, Database, Row

PRICE = Decimal("0.04")


def submit_paid(db: Database, *, prompts: int = 2, user: UUID | None = None) -> Row:
    """A batch of a model that costs `PRICE`."""
    rows = db.run("select id from public.models where name = 'paid'")
    model = rows[0]["id"] if rows else add_model(db)
    return db.submit(user, prompts, shared_settings={"model_id": str(model)})


def add_model(db: Database) -> UUID:
    return db.value(
        "insert into batchgen.models (name, provider, provider_model, inputs, price_usd)"
        " values ('paid', 'replicate', 'owner/paid', '{\"prompt\": \"prompt\"}', %s) returning id",
        PRICE,
    )


def begin(db: Database, claim: Row, **order: Any) -> UUID:
    """Record an order; return its key."""
    whole = {"provider": "replicate", "model": "owner/paid", "inputs": {"prompt": claim["prompt"]}} | order
    sql = "select public.begin_order(%s, %s, %s::jsonb) as key"
    return db.as_service(sql, claim["generation_id"], claim["lease_id"], json.dumps(whole))[0]["key"]


def submit_order(db: Database, claim: Row, job: str = "job-1") -> UUID:
    """Begin an order and attach its job."""
    key = begin(db, claim)
    db.attach(claim, job)
    return key


def take(db: Database, worker: str = WORKER) -> list[Row]:
    return db.as_service("select * from public.take_open_orders(%s, 10, 60)", worker)


def make_open_orders_due(db: Database) -> None:
    db.run(
        "update batchgen.orders set ask_at = now(), lease_id = null, lease_expires_at = null where ended_at is not null"
    )


def settle(db: Database, order: Row, *, has_picture: bool = False, **state: Any) -> bool:
    """Write down what the provider says; `state` as `batchgen.order_state`."""
    outcome = json.dumps({"order": state, "has_picture": has_picture})
    sql = "select public.settle_order(%s, %s, %s::jsonb) as queued"
    return db.as_service(sql, order["order_key"], order["lease_id"], outcome)[0]["queued"]


def open_order(db: Database) -> Row:
    """The one open order, taken to be asked about."""
    make_open_orders_due(db)
    [order] = take(db)
    return order


def entries(db: Database, claim: Row) -> list[tuple[str, str, bool | None, Decimal]]:
    """The item's rows in the ledger: entry, outcome, whether it is charged, what it costs."""
    rows = db.run(
        "select * from batchgen.ledger where generation_id = %s order by attempt, entry", claim["generation_id"]
    )
    return [(row["entry"], row["outcome"], row["is_charged"], row["amount_usd"]) for row in rows]


def orders(db: Database) -> list[Row]:
    return db.run("select * from batchgen.orders order by ordered_at")
