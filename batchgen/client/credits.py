"""Read a user's credits and their history; grant and adjust credits as operator."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from batchgen.client.caller import Caller
from batchgen.client.project_queries import check_is_operator
from batchgen.errors import InvalidRequest


class CreditPrice(BaseModel):
    """The price of one picture of an active model for the user."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    model_id: UUID
    name: str
    display_name: str
    credits: Decimal


class Credits(BaseModel):
    """A user's credits."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    balance: Decimal
    """Grants and adjustments minus what pictures have cost."""
    held: Decimal
    """Reserved for items under way."""
    available: Decimal
    """What the user may spend now: the balance without what is held."""
    is_on: bool = True
    """Whether the project charges credits at present."""
    monthly_credits: Decimal = Decimal(0)
    prices: tuple[CreditPrice, ...] = ()


class CreditEntry(BaseModel):
    """An entry of a user's credit ledger.

    `grant` and `adjust` change the balance. `hold` reserves credits for a run of an item; `capture` spends them when
    the picture is there, `release` frees them if the run ended without one.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    id: int
    entry: Literal["grant", "hold", "capture", "release", "adjust"]
    credits: Decimal
    """Only an adjustment can be negative."""
    noted_at: datetime
    generation_id: UUID | None = None
    batch_id: UUID | None = None
    model_id: UUID | None = None
    note: str | None = None


async def read_credits(caller: Caller) -> Credits:
    return Credits.model_validate(await caller.rpc("get_credits", {"p_user_id": _user_of(caller)}))


async def read_credit_history(caller: Caller, limit: int, *, before: int | None) -> tuple[CreditEntry, ...]:
    arguments = {"p_user_id": _user_of(caller), "p_before": before, "p_limit": limit}
    answer: Mapping[str, Any] = await caller.rpc("credit_history", arguments)
    return tuple(CreditEntry.model_validate(row) for row in answer["entries"])


async def write_credits(
    caller: Caller, function: str, credits: Decimal | int | str, *, note: str | None, key: str | None
) -> Credits:
    """Call `grant_credits` or `note_credit_adjustment`; return the user's credits after it."""
    check_is_operator(caller, "change credits")
    arguments = {"p_user_id": _user_of(caller), "p_credits": str(_number(credits)), "p_note": note, "p_key": key}
    await caller.rpc(function, arguments, resends=key is not None)
    return await read_credits(caller)


def _user_of(caller: Caller) -> str | None:
    """The user that an operator acts for; None for a user, who is known by the token."""
    if not caller.is_operator:
        return None
    if caller.user_id is None:
        raise InvalidRequest(
            "Credits belong to a user, and none was named.",
            code="user_needed",
            field="user",
            remedy="Name the user: --user, or BatchgenClient.operator(…, user=…).",
        )
    return str(caller.user_id)


def _number(credits: Decimal | int | str) -> Decimal:
    try:
        number = Decimal(credits)
    except InvalidOperation:
        number = Decimal("nan")
    if not number.is_finite():
        raise InvalidRequest(
            "The number of credits is not a number.",
            code="wrong_type",
            field="credits",
            remedy="Give a number, such as 50 or 0.25.",
        )
    return number
