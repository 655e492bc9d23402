"""Shops in calm weather, their models in the database, and workers that buy there."""

import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from batchgen.backend.rpc import rpc
from devstack import StackInfo
from tests.money.books import Books
from tests.money.catalogue import LISTINGS, Listing, Shop
from tests.money.run import quick_pace, worker_environment
from tests.money.weather import Weather
from tests.support import Database, User, WorkerProcess


@dataclass(frozen=True)
class Stall:
    """A provider that does what its prompts say and nothing worse, and the model that is bought there."""

    listing: Listing
    shop: Shop
    books: Books
    model_id: uuid.UUID

    @property
    def environment(self) -> Mapping[str, str]:
        return self.listing.environment(self.shop.url)


OpenStall = Callable[[str], Awaitable[Stall]]
Submit = Callable[[uuid.UUID, Sequence[str]], Awaitable[str]]


@pytest.fixture
async def open_stall(database: Database, tmp_path: Path, empty_queue: None) -> AsyncGenerator[OpenStall]:
    """`stall = await open_stall("fal")`."""
    async with AsyncExitStack() as parts:

        async def open_stall(provider: str) -> Stall:
            listing, weather = LISTINGS[provider], Weather(seed=0)
            weather.calm.set()
            books = Books(tmp_path / f"{provider}.jsonl", listing.price_usd)
            shop = await parts.enter_async_context(listing.shop(weather, books))
            return Stall(listing, shop, books, await listing.offer(database, f"stall-{uuid.uuid4().hex[:8]}"))

        yield open_stall
        await database.execute("delete from batchgen.orders")  # of jobs that never end


@pytest.fixture
async def pace(database: Database) -> AsyncGenerator[Callable[..., Awaitable[None]]]:
    """Limits and pauses for a short test: `await pace(max_retries=0)`."""
    async with AsyncExitStack() as parts:

        async def set_pace(**more: object) -> None:
            await parts.enter_async_context(quick_pace(database, **more))

        yield set_pace


@pytest.fixture
async def start_worker(stack: StackInfo, empty_queue: None) -> AsyncGenerator[Callable[..., Awaitable[WorkerProcess]]]:
    """Starts `python -m scheduler` at these stalls: `await start_worker(stall, BATCHGEN_MAX_PARALLEL="3")`."""
    workers: list[WorkerProcess] = []

    async def start(*stalls: Stall, **more: str) -> WorkerProcess:
        known = {name: value for stall in stalls for name, value in stall.environment.items()}
        workers.append(await WorkerProcess.start({**worker_environment(stack), **known, **more}))
        return workers[-1]

    yield start
    for worker in workers:
        await worker.end()


@pytest.fixture
def submit(user: User) -> Submit:
    """A batch of these prompts for a model; its id."""

    async def send(model_id: uuid.UUID, prompts: Sequence[str]) -> str:
        request: dict[str, Any] = {
            "prompts": [{"text": prompt} for prompt in prompts],
            "shared_settings": {"model_id": str(model_id), "width": 64, "height": 64},
        }
        answer = await rpc(user.client, "create_batch", {"p_request": request})
        return str(answer["batch"]["id"])

    return send
