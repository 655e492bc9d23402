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
    ModelUnusable,
    OutcomeUnknown,
    ProviderBusy,
    ProviderError,
    ProviderRejected,
    ProviderUnavailable,
)
from batchgen.orders import NOT_CHARGED, OPEN, OVER, OrderState
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
from batchgen.queue.types import NewOrder
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
    """The order of a leased item, as far as this attempt has come with it."""

    lease: Lease
    state: OrderState = NOT_CHARGED
    """Open from the moment when the order may have been sent. Over where there is none."""
    provider: Provider | None = None
    job: Job | None = None
    refusal: ProviderError | None = None
    """Raised by the order in place of a job."""
    left_as: OrderState | None = None
    """After a failure: the order's state, where it is known better than the error knows it."""

    @classmethod
    def of(cls, lease: Lease) -> "ItemOrder":
        """Start from what an earlier attempt left; its provider has not been looked up yet."""
        claim = lease.claim
        is_ordered = claim.order_key is not None or claim.provider_job_id is not None
        return cls(lease, OPEN if is_ordered else NOT_CHARGED)

    @property
    def provider_name(self) -> str:
        claim = self.lease.claim
        return self.provider.name if self.provider else claim.provider or claim.model_provider

    @property
    def is_lost_with_worker(self) -> bool:
        """Whether no other worker can resume the job."""
        return self.job is not None and isinstance(self.job.provider, SynchronousProvider)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A picture that a provider has made, with the state of its order."""

    output: Output
    order: OrderState
    local_server: str | None = None
    """Where it may be fetched from although that is no public address."""


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
        """Return the picture, within the item's time.

        Raises `TimeoutError`, `LeaseLost`, `Stopped` and what providers raise; `order.left_as` goes with it.
        """
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
            return Settlement(order.state)
        await self._cancel(job)
        return await self._settled(job)

    def late_delivery(self, order: ItemOrder, settlement: Settlement) -> Delivery | None:
        """The picture that a job has made by the time it was to be stopped."""
        if settlement.output is None:
            return None
        return Delivery(settlement.output, settlement.order, self._providers.local_server(order.provider_name))

    async def _job_of(self, order: ItemOrder) -> Job:
        """A job whose id is stored. Whoever cancels this gets half an order: see `finish_when_cancelled`."""
        provider = self._look_at(order)
        if order.job is not None:
            log.info("provider job resumed", job_id=order.job.id)
            return order.job
        left = None if order.state.over else request_of_order(order.lease.claim)
        job = await self._found(order, provider, left) if left else None
        order.job = job or await self._bought(order, provider, left)
        await self._attach(order.lease, order.job)
        return order.job

    def _look_at(self, order: ItemOrder) -> Provider:
        """Whose the item is, and which job an earlier attempt has left there.

        Raises `ModelUnusable` for a provider that does not exist, `ProviderBusy` for one that this worker cannot ask.
        """
        claim = order.lease.claim
        is_open = not order.state.over
        provider = self._providers.get((is_open and claim.provider) or claim.model_provider)
        is_anothers = is_open and claim.provider != provider.name
        if is_anothers and claim.is_late:
            raise ProviderBusy(
                f"This worker cannot ask {claim.provider}, which has the picture.",
                code="provider_not_set_up",
                retry_after_seconds=NOT_SET_UP_SECONDS,
            )
        order.provider = provider
        if is_anothers:  # this worker has one provider for all models: what others have is left to them
            order.state = NOT_CHARGED
        elif claim.provider_job_id is not None:
            order.job = Job(provider, request_of_order(claim), claim.provider_job_id)
        return provider

    async def _found(self, order: ItemOrder, provider: Provider, request: ImageRequest) -> Job | None:
        """The job of an order whose answer got lost; None where it certainly never arrived."""
        try:
            job_id = await self._find(provider, request)
        except OutcomeUnknown as error:
            order.state, order.refusal = error.order, error
            raise
        except ProviderError:
            order.left_as = OPEN
            raise
        if job_id is None:
            order.state = NOT_CHARGED
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
            raise ProviderRejected(f"{provider.name} does not show the job any more.", code="job_gone", order=OVER)
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
        order.state = OPEN
        try:
            async with asyncio.timeout(self._retry_policy.item_timeout_seconds):
                return await provider.submit(request)
        except ProviderError as error:
            order.state = order.left_as = _state_after(error)
            order.refusal = error
            raise

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
        waited = OrderState(running_seconds=time.monotonic() - began)
        return Delivery(output, waited.merge(output.order), self._providers.local_server(job.provider.name))

    async def _end_of_patience(self, order: ItemOrder, error: TimeoutError) -> Delivery:
        """The item took too long: stop its job, unless that has made the picture after all."""
        if not order.lease.is_held:
            raise LeaseLost("The item was not ours any more when its job was about to be stopped.")
        settlement = await self.stop(order)
        delivery = self.late_delivery(order, settlement)
        if delivery is None:
            order.left_as = settlement.order
            if order.is_lost_with_worker and settlement.order.over and settlement.order.charged is not False:
                raise OutcomeUnknown(
                    "The order ended without a picture as the item's time was up, and may be charged."
                ) from error
            raise order.refusal or error
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
            return Settlement(OVER)
        try:
            async with asyncio.timeout(self._retry_policy.backoff_max_seconds):
                return await job.provider.settle(job.id, job.request)
        except Exception as error:  # noqa: BLE001 - whoever asks next learns it
            log.info("provider does not tell yet what became of the job", job_id=job.id, reason=type(error).__name__)
            return Settlement(OPEN)


def _state_after(error: ProviderError) -> OrderState:
    """Return the state of an order whose submit raised `error`."""
    if isinstance(error, ProviderBusy | ModelUnusable):  # these may also be about a job, which goes on then
        return NOT_CHARGED
    if isinstance(error, ProviderUnavailable) and error.order.charged is None:  # it may have become a job all the same
        return OPEN
    return error.order.merge(OVER)
