"""New batches from the items of an earlier one: similar pictures, or the same ones again."""

from typing import Any
from uuid import UUID, uuid4

from batchgen.client.actions import Items
from batchgen.client.batch_queries import check_batch
from batchgen.client.caller import Caller
from batchgen.client.submit import model_id_by_name
from batchgen.errors import InvalidRequest
from batchgen.models import RepeatedBatch, SharedSettings


async def generate_similar(
    caller: Caller, batch_id: UUID, items: Items, count: int | None, client_key: str | None
) -> RepeatedBatch:
    more = {"p_count": count, "p_client_key": client_key or str(uuid4())}
    return await _submit(caller, "generate_similar", batch_id, items, more)


async def run_again(
    caller: Caller, batch_id: UUID, items: Items, changes: SharedSettings | None, client_key: str | None
) -> RepeatedBatch:
    """Submit items again. A model that the database does not know by id is looked up by name."""
    changes = changes or SharedSettings()
    client_key = client_key or str(uuid4())

    async def submit(changes: SharedSettings) -> RepeatedBatch:
        settings = changes.model_dump(mode="json", exclude_none=True)
        more = {"p_shared_settings": settings, "p_client_key": client_key}
        return await _submit(caller, "run_again", batch_id, items, more)

    try:
        return await submit(changes)
    except InvalidRequest as error:
        if error.code != "unknown_model" or not changes.model_id:
            raise
        model_id = await model_id_by_name(caller, changes.model_id, error)
    return await submit(changes.model_copy(update={"model_id": model_id}))


async def _submit(caller: Caller, function: str, batch_id: UUID, items: Items, more: dict[str, Any]) -> RepeatedBatch:
    """Call the function, and once more if no response came: the client key keeps it from submitting twice."""
    if caller.user_id:
        await check_batch(caller, batch_id)
    arguments = {"p_batch_id": str(batch_id), **more}
    if items is not None:
        arguments["p_generation_ids"] = [str(item) for item in items]
    return RepeatedBatch.model_validate(await caller.rpc(function, arguments, resends=True))
