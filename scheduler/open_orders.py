"""Orders that nobody waits for any more: ask their providers what became of them, and write it down.

An item that was cancelled, or that failed while its job went on, leaves one. What was paid for is collected by a new
attempt, which the database makes; here it is only found out.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence

import structlog

from batchgen.errors import OutcomeUnknown, ProviderError, ProviderUnavailable
from batchgen.orders import NOT_CHARGED, OPEN, OVER
from batchgen.providers.base import AccountableProvider
from batchgen.providers.registry import ProvidersByName
from batchgen.queue.ports import OpenOrders
from batchgen.queue.types import OpenOrder, OrderOutcome
from scheduler.image_requests import request_about
from scheduler.outages import Outage, housekeeping_outage

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

ORDERS_AT_ONCE = 20
ASKED_AT_ONCE = 4
ANSWER_SECONDS = 15.0
"""For all that a provider is asked about one order."""
ORDER_LEASE_SECONDS = 180
"""More than a handful takes. What could not be written down is asked about again when this is over."""
SWEEP_SECONDS = 30.0
"""A beat takes no further handful after this time; the next beat goes on."""
LONGEST_HANDFUL_SECONDS = ANSWER_SECONDS * ORDERS_AT_ONCE / ASKED_AT_ONCE

STILL_OPEN = OrderOutcome(order=OPEN)
UNKNOWN = OrderOutcome(order=OVER)


class OrderSettler:
    """Never raises what it met: each order is asked about again later, by this worker or another one.

    `wake` is called when an item was queued for a picture that was found.
    """

    def __init__(self, orders: OpenOrders, providers: ProvidersByName, *, wake: Callable[[], None]) -> None:
        self._orders = orders
        self._providers = providers
        self._wake = wake
        self._sweeping = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._outage = housekeeping_outage("open orders")
        self._outages: dict[str, Outage] = {}

    async def sweep(self, seconds: float = SWEEP_SECONDS) -> None:
        """Ask about all open orders that are due, until there are none or `seconds` are over."""
        clock = asyncio.get_running_loop().time
        ends_at = clock() + seconds
        async with self._sweeping:
            with self._outage.logged():
                while not self._stopping.is_set():
                    taken = await self._orders.take(ORDERS_AT_ONCE)
                    await self._settle_all(taken)
                    if len(taken) < ORDERS_AT_ONCE or clock() >= ends_at:
                        break

    async def finish(self, seconds: float) -> None:
        """Sweep until nothing is due, `seconds` are over, or `stop`; what is under way then is left."""
        sweeping = asyncio.create_task(self.sweep(seconds))
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([sweeping, stopping], timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
        for task in (sweeping, stopping):
            task.cancel()
        await asyncio.gather(sweeping, stopping, return_exceptions=True)

    def stop(self) -> None:
        """Begin nothing more."""
        self._stopping.set()

    async def _settle_all(self, taken: Sequence[OpenOrder]) -> None:
        """A few at a time; one that fails leaves the others alone. Raises the first error of the database's."""
        room = asyncio.Semaphore(ASKED_AT_ONCE)
        problems: dict[str, list[Exception | None]] = defaultdict(list)

        async def settle(order: OpenOrder) -> None:
            async with room:
                if not self._stopping.is_set():
                    outcome, problem = await self._asked(order)
                    problems[order.provider].append(problem)
                    await self._write(order, outcome)

        results = await asyncio.gather(*(settle(order) for order in taken), return_exceptions=True)
        self._tell(problems)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _asked(self, order: OpenOrder) -> tuple[OrderOutcome, Exception | None]:
        """What became of an order, and what kept its provider from telling, where something did."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._outcome(order), None
        except OutcomeUnknown as error:
            log.warning("nobody can tell what became of an order", **_fields(order), reason=str(error))
            return UNKNOWN, None
        except TimeoutError:
            return STILL_OPEN, ProviderUnavailable(f"{order.provider} did not answer.", code="provider_timeout")
        except ProviderError as error:
            return STILL_OPEN, error
        except Exception:
            log.exception("an order could not be asked about", **_fields(order))
            return STILL_OPEN, None

    async def _outcome(self, order: OpenOrder) -> OrderOutcome:
        provider = self._providers.get(order.provider)
        if provider.name != order.provider or not isinstance(provider, AccountableProvider):
            return STILL_OPEN  # it is left to a worker that can ask
        request = request_about(order)
        job_id = order.provider_job_id or await provider.find(request)
        if job_id is None:
            return OrderOutcome(order=NOT_CHARGED)
        settlement = await provider.settle(job_id, request)
        if not settlement.order.over:
            await provider.cancel(job_id)
            return STILL_OPEN
        return OrderOutcome(order=settlement.order, has_picture=settlement.output is not None)

    async def _write(self, order: OpenOrder, outcome: OrderOutcome) -> None:
        is_queued = await self._orders.settle(order, outcome)
        if outcome.order.over:
            log.info("order settled", **_fields(order), charged=outcome.order.charged, is_collected=is_queued)
        if is_queued:
            self._wake()

    def _tell(self, problems: dict[str, list[Exception | None]]) -> None:
        """Of each provider, once, that it does not tell, and once that it does again."""
        for name, met in problems.items():
            with self._outages.setdefault(name, housekeeping_outage(f"open orders at {name}")).logged():
                if problem := next(filter(None, met), None):
                    raise problem


def _fields(order: OpenOrder) -> dict[str, str]:
    """What every line about an order carries."""
    return {
        "generation_id": str(order.generation_id),
        "order_key": str(order.order_key),
        "provider": order.provider,
    }
