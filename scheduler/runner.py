"""One generation: make its picture, store it, tell the database how it ended."""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from itertools import count
from typing import Any, TypeVar

import structlog

from batchgen.checking import CheckedImage
from batchgen.errors import (
    InvalidRequest,
    LeaseLost,
    NotSignedIn,
    QueueUnavailable,
    StorageError,
)
from batchgen.fetching import LinkExpired
from batchgen.models import Account, Claim, Fault, GenerationStatus, StoredImage
from batchgen.policy import CANCELLED, fault_of
from batchgen.providers import ProvidersByName
from batchgen.providers.base import AccountableProvider, GeneratedImage, Output, Settlement
from batchgen.queue import Queue
from batchgen.receiving import Receiver
from batchgen.storage import ImageStorage
from scheduler.chance import RANDOM
from scheduler.completions import Completions
from scheduler.insisting import Patience, insisting
from scheduler.leases import Lease, Stop, Stopped
from scheduler.orders import Orders, Purchase

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


class Runner:
    """Runs items one at a time each; many calls of `run` go on at once."""

    def __init__(
        self,
        *,
        queue: Queue,
        completions: Completions,
        providers: ProvidersByName,
        receiver: Receiver,
        storage: ImageStorage,
        patience: Patience,
        random: Callable[[], float] = RANDOM,
    ) -> None:
        self._queue = queue
        self._completions = completions
        self._providers = providers
        self._receiver = receiver
        self._storage = storage
        self._patience = patience
        self._random = random
        self._insist = insisting(patience, random)
        self._orders = Orders(queue, providers, self._insist, timeout_seconds=patience.item_timeout_seconds)

    async def run(self, lease: Lease) -> Outcome:
        """Attempt the item and report the outcome. Stop it through its lease, not by cancelling this call."""
        log.info("generation started")
        outcome = await self.attempt(lease)
        lease.is_reporting = True
        return await self.report(lease, outcome)

    async def attempt(self, lease: Lease) -> Outcome:
        """Make and store the picture; every failure becomes an outcome."""
        try:
            purchase = self._orders.begin(lease.claim)
        except Exception as error:  # noqa: BLE001 - as below
            return _given_up(fault_of(error, provider=lease.claim.model_provider))
        try:
            return Succeeded(await lease.until_stopped(self._make_and_store(lease, purchase)))
        except Stopped as stopped:
            return await self._end_early(lease, purchase, stopped.reason)
        except LeaseLost:
            return Released(Stop.LOST)
        except Exception as error:  # noqa: BLE001 - whatever a provider raises must not end more than its own item
            return await self._give_up(lease, purchase, error)

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

    async def _make_and_store(self, lease: Lease, purchase: Purchase) -> StoredImage:
        clock = asyncio.get_running_loop().time
        async with asyncio.timeout(self._patience.item_timeout_seconds):
            job_id = await _to_the_end(self._orders.have_job(lease, purchase))
            began_at = clock()
            output = await purchase.provider.wait(job_id, purchase.request)
        lease.is_paid = True
        waited = clock() - began_at
        try:
            return await self._receive(lease, purchase, output, waited)
        except LinkExpired as error:
            log.info("the picture's link has ended, asking for another one", reason=str(error))
        async with asyncio.timeout(self._patience.item_timeout_seconds):
            output = await purchase.provider.wait(job_id, purchase.request)
        return await self._receive(lease, purchase, output, waited)

    async def _receive(self, lease: Lease, purchase: Purchase, output: Output, waited: float) -> StoredImage:
        """Fetch, check and store a picture. `waited`: seconds, where its provider does not tell how long it ran."""
        if isinstance(output, GeneratedImage):
            image = await self._store(lease.claim, output)
            return image.model_copy(update={"seed": output.seed})
        local_server = self._providers.local_server(purchase.provider.name)
        async with self._receiver.received(output, local_server=local_server) as checked:
            if checked.is_black:
                log.warning("the picture is all black", provider=purchase.provider.name)
            image = await self._store(lease.claim, checked)
            is_black = checked.is_black
        ran = waited if output.running_seconds is None else output.running_seconds
        account = Account(queued_seconds=output.queued_seconds, running_seconds=ran)
        told = {"seed": output.seed, "model_version": output.version, "is_black": is_black, "account": account}
        return image.model_copy(update=told)

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

    async def _end_early(self, lease: Lease, purchase: Purchase, reason: Stop) -> Outcome:
        """Only a cancelled item ends its provider's job: after a loss or a shutdown the next worker resumes it."""
        if reason is not Stop.CANCELLED:
            return Released(reason)
        return await self._stop_job(lease, purchase, CANCELLED)

    async def _give_up(self, lease: Lease, purchase: Purchase, error: Exception) -> Outcome:
        fault = fault_of(error, provider=purchase.provider.name)
        if fault.code in ("internal_error", "timeout"):
            log.warning("attempt failed", code=fault.code, exc_info=error)
        if isinstance(error, TimeoutError) and not lease.is_paid:
            return await self._stop_job(lease, purchase, fault)
        if lease.is_paid and fault.job_over:
            fault = fault.model_copy(update={"is_charged": True})
        return _given_up(fault)

    async def _stop_job(self, lease: Lease, purchase: Purchase, fault: Fault) -> Outcome:
        """End the attempt with `fault`, and with what its job has cost; or with its picture, where that was quicker."""
        if purchase.job_id is None:
            is_over = purchase.is_over
            return _given_up(fault.model_copy(update={"job_over": is_over, "is_charged": purchase.is_charged}))
        await self._cancel_job(purchase)
        settlement = await self._settlement_of(purchase)
        if settlement.output is not None:
            try:
                return Succeeded(await self._receive(lease, purchase, settlement.output, 0.0))
            except Exception as error:  # noqa: BLE001 - it is asked for again
                log.warning("a picture that was ready late is not here yet", reason=str(error))
                return _given_up(fault.model_copy(update={"job_over": False}))
        told = {
            "job_over": settlement.is_over,
            "is_charged": settlement.is_charged,
            "queued_seconds": settlement.queued_seconds,
            "running_seconds": settlement.running_seconds,
        }
        return _given_up(fault.model_copy(update=told))

    async def _settlement_of(self, purchase: Purchase) -> Settlement:
        """What the provider says of a job that was just cancelled; where it says nothing, it is not over."""
        if not isinstance(purchase.provider, AccountableProvider):
            return Settlement(is_over=True)
        assert purchase.job_id is not None  # noqa: S101 - the caller's condition
        try:
            async with asyncio.timeout(self._patience.backoff_max_seconds):
                return await purchase.provider.settle(purchase.job_id, purchase.request)
        except Exception as error:  # noqa: BLE001 - the sweep asks again
            log.info("the provider does not tell what became of the job", reason=type(error).__name__)
            return Settlement(is_over=False)

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

    async def _cancel_job(self, purchase: Purchase) -> None:
        """Best effort: a provider that cannot cancel now is no reason to fail the item."""
        assert purchase.job_id is not None  # noqa: S101 - the callers' condition
        try:
            async with asyncio.timeout(self._patience.backoff_max_seconds):
                await purchase.provider.cancel(purchase.job_id)
        except Exception as error:  # noqa: BLE001 - see above
            log.warning("provider job not cancelled", job_id=purchase.job_id, reason=type(error).__name__)


def _given_up(fault: Fault) -> RetryLater | Failed:
    return RetryLater(fault) if fault.retryable else Failed(fault)


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
