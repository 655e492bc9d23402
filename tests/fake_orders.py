"""Open orders in memory."""

from collections.abc import Sequence
from uuid import UUID, uuid4

from batchgen.errors import QueueUnavailable
from batchgen.queue.types import OpenOrder, OrderOutcome


class FakeOrders:
    """`outcomes` maps keys of orders to their outcomes; an order that is not over does not fall due again by itself."""

    def __init__(self) -> None:
        self.due: list[OpenOrder] = []
        self.outcomes: dict[UUID, OrderOutcome] = {}
        self.taken: list[int] = []
        self.collects: set[UUID] = set()
        """Keys of orders whose item is queued if they turn out to have made a picture."""
        self.is_down = False
        self.cannot_settle: set[UUID] = set()

    def add(self, job_id: str | None = "job-1", *, provider: str = "fake-provider") -> OpenOrder:
        order = OpenOrder(
            order_key=uuid4(),
            lease_id=uuid4(),
            generation_id=uuid4(),
            provider=provider,
            provider_job_id=job_id,
            model="a-model",
            version="v1",
            inputs={"text": "a fox"},
            seed=7,
            ordered_seconds_ago=100,
        )
        self.due.append(order)
        return order

    async def take(self, limit: int) -> Sequence[OpenOrder]:
        if self.is_down:
            raise QueueUnavailable("the fake orders are down")
        taken, self.due = self.due[:limit], self.due[limit:]
        self.taken.append(len(taken))
        return taken

    async def settle(self, order: OpenOrder, outcome: OrderOutcome) -> bool:
        if order.order_key in self.cannot_settle:
            raise QueueUnavailable("the fake orders are down for this one")
        self.outcomes[order.order_key] = outcome
        return order.order_key in self.collects
