"""Read batches: the list, and one with its items and pictures."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from batchgen.access import Access
from batchgen.errors import NotFound
from batchgen.models import Batch, BatchSnapshot, Generation, Image, Wait
from batchgen.postgrest import rpc, translated

BATCH = "id,user_id,name,status,total_count,completed_count,failed_count,created_at,completed_at"
GENERATION = (
    "id,batch_id,batch_index,prompt,status,seed,error_message,error_code,retry_count,"
    "width,height,generation_time_seconds,started_at,completed_at"
)
IMAGE = "id,generation_id,filename,storage_path,prompt,public_url,width,height,format,file_size"
SNAPSHOT = f"{BATCH},generations:image_generations({GENERATION},images({IMAGE}))"


async def read_batches(access: Access, limit: int) -> tuple[Batch, ...]:
    """The newest batches that the caller may see, newest first."""
    rows = await access.call(lambda: _select(access, BATCH, limit))
    return tuple(Batch.model_validate(row) for row in rows)


async def read_snapshot(access: Access, batch_id: UUID) -> BatchSnapshot:
    """A batch with its items and pictures, in one request, so that all of it is of one moment.

    Raises `NotFound` where there is none, or none that the caller may see.
    """
    return _snapshot(await _read_one(access, SNAPSHOT, batch_id))


async def check_batch(access: Access, batch_id: UUID) -> None:
    """Raises `NotFound` where there is no batch, or none that the caller may see."""
    await _read_one(access, "id", batch_id)


async def read_waits(access: Access, batch_id: UUID) -> tuple[Wait, ...]:
    """What each pending item of a batch waits for, in the batch's order.

    Raises `NotFound` where there is no batch, or none that the caller may see.
    """
    rows = await access.call(lambda: rpc(access.supabase, "batch_waits", {"p_batch_id": str(batch_id)}))
    return tuple(Wait.model_validate(row) for row in rows or ())


async def _read_one(access: Access, columns: str, batch_id: UUID) -> Mapping[str, Any]:
    rows = await access.call(lambda: _select(access, columns, 1, batch_id))
    if not rows:
        raise NotFound(
            f"There is no batch {batch_id}, or it is somebody else's.",
            code="batch_not_found",
            field="id",
            remedy="Look up the ids with batchgen list.",
        )
    return rows[0]


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


def _snapshot(row: Mapping[str, Any]) -> BatchSnapshot:
    items = sorted(row["generations"], key=lambda item: (item["batch_index"], item["id"]))
    return BatchSnapshot(
        batch=Batch.model_validate(row),
        generations=tuple(Generation.model_validate(item) for item in items),
        images=tuple(Image.model_validate(image) for item in items for image in item["images"]),
    )
