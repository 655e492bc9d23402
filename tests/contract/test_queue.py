"""The contract of a queue, for the fake of the worker's tests and for the real one."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest

from batchgen.backend.rpc import rpc
from batchgen.errors import KeyRefused, LeaseLost
from batchgen.models import GenerationStatus
from batchgen.queue.ports import Queue
from batchgen.queue.postgrest import PostgrestQueue
from batchgen.queue.types import Claim, Fault, StoredImage
from tests.fake_queue import FakeQueue, QueueState
from tests.support import Database, User

BUSY = Fault(code="provider_busy", message="Wait.", retryable=True, retry_after_seconds=0)
BROKEN = Fault(code="provider_unavailable", message="Broken.", retryable=True)
BLOCKED = Fault(code="blocked_by_policy", message="Blocked.")


@dataclass
class QueueSetup:
    """A queue under test, the same queue for another worker, and functions that change its items directly."""

    queue: Queue
    other: Queue
    add: Callable[[int], Awaitable[list[UUID]]]
    expire: Callable[[Claim], Awaitable[Any]]
    status: Callable[[UUID], Awaitable[GenerationStatus]]
    make_due: Callable[[], Awaitable[Any]]
    """End all waiting times of items and providers."""


@pytest.fixture(params=["fake", "postgrest"])
def setup(request: pytest.FixtureRequest) -> QueueSetup:
    return request.getfixturevalue(f"{request.param}_setup")


@pytest.fixture
async def fake_setup() -> QueueSetup:
    state = QueueState()
    queue = FakeQueue(state)

    async def add(count: int) -> list[UUID]:
        return [item.id for item in state.add(*["a harbour"] * count)]

    async def expire(claim: Claim) -> None:
        queue.expire(claim)

    async def status(generation_id: UUID) -> GenerationStatus:
        return state.items[generation_id].status

    async def make_due() -> None:
        state.not_before = 0
        for item in state.items.values():
            item.due_at = 0

    return QueueSetup(queue, FakeQueue(state), add, expire, status, make_due)


@pytest.fixture
async def postgrest_setup(
    database: Database,
    service: Any,
    new_user: Callable[[], Awaitable[User]],
    limits: Callable[..., Awaitable[None]],
) -> AsyncGenerator[QueueSetup]:
    await limits(retry_delays_seconds=[0.0])
    assert (await _value(database, "select count(*) from batchgen.queue")) == 0

    async def add(count: int) -> list[UUID]:
        user = await new_user()
        request = {"prompts": [{"text": "a harbour"}] * count}
        batch = (await rpc(user.client, "create_batch", {"p_request": request}))["batch"]
        return [UUID(generation["id"]) for generation in batch["generations"]]

    async def expire(claim: Claim) -> None:
        await database.execute(
            "update batchgen.queue set lease_expires_at = clock_timestamp() where lease_id = %s", [claim.lease_id]
        )

    async def status(generation_id: UUID) -> GenerationStatus:
        return GenerationStatus(
            await _value(database, "select status from public.image_generations where id = %s", generation_id)
        )

    async def make_due() -> None:
        await database.execute("delete from batchgen.providers")
        await database.execute("update batchgen.queue set due_at = clock_timestamp() where state = 'delayed'")

    yield QueueSetup(
        PostgrestQueue(service, worker="one", lease_seconds=60),
        PostgrestQueue(service, worker="two", lease_seconds=60),
        add,
        expire,
        status,
        make_due,
    )
    await database.execute(
        "delete from public.image_generations where id in (select generation_id from batchgen.queue)"
    )


async def _value(database: Database, query: str, *arguments: Any) -> Any:
    row = await (await database.execute(query.encode(), arguments)).fetchone()
    assert row
    return next(iter(row.values()))


def picture(claim: Claim) -> StoredImage:
    name = f"{claim.generation_id}.png"
    return StoredImage(
        storage_path=f"{claim.user_id}/{name}", filename=name, format="png", width=8, height=8, file_size=9
    )


async def test_two_workers_never_get_the_same_item(setup: QueueSetup) -> None:
    ids = await setup.add(3)

    mine = await setup.queue.claim(2)
    theirs = await setup.other.claim(5)

    assert len(mine) == 2
    assert sorted(claim.generation_id for claim in [*mine, *theirs]) == sorted(ids)
    assert {claim.attempt for claim in mine} == {1}


async def test_the_outlook_tells_when_the_next_item_is_due(setup: QueueSetup) -> None:
    nothing = await setup.queue.outlook()
    await setup.add(2)
    waiting = await setup.queue.outlook()
    put_off, running = await setup.queue.claim(2)
    await setup.queue.fail(put_off, BUSY.model_copy(update={"retry_after_seconds": 300}))

    later = await setup.other.outlook()
    await setup.queue.release([running.lease_id])
    await setup.make_due()

    assert (nothing.due_in_seconds, nothing.waiting) == (None, 0)
    assert (waiting.due_in_seconds, waiting.waiting) == (None, 2)
    assert later.due_in_seconds == pytest.approx(300, abs=30)
    assert (later.delayed, later.running) == (1, 1)


async def test_claiming_from_an_empty_queue_returns_nothing(setup: QueueSetup) -> None:
    assert list(await setup.queue.claim(5)) == []


async def test_completing_an_item_twice_is_refused(setup: QueueSetup) -> None:
    await setup.add(2)
    claim = (await setup.queue.claim(1))[0]

    await setup.queue.complete(claim, picture(claim))

    assert await setup.status(claim.generation_id) is GenerationStatus.COMPLETED
    with pytest.raises(LeaseLost):
        await setup.queue.complete(claim, picture(claim))


async def test_results_are_written_together_and_return_the_next_claims(setup: QueueSetup) -> None:
    await setup.add(4)
    done, expired, also_done = await setup.queue.claim(3)
    await setup.expire(expired)

    answer = await setup.queue.complete_and_claim(
        [(claim, picture(claim)) for claim in (done, expired, also_done)], limit=1
    )

    assert answer.lease_ids == {done.lease_id, also_done.lease_id}
    assert await setup.status(done.generation_id) is GenerationStatus.COMPLETED
    [next_one] = answer.claims
    assert await setup.status(next_one.generation_id) is GenerationStatus.PROCESSING
    await setup.queue.complete(next_one, picture(next_one))


async def test_a_renewal_returns_only_the_leases_still_held(setup: QueueSetup) -> None:
    await setup.add(3)
    kept, expired, done = await setup.queue.claim(3)
    await setup.expire(expired)
    await setup.queue.complete(done, picture(done))

    renewals = await setup.queue.renew([kept.lease_id, expired.lease_id, done.lease_id, uuid4()])

    assert [renewal.lease_id for renewal in renewals] == [kept.lease_id]
    assert not renewals[0].cancel_requested
    renewed_until = renewals[0].lease_expires_at
    assert kept.lease_expires_at
    assert renewed_until
    assert renewed_until > kept.lease_expires_at


async def test_every_write_with_a_lost_lease_is_refused(setup: QueueSetup) -> None:
    await setup.add(2)
    claim = (await setup.queue.claim(1))[0]
    await setup.expire(claim)

    for write in (
        lambda: setup.queue.attach_provider_job(claim, "provider", "job"),
        lambda: setup.queue.complete(claim, picture(claim)),
        lambda: setup.queue.fail(claim, BROKEN),
    ):
        with pytest.raises(LeaseLost):
            await write()
    assert list(await setup.queue.release([claim.lease_id])) == []


async def test_an_expired_item_goes_to_another_worker_as_a_new_attempt(setup: QueueSetup) -> None:
    await setup.add(2)
    claim, beside = await setup.queue.claim(2)
    await setup.queue.fail(beside, BLOCKED)  # a crash suspect takes turns with other items
    await setup.queue.attach_provider_job(claim, "provider", "job-1")
    await setup.expire(claim)

    returned = await setup.other.return_expired()
    [again] = await setup.other.claim(2)

    assert returned == 1
    assert (again.generation_id, again.attempt) == (claim.generation_id, 2)
    assert again.lease_id != claim.lease_id
    assert (again.provider, again.provider_job_id) == ("provider", "job-1")


async def test_a_released_item_is_due_at_once_and_keeps_its_job_and_attempt(setup: QueueSetup) -> None:
    await setup.add(2)
    claims = await setup.queue.claim(2)
    await setup.queue.attach_provider_job(claims[0], "provider", "job-1")

    released = await setup.queue.release([claim.lease_id for claim in claims])
    again = {claim.generation_id: claim for claim in await setup.other.claim(2)}

    assert sorted(released) == sorted(claim.lease_id for claim in claims)
    assert {claim.attempt for claim in again.values()} == {1}
    assert again[claims[0].generation_id].provider_job_id == "job-1"


async def test_releasing_no_leases_is_allowed(setup: QueueSetup) -> None:
    assert list(await setup.queue.release([])) == []


async def test_a_failed_item_is_retried_without_its_job_until_no_retries_are_left(setup: QueueSetup) -> None:
    await setup.add(2)
    seen: list[tuple[int, str | None]] = []
    verdict = None
    generation_id = None

    while verdict is None or verdict.status is not GenerationStatus.FAILED:
        claim = next(
            one for one in await setup.queue.claim(3) if generation_id is None or one.generation_id == generation_id
        )
        generation_id = claim.generation_id
        seen.append((claim.attempt, claim.provider_job_id))
        await setup.queue.attach_provider_job(claim, "provider", "job")
        verdict = await setup.queue.fail(claim, BROKEN)

    assert seen == [(1, None), (2, None), (3, None), (4, None)]
    assert verdict.retry_count == 3


async def test_a_rejected_item_fails_at_once(setup: QueueSetup) -> None:
    await setup.add(2)
    claim = (await setup.queue.claim(1))[0]

    verdict = await setup.queue.fail(claim, BLOCKED)

    assert verdict.status is GenerationStatus.FAILED
    assert verdict.retry_in_seconds is None
    assert await setup.status(claim.generation_id) is GenerationStatus.FAILED


async def test_waiting_for_a_busy_provider_uses_no_attempt(setup: QueueSetup) -> None:
    await setup.add(2)
    claim = (await setup.queue.claim(2))[0]

    verdict = await setup.queue.fail(claim, BUSY)
    await setup.make_due()
    again = (await setup.queue.claim(2))[0]

    assert verdict.retry_count == 0
    assert again.generation_id == claim.generation_id
    assert again.attempt == 1


async def test_all_workers_leave_a_busy_provider_alone_until_its_wait_ends(setup: QueueSetup) -> None:
    await setup.add(3)
    claim, other = await setup.queue.claim(2)

    await setup.queue.fail(claim, BUSY.model_copy(update={"retry_after_seconds": 300, "provider": "offline"}))

    assert list(await setup.queue.claim(3)) == []
    assert list(await setup.other.claim(3)) == []
    await setup.queue.complete(other, picture(other))
    await setup.make_due()
    again = await setup.other.claim(3)
    assert {one.attempt for one in again} == {1}
    assert len(again) == 2


async def test_a_users_key_is_refused_as_a_worker_key(user: User) -> None:
    queue = PostgrestQueue(user.client, worker="one", lease_seconds=60)

    with pytest.raises(KeyRefused):
        await queue.claim(1)
