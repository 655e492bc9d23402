"""Recurring work, as short APScheduler jobs. Items are not run here but in the worker's own tasks.

APScheduler uses the system clock, which may be set. A heartbeat on the monotonic clock runs overdue ticks, and notices
when the process was stopped or the machine asleep.
"""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import structlog
from apscheduler.events import EVENT_JOB_REMOVED, EVENT_SCHEDULER_SHUTDOWN, SchedulerEvent  # pyright: ignore[reportMissingTypeStubs]
from apscheduler.schedulers.asyncio import AsyncIOScheduler  # pyright: ignore[reportMissingTypeStubs]
from apscheduler.triggers.base import BaseTrigger  # pyright: ignore[reportMissingTypeStubs]

Work = Callable[[], Awaitable[object]]

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

MISSED_RUNS = 3
HEARTBEAT_SECONDS = 0.5
OVERDUE_SECONDS = 0.25
"""A tick that is so late by the monotonic clock runs whatever the system clock says."""
PAUSE_SECONDS = 2.0
"""Without a heartbeat for so long, the process was stopped or its machine asleep."""
LONG_AGO = datetime(1970, 1, 2, tzinfo=UTC)
"""Due by any system clock."""


def time_with_sleep() -> float:
    """Monotonic seconds, including the machine's sleep if the system has such a clock."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    if hasattr(time, "CLOCK_MONOTONIC"):  # macOS, where Python's own monotonic clock stops during sleep
        return time.clock_gettime(time.CLOCK_MONOTONIC)
    return time.monotonic()


@dataclass(slots=True)
class Tick:
    """Recurring work. It is dead if no run has ended for `MISSED_RUNS` intervals and `slack_seconds`."""

    name: str
    work: Work
    every_seconds: float
    jitter_seconds: float = 0
    slack_seconds: float = 30
    at_start: bool = False
    """Whether the first run comes at once instead of after an interval."""
    ended_at: float = field(default=0, init=False)
    due_at: float = field(default=0, init=False)

    async def run(self) -> None:
        """Do the work once; a failure is logged and does not stop the tick."""
        try:
            await self.work()
        except Exception:
            log.exception("tick failed", tick=self.name)
        self.ended_at = asyncio.get_running_loop().time()

    def is_dead(self, now: float) -> bool:
        return now > self.ended_at + MISSED_RUNS * self.every_seconds + self.jitter_seconds + self.slack_seconds


class Every(BaseTrigger):
    """An interval counted from now. Counted from the last run, it would make up for runs that a set clock skipped."""

    def __init__(self, tick: Tick) -> None:
        self._tick = tick

    def get_next_fire_time(self, _previous_fire_time: datetime | None, now: datetime) -> datetime:  # pyright: ignore[reportIncompatibleMethodOverride]
        seconds = self._tick.every_seconds + random.uniform(0, self._tick.jitter_seconds)  # noqa: S311
        self._tick.due_at = asyncio.get_running_loop().time() + seconds
        return now + timedelta(seconds=seconds)


class Ticks:
    """Starts and stops the ticks, and reports dead ones.

    `woke` is called after a stop or sleep, with its length and how much of it the loop's clock did not count.
    """

    def __init__(
        self,
        ticks: list[Tick],
        woke: Callable[[float, float], object] = lambda _seconds, _uncounted: None,
        clock: Callable[[], float] = time_with_sleep,
    ) -> None:
        self._ticks = ticks
        self._woke = woke
        self._clock = clock
        self._seen = (0.0, 0.0)
        """The last heartbeat, by the loop's clock and by the clock that counts sleep."""
        self._heartbeat: asyncio.TimerHandle | None = None
        self._scheduler = AsyncIOScheduler(timezone=UTC)
        self._is_running = False

    def start(self) -> None:
        now = asyncio.get_running_loop().time()
        self._seen = (now, self._clock())
        for tick in self._ticks:
            tick.ended_at = now
            self._add(tick)
        self._scheduler.add_listener(self._note_death, EVENT_JOB_REMOVED | EVENT_SCHEDULER_SHUTDOWN)  # pyright: ignore[reportUnknownMemberType]
        self._scheduler.start()
        self._is_running = True
        self._beat()

    def stop(self) -> None:
        """Stop all ticks; APScheduler cancels running ones."""
        if self._heartbeat:
            self._heartbeat.cancel()
        if self._scheduler.running:
            self._scheduler.shutdown(wait=False)
        self._is_running = False

    def dead(self) -> str | None:
        """The name of a tick that no longer runs, or of the scheduler itself; None if all do."""
        if not self._is_running:
            return "scheduler"
        self._look_at_clocks()
        now = asyncio.get_running_loop().time()
        return next((tick.name for tick in self._ticks if tick.is_dead(now)), None)

    def _beat(self) -> None:
        loop = asyncio.get_running_loop()
        self._heartbeat = loop.call_later(HEARTBEAT_SECONDS, self._beat)
        self._look_at_clocks()
        if not self._is_running:
            return
        for tick in self._ticks:
            if loop.time() > tick.due_at + OVERDUE_SECONDS:
                self._hasten(tick)

    def _look_at_clocks(self) -> None:
        """Notice stops and sleep. Their time does not count against any tick."""
        now, now_with_sleep = asyncio.get_running_loop().time(), self._clock()
        counted, passed = now - self._seen[0], now_with_sleep - self._seen[1]
        self._seen = (now, now_with_sleep)
        if max(counted, passed) < PAUSE_SECONDS:
            return
        for tick in self._ticks:
            tick.ended_at = min(now, tick.ended_at + counted)
            tick.due_at = min(tick.due_at, now - 2 * OVERDUE_SECONDS)
        self._woke(max(counted, passed), max(0.0, passed - counted))

    def _add(self, tick: Tick) -> None:
        self._scheduler.add_job(  # pyright: ignore[reportUnknownMemberType]
            tick.run,
            Every(tick),
            id=tick.name,
            name=tick.name,
            misfire_grace_time=None,
            coalesce=True,
            max_instances=1,
        )
        tick.due_at = asyncio.get_running_loop().time() + tick.every_seconds + tick.jitter_seconds
        if tick.at_start:
            self._hasten(tick)

    def _hasten(self, tick: Tick) -> None:
        self._scheduler.modify_job(tick.name, next_run_time=LONG_AGO)  # pyright: ignore[reportUnknownMemberType]

    def _note_death(self, _event: SchedulerEvent) -> None:
        self._is_running = False
