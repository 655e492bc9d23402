"""Read batches: the list, and one with its items and pictures."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from batchgen.access import Access
from batchgen.errors import NotFound
from batchgen.models import Batch, BatchSnapshot, Generation, Image, Wait
from batchgen.postgrest import rpc, translated

BATCH = "id,user_id,name,status,total_count,completed_count,failed_count,created_at,completed_at"


async def read_batches(access: Access, limit: int) -> tuple[Batch, ...]:
    """The newest batches that the caller may see, newest first."""
    rows = await access.call(lambda: _select(access, BATCH, limit))
    return tuple(Batch.model_validate(row) for row in rows)


async def read_snapshot(access: Access, batch_id: UUID) -> BatchSnapshot:
    """A batch with its items and pictures, in one request, so that all of it is of one moment.

    Raises `NotFound` where there is none, or none that the caller may see.
    """
    found: Any = await access.call(lambda: rpc(access.supabase, "batch_snapshot", {"p_batch_id": str(batch_id)}))
    if not found or (access.user_id and found["batch"]["user_id"] != str(access.user_id)):
        raise _no_batch(batch_id)
    return BatchSnapshot(
        batch=Batch.model_validate(found["batch"]),
        generations=tuple(Generation.model_validate(item) for item in found["generations"]),
        images=tuple(Image.model_validate(image) for item in found["generations"] for image in item["images"]),
    )


async def check_batch(access: Access, batch_id: UUID) -> None:
    """Raises `NotFound` where there is no batch, or none that the caller may see."""
    if not await access.call(lambda: _select(access, "id", 1, batch_id)):
        raise _no_batch(batch_id)


async def read_waits(access: Access, batch_id: UUID) -> tuple[Wait, ...]:
    """What each pending item of a batch waits for, in the batch's order.

    Raises `NotFound` where there is no batch, or none that the caller may see.
    """
    rows = await access.call(lambda: rpc(access.supabase, "batch_waits", {"p_batch_id": str(batch_id)}))
    return tuple(Wait.model_validate(row) for row in rows or ())


def _no_batch(batch_id: UUID) -> NotFound:
    return NotFound(
        f"There is no batch {batch_id}, or it is somebody else's.",
        code="batch_not_found",
        field="id",
        remedy="Look up the ids with batchgen list.",
    )


async def _select(
    access: Access, columns: str, limit: int, batch_id: UUID | None = None
) -> Sequence[Mapping[str, Any]]:
    query = access.supabase.table("batch_generations").select(columns).order("created_at", desc=True).limit(limit)
    if batch_id:
        query = query.eq("id", str(batch_id))
    if access.user_id:
        query = query.eq("user_id", str(access.user_id))
    with translated("Reading batches"):
        rows: Any = (await query.execute()).data
    return rows
