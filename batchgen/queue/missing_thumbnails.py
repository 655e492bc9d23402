"""Pictures that have no thumbnail, for `batchgen storage thumbnails`."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from supabase import AsyncClient

from batchgen.backend.bucket import CONTENT_TYPES, storage_errors, upload_options
from batchgen.backend.connection import response_timeout
from batchgen.backend.rpc import rpc, translated
from batchgen.errors import BackendUnavailable
from batchgen.queue.picture_store import name_by_content

PAGE = 500
ANNOUNCED_SECONDS = 3600
"""An announced file that no row lists by then is deleted."""
SVG = ".svg"


@dataclass(frozen=True, slots=True)
class PictureRow:
    """A row of `images` without a thumbnail."""

    id: UUID
    user_id: UUID | None
    generation_id: UUID | None
    storage_path: str

    @property
    def is_in_its_folder(self) -> bool:
        return self.user_id is not None and self.storage_path.startswith(f"{self.user_id}/")


class MissingThumbnails:
    """Reads such rows, and stores and lists their thumbnails. Needs the project's secret key; retries nothing.

    Raises `BackendUnavailable`, `StorageError` or `InvalidRequest`.
    """

    def __init__(self, client: AsyncClient, *, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    async def count(self) -> int:
        """The number of pictures without a thumbnail, as the database estimates or counts it."""
        with translated("Reading images"):
            query = self._client.table("images").select("id", count="exact", head=True)  # pyright: ignore[reportArgumentType]
            answer = await query.is_("thumbnail_path", "null").not_.ilike("storage_path", f"%{SVG}").execute()
        return answer.count or 0

    async def rows(self) -> AsyncGenerator[PictureRow]:
        """All pictures without a thumbnail but SVG files, in the order of their ids, a page in memory at a time."""
        last = str(UUID(int=0))
        while True:
            with translated("Reading images"):
                query = self._client.table("images").select("id,user_id,generation_id,storage_path")
                query = query.is_("thumbnail_path", "null").not_.ilike("storage_path", f"%{SVG}")
                found: Any = (await query.gt("id", last).order("id").limit(PAGE).execute()).data
            for row in found:
                yield PictureRow(
                    UUID(row["id"]), _uuid(row["user_id"]), _uuid(row["generation_id"]), row["storage_path"]
                )
            if not found:
                return
            last = found[-1]["id"]

    async def store(self, row: PictureRow, content: bytes) -> bool:
        """Store the thumbnail beside its picture and list it; False if the picture no longer needs it.

        Its name is made from the content, and announced first: if this is cut off, the file does not stay without a
        row.
        """
        folder, _, name = row.storage_path.rpartition("/")
        path = f"{folder}/{name_by_content(name.rpartition('.')[0] or name, content, 'thumb.webp')}"
        announced = {"p_user_id": str(row.user_id), "p_generation_id": str(row.generation_id or row.id)}
        await self._rpc("discard_files", **announced, p_seconds=ANNOUNCED_SECONDS, p_paths=[path])
        bucket = self._client.storage.from_(self._bucket)
        with storage_errors(path):
            async with response_timeout(self._client, sent_bytes=len(content)):
                await bucket.upload(path, content, {**upload_options(CONTENT_TYPES["webp"]), "upsert": "true"})
        listed = {"p_image_id": str(row.id), "p_storage_path": row.storage_path, "p_thumbnail_path": path}
        return bool(await self._rpc("list_thumbnail", **listed))

    async def _rpc(self, name: str, **arguments: Any) -> Any:
        try:
            async with response_timeout(self._client):
                return await rpc(self._client, name, arguments)
        except TimeoutError as error:
            raise BackendUnavailable(f"{name}: the whole answer did not come in time.") from error


def _uuid(text: str | None) -> UUID | None:
    return UUID(text) if text else None
