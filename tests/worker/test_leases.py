"""Leases: renewed together, stopped one by one."""

import asyncio

import pytest

from batchgen.settings import WorkerSettings
from scheduler.leases import Stop, Stopped
from tests.fake_queue import FakeQueue
from tests.support import eventually
from tests.worker.worker_harness import worker_harness, working


async def test_all_leases_are_renewed_in_one_call() -> None:
    harness = worker_harness()
    harness.queue.state.add("a", "b", "c")
    leases = [await harness.hold_one() for _ in range(3)]

    await harness.leases.renew()

    assert [sorted(call) for call in harness.queue.renewed] == [sorted(lease.claim.lease_id for lease in leases)]


@pytest.mark.parametrize(
    ("lease_seconds", "poll_seconds", "renew_seconds"),
    [(60, 5, 5), (60, 3600, 20), (60, 0.05, 1), (6, 5, 2), (2, 0.05, 2 / 3)],
)
def test_leases_are_renewed_at_each_poll_or_after_a_third_of_their_length(
    lease_seconds: int, poll_seconds: float, renew_seconds: float
) -> None:
    settings = WorkerSettings.model_validate(
        {
            "supabase_url": "http://project.test",
            "supabase_secret_key": "sb_secret_test",
            "lease_seconds": lease_seconds,
            "poll_seconds": poll_seconds,
        }
    )

    assert settings.renew_seconds == pytest.approx(renew_seconds)


async def test_a_renewal_without_leases_calls_nothing() -> None:
    harness = worker_harness()

    await harness.leases.renew()

    assert harness.queue.calls == []


async def test_only_the_item_with_a_lost_lease_is_stopped() -> None:
    harness = worker_harness()
    harness.queue.state.add("a", "b")
    harness.provider.gate.clear()
    async with working(harness.worker):
        await eventually(lambda: len(harness.provider.waiting) == 2)
        lost, kept = harness.leases.held
        harness.queue.expire(lost.claim)

        await harness.leases.renew()
        await eventually(lambda: harness.worker.tally.left == 1)

        assert lost.stopped is Stop.LOST
        assert kept.stopped is None
        assert harness.provider.cancelled == []
        harness.provider.gate.set()


async def test_items_run_while_renewals_fail_until_their_leases_end() -> None:
    harness = worker_harness(queue=FakeQueue(lease_seconds=1))
    harness.queue.state.add("a")
    lease = await harness.hold_one()
    harness.queue.is_down = True

    await harness.leases.renew()
    still_running = lease.stopped is None
    with pytest.raises(Stopped) as stopped:
        await lease.until_stopped(asyncio.sleep(60))

    assert still_running
    assert stopped.value.reason is Stop.LOST


async def test_a_failed_renewal_is_repeated_at_once() -> None:
    harness = worker_harness(queue=FakeQueue(lease_seconds=1))
    harness.queue.state.add("a")
    lease = await harness.hold_one()
    harness.queue.is_down = True
    renewing = asyncio.create_task(harness.leases.renew())
    await eventually(lambda: harness.queue.calls.count("renew") >= 2)

    harness.queue.is_down = False
    await renewing

    assert harness.queue.renewed == [[lease.claim.lease_id]]


async def test_a_renewed_lease_outlasts_its_first_end() -> None:
    harness = worker_harness(queue=FakeQueue(lease_seconds=2))
    harness.queue.state.add("a")
    lease = await harness.hold_one()
    first_end = asyncio.get_running_loop().time() + lease.seconds_left

    while asyncio.get_running_loop().time() <= first_end:
        await asyncio.sleep(0.1)
        await harness.leases.renew()

    assert lease.stopped is None
    harness.leases.settle(lease)


async def test_the_first_stop_reason_counts() -> None:
    harness = worker_harness()
    harness.queue.state.add("a")
    lease = await harness.hold_one()

    lease.stop(Stop.CANCELLED)
    lease.stop(Stop.SHUTDOWN)

    assert lease.stopped is Stop.CANCELLED


async def test_cancelling_a_task_is_not_a_stop() -> None:
    harness = worker_harness()
    harness.queue.state.add("a")
    lease = await harness.hold_one()
    task = asyncio.create_task(lease.until_stopped(asyncio.sleep(60)))
    await asyncio.sleep(0)

    lease.stop(Stop.SHUTDOWN)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
