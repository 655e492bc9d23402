"""The bucket of the pictures: its settings, its files, and the translation of Storage's errors."""

import asyncio
import json
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

import httpx
from storage3.exceptions import StorageApiError
from storage3.types import CreateOrUpdateBucketOptions, FileOptions
from storage3.utils import StorageException
from supabase import AsyncClient

from batchgen.backend.connection import SLOWEST_UPLOAD, response_timeout
from batchgen.errors import BucketMissing, FileMissing, InvalidRequest, StorageError

CONTENT_TYPES = {"png": "image/png", "webp": "image/webp", "jpeg": "image/jpeg"}
"""MIME types by format; the format is also the file's extension."""
REFUSED_FOR_GOOD = frozenset({"413", "415"})
"""The file is too large or of a type that the bucket refuses: trying again does not help."""
REFUSED_REQUESTS = frozenset({"400", "422"})
NOTHING: Mapping[str, Any] = {}
CACHE_SECONDS = 31_536_000
"""A year: no file is ever replaced by another one under its name."""
PIECE = 256 * 1024
"""Bytes of a download in memory at once."""
LARGEST_FILE = 52_428_800
"""Bytes of the largest picture that the bucket takes."""
LONGEST_REFUSAL = 65_536
NOT_FROM_STORAGE = "InternalError"
"""storage3's code for errors whose body was not written by Storage."""


class NameTaken(StorageError):
    """There is a file at this path already."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """The settings of a bucket. None: no limit."""

    is_public: bool
    file_size_limit: int | None
    mime_types: frozenset[str] | None

    def takes(self, content_type: str) -> bool:
        kind = content_type.partition("/")[0]
        return self.mime_types is None or not self.mime_types.isdisjoint({content_type, f"{kind}/*", "*/*", "*"})


class ImageStorage:
    """Read the bucket of finished pictures. Nothing is retried here.

    Raises `StorageError` if trying again may help, `InvalidRequest` if the file itself is refused.
    """

    def __init__(self, client: AsyncClient, *, bucket: str) -> None:
        self._client = client
        self._bucket = bucket

    async def bucket(self) -> Bucket:
        """The bucket's settings. Raises `BucketMissing` if Storage says that there is none, else `StorageError`."""
        options = vars(self._client.options)
        http = cast("httpx.AsyncClient", options["httpx_client"])
        key = self._client.supabase_key
        # Not by storage3: it requires an owner, which buckets made in SQL do not have.
        address = f"{str(self._client.supabase_url).rstrip('/')}/storage/v1/bucket/{quote(self._bucket, safe='')}"
        what = f"The bucket {self._bucket}"
        try:
            async with response_timeout(self._client):
                response = await http.get(address, headers={"apikey": key, "authorization": f"Bearer {key}"})
            answer: Any = response.json()
        except (TimeoutError, httpx.HTTPError, httpx.InvalidURL, ValueError, RecursionError) as error:
            raise StorageError(f"{what}: no valid response from Storage ({type(error).__name__}).") from error
        row: Mapping[str, Any] = cast("Mapping[str, Any]", answer) if isinstance(answer, Mapping) else NOTHING
        if response.is_success and isinstance(row.get("public"), bool):
            return _bucket(row)
        status = str(row.get("statusCode") or response.status_code)
        if status == "404" and "message" in row and "error" in row:
            raise BucketMissing(f"{what} does not exist.")
        raise StorageError(f"{what}: Storage answered {status}.")

    async def get(self, path: str) -> bytes:
        """The content of the file at `path`. Raises `FileMissing` if there is none, as far as the caller may see."""
        with storage_errors(path):
            try:
                return await self._client.storage.from_(self._bucket).download(path)
            except StorageApiError as error:
                if str(error.status) == "404" and error.code != NOT_FROM_STORAGE:
                    raise FileMissing(f"{path}: Storage has no such file.") from error
                raise

    async def public_url(self, path: str) -> str:
        """The address of the file in a public bucket."""
        return await self._client.storage.from_(self._bucket).get_public_url(path)

    async def sign(self, paths: Sequence[str], seconds: int) -> Mapping[str, str]:
        """Links by path that anyone can open for so long. Files that the caller may not read are left out."""
        with storage_errors(f"{len(paths)} links"):
            async with response_timeout(self._client):
                signed = await self._client.storage.from_(self._bucket).create_signed_urls(list(paths), seconds)
            links = ((row["path"], row["signedURL"]) for row in signed if not row["error"])
            return {path: link for path, link in links if path and link}

    async def set_public(self, is_public: bool) -> None:
        """Make the bucket public or private, with the secret key."""
        bucket = await self.bucket()
        if bucket.is_public == is_public:
            return
        limits: dict[str, Any] = {}
        if bucket.file_size_limit is not None:
            limits["file_size_limit"] = bucket.file_size_limit
        if bucket.mime_types is not None:
            limits["allowed_mime_types"] = sorted(bucket.mime_types)
        with storage_errors(f"The bucket {self._bucket}"):
            async with response_timeout(self._client):
                await self._client.storage.update_bucket(
                    self._bucket, cast("CreateOrUpdateBucketOptions", {"public": is_public, **limits})
                )

    async def get_pieces(self, path: str, write: Callable[[bytes], object]) -> None:
        """Pass the content of the file at `path` to `write`, piece by piece.

        Works for public and private buckets, with the rights of the client. Raises `FileMissing` if there is no file.
        """
        # Not by storage3, which reads the whole file into memory.
        options = vars(self._client.options)
        http = cast("httpx.AsyncClient", options["httpx_client"])
        place = "/".join(quote(part, safe="") for part in (self._bucket, *path.split("/")))
        address = f"{str(self._client.supabase_url).rstrip('/')}/storage/v1/object/{place}"
        with storage_errors(path):
            async with asyncio.timeout(None) as in_time, http.stream("GET", address, headers=options["headers"]) as got:
                if not got.is_success:
                    raise _refused_download(path, got.status_code, await _beginning(got))
                length = got.headers.get("content-length", "")
                seconds = (http.timeout.read or 20) + int(length if length.isdigit() else LARGEST_FILE) / SLOWEST_UPLOAD
                in_time.reschedule(asyncio.get_running_loop().time() + seconds)
                async for piece in got.aiter_bytes(PIECE):
                    write(piece)


def upload_options(content_type: str) -> FileOptions:
    """The options of uploads: served with a cache time of a year, never in place of another file.

    Storage reads the cache time from the form, Supabase Lite from the header.
    """
    cached: Any = {"cache-control": f"max-age={CACHE_SECONDS}"}
    return {
        "content-type": content_type,
        "cache-control": str(CACHE_SECONDS),
        "upsert": "false",
        "headers": cached,
    }


async def remove_files(client: AsyncClient, bucket: str, paths: Sequence[str]) -> None:
    """Remove up to 1,000 files in one call. A missing file or bucket counts as removed.

    Raises `StorageError` if trying again may help, `InvalidRequest` if Storage refuses the request.
    """
    with storage_errors(f"{len(paths)} files of {bucket}", refused=REFUSED_REQUESTS), _missing_is_removed():
        async with response_timeout(client):
            await client.storage.from_(bucket).remove(list(paths))


async def _beginning(response: httpx.Response) -> bytes:
    """The first bytes of an error's body."""
    content = b""
    async for piece in response.aiter_bytes():
        content += piece
        if len(content) >= LONGEST_REFUSAL:
            break
    return content[:LONGEST_REFUSAL]


def _refused_download(path: str, status: int, content: bytes) -> StorageError:
    """The error of a refused download. Storage answers most refusals with 400 and puts the status into the body."""
    try:
        answer: Any = json.loads(content)
    except (ValueError, RecursionError):
        answer = None
    row = cast("Mapping[str, Any]", answer) if isinstance(answer, Mapping) else NOTHING
    told = str(row.get("statusCode") or status)
    if told == "404" and "message" in row:  # a proxy's 404 says nothing about files
        return FileMissing(f"{path}: Storage has no such file.")
    return StorageError(f"{path}: Storage answered {told}.")


def _bucket(row: Mapping[str, Any]) -> Bucket:
    limit: Any = row.get("file_size_limit")
    types: Any = row.get("allowed_mime_types")
    return Bucket(
        is_public=row["public"] is True,
        file_size_limit=limit if isinstance(limit, int) else None,
        mime_types=frozenset(map(str, cast("list[Any]", types))) if isinstance(types, list) and types else None,
    )


@contextmanager
def _missing_is_removed() -> Generator[None]:
    """Ignore a 404 of Storage itself; a proxy's 404 says nothing about files."""
    try:
        yield
    except StorageApiError as error:
        if str(error.status) != "404" or error.code == NOT_FROM_STORAGE:
            raise


@contextmanager
def storage_errors(path: str, *, refused: Collection[str] = REFUSED_FOR_GOOD) -> Generator[None]:
    """Translate errors of Storage and of the connection to it into batchgen's; `path` names the file in messages."""
    try:
        yield
    except StorageApiError as error:
        if str(error.status) == "409" and error.code != NOT_FROM_STORAGE:
            raise NameTaken(f"{path}: Storage has a file of this name already.") from error
        if str(error.status) in refused and error.code != NOT_FROM_STORAGE:
            raise InvalidRequest(f"{path}: Storage refuses the file ({error.code}).", code="image_refused") from error
        raise StorageError(f"{path}: Storage answered {error.status} ({error.code}).") from error
    except (
        TimeoutError,
        StorageException,
        httpx.HTTPError,
        httpx.InvalidURL,
        ValueError,
        KeyError,
        TypeError,
    ) as error:
        raise StorageError(f"{path}: no valid response from Storage ({type(error).__name__}).") from error
