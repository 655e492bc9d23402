"""A worker with a fake queue and storage, and fakes of providers."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Generator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from io import BytesIO, FileIO
from typing import Any, cast
from uuid import UUID

from PIL import Image

from batchgen.backend.bucket import NameTaken
from batchgen.errors import ModelUnusable, ProviderBusy, StorageError
from batchgen.order_state import OPEN
from batchgen.pictures.check import CheckedImage, Checker, CheckLimits, checked
from batchgen.pictures.fetch import Fetcher
from batchgen.pictures.receive import Receiver
from batchgen.pictures.temporary_files import unnamed_file, write
from batchgen.providers.base import ImageRequest, Picture, Provider, RawImage, RemoteImage, Settlement
from batchgen.providers.http.synchronous import SynchronousJobs
from batchgen.providers.registry import OneProvider, ProvidersByName
from batchgen.queue.picture_store import PictureStore
from batchgen.queue.types import StoredImage
from scheduler.completions import Completions
from scheduler.leases import Lease, Leases
from scheduler.retries import RetryPolicy
from scheduler.runner import Runner
from scheduler.slots import Slots
from scheduler.timing import WorkerTiming
from scheduler.worker import Worker
from tests.fake_queue import FakeQueue


@dataclass
class ScriptedProvider:
    """A provider whose jobs end at once, unless `gate` is closed.

    `script` has errors by prompt, `fails_once` errors for the first attempt alone, `delays` seconds by prompt.
    """

    name: str = "scripted"
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    submit_gate: asyncio.Event = field(default_factory=asyncio.Event)
    script: dict[str, Exception] = field(default_factory=dict[str, Exception])
    fails_once: dict[str, Exception] = field(default_factory=dict[str, Exception])
    delays: dict[str, float] = field(default_factory=dict[str, float])
    submitted: list[str] = field(default_factory=list[str])
    waiting: list[str] = field(default_factory=list[str])
    cancelled: list[str] = field(default_factory=list[str])
    delivers: Picture | None = None
    """Delivered instead of its own picture."""

    def __post_init__(self) -> None:
        self.gate.set()
        self.submit_gate.set()

    async def submit(self, request: ImageRequest) -> str:
        self.submitted.append(request.prompt)
        await self.submit_gate.wait()
        return f"job-{len(self.submitted)}"

    async def wait(self, job_id: str, request: ImageRequest) -> Picture:
        self.waiting.append(job_id)
        await self.gate.wait()
        await asyncio.sleep(self.delays.get(request.prompt, 0))
        if error := self.fails_once.pop(request.prompt, None) or self.script.get(request.prompt):
            raise error
        return self.delivers or RawImage(picture(), request.seed)

    async def cancel(self, job_id: str) -> None:
        self.cancelled.append(job_id)

    async def aclose(self) -> None:
        """Nothing to close."""


@dataclass
class FakePaidProvider(ScriptedProvider):
    """A provider that finds its jobs by their order's key. Each fault is a field; `gate` ends its jobs."""

    name: str = "fake-provider"
    jobs: dict[str, str] = field(default_factory=dict[str, str])
    """Keys of orders by job."""
    orders: list[ImageRequest] = field(default_factory=list[ImageRequest])
    waited_for: list[ImageRequest] = field(default_factory=list[ImageRequest])
    finds: list[ImageRequest] = field(default_factory=list[ImageRequest])
    settled: list[str] = field(default_factory=list[str])
    refuses: list[Exception] = field(default_factory=list[Exception])
    """Errors of the next orders, one each; they make no job."""
    loses: list[Exception] = field(default_factory=list[Exception])
    """Errors of the next orders, one each, after their job was made."""
    cannot_find: Exception | None = None
    cannot_wait: list[Exception | None] = field(default_factory=list[Exception | None])
    """Errors of the next waits, one each; None is no error."""
    outcomes: dict[str, Settlement | Exception] = field(default_factory=dict[str, Settlement | Exception])
    """Answers of `settle` by job; a job that is not in it still runs."""
    hangs: bool = False
    """`find` and `settle` give no answer."""

    async def submit(self, request: ImageRequest) -> str:
        self.orders.append(request)
        self.submitted.append(request.prompt)
        if self.refuses:
            raise self.refuses.pop(0)
        job_id = f"job-{len(self.submitted)}"
        self.jobs[job_id] = request.key
        await self.submit_gate.wait()
        if self.loses:
            raise self.loses.pop(0)
        return job_id

    async def wait(self, job_id: str, request: ImageRequest) -> Picture:
        self.waited_for.append(request)
        if self.cannot_wait and (error := self.cannot_wait.pop(0)):
            self.waiting.append(job_id)
            raise error
        return await super().wait(job_id, request)

    async def find(self, request: ImageRequest) -> str | None:
        self.finds.append(request)
        if self.hangs:
            await asyncio.Event().wait()
        if self.cannot_find is not None:
            raise self.cannot_find
        return next((job_id for job_id, key in self.jobs.items() if key == request.key), None)

    async def settle(self, job_id: str, request: ImageRequest) -> Settlement:
        self.settled.append(job_id)
        if self.hangs:
            await asyncio.Event().wait()
        outcome = self.outcomes.get(job_id, Settlement(OPEN))
        if isinstance(outcome, Exception):
            raise outcome
        return outcome


class FakeSynchronousProvider(FakePaidProvider):
    """Answers an order with the picture itself, as OpenAI does. `gate`: while it is closed, no picture is finished."""

    is_synchronous = True

    def __init__(self, *, is_free: bool = False) -> None:
        super().__init__(name="synchronous")
        self._jobs = SynchronousJobs(self.name, self._order, is_free=is_free)

    async def submit(self, request: ImageRequest) -> str:
        await self.submit_gate.wait()
        return self._jobs.mint(request)

    async def wait(self, job_id: str, request: ImageRequest) -> Picture:
        return await self._jobs.wait(job_id, request)

    async def find(self, request: ImageRequest) -> str | None:
        return self._jobs.find(request)

    async def settle(self, job_id: str, request: ImageRequest) -> Settlement:
        return self._jobs.settle(job_id)

    async def cancel(self, job_id: str) -> None:
        self.cancelled.append(job_id)
        self._jobs.cancel(job_id)

    async def aclose(self) -> None:
        await self._jobs.aclose()

    async def _order(self, _job_id: str, request: ImageRequest) -> RawImage:
        self.orders.append(request)
        await self.gate.wait()
        return RawImage(picture())


@dataclass
class FakeProviders:
    """Providers by name, like `batchgen.providers.registry.Providers`; those in `without_key` have no key."""

    providers: Mapping[str, Provider]
    without_key: frozenset[str] = frozenset()
    local_servers: Mapping[str, str] = field(default_factory=dict[str, str])

    def get(self, name: str) -> Provider:
        if name in self.without_key:
            raise ProviderBusy("No key.", code="provider_not_set_up", retry_after_seconds=60)
        if name not in self.providers:
            raise ModelUnusable("No such provider.", code="provider_unknown")
        return self.providers[name]

    def local_server(self, name: str) -> str | None:
        return self.local_servers.get(name)

    async def aclose(self) -> None:
        """Nothing to close."""


class InProcessChecker(Checker):
    """Checks in this process, so that a test starts no other one."""

    async def check(self, file: FileIO, *, keeps_metadata: bool = False) -> CheckedImage:
        return checked(file, CheckLimits(keeps_metadata=keeps_metadata))


@dataclass
class FakeReceiver(Receiver):
    """Fetches nothing: every address has `content`. `errors` come first, one each."""

    content: bytes = b""
    errors: list[Exception] = field(default_factory=list[Exception])
    fetched: list[tuple[str, str | None]] = field(default_factory=list[tuple[str, str | None]])

    def __post_init__(self) -> None:
        super().__init__(Fetcher(), InProcessChecker())

    @asynccontextmanager
    async def receive(
        self, output: RawImage | RemoteImage, *, local_server: str | None = None
    ) -> AsyncGenerator[CheckedImage]:
        if isinstance(output, RemoteImage):
            self.fetched.append((output.url, local_server))
            if self.errors:
                raise self.errors.pop(0)
            output = RawImage(self.content)
        async with super().receive(output) as image:
            yield image


@dataclass
class FakeStorage:
    """Counts puts of pictures; the first `faults` of them fail. `taken`: names that have other content."""

    faults: int = 0
    puts: Counter[UUID] = field(default_factory=Counter[UUID])
    taken: set[str] = field(default_factory=set[str])
    thumbnails: dict[str, bytes] = field(default_factory=dict[str, bytes])
    thumbnail_fault: Exception | None = None

    async def put(
        self, image: CheckedImage, *, user_id: UUID, generation_id: UUID, name: str | None = None
    ) -> StoredImage:
        self.puts[generation_id] += 1
        await asyncio.sleep(0)
        if self.faults:
            self.faults -= 1
            raise StorageError("Storage answered 503.")
        name = name or f"{generation_id}.{image.format}"
        if name in self.taken:
            raise NameTaken(name)
        return StoredImage(
            storage_path=f"{user_id}/{name}",
            filename=f"{generation_id}.{image.format}",
            format=image.format,
            width=image.width,
            height=image.height,
            file_size=image.file_size,
        )

    async def put_thumbnail(
        self, content: bytes, *, user_id: UUID, generation_id: UUID, name: str | None = None
    ) -> str:
        await asyncio.sleep(0)
        if self.thumbnail_fault is not None:
            raise self.thumbnail_fault
        name = name or f"{generation_id}.thumb.webp"
        if name in self.taken:
            raise NameTaken(name)
        self.thumbnails[f"{user_id}/{name}"] = content
        return f"{user_id}/{name}"


@dataclass
class WorkerHarness:
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


def worker_harness(
    provider: ScriptedProvider | None = None,
    *,
    queue: FakeQueue | None = None,
    providers: ProvidersByName | None = None,
    receiver: Receiver | None = None,
    patience: dict[str, Any] | None = None,
    **pace: Any,
) -> WorkerHarness:
    """Make a worker; tests pass only the parts that they are about. All pauses are short."""
    queue = queue or FakeQueue()
    provider, storage = provider or ScriptedProvider(), FakeStorage()
    pauses: dict[str, Any] = {"backoff_seconds": 0.005, "backoff_max_seconds": 0.02, **(patience or {})}
    short = RetryPolicy(**pauses)
    leases = Leases(queue, lease_seconds=queue.lease_seconds)
    slots = Slots(pace.pop("slots", 3))
    completions = Completions(queue, slots)
    runner = Runner(
        queue=queue,
        completions=completions,
        providers=providers or OneProvider(provider),
        receiver=receiver or Receiver(Fetcher(), InProcessChecker()),
        storage=cast("PictureStore", storage),
        retry_policy=short,
    )
    worker = Worker(
        queue=queue,
        slots=slots,
        completions=completions,
        runner=runner,
        leases=leases,
        timing=WorkerTiming(**{"grace_seconds": 5, "report_seconds": 1, **pace}),
        retry_policy=short,
    )
    return WorkerHarness(queue, provider, storage, leases, runner, worker)


def picture(colour: str = "teal") -> bytes:
    """A small, complete picture."""
    file = BytesIO()
    Image.new("RGB", (40, 30), colour).save(file, "png")
    return file.getvalue()


@contextmanager
def checked_picture() -> Generator[CheckedImage]:
    """A picture in its file, ready for Storage."""
    with unnamed_file() as file:
        write(file, picture())
        yield checked(file, CheckLimits())


@asynccontextmanager
async def working(worker: Worker) -> AsyncGenerator[asyncio.Task[None]]:
    """Run the worker's loop; at the end, stop it and check that it left no task behind."""
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
