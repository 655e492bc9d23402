"""Schedules in memory, for tests of the worker's side."""

from collections.abc import Sequence

from batchgen.errors import QueueUnavailable
from batchgen.queue.types import DueSchedules, SchedulePlan


class FakeSchedules:
    """Gives out prepared answers, then says that nothing is due."""

    def __init__(self, *answers: DueSchedules) -> None:
        self.answers = list(answers)
        self.plans: list[SchedulePlan] = []
        self.calls = 0
        self.is_down = False

    async def run_due(self) -> DueSchedules:
        self.calls += 1
        if self.is_down:
            raise QueueUnavailable("no answer")
        return self.answers.pop(0) if self.answers else DueSchedules()

    async def plan(self, plans: Sequence[SchedulePlan]) -> int:
        self.plans += plans
        return len(plans)
