"""`batchgen costs`: sums of the ledger."""

from uuid import uuid4

import pytest
from shell import Shell

from tests.support import Database, User

PROMPTS = ("submit", "a red fox", "a blue whale", "--wait", "--json")

CHARGED = """
  insert into batchgen.ledger (
    generation_id, attempt, entry, outcome, user_id, batch_id, model_id, provider, order_key, price_usd, is_charged,
    amount_usd
  )
  select gen_random_uuid(), 1, 'attempt', 'completed', %s, %s, m.id, 'replicate', gen_random_uuid(), 0.0125, %s, %s
  from public.models m where m.is_default
"""


async def charged(database: Database, user: User, amounts: list[float | None]) -> str:
    """Write one attempt for each cost to the ledger, None for an unknown cost. Returns the batch's id."""
    batch_id = str(uuid4())
    for amount in amounts:
        await database.execute(
            CHARGED,
            [user.id, batch_id, None if amount is None else True, amount or 0],
        )
    return batch_id


async def test_batch_costs_list_paid_and_unknown_orders_apart(operator: Shell, database: Database, user: User) -> None:
    batch_id = await charged(database, user, [0.0125, 0.0125, None])

    ended = await operator.run("costs", "--by", "batch", "--json")

    [row] = [row for row in ended.json if row["key"] == batch_id]
    assert ended.code == 0
    assert (row["attempts"], row["paid"], float(row["paid_usd"])) == (3, 2, 0.025)
    assert (row["unknown"], float(row["unknown_usd"])) == (1, 0.0125)


@pytest.mark.parametrize("by", ["user", "day", "model"])
async def test_costs_are_summed_by_user_day_and_model(operator: Shell, database: Database, user: User, by: str) -> None:
    before = {row["key"]: float(row["paid_usd"]) for row in (await operator.run("costs", "--by", by, "--json")).json}
    await charged(database, user, [0.0125, 0.0125])

    after = {row["key"]: float(row["paid_usd"]) for row in (await operator.run("costs", "--by", by, "--json")).json}

    grown = {key: round(amount - before.get(key, 0), 6) for key, amount in after.items() if amount != before.get(key)}
    assert list(grown.values()) == [0.025]


async def test_pictures_of_the_offline_provider_cost_nothing(operator: Shell, signed_in: Shell, user: User) -> None:
    created = await signed_in.run(*PROMPTS)
    assert created.code == 0, created.stderr

    costs = (await operator.run("costs", "--by", "user", "--json")).json

    [row] = [row for row in costs if row["key"] == str(user.id)]
    assert (row["attempts"], row["paid"], row["unknown"], float(row["paid_usd"])) == (2, 0, 0, 0.0)


async def test_costs_are_printed_as_a_table(operator: Shell, database: Database, user: User) -> None:
    await charged(database, user, [0.0125, None])

    ended = await operator.run("costs", "--by", "user", "--limit", "1000")

    [line] = [line for line in ended.stdout.splitlines() if str(user.id) in line]
    assert line.split()[1:] == ["2", "1", "$0.0125", "1", "$0.0125"]


async def test_costs_before_the_since_date_are_left_out(operator: Shell, database: Database, user: User) -> None:
    await charged(database, user, [0.0125])

    assert (await operator.run("costs", "--since", "2100-01-01", "--json")).json == []


async def test_costs_need_an_operator_key(signed_in: Shell) -> None:
    ended = await signed_in.run("costs", "--json")

    assert ended.code == 2
    assert "SUPABASE_SECRET_KEY" in ended.stderr
