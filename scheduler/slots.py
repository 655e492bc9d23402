"""The places for items that run at once: which are free, who has asked the queue to fill them, and whether to ask."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from batchgen.queue.types import Claim


@dataclass(frozen=True, slots=True)
class Reservation:
    """Slots that are kept while the queue is asked to fill them."""

    slots: int = 0
    asked_at: float = 0
    """A time of the running loop's clock, before the question was sent."""
    news: int = 0


class Slots:
    """Shared by the worker, which claims, and by `Completions`, whose answers bring work for the slots they free.

    The worker sets `may_claim` and `start`.
    """

    def __init__(self, count: int) -> None:
        self.running = 0
        self.claimed = 0
        """Items that the queue ever gave to this worker."""
        self.is_queue_empty = False
        """The last claim got nothing."""
        self.may_claim: Callable[[], bool] = lambda: False
        self.start: Callable[[Sequence[Claim], float], None] = _start_nothing
        """Starts claims that were asked for at that time of the loop's clock."""
        self._count = count
        self._reserved = 0
        self._news = 1
        """Counts what may have brought work: polls, wake-ups, items that made room."""
        self._seen = 0
        """The news at which the queue had no more for this worker."""

    @property
    def has_news(self) -> bool:
        """Whether anything has happened since the queue had no more for this worker."""
        return self._seen != self._news

    def note_news(self) -> None:
        self._news += 1

    def reserve(self, ending: int = 0) -> Reservation:
        """Reserve free slots, counting `ending` items as finished, until `take`."""
        slots = max(0, self._count - self.running - self._reserved + ending)
        if slots < ending:  # items that have ended, but count still: somebody has to ask for the rest
            self._news += 1
        if not self.may_claim():
            slots = 0
        self._reserved += slots
        return Reservation(slots, asked_at=asyncio.get_running_loop().time(), news=self._news)

    def take(self, claims: Sequence[Claim] | None, reservation: Reservation) -> None:
        """Start what the queue gave for a reservation; None: it did not answer."""
        self._reserved -= reservation.slots
        if claims is None or not reservation.slots:
            self._news += 1
            return
        self.is_queue_empty = not claims
        if len(claims) < reservation.slots:
            self._seen = max(self._seen, reservation.news)
        self.claimed += len(claims)
        self.start(claims, reservation.asked_at)


def _start_nothing(_claims: Sequence[Claim], _asked_at: float) -> None:
    """Nobody has set it yet."""
