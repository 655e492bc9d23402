"""Workers as operators run them, beside the shared stack."""

from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest

from devstack import StackInfo
from tests.support import WorkerProcess


@pytest.fixture
async def start_worker(stack: StackInfo, empty_queue: None) -> AsyncGenerator[Callable[..., Awaitable[WorkerProcess]]]:
    """Starts `python -m scheduler`: `await start_worker(BATCHGEN_OFFLINE_SECONDS="2")`. All end with the test."""
    workers: list[WorkerProcess] = []

    async def start(**more: str) -> WorkerProcess:
        environment = {
            "SUPABASE_URL": stack.url,
            "SUPABASE_SECRET_KEY": stack.secret_key,
            "BATCHGEN_OFFLINE_COMMANDS": "1",
            "BATCHGEN_OFFLINE_SECONDS": "0.2",
            "BATCHGEN_OFFLINE_FORMAT": "webp",
        }
        worker = await WorkerProcess.start(environment | more)
        workers.append(worker)
        return worker

    yield start
    for worker in workers:
        await worker.end()
