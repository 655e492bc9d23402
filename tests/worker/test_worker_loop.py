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
from tests.worker.stage import theatre, working


class OneAtATime(FakeQueue):
    """One item may run in all; a claim that finds one running answers, empty, only when that one has ended."""

    async def claim(self, limit: int) -> Sequence[Claim]:
        if (running := self._running()) is None:
            return await super().claim(1)
        self.calls.append("claim")
        await eventually(lambda: running.status is not GenerationStatus.PROCESSING, every=0.001)
        await asyncio.sleep(0.01)
        return []

    def _running(self) -> Item | None:
        return next((i for i in self.shelf.items.values() if i.status is GenerationStatus.PROCESSING), None)


class StopsMeanwhile(FakeQueue):
    """The worker is told to stop while a call that also claims is on its way."""

    stop: Callable[[], None]

    async def complete_and_claim(self, results: Sequence[tuple[Claim, StoredImage]], limit: int) -> Completed:
        done = await super().complete_and_claim(results, limit)
        self.stop()
        return done


class BatchArrives(FakeQueue):
    """A batch arrives while the first question what is due is on its way."""

    arrived: Callable[[], None]

    async def outlook(self) -> Outlook:
        answer = await super().outlook()
        if not self.shelf.items:
            self.shelf.add("a")
            self.arrived()
        return answer


def completed(queue: FakeQueue) -> int:
    return sum(item.status is GenerationStatus.COMPLETED for item in queue.shelf.items.values())


async def test_never_more_items_run_than_there_are_slots() -> None:
    stage = theatre(slots=2)
    stage.queue.shelf.add("a", "b", "c")
    stage.provider.gate.clear()

    async with working(stage.worker):
        await eventually(lambda: len(stage.provider.waiting) == 2)
        stage.worker.wake()
        await asyncio.sleep(0.05)

        assert stage.worker.running == 2
        assert stage.queue.claimed_limits == [2]
        stage.provider.gate.set()


async def test_a_free_slot_is_filled_at_once_without_a_poll() -> None:
    stage = theatre(slots=1)
    stage.queue.shelf.add("a", "b", "c")

    async with working(stage.worker):
        await eventually(lambda: completed(stage.queue) == 3, timeout=2)


async def test_completed_items_are_replaced_by_the_call_that_writes_them_down() -> None:
    stage = theatre(slots=3)
    stage.queue.shelf.add("a", "b", "c", "d", "e", "f", "g")

    async with working(stage.worker):
        await eventually(lambda: completed(stage.queue) == 7)
        await eventually(lambda: stage.worker.running == 0)

    assert stage.queue.requests.count("claim") == 1
    assert stage.queue.requests.count("complete_and_claim") <= 7


async def test_items_that_fail_together_are_replaced_by_one_claim() -> None:
    stage = theatre(slots=3, refill_pause_seconds=0.1)
    stage.queue.shelf.add("a", "b", "c", "d", "e", "f")
    stage.provider.script = {name: ProviderRejected("No.", code="no") for name in ("a", "b", "c")}
    stage.provider.delays = {"b": 0.01, "c": 0.02}
    stage.provider.gate.clear()

    async with working(stage.worker):
        await eventually(lambda: len(stage.provider.waiting) == 3)
        stage.provider.gate.set()
        await eventually(lambda: completed(stage.queue) == 3)
        await eventually(lambda: stage.worker.running == 0)

        assert stage.queue.claimed_limits[:2] == [3, 3]


async def test_what_a_completion_brings_after_the_stop_is_handed_back_unstarted() -> None:
    queue = StopsMeanwhile()
    stage = theatre(queue=queue, slots=1)
    queue.stop = stage.worker.stop
    queue.shelf.add("a", "b")

    async with working(stage.worker) as loop:
        await loop

    assert stage.provider.submitted == ["a"]
    assert [item.status for item in queue.shelf.items.values()] == [
        GenerationStatus.COMPLETED,
        GenerationStatus.PENDING,
    ]


async def test_one_failed_item_does_not_stop_the_others() -> None:
    stage = theatre()
    bad, *_ = stage.queue.shelf.add("bad", "b", "c")
    stage.provider.script["bad"] = ProviderRejected("No.", code="blocked_by_policy")

    async with working(stage.worker):
        await eventually(lambda: (stage.worker.tally.failed, stage.worker.tally.completed) == (1, 2))

        assert completed(stage.queue) == 2
        assert bad.status is GenerationStatus.FAILED
        assert bad.fault
        assert bad.fault.code == "blocked_by_policy"


async def test_an_outage_is_logged_once_per_change_and_survived() -> None:
    stage = theatre()
    stage.queue.shelf.add("a")
    stage.queue.is_down = True

    with capture_logs() as lines:
        async with working(stage.worker):
            await eventually(lambda: stage.queue.calls.count("claim") >= 4)
            stage.queue.is_down = False
            await eventually(lambda: completed(stage.queue) == 1)

    about_the_queue = [line["event"] for line in lines if line["event"].startswith("queue")]
    assert about_the_queue == ["queue lost, running items go on", "queue recovered"]


async def test_the_worker_looks_again_when_a_busy_providers_time_is_over() -> None:
    stage = theatre(slots=1)
    stage.queue.shelf.add("a", "b")
    stage.provider.script["a"] = ProviderBusy("Slow down.", retry_after_seconds=0.2)

    async with working(stage.worker):
        await eventually(lambda: stage.worker.tally.retried == 1)
        del stage.provider.script["a"]
        stage.worker.wake()
        await asyncio.sleep(0.1)
        submitted = list(stage.provider.submitted)
        await eventually(lambda: completed(stage.queue) == 2, timeout=2)

    assert submitted == ["a"], "the queue gave nothing while the provider was not to be asked"
    assert all(item.retry_count == 0 for item in stage.queue.shelf.items.values())


async def test_stopping_lets_running_items_finish_and_claims_nothing_more() -> None:
    stage = theatre(slots=1)
    stage.queue.shelf.add("a", "b")
    stage.provider.gate.clear()

    async with working(stage.worker) as loop:
        await eventually(lambda: len(stage.provider.waiting) == 1)
        stage.worker.stop()
        await asyncio.sleep(0.05)
        stage.provider.gate.set()
        await loop

    assert completed(stage.queue) == 1
    assert stage.queue.calls.count("claim") == 1
    assert stage.queue.released == []


async def test_what_outlasts_the_grace_time_is_handed_back_in_one_call() -> None:
    stage = theatre(slots=2, grace_seconds=0.05)
    items = stage.queue.shelf.add("a", "b")
    stage.provider.gate.clear()

    async with working(stage.worker) as loop:
        await eventually(lambda: len(stage.provider.waiting) == 2)
        stage.worker.stop()
        await loop

    assert [len(leases) for leases in stage.queue.released] == [2]
    assert all(item.status is GenerationStatus.PENDING for item in items)
    assert all(item.provider_job_id for item in items), "the next worker resumes the jobs"
    assert stage.provider.cancelled == []


async def test_a_second_signal_hands_back_at_once() -> None:
    stage = theatre(grace_seconds=60)
    (item,) = stage.queue.shelf.add("a")
    stage.provider.gate.clear()

    async with working(stage.worker) as loop:
        await eventually(lambda: len(stage.provider.waiting) == 1)
        stage.worker.stop()
        await asyncio.sleep(0.02)
        stage.worker.stop()
        async with asyncio.timeout(1):
            await loop

    assert item.status is GenerationStatus.PENDING
    assert item.crash_count == 0


async def test_a_job_that_is_just_being_bought_at_the_stop_is_remembered() -> None:
    stage = theatre(grace_seconds=0)
    (item,) = stage.queue.shelf.add("a")
    stage.provider.submit_gate.clear()

    async with working(stage.worker) as loop:
        await eventually(lambda: len(stage.provider.submitted) == 1)
        stage.worker.stop()
        await asyncio.sleep(0.05)
        stage.provider.submit_gate.set()
        await loop

    assert item.status is GenerationStatus.PENDING
    assert item.provider_job_id == "job-1"


async def test_handing_back_is_tried_again_when_the_queue_does_not_answer() -> None:
    stage = theatre(grace_seconds=0, patience={"backoff_seconds": 0.3, "backoff_max_seconds": 1})
    (item,) = stage.queue.shelf.add("a")
    stage.provider.gate.clear()
    stage.queue.down_calls = {"release"}

    async with working(stage.worker) as loop:
        await eventually(lambda: len(stage.provider.waiting) == 1)
        stage.worker.stop()
        await eventually(lambda: "release" in stage.queue.calls)
        stage.queue.down_calls = set()
        await loop

    assert item.status is GenerationStatus.PENDING


async def test_once_ends_when_nothing_is_due_and_nothing_runs() -> None:
    stage = theatre(slots=2)
    stage.queue.shelf.add("a", "b", "c", "d", "e")

    async with asyncio.timeout(3):
        await stage.worker.run_once()

    assert completed(stage.queue) == 5
    assert stage.worker.tally.failed == 0


async def test_once_looks_again_when_an_item_ended_during_the_claim() -> None:
    stage = theatre(queue=OneAtATime())
    first, second = stage.queue.shelf.add("a", "b")
    stage.provider.gate.clear()
    running = asyncio.create_task(stage.worker.run_once())
    await eventually(lambda: stage.provider.waiting)
    stage.worker.wake()
    await eventually(lambda: stage.queue.calls.count("claim") == 2)

    stage.provider.gate.set()
    await running

    assert (first.status, second.status) == (GenerationStatus.COMPLETED, GenerationStatus.COMPLETED)


async def test_once_leaves_items_that_are_due_later() -> None:
    stage = theatre()
    stage.queue.shelf.retry_delay_seconds = 60
    (item,) = stage.queue.shelf.add("a")
    stage.provider.script["a"] = TimeoutError()

    async with asyncio.timeout(3):
        await stage.worker.run_once()

    assert item.status is GenerationStatus.PENDING
    assert (stage.worker.tally.retried, stage.worker.tally.failed) == (1, 0)


async def test_once_waits_for_a_retry_that_is_due_soon() -> None:
    stage = theatre()
    stage.queue.shelf.retry_delay_seconds = 0.2
    (item,) = stage.queue.shelf.add("a")
    stage.provider.script["a"] = TimeoutError()
    run = asyncio.create_task(stage.worker.run_once())
    await eventually(lambda: stage.worker.tally.retried == 1)

    stage.provider.script.clear()
    await run

    assert (item.status, item.retry_count) == (GenerationStatus.COMPLETED, 1)


async def test_once_waits_for_what_an_earlier_run_left_for_later() -> None:
    stage = theatre()
    (item,) = stage.queue.shelf.add("a")
    item.due_at = asyncio.get_running_loop().time() + 0.2

    with capture_logs() as lines:
        await stage.worker.run_once(max_seconds=60)

    assert item.status is GenerationStatus.COMPLETED
    said = [line["event"] for line in lines if "due" in line["event"]]
    assert said == ["waiting for what is due soon", "nothing more is due"]


async def test_once_with_an_end_waits_for_all_that_is_due_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.worker.ONCE_WAITS_SECONDS", 0.0)
    stage = theatre()
    (item,) = stage.queue.shelf.add("a")
    item.due_at = asyncio.get_running_loop().time() + 0.2

    await stage.worker.run_once()
    left = item.status
    await theatre(queue=stage.queue).worker.run_once(max_seconds=60)

    assert (left, item.status) == (GenerationStatus.PENDING, GenerationStatus.COMPLETED)


async def test_once_does_not_wait_for_what_is_due_after_its_end() -> None:
    stage = theatre()
    (item,) = stage.queue.shelf.add("a")
    item.due_at = asyncio.get_running_loop().time() + 300

    async with asyncio.timeout(5):
        await stage.worker.run_once(max_seconds=60)

    assert item.status is GenerationStatus.PENDING


async def test_once_without_an_end_does_not_wait_for_a_busy_provider_again_and_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("scheduler.worker.ONCE_WAITS_SECONDS", 0.5)
    stage = theatre()
    (item,) = stage.queue.shelf.add("a")
    stage.provider.script["a"] = ProviderBusy("Slow down.", retry_after_seconds=0.1)

    async with asyncio.timeout(20):
        await stage.worker.run_once()

    assert (item.status, item.retry_count) == (GenerationStatus.PENDING, 0)
    assert stage.worker.tally.retried > 1


async def test_once_ends_when_another_worker_took_what_it_waited_for() -> None:
    stage = theatre()
    (item,) = stage.queue.shelf.add("a")
    item.due_at = asyncio.get_running_loop().time() + 0.3
    run = asyncio.create_task(stage.worker.run_once(max_seconds=60))
    await eventually(lambda: "outlook" in stage.queue.calls)

    item.due_at = 0
    await FakeQueue(stage.queue.shelf).claim(1)
    async with asyncio.timeout(5):
        await run

    assert item.status is GenerationStatus.PROCESSING
    assert stage.provider.submitted == []


async def test_a_batch_that_arrives_while_once_asks_what_is_due_is_not_left() -> None:
    queue = BatchArrives()
    stage = theatre(queue=queue)
    queue.arrived = stage.worker.wake

    await stage.worker.run_once()

    assert completed(stage.queue) == 1


async def test_a_signal_ends_the_wait_for_what_is_due() -> None:
    stage = theatre()
    (item,) = stage.queue.shelf.add("a")
    item.due_at = asyncio.get_running_loop().time() + 30
    run = asyncio.create_task(stage.worker.run_once(max_seconds=60))
    await eventually(lambda: "outlook" in stage.queue.calls)

    stage.worker.stop()
    async with asyncio.timeout(5):
        await run

    assert item.status is GenerationStatus.PENDING


async def test_once_ends_where_nobody_tells_what_is_due() -> None:
    stage = theatre()
    stage.queue.down_calls = {"outlook"}

    with capture_logs() as lines:
        await stage.worker.run_once()

    assert [line["event"] for line in lines] == ["nothing is due, and what waits could not be asked"]


async def test_once_hands_back_when_its_time_is_over() -> None:
    stage = theatre(grace_seconds=0.02)
    (item,) = stage.queue.shelf.add("a")
    stage.provider.gate.clear()

    async with asyncio.timeout(3):
        await stage.worker.run_once(max_seconds=0.1)

    assert item.status is GenerationStatus.PENDING
    assert len(stage.queue.released) == 1


async def test_once_gives_up_on_a_queue_that_does_not_answer() -> None:
    stage = theatre()
    stage.queue.is_down = True

    with pytest.raises(QueueUnavailable):
        await stage.worker.run_once()

    assert stage.queue.calls.count("claim") == 3


async def test_a_dead_tick_stops_the_worker() -> None:
    stage = theatre()
    stage.worker._dead_tick = lambda: "renew leases"  # pyright: ignore[reportPrivateUsage]

    with pytest.raises(TicksDied, match="renew leases"):
        await stage.worker.run()


async def test_returned_leases_wake_the_worker() -> None:
    stage = theatre()
    (item,) = stage.queue.shelf.add("a")
    lost = (await FakeQueue(stage.queue.shelf).claim(1))[0]

    async with working(stage.worker):
        await eventually(lambda: stage.queue.calls.count("claim") == 1)
        stage.queue.expire(lost)
        await stage.worker.return_expired()
        await eventually(lambda: item.status is GenerationStatus.COMPLETED)
