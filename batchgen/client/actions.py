"""What a user does with a whole batch: cancel, retry, keep, tag, delete. The database decides item by item."""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from batchgen.backend.rpc import rpc
from batchgen.client.batch_queries import check_batch
from batchgen.client.caller import Access
from batchgen.errors import BackendUnavailable
from batchgen.models import ActionReport


async def cancel_batch(access: Access, batch_id: UUID) -> ActionReport:
    return await _act(access, "cancel_batch", batch_id)


async def retry_failed(access: Access, batch_id: UUID) -> ActionReport:
    return await _act(access, "retry_failed", batch_id)


async def keep_images(access: Access, batch_id: UUID) -> ActionReport:
    return await _act(access, "save_batch_images", batch_id)


async def tag_images(access: Access, batch_id: UUID, tags: Sequence[str]) -> ActionReport:
    return await _act(access, "tag_batch_images", batch_id, p_tags=list(tags))


async def delete_images(access: Access, batch_id: UUID) -> ActionReport:
    return await _act(access, "delete_batch_images", batch_id)


async def _act(access: Access, function: str, batch_id: UUID, **more: Any) -> ActionReport:
    """Call the function; where no answer came, once more: doing any of them twice changes nothing further."""
    if access.user_id:
        # The secret key opens every batch; an operator who acts for somebody means a batch of theirs.
        await check_batch(access, batch_id)
    arguments = {"p_batch_id": str(batch_id), **more}
    try:
        answer = await access.call(lambda: rpc(access.supabase, function, arguments))
    except BackendUnavailable:
        answer = await access.call(lambda: rpc(access.supabase, function, arguments))
    return ActionReport.model_validate(answer)
