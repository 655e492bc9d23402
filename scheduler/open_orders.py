"""Ask providers what became of open orders, which no item waits for, and settle them in the database.

A cancelled item leaves an open order, and so does one that failed while its job went on. If the job made a picture, the
database starts a new attempt, which collects it.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence

import structlog

from batchgen.errors import OutcomeUnknown, ProviderError, ProviderUnavailable
from batchgen.order_state import NOT_CHARGED, OPEN, OVER
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
"""Time limit for all questions to a provider about one order."""
ORDER_LEASE_SECONDS = 180
"""More than one chunk takes. An order that could not be settled is asked about again after this time."""
SWEEP_SECONDS = 30.0
"""After this time a sweep takes no further chunk; the next one goes on."""
LONGEST_CHUNK_SECONDS = ANSWER_SECONDS * ORDERS_AT_ONCE / ASKED_AT_ONCE

STILL_OPEN = OrderOutcome(order=OPEN)
UNKNOWN = OrderOutcome(order=OVER)


class OrderSettler:
    """Sweeps open orders. Logs errors instead of raising them: each order is asked about again later, by any worker.

    `wake` is called when an item was queued to collect its picture.
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
        """Ask about the open orders that are due, until none is left or `seconds` have passed."""
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
        """Sweep until nothing is due, `seconds` have passed, or `stop` is called; then drop what is under way."""
        sweeping = asyncio.create_task(self.sweep(seconds))
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait([sweeping, stopping], timeout=max(0.0, seconds), return_when=asyncio.FIRST_COMPLETED)
        for task in (sweeping, stopping):
            task.cancel()
        await asyncio.gather(sweeping, stopping, return_exceptions=True)

    def stop(self) -> None:
        """Start nothing more."""
        self._stopping.set()

    async def _settle_all(self, taken: Sequence[OpenOrder]) -> None:
        """Settle a few orders at a time; an error of one stops no other. Raises the first database error at the end."""
        room = asyncio.Semaphore(ASKED_AT_ONCE)
        problems: dict[str, list[Exception | None]] = defaultdict(list)

        async def settle(order: OpenOrder) -> None:
            async with room:
                if not self._stopping.is_set():
                    outcome, problem = await self._ask(order)
                    problems[order.provider].append(problem)
                    await self._write(order, outcome)

        results = await asyncio.gather(*(settle(order) for order in taken), return_exceptions=True)
        self._log_outages(problems)
        for result in results:
            if isinstance(result, BaseException):
                raise result

    async def _ask(self, order: OpenOrder) -> tuple[OrderOutcome, Exception | None]:
        """Return an order's outcome, and the error that kept its provider from telling, if any."""
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._outcome(order), None
        except OutcomeUnknown as error:
            log.warning("outcome of an order is unknown", **_fields(order), reason=str(error))
            return UNKNOWN, None
        except TimeoutError:
            return STILL_OPEN, ProviderUnavailable(f"{order.provider} did not answer.", code="provider_timeout")
        except ProviderError as error:
            return STILL_OPEN, error
        except Exception:
            log.exception("asking about an order failed", **_fields(order))
            return STILL_OPEN, None

    async def _outcome(self, order: OpenOrder) -> OrderOutcome:
        provider = self._providers.get(order.provider)
        if provider.name != order.provider or not isinstance(provider, AccountableProvider):
            return STILL_OPEN  # left to a worker that has this provider
        request = request_about(order)
        job_id = order.provider_job_id or await provider.find(request)
        if job_id is None:
            return OrderOutcome(order=NOT_CHARGED)
        settlement = await provider.settle(job_id, request)
        if not settlement.order.over:
            await provider.cancel(job_id)
            return STILL_OPEN
        return OrderOutcome(order=settlement.order, has_picture=settlement.picture is not None)

    async def _write(self, order: OpenOrder, outcome: OrderOutcome) -> None:
        is_queued = await self._orders.settle(order, outcome)
        if outcome.order.over:
            log.info("order settled", **_fields(order), charged=outcome.order.charged, is_collected=is_queued)
        if is_queued:
            self._wake()

    def _log_outages(self, problems: dict[str, list[Exception | None]]) -> None:
        """Log each provider's outage once when it begins and once when it ends."""
        for name, met in problems.items():
            with self._outages.setdefault(name, housekeeping_outage(f"open orders at {name}")).logged():
                if problem := next(filter(None, met), None):
                    raise problem


def _fields(order: OpenOrder) -> dict[str, str]:
    """The fields of every log line about an order."""
    return {
        "generation_id": str(order.generation_id),
        "order_key": str(order.order_key),
        "provider": order.provider,
    }
