"""Fixtures: the library against the stack, without a worker. Tests move the items themselves."""

from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest
from fake_worker import FakeWorker

from batchgen import BatchgenClient
from devstack import StackInfo
from tests.support import Database, User


@pytest.fixture
def worker(database: Database) -> FakeWorker:
    return FakeWorker(database)


@pytest.fixture(autouse=True)
async def nothing_left(database: Database) -> AsyncGenerator[None]:
    """Ends a test's batches, so that no other test finds them in the queue."""
    yield
    await database.execute(
        "delete from public.image_generations where id in (select generation_id from batchgen.queue)"
    )


@pytest.fixture
async def client_of(stack: StackInfo) -> AsyncGenerator[Callable[[User], Awaitable[BatchgenClient]]]:
    clients: list[BatchgenClient] = []

    async def connect(user: User) -> BatchgenClient:
        client = await BatchgenClient.sign_in(stack.url, stack.publishable_key, user.email, user.password)
        clients.append(client)
        return client

    yield connect
    for client in clients:
        await client.close()


@pytest.fixture
async def client(client_of: Callable[[User], Awaitable[BatchgenClient]], user: User) -> BatchgenClient:
    return await client_of(user)


@pytest.fixture
async def operator(stack: StackInfo) -> AsyncGenerator[BatchgenClient]:
    async with await BatchgenClient.operator(stack.url, stack.secret_key) as client:
        yield client
