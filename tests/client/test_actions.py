"""Actions on a whole batch: each item gets a result, and repeating an action changes nothing."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any
from uuid import UUID, uuid4

import pytest
from fake_worker import FakeWorker, two_prompts
from supabase import AsyncClient

from batchgen import (
    Action,
    ActionReport,
    BackendUnavailable,
    BatchgenClient,
    BatchStatus,
    CreatedBatch,
    GenerationStatus,
    InvalidRequest,
    NotFound,
    NotSignedIn,
    Prompt,
)
from batchgen.backend.connection import connect, disconnect
from batchgen.backend.rpc import rpc
from batchgen.settings import Settings
from devstack import StackInfo
from tests.support import Database, User

ClientOf = Callable[[User], Awaitable[BatchgenClient]]

ACTIONS: Mapping[str, Callable[[BatchgenClient, UUID], Awaitable[ActionReport]]] = {
    "cancel": lambda client, batch_id: client.cancel(batch_id),
    "retry": lambda client, batch_id: client.retry_failed(batch_id),
    "keep": lambda client, batch_id: client.keep_images(batch_id),
    "tag": lambda client, batch_id: client.tag_images(batch_id, ["animals"]),
    "delete": lambda client, batch_id: client.delete_images(batch_id),
}
every_action = pytest.mark.parametrize("act", ACTIONS.values(), ids=ACTIONS)


def outcomes(report: ActionReport) -> Sequence[str]:
    """The result for each item, in the batch's order: the action, or the code of the error."""
    done = [(item.index, str(item.action)) for item in report.done]
    refused = [(item.index, item.code) for item in report.refused]
    return [outcome for _, outcome in sorted(done + refused)]


async def submit(client: BatchgenClient, count: int) -> CreatedBatch:
    return await client.submit(two_prompts(prompts=tuple(Prompt(text=f"fox {n}") for n in range(count))))


async def a_finished_batch(client: BatchgenClient, worker: FakeWorker, user: User, *codes: str | None) -> CreatedBatch:
    """A batch with one item for each code; None is a finished picture, a code is the reason why the item failed."""
    batch = await submit(client, len(codes))
    leases = await worker.start_all(batch)
    for item, code in zip(batch.generations, codes, strict=True):
        if code is None:
            await worker.complete(item.id, leases[item.id], user.id)
        else:
            await worker.fail(item.id, leases[item.id], code=code)
    return batch


async def images_of(database: Database, batch: CreatedBatch) -> Sequence[Mapping[str, Any]]:
    query = (
        "select i.*, array(select t.name from public.tags t join public.image_tags it on it.tag_id = t.id"
        " where it.image_id = i.id order by t.name) as tags"
        " from public.images i join public.image_generations g on g.id = i.generation_id"
        " where g.batch_id = %s order by g.batch_index"
    )
    return await (await database.execute(query, [batch.id])).fetchall()


async def test_cancelling_ends_waiting_items_and_leaves_finished_ones(
    client: BatchgenClient, worker: FakeWorker, user: User
) -> None:
    batch = await submit(client, 4)
    leases = await worker.start_all(batch)
    first, second, third, waiting = batch.generations
    await worker.complete(first.id, leases[first.id], user.id)
    await worker.fail(second.id, leases[second.id])

    report = await client.cancel(batch.id)

    assert outcomes(report) == ["already_completed", "already_failed", "cancel_requested", "cancelled"]
    assert (report.batch.id, report.batch.status) == (batch.id, BatchStatus.PROCESSING)
    assert (report.batch.completed_count, report.batch.failed_count) == (1, 2)
    assert all(item.message for item in report.refused)
    snapshot = await client.snapshot(batch.id)
    statuses = {item.id: item.status for item in snapshot.generations}
    assert statuses[third.id] is GenerationStatus.PROCESSING, "its worker ends it"
    assert statuses[waiting.id] is GenerationStatus.FAILED


async def test_cancelling_twice_reports_already_cancelled(client: BatchgenClient) -> None:
    batch = await submit(client, 2)

    first, second = await client.cancel(batch.id), await client.cancel(batch.id)

    assert outcomes(first) == ["cancelled"] * 2
    assert outcomes(second) == ["already_cancelled"] * 2
    assert first.batch.status is second.batch.status is BatchStatus.FAILED


async def test_a_retry_requeues_failed_items_and_reports_the_others(
    client: BatchgenClient, worker: FakeWorker, user: User
) -> None:
    batch = await a_finished_batch(client, worker, user, "timeout", None, "blocked_by_policy")
    before = await client.snapshot(batch.id)

    first, second = await client.retry_failed(batch.id), await client.retry_failed(batch.id)

    assert before.batch.status is BatchStatus.PARTIAL
    assert outcomes(first) == ["requeued", "already_completed", "blocked_by_policy"]
    assert outcomes(second) == ["already_waiting", "already_completed", "blocked_by_policy"]
    assert first.batch.status is BatchStatus.PROCESSING
    retried = (await client.snapshot(batch.id)).generations[0]
    assert (retried.status, retried.retry_count, retried.error_message) == (GenerationStatus.PENDING, 0, None)


async def test_a_retry_leaves_cancelled_items_alone(client: BatchgenClient) -> None:
    batch = await submit(client, 2)
    await client.cancel(batch.id)

    report = await client.retry_failed(batch.id)

    assert outcomes(report) == ["cancelled"] * 2
    assert report.batch.status is BatchStatus.FAILED


async def test_keeping_pictures_marks_each_once(
    client: BatchgenClient, worker: FakeWorker, user: User, database: Database
) -> None:
    batch = await a_finished_batch(client, worker, user, None, "timeout")

    first = await client.keep_images(batch.id)
    (marked,) = await images_of(database, batch)
    second = await client.keep_images(batch.id)

    assert outcomes(first) == ["saved", "no_image"]
    assert outcomes(second) == ["already_saved", "no_image"]
    assert first.done[0].image_id == marked["id"]
    assert marked["saved_at"]
    assert (await images_of(database, batch))[0]["saved_at"] == marked["saved_at"]


async def test_tags_are_lower_cased_and_put_on_each_picture_once(
    client: BatchgenClient, worker: FakeWorker, user: User, database: Database
) -> None:
    batch = await a_finished_batch(client, worker, user, None, None, "timeout")
    mine = f"Fox-{uuid4()}"

    first = await client.tag_images(batch.id, [mine, f" {mine.upper()} ", "animals"])
    second = await client.tag_images(batch.id, ["animals"])
    third = await client.tag_images(batch.id, ["animals", "more"])

    assert outcomes(first) == ["tagged", "tagged", "no_image"]
    assert set(first.done[0].tags) == {mine.lower(), "animals"}
    assert outcomes(second) == ["already_tagged", "already_tagged", "no_image"]
    assert second.done[0].tags == ("animals",)
    assert outcomes(third) == ["tagged", "tagged", "no_image"]
    tags = [image["tags"] for image in await images_of(database, batch)]
    assert tags == [["animals", mine.lower(), "more"]] * 2


@pytest.mark.parametrize("tags", [[], [" "], ["x" * 51], [f"tag {n}" for n in range(21)]])
async def test_one_invalid_tag_refuses_the_whole_call(
    client: BatchgenClient, worker: FakeWorker, user: User, database: Database, tags: list[str]
) -> None:
    batch = await a_finished_batch(client, worker, user, None, None)

    with pytest.raises(InvalidRequest) as refused:
        await client.tag_images(batch.id, ["fine", *tags] if tags else tags)

    assert refused.value.field == "p_tags"
    assert refused.value.remedy
    assert [image["tags"] for image in await images_of(database, batch)] == [[], []]


async def test_deleting_pictures_leaves_items_and_totals(
    client: BatchgenClient, worker: FakeWorker, user: User, database: Database
) -> None:
    batch = await a_finished_batch(client, worker, user, None, None, "timeout")
    images = [image["id"] for image in await images_of(database, batch)]

    first, second = await client.delete_images(batch.id), await client.delete_images(batch.id)

    assert outcomes(first) == ["deleted", "deleted", "already_deleted"]
    assert [item.image_id for item in first.done] == [*images, None]
    assert outcomes(second) == ["already_deleted"] * 3
    snapshot = await client.snapshot(batch.id)
    assert snapshot.images == ()
    assert (snapshot.batch.completed_count, snapshot.batch.failed_count) == (2, 1)
    assert first.batch.status is snapshot.batch.status is BatchStatus.PARTIAL


async def test_deleting_leaves_waiting_and_running_items(
    client: BatchgenClient, worker: FakeWorker, user: User
) -> None:
    batch = await submit(client, 4)
    leases = await worker.start_all(batch)
    done = batch.generations[0]
    await worker.complete(done.id, leases[done.id], user.id)

    report = await client.delete_images(batch.id)

    assert outcomes(report) == ["deleted", "still_running", "still_running", "still_waiting"]


@every_action
async def test_another_users_batch_is_not_found_and_not_changed(
    client: BatchgenClient,
    client_of: ClientOf,
    new_user: Callable[[], Awaitable[User]],
    worker: FakeWorker,
    user: User,
    act: Callable[[BatchgenClient, UUID], Awaitable[ActionReport]],
) -> None:
    batch = await a_finished_batch(client, worker, user, None, "timeout")
    before = await client.snapshot(batch.id)
    stranger = await client_of(await new_user())

    with pytest.raises(NotFound) as theirs:
        await act(stranger, batch.id)
    with pytest.raises(NotFound) as nobodys:
        await act(stranger, uuid4())

    assert theirs.value.as_dict() == nobodys.value.as_dict()
    assert await client.snapshot(batch.id) == before


@every_action
async def test_an_operator_acts_on_all_batches_or_those_of_one_user(
    operator: BatchgenClient,
    stack: StackInfo,
    client: BatchgenClient,
    new_user: Callable[[], Awaitable[User]],
    worker: FakeWorker,
    user: User,
    act: Callable[[BatchgenClient, UUID], Awaitable[ActionReport]],
) -> None:
    batch = await a_finished_batch(client, worker, user, None, "timeout")
    before = await client.snapshot(batch.id)

    async with await BatchgenClient.operator(stack.url, stack.secret_key, user=(await new_user()).id) as for_another:
        with pytest.raises(NotFound):
            await act(for_another, batch.id)
    unchanged = await client.snapshot(batch.id)
    report = await act(operator, batch.id)
    async with await BatchgenClient.operator(stack.url, stack.secret_key, user=user.id) as for_the_owner:
        again = await act(for_the_owner, batch.id)

    assert unchanged == before
    assert report.batch.id == again.batch.id == batch.id
    assert len(report.done) + len(report.refused) == 2


async def test_actions_need_a_signed_in_user(stack: StackInfo, settings: Settings, client: BatchgenClient) -> None:
    batch = await submit(client, 2)
    nobody = await connect(settings, key=stack.publishable_key)

    with pytest.raises(NotSignedIn):
        await rpc(nobody, "cancel_batch", {"p_batch_id": str(batch.id)})
    await disconnect(nobody)

    assert (await client.snapshot(batch.id)).batch.status is BatchStatus.PENDING


async def test_an_action_is_resent_when_its_answer_is_lost(
    client: BatchgenClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = await submit(client, 2)
    sent: list[str] = []

    async def losing_the_first_answer(supabase: AsyncClient, name: str, arguments: Mapping[str, Any]) -> Any:
        sent.append(name)
        answer = await rpc(supabase, name, arguments)
        if len(sent) == 1:
            raise BackendUnavailable("the answer is lost")
        return answer

    monkeypatch.setattr("batchgen.client.caller.rpc", losing_the_first_answer)

    report = await client.cancel(batch.id)

    assert sent == ["cancel_batch"] * 2
    assert {item.action for item in report.done} == {Action.ALREADY_CANCELLED}
