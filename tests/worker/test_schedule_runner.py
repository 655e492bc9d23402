"""The worker's part of schedules: it asks until nothing is due, and computes times."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import uuid4

import pytest

from batchgen.queue.types import DueSchedules, FiredSchedule, ScheduledRun, ScheduleToPlan
from scheduler.schedules import MOST_SLOTS, ScheduleRunner, plan_of
from tests.fake_schedules import FakeSchedules

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def to_plan(cron: str = "0 9 * * *", time_zone: str = "UTC", after: datetime = NOW) -> ScheduleToPlan:
    return ScheduleToPlan(
        schedule_id=uuid4(),
        version=3,
        planned_until="2026-06-01T12:00:00+00:00",
        after=after,
        now=NOW,
        cron=cron,
        time_zone=time_zone,
    )


def fired(outcome: str = "submitted") -> DueSchedules:
    refusal = {"code": "daily_limit"} if outcome == "refused" else None
    run = ScheduledRun(slot=NOW, outcome=outcome, batch_id=None if refusal else uuid4(), refusal=refusal)
    return DueSchedules(fired=FiredSchedule(schedule_id=uuid4(), runs=(run,)))


async def test_schedules_run_until_none_is_due() -> None:
    woken: list[bool] = []
    schedules = FakeSchedules(fired(), fired("refused"), DueSchedules(to_plan=(to_plan(),)))

    await ScheduleRunner(schedules, wake=lambda: woken.append(True)).run()

    assert schedules.calls == 4
    assert woken == [True]
    assert len(schedules.plans) == 1


async def test_an_outage_ends_the_round_and_raises_nothing() -> None:
    schedules = FakeSchedules(fired())
    schedules.is_down = True
    runner = ScheduleRunner(schedules, wake=lambda: None)

    await runner.run()
    schedules.is_down = False
    await runner.run()

    assert schedules.calls == 3


async def test_after_a_stop_nothing_is_asked() -> None:
    schedules = FakeSchedules(fired())
    runner = ScheduleRunner(schedules, wake=lambda: None)

    runner.stop()
    await runner.run()

    assert schedules.calls == 0


def test_a_plan_names_five_times_ahead_and_what_was_missed() -> None:
    plan = plan_of(to_plan("0 * * * *", after=NOW - timedelta(hours=3)))

    assert [(slot - NOW) // timedelta(hours=1) for slot in plan.slots] == [-2, -1, 0, 1, 2, 3, 4, 5]
    assert (plan.version, plan.planned_until, plan.is_last) == (3, "2026-06-01T12:00:00+00:00", False)


def test_a_long_outage_is_planned_in_several_rounds() -> None:
    plan = plan_of(to_plan("*/5 * * * *", after=NOW - timedelta(days=7)))

    assert len(plan.slots) == MOST_SLOTS
    assert all(second - first == timedelta(minutes=5) for first, second in pairwise(plan.slots))


@pytest.mark.parametrize(("cron", "zone"), [("0 9 * *", "UTC"), ("0 9 * * *", "Mars/Olympus")])
def test_times_that_cannot_be_computed_are_reported(cron: str, zone: str) -> None:
    plan = plan_of(to_plan(cron, zone))

    assert plan.problem is not None
    assert plan.problem["remedy"]
    assert plan.slots == ()


def test_an_expression_without_further_times_says_so() -> None:
    assert plan_of(to_plan("0 9 31 2 *")).is_last
