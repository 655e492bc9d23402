"""Recurring work."""

import asyncio

from scheduler.ticks import Tick, Ticks
from tests.support import eventually


async def test_a_failing_tick_goes_on() -> None:
    beats: list[int] = []

    async def fail() -> None:
        beats.append(1)
        raise RuntimeError("broken")

    ticks = Ticks([Tick("broken", fail, 0.05)])
    ticks.start()
    await eventually(lambda: len(beats) >= 3, timeout=3)
    dead = ticks.dead()
    ticks.stop()

    assert dead is None


async def test_a_tick_that_begins_at_the_start_does_not_wait_for_its_interval() -> None:
    beats: list[str] = []

    async def early() -> None:
        beats.append("early")

    async def late() -> None:
        beats.append("late")

    ticks = Ticks([Tick("early", early, 3600, at_start=True), Tick("late", late, 3600)])
    ticks.start()
    await eventually(lambda: beats, timeout=3)
    ticks.stop()

    assert beats == ["early"]


async def test_a_tick_that_hangs_is_dead() -> None:
    hanging = asyncio.Event()

    async def hang() -> None:
        hanging.set()
        await asyncio.sleep(60)

    ticks = Ticks([Tick("renew leases", hang, 0.05, patience_seconds=0)])
    ticks.start()
    await hanging.wait()
    await eventually(lambda: ticks.dead() == "renew leases", timeout=3)
    ticks.stop()


async def test_a_stopped_scheduler_is_dead() -> None:
    ticks = Ticks([])
    ticks.start()
    ticks.stop()

    assert ticks.dead() == "scheduler"
