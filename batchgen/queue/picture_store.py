"""Store finished pictures and their thumbnails in Supabase Storage."""

import asyncio
import hashlib
import io
from collections.abc import Generator
from contextlib import contextmanager
from uuid import UUID

from storage3.exceptions import StorageApiError
from supabase import AsyncClient

from batchgen.backend.bucket import CONTENT_TYPES, NOT_FROM_STORAGE, NameTaken, storage_errors, upload_options
from batchgen.backend.connection import response_timeout
from batchgen.errors import BucketMissing
from batchgen.pictures.check import CheckedImage
from batchgen.queue.types import StoredImage


class PictureStore:
    """Stores the worker's finished pictures. It retries nothing itself.

    A file is never replaced by another one: caches keep it for a year. An item's picture and thumbnail have plain
    names, `{generation_id}.{format}` and `{generation_id}.thumb.webp`. If a plain name has other content already, use a
    name made from the content.

    Raises `StorageError` where a retry may help, `NameTaken` if the name has other content, `InvalidRequest` where the
    file itself is refused.
    """

    def __init__(self, client: AsyncClient, *, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    async def put(
        self, image: CheckedImage, *, user_id: UUID, generation_id: UUID, name: str | None = None
    ) -> StoredImage:
        """Store a picture under its item's plain name, or under `name`; storing it again changes nothing.

        The picture is sent from its file, piece by piece. The file stays open, so that it can be sent again.
        """
        filename = name or f"{generation_id}.{image.format}"
        path = f"{user_id}/{filename}"
        await self._upload(path, image.file, CONTENT_TYPES[image.format], image.file_size)
        return StoredImage(
            storage_path=path,
            filename=f"{generation_id}.{image.format}",
            format=image.format,
            width=image.width,
            height=image.height,
            file_size=image.file_size,
            public_url=await self._client.storage.from_(self._bucket).get_public_url(path),
            blurhash=image.blurhash,
        )

    async def put_thumbnail(
        self, content: bytes, *, user_id: UUID, generation_id: UUID, name: str | None = None
    ) -> str:
        """Store a thumbnail in the same way, and return its path."""
        path = f"{user_id}/{name or f'{generation_id}.thumb.webp'}"
        await self._upload(path, content, CONTENT_TYPES["webp"], len(content))
        return path

    async def _upload(self, path: str, file: io.FileIO | bytes, content_type: str, size: int) -> None:
        bucket = self._client.storage.from_(self._bucket)
        try:
            with storage_errors(path), _missing_bucket(self._bucket):
                async with response_timeout(self._client, sent_bytes=size):
                    await bucket.upload(path, file, upload_options(content_type))
        except NameTaken:
            # Most often an earlier try whose answer was lost.
            if await self._stored_digest(path) != await asyncio.to_thread(digest_of, file):
                raise

    async def _stored_digest(self, path: str) -> bytes:
        with storage_errors(path):
            async with response_timeout(self._client):
                content = await self._client.storage.from_(self._bucket).download(path)
        return hashlib.sha256(content).digest()


def name_by_content(stem: object, file: io.FileIO | bytes, extension: str) -> str:
    """A file name that no other content has: `{stem}.{16 hex digits}.{extension}`."""
    return f"{stem}.{digest_of(file).hex()[:16]}.{extension}"


def digest_of(file: io.FileIO | bytes) -> bytes:
    """The SHA-256 of the content; an open file is left at its start."""
    if isinstance(file, bytes):
        return hashlib.sha256(file).digest()
    file.seek(0)
    digest = hashlib.file_digest(file, "sha256").digest()
    file.seek(0)
    return digest


@contextmanager
def _missing_bucket(bucket: str) -> Generator[None]:
    """Raise `BucketMissing` for a 404: an upload creates its file, so only the bucket can be missing."""
    try:
        yield
    except StorageApiError as error:
        if str(error.status) == "404" and error.code != NOT_FROM_STORAGE:
            raise BucketMissing(f"The bucket {bucket} is not there.") from error
        raise
