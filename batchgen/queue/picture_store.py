"""Store finished pictures in Supabase Storage."""

from collections.abc import Generator
from contextlib import contextmanager
from uuid import UUID

from storage3.exceptions import StorageApiError
from supabase import AsyncClient

from batchgen.backend.bucket import CONTENT_TYPES, NOT_FROM_STORAGE, storage_errors
from batchgen.backend.connection import response_timeout
from batchgen.errors import BucketMissing
from batchgen.pictures.check import CheckedImage
from batchgen.queue.types import StoredImage


class PictureStore:
    """Stores the worker's finished pictures. It retries nothing itself.

    Raises `StorageError` where a retry may help, `InvalidRequest` where the file itself is refused.
    """

    def __init__(self, client: AsyncClient, *, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    async def put(self, image: CheckedImage, *, user_id: UUID, generation_id: UUID) -> StoredImage:
        """Store a picture at its item's path; storing it again replaces it.

        The picture is sent from its file, piece by piece. The file stays open, so that it can be sent again.
        """
        filename = f"{generation_id}.{image.format}"
        path = f"{user_id}/{filename}"
        content_type = CONTENT_TYPES[image.format]
        bucket = self._client.storage.from_(self._bucket)
        in_time = response_timeout(self._client, sent_bytes=image.file_size)
        with storage_errors(path), _missing_bucket(self._bucket):
            async with in_time:
                await bucket.upload(path, image.file, {"content-type": content_type, "upsert": "true"})
            public_url = await bucket.get_public_url(path)
        return StoredImage(
            storage_path=path,
            filename=filename,
            format=image.format,
            width=image.width,
            height=image.height,
            file_size=image.file_size,
            public_url=public_url,
            blurhash=image.blurhash,
        )


@contextmanager
def _missing_bucket(bucket: str) -> Generator[None]:
    """Raise `BucketMissing` for a 404: an upload creates its file, so only the bucket can be missing."""
    try:
        yield
    except StorageApiError as error:
        if str(error.status) == "404" and error.code != NOT_FROM_STORAGE:
            raise BucketMissing(f"The bucket {bucket} is not there.") from error
        raise
