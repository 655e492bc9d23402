"""Submit or resume an attempt's provider job, never ordering twice; wait for it and stop it.

An order is recorded before it is sent, so the next worker on the item finds it: a job with an id is resumed, an order
without one is looked up at the provider, and only an order that certainly never arrived is sent again.
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
from batchgen.order_state import NOT_CHARGED, OPEN, OVER, OrderState
from batchgen.providers.base import (
    AccountableProvider,
    ImageRequest,
    Picture,
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
    """Open once the order may have been sent; over if there is none."""
    provider: Provider | None = None
    job: Job | None = None
    refusal: ProviderError | None = None
    """The error that the order led to, instead of a job."""
    left_as: OrderState | None = None
    """The order's state after a failure, if it is known better than from the error."""

    @classmethod
    def of(cls, lease: Lease) -> "ItemOrder":
        """Start from what an earlier attempt left; the provider is not looked up yet."""
        claim = lease.claim
        is_ordered = claim.order_key is not None or claim.provider_job_id is not None
        return cls(lease, OPEN if is_ordered else NOT_CHARGED)

    @property
    def provider_name(self) -> str:
        claim = self.lease.claim
        return self.provider.name if self.provider else claim.provider or claim.model_provider

    @property
    def is_lost_with_worker(self) -> bool:
        """True if no other worker can resume the job."""
        return self.job is not None and isinstance(self.job.provider, SynchronousProvider)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A picture that a provider has made, with the state of its order."""

    picture: Picture
    order: OrderState
    local_server: str | None = None
    """A server from which the picture may be fetched although its address is not public."""


class Orders:
    """Resumes, finds or orders the job of a leased item, waits for it, and stops it."""

    def __init__(
        self, queue: Queue, providers: ProvidersByName, retry_writes: RetryWrites, retry_policy: RetryPolicy
    ) -> None:
        self._queue = queue
        self._providers = providers
        self._retry_writes = retry_writes
        self._retry_policy = retry_policy

    async def deliver(self, order: ItemOrder) -> Delivery:
        """Return the picture, within the item's time.

        Raises `TimeoutError`, `LeaseLost`, `Stopped` and `ProviderError`; sets `order.left_as` where it knows more.
        """
        try:
            async with asyncio.timeout(self._retry_policy.item_timeout_seconds):
                job = await finish_when_cancelled(self._resume_or_order(order))
                order.lease.is_bound = order.is_lost_with_worker
                return await self._wait(job)
        except TimeoutError as error:
            return await self._end_overdue(order, error)

    async def deliver_again(self, order: ItemOrder) -> Delivery:
        """Return the same picture with a fresh link. Raises as `deliver` does; never stops the job."""
        assert order.job is not None  # noqa: S101 - it has delivered before
        async with asyncio.timeout(self._retry_policy.item_timeout_seconds):
            return await self._wait(order.job)

    async def stop(self, order: ItemOrder) -> Settlement:
        """Cancel the job if its provider can, and ask once what became of it."""
        if order.provider is None:
            with suppress(ProviderError):
                self._look_up(order)
        job = order.job
        if job is None:
            return Settlement(order.state)
        await self._cancel(job)
        return await self._settle(job)

    def late_delivery(self, order: ItemOrder, settlement: Settlement) -> Delivery | None:
        """Return the picture if the job had made one before it could be stopped."""
        if settlement.picture is None:
            return None
        return Delivery(settlement.picture, settlement.order, self._providers.local_server(order.provider_name))

    async def _resume_or_order(self, order: ItemOrder) -> Job:
        """Return a job whose id is stored. Never cancel this half-way: see `finish_when_cancelled`."""
        provider = self._look_up(order)
        if order.job is not None:
            log.info("provider job resumed", job_id=order.job.id)
            return order.job
        left = None if order.state.over else request_of_order(order.lease.claim)
        job = await self._find_job(order, provider, left) if left else None
        order.job = job or await self._order_job(order, provider, left)
        await self._attach(order.lease, order.job)
        return order.job

    def _look_up(self, order: ItemOrder) -> Provider:
        """Return the item's provider, and set the job that an earlier attempt left there.

        Raises `ModelUnusable` if the provider does not exist, `ProviderBusy` if this worker cannot use it.
        """
        claim = order.lease.claim
        is_open = not order.state.over
        provider = self._providers.get((is_open and claim.provider) or claim.model_provider)
        is_anothers = is_open and claim.provider != provider.name
        if is_anothers and claim.is_late:
            raise ProviderBusy(
                f"This worker cannot use {claim.provider}, which has the picture.",
                code="provider_not_set_up",
                retry_after_seconds=NOT_SET_UP_SECONDS,
            )
        order.provider = provider
        if is_anothers:  # this worker uses one provider for all models and leaves other providers' jobs alone
            order.state = NOT_CHARGED
        elif claim.provider_job_id is not None:
            order.job = Job(provider, request_of_order(claim), claim.provider_job_id)
        return provider

    async def _find_job(self, order: ItemOrder, provider: Provider, request: ImageRequest) -> Job | None:
        """Find the job of an order whose answer was lost; None if the order certainly never arrived."""
        try:
            job_id = await self._find_id(provider, request)
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

    async def _find_id(self, provider: Provider, request: ImageRequest) -> str | None:
        if not isinstance(provider, AccountableProvider):
            raise OutcomeUnknown(f"{provider.name} cannot tell what became of this order.")
        async with asyncio.timeout(self._retry_policy.item_timeout_seconds):
            return await provider.find(request)

    async def _order_job(self, order: ItemOrder, provider: Provider, left: ImageRequest | None) -> Job:
        """Record the order, then send it. `left` is an order that never arrived; it is sent unchanged."""
        lease = order.lease
        if lease.claim.is_late:
            raise ProviderRejected(f"{provider.name} no longer knows the job.", code="job_gone", order=OVER)
        request = left or new_request(lease.claim, provider)
        if isinstance(provider, AccountableProvider):
            request = replace(request, key=await self._record(lease, provider, request))
        # The worker may have been suspended meanwhile, and another one may be ordering by now.
        if not lease.is_held or lease.stopped is Stop.CANCELLED:
            raise LeaseLost("The lease was lost before the order was sent.")
        if not lease.may_order and isinstance(provider, SynchronousProvider):
            raise Stopped(Stop.SHUTDOWN)
        request = replace(request, ordered_at=time.monotonic())
        return Job(provider, request, await self._submit(order, provider, request))

    async def _record(self, lease: Lease, provider: Provider, request: ImageRequest) -> str:
        new = NewOrder(
            provider=provider.name, model=request.model, version=request.model_version, inputs=request.inputs
        )
        return str(await self._retry_writes(lease, lambda: self._queue.begin_order(lease.claim, new)))

    async def _submit(self, order: ItemOrder, provider: Provider, request: ImageRequest) -> str:
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
            if not isinstance(job.provider, AccountableProvider):  # no later attempt could find this job
                await self._cancel(job)
            raise

    async def _wait(self, job: Job) -> Delivery:
        began = time.monotonic()
        picture = await job.provider.wait(job.id, job.request)
        waited = OrderState(running_seconds=time.monotonic() - began)
        return Delivery(picture, waited.merge(picture.order), self._providers.local_server(job.provider.name))

    async def _end_overdue(self, order: ItemOrder, error: TimeoutError) -> Delivery:
        """Stop the job of an item that took too long; return its picture if it has made one after all."""
        if not order.lease.is_held:
            raise LeaseLost("The lease was lost before the job was stopped.")
        settlement = await self.stop(order)
        delivery = self.late_delivery(order, settlement)
        if delivery is None:
            order.left_as = settlement.order
            if order.is_lost_with_worker and settlement.order.over and settlement.order.charged is not False:
                raise OutcomeUnknown(
                    "The item's time was up before the order led to a picture; it may be charged."
                ) from error
            raise order.refusal or error
        return delivery

    async def _cancel(self, job: Job) -> None:
        """Cancel the job if possible: a provider that cannot cancel now is no reason to fail the item."""
        try:
            async with asyncio.timeout(self._retry_policy.backoff_max_seconds):
                await job.provider.cancel(job.id)
        except Exception as error:  # noqa: BLE001 - see above
            log.warning("provider job not cancelled", job_id=job.id, reason=type(error).__name__)

    async def _settle(self, job: Job) -> Settlement:
        """Ask what became of a job that was just cancelled; it counts as open if the provider cannot tell."""
        if not isinstance(job.provider, AccountableProvider):
            return Settlement(OVER)
        try:
            async with asyncio.timeout(self._retry_policy.backoff_max_seconds):
                return await job.provider.settle(job.id, job.request)
        except Exception as error:  # noqa: BLE001 - the sweep of open orders asks again
            log.info("provider cannot tell yet what became of the job", job_id=job.id, reason=type(error).__name__)
            return Settlement(OPEN)


def _state_after(error: ProviderError) -> OrderState:
    """Return the state of an order whose submit raised `error`."""
    if isinstance(error, ProviderBusy | ModelUnusable):  # their own state is about a job that was asked about
        return NOT_CHARGED
    if isinstance(error, ProviderUnavailable) and error.order.charged is None:  # there may be a job all the same
        return OPEN
    return error.order.merge(OVER)
