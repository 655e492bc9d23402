"""A project whose answers come a byte at a time, without end, counts as one that does not answer."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from uuid import uuid4

import pytest
from supabase import AsyncClient

from batchgen.backend.bucket import ImageStorage, remove_files
from batchgen.backend.connection import connect, disconnect
from batchgen.errors import BackendUnavailable, QueueUnavailable, StorageError
from batchgen.queue.picture_store import PictureStore
from batchgen.queue.postgrest import PostgrestOpenOrders, PostgrestOutbox, PostgrestQueue, read_start_facts
from batchgen.settings import Settings
from tests.support import WorkerProcess
from tests.worker.worker_harness import checked_picture

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 100000\r\n\r\n"


@pytest.fixture
async def address() -> AsyncGenerator[str]:
    """The address of a server that answers with a response head, and then with a blank every 50 ms."""

    async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD)
        try:
            while not reader.at_eof():
                writer.write(b" ")
                await writer.drain()
                await asyncio.sleep(0.05)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(trickle, "127.0.0.1", 0)
    host, port = server.sockets[0].getsockname()
    yield f"http://{host}:{port}"
    server.close()


@pytest.fixture
async def client(address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> AsyncGenerator[AsyncClient]:
    monkeypatch.chdir(tmp_path)
    settings = Settings.model_validate(
        {"supabase_url": address, "supabase_secret_key": "sb_secret_x", "request_timeout_seconds": 0.5}
    )
    opened = await connect(settings, key="sb_secret_x")
    yield opened
    await disconnect(opened)


def claim(client: AsyncClient) -> Awaitable[object]:
    return PostgrestQueue(client, worker="w", lease_seconds=60).claim(1)


def renew(client: AsyncClient) -> Awaitable[object]:
    return PostgrestQueue(client, worker="w", lease_seconds=60).renew([uuid4()])


def take_deletions(client: AsyncClient) -> Awaitable[object]:
    return PostgrestOutbox(client, worker="w", lease_seconds=60).take(1)


def take_orders(client: AsyncClient) -> Awaitable[object]:
    return PostgrestOpenOrders(client, worker="w", lease_seconds=60).take(1)


def look_at_bucket(client: AsyncClient) -> Awaitable[object]:
    return ImageStorage(client, bucket="pictures").bucket()


async def upload(client: AsyncClient) -> object:
    with checked_picture() as image:
        return await PictureStore(client, bucket="pictures").put(image, user_id=uuid4(), generation_id=uuid4())


def remove(client: AsyncClient) -> Awaitable[object]:
    return remove_files(client, "pictures", ["a.png"])


@pytest.mark.parametrize(
    ("call", "error"),
    [
        (read_start_facts, BackendUnavailable),
        (claim, QueueUnavailable),
        (renew, QueueUnavailable),
        (take_deletions, QueueUnavailable),
        (take_orders, QueueUnavailable),
        (look_at_bucket, StorageError),
        (upload, StorageError),
        (remove, StorageError),
    ],
)
async def test_a_call_does_not_wait_for_an_endless_answer(
    client: AsyncClient, call: Callable[[AsyncClient], Awaitable[object]], error: type[Exception]
) -> None:
    async with asyncio.timeout(15):
        with pytest.raises(error):
            await call(client)


async def test_a_run_without_a_complete_first_answer_exits_with_3(address: str) -> None:
    environment = {
        "SUPABASE_URL": address,
        "SUPABASE_SECRET_KEY": "sb_secret_for_this_test",
        "BATCHGEN_REQUEST_TIMEOUT_SECONDS": "0.5",
        "BATCHGEN_BACKOFF_SECONDS": "0.05",
    }
    worker = await WorkerProcess.start(environment, "--once")

    assert await worker.exit_code() == 3
    assert worker.named("queue lost, the worker waits for it to begin")
