"""Recurring work."""

import asyncio
from datetime import datetime, timedelta, tzinfo

import pytest

from scheduler.leases import Stop
from scheduler.ticks import Tick, Ticks
from tests.fake_queue import FakeQueue
from tests.support import eventually
from tests.worker.worker_harness import worker_harness


async def test_a_failing_tick_keeps_running() -> None:
    beats: list[int] = []

    async def fail() -> None:
        beats.append(1)
        raise RuntimeError("broken")

    ticks = Ticks([Tick("broken", fail, 0.05)])
    ticks.start()
    await eventually(lambda: len(beats) >= 3)
    dead = ticks.dead()
    ticks.stop()

    assert dead is None


async def test_a_tick_marked_at_start_runs_at_once() -> None:
    beats: list[str] = []

    async def early() -> None:
        beats.append("early")

    async def late() -> None:
        beats.append("late")

    ticks = Ticks([Tick("early", early, 3600, at_start=True), Tick("late", late, 3600)])
    ticks.start()
    await eventually(lambda: beats)
    ticks.stop()

    assert beats == ["early"]


async def test_a_hanging_tick_counts_as_dead() -> None:
    hanging = asyncio.Event()

    async def hang() -> None:
        hanging.set()
        await asyncio.sleep(60)

    ticks = Ticks([Tick("renew leases", hang, 0.05, slack_seconds=0)])
    ticks.start()
    await hanging.wait()
    await eventually(lambda: ticks.dead() == "renew leases")
    ticks.stop()


async def test_a_stopped_scheduler_counts_as_dead() -> None:
    ticks = Ticks([])
    ticks.start()
    ticks.stop()

    assert ticks.dead() == "scheduler"


class SetClock(datetime):
    """The system clock as APScheduler sees it; `off_by` sets it."""

    off_by = timedelta()

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> datetime:  # pyright: ignore[reportIncompatibleMethodOverride]
        return datetime.now(tz) + cls.off_by


@pytest.mark.parametrize("hours", [-1, 12])
async def test_ticks_keep_running_when_the_system_clock_is_changed(hours: int, monkeypatch: pytest.MonkeyPatch) -> None:
    beats: list[int] = []

    async def count() -> None:
        beats.append(1)

    monkeypatch.setattr("apscheduler.schedulers.base.datetime", SetClock)
    monkeypatch.setattr(SetClock, "off_by", timedelta())
    ticks = Ticks([Tick("renew leases", count, 0.2)])
    ticks.start()
    await eventually(lambda: len(beats) >= 2)

    monkeypatch.setattr(SetClock, "off_by", timedelta(hours=hours))
    before = len(beats)
    await eventually(lambda: len(beats) >= before + 3)

    monkeypatch.setattr(SetClock, "off_by", timedelta())
    before = len(beats)
    await eventually(lambda: len(beats) >= before + 3)
    dead = ticks.dead()
    ticks.stop()
    assert dead is None


async def test_a_lease_is_kept_when_the_system_clock_is_set_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("apscheduler.schedulers.base.datetime", SetClock)
    monkeypatch.setattr(SetClock, "off_by", timedelta())
    harness = worker_harness(queue=FakeQueue(lease_seconds=3))
    harness.queue.state.add("a")
    lease = await harness.hold_one()
    first_end = asyncio.get_running_loop().time() + lease.seconds_left
    ticks = Ticks([Tick("renew leases", harness.leases.renew, 0.5)])
    ticks.start()

    monkeypatch.setattr(SetClock, "off_by", timedelta(hours=-1))
    await eventually(lambda: asyncio.get_running_loop().time() > first_end + 0.5)
    ticks.stop()

    assert lease.stopped is None
    assert lease.is_held
    harness.leases.settle(lease)


async def test_a_stopped_loop_kills_no_tick_and_ticks_at_once_after_it() -> None:
    loop = asyncio.get_running_loop()
    beats: list[int] = []
    woken: list[tuple[float, float]] = []

    async def count() -> None:
        beats.append(1)

    tick = Tick("renew leases", count, 3600)
    ticks = Ticks([tick], lambda seconds, uncounted: woken.append((seconds, uncounted)))
    ticks.start()
    tick.every_seconds, tick.slack_seconds = 0.1, 0
    resumed_at = loop.time() + 2.5
    while loop.time() < resumed_at:  # nothing else runs, as in a stopped process
        pass

    dead = ticks.dead()
    await eventually(lambda: beats)
    ticks.stop()

    assert dead is None
    assert len(woken) == 1
    assert woken[0][0] >= 2.5
    assert woken[0][1] < 0.5


async def test_leases_that_ended_during_sleep_are_dropped() -> None:
    harness = worker_harness(queue=FakeQueue(lease_seconds=60))
    harness.queue.state.add("a", "b")
    ended, kept = await harness.hold_one(), await harness.hold_one()
    ended.shorten(30)
    slept = 0.0
    dropped: list[int] = []
    loop = asyncio.get_running_loop()

    def woke(_seconds: float, uncounted: float) -> None:
        dropped.append(harness.leases.drop_ended(uncounted))

    ticks = Ticks([], woke, clock=lambda: loop.time() + slept)
    ticks.start()
    slept = 40.0
    await eventually(lambda: dropped)
    ticks.stop()

    assert dropped == [1]
    assert ended.stopped is Stop.LOST
    assert kept.stopped is None
    assert kept.seconds_left < 21
    harness.leases.settle(kept)
