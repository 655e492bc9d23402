"""Results on their way to the database: those of one moment in one call, which brings work for the freed slots, too."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from batchgen.errors import InvalidRequest, LeaseLost
from batchgen.models import Claim, StoredImage
from batchgen.queue import Queue

MOST_AT_ONCE = 100


@dataclass(frozen=True, slots=True)
class Reservation:
    """Slots that are spoken for while the queue is asked to fill them."""

    slots: int = 0
    asked_at: float = 0
    """A time of the running loop's clock, before the question was sent."""
    news: int = 0


class Refill(Protocol):
    """Who fills the slots that completed items free."""

    def reserve(self, ending: int) -> Reservation:
        """Speak for the slots that are free when `ending` items have ended."""
        ...

    def take(self, claims: Sequence[Claim] | None, reservation: Reservation) -> None:
        """The answer to a reservation; None: there was none."""
        ...


class NoRefill:
    def reserve(self, ending: int) -> Reservation:  # noqa: ARG002
        return Reservation()

    def take(self, claims: Sequence[Claim] | None, reservation: Reservation) -> None:
        """Nothing was asked for."""


@dataclass(slots=True, eq=False)
class Result:
    """A picture that waits to be written down."""

    claim: Claim
    image: StoredImage
    written: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def settle(self, error: Exception | None) -> None:
        if self.written.done():  # whoever waited has been cancelled
            return
        if error is None:
            self.written.set_result(None)
        else:
            self.written.set_exception(error)


class Completions:
    """Writes results down, one call at a time; those that come meanwhile go together with the next one."""

    def __init__(self, queue: Queue) -> None:
        self.refill: Refill = NoRefill()
        self._queue = queue
        self._waiting: list[Result] = []
        self._writing: asyncio.Task[None] | None = None

    async def complete(self, claim: Claim, image: StoredImage) -> None:
        """As `Queue.complete`: raises `LeaseLost`, `InvalidRequest` and `QueueUnavailable` for this item alone."""
        result = Result(claim, image)
        self._waiting.append(result)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all())
        await result.written

    async def _write_all(self) -> None:
        while self._waiting:
            together, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
            reservation = self.refill.reserve(len(together))
            claims: Sequence[Claim] | None = None
            try:
                claims = await self._write(together, reservation.slots)
            finally:
                self.refill.take(claims, reservation)

    async def _write(self, together: Sequence[Result], limit: int) -> Sequence[Claim] | None:
        """Write results and settle each; the claims that came with the answer, None where there was none."""
        try:
            done = await self._queue.complete_and_claim([(one.claim, one.image) for one in together], limit)
        except InvalidRequest as error:
            await self._write_one_by_one(together, error)
            return None
        except Exception as error:  # noqa: BLE001 - whoever waits decides what it means
            for one in together:
                one.settle(error)
            return None
        for one in together:
            is_written = one.claim.lease_id in done.lease_ids
            one.settle(None if is_written else LeaseLost(f"generation {one.claim.generation_id} is not ours any more"))
        return done.claims

    async def _write_one_by_one(self, together: Sequence[Result], error: InvalidRequest) -> None:
        """A result that does not fit must not keep the others from being written."""
        if len(together) == 1:
            together[0].settle(error)
            return
        for one in together:
            try:
                await self._queue.complete(one.claim, one.image)
            except Exception as its_own:  # noqa: BLE001 - as above
                one.settle(its_own)
            else:
                one.settle(None)
