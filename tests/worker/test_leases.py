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
def test_leases_are_renewed_at_each_poll_and_at_a_third_of_their_length_at_the_latest(
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


async def test_nothing_is_asked_where_nothing_is_held() -> None:
    harness = worker_harness()

    await harness.leases.renew()

    assert harness.queue.calls == []


async def test_an_item_whose_lease_does_not_come_back_is_stopped_alone() -> None:
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


async def test_items_go_on_while_renewals_fail_and_stop_when_the_lease_would_have_ended() -> None:
    harness = worker_harness(queue=FakeQueue(lease_seconds=0.3))
    harness.queue.state.add("a")
    lease = await harness.hold_one()
    harness.queue.is_down = True

    await harness.leases.renew()
    still_running = lease.stopped is None
    with pytest.raises(Stopped) as stopped:
        await lease.until_stopped(asyncio.sleep(5))

    assert still_running
    assert stopped.value.reason is Stop.LOST


async def test_a_renewal_that_fails_is_tried_again_at_once() -> None:
    harness = worker_harness(queue=FakeQueue(lease_seconds=1))
    harness.queue.state.add("a")
    lease = await harness.hold_one()
    harness.queue.is_down = True
    renewing = asyncio.create_task(harness.leases.renew())
    await eventually(lambda: harness.queue.calls.count("renew") >= 2)

    harness.queue.is_down = False
    await renewing

    assert harness.queue.renewed == [[lease.claim.lease_id]]


async def test_a_renewed_lease_outlives_its_first_end() -> None:
    harness = worker_harness(queue=FakeQueue(lease_seconds=0.3))
    harness.queue.state.add("a")
    lease = await harness.hold_one()

    for _ in range(4):
        await asyncio.sleep(0.1)
        await harness.leases.renew()

    assert lease.stopped is None
    harness.leases.settle(lease)


async def test_the_first_reason_to_stop_counts() -> None:
    harness = worker_harness()
    harness.queue.state.add("a")
    lease = await harness.hold_one()

    lease.stop(Stop.CANCELLED)
    lease.stop(Stop.SHUTDOWN)

    assert lease.stopped is Stop.CANCELLED


async def test_cancelling_the_worker_itself_is_no_stop() -> None:
    harness = worker_harness()
    harness.queue.state.add("a")
    lease = await harness.hold_one()
    task = asyncio.create_task(lease.until_stopped(asyncio.sleep(5)))
    await asyncio.sleep(0)

    lease.stop(Stop.SHUTDOWN)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
