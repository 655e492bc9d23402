"""Actions on some items of a batch, and retries with edits, with the library."""

from collections.abc import Awaitable, Callable
from uuid import uuid4

import pytest
from fake_worker import FakeWorker
from test_actions import a_finished_batch, outcomes, submit

from batchgen import ActionReport, BatchgenClient, InvalidRequest, ItemEdit, NotFound
from tests.support import User


async def test_each_action_reports_the_given_items_alone(
    client: BatchgenClient, worker: FakeWorker, user: User
) -> None:
    batch = await a_finished_batch(client, worker, user, None, None, "timeout")
    some = [batch.generations[2].id, batch.generations[0].id]

    reports: list[ActionReport] = [
        await client.cancel(batch.id, some),
        await client.keep_images(batch.id, some),
        await client.tag_images(batch.id, ["fox"], some),
        await client.untag_images(batch.id, ["fox", "bird"], some),
        await client.delete_images(batch.id, some),
        await client.retry_failed(batch.id, some),
    ]

    assert [outcomes(report) for report in reports] == [
        ["already_completed", "already_failed"],
        ["saved", "no_image"],
        ["tagged", "no_image"],
        ["untagged", "no_image"],
        ["deleted", "already_deleted"],
        ["already_completed", "requeued"],
    ]
    assert [image.generation_id for image in (await client.snapshot(batch.id)).images] == [batch.generations[1].id]


async def test_an_item_of_another_batch_is_not_found(client: BatchgenClient) -> None:
    batch, other = await submit(client, 2), await submit(client, 2)

    with pytest.raises(NotFound) as foreign:
        await client.cancel(batch.id, [other.generations[0].id])
    with pytest.raises(NotFound) as unknown:
        await client.cancel(batch.id, [uuid4()])

    assert foreign.value.as_dict() == unknown.value.as_dict()
    assert foreign.value.code == "item_not_found"


async def test_a_cancel_of_waiting_items_leaves_running_ones(client: BatchgenClient, worker: FakeWorker) -> None:
    batch = await submit(client, 4)
    await worker.start_all(batch)

    report = await client.cancel(batch.id, waiting_only=True)

    assert outcomes(report) == ["left_running"] * 3 + ["cancelled"]


async def test_a_blocked_item_is_retried_with_another_prompt_and_model(
    client: BatchgenClient, worker: FakeWorker, user: User
) -> None:
    batch = await a_finished_batch(client, worker, user, None, "blocked_by_policy")
    edit = ItemEdit(generation_id=batch.generations[1].id, prompt="a tame fox", model_id="Offline Sketch")

    report = await client.retry_failed(batch.id, edits=[edit])

    assert outcomes(report) == ["requeued"]
    assert report.done[0].edited == ("prompt",)
    assert (await client.snapshot(batch.id)).generations[1].prompt == "a tame fox"


async def test_an_unknown_model_of_an_edit_is_refused_with_similar_names(
    client: BatchgenClient, worker: FakeWorker, user: User
) -> None:
    batch = await a_finished_batch(client, worker, user, None, "timeout")
    edit = ItemEdit(generation_id=batch.generations[1].id, model_id="offline-sketsh")

    with pytest.raises(InvalidRequest) as refused:
        await client.retry_failed(batch.id, edits=[edit])

    assert (refused.value.code, refused.value.field) == ("unknown_model", "p_edits[0].model_id")
    assert "offline-sketch" in (refused.value.remedy or "")


async def test_strangers_edit_nothing(
    client: BatchgenClient,
    client_of: Callable[[User], Awaitable[BatchgenClient]],
    new_user: Callable[[], Awaitable[User]],
    worker: FakeWorker,
    user: User,
) -> None:
    batch = await a_finished_batch(client, worker, user, None, "timeout")
    stranger = await client_of(await new_user())

    with pytest.raises(NotFound) as refused:
        await stranger.retry_failed(batch.id, edits=[ItemEdit(generation_id=batch.generations[1].id, prompt="x")])

    assert refused.value.code == "batch_not_found"
