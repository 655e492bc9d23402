"""Users of a run pay with credits; afterwards the credit ledger must agree with the pictures."""

import psycopg

PRICE = 3


async def turn_on_credits(database_url: str) -> None:
    """Turn credits on and grant every user more than a run costs."""
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as database:
        await database.execute("update batchgen.settings set credits = true")
        await database.execute(
            "insert into batchgen.credit_prices (user_id, credits) select id, %s from auth.users", [PRICE]
        )
        await database.execute("select public.grant_credits(id, 1000000) from auth.users")


async def credit_violations(database_url: str) -> list[str]:
    async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as database:
        answer = await database.execute(
            "select (select sum(held) from batchgen.credit_balances),"
            " (select sum(1000000 - balance) from batchgen.credit_balances),"
            " (select count(*) * %s from public.image_generations where status = 'completed')",
            [PRICE],
        )
        row = await answer.fetchone()
    assert row is not None
    held, spent, due = row
    violations = [f"{held} credits are held with nothing under way"] if held else []
    return violations + ([f"{spent} credits were spent on pictures that cost {due}"] if spent != due else [])
