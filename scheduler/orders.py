"""How an attempt comes to its job at the provider, and never to two of them.

A purchase is written down before it is sent. So whoever takes an item over knows of it: a job with an id is resumed, an
order without one is looked for, and only what certainly never arrived is sent again.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import structlog

from batchgen.errors import (
    InvalidRequest,
    LeaseLost,
    ModelUnusable,
    OutcomeUnknown,
    ProviderError,
    ProviderUnavailable,
)
from batchgen.inputs import provider_inputs
from batchgen.models import Claim, Order
from batchgen.providers import ProvidersByName
from batchgen.providers.base import AccountableProvider, ImageRequest, Provider
from batchgen.queue import Queue
from scheduler.insisting import Insist
from scheduler.leases import Lease, Stop

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


@dataclass(slots=True)
class Purchase:
    """How far an attempt has come with its order."""

    provider: Provider
    request: ImageRequest
    job_id: str | None = None
    may_exist: bool = False
    """The order was sent, or may have been by an earlier attempt."""
    refusal: ProviderError | None = None
    """What came of it in place of a job."""

    @property
    def is_over(self) -> bool:
        """Whether nothing of this order is left to ask about. Only for one that has no job."""
        return not self.may_exist or (self.refusal is not None and self.refusal.is_job_over)

    @property
    def is_charged(self) -> bool | None:
        return self.refusal.is_charged if self.refusal is not None else False


class Orders:
    """Resumes, finds or buys the job of a leased item."""

    def __init__(self, queue: Queue, providers: ProvidersByName, insist: Insist, *, timeout_seconds: float) -> None:
        self._queue = queue
        self._providers = providers
        self._insist = insist
        self._timeout_seconds = timeout_seconds

    def begin(self, claim: Claim) -> Purchase:
        """What this attempt starts from. Raises `ModelUnusable` and, for a provider without a key, `ProviderBusy`."""
        is_open = claim.order_key is not None or claim.provider_job_id is not None
        provider = self._providers.get(claim.provider if is_open and claim.provider else claim.model_provider)
        if is_open and provider.name == claim.provider:
            return Purchase(provider, _request_of_order(claim), claim.provider_job_id, may_exist=True)
        return Purchase(provider, _request(claim, _inputs(claim, provider)))

    async def have_job(self, lease: Lease, purchase: Purchase) -> str:
        """The id of the item's job, stored in the database. Whoever cancels this call gets half an order: shield it."""
        if purchase.job_id is not None:
            log.info("provider job resumed", job_id=purchase.job_id)
            return purchase.job_id
        async with asyncio.timeout(self._timeout_seconds):
            job_id = await self._find(lease, purchase) if purchase.may_exist else None
            if job_id is None:
                job_id = await self._buy(lease, purchase)
        provider = purchase.provider
        try:
            await self._insist(lease, lambda: self._queue.attach_provider_job(lease.claim, provider.name, job_id))
        except Exception:
            if not isinstance(provider, AccountableProvider):  # nobody would ever find this job again
                await self._cancel(provider, job_id)
            raise
        purchase.job_id = job_id
        return job_id

    async def _find(self, lease: Lease, purchase: Purchase) -> str | None:
        """The job of an order that an earlier attempt has begun; None where it certainly never arrived."""
        if not isinstance(purchase.provider, AccountableProvider):
            return None
        try:
            job_id = await purchase.provider.find(purchase.request)
        except OutcomeUnknown as error:
            purchase.refusal = error
            raise
        except ProviderError as error:
            error.is_job_over = False
            raise
        if job_id is not None:
            log.info("provider job found", job_id=job_id)
        elif lease.claim.is_late:
            raise ProviderUnavailable("The provider does not show the job any more.", code="job_gone")
        return job_id

    async def _buy(self, lease: Lease, purchase: Purchase) -> str:
        provider, request = purchase.provider, purchase.request
        if isinstance(provider, AccountableProvider):
            purchase.may_exist = False
            order = Order(
                provider=provider.name, model=request.model, version=request.model_version, inputs=request.inputs
            )
            key = await self._insist(lease, lambda: self._queue.begin_order(lease.claim, order))
            request = purchase.request = replace(request, key=str(key), ordered_at=time.monotonic())
        # Between the two calls a worker may have been paused for long, and another one be buying by now.
        if lease.stopped in (Stop.LOST, Stop.CANCELLED) or lease.seconds_left <= 0:
            raise LeaseLost("The lease ended before the order was sent.")
        purchase.may_exist = True
        try:
            return await provider.submit(request)
        except ProviderError as error:
            error.is_job_over = True
            purchase.refusal = error
            raise

    async def _cancel(self, provider: Provider, job_id: str) -> None:
        try:
            await provider.cancel(job_id)
        except Exception as error:  # noqa: BLE001 - best effort
            log.warning("provider job not cancelled", job_id=job_id, reason=type(error).__name__)


def _inputs(claim: Claim, provider: Provider) -> Mapping[str, Any]:
    """The model's inputs at its provider. The offline one takes the request as it is."""
    if not isinstance(provider, AccountableProvider):
        return {}
    if claim.input_spec is None:
        raise ModelUnusable(
            f"The model {claim.model} has no inputs in batchgen.models: nothing can be ordered of it.",
            code="inputs_missing",
        )
    try:
        return provider_inputs(
            claim.input_spec,
            prompt=claim.prompt,
            negative_prompt=claim.negative_prompt,
            seed=claim.seed,
            width=claim.width,
            height=claim.height,
            steps=claim.steps,
            guidance_scale=claim.guidance_scale,
        )
    except InvalidRequest as error:
        raise ModelUnusable(error.message, code=error.code) from error


def _request(claim: Claim, inputs: Mapping[str, Any]) -> ImageRequest:
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
        estimated_seconds=claim.estimated_seconds,
        inputs=inputs,
    )


def _request_of_order(claim: Claim) -> ImageRequest:
    """As it was ordered, whatever has become of the model's row since."""
    ago = claim.ordered_seconds_ago
    return replace(
        _request(claim, claim.ordered_inputs or {}),
        key="" if claim.order_key is None else str(claim.order_key),
        ordered_at=None if ago is None else time.monotonic() - ago,
    )
