"""Similar pictures, and batches that run again, with the library."""

from collections.abc import Awaitable, Callable

import pytest
from fake_worker import FakeWorker
from test_actions import a_finished_batch

from batchgen import BatchgenClient, InvalidRequest, NotFound, SharedSettings
from tests.support import User


async def test_similar_pictures_get_new_seeds(client: BatchgenClient, worker: FakeWorker, user: User) -> None:
    batch = await a_finished_batch(client, worker, user, None, None)
    first = batch.generations[0]

    similar = await client.generate_similar(batch.id, [first.id], count=3, client_key="similar")
    repeated = await client.generate_similar(batch.id, [first.id], count=3, client_key="similar")

    assert {item.prompt for item in similar.batch.generations} == {first.prompt}
    assert len({first.seed, *(item.seed for item in similar.batch.generations)}) == 4
    assert [(source.index, source.generation_id) for source in similar.sources] == [(n, first.id) for n in range(3)]
    assert [difference.field for difference in similar.differs] == ["seed"]
    assert repeated.batch.id == similar.batch.id


async def test_a_batch_runs_again_exactly_or_in_another_size(
    client: BatchgenClient, worker: FakeWorker, user: User
) -> None:
    batch = await a_finished_batch(client, worker, user, None, "timeout")

    same = await client.run_again(batch.id)
    changes = SharedSettings(model_id="Offline Sketch", width=512)
    other = await client.run_again(batch.id, changes=changes)

    seeds = [item.seed for item in batch.generations]
    assert [item.seed for item in same.batch.generations] == seeds
    assert [item.seed for item in other.batch.generations] == seeds
    assert same.differs == ()
    assert [(one.field, one.old, one.new) for one in other.differs] == [("width", 1024, 512)]


async def test_refusals_name_the_field(client: BatchgenClient, worker: FakeWorker, user: User) -> None:
    batch = await a_finished_batch(client, worker, user, None, "timeout")

    with pytest.raises(InvalidRequest) as few:
        await client.run_again(batch.id, [batch.generations[0].id])
    with pytest.raises(InvalidRequest) as unknown:
        await client.run_again(batch.id, changes=SharedSettings(model_id="offline-sketsh"))

    assert (few.value.code, few.value.field) == ("too_few_prompts", "p_generation_ids")
    assert unknown.value.code == "unknown_model"
    assert "offline-sketch" in (unknown.value.remedy or "")


async def test_strangers_repeat_nothing(
    client: BatchgenClient,
    client_of: Callable[[User], Awaitable[BatchgenClient]],
    new_user: Callable[[], Awaitable[User]],
    worker: FakeWorker,
    user: User,
) -> None:
    batch = await a_finished_batch(client, worker, user, None, None)
    stranger = await client_of(await new_user())

    with pytest.raises(NotFound):
        await stranger.generate_similar(batch.id)
    with pytest.raises(NotFound):
        await stranger.run_again(batch.id)

    assert await stranger.batches() == ()
