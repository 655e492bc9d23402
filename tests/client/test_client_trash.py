"""The trash with the library."""

from collections.abc import Awaitable, Callable

import pytest
from fake_worker import FakeWorker
from test_actions import a_finished_batch, outcomes

from batchgen import BatchgenClient, EmptiedTrash, InvalidRequest, NotFound
from devstack import StackInfo
from tests.support import User


async def test_a_batch_leaves_the_list_and_comes_back(client: BatchgenClient, worker: FakeWorker, user: User) -> None:
    first = await a_finished_batch(client, worker, user, None, None)
    batch = await a_finished_batch(client, worker, user, None, "timeout")

    trashed = await client.trash_images(batch.id)
    listed = await client.batches()
    newest = (await client.find("latest")).batch.id
    page = await client.trash()
    restored = await client.restore_images(batch.id)

    assert outcomes(trashed) == ["trashed", "trashed"]
    assert [one.id for one in listed] == [first.id]
    assert newest == first.id
    assert [(entry.kind, entry.batch_id, len(entry.images)) for entry in page.entries] == [("batch", batch.id, 1)]
    assert outcomes(restored) == ["restored", "no_image"]
    assert [one.id for one in await client.batches()] == [batch.id, first.id]
    assert (await client.trash()).entries == ()


async def test_single_pictures_are_listed_and_deleted_for_good(
    client: BatchgenClient, worker: FakeWorker, user: User
) -> None:
    batch = await a_finished_batch(client, worker, user, None, None)
    second = batch.generations[1].id

    await client.trash_images(batch.id, [second])
    [entry] = (await client.trash(limit=1)).entries
    emptied = await client.empty_trash()

    assert (entry.kind, entry.images[0].generation_id, entry.images[0].index) == ("image", second, 1)
    assert entry.deleted_at > entry.archived_at
    assert emptied == EmptiedTrash(images=1, batches=0)
    assert [image.generation_id for image in (await client.snapshot(batch.id)).images] == [batch.generations[0].id]


async def test_strangers_and_operators_without_a_user_have_no_trash_of_hers(
    client: BatchgenClient,
    client_of: Callable[[User], Awaitable[BatchgenClient]],
    new_user: Callable[[], Awaitable[User]],
    operator: BatchgenClient,
    stack: StackInfo,
    worker: FakeWorker,
    user: User,
) -> None:
    batch = await a_finished_batch(client, worker, user, None, None)
    await client.trash_images(batch.id)
    stranger = await client_of(await new_user())

    with pytest.raises(NotFound):
        await stranger.restore_images(batch.id)
    with pytest.raises(InvalidRequest) as refused:
        await operator.empty_trash()
    async with await BatchgenClient.operator(stack.url, stack.secret_key, user=user.id) as for_the_owner:
        hers = await for_the_owner.trash()

    assert (await stranger.trash()).entries == ()
    assert refused.value.code == "user_missing"
    assert [entry.batch_id for entry in hers.entries] == [batch.id]
