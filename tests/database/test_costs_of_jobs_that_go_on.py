"""Costs of a job that has not ended when its attempt fails."""

from decimal import Decimal

import pytest
from database_harness import Database, Row
from paid_orders import PRICE, submit_order, submit_paid


@pytest.fixture
def claim(db: Database) -> Row:
    """An item of a model that costs money, with an order that has a job."""
    submit_paid(db)
    claim = db.claim_one()
    submit_order(db, claim)
    return claim


def test_a_wait_during_a_job_says_nothing_of_its_costs(db: Database, claim: Row) -> None:
    db.fail(claim, retryable=True, retry_after_seconds=1, order={"over": False, "charged": False})
    db.make_due()

    db.complete(db.claim_one())

    assert _costs(db, claim) == [(None, 0, False), (True, PRICE, False)]


def test_a_lost_job_costs_an_unknown_sum_even_after_an_attempt_that_cost_nothing(db: Database, claim: Row) -> None:
    db.fail(claim, retryable=True, order={"over": False, "charged": False})
    db.make_due()

    db.fail(db.claim_one(), code="outcome_unknown", order={"over": True})

    assert _costs(db, claim) == [(None, 0, False), (None, 0, True)]


def test_a_picture_that_was_paid_for_and_got_lost_is_paid_for(db: Database, claim: Row) -> None:
    db.fail(claim, code="download_failed", retryable=True, order={"over": False, "charged": True})
    db.make_due()

    db.fail(db.claim_one(), code="outcome_unknown", order={"over": True})

    assert _costs(db, claim) == [(None, 0, False), (True, PRICE, False)]


def _costs(db: Database, claim: Row) -> list[tuple[bool | None, Decimal, bool]]:
    """Each attempt's charge: charged or not, the sum, and whether it is unknown."""
    rows = db.run("select * from batchgen.charges where generation_id = %s order by attempt", claim["generation_id"])
    return [(row["is_charged"], row["amount_usd"], row["is_unknown"]) for row in rows]
