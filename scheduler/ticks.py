"""What recurs: APScheduler jobs, short ones; the pictures are the worker's own tasks."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import structlog
from apscheduler.events import EVENT_JOB_REMOVED, EVENT_SCHEDULER_SHUTDOWN, SchedulerEvent  # pyright: ignore[reportMissingTypeStubs]
from apscheduler.schedulers.asyncio import AsyncIOScheduler  # pyright: ignore[reportMissingTypeStubs]
from apscheduler.triggers.interval import IntervalTrigger  # pyright: ignore[reportMissingTypeStubs]

Work = Callable[[], Awaitable[object]]

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

MISSED_BEATS = 3


@dataclass(slots=True)
class Tick:
    """Recurring work. It counts as dead when it did not end for `MISSED_BEATS` intervals and `patience_seconds`."""

    name: str
    work: Work
    every_seconds: float
    jitter_seconds: float = 0
    patience_seconds: float = 30
    at_start: bool = False
    """The first beat comes at once, and not only after an interval."""
    ended_at: float = field(default=0, init=False)

    async def beat(self) -> None:
        """Do the work once; a failure is logged, and the next beat comes all the same."""
        try:
            await self.work()
        except Exception:
            log.exception("tick failed", tick=self.name)
        self.ended_at = asyncio.get_running_loop().time()

    def is_dead(self, now: float) -> bool:
        return now > self.ended_at + MISSED_BEATS * self.every_seconds + self.jitter_seconds + self.patience_seconds


class Ticks:
    """Starts and stops the ticks, and knows whether they still live."""

    def __init__(self, ticks: list[Tick]) -> None:
        self._ticks = ticks
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._is_running = False

    def start(self) -> None:
        now = asyncio.get_running_loop().time()
        for tick in self._ticks:
            tick.ended_at = now
            self._add(tick)
        self._scheduler.add_listener(self._note_death, EVENT_JOB_REMOVED | EVENT_SCHEDULER_SHUTDOWN)  # pyright: ignore[reportUnknownMemberType]
        self._scheduler.start()
        self._is_running = True

    def stop(self) -> None:
        """Ends ticks that are under way, too: APScheduler cancels them."""
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        self._is_running = False

    def dead(self) -> str | None:
        """The name of something that does not tick any more."""
        if not self._is_running:
            return "scheduler"
        now = asyncio.get_running_loop().time()
        return next((tick.name for tick in self._ticks if tick.is_dead(now)), None)

    def _add(self, tick: Tick) -> None:
        job = self._scheduler.add_job(  # pyright: ignore[reportUnknownMemberType]
            tick.beat,
            IntervalTrigger(
                seconds=tick.every_seconds,  # pyright: ignore[reportArgumentType] - fractions are fine: it is a timedelta
                jitter=tick.jitter_seconds or None,
                timezone=UTC,
            ),
            id=tick.name,
            name=tick.name,
            misfire_grace_time=None,
            coalesce=True,
            max_instances=1,
        )
        if tick.at_start:
            job.modify(next_run_time=datetime.now(UTC))  # pyright: ignore[reportUnknownMemberType]

    def _note_death(self, _event: SchedulerEvent) -> None:
        self._is_running = False
