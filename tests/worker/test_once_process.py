"""`python -m scheduler --once` as cron runs it, with a provider that answers an order with the picture."""

import signal
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from typing import Any

import pytest

from batchgen.backend.rpc import rpc
from devstack import StackInfo
from tests.providers.openai_server import KEY, OpenAIServer
from tests.support import Database, User, WorkerProcess, eventually

Start = Callable[..., Awaitable[WorkerProcess]]
WAITING = "waiting for orders whose pictures no other worker can have"

pytestmark = pytest.mark.usefixtures("empty_queue")


@pytest.fixture
async def provider() -> AsyncGenerator[OpenAIServer]:
    """Answers no order before its gate is opened."""
    async with OpenAIServer() as server:
        server.gate.clear()
        yield server


@pytest.fixture
async def model(database: Database) -> AsyncGenerator[str]:
    """The id of a model of the provider."""
    row = await (
        await database.execute(
            "insert into batchgen.models (name, provider, provider_model, inputs, price_usd)"
            """ values ('slow', 'openai', 'gpt-image-1', '{"prompt": "prompt"}', 0.04) returning id"""
        )
    ).fetchone()
    assert row
    yield str(row["id"])
    await database.execute("delete from public.models where id = %s", [row["id"]])


@pytest.fixture
async def start(stack: StackInfo, provider: OpenAIServer) -> AsyncGenerator[Start]:
    """Starts workers with the provider; they end with the test."""
    workers: list[WorkerProcess] = []
    environment = {
        "SUPABASE_URL": stack.url,
        "SUPABASE_SECRET_KEY": stack.secret_key,
        "BATCHGEN_OPENAI_API_KEY": KEY,
        "BATCHGEN_OPENAI_URL": provider.api,
        "BATCHGEN_GRACE_SECONDS": "0.1",
    }

    async def start_one(*arguments: str, **more: str) -> WorkerProcess:
        workers.append(await WorkerProcess.start({**environment, **more}, *arguments))
        return workers[-1]

    yield start_one
    for worker in workers:
        await worker.end()


async def submit(user: User, model: str, *prompts: str) -> str:
    request: dict[str, Any] = {
        "prompts": [{"text": prompt} for prompt in prompts],
        "shared_settings": {"width": 64, "height": 64, "model_id": model},
    }
    return (await rpc(user.client, "create_batch", {"p_request": request}))["batch"]["id"]


async def items(database: Database, batch_id: str) -> Sequence[Mapping[str, Any]]:
    return await (
        await database.execute(
            "select status, error_code, retry_count from public.image_generations where batch_id = %s", [batch_id]
        )
    ).fetchall()


async def test_a_run_waits_for_ordered_pictures_beyond_its_time(
    start: Start, provider: OpenAIServer, model: str, user: User, database: Database
) -> None:
    batch_id = await submit(user, model, "a red fox", "a blue fox")

    worker = await start("--once", "--max-seconds", "3")
    await worker.logs(WAITING)
    provider.gate.set()

    assert await worker.exit_code() == 0
    assert [item["status"] for item in await items(database, batch_id)] == ["completed"] * 2
    assert len(provider.events("charged")) == 2


async def test_a_second_run_orders_nothing_twice(
    start: Start, provider: OpenAIServer, model: str, user: User, database: Database
) -> None:
    batch_id = await submit(user, model, "a red fox", "a blue fox")
    first = await start("--once", "--max-seconds", "3")
    await first.logs(WAITING)

    second = await start("--once", "--max-seconds", "5")
    code = await second.exit_code()
    provider.gate.set()

    assert (code, await first.exit_code()) == (0, 0)
    assert [item["status"] for item in await items(database, batch_id)] == ["completed"] * 2
    assert len(provider.events("created")) == 2


async def test_a_signal_after_the_runs_time_ends_it_and_logs_lost_orders(
    start: Start, provider: OpenAIServer, model: str, user: User, database: Database
) -> None:
    batch_id = await submit(user, model, "a red fox", "a blue fox")
    worker = await start("--once", "--max-seconds", "3")
    await worker.logs(WAITING)

    worker.send(signal.SIGTERM)

    assert await worker.exit_code() == 1
    assert [item["error_code"] for item in await items(database, batch_id)] == ["outcome_unknown"] * 2
    assert len(worker.named("order cut off, its picture may be charged")) == 2


async def test_sigterm_logs_lost_orders_after_the_grace_time(
    start: Start, provider: OpenAIServer, model: str, user: User, database: Database
) -> None:
    batch_id = await submit(user, model, "a red fox", "a blue fox")
    worker = await start(BATCHGEN_GRACE_SECONDS="0.5")
    await eventually(lambda: len(provider.events("created")) == 2)

    worker.send(signal.SIGTERM)

    assert await worker.exit_code() == 0
    assert [item["error_code"] for item in await items(database, batch_id)] == ["outcome_unknown"] * 2
    lost = worker.named("order cut off, its picture may be charged")
    assert [line["remedy"] for line in lost] == ["set BATCHGEN_GRACE_SECONDS above the time of a picture"] * 2
