"""A worker on a fake queue, with a provider and a storage that do as the test says."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import UUID

from batchgen.checking import CheckedImage, Checker
from batchgen.errors import StorageError
from batchgen.fetching import Fetcher
from batchgen.models import StoredImage
from batchgen.providers import OneProvider
from batchgen.providers.base import GeneratedImage, ImageRequest, Output
from batchgen.receiving import Receiver
from batchgen.storage import ImageStorage
from scheduler.completions import Completions
from scheduler.insisting import Patience
from scheduler.leases import Lease, Leases
from scheduler.runner import Runner
from scheduler.worker import Pace, Worker
from tests.fake_queue import FakeQueue


@dataclass
class ScriptedProvider:
    """Jobs end at once, unless `gate` is closed; `script` gives an error for a prompt, `delays` seconds."""

    name: str = "scripted"
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    submit_gate: asyncio.Event = field(default_factory=asyncio.Event)
    script: dict[str, Exception] = field(default_factory=dict[str, Exception])
    delays: dict[str, float] = field(default_factory=dict[str, float])
    submitted: list[str] = field(default_factory=list[str])
    waiting: list[str] = field(default_factory=list[str])
    cancelled: list[str] = field(default_factory=list[str])
    delivers: Output | None = None
    """In place of its own picture."""

    def __post_init__(self) -> None:
        self.gate.set()
        self.submit_gate.set()

    async def submit(self, request: ImageRequest) -> str:
        self.submitted.append(request.prompt)
        await self.submit_gate.wait()
        return f"job-{len(self.submitted)}"

    async def wait(self, job_id: str, request: ImageRequest) -> Output:
        self.waiting.append(job_id)
        await self.gate.wait()
        await asyncio.sleep(self.delays.get(request.prompt, 0))
        if error := self.script.get(request.prompt):
            raise error
        return self.delivers or GeneratedImage(b"picture", "png", request.width, request.height, request.seed)

    async def cancel(self, job_id: str) -> None:
        self.cancelled.append(job_id)

    async def aclose(self) -> None:
        """Nothing to close."""


@dataclass
class FakeStorage:
    """Counts puts; the first `faults` of them fail."""

    faults: int = 0
    puts: Counter[UUID] = field(default_factory=Counter[UUID])

    async def put(self, image: GeneratedImage | CheckedImage, *, user_id: UUID, generation_id: UUID) -> StoredImage:
        self.puts[generation_id] += 1
        await asyncio.sleep(0)
        if self.faults:
            self.faults -= 1
            raise StorageError("Storage answered 503.")
        return StoredImage(
            storage_path=f"{user_id}/{generation_id}.{image.format}",
            filename=f"{generation_id}.{image.format}",
            format=image.format,
            width=image.width,
            height=image.height,
            file_size=len(image.content) if isinstance(image, GeneratedImage) else image.file_size,
        )


@dataclass
class Theatre:
    """All parts of one worker."""

    queue: FakeQueue
    provider: ScriptedProvider
    storage: FakeStorage
    leases: Leases
    runner: Runner
    worker: Worker

    async def hold_one(self) -> Lease:
        """Claim one item, without the worker's loop."""
        asked_at = asyncio.get_running_loop().time()
        (claim,) = await self.queue.claim(1)
        return self.leases.hold(claim, asked_at=asked_at)


def theatre(*, queue: FakeQueue | None = None, patience: dict[str, Any] | None = None, **pace: Any) -> Theatre:
    """Override only what the test is about; all pauses are short."""
    queue = queue or FakeQueue()
    provider, storage = ScriptedProvider(), FakeStorage()
    pauses: dict[str, Any] = {"backoff_seconds": 0.005, "backoff_max_seconds": 0.02, **(patience or {})}
    short = Patience(**pauses)
    leases = Leases(queue, lease_seconds=queue.lease_seconds)
    completions = Completions(queue)
    runner = Runner(
        queue=queue,
        completions=completions,
        providers=OneProvider(provider),
        receiver=Receiver(Fetcher(), Checker()),
        storage=cast("ImageStorage", storage),
        patience=short,
    )
    worker = Worker(
        queue=queue,
        completions=completions,
        runner=runner,
        leases=leases,
        pace=Pace(**{"slots": 3, "grace_seconds": 5, "last_words_seconds": 1, **pace}),
        patience=short,
    )
    return Theatre(queue, provider, storage, leases, runner, worker)


@asynccontextmanager
async def working(worker: Worker) -> AsyncGenerator[asyncio.Task[None]]:
    """The worker's loop runs; at the end it has stopped, and left no task behind."""
    before = asyncio.all_tasks()
    loop = asyncio.create_task(worker.run())
    try:
        yield loop
    finally:
        if not loop.done():
            worker.stop()
        async with asyncio.timeout(5):
            await asyncio.gather(loop, return_exceptions=True)
        await asyncio.sleep(0)
        assert asyncio.all_tasks() - before <= {loop}, "the worker left tasks behind"
