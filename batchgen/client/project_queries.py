"""Read models, facts of batches, costs and workers."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ConfigDict

from batchgen.client.caller import Caller
from batchgen.errors import InvalidRequest
from batchgen.models import BatchFacts

COSTS_BY = ("day", "batch", "user", "model")
FACTS_AT_ONCE = 1000


class Costs(BaseModel):
    """The costs of one batch, user, day or model."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    key: str | None
    """The id, or the day (UTC); None for items whose batch was deleted before they were ordered."""
    name: str | None = None
    attempts: int
    paid: int
    """Orders that were charged."""
    paid_usd: Decimal
    unknown: int
    """Orders that may or may not have been charged."""
    unknown_usd: Decimal
    """Cost of those orders if all were charged."""


class KnownWorker(BaseModel):
    """A worker that called the database within the last day."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    worker: str
    is_live: bool
    """Whether the worker still runs, judging by its last call."""
    running: int
    """Items that it runs."""
    first_seen: datetime
    last_seen: datetime
    seconds_ago: float
    version: str | None = None
    providers: tuple[str, ...] | None = None


class NumberRange(BaseModel):
    """A number that a request may name."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    min: float
    max: float
    default: float | None = None
    """The value if a request names none; None leaves it to the model."""


class Model(BaseModel):
    """A model that requests may name by `id`, `name` or `replicate_id`."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=())

    id: UUID
    name: str
    display_name: str
    replicate_id: str
    description: str | None = None
    is_active: bool = True
    is_default: bool = False
    provider: str | None = None
    """The provider that makes the pictures; None unless the caller is an operator."""
    price_usd: Decimal | None = None
    """Price of one picture; None if it is unknown."""
    estimated_seconds: float | None = None
    """Usual time of a picture, from the model's row."""
    least_seconds: float | None = None
    most_seconds: float | None = None
    """Time of a picture: mean to 75th percentile of the last 20 if `is_measured`, otherwise the estimate."""
    is_measured: bool = False
    default_width: int | None = None
    default_height: int | None = None
    min_width: int | None = None
    max_width: int | None = None
    min_height: int | None = None
    max_height: int | None = None
    max_steps: int | None = None
    width: NumberRange | None = None
    height: NumberRange | None = None
    aspect_ratios: tuple[Any, ...] | None = None
    """The only ratios that the model makes, such as `16:9`; None if it makes any. Other sizes get the nearest."""
    sizes: tuple[Any, ...] | None = None
    """The only sizes that the model makes, such as `1024x1024`; None if it makes any."""
    steps: NumberRange | None = None
    """None if the model takes no number of steps."""
    guidance_scale: NumberRange | None = None
    supports_seed: bool = True
    supports_negative_prompt: bool = True


async def read_facts(caller: Caller, batch_ids: Sequence[UUID]) -> Mapping[UUID, BatchFacts]:
    facts: dict[UUID, BatchFacts] = {}
    for start in range(0, len(batch_ids), FACTS_AT_ONCE):
        some = [str(one) for one in batch_ids[start : start + FACTS_AT_ONCE]]
        rows = await _call(caller, "batch_facts", {"p_batch_ids": some})
        facts |= {UUID(row["id"]): BatchFacts.model_validate(row) for row in rows}
    return facts


async def read_models(caller: Caller, *, inactive: bool) -> tuple[Model, ...]:
    """The active models; for operators with their providers, and with `inactive` all models."""
    if inactive and not caller.is_operator:
        raise _operators_only("see inactive models")
    models = [Model.model_validate(row) for row in await _call(caller, "get_models", {})]
    return tuple(model for model in models if model.is_active or inactive)


async def read_costs(
    caller: Caller, by: str, *, since: datetime | None, limit: int, batch_id: UUID | None = None
) -> tuple[Costs, ...]:
    if not caller.is_operator:
        raise _operators_only("see costs")
    if by not in COSTS_BY:
        raise InvalidRequest(
            f"Costs can be grouped by {', '.join(COSTS_BY)}, not by {by}.",
            code="wrong_type",
            field="by",
            limit=list(COSTS_BY),
            remedy="Give one of them.",
        )
    arguments = {"p_by": by, "p_since": since.isoformat() if since else None, "p_limit": limit}
    if batch_id:
        arguments["p_batch_id"] = str(batch_id)
    return tuple(Costs.model_validate(row) for row in await _call(caller, "get_costs", arguments))


async def read_workers(caller: Caller) -> tuple[KnownWorker, ...]:
    if not caller.is_operator:
        raise _operators_only("see the workers")
    return tuple(KnownWorker.model_validate(row) for row in await _call(caller, "get_workers", {}))


def check_is_operator(caller: Caller, purpose: str) -> None:
    if not caller.is_operator:
        raise _operators_only(purpose)


async def _call(caller: Caller, function: str, arguments: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    return await caller.rpc(function, arguments) or ()


def _operators_only(purpose: str) -> InvalidRequest:
    return InvalidRequest(
        f"Only an operator may {purpose}.",
        code="operator_needed",
        remedy="Use the project's secret key: --operator, or BatchgenClient.operator.",
    )
