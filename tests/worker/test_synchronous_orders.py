"""The end of a worker that waits for pictures which no other worker can get."""

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
from tests.worker.worker_harness import FakeSynchronousProvider, WorkerHarness, worker_harness, working


def synchronous_harness(*, is_free: bool = False, **pace: Any) -> tuple[WorkerHarness, FakeSynchronousProvider]:
    """A worker whose orders get no answer before the provider's gate is opened."""
    provider = FakeSynchronousProvider(is_free=is_free)
    provider.gate.clear()
    return worker_harness(provider, **pace), provider


@pytest.mark.parametrize("is_free", [False, True], ids=["paid", "free"])
async def test_a_run_waits_for_sent_orders_after_its_time(is_free: bool) -> None:
    harness, provider = synchronous_harness(is_free=is_free, slots=1, grace_seconds=0)
    ordered, waiting = harness.queue.state.add("a", "b")

    with capture_logs() as lines:
        run = asyncio.create_task(harness.worker.run_once(max_seconds=0.5))
        await eventually(lambda: "waiting for orders whose pictures no other worker can have" in events(lines))
        provider.gate.set()
        await run

    assert (ordered.status, waiting.status) == (GenerationStatus.COMPLETED, GenerationStatus.PENDING)
    assert (len(provider.orders), harness.queue.released) == (1, [])


async def test_resumable_items_are_handed_back_while_sent_orders_are_waited_for() -> None:
    harness, provider = synchronous_harness(grace_seconds=0)
    harness.queue.state.add("a")
    run = asyncio.create_task(harness.worker.run_once(max_seconds=60))
    await eventually(lambda: provider.orders)
    (unsent,) = harness.queue.state.add("b")
    provider.submit_gate.clear()
    harness.worker.wake()
    await eventually(lambda: unsent.order_key)

    harness.worker._end_in_time()  # pyright: ignore[reportPrivateUsage]
    provider.submit_gate.set()
    await eventually(lambda: unsent.status is GenerationStatus.PENDING)
    provider.gate.set()
    await run

    assert (harness.worker.tally.completed, unsent.retry_count, len(provider.orders)) == (1, 0, 1)


async def test_no_order_is_sent_after_the_worker_stops() -> None:
    harness, provider = synchronous_harness(grace_seconds=60)
    harness.queue.state.add("a")
    harness.queue.down_calls = {"begin_order"}

    async with working(harness.worker) as loop:
        await eventually(lambda: "begin_order" in harness.queue.calls)
        harness.worker.stop()
        await asyncio.sleep(0)
        harness.queue.down_calls = set()
        await loop

    (item,) = harness.queue.state.items.values()
    assert (item.status, item.retry_count, item.provider_job_id) == (GenerationStatus.PENDING, 0, None)
    assert provider.orders == []


async def test_a_signal_after_the_runs_time_starts_the_grace_time() -> None:
    harness, provider = synchronous_harness(grace_seconds=0.05)
    (item,) = harness.queue.state.add("a")
    run = asyncio.create_task(harness.worker.run_once(max_seconds=0.5))
    with capture_logs() as lines:
        await eventually(lambda: "waiting for orders whose pictures no other worker can have" in events(lines))

        harness.worker.stop()
        async with asyncio.timeout(5):
            await run

    assert item.status is GenerationStatus.FAILED
    assert item.fault
    assert (item.fault.code, item.fault.order.charged, item.fault.order.over) == ("outcome_unknown", None, True)
    assert [line["remedy"] for line in lines if line["event"].startswith("order cut off")] == [
        "set BATCHGEN_GRACE_SECONDS above the time of a picture"
    ]
    await provider.aclose()


async def test_a_picture_arriving_within_the_grace_time_is_kept() -> None:
    harness, provider = synchronous_harness(grace_seconds=60)
    (item,) = harness.queue.state.add("a")
    run = asyncio.create_task(harness.worker.run_once(max_seconds=60))
    await eventually(lambda: provider.orders)
    harness.worker._end_in_time()  # pyright: ignore[reportPrivateUsage]
    harness.worker.stop()
    await asyncio.sleep(0)

    provider.gate.set()
    await run

    assert item.status is GenerationStatus.COMPLETED


async def test_a_second_signal_after_the_runs_time_ends_it_at_once() -> None:
    harness, provider = synchronous_harness(grace_seconds=3600)
    (item,) = harness.queue.state.add("a")
    run = asyncio.create_task(harness.worker.run_once(max_seconds=60))
    await eventually(lambda: provider.orders)
    harness.worker._end_in_time()  # pyright: ignore[reportPrivateUsage]

    harness.worker.stop()
    harness.worker.stop()
    async with asyncio.timeout(5):
        await run

    assert item.fault
    assert item.fault.code == "outcome_unknown"
    await provider.aclose()


async def test_a_picture_arriving_at_the_stop_is_stored() -> None:
    harness, provider = synchronous_harness()
    (item,) = harness.queue.state.add("a")
    harness.storage.faults = 1
    lease = await harness.hold_one()
    running = asyncio.create_task(harness.runner.run(lease))
    await eventually(lambda: provider.orders)
    provider.gate.set()
    await eventually(lambda: lease.is_paid)

    lease.stop(Stop.SHUTDOWN)

    assert isinstance(await running, Succeeded)
    assert item.status is GenerationStatus.COMPLETED
    assert len(provider.orders) == 1


async def test_a_free_order_is_dropped_at_the_stop_without_an_attempt() -> None:
    harness, provider = synchronous_harness(is_free=True)
    (item,) = harness.queue.state.add("a")
    lease = await harness.hold_one()
    running = asyncio.create_task(harness.runner.run(lease))
    await eventually(lambda: provider.orders)

    lease.stop(Stop.SHUTDOWN)
    outcome = await running

    assert isinstance(outcome, RetryLater)
    assert (outcome.fault.code, item.retry_count, item.provider_job_id) == ("worker_stopped", 0, None)
    assert len(provider.cancelled) == 1


async def test_a_recorded_unsent_order_is_sent_by_the_next_worker() -> None:
    harness, provider = synchronous_harness()
    (item,) = harness.queue.state.add("a")
    lease = await harness.hold_one()
    provider.submit_gate.clear()
    running = asyncio.create_task(harness.runner.run(lease))
    await eventually(lambda: item.order_key)

    lease.stop(Stop.SHUTDOWN)
    provider.submit_gate.set()
    outcome = await running

    assert isinstance(outcome, RetryLater)
    assert (outcome.fault.order.charged, item.provider_job_id, provider.orders) == (False, None, [])


async def test_a_paid_order_cut_off_has_an_unknown_outcome() -> None:
    harness, provider = synchronous_harness()
    harness.queue.state.add("a")
    lease = await harness.hold_one()
    running = asyncio.create_task(harness.runner.run(lease))
    await eventually(lambda: provider.orders)

    lease.stop(Stop.SHUTDOWN)
    outcome = await running

    assert isinstance(outcome, Failed)
    assert (outcome.fault.code, outcome.fault.retryable) == ("outcome_unknown", False)
    await provider.aclose()


async def test_a_lost_lease_leaves_the_order_alone() -> None:
    harness, provider = synchronous_harness()
    harness.queue.state.add("a")
    lease = await harness.hold_one()
    running = asyncio.create_task(harness.runner.run(lease))
    await eventually(lambda: provider.orders)

    lease.stop(Stop.LOST)

    assert await running == Released(Stop.LOST)
    assert provider.cancelled == []
    await provider.aclose()


async def test_an_answer_lost_at_the_deadline_is_final() -> None:
    class Late(FakeSynchronousProvider):
        """Loses its answer while its job is being stopped."""

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
    harness = worker_harness(late, patience={"item_timeout_seconds": 0.2})
    harness.queue.state.add("a")
    lease = await harness.hold_one()

    outcome = await harness.runner.run(lease)

    assert isinstance(outcome, Failed)
    assert (outcome.fault.code, outcome.fault.retryable, outcome.fault.order.charged) == (
        "outcome_unknown",
        False,
        None,
    )
    assert len(late.orders) == 1


def events(lines: Sequence[Mapping[str, object]]) -> list[object]:
    return [line["event"] for line in lines]
