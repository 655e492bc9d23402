"""`batchgen credits`: balances, history, grants; and a submit that cannot be paid."""

from collections.abc import AsyncGenerator

import pytest
from shell import Shell

from tests.support import Database, User


@pytest.fixture(autouse=True)
async def paid(database: Database, user: User) -> AsyncGenerator[None]:
    """Credits are on, and a picture costs this user 2."""
    await database.execute("insert into batchgen.credit_prices (user_id, credits) values (%s, 2)", [user.id])
    await database.execute("update batchgen.settings set credits = true")
    yield
    await database.execute("update batchgen.settings set credits = false")


async def test_an_operator_grants_and_a_user_spends(operator: Shell, signed_in: Shell, user: User) -> None:
    granted = await operator.run("credits", "grant", "7", "--user", user.email, "--note", "Invoice 7", "--key", "7")
    again = await operator.run("credits", "grant", "7", "--user", user.email, "--key", "7", "--json")
    spent = await signed_in.run("submit", "a red fox", "a blue bird", "--wait", "--json")
    adjusted = await operator.run("credits", "adjust", "-1", "--user", user.email, "--note", "A mistake", "--json")

    shown = await signed_in.run("credits", "show")
    history = await signed_in.run("credits", "history", "--json")
    table = await signed_in.run("credits", "history", "--limit", "2")

    assert granted.code == 0
    assert "7 credits available: a balance of 7, 0 held for items under way." in granted.stdout
    assert again.json["balance"] == "7"
    assert spent.code == 0
    assert adjusted.json["available"] == "2"
    assert "2 credits available" in shown.stdout
    assert "offline-sketch" in shown.stdout
    assert [entry["entry"] for entry in history.json][::5] == ["adjust", "grant"]
    assert "A mistake" in table.stdout
    assert "Invoice 7" not in table.stdout


async def test_a_batch_that_cannot_be_paid_exits_with_2_and_the_remedy(
    operator: Shell, signed_in: Shell, user: User
) -> None:
    await operator.run("credits", "grant", "3", "--user", user.email)

    refused = await signed_in.run("submit", "a red fox", "a blue bird", "--json")
    told = await signed_in.run("submit", "a red fox", "a blue bird")

    assert (refused.code, told.code) == (2, 2)
    assert refused.error["code"] == "credits_short"
    assert (refused.error["needed"], refused.error["available"]) == ("4", "3")
    assert "Not enough credits: 4 needed, 3 available." in told.stderr
    assert "ask an admin" in told.stderr


async def test_credits_are_granted_to_a_named_user_by_operators_only(operator: Shell, signed_in: Shell) -> None:
    unnamed = await operator.run("credits", "grant", "5", "--json")
    user = await signed_in.run("credits", "grant", "5", "--json")
    word = await operator.run("credits", "grant", "many", "--user", "11111111-1111-4111-8111-111111111111", "--json")

    assert (unnamed.code, unnamed.error["code"]) == (2, "user_needed")
    assert (user.code, user.error["code"]) == (2, "key_missing")
    assert (word.code, word.error["field"]) == (2, "credits")
