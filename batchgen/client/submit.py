"""Create a batch."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar
from uuid import uuid4

from batchgen.client.caller import Caller
from batchgen.client.project_queries import read_models
from batchgen.errors import InvalidRequest
from batchgen.models import BatchRequest, CreatedBatch
from batchgen.text import printable
from batchgen.validation import closest_matches

SentT = TypeVar("SentT")


async def create_batch(caller: Caller, request: BatchRequest) -> CreatedBatch:
    """Submit a batch and return it with its items.

    If no response comes, the request is sent once more: with the same `client_key` the database creates no second
    batch. A model that the database does not know by id or `replicate_id` is looked up by name.
    """
    if request.client_key is None:
        request = request.model_copy(update={"client_key": str(uuid4())})

    async def create(request: BatchRequest) -> CreatedBatch:
        answer = await caller.rpc(*for_user(caller, "create_batch", request), resends=True)
        return CreatedBatch.model_validate(answer["batch"])

    return await by_model_name(caller, request, create)


async def by_model_name(
    caller: Caller, request: BatchRequest, send: Callable[[BatchRequest], Awaitable[SentT]]
) -> SentT:
    """Send a request; if the database does not know its model, look it up by name and send the request with its id."""
    try:
        return await send(request)
    except InvalidRequest as error:
        if error.code != "unknown_model" or not request.shared_settings.model_id:
            raise
        model_id = await model_id_by_name(caller, request.shared_settings.model_id, error)
    settings = request.shared_settings.model_copy(update={"model_id": model_id})
    return await send(request.model_copy(update={"shared_settings": settings}))


async def model_id_by_name(caller: Caller, wanted: str, refusal: InvalidRequest) -> str:
    """The id of the only model with this name. Raises the refusal with similar names."""
    models = await read_models(caller, inactive=False)
    called = [model for model in models if wanted.casefold() in (model.name.casefold(), model.display_name.casefold())]
    if len(called) == 1:
        return str(called[0].id)
    names = {name: model.name for model in models for name in (model.name, model.display_name, model.replicate_id)}
    near = list(dict.fromkeys(names[name] for name in closest_matches(wanted, names, 6)))[:3]
    offered = ", ".join(printable(name, 60) for name in near or [model.name for model in models[:5]])
    hint = f"Did you mean {offered}?" if near else f"There are {offered}." if offered else "No model is active."
    refusal.remedy = f"{hint} batchgen models lists all models."
    raise refusal


def for_user(caller: Caller, function: str, request: BatchRequest) -> tuple[str, dict[str, Any]]:
    """The SQL function that takes the request, and its arguments. An operator's acts for a user."""
    body = request.body()
    if not caller.is_operator:
        return function, {"p_request": body}
    check_acts_for_user(caller)
    return f"{function}_as", {"p_user_id": str(caller.user_id), "p_request": body}


def check_acts_for_user(caller: Caller) -> None:
    """Raise `InvalidRequest` for an operator who acts for nobody."""
    if caller.user_id is None:
        raise InvalidRequest(
            "An operator submits for a user, and no user was given.",
            code="user_missing",
            field="user",
            remedy="Give --user with the user's id or e-mail address, or sign in with batchgen login.",
        )
