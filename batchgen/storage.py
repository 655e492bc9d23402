"""Puts pictures into Storage and gets them back."""

from collections.abc import Collection, Generator, Sequence
from contextlib import contextmanager
from uuid import UUID

import httpx
from storage3.exceptions import StorageApiError
from storage3.utils import StorageException
from supabase import AsyncClient

from batchgen.checking import CheckedImage
from batchgen.errors import InvalidRequest, StorageError
from batchgen.models import StoredImage
from batchgen.providers.base import GeneratedImage

CONTENT_TYPES = {"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg", "svg": "image/svg+xml"}
REFUSED_FOR_GOOD = frozenset({"413", "415"})
"""Too large, or a type that the bucket does not take: the same file would be refused again."""
REFUSED_REQUESTS = frozenset({"400", "422"})
NO_ANSWER_OF_STORAGE = "InternalError"
"""The code that storage3 gives to errors whose body is not Storage's."""


class ImageStorage:
    """The bucket of finished pictures. Nothing is tried again in here.

    Raises `StorageError` where trying again may help, `InvalidRequest` where the file itself is refused.
    """

    def __init__(self, client: AsyncClient, *, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    async def put(self, image: GeneratedImage | CheckedImage, *, user_id: UUID, generation_id: UUID) -> StoredImage:
        """Store a picture at the one path of its generation; storing twice replaces it and is harmless.

        A checked picture is sent from its file, piece by piece, and its file stays open: it can be sent again.
        """
        filename = f"{generation_id}.{image.format}"
        path = f"{user_id}/{filename}"
        content_type = CONTENT_TYPES.get(image.format, f"image/{image.format}")
        content = image.content if isinstance(image, GeneratedImage) else image.file
        bucket = self._client.storage.from_(self._bucket)
        with storage_errors(path):
            await bucket.upload(path, content, {"content-type": content_type, "upsert": "true"})
            public_url = await bucket.get_public_url(path)
        return StoredImage(
            storage_path=path,
            filename=filename,
            format=image.format,
            width=image.width,
            height=image.height,
            file_size=len(image.content) if isinstance(image, GeneratedImage) else image.file_size,
            public_url=public_url,
            blurhash=None if isinstance(image, GeneratedImage) else image.blurhash,
        )

    async def get(self, path: str) -> bytes:
        """The whole file at `path`."""
        with storage_errors(path):
            return await self._client.storage.from_(self._bucket).download(path)


async def remove_files(client: AsyncClient, bucket: str, paths: Sequence[str]) -> None:
    """Remove up to 1,000 files in one call. Files, or a bucket, that are not there count as removed.

    Raises `StorageError` where trying again may help, `InvalidRequest` where Storage does not take the request.
    """
    with storage_errors(f"{len(paths)} files of {bucket}", refused=REFUSED_REQUESTS), _missing_is_removed():
        await client.storage.from_(bucket).remove(list(paths))


@contextmanager
def _missing_is_removed() -> Generator[None]:
    """Only where Storage itself says so: a proxy's 404 tells nothing about files."""
    try:
        yield
    except StorageApiError as error:
        if str(error.status) != "404" or error.code == NO_ANSWER_OF_STORAGE:
            raise


@contextmanager
def storage_errors(path: str, *, refused: Collection[str] = REFUSED_FOR_GOOD) -> Generator[None]:
    """Turn errors of Storage and of the way there into batchgen's own; `path` names the file in messages."""
    try:
        yield
    except StorageApiError as error:
        if str(error.status) in refused and error.code != NO_ANSWER_OF_STORAGE:
            raise InvalidRequest(f"{path}: Storage refuses the file ({error.code}).", code="image_refused") from error
        raise StorageError(f"{path}: Storage answered {error.status} ({error.code}).") from error
    except (StorageException, httpx.HTTPError, ValueError) as error:
        raise StorageError(f"{path}: no good answer from Storage ({type(error).__name__}).") from error
