"""The slots for running items: reserve free ones, take what the queue gave for them, note news."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from batchgen.queue.types import Claim

Start = Callable[[Sequence[Claim], float], None]
"""Starts claims that were asked for at that time of the loop's clock."""


@dataclass(frozen=True, slots=True)
class Reservation:
    """Slots that are kept while the queue is asked to fill them."""

    slots: int = 0
    asked_at: float = 0
    """Before the request was sent, by the running loop's clock."""
    news: int = 0


class Slots:
    """Shared by the worker, which claims, and by `Completions`, whose calls claim items for the slots they free."""

    def __init__(self, count: int) -> None:
        self.running = 0
        self.claimed = 0
        """Items that this worker ever claimed."""
        self.is_queue_empty = False
        """The last claim returned nothing."""
        self.changed = asyncio.Event()
        """Set when a slot is freed or the queue may have work."""
        self._count = count
        self._reserved = 0
        self._news = 1
        """Counts what may have brought work: polls, wake-ups, items that made room."""
        self._seen = 0
        """The value of `_news` at which the queue had no more for this worker."""
        self._may_claim: Callable[[], bool] = lambda: False
        self._start: Start = lambda _claims, _asked_at: None

    def serve(self, *, may_claim: Callable[[], bool], start: Start) -> None:
        """Let `may_claim` decide whether slots are filled, and `start` start the claims. The worker calls this."""
        self._may_claim, self._start = may_claim, start

    @property
    def has_news(self) -> bool:
        """Whether anything has happened since the queue had no more for this worker."""
        return self._seen != self._news

    def note_news(self) -> None:
        self._news += 1

    def wake(self) -> None:
        """Have the worker ask the queue soon."""
        self.note_news()
        self.changed.set()

    def occupy(self) -> None:
        self.running += 1

    def free(self) -> None:
        self.running -= 1
        self.changed.set()

    def reserve(self, ending: int = 0) -> Reservation:
        """Reserve free slots, counting `ending` items as finished, until `take`."""
        slots = max(0, self._count - self.running - self._reserved + ending)
        if slots < ending:  # some finished items still count as running: somebody has to ask for their slots later
            self.note_news()
        if not self._may_claim():
            slots = 0
        self._reserved += slots
        return Reservation(slots, asked_at=asyncio.get_running_loop().time(), news=self._news)

    def take(self, claims: Sequence[Claim] | None, reservation: Reservation) -> None:
        """Start the claims made for a reservation; None if the queue did not answer."""
        self._reserved -= reservation.slots
        if claims is None or not reservation.slots:
            self.note_news()
            return
        self.is_queue_empty = not claims
        if len(claims) < reservation.slots:
            self._seen = max(self._seen, reservation.news)
        self.claimed += len(claims)
        self._start(claims, reservation.asked_at)
