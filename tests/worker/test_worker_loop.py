"""The worker's loop: filling slots, outages, draining."""

import asyncio
from collections.abc import Callable, Sequence

import pytest
from structlog.testing import capture_logs

from batchgen.errors import ProviderBusy, ProviderRejected, QueueUnavailable
from batchgen.models import GenerationStatus, Outlook
from batchgen.queue.types import Claim, Completed, StoredImage
from scheduler.worker import TicksDied
from tests.fake_queue import FakeQueue, Item
from tests.support import eventually
from tests.worker.worker_harness import worker_harness, working


class OneAtATime(FakeQueue):
    """Allows one running item in all; a claim meanwhile gets an empty answer once that item has ended."""

    async def claim(self, limit: int) -> Sequence[Claim]:
        if (running := self._running()) is None:
            return await super().claim(1)
        self.calls.append("claim")
        await eventually(lambda: running.status is not GenerationStatus.PROCESSING, every=0.001)
        await asyncio.sleep(0.01)
        return []

    def _running(self) -> Item | None:
        return next((i for i in self.state.items.values() if i.status is GenerationStatus.PROCESSING), None)


class StopsMeanwhile(FakeQueue):
    """Stops the worker while the answer of a call that also claims is on its way."""

    stop: Callable[[], None]

    async def complete_and_claim(self, results: Sequence[tuple[Claim, StoredImage]], limit: int) -> Completed:
        done = await super().complete_and_claim(results, limit)
        self.stop()
        return done


class BatchArrives(FakeQueue):
    """Adds a batch while the answer to the first `outlook` is on its way."""

    arrived: Callable[[], None]

    async def outlook(self) -> Outlook:
        answer = await super().outlook()
        if not self.state.items:
            self.state.add("a")
            self.arrived()
        return answer


def completed(queue: FakeQueue) -> int:
    return sum(item.status is GenerationStatus.COMPLETED for item in queue.state.items.values())


async def test_no_more_items_run_than_there_are_slots() -> None:
    harness = worker_harness(slots=2)
    harness.queue.state.add("a", "b", "c")
    harness.provider.gate.clear()

    async with working(harness.worker):
        await eventually(lambda: len(harness.provider.waiting) == 2)
        harness.worker.wake()
        await asyncio.sleep(0.05)

        assert harness.worker.running == 2
        assert harness.queue.claimed_limits == [2]
        harness.provider.gate.set()


async def test_a_free_slot_is_filled_without_waiting_for_a_poll() -> None:
    harness = worker_harness(slots=1)
    harness.queue.state.add("a", "b", "c")

    async with working(harness.worker):
        await eventually(lambda: completed(harness.queue) == 3)


async def test_the_call_that_writes_results_claims_the_next_items() -> None:
    harness = worker_harness(slots=3)
    harness.queue.state.add("a", "b", "c", "d", "e", "f", "g")

    async with working(harness.worker):
        await eventually(lambda: completed(harness.queue) == 7)
        await eventually(lambda: harness.worker.running == 0)

    assert harness.queue.requests.count("claim") == 1
    assert harness.queue.requests.count("complete_and_claim") <= 7


async def test_items_that_fail_together_are_replaced_by_one_claim() -> None:
    harness = worker_harness(slots=3, refill_pause_seconds=0.5)
    harness.queue.state.add("a", "b", "c", "d", "e", "f")
    harness.provider.script = {name: ProviderRejected("No.", code="no") for name in ("a", "b", "c")}
    harness.provider.delays = {"b": 0.01, "c": 0.02}
    harness.provider.gate.clear()

    async with working(harness.worker):
        await eventually(lambda: len(harness.provider.waiting) == 3)
        harness.provider.gate.set()
        await eventually(lambda: completed(harness.queue) == 3)
        await eventually(lambda: harness.worker.running == 0)

        assert harness.queue.claimed_limits[:2] == [3, 3]


async def test_items_claimed_by_a_completion_after_the_stop_are_released() -> None:
    queue = StopsMeanwhile()
    harness = worker_harness(queue=queue, slots=1)
    queue.stop = harness.worker.stop
    queue.state.add("a", "b")

    async with working(harness.worker) as loop:
        await loop

    assert harness.provider.submitted == ["a"]
    assert [item.status for item in queue.state.items.values()] == [
        GenerationStatus.COMPLETED,
        GenerationStatus.PENDING,
    ]


async def test_one_failed_item_does_not_stop_the_others() -> None:
    harness = worker_harness()
    bad, *_ = harness.queue.state.add("bad", "b", "c")
    harness.provider.script["bad"] = ProviderRejected("No.", code="blocked_by_policy")

    async with working(harness.worker):
        await eventually(lambda: (harness.worker.tally.failed, harness.worker.tally.completed) == (1, 2))

        assert completed(harness.queue) == 2
        assert bad.status is GenerationStatus.FAILED
        assert bad.fault
        assert bad.fault.code == "blocked_by_policy"


async def test_an_outage_is_logged_once_per_change_and_survived() -> None:
    harness = worker_harness()
    harness.queue.state.add("a")
    harness.queue.is_down = True

    with capture_logs() as lines:
        async with working(harness.worker):
            await eventually(lambda: harness.queue.calls.count("claim") >= 4)
            harness.queue.is_down = False
            await eventually(lambda: completed(harness.queue) == 1)

    about_the_queue = [line["event"] for line in lines if line["event"].startswith("queue")]
    assert about_the_queue == ["queue lost, running items go on", "queue recovered"]


async def test_the_worker_claims_again_when_a_busy_providers_wait_ends() -> None:
    harness = worker_harness(slots=1)
    harness.queue.state.add("a", "b")
    harness.provider.fails_once["a"] = ProviderBusy("Slow down.", retry_after_seconds=1)

    async with working(harness.worker):
        await eventually(lambda: harness.worker.tally.retried == 1)
        claims = harness.queue.calls.count("claim")
        harness.worker.wake()
        await eventually(lambda: harness.queue.calls.count("claim") > claims)
        submitted = list(harness.provider.submitted)
        await eventually(lambda: completed(harness.queue) == 2)

    assert submitted == ["a"], "the queue gave nothing while the provider was not to be asked"
    assert all(item.retry_count == 0 for item in harness.queue.state.items.values())


async def test_a_stopped_worker_finishes_running_items_and_claims_no_more() -> None:
    harness = worker_harness(slots=1)
    harness.queue.state.add("a", "b")
    harness.provider.gate.clear()

    async with working(harness.worker) as loop:
        await eventually(lambda: len(harness.provider.waiting) == 1)
        harness.worker.stop()
        await asyncio.sleep(0.05)
        harness.provider.gate.set()
        await loop

    assert completed(harness.queue) == 1
    assert harness.queue.calls.count("claim") == 1
    assert harness.queue.released == []


async def test_items_outlasting_the_grace_time_are_released_in_one_call() -> None:
    harness = worker_harness(slots=2, grace_seconds=0.05)
    items = harness.queue.state.add("a", "b")
    harness.provider.gate.clear()

    async with working(harness.worker) as loop:
        await eventually(lambda: len(harness.provider.waiting) == 2)
        harness.worker.stop()
        await loop

    assert [len(leases) for leases in harness.queue.released] == [2]
    assert all(item.status is GenerationStatus.PENDING for item in items)
    assert all(item.provider_job_id for item in items), "the next worker resumes the jobs"
    assert harness.provider.cancelled == []


async def test_a_second_signal_releases_items_at_once() -> None:
    harness = worker_harness(grace_seconds=60)
    (item,) = harness.queue.state.add("a")
    harness.provider.gate.clear()

    async with working(harness.worker) as loop:
        await eventually(lambda: len(harness.provider.waiting) == 1)
        harness.worker.stop()
        await asyncio.sleep(0.02)
        harness.worker.stop()
        async with asyncio.timeout(10):
            await loop

    assert item.status is GenerationStatus.PENDING
    assert item.crash_count == 0


async def test_a_job_submitted_during_the_stop_is_stored() -> None:
    harness = worker_harness(grace_seconds=0)
    (item,) = harness.queue.state.add("a")
    harness.provider.submit_gate.clear()

    async with working(harness.worker) as loop:
        await eventually(lambda: len(harness.provider.submitted) == 1)
        harness.worker.stop()
        await asyncio.sleep(0.05)
        harness.provider.submit_gate.set()
        await loop

    assert item.status is GenerationStatus.PENDING
    assert item.provider_job_id == "job-1"


async def test_a_failed_release_is_repeated() -> None:
    harness = worker_harness(grace_seconds=0, patience={"backoff_seconds": 0.3, "backoff_max_seconds": 1})
    (item,) = harness.queue.state.add("a")
    harness.provider.gate.clear()
    harness.queue.down_calls = {"release"}

    async with working(harness.worker) as loop:
        await eventually(lambda: len(harness.provider.waiting) == 1)
        harness.worker.stop()
        await eventually(lambda: "release" in harness.queue.calls)
        harness.queue.down_calls = set()
        await loop

    assert item.status is GenerationStatus.PENDING


async def test_once_ends_when_nothing_is_due_or_running() -> None:
    harness = worker_harness(slots=2)
    harness.queue.state.add("a", "b", "c", "d", "e")

    async with asyncio.timeout(20):
        await harness.worker.run_once()

    assert completed(harness.queue) == 5
    assert harness.worker.tally.failed == 0


async def test_once_claims_again_after_an_item_ended_during_a_claim() -> None:
    harness = worker_harness(queue=OneAtATime())
    first, second = harness.queue.state.add("a", "b")
    harness.provider.gate.clear()
    running = asyncio.create_task(harness.worker.run_once())
    await eventually(lambda: harness.provider.waiting)
    harness.worker.wake()
    await eventually(lambda: harness.queue.calls.count("claim") == 2)

    harness.provider.gate.set()
    await running

    assert (first.status, second.status) == (GenerationStatus.COMPLETED, GenerationStatus.COMPLETED)


async def test_once_leaves_items_due_later() -> None:
    harness = worker_harness()
    harness.queue.state.retry_delay_seconds = 60
    (item,) = harness.queue.state.add("a")
    harness.provider.script["a"] = TimeoutError()

    async with asyncio.timeout(20):
        await harness.worker.run_once()

    assert item.status is GenerationStatus.PENDING
    assert (harness.worker.tally.retried, harness.worker.tally.failed) == (1, 0)


async def test_once_waits_for_a_retry_due_soon() -> None:
    harness = worker_harness()
    harness.queue.state.retry_delay_seconds = 0.2
    (item,) = harness.queue.state.add("a")
    harness.provider.fails_once["a"] = TimeoutError()

    await harness.worker.run_once()

    assert harness.worker.tally.retried == 1
    assert (item.status, item.retry_count) == (GenerationStatus.COMPLETED, 1)


async def test_once_waits_for_an_item_delayed_by_an_earlier_run() -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    item.due_at = asyncio.get_running_loop().time() + 0.5

    with capture_logs() as lines:
        await harness.worker.run_once(max_seconds=60)

    assert item.status is GenerationStatus.COMPLETED
    waits = [line["event"] for line in lines if "due" in line["event"]]
    assert waits == ["waiting for what is due soon", "nothing more is due"]


async def test_once_with_max_seconds_waits_for_items_due_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.worker.ONCE_WAITS_SECONDS", 0.0)
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    item.due_at = asyncio.get_running_loop().time() + 0.5

    await harness.worker.run_once()
    left = item.status
    await worker_harness(queue=harness.queue).worker.run_once(max_seconds=60)

    assert (left, item.status) == (GenerationStatus.PENDING, GenerationStatus.COMPLETED)


async def test_once_does_not_wait_for_items_due_after_its_end() -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    item.due_at = asyncio.get_running_loop().time() + 300

    async with asyncio.timeout(5):
        await harness.worker.run_once(max_seconds=60)

    assert item.status is GenerationStatus.PENDING


async def test_once_without_max_seconds_stops_waiting_for_a_busy_provider(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("scheduler.worker.ONCE_WAITS_SECONDS", 1.0)
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    harness.provider.script["a"] = ProviderBusy("Slow down.", retry_after_seconds=0.1)

    async with asyncio.timeout(20):
        await harness.worker.run_once()

    assert (item.status, item.retry_count) == (GenerationStatus.PENDING, 0)
    assert harness.worker.tally.retried > 1


async def test_once_ends_when_another_worker_took_the_awaited_item() -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    item.due_at = asyncio.get_running_loop().time() + 1
    run = asyncio.create_task(harness.worker.run_once(max_seconds=60))
    await eventually(lambda: "outlook" in harness.queue.calls)

    item.due_at = 0
    await FakeQueue(harness.queue.state).claim(1)
    async with asyncio.timeout(5):
        await run

    assert item.status is GenerationStatus.PROCESSING
    assert harness.provider.submitted == []


async def test_once_runs_a_batch_that_arrives_during_its_last_question() -> None:
    queue = BatchArrives()
    harness = worker_harness(queue=queue)
    queue.arrived = harness.worker.wake

    await harness.worker.run_once()

    assert completed(harness.queue) == 1


async def test_a_signal_ends_the_wait_for_due_items() -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    item.due_at = asyncio.get_running_loop().time() + 30
    run = asyncio.create_task(harness.worker.run_once(max_seconds=60))
    await eventually(lambda: "outlook" in harness.queue.calls)

    harness.worker.stop()
    async with asyncio.timeout(5):
        await run

    assert item.status is GenerationStatus.PENDING


async def test_once_ends_when_the_outlook_cannot_be_read() -> None:
    harness = worker_harness()
    harness.queue.down_calls = {"outlook"}

    with capture_logs() as lines:
        await harness.worker.run_once()

    assert [line["event"] for line in lines] == ["nothing is due, and what waits could not be asked"]


async def test_once_releases_items_when_its_time_is_over() -> None:
    harness = worker_harness(grace_seconds=0.02)
    (item,) = harness.queue.state.add("a")
    harness.provider.gate.clear()

    async with asyncio.timeout(20):
        await harness.worker.run_once(max_seconds=0.5)

    assert item.status is GenerationStatus.PENDING
    assert len(harness.queue.released) == 1


async def test_once_gives_up_on_an_unreachable_queue() -> None:
    harness = worker_harness()
    harness.queue.is_down = True

    with pytest.raises(QueueUnavailable):
        await harness.worker.run_once()

    assert harness.queue.calls.count("claim") == 3


async def test_a_dead_tick_stops_the_worker() -> None:
    harness = worker_harness()
    harness.worker._dead_tick = lambda: "renew leases"  # pyright: ignore[reportPrivateUsage]

    with pytest.raises(TicksDied, match="renew leases"):
        await harness.worker.run()


async def test_returned_leases_wake_the_worker() -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    lost = (await FakeQueue(harness.queue.state).claim(1))[0]

    async with working(harness.worker):
        await eventually(lambda: harness.queue.calls.count("claim") == 1)
        harness.queue.expire(lost)
        await harness.worker.return_expired()
        await eventually(lambda: item.status is GenerationStatus.COMPLETED)
