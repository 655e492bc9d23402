"""Actions on the items of a batch: cancel, retry, keep, tag, untag, delete. The database decides for each item."""

import re
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from batchgen.client.batch_queries import check_batch
from batchgen.client.caller import Caller
from batchgen.client.submit import model_id_by_name
from batchgen.errors import InvalidRequest
from batchgen.models import ActionReport, ItemEdit

Items = Iterable[UUID] | None
"""Ids of the items that an action is for; None means all items of the batch."""


async def cancel_batch(caller: Caller, batch_id: UUID, items: Items, *, waiting_only: bool) -> ActionReport:
    more = {"p_waiting_only": True} if waiting_only else {}
    return await act(caller, "cancel_batch", batch_id, items, **more)


async def retry_failed(caller: Caller, batch_id: UUID, items: Items, edits: Iterable[ItemEdit] | None) -> ActionReport:
    """Queue failed items again. A model that the database does not know by id is looked up by name."""
    if edits is None:
        return await act(caller, "retry_failed", batch_id, items)
    edits = tuple(edits)
    for _ in edits:
        try:
            return await _retry_edited(caller, batch_id, items, edits)
        except InvalidRequest as error:
            wanted = _unknown_model(edits, error)
            if not wanted:
                raise
            known = await model_id_by_name(caller, wanted, error)
        edits = tuple(
            edit.model_copy(update={"model_id": known}) if edit.model_id == wanted else edit for edit in edits
        )
    return await _retry_edited(caller, batch_id, items, edits)


async def _retry_edited(caller: Caller, batch_id: UUID, items: Items, edits: Sequence[ItemEdit]) -> ActionReport:
    p_edits = [edit.model_dump(mode="json", exclude_none=True) for edit in edits]
    return await act(caller, "retry_failed", batch_id, items, p_edits=p_edits)


def _unknown_model(edits: Sequence[ItemEdit], error: InvalidRequest) -> str | None:
    """The model that the database did not find; None if it refused something else."""
    match = re.fullmatch(r"p_edits\[(\d+)\]\.model_id", error.field or "")
    return edits[int(match[1])].model_id if match and error.code == "unknown_model" else None


async def keep_images(caller: Caller, batch_id: UUID, items: Items) -> ActionReport:
    return await act(caller, "save_batch_images", batch_id, items)


async def tag_images(caller: Caller, batch_id: UUID, tags: Sequence[str], items: Items) -> ActionReport:
    return await act(caller, "tag_batch_images", batch_id, items, p_tags=list(tags))


async def untag_images(caller: Caller, batch_id: UUID, tags: Sequence[str], items: Items) -> ActionReport:
    return await act(caller, "untag_batch_images", batch_id, items, p_tags=list(tags))


async def delete_images(caller: Caller, batch_id: UUID, items: Items) -> ActionReport:
    return await act(caller, "delete_batch_images", batch_id, items)


async def act(caller: Caller, function: str, batch_id: UUID, items: Items, **more: Any) -> ActionReport:
    """Call the function, and once more if no response came: all of them are idempotent."""
    if caller.user_id:
        # The secret key gives access to every batch, but an operator who acts for a user may only mean that user's.
        await check_batch(caller, batch_id)
    arguments = {"p_batch_id": str(batch_id), **more}
    if items is not None:
        arguments["p_generation_ids"] = [str(item) for item in items]
    return ActionReport.model_validate(await caller.rpc(function, arguments, resends=True))
