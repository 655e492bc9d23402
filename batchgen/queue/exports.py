"""Exports that users asked for: their leases in the database, their files in Storage."""

import io
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from uuid import UUID

from storage3.exceptions import StorageApiError
from supabase import AsyncClient

from batchgen.backend.bucket import NOT_FROM_STORAGE, storage_errors
from batchgen.backend.connection import response_timeout
from batchgen.errors import BucketMissing, StorageError
from batchgen.exports.types import ExportBatch
from batchgen.models import Frozen
from batchgen.queue.postgrest import listed, models, worker_rpc

BUCKET = "batchgen-exports"


class ExportJob(Frozen):
    """An export that is leased to a worker."""

    export_id: UUID
    lease_id: UUID
    user_id: UUID
    batch_ids: tuple[UUID, ...]
    attempt: int
    part_bytes: int
    """Most bytes of one file."""
    link_seconds: int
    """How long its links hold."""


class ExportPart(Frozen):
    """A stored file of an export."""

    name: str
    path: str
    bytes: int
    url: str | None = None


class Exports(Protocol):
    """Gives out exports and takes their results.

    Every method raises `QueueUnavailable` if the database cannot be reached. Writes raise `LeaseLost` if the lease is
    no longer held.
    """

    async def take(self) -> ExportJob | None:
        """Lease the export that is due; None if there is none."""
        ...

    async def batch(self, job: ExportJob, batch_id: UUID) -> ExportBatch | None:
        """Read a batch of the export; None if it is gone or has another owner by now."""
        ...

    async def renew(self, job: ExportJob, done: int) -> None:
        """Renew the lease and record how many pictures are written."""
        ...

    async def note_file(self, job: ExportJob, path: str) -> None:
        """Record a file before it is stored, so that it is deleted whatever happens."""
        ...

    async def complete(self, job: ExportJob, parts: Sequence[ExportPart], *, pictures: int, missing: int) -> None: ...

    async def fail(self, job: ExportJob, *, code: str, message: str, retryable: bool) -> None: ...


class ExportFiles(Protocol):
    """Stores the files of exports. Raises `StorageError`, or `InvalidRequest` if Storage refuses a file for good."""

    async def put(self, path: str, file: io.FileIO, size: int) -> None: ...

    async def sign(self, part: ExportPart, seconds: int) -> str:
        """A link to a file that holds for so long, for anyone who has it."""
        ...


class PostgrestExports:
    """Implements `Exports`; calls and raises as `PostgrestQueue`."""

    def __init__(self, client: AsyncClient, *, worker: str, lease_seconds: int) -> None:
        self._client = client
        self._worker = worker
        self._lease_seconds = lease_seconds

    async def take(self) -> ExportJob | None:
        answer = await self._call("take_export", {"p_worker": self._worker, "p_lease_seconds": self._lease_seconds})
        return next(iter(models(ExportJob, listed(answer, "exports"))), None)

    async def batch(self, job: ExportJob, batch_id: UUID) -> ExportBatch | None:
        answer: Any = await self._call("batch_manifest", {"p_batch_id": str(batch_id)})
        found = next(iter(models(ExportBatch, [answer] if answer else [])), None)
        return found if found and found.user_id == job.user_id else None

    async def renew(self, job: ExportJob, done: int) -> None:
        await self._call("renew_export", {**_fence(job), "p_lease_seconds": self._lease_seconds, "p_done": done})

    async def note_file(self, job: ExportJob, path: str) -> None:
        await self._call("note_export_file", {**_fence(job), "p_path": path})

    async def complete(self, job: ExportJob, parts: Sequence[ExportPart], *, pictures: int, missing: int) -> None:
        result = {"parts": [part.model_dump() for part in parts], "pictures": pictures, "missing": missing}
        await self._call("complete_export", {**_fence(job), "p_result": result})

    async def fail(self, job: ExportJob, *, code: str, message: str, retryable: bool) -> None:
        error = {"code": code, "message": message, "retryable": retryable}
        await self._call("fail_export", {**_fence(job), "p_error": error})

    async def _call(self, name: str, arguments: Mapping[str, Any]) -> Any:
        return await worker_rpc(self._client, name, arguments)


class ExportStore:
    """Implements `ExportFiles` with Supabase Storage."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def put(self, path: str, file: io.FileIO, size: int) -> None:
        """Store a file, sent piece by piece; storing it again replaces it."""
        file.seek(0)
        with storage_errors(path):
            try:
                async with response_timeout(self._client, sent_bytes=size):
                    bucket = self._client.storage.from_(BUCKET)
                    await bucket.upload(path, file, {"content-type": "application/zip", "upsert": "true"})
            except StorageApiError as error:
                if str(error.status) == "404" and error.code != NOT_FROM_STORAGE:
                    raise BucketMissing(f"The bucket {BUCKET} is not there.") from error
                raise

    async def sign(self, part: ExportPart, seconds: int) -> str:
        with storage_errors(part.path):
            async with response_timeout(self._client):
                bucket = self._client.storage.from_(BUCKET)
                link = await bucket.create_signed_url(part.path, seconds, {"download": part.name})
        if not link["signedUrl"]:
            raise StorageError(f"{part.path}: Storage returned no link.")
        return link["signedUrl"]


def _fence(job: ExportJob) -> dict[str, str]:
    return {"p_export_id": str(job.export_id), "p_lease_id": str(job.lease_id)}
