"""Exports that a worker builds: ask for one, list them, wait for one and download its files."""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

from supabase import AsyncClient

from batchgen.backend.bucket import ImageStorage
from batchgen.client.caller import Caller
from batchgen.client.downloads import check_folder, write_errors
from batchgen.client.exports import new_file
from batchgen.errors import InvalidRequest, NotFound
from batchgen.models import Frozen

BUCKET = "batchgen-exports"
POLL_SECONDS = 2.0
MOST_EXPORTS = 100


class ExportFault(Frozen):
    """Why the last attempt to build an export failed."""

    code: str
    message: str | None = None


class ExportFile(Frozen):
    """A file of an export that is ready."""

    name: str
    path: str
    """Its path in the bucket `batchgen-exports`."""
    bytes: int
    url: str | None = None
    """A link that works for anyone until the export expires."""


class RequestedExport(Frozen):
    """An export that a user asked for."""

    id: UUID
    status: Literal["pending", "processing", "ready", "failed", "expired"]
    user_id: UUID
    batch_ids: tuple[UUID, ...]
    pictures: int
    """Pictures expected, then those in the files."""
    done: int
    """Pictures that are written so far."""
    missing: int
    attempts: int = 0
    error: ExportFault | None = None
    parts: tuple[ExportFile, ...] = ()
    created_at: datetime
    ended_at: datetime | None = None
    expires_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        return self.status in ("pending", "processing")


async def request_export(caller: Caller, batch_ids: Sequence[UUID]) -> RequestedExport:
    """Ask for an export. While one of the same batches is open, returns that one."""
    if caller.is_operator:
        raise InvalidRequest(
            "Only the owner of batches asks for an export.",
            code="wrong_usage",
            field="user",
            remedy="As operator, write the export to a file: batchgen export ID --to FILE.zip.",
        )
    answer = await caller.rpc("request_export", {"p_batch_ids": [str(one) for one in batch_ids]}, resends=True)
    return RequestedExport.model_validate(answer)


async def read_exports(caller: Caller, limit: int) -> tuple[RequestedExport, ...]:
    """The newest exports of the caller, for operators of all users."""
    answer: Any = await caller.rpc("get_exports", {"p_limit": limit})
    found = (RequestedExport.model_validate(row) for row in answer or ())
    return tuple(one for one in found if caller.user_id in (None, one.user_id))


async def wait_for_export(
    caller: Caller, export_id: UUID, on_change: Callable[[RequestedExport], None] | None = None
) -> RequestedExport:
    """Poll until the export is ready, failed or expired, and return it. Raises `NotFound`."""
    last: RequestedExport | None = None
    while True:
        found = next((one for one in await read_exports(caller, MOST_EXPORTS) if one.id == export_id), None)
        if found is None:
            raise NotFound(
                f"There is no export {export_id}.", code="export_not_found", field="id", remedy="batchgen exports"
            )
        if on_change and found != last:
            on_change(found)
        if not found.is_open:
            return found
        last = found
        await asyncio.sleep(POLL_SECONDS)


async def save_export(
    caller: Caller, client: AsyncClient, export: RequestedExport, directory: Path
) -> tuple[Path, ...]:
    """Download the files of an export that is ready into a folder, which is created if missing."""
    check_folder(directory)
    if export.status != "ready":
        raise InvalidRequest(
            f"The export is {export.status}, so it has no files.",
            code="export_not_ready",
            field="id",
            remedy="Wait until it is ready, or ask for a new one.",
        )
    storage = ImageStorage(client, bucket=BUCKET)
    saved: list[Path] = []
    with write_errors(directory):
        await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
    for part in export.parts:
        await caller.renew_if_needed()
        path = directory / Path(part.name).name
        with new_file(path) as file:
            await storage.get_pieces(part.path, file.write)
        saved.append(path)
    return tuple(saved)
