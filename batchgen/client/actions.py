"""Actions on whole batches: cancel, retry, keep, tag, delete. The database decides for each item."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from batchgen.client.batch_queries import check_batch
from batchgen.client.caller import Caller
from batchgen.models import ActionReport


async def cancel_batch(caller: Caller, batch_id: UUID) -> ActionReport:
    return await _act(caller, "cancel_batch", batch_id)


async def retry_failed(caller: Caller, batch_id: UUID) -> ActionReport:
    return await _act(caller, "retry_failed", batch_id)


async def keep_images(caller: Caller, batch_id: UUID) -> ActionReport:
    return await _act(caller, "save_batch_images", batch_id)


async def tag_images(caller: Caller, batch_id: UUID, tags: Sequence[str]) -> ActionReport:
    return await _act(caller, "tag_batch_images", batch_id, p_tags=list(tags))


async def delete_images(caller: Caller, batch_id: UUID) -> ActionReport:
    return await _act(caller, "delete_batch_images", batch_id)


async def _act(caller: Caller, function: str, batch_id: UUID, **more: Any) -> ActionReport:
    """Call the function, and once more if no response came: all of them are idempotent."""
    if caller.user_id:
        # The secret key gives access to every batch, but an operator who acts for a user may only mean that user's.
        await check_batch(caller, batch_id)
    arguments = {"p_batch_id": str(batch_id), **more}
    return ActionReport.model_validate(await caller.rpc(function, arguments, resends=True))
