"""The trash: throw pictures and batches away, take them back, list them, delete them for good."""

from typing import Any
from uuid import UUID

from batchgen.client.actions import Items, act
from batchgen.client.caller import Caller
from batchgen.errors import InvalidRequest
from batchgen.models import ActionReport, EmptiedTrash, TrashEntry, TrashPage


async def trash_images(caller: Caller, batch_id: UUID, items: Items) -> ActionReport:
    return await act(caller, "trash_batch_images", batch_id, items)


async def restore_images(caller: Caller, batch_id: UUID, items: Items) -> ActionReport:
    return await act(caller, "restore_batch_images", batch_id, items)


async def read_trash(caller: Caller, before: str | None, limit: int) -> TrashPage:
    arguments = {"p_before": before, "p_limit": limit, "p_user_id": _owner(caller)}
    page = await caller.rpc("get_trash", arguments)
    return TrashPage(entries=tuple(_entry(entry) for entry in page["entries"]), next=page["next"])


async def empty_trash(caller: Caller) -> EmptiedTrash:
    """Delete all that is in the trash, some of it per call."""
    images = batches = 0
    while True:
        answer = await caller.rpc("empty_trash", {"p_user_id": _owner(caller)}, resends=True)
        images, batches = images + answer["images"], batches + answer["batches"]
        if not answer["left"] or not answer["images"] + answer["batches"]:
            return EmptiedTrash(images=images, batches=batches)


def _entry(entry: dict[str, Any]) -> TrashEntry:
    return TrashEntry.model_validate(entry if entry["kind"] == "batch" else {**entry, "images": [entry]})


def _owner(caller: Caller) -> str | None:
    if not caller.is_operator:
        return None
    if caller.user_id is None:
        raise InvalidRequest(
            "An operator has no trash, and no user was given.",
            code="user_missing",
            field="user",
            remedy="Give --user with the user's id or e-mail address, or sign in with batchgen login.",
        )
    return str(caller.user_id)
