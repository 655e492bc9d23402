"""Asks providers about paid orders that nobody waits for any more, so that what was paid for is collected."""

import asyncio
import time
from collections.abc import Sequence

import structlog

from batchgen.errors import ModelUnusable, OutcomeUnknown, ProviderError
from batchgen.models import OpenOrder, OrderOutcome
from batchgen.orders import OpenOrders
from batchgen.providers import ProvidersByName
from batchgen.providers.base import AccountableProvider, ImageRequest
from scheduler.housekeeping import Trouble

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

ORDERS_AT_ONCE = 20
ANSWER_SECONDS = 60.0
"""For one order, cancelling and all."""
LEASE_SECONDS = 120
"""For one handful. What was not settled by then may be taken by another worker."""


class Settling:
    """Never raises what it met: an order is asked about again later, by this worker or another one."""

    def __init__(self, orders: OpenOrders, providers: ProvidersByName) -> None:
        self._orders = orders
        self._providers = providers
        self._at_work = asyncio.Lock()
        self._trouble = Trouble("open orders")

    async def settle(self) -> int:
        """Ask about a handful of those that are due; how many items were queued to collect their picture."""
        async with self._at_work:
            with self._trouble.told():
                return await self._settle_all(await self._orders.take(ORDERS_AT_ONCE))
        return 0

    async def _settle_all(self, orders: Sequence[OpenOrder]) -> int:
        answers = await asyncio.gather(*(self._settle_one(order) for order in orders), return_exceptions=True)
        if errors := [answer for answer in answers if isinstance(answer, BaseException)]:
            raise errors[0]
        return sum(answer is True for answer in answers)

    async def _settle_one(self, order: OpenOrder) -> bool:
        outcome = await self._outcome_of(order)
        is_collected = await self._orders.settle(order, outcome)
        log.info(
            "open order asked about",
            generation_id=str(order.generation_id),
            provider=order.provider,
            job_id=order.provider_job_id,
            is_over=outcome.is_over,
            is_charged=outcome.is_charged,
            is_collected=is_collected,
        )
        return is_collected

    async def _outcome_of(self, order: OpenOrder) -> OrderOutcome:
        """What the provider says; where it says nothing, the order is not over."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._ask(order)
        except OutcomeUnknown:
            return OrderOutcome(is_over=True)
        except (ProviderError, ModelUnusable, TimeoutError) as error:
            log.info("the provider does not tell what became of an order", provider=order.provider, reason=str(error))
            return OrderOutcome(is_over=False)
        except Exception as error:  # one strange order must not hold up the others
            log.warning("an open order could not be asked about", provider=order.provider, exc_info=error)
            return OrderOutcome(is_over=False)

    async def _ask(self, order: OpenOrder) -> OrderOutcome:
        provider = self._providers.get(order.provider)
        if not isinstance(provider, AccountableProvider) or provider.name != order.provider:
            return OrderOutcome(is_over=False)
        request = _request_of(order)
        job_id = order.provider_job_id or await provider.find(request)
        if job_id is None:
            return OrderOutcome(is_over=True, is_charged=False)
        settlement = await provider.settle(job_id, request)
        if not settlement.is_over:
            await provider.cancel(job_id)
            return OrderOutcome(is_over=False)
        return OrderOutcome(
            is_over=True,
            is_charged=settlement.is_charged,
            has_picture=settlement.output is not None,
            queued_seconds=settlement.queued_seconds,
            running_seconds=settlement.running_seconds,
        )


def _request_of(order: OpenOrder) -> ImageRequest:
    """As it was ordered. What is not kept of the request, nobody needs to ask about it."""
    return ImageRequest(
        generation_id=order.generation_id,
        prompt="",
        seed=order.seed,
        width=0,
        height=0,
        model=order.model,
        model_version=order.version,
        key=str(order.order_key),
        inputs=order.inputs,
        ordered_at=time.monotonic() - order.ordered_seconds_ago,
    )
