"""Create a batch."""

from typing import Any
from uuid import uuid4

from batchgen.client.caller import Caller
from batchgen.client.project_queries import read_models
from batchgen.errors import InvalidRequest
from batchgen.models import BatchRequest, CreatedBatch
from batchgen.text import printable
from batchgen.validation import nearest


async def create_batch(caller: Caller, request: BatchRequest) -> CreatedBatch:
    """Submit a batch and return it with its items.

    Where no answer came, it is sent once more: with the same `client_key` the database makes no second batch. A model
    that the database does not know by id or `replicate_id` is looked for by name.
    """
    if request.client_key is None:
        request = request.model_copy(update={"client_key": str(uuid4())})
    try:
        return await _create(caller, request)
    except InvalidRequest as error:
        if error.code != "unknown_model" or not request.shared_settings.model_id:
            raise
        model_id = await _named(caller, request.shared_settings.model_id, error)
    settings = request.shared_settings.model_copy(update={"model_id": model_id})
    return await _create(caller, request.model_copy(update={"shared_settings": settings}))


async def _create(caller: Caller, request: BatchRequest) -> CreatedBatch:
    name, arguments = _call(caller, request)
    answer = await caller.rpc(name, arguments, resends=True)
    return CreatedBatch.model_validate(answer["batch"])


async def _named(caller: Caller, wanted: str, refusal: InvalidRequest) -> str:
    """The id of the one model that has this name. Raises the refusal, with the names that are like it."""
    models = await read_models(caller, inactive=False)
    called = [model for model in models if wanted.casefold() in (model.name.casefold(), model.display_name.casefold())]
    if len(called) == 1:
        return str(called[0].id)
    names = {name: model.name for model in models for name in (model.name, model.display_name, model.replicate_id)}
    near = list(dict.fromkeys(names[name] for name in nearest(wanted, names, 6)))[:3]
    offered = ", ".join(printable(name, 60) for name in near or [model.name for model in models[:5]])
    told = f"Did you mean {offered}?" if near else f"Offered are {offered}." if offered else "No model is offered."
    refusal.remedy = f"{told} batchgen models lists them."
    raise refusal


def _call(caller: Caller, request: BatchRequest) -> tuple[str, dict[str, Any]]:
    body = request.model_dump(mode="json", exclude_none=True)
    if not caller.is_operator:
        return "create_batch", {"p_request": body}
    if caller.user_id is None:
        raise InvalidRequest(
            "An operator submits in the name of a user, and none was named.",
            code="user_missing",
            field="user",
            remedy="Give --user with the user's id or e-mail address, or sign in with batchgen login.",
        )
    return "create_batch_as", {"p_user_id": str(caller.user_id), "p_request": body}
