"""Open orders as the worker sees them: paid jobs that nobody waits for any more, to be asked about and settled."""

from collections.abc import Sequence
from typing import Protocol

from batchgen.models import OpenOrder, OrderOutcome


class OpenOrders(Protocol):
    """Where open orders come from and what became of them goes to. Raises `QueueUnavailable` like the queue."""

    async def take(self, limit: int) -> Sequence[OpenOrder]:
        """Lease up to `limit` open orders that are due to be asked about."""
        ...

    async def settle(self, order: OpenOrder, outcome: OrderOutcome) -> bool:
        """Write down what the provider said; whether its item was queued to collect the picture.

        An order that is not over is asked about again later. One that is not leased any more is left alone.
        """
        ...
