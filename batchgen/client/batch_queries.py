"""Read batches: a list of them, or one with its items and pictures."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import ValidationError

from batchgen.backend.rpc import translated
from batchgen.client import ids
from batchgen.client.caller import Caller
from batchgen.errors import BackendUnavailable, InvalidRequest, NotFound
from batchgen.models import Batch, BatchSnapshot, Generation, Image, Wait
from batchgen.text import printable

BATCH = "id,user_id,name,status,total_count,completed_count,failed_count,created_at,completed_at"

MOST_NEIGHBOURS = 20
"""Limit of the query for ids that begin alike."""
IDS_PER_REQUEST = 40
"""Ranges of ids that fit into one URL."""
MOST_CANDIDATES = 5

BatchId = UUID | str
"""A batch's id. As text also its first digits (at least four), or `latest` or `-` for the newest batch."""


@dataclass(frozen=True)
class FoundBatch:
    """A batch that was found by its id or the first digits of it."""

    batch: Batch
    short_id: str
    """The id's first digits, at least eight, that are unique among the batches that the caller may see."""


async def find_batch(caller: Caller, which: BatchId) -> FoundBatch:
    """Find a batch. Raises `NotFound`, or `InvalidRequest` for an invalid id or digits that begin several ids."""
    if isinstance(which, str) and which.strip().lower() in ids.NEWEST:
        newest = await read_batches(caller, 1)
        if not newest:
            raise NotFound(
                "There are no batches yet.", code="batch_not_found", field="id", remedy="Submit one: batchgen submit."
            )
        return FoundBatch(newest[0], (await read_short_ids(caller, [newest[0].id]))[newest[0].id])
    digits = which.hex if isinstance(which, UUID) else ids.digits_of(which, remedy=ids.LOOK_UP)
    near = await _batches_beginning_with(caller, digits[: ids.MIN_SHOWN_DIGITS])
    if len(near) == MOST_NEIGHBOURS:  # the wanted batch may be among those beyond the limit
        near = await _batches_beginning_with(caller, digits)
    meant = [batch for batch in near if batch.id.hex.startswith(digits)]
    if not meant:
        raise no_batch(ids.with_hyphens(digits))
    if len(meant) > 1:
        raise _ambiguous(digits, meant, near)
    others = [batch.id for batch in near] if len(near) < MOST_NEIGHBOURS else None
    short = str(meant[0].id) if others is None else ids.short_id(meant[0].id, others)
    return FoundBatch(meant[0], short)


async def id_of(caller: Caller, which: BatchId) -> UUID:
    """The id of a batch. A whole id is not looked up."""
    if isinstance(which, UUID):
        return which
    if which.strip().lower() not in ids.NEWEST:
        digits = ids.digits_of(which, remedy=ids.LOOK_UP)
        if len(digits) == len(UUID(int=0).hex):
            return UUID(digits)
    return (await find_batch(caller, which)).batch.id


async def read_short_ids(caller: Caller, of: Iterable[UUID]) -> Mapping[UUID, str]:
    """The shortest unique beginning of each batch's id, among the batches that the caller may see."""
    wanted = list(of)
    chunks = [wanted[start : start + IDS_PER_REQUEST] for start in range(0, len(wanted), IDS_PER_REQUEST)]
    found = await asyncio.gather(*(_ids_near(caller, chunk) for chunk in chunks))
    return ids.short_ids(wanted, [one for some in found for one in some])


async def read_batches(caller: Caller, limit: int) -> tuple[Batch, ...]:
    """The newest batches that the caller may see and that are not in the trash, newest first."""
    arguments = {"p_limit": limit, "p_user_id": str(caller.user_id) if caller.user_id else None}
    rows = await caller.rpc("list_batches", arguments) or ()
    return tuple(Batch.model_validate(row) for row in rows)


async def read_snapshot(caller: Caller, batch_id: UUID) -> BatchSnapshot:
    """A batch with its items and pictures, read in one transaction.

    Raises `NotFound` if there is none that the caller may see.
    """
    found: Any = await caller.rpc("batch_snapshot", {"p_batch_id": str(batch_id)})
    if found is None:
        raise no_batch(batch_id)
    try:
        snapshot = BatchSnapshot(
            batch=Batch.model_validate(found["batch"]),
            generations=tuple(Generation.model_validate(item) for item in found["generations"]),
            images=tuple(Image.model_validate(image) for item in found["generations"] for image in item["images"]),
        )
    except (KeyError, TypeError, ValidationError):
        what = "batch_snapshot: the response is not a batch. Is SUPABASE_URL the project's address?"
        raise BackendUnavailable(what) from None
    if caller.user_id and snapshot.batch.user_id != caller.user_id:
        raise no_batch(batch_id)
    return snapshot


async def _batches_beginning_with(caller: Caller, digits: str) -> Sequence[Batch]:
    first, last = ids.range_of(digits)

    async def ask() -> Sequence[Mapping[str, Any]]:
        query = caller.supabase.table("batch_generations").select(BATCH).order("id").limit(MOST_NEIGHBOURS)
        query = query.gte("id", str(first)).lte("id", str(last))
        if caller.user_id:
            query = query.eq("user_id", str(caller.user_id))
        with translated("Looking up the batch"):
            rows: Any = (await query.execute()).data
        return rows

    return [Batch.model_validate(row) for row in await caller.call(ask)]


async def _ids_near(caller: Caller, some: Sequence[UUID]) -> Sequence[UUID]:
    """All ids that share their first eight digits with one of these."""
    ranges = [ids.range_of(one.hex[: ids.MIN_SHOWN_DIGITS]) for one in some]
    near = ",".join(f"and(id.gte.{first},id.lte.{last})" for first, last in ranges)

    async def ask() -> Sequence[Mapping[str, Any]]:
        query = caller.supabase.table("batch_generations").select("id").or_(near).limit(1000)
        if caller.user_id:
            query = query.eq("user_id", str(caller.user_id))
        with translated("Shortening ids"):
            rows: Any = (await query.execute()).data
        return rows

    return [UUID(row["id"]) for row in await caller.call(ask)]


def _ambiguous(digits: str, meant: Sequence[Batch], near: Sequence[Batch]) -> InvalidRequest:
    among = [batch.id for batch in near]
    shown = [
        f"{ids.short_id(batch.id, among)}" + (f" “{printable(batch.name, 30)}”" if batch.name else "")
        for batch in meant[:MOST_CANDIDATES]
    ]
    more = len(meant) - len(shown)
    count = f"{len(meant)} or more" if len(near) == MOST_NEIGHBOURS else str(len(meant))
    return InvalidRequest(
        f"{ids.with_hyphens(digits)} matches the ids of {count} batches.",
        code="ambiguous_id",
        field="id",
        limit=[str(batch.id) for batch in meant],
        remedy=f"Give more digits: {', '.join(shown)}" + (f" and {more} more." if more else "."),
    )


async def check_batch(caller: Caller, batch_id: UUID) -> None:
    """Raise `NotFound` if there is no such batch that the caller may see."""
    if not await caller.call(lambda: _select(caller, "id", 1, batch_id)):
        raise no_batch(batch_id)


async def read_waits(caller: Caller, batch_id: UUID) -> tuple[Wait, ...]:
    """Why each pending item of a batch does not run yet, in the batch's order.

    Raises `NotFound` if there is no such batch that the caller may see.
    """
    rows = await caller.rpc("batch_waits", {"p_batch_id": str(batch_id)})
    return tuple(Wait.model_validate(row) for row in rows or ())


def no_batch(batch_id: UUID | str) -> NotFound:
    return NotFound(
        f"There is no batch {batch_id}, or it belongs to another user.",
        code="batch_not_found",
        field="id",
        remedy=ids.LOOK_UP,
    )


async def _select(
    caller: Caller, columns: str, limit: int, batch_id: UUID | None = None
) -> Sequence[Mapping[str, Any]]:
    query = caller.supabase.table("batch_generations").select(columns).order("created_at", desc=True).limit(limit)
    if batch_id:
        query = query.eq("id", str(batch_id))
    if caller.user_id:
        query = query.eq("user_id", str(caller.user_id))
    with translated("Reading batches"):
        rows: Any = (await query.execute()).data
    return rows
