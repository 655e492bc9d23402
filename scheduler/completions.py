"""Results on their way to the database: those of one moment in one call, which brings work for the freed slots, too."""

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
    """What fills the slots that completed items free: `Slots`."""

    def reserve(self, ending: int) -> Reservation:
        """Reserve free slots, counting `ending` items as finished."""
        ...

    def take(self, claims: Sequence[Claim] | None, reservation: Reservation) -> None:
        """The answer to a reservation; None: there was none."""
        ...


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

    def __init__(self, queue: Queue, slots: Refill) -> None:
        self._slots = slots
        self._queue = queue
        self._waiting: list[Result] = []
        self._writing: asyncio.Task[None] | None = None
        self._alone: set[asyncio.Task[None]] = set()
        self._is_answered = True
        self._context = copy_context()  # what is said of many results must not carry the fields of one item

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
            # A claim whose answer gets lost leases items to nobody: after a loss, none until there is an answer.
            reservation = self._slots.reserve(len(together)) if self._is_answered else Reservation()
            claims: Sequence[Claim] | None = None
            try:
                claims = await self._write(together, reservation.slots)
            finally:
                self._slots.take(claims, reservation)
            for _ in range(3):
                await asyncio.sleep(0)  # the items end, and their slots count as free

    async def settled(self, seconds: float) -> None:
        """Wait until nothing is being written any more, but no longer than `seconds`."""
        under_way = {task for task in (self._writing, *self._alone) if task is not None and not task.done()}
        if under_way:
            await asyncio.wait(under_way, timeout=seconds)

    async def _write(self, together: Sequence[Result], limit: int) -> Sequence[Claim] | None:
        """Write results and settle each; the claims that came with the answer, None where there was none."""
        try:
            done = await self._queue.complete_and_claim([(one.claim, one.image) for one in together], limit)
        except Exception as error:  # noqa: BLE001 - whoever waits decides what it means
            self._is_answered = isinstance(error, InvalidRequest)
            self._write_apart(together, error)
            return None
        self._is_answered = True
        for one in together:
            is_written = one.claim.lease_id in done.lease_ids
            one.settle(None if is_written else LeaseLost(f"generation {one.claim.generation_id} is not ours any more"))
        if done.claim_error is not None:
            log.warning(
                "results are written, but no work came with the answer",
                code=done.claim_error.code,
                reason=done.claim_error.message,
            )
            return None
        return done.claims

    def _write_apart(self, together: Sequence[Result], error: Exception) -> None:
        """One result that does not fit, or that somebody keeps from being written, must not hold up the others."""
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
            self._slots.take(None, Reservation())  # there is room that nobody has asked to fill
