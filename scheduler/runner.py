"""One generation: make its picture, store it, tell the database how it ended."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

import structlog

from batchgen.checking import CheckedImage
from batchgen.errors import InvalidRequest, LeaseLost, NotSignedIn, QueueUnavailable, StorageError
from batchgen.models import Claim, Fault, GenerationStatus, StoredImage
from batchgen.policy import CANCELLED, backoff_seconds, fault_of
from batchgen.providers.base import GeneratedImage, ImageRequest, Provider
from batchgen.queue import Queue
from batchgen.receiving import Receiver
from batchgen.storage import ImageStorage
from scheduler.chance import RANDOM
from scheduler.completions import Completions
from scheduler.leases import Lease, Stop, Stopped

T = TypeVar("T")
log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Succeeded:
    image: StoredImage


@dataclass(frozen=True, slots=True)
class RetryLater:
    fault: Fault
    in_seconds: float | None = None
    """When the item is due again, once the database has said so."""


@dataclass(frozen=True, slots=True)
class Failed:
    fault: Fault


@dataclass(frozen=True, slots=True)
class Released:
    """Nothing was or will be written: the item is another worker's, or is about to be handed back."""

    reason: Stop


Outcome = Succeeded | RetryLater | Failed | Released


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the runner tries."""

    item_timeout_seconds: float = 600
    storage_patience_seconds: float = 120
    backoff_seconds: float = 0.5
    backoff_max_seconds: float = 30

    def pause(self, tries: int, random: Callable[[], float]) -> float:
        return backoff_seconds(tries, first=self.backoff_seconds, longest=self.backoff_max_seconds, jitter=random())


class Runner:
    """Runs items one at a time each; many calls of `run` go on at once."""

    def __init__(
        self,
        *,
        queue: Queue,
        completions: Completions,
        provider: Provider,
        receiver: Receiver,
        storage: ImageStorage,
        patience: Patience,
        random: Callable[[], float] = RANDOM,
    ) -> None:
        self._queue = queue
        self._completions = completions
        self._provider = provider
        self._receiver = receiver
        self._storage = storage
        self._patience = patience
        self._random = random

    async def run(self, lease: Lease) -> Outcome:
        """Attempt the item and report the outcome. Stop it through its lease, not by cancelling this call."""
        log.info("generation started")
        outcome = await self.attempt(lease)
        lease.is_reporting = True
        return await self.report(lease, outcome)

    async def attempt(self, lease: Lease) -> Outcome:
        """Make and store the picture; every failure becomes an outcome."""
        try:
            return Succeeded(await lease.until_stopped(self._make_and_store(lease)))
        except Stopped as stopped:
            return await self._end_early(lease, stopped.reason)
        except LeaseLost:
            return Released(Stop.LOST)
        except Exception as error:  # noqa: BLE001 - whatever a provider raises must not end more than its own item
            return await self._give_up(lease, error)

    async def report(self, lease: Lease, outcome: Outcome) -> Outcome:
        """Write the outcome down and return what became of it, for it is the database that decides on retries."""
        try:
            match outcome:
                case Succeeded(image):
                    await self._insist(lease, lambda: self._completions.complete(lease.claim, image))
                    log.info("generation completed", file_size=image.file_size)
                case RetryLater(fault=fault) | Failed(fault):
                    outcome = await self._report_fault(lease, fault)
                case Released(reason):
                    log.info("generation left", reason=reason.value)
        except LeaseLost:
            log.info("result dropped: the lease is not held any more, or an answer that got lost had settled it")
            return Released(Stop.LOST)
        except (QueueUnavailable, NotSignedIn) as error:
            log.warning("result could not be written down in time", reason=str(error))
            return Released(lease.stopped or Stop.LOST)
        except InvalidRequest as error:
            return await self._report_refusal(lease, error)
        return outcome

    async def _make_and_store(self, lease: Lease) -> StoredImage:
        request = _request_for(lease.claim)
        async with asyncio.timeout(self._patience.item_timeout_seconds):
            job_id = await _to_the_end(self._have_job(lease, request))
            output = await self._provider.wait(job_id, request)
        lease.is_paid = True
        if isinstance(output, GeneratedImage):
            return await self._store(lease.claim, output)
        async with self._receiver.received(output) as image:
            return await self._store(lease.claim, image)

    async def _have_job(self, lease: Lease, request: ImageRequest) -> str:
        """Resume the job that an earlier attempt left, or start one and remember it in the database at once."""
        if lease.claim.provider_job_id is not None and lease.claim.provider == self._provider.name:
            lease.job_id = lease.claim.provider_job_id
            log.info("provider job resumed", job_id=lease.job_id)
            return lease.job_id
        async with asyncio.timeout(self._patience.item_timeout_seconds):
            job_id = await self._provider.submit(request)
        try:
            await self._insist(lease, lambda: self._queue.attach_provider_job(lease.claim, self._provider.name, job_id))
        except Exception:
            # Nobody would ever find this job again.
            await self._cancel_job(job_id)
            raise
        lease.job_id = job_id
        return job_id

    async def _store(self, claim: Claim, image: GeneratedImage | CheckedImage) -> StoredImage:
        """Offer the picture for a good while: a fault of Storage is no reason to buy it again soon."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._patience.storage_patience_seconds
        for tries in count(1):
            try:
                return await self._storage.put(image, user_id=claim.user_id, generation_id=claim.generation_id)
            except StorageError as error:
                pause = self._patience.pause(tries, self._random)
                if clock() + pause > deadline:
                    raise
                if tries == 1:
                    log.warning("picture not stored yet, trying on", reason=str(error))
                await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    async def _end_early(self, lease: Lease, reason: Stop) -> Outcome:
        """Only a cancelled item ends its provider's job: after a loss or a shutdown the next worker resumes it."""
        if reason is not Stop.CANCELLED:
            return Released(reason)
        if lease.job_id is not None:
            await self._cancel_job(lease.job_id)
        return Failed(CANCELLED)

    async def _give_up(self, lease: Lease, error: Exception) -> Outcome:
        fault = fault_of(error, provider=self._provider.name)
        if fault.code in ("internal_error", "timeout"):
            log.warning("attempt failed", code=fault.code, exc_info=error)
        if isinstance(error, TimeoutError) and lease.job_id is not None and not lease.is_paid:
            await self._cancel_job(lease.job_id)
        return RetryLater(fault) if fault.retryable else Failed(fault)

    async def _report_fault(self, lease: Lease, fault: Fault) -> Outcome:
        verdict = await self._insist(lease, lambda: self._queue.fail(lease.claim, fault))
        if verdict.status is GenerationStatus.FAILED:
            log.warning("generation failed", code=fault.code, reason=fault.message)
            return Failed(fault)
        log.info("generation will be tried again", code=fault.code, in_seconds=verdict.retry_in_seconds)
        return RetryLater(fault, verdict.retry_in_seconds)

    async def _report_refusal(self, lease: Lease, error: InvalidRequest) -> Outcome:
        """The database does not take the result, and would not take it again."""
        log.error("result refused", code=error.code, reason=error.message)
        try:
            return await self._report_fault(lease, fault_of(error))
        except (LeaseLost, QueueUnavailable, NotSignedIn, InvalidRequest) as problem:
            log.warning("refusal could not be written down", reason=str(problem))
            return Released(lease.stopped or Stop.LOST)

    async def _insist(self, lease: Lease, call: Callable[[], Awaitable[T]]) -> T:
        """Call until the database answers, for as long as the lease is held; but not for ever: it may be this very
        call that the database cannot do.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._patience.item_timeout_seconds
        for tries in count(1):
            try:
                return await call()
            except (QueueUnavailable, NotSignedIn) as error:
                if tries == 1:
                    log.warning("the queue does not answer, trying on", reason=str(error))
                await lease.pause(self._patience.pause(tries, self._random))
                if lease.stopped is not None or clock() > deadline:
                    raise
        raise AssertionError("the loop above returns or raises")

    async def _cancel_job(self, job_id: str) -> None:
        """Best effort: a provider that cannot cancel now is no reason to fail the item."""
        try:
            async with asyncio.timeout(self._patience.backoff_max_seconds):
                await self._provider.cancel(job_id)
        except Exception as error:  # noqa: BLE001 - see above
            log.warning("provider job not cancelled", job_id=job_id, reason=type(error).__name__)


def _request_for(claim: Claim) -> ImageRequest:
    return ImageRequest(
        generation_id=claim.generation_id,
        prompt=claim.prompt,
        seed=claim.seed,
        width=claim.width,
        height=claim.height,
        negative_prompt=claim.negative_prompt,
        model=claim.model,
        model_version=claim.model_version,
        steps=claim.steps,
        guidance_scale=claim.guidance_scale,
        retry_count=claim.retry_count,
    )


async def _to_the_end(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` whole, whoever cancels: a job that may be paid for must get its id written down."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await _wait_for(task)
        if not task.cancelled() and (error := task.exception()):
            log.info("the job was not taken on", reason=type(error).__name__)
        raise


async def _wait_for(task: asyncio.Task[Any]) -> None:
    """Wait without raising the task's error; a second cancellation does end the task."""
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        raise
