"""Write results to the database, several in one call, and claim items for the freed slots with it."""

import asyncio
from collections.abc import Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from typing import Protocol

import structlog

from batchgen.errors import InvalidRequest, LeaseLost
from batchgen.queue.ports import Queue
from batchgen.queue.types import Claim, StoredImage
from scheduler.slots import Reservation

log = structlog.get_logger()

MOST_AT_ONCE = 100


class Refill(Protocol):
    """Fills the slots that completed items free; `Slots` does."""

    def reserve(self, ending: int) -> Reservation:
        """Reserve free slots, counting `ending` items as finished."""
        ...

    def take(self, claims: Sequence[Claim] | None, reservation: Reservation) -> None:
        """Start the claims made for a reservation; None if the queue did not answer."""
        ...


@dataclass(slots=True, eq=False)
class Result:
    """A stored picture that waits to be written to the database."""

    claim: Claim
    image: StoredImage
    written: asyncio.Future[None] = field(default_factory=lambda: asyncio.get_running_loop().create_future())

    def settle(self, error: Exception | None) -> None:
        if self.written.done():  # the waiting task was cancelled
            return
        if error is None:
            self.written.set_result(None)
        else:
            self.written.set_exception(error)


class Completions:
    """Writes results, one call at a time; results that arrive during a call go together with the next one."""

    def __init__(self, queue: Queue, slots: Refill) -> None:
        self._slots = slots
        self._queue = queue
        self._waiting: list[Result] = []
        self._writing: asyncio.Task[None] | None = None
        self._alone: set[asyncio.Task[None]] = set()
        self._is_answered = True
        self._context = copy_context()  # log lines about many results must not carry the fields of one item

    async def complete(self, claim: Claim, image: StoredImage) -> None:
        """As `Queue.complete`: raises `LeaseLost`, `InvalidRequest` and `QueueUnavailable` for this item alone."""
        result = Result(claim, image)
        self._waiting.append(result)
        if self._writing is None or self._writing.done():
            self._writing = asyncio.create_task(self._write_all(), context=self._context.copy())
        await result.written

    async def _write_all(self) -> None:
        while self._waiting:
            together, self._waiting = self._waiting[:MOST_AT_ONCE], self._waiting[MOST_AT_ONCE:]
            # A claim whose answer is lost leases items to nobody: after a loss, claim nothing until there is an answer.
            reservation = self._slots.reserve(len(together)) if self._is_answered else Reservation()
            claims: Sequence[Claim] | None = None
            try:
                claims = await self._write(together, reservation.slots)
            finally:
                self._slots.take(claims, reservation)
            for _ in range(3):
                await asyncio.sleep(0)  # lets the items end, so that their slots count as free

    async def settled(self, seconds: float) -> None:
        """Wait until nothing is being written, at most `seconds`."""
        under_way = {task for task in (self._writing, *self._alone) if task is not None and not task.done()}
        if under_way:
            await asyncio.wait(under_way, timeout=seconds)

    async def _write(self, together: Sequence[Result], limit: int) -> Sequence[Claim] | None:
        """Write results and settle each; return the claims of the answer, or None if there was none."""
        try:
            done = await self._queue.complete_and_claim([(one.claim, one.image) for one in together], limit)
        except Exception as error:  # noqa: BLE001 - each waiting item handles it
            self._is_answered = isinstance(error, InvalidRequest)
            self._write_apart(together, error)
            return None
        self._is_answered = True
        for one in together:
            is_written = one.claim.lease_id in done.lease_ids
            one.settle(
                None if is_written else LeaseLost(f"The lease of item {one.claim.generation_id} is no longer held.")
            )
        if done.claim_error is not None:
            log.warning(
                "results are written, but no work came with the answer",
                code=done.claim_error.code,
                reason=done.claim_error.message,
            )
            return None
        return done.claims

    def _write_apart(self, together: Sequence[Result], error: Exception) -> None:
        """Write each result in a call of its own: one that is refused or blocked must not hold up the others."""
        if len(together) == 1:
            together[0].settle(error)
            return
        for one in together:
            task = asyncio.create_task(self._write_alone(one))
            self._alone.add(task)
            task.add_done_callback(self._alone.discard)

    async def _write_alone(self, one: Result) -> None:
        try:
            await self._queue.complete(one.claim, one.image)
        except Exception as error:  # noqa: BLE001 - as above
            one.settle(error)
        else:
            one.settle(None)
            self._slots.take(None, Reservation())  # the freed slot has not been claimed for
