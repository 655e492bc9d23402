"""Run the schedules that are due, and compute the times of their next runs.

The database decides by its own clock what is due, and runs a slot in the transaction that records it. So several
workers may call at once.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import datetime

import structlog

from batchgen.cron import CronTimes
from batchgen.errors import InvalidRequest
from batchgen.queue.ports import Schedules
from batchgen.queue.types import FiredSchedule, SchedulePlan, ScheduleToPlan
from scheduler.outages import housekeeping_outage

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

SLOTS_AHEAD = 5
MOST_SLOTS = 300
"""Of one schedule at once: what passed during an outage is planned in several rounds."""
PASS_SECONDS = 30.0
"""A tick begins no further round after this time; the next tick continues."""


class ScheduleRunner:
    """Logs errors instead of raising them: the next tick, of any worker, goes on. `wake` is called for new batches."""

    def __init__(self, schedules: Schedules, *, wake: Callable[[], None]) -> None:
        self._schedules = schedules
        self._wake = wake
        self._running = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._outage = housekeeping_outage("schedules")

    async def run(self, seconds: float = PASS_SECONDS) -> None:
        """Run and plan schedules until none is due or `seconds` are over."""
        clock = asyncio.get_running_loop().time
        ends_at = clock() + seconds
        async with self._running:
            with self._outage.logged():
                while not self._stopping.is_set():
                    is_more_due = await self._run_some()
                    if not is_more_due or clock() >= ends_at:
                        break

    def stop(self) -> None:
        """Start nothing more."""
        self._stopping.set()

    async def _run_some(self) -> bool:
        """Run one schedule and plan some; return whether there may be more to do."""
        due = await self._schedules.run_due()
        if due.fired:
            self._report(due.fired)
        planned = await self._plan(due.to_plan) if due.to_plan else 0
        return due.fired is not None or planned > 0

    async def _plan(self, schedules: Sequence[ScheduleToPlan]) -> int:
        plans: list[SchedulePlan] = []
        for schedule in schedules:
            plans.append(plan_of(schedule))
            await asyncio.sleep(0)  # after a long outage, a plan takes some milliseconds
        return await self._schedules.plan(plans)

    def _report(self, fired: FiredSchedule) -> None:
        for run in fired.runs:
            about = {"schedule_id": str(fired.schedule_id), "slot": run.slot.isoformat()}
            if run.refusal is None:
                log.info("schedule made a batch", batch_id=str(run.batch_id), **about)
                self._wake()
            else:
                log.warning("schedule was refused", code=str(run.refusal.get("code")), **about)


def plan_of(schedule: ScheduleToPlan) -> SchedulePlan:
    """The next times of a schedule: five ahead of the database's clock, or the first of those that it is behind by."""
    plan = SchedulePlan(
        schedule_id=schedule.schedule_id, version=schedule.version, planned_until=schedule.planned_until
    )
    try:
        times = CronTimes(schedule.cron, schedule.time_zone)
    except InvalidRequest as error:
        log.warning("times of a schedule cannot be computed", schedule_id=str(schedule.schedule_id), reason=str(error))
        return plan.model_copy(update={"problem": error.as_dict()})
    slots: list[datetime] = []
    ahead = 0
    for moment in times.after(schedule.after):
        slots.append(moment)
        ahead += moment > schedule.now
        if ahead == SLOTS_AHEAD or len(slots) == MOST_SLOTS:
            return plan.model_copy(update={"slots": tuple(slots)})
    return plan.model_copy(update={"slots": tuple(slots), "is_last": True})
