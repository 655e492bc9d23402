"""Fake providers without random faults, their models in the database, and workers that use them."""

import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from batchgen.backend.rpc import rpc
from devstack import StackInfo
from tests.money.faults import FaultSource
from tests.money.provider_log import ProviderLog
from tests.money.provider_setups import PROVIDER_SETUPS, FakeServer, ProviderSetup
from tests.money.run import quick_pace, worker_environment
from tests.support import Database, User, WorkerProcess


@dataclass(frozen=True)
class FakeProvider:
    """A provider and its model. It fails only as a test or a prompt demands."""

    setup: ProviderSetup
    server: FakeServer
    provider_log: ProviderLog
    model_id: uuid.UUID

    @property
    def environment(self) -> Mapping[str, str]:
        return self.setup.environment(self.server.url)


StartFake = Callable[[str], Awaitable[FakeProvider]]
Submit = Callable[[uuid.UUID, Sequence[str]], Awaitable[str]]


@pytest.fixture
async def start_fake(database: Database, tmp_path: Path, empty_queue: None) -> AsyncGenerator[StartFake]:
    """Starts a fake server and adds its model: `fake = await start_fake("fal")`."""
    async with AsyncExitStack() as parts:

        async def start_fake(provider: str) -> FakeProvider:
            setup, fault_source = PROVIDER_SETUPS[provider], FaultSource(seed=0)
            fault_source.is_over.set()
            provider_log = ProviderLog(tmp_path / f"{provider}.jsonl", setup.price_usd)
            server = await parts.enter_async_context(setup.server(fault_source, provider_log))
            return FakeProvider(
                setup, server, provider_log, await setup.add_model(database, f"fake-{uuid.uuid4().hex[:8]}")
            )

        yield start_fake
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
    """Starts `python -m scheduler` with these providers: `await start_worker(fake, BATCHGEN_MAX_PARALLEL="3")`."""
    workers: list[WorkerProcess] = []

    async def start(*fakes: FakeProvider, **more: str) -> WorkerProcess:
        known = {name: value for fake in fakes for name, value in fake.environment.items()}
        workers.append(await WorkerProcess.start({**worker_environment(stack), **known, **more}))
        return workers[-1]

    yield start
    for worker in workers:
        await worker.end()


@pytest.fixture
def submit(user: User) -> Submit:
    """Submits a batch of these prompts for a model; returns its id."""

    async def send(model_id: uuid.UUID, prompts: Sequence[str]) -> str:
        request: dict[str, Any] = {
            "prompts": [{"text": prompt} for prompt in prompts],
            "shared_settings": {"model_id": str(model_id), "width": 64, "height": 64},
        }
        answer = await rpc(user.client, "create_batch", {"p_request": request})
        return str(answer["batch"]["id"])

    return send
