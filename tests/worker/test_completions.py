"""Results are written together, and each item gets its own outcome."""

import asyncio
from collections.abc import Sequence

import pytest

from batchgen.errors import InvalidRequest, LeaseLost, QueueUnavailable
from batchgen.models import GenerationStatus
from batchgen.queue.types import Claim, ClaimError, Completed, StoredImage
from scheduler.completions import Completions
from scheduler.slots import Reservation, Slots
from tests.fake_queue import FakeQueue
from tests.support import eventually
from tests.worker.worker_harness import worker_harness, working


class SlowQueue(FakeQueue):
    """Holds every call that writes results until the gate opens, and refuses pictures named `bad`."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.together: list[int] = []

    async def complete_and_claim(self, results: Sequence[tuple[Claim, StoredImage]], limit: int) -> Completed:
        self.together.append(len(results))
        await self.gate.wait()
        if any(image.filename == "bad" for _, image in results):
            raise InvalidRequest("p_result does not fit", code="invalid_argument")
        return await super().complete_and_claim(results, limit)


class RecordingSlots(Slots):
    """Records the claims that are passed on to fill slots."""

    def __init__(self, taken: list[Sequence[Claim] | None]) -> None:
        super().__init__(0)
        self._taken = taken

    def take(self, claims: Sequence[Claim] | None, reservation: Reservation) -> None:
        self._taken.append(claims)


def picture(filename: str = "a.png") -> StoredImage:
    return StoredImage(storage_path="u/a.png", filename=filename, format="png", width=1, height=1, file_size=1)


async def begin(queue: SlowQueue, *filenames: str) -> list[asyncio.Task[None]]:
    """Claim an item for each name and start to complete all; returns when the first one's result is being written."""
    queue.state.add(*filenames)
    completions = Completions(queue, Slots(0))
    claims = await queue.claim(len(filenames))
    tasks = [
        asyncio.create_task(completions.complete(claim, picture(name)))
        for claim, name in zip(claims, filenames, strict=True)
    ]
    await eventually(lambda: queue.together)
    return tasks


async def test_results_arriving_during_a_write_are_written_together() -> None:
    queue = SlowQueue()
    tasks = await begin(queue, "a", "b", "c", "d")

    queue.gate.set()
    await asyncio.gather(*tasks)

    assert sum(queue.together) == 4
    assert len(queue.together) <= 2
    assert {item.status for item in queue.state.items.values()} == {GenerationStatus.COMPLETED}


async def test_a_lost_lease_fails_only_its_own_items_result() -> None:
    queue = SlowQueue()
    tasks = await begin(queue, "a", "b", "c")
    lost = list(queue.state.items.values())[1]
    lost.lease_ends_at = 0

    queue.gate.set()
    ends = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(end) for end in ends] == [type(None), LeaseLost, type(None)]


async def test_a_refused_result_does_not_stop_the_others() -> None:
    queue = SlowQueue()

    async def refuse_bad(claim: Claim, image: StoredImage) -> None:
        if image.filename == "bad":
            raise InvalidRequest("p_result does not fit", code="invalid_argument")
        await FakeQueue.complete(queue, claim, image)

    queue.complete = refuse_bad
    tasks = await begin(queue, "a", "bad", "c")

    queue.gate.set()
    ends = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(end) for end in ends] == [type(None), InvalidRequest, type(None)]


async def test_an_outage_reaches_every_item_of_the_call() -> None:
    queue = SlowQueue()
    tasks = await begin(queue, "a", "b")
    queue.is_down = True

    queue.gate.set()
    ends = await asyncio.gather(*tasks, return_exceptions=True)

    assert [type(end) for end in ends] == [QueueUnavailable, QueueUnavailable]


async def test_a_cancelled_result_does_not_hold_up_the_others() -> None:
    queue = SlowQueue()
    tasks = await begin(queue, "a", "b")

    tasks[0].cancel()
    queue.gate.set()

    await tasks[1]
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]


class Lossy(FakeQueue):
    """Writes and claims, but loses its first answers."""

    lost = 6

    async def complete_and_claim(self, results: Sequence[tuple[Claim, StoredImage]], limit: int) -> Completed:
        done = await super().complete_and_claim(results, limit)
        self.lost -= 1
        if self.lost >= 0:
            raise QueueUnavailable("the answer is lost")
        return done


async def test_lost_answers_leave_at_most_one_claim_of_leases_unowned() -> None:
    queue = Lossy()
    harness = worker_harness(queue=queue, slots=3)
    queue.state.add(*(f"p{n}" for n in range(40)))
    harness.provider.gate.clear()

    async with working(harness.worker):
        await eventually(lambda: len(harness.provider.waiting) == 3)
        harness.provider.gate.set()
        await eventually(lambda: queue.lost < 0)
        harness.provider.gate.clear()
        leased = {item.lease_id for item in queue.state.items.values() if item.lease_id}
        unknown = leased - {lease.claim.lease_id for lease in harness.leases.held}
        harness.provider.gate.set()

        assert len(unknown) <= 3


async def test_claims_arriving_after_the_stop_are_released_at_once() -> None:
    queue = SlowQueue()
    harness = worker_harness(queue=queue, slots=2)
    queue.state.add("a", "long", "b")
    harness.provider.delays["long"] = 60

    async with working(harness.worker) as loop:
        await eventually(lambda: queue.together)
        harness.worker.stop()
        queue.gate.set()
        await eventually(lambda: queue.released)

        assert not loop.done()
        assert {item.prompt: item.status for item in queue.state.items.values()}["b"] is GenerationStatus.PENDING
        assert harness.provider.submitted == ["a", "long"]
        harness.worker.stop()


async def test_a_failed_claim_is_repeated_and_its_results_are_written() -> None:
    class FailingClaims(FakeQueue):
        async def complete_and_claim(self, results: Sequence[tuple[Claim, StoredImage]], limit: int) -> Completed:
            done = await super().complete_and_claim(results, 0)
            return done.model_copy(update={"claim_error": ClaimError(code="22003", message="integer out of range")})

    queue = FailingClaims()
    queue.state.add("a", "b")
    [claim] = await queue.claim(1)
    taken: list[Sequence[Claim] | None] = []
    completions = Completions(queue, RecordingSlots(taken))

    await completions.complete(claim, picture())

    assert queue.state.items[claim.generation_id].status is GenerationStatus.COMPLETED
    assert taken == [None]  # as if there was no answer
