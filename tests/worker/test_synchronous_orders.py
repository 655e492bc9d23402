"""The end of a worker that waits for pictures which no other worker can have."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

import pytest
from structlog.testing import capture_logs

from batchgen.errors import OutcomeUnknown
from batchgen.models import GenerationStatus
from batchgen.providers.base import ImageRequest, RawImage
from scheduler.leases import Stop
from scheduler.runner import Failed, Released, RetryLater, Succeeded
from tests.support import eventually
from tests.worker.stage import Kiosk, Theatre, theatre, working


def kiosk_stage(*, is_free: bool = False, **pace: Any) -> tuple[Theatre, Kiosk]:
    """Orders that go out are not answered before the gate is opened."""
    kiosk = Kiosk(is_free=is_free)
    kiosk.gate.clear()
    return theatre(kiosk, **pace), kiosk


@pytest.mark.parametrize("is_free", [False, True], ids=["paid", "free"])
async def test_the_end_of_a_runs_time_waits_for_what_was_ordered(is_free: bool) -> None:
    stage, kiosk = kiosk_stage(is_free=is_free, slots=1, grace_seconds=0)
    ordered, waiting = stage.queue.shelf.add("a", "b")

    with capture_logs() as lines:
        run = asyncio.create_task(stage.worker.run_once(max_seconds=0.05))
        await eventually(lambda: "waiting for orders whose pictures no other worker can have" in events(lines))
        kiosk.gate.set()
        await run

    assert (ordered.status, waiting.status) == (GenerationStatus.COMPLETED, GenerationStatus.PENDING)
    assert (len(kiosk.orders), stage.queue.released) == (1, [])


async def test_what_other_workers_can_resume_is_handed_back_before_that() -> None:
    stage, kiosk = kiosk_stage(grace_seconds=0)
    stage.queue.shelf.add("a")
    run = asyncio.create_task(stage.worker.run_once(max_seconds=60))
    await eventually(lambda: kiosk.orders)
    (unsent,) = stage.queue.shelf.add("b")
    kiosk.submit_gate.clear()
    stage.worker.wake()
    await eventually(lambda: unsent.order_key)

    stage.worker._end_in_time()  # pyright: ignore[reportPrivateUsage]
    kiosk.submit_gate.set()
    await eventually(lambda: unsent.status is GenerationStatus.PENDING)
    kiosk.gate.set()
    await run

    assert (stage.worker.tally.completed, unsent.retry_count, len(kiosk.orders)) == (1, 0, 1)


async def test_no_order_is_sent_any_more_once_the_worker_stops() -> None:
    stage, kiosk = kiosk_stage(grace_seconds=60)
    stage.queue.shelf.add("a")
    stage.queue.down_calls = {"begin_order"}

    async with working(stage.worker) as loop:
        await eventually(lambda: "begin_order" in stage.queue.calls)
        stage.worker.stop()
        await asyncio.sleep(0)
        stage.queue.down_calls = set()
        await loop

    (item,) = stage.queue.shelf.items.values()
    assert (item.status, item.retry_count, item.provider_job_id) == (GenerationStatus.PENDING, 0, None)
    assert kiosk.orders == []


async def test_a_signal_after_the_end_of_the_time_gives_the_grace_time() -> None:
    stage, kiosk = kiosk_stage(grace_seconds=0.05)
    (item,) = stage.queue.shelf.add("a")
    run = asyncio.create_task(stage.worker.run_once(max_seconds=0.05))
    with capture_logs() as lines:
        await eventually(lambda: "waiting for orders whose pictures no other worker can have" in events(lines))

        stage.worker.stop()
        async with asyncio.timeout(5):
            await run

    assert item.status is GenerationStatus.FAILED
    assert item.fault
    assert (item.fault.code, item.fault.is_charged, item.fault.job_over) == ("outcome_unknown", None, True)
    assert [line["remedy"] for line in lines if line["event"].startswith("order cut off")] == [
        "set BATCHGEN_GRACE_SECONDS above the time of a picture"
    ]
    await kiosk.aclose()


async def test_a_picture_that_comes_within_the_grace_time_after_a_signal_is_kept() -> None:
    stage, kiosk = kiosk_stage(grace_seconds=60)
    (item,) = stage.queue.shelf.add("a")
    run = asyncio.create_task(stage.worker.run_once(max_seconds=60))
    await eventually(lambda: kiosk.orders)
    stage.worker._end_in_time()  # pyright: ignore[reportPrivateUsage]
    stage.worker.stop()
    await asyncio.sleep(0)

    kiosk.gate.set()
    await run

    assert item.status is GenerationStatus.COMPLETED


async def test_a_second_signal_after_the_end_of_the_time_ends_at_once() -> None:
    stage, kiosk = kiosk_stage(grace_seconds=3600)
    (item,) = stage.queue.shelf.add("a")
    run = asyncio.create_task(stage.worker.run_once(max_seconds=60))
    await eventually(lambda: kiosk.orders)
    stage.worker._end_in_time()  # pyright: ignore[reportPrivateUsage]

    stage.worker.stop()
    stage.worker.stop()
    async with asyncio.timeout(5):
        await run

    assert item.fault
    assert item.fault.code == "outcome_unknown"
    await kiosk.aclose()


async def test_a_picture_that_came_when_the_worker_stopped_is_stored() -> None:
    stage, kiosk = kiosk_stage()
    (item,) = stage.queue.shelf.add("a")
    stage.storage.faults = 1
    lease = await stage.hold_one()
    running = asyncio.create_task(stage.runner.run(lease))
    await eventually(lambda: kiosk.orders)
    kiosk.gate.set()
    await eventually(lambda: lease.is_paid)

    lease.stop(Stop.SHUTDOWN)

    assert isinstance(await running, Succeeded)
    assert item.status is GenerationStatus.COMPLETED
    assert len(kiosk.orders) == 1


async def test_an_order_that_costs_nothing_is_let_go_and_costs_no_attempt() -> None:
    stage, kiosk = kiosk_stage(is_free=True)
    (item,) = stage.queue.shelf.add("a")
    lease = await stage.hold_one()
    running = asyncio.create_task(stage.runner.run(lease))
    await eventually(lambda: kiosk.orders)

    lease.stop(Stop.SHUTDOWN)
    outcome = await running

    assert isinstance(outcome, RetryLater)
    assert (outcome.fault.code, item.retry_count, item.provider_job_id) == ("worker_stopped", 0, None)
    assert len(kiosk.cancelled) == 1


async def test_an_order_that_was_named_and_not_sent_is_sent_by_the_next_worker() -> None:
    stage, kiosk = kiosk_stage()
    (item,) = stage.queue.shelf.add("a")
    lease = await stage.hold_one()
    kiosk.submit_gate.clear()
    running = asyncio.create_task(stage.runner.run(lease))
    await eventually(lambda: item.order_key)

    lease.stop(Stop.SHUTDOWN)
    kiosk.submit_gate.set()
    outcome = await running

    assert isinstance(outcome, RetryLater)
    assert (outcome.fault.is_charged, item.provider_job_id, kiosk.orders) == (False, None, [])


async def test_a_paid_order_that_is_cut_off_ends_as_one_whose_outcome_nobody_knows() -> None:
    stage, kiosk = kiosk_stage()
    stage.queue.shelf.add("a")
    lease = await stage.hold_one()
    running = asyncio.create_task(stage.runner.run(lease))
    await eventually(lambda: kiosk.orders)

    lease.stop(Stop.SHUTDOWN)
    outcome = await running

    assert isinstance(outcome, Failed)
    assert (outcome.fault.code, outcome.fault.retryable) == ("outcome_unknown", False)
    await kiosk.aclose()


async def test_a_lost_lease_leaves_the_order_alone() -> None:
    stage, kiosk = kiosk_stage()
    stage.queue.shelf.add("a")
    lease = await stage.hold_one()
    running = asyncio.create_task(stage.runner.run(lease))
    await eventually(lambda: kiosk.orders)

    lease.stop(Stop.LOST)

    assert await running == Released(Stop.LOST)
    assert kiosk.cancelled == []
    await kiosk.aclose()


async def test_an_order_whose_answer_was_lost_as_the_items_time_ended_is_not_sent_again() -> None:
    class Late(Kiosk):
        """Its answer is lost while its job is being stopped."""

        async def _order(self, _job_id: str, request: ImageRequest) -> RawImage:
            self.orders.append(request)
            await self.gate.wait()
            raise OutcomeUnknown("The answer makes no sense.")

        async def cancel(self, job_id: str) -> None:
            self.gate.set()
            with suppress(OutcomeUnknown):
                await self.wait(job_id, self.orders[0])

    late = Late()
    late.gate.clear()
    stage = theatre(late, patience={"item_timeout_seconds": 0.05})
    stage.queue.shelf.add("a")
    lease = await stage.hold_one()

    outcome = await stage.runner.run(lease)

    assert isinstance(outcome, Failed)
    assert (outcome.fault.code, outcome.fault.retryable, outcome.fault.is_charged) == ("outcome_unknown", False, None)
    assert len(late.orders) == 1


def events(lines: Sequence[Mapping[str, object]]) -> list[object]:
    return [line["event"] for line in lines]
