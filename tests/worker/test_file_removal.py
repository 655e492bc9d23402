"""Removal of files through the Storage API: the real one, and one with answers that the real one gives elsewhere."""

import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from typing import Any, cast

import httpx
import pytest
from supabase import AsyncClient

from batchgen.backend.bucket import remove_files
from batchgen.backend.connection import connect, disconnect
from batchgen.errors import InvalidRequest, StorageError
from batchgen.settings import Settings
from tests.support import User

BUCKET = "generated-images"
Answering = Callable[[httpx.Response], Awaitable[AsyncClient]]


@pytest.fixture
async def answering() -> AsyncGenerator[Answering]:
    """A client whose requests all get this answer."""
    clients: list[AsyncClient] = []

    async def client_for(answer: httpx.Response) -> AsyncClient:
        settings = Settings.model_validate({"supabase_url": "http://project.test"})
        client = await connect(settings, key="sb_secret_test")
        http = cast("httpx.AsyncClient", vars(client.options)["httpx_client"])
        await http._transport.aclose()  # pyright: ignore[reportPrivateUsage]
        http._transport = httpx.MockTransport(lambda _: answer)  # pyright: ignore[reportPrivateUsage]
        clients.append(client)
        return client

    yield client_for
    for client in clients:
        await disconnect(client)


async def store(service: AsyncClient, folder: str, *names: str) -> list[str]:
    paths = [f"{folder}/{name}" for name in names]
    for path in paths:
        await service.storage.from_(BUCKET).upload(path, b"picture", {"content-type": "image/png"})
    return paths


async def stored(service: AsyncClient, folder: str) -> Sequence[str]:
    found: Any = await service.storage.from_(BUCKET).list(folder)
    return sorted(file["name"] for file in found)


async def test_only_the_named_files_are_removed(service: AsyncClient) -> None:
    folder = str(uuid.uuid4())
    paths = await store(service, folder, "a.png", "b.png", "c.png")

    await remove_files(service, BUCKET, paths[:2])

    assert await stored(service, folder) == ["c.png"]


async def test_missing_files_count_as_removed(service: AsyncClient) -> None:
    folder = str(uuid.uuid4())
    (path,) = await store(service, folder, "a.png")

    for _ in range(2):
        await remove_files(service, BUCKET, [path, f"{folder}/never.png"])

    assert await stored(service, folder) == []


async def test_a_missing_bucket_has_no_files(service: AsyncClient) -> None:
    await remove_files(service, f"no-{uuid.uuid4().hex}", ["a/b.png"])


async def test_unusual_paths_are_taken_literally(service: AsyncClient) -> None:
    folder = str(uuid.uuid4())
    await store(service, folder, "a.png")

    await remove_files(service, BUCKET, [f"{folder}/../{folder}/a.png", f"{folder}/%61.png", f"{folder}/*", folder])

    assert await stored(service, folder) == ["a.png"]


async def test_a_user_cannot_remove_another_users_files(service: AsyncClient, user: User) -> None:
    folder = str(uuid.uuid4())
    paths = await store(service, folder, "a.png")

    await remove_files(user.client, BUCKET, paths)

    assert await stored(service, folder) == ["a.png"]


NOT_FOUND = {"statusCode": "404", "error": "Bucket not found", "message": "Bucket not found"}
INVALID = {"statusCode": "400", "error": "InvalidRequest", "message": "no"}


async def test_storages_not_found_answer_is_no_error(answering: Answering) -> None:
    client = await answering(httpx.Response(400, json=NOT_FOUND))

    await remove_files(client, BUCKET, ["a/b.png"])


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (httpx.Response(404, text="<html>nothing here</html>"), StorageError),
        (httpx.Response(404, json={"message": "no Route matched with those values"}), StorageError),
        (httpx.Response(503, text="busy"), StorageError),
        (httpx.Response(429, json={"statusCode": "429", "error": "slow", "message": "slow"}), StorageError),
        (httpx.Response(400, text="<html>a proxy speaks</html>"), StorageError),
        (httpx.Response(200, text="<html>It works!</html>"), StorageError),
        (httpx.Response(400, json=INVALID), InvalidRequest),
    ],
)
async def test_other_answers_to_a_removal_are_errors(
    answering: Answering, answer: httpx.Response, expected: type[Exception]
) -> None:
    client = await answering(answer)

    with pytest.raises(expected):
        await remove_files(client, BUCKET, ["a/b.png"])
