"""How an attempt comes to its job at the provider, and never to two of them; and what ends that job.

An order is recorded before it is sent. So whoever takes an item over knows of it: a job with an id is resumed, an
order without one is looked for, and only what certainly never arrived is sent again.
"""

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, replace

import structlog

from batchgen.errors import (
    LeaseLost,
    OutcomeUnknown,
    ProviderBusy,
    ProviderError,
    ProviderRejected,
    ProviderUnavailable,
)
from batchgen.providers.base import (
    AccountableProvider,
    ImageRequest,
    Output,
    Provider,
    Settlement,
    SynchronousProvider,
)
from batchgen.providers.registry import NOT_SET_UP_SECONDS, ProvidersByName
from batchgen.queue.ports import Queue
from batchgen.queue.types import Account, NewOrder
from scheduler.image_requests import new_request, request_of_order
from scheduler.leases import Lease, Stop, Stopped
from scheduler.retries import RetryPolicy, RetryWrites, finish_when_cancelled

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Job:
    provider: Provider
    request: ImageRequest
    id: str


@dataclass(slots=True)
class ItemOrder:
    """How far an attempt has come with its order."""

    lease: Lease
    provider: Provider | None = None
    job: Job | None = None
    is_open: bool = False
    """An order was sent, or may have been, and nobody knows yet what became of it."""
    refusal: ProviderError | None = None
    """What came of the order in place of a job."""

    @classmethod
    def of(cls, lease: Lease) -> "ItemOrder":
        """As an earlier attempt has left it; nobody has looked yet at which provider."""
        claim = lease.claim
        return cls(lease, is_open=claim.order_key is not None or claim.provider_job_id is not None)

    @property
    def provider_name(self) -> str:
        claim = self.lease.claim
        return self.provider.name if self.provider else claim.provider or claim.model_provider

    @property
    def is_lost_with_worker(self) -> bool:
        """Whether no other worker can resume the job."""
        return self.job is not None and isinstance(self.job.provider, SynchronousProvider)

    @property
    def is_charged(self) -> bool | None:
        if self.is_open:
            return None
        return False if self.refusal is None else self.refusal.is_charged


@dataclass(frozen=True, slots=True)
class Delivery:
    """A picture that a provider has made, with what is known of its order."""

    output: Output
    account: Account
    local_server: str | None = None
    """Where it may be fetched from although that is no public address."""


class Ending(Exception):
    """An attempt's failure, with what it means for the order, which the error alone does not tell."""

    def __init__(self, error: Exception, *, job_over: bool, account: Account | None = None) -> None:
        super().__init__(str(error))
        self.error = error
        self.job_over = job_over
        self.account = account


class Orders:
    """Resumes, finds or buys the job of a leased item, waits for it, and ends it."""

    def __init__(
        self, queue: Queue, providers: ProvidersByName, retry_writes: RetryWrites, retry_policy: RetryPolicy
    ) -> None:
        self._queue = queue
        self._providers = providers
        self._retry_writes = retry_writes
        self._retry_policy = retry_policy

    async def deliver(self, order: ItemOrder) -> Delivery:
        """The picture, within the item's time. Raises `Ending`, `LeaseLost`, `Stopped` and what providers raise."""
        try:
            async with asyncio.timeout(self._retry_policy.item_timeout_seconds):
                job = await finish_when_cancelled(self._job_of(order))
                order.lease.is_bound = order.is_lost_with_worker
                return await self._wait(job)
        except TimeoutError as error:
            return await self._end_of_patience(order, error)

    async def deliver_again(self, order: ItemOrder) -> Delivery:
        """The same picture with a fresh link. Raises like `deliver`, and leaves the job alone."""
        assert order.job is not None  # noqa: S101 - it has delivered before
        async with asyncio.timeout(self._retry_policy.item_timeout_seconds):
            return await self._wait(order.job)

    async def stop(self, order: ItemOrder) -> Settlement:
        """Stop the job where its provider can, and ask once what became of it."""
        if order.provider is None:
            with suppress(ProviderError):
                self._look_at(order)
        job = order.job
        if job is None:
            return Settlement(is_over=not order.is_open, is_charged=order.is_charged)
        await self._cancel(job)
        return await self._settled(job)

    def late_delivery(self, order: ItemOrder, settlement: Settlement) -> Delivery | None:
        """The picture that a job has made by the time it was to be stopped."""
        if settlement.output is None:
            return None
        return Delivery(settlement.output, account_of(settlement), self._providers.local_server(order.provider_name))

    async def _job_of(self, order: ItemOrder) -> Job:
        """A job whose id is stored. Whoever cancels this gets half an order: see `finish_when_cancelled`."""
        provider = self._look_at(order)
        if order.job is not None:
            log.info("provider job resumed", job_id=order.job.id)
            return order.job
        left = request_of_order(order.lease.claim) if order.is_open else None
        job = await self._found(order, provider, left) if left else None
        order.job = job or await self._bought(order, provider, left)
        await self._attach(order.lease, order.job)
        return order.job

    def _look_at(self, order: ItemOrder) -> Provider:
        """Whose the item is, and which job an earlier attempt has left there.

        Raises `ModelUnusable` for a provider that does not exist, `ProviderBusy` for one that this worker cannot ask.
        """
        claim = order.lease.claim
        provider = self._providers.get((order.is_open and claim.provider) or claim.model_provider)
        is_anothers = order.is_open and claim.provider != provider.name
        if is_anothers and claim.is_late:
            raise ProviderBusy(
                f"This worker cannot ask {claim.provider}, which has the picture.",
                code="provider_not_set_up",
                retry_after_seconds=NOT_SET_UP_SECONDS,
            )
        order.provider = provider
        if is_anothers:  # this worker has one provider for all models: what others have is left to them
            order.is_open = False
        elif claim.provider_job_id is not None:
            order.job = Job(provider, request_of_order(claim), claim.provider_job_id)
        return provider

    async def _found(self, order: ItemOrder, provider: Provider, request: ImageRequest) -> Job | None:
        """The job of an order whose answer got lost; None where it certainly never arrived."""
        try:
            job_id = await self._find(provider, request)
        except OutcomeUnknown as error:
            order.is_open, order.refusal = False, error
            raise
        except ProviderError as error:
            raise Ending(error, job_over=False) from error
        order.is_open = job_id is not None
        if job_id is None:
            return None
        log.info("provider job found", job_id=job_id)
        return Job(provider, request, job_id)

    async def _find(self, provider: Provider, request: ImageRequest) -> str | None:
        if not isinstance(provider, AccountableProvider):
            raise OutcomeUnknown(f"{provider.name} cannot tell what became of this order.")
        async with asyncio.timeout(self._retry_policy.item_timeout_seconds):
            return await provider.find(request)

    async def _bought(self, order: ItemOrder, provider: Provider, left: ImageRequest | None) -> Job:
        """Record the order, then send it. `left` is one that never arrived: it is sent as it was."""
        lease = order.lease
        if lease.claim.is_late:
            raise ProviderRejected(f"{provider.name} does not show the job any more.", code="job_gone", is_charged=None)
        request = left or new_request(lease.claim, provider)
        if isinstance(provider, AccountableProvider):
            request = replace(request, key=await self._begun(lease, provider, request))
        # The worker may have been paused meanwhile, and another one be buying by now.
        if not lease.is_held or lease.stopped is Stop.CANCELLED:
            raise LeaseLost("The item was not ours any more when its order was about to be sent.")
        if not lease.may_order and isinstance(provider, SynchronousProvider):
            raise Stopped(Stop.SHUTDOWN)
        request = replace(request, ordered_at=time.monotonic())
        return Job(provider, request, await self._submitted(order, provider, request))

    async def _begun(self, lease: Lease, provider: Provider, request: ImageRequest) -> str:
        new = NewOrder(
            provider=provider.name, model=request.model, version=request.model_version, inputs=request.inputs
        )
        return str(await self._retry_writes(lease, lambda: self._queue.begin_order(lease.claim, new)))

    async def _submitted(self, order: ItemOrder, provider: Provider, request: ImageRequest) -> str:
        order.is_open = True
        try:
            async with asyncio.timeout(self._retry_policy.item_timeout_seconds):
                return await provider.submit(request)
        except ProviderError as error:
            order.is_open, order.refusal = _may_be_running(error), error
            raise Ending(error, job_over=not order.is_open) from error

    async def _attach(self, lease: Lease, job: Job) -> None:
        try:
            await self._retry_writes(
                lease, lambda: self._queue.attach_provider_job(lease.claim, job.provider.name, job.id)
            )
        except Exception:
            if not isinstance(job.provider, AccountableProvider):  # nobody would ever find this job again
                await self._cancel(job)
            raise

    async def _wait(self, job: Job) -> Delivery:
        began = time.monotonic()
        output = await job.provider.wait(job.id, job.request)
        account = _account_of(output, waited_seconds=time.monotonic() - began)
        return Delivery(output, account, self._providers.local_server(job.provider.name))

    async def _end_of_patience(self, order: ItemOrder, error: TimeoutError) -> Delivery:
        """The item took too long: stop its job, unless that has made the picture after all."""
        if not order.lease.is_held:
            raise LeaseLost("The item was not ours any more when its job was about to be stopped.")
        settlement = await self.stop(order)
        delivery = self.late_delivery(order, settlement)
        if delivery is None:
            reason: Exception = order.refusal or error
            if order.is_lost_with_worker and settlement.is_over and settlement.is_charged is not False:
                reason = OutcomeUnknown(
                    "The order ended without a picture as the item's time was up, and may be charged."
                )
            raise Ending(reason, job_over=settlement.is_over, account=account_of(settlement)) from error
        return delivery

    async def _cancel(self, job: Job) -> None:
        """Best effort: a provider that cannot cancel now is no reason to fail the item."""
        try:
            async with asyncio.timeout(self._retry_policy.backoff_max_seconds):
                await job.provider.cancel(job.id)
        except Exception as error:  # noqa: BLE001 - see above
            log.warning("provider job not cancelled", job_id=job.id, reason=type(error).__name__)

    async def _settled(self, job: Job) -> Settlement:
        """What became of a job that was just cancelled; not over where nobody can tell now."""
        if not isinstance(job.provider, AccountableProvider):
            return Settlement(is_over=True)
        try:
            async with asyncio.timeout(self._retry_policy.backoff_max_seconds):
                return await job.provider.settle(job.id, job.request)
        except Exception as error:  # noqa: BLE001 - whoever asks next learns it
            log.info("provider does not tell yet what became of the job", job_id=job.id, reason=type(error).__name__)
            return Settlement(is_over=False)


def account_of(settlement: Settlement) -> Account:
    return Account(
        is_charged=settlement.is_charged,
        queued_seconds=settlement.queued_seconds,
        running_seconds=settlement.running_seconds,
    )


def _account_of(output: Output, *, waited_seconds: float) -> Account:
    """Whether it is charged the database says: a finished picture costs what its model does."""
    running = waited_seconds if output.running_seconds is None else output.running_seconds
    return Account(queued_seconds=output.queued_seconds, running_seconds=running)


def _may_be_running(error: ProviderError) -> bool:
    """Whether an order may have become a job all the same, although its error is one after which to try again."""
    return isinstance(error, ProviderBusy | ProviderUnavailable) and error.is_charged is None
