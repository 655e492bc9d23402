"""Calls of the library: submit, read, sessions."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from fake_worker import expired, two_prompts
from supabase import AsyncClient

from batchgen import (
    BackendUnavailable,
    BatchgenClient,
    BatchStatus,
    Conflict,
    InvalidRequest,
    NotFound,
    NotSignedIn,
    Prompt,
    SessionStore,
)
from batchgen.backend.rpc import rpc
from devstack import StackInfo
from tests.support import User


async def test_a_submitted_batch_is_pending_with_its_items_in_order(client: BatchgenClient) -> None:
    batch = await client.submit(two_prompts(batch_name="animals"))

    assert batch.status is BatchStatus.PENDING
    assert batch.name == "animals"
    assert [(item.index, item.prompt) for item in batch.generations] == [(0, "a fox"), (1, "a bird")]


async def test_a_submit_resent_after_a_lost_answer_makes_one_batch(
    client: BatchgenClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent: list[Mapping[str, Any]] = []

    async def losing_the_first_answer(supabase: AsyncClient, name: str, arguments: Mapping[str, Any]) -> Any:
        sent.append(arguments)
        answer = await rpc(supabase, name, arguments)
        if len(sent) == 1:
            raise BackendUnavailable("the answer is lost")
        return answer

    monkeypatch.setattr("batchgen.client.caller.rpc", losing_the_first_answer)

    batch = await client.submit(two_prompts())

    assert len(sent) == 2
    assert [one.id for one in await client.batches()] == [batch.id]


async def test_reusing_a_client_key_for_another_request_is_a_conflict(client: BatchgenClient) -> None:
    await client.submit(two_prompts(client_key="once"))

    with pytest.raises(Conflict):
        await client.submit(two_prompts(client_key="once", batch_name="other"))


async def test_a_refused_request_names_the_prompt_and_the_remedy(client: BatchgenClient) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await client.submit(two_prompts(prompts=(Prompt(text="a fox"), Prompt(text=" "))))

    assert (refused.value.code, refused.value.index, refused.value.field) == ("blank_prompt", 1, "prompts[1].text")
    assert str(refused.value) == "The text of prompt 2 is empty."
    assert refused.value.remedy


async def test_batches_are_listed_newest_first_and_only_to_their_owner(
    client: BatchgenClient,
    client_of: Callable[[User], Awaitable[BatchgenClient]],
    new_user: Callable[[], Awaitable[User]],
) -> None:
    first, second = [await client.submit(two_prompts()) for _ in range(2)]
    stranger = await client_of(await new_user())

    assert [batch.id for batch in await client.batches()] == [second.id, first.id]
    assert [batch.id for batch in await client.batches(limit=1)] == [second.id]
    assert await stranger.batches() == ()
    with pytest.raises(NotFound):
        await stranger.snapshot(first.id)


async def test_an_operator_sees_all_batches_and_acts_for_one_user(stack: StackInfo, user: User) -> None:
    async with await BatchgenClient.operator(stack.url, stack.secret_key, user=UUID(user.id)) as acting:
        batch = await acting.submit(two_prompts())
        assert [one.id for one in await acting.batches()] == [batch.id]

    async with await BatchgenClient.operator(stack.url, stack.secret_key) as seeing:
        snapshot = await seeing.snapshot(batch.id)
    assert str(snapshot.batch.user_id) == user.id


async def test_an_operator_for_one_user_cannot_see_another_users_batch(
    stack: StackInfo, client: BatchgenClient, new_user: Callable[[], Awaitable[User]]
) -> None:
    batch = await client.submit(two_prompts())
    other = await new_user()

    async with await BatchgenClient.operator(stack.url, stack.secret_key, user=other.id) as acting:
        with pytest.raises(NotFound):
            await acting.snapshot(batch.id)


async def test_submitting_as_operator_needs_a_user(operator: BatchgenClient) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await operator.submit(two_prompts())

    assert refused.value.code == "user_missing"


async def test_submitting_for_an_unknown_user_is_refused(stack: StackInfo) -> None:
    async with await BatchgenClient.operator(stack.url, stack.secret_key, user=uuid4()) as acting:
        with pytest.raises(InvalidRequest) as refused:
            await acting.submit(two_prompts())

    assert refused.value.code == "unknown_user"


async def test_a_user_must_be_given_by_id_or_email(stack: StackInfo) -> None:
    with pytest.raises(InvalidRequest) as refused:
        await BatchgenClient.operator(stack.url, stack.secret_key, user="somebody")

    assert refused.value.code == "invalid_user"


async def test_signing_in_with_a_wrong_password_is_refused(stack: StackInfo, user: User) -> None:
    with pytest.raises(NotSignedIn):
        await BatchgenClient.sign_in(stack.url, stack.publishable_key, user.email, "wrong")


async def test_an_unreachable_project_is_reported_as_unavailable(stack: StackInfo) -> None:
    with pytest.raises(BackendUnavailable):
        await BatchgenClient.sign_in("http://127.0.0.1:1", stack.publishable_key, "a@example.test", "secret")


async def test_an_invalid_project_url_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refused:
        await BatchgenClient.operator("nowhere", "key")

    assert refused.value.code == "invalid_url"


async def test_an_expired_session_is_renewed_and_stored(
    stack: StackInfo, client: BatchgenClient, tmp_path: Path
) -> None:
    assert client.session
    store = SessionStore(stack.url, tmp_path / "sessions.json")

    ended = expired(client.session)
    async with await BatchgenClient.with_session(stack.url, stack.publishable_key, ended, store=store) as resumed:
        assert await resumed.batches() == ()

    kept = store.load()
    assert kept
    assert not kept.ends_soon
    assert kept.refresh_token != ended.refresh_token


async def test_two_clients_with_one_expired_session_renew_it_once(
    stack: StackInfo, client: BatchgenClient, tmp_path: Path
) -> None:
    assert client.session
    store = SessionStore(stack.url, tmp_path / "sessions.json")
    ended = expired(client.session)

    both = await asyncio.gather(
        *(BatchgenClient.with_session(stack.url, stack.publishable_key, ended, store=store) for _ in range(2))
    )

    tokens = {one.session.refresh_token.get_secret_value() for one in both if one.session}
    for one in both:
        await one.close()
    assert len(tokens) == 1


async def test_a_session_cannot_be_renewed_after_signing_out(
    stack: StackInfo, client_of: Callable[[User], Awaitable[BatchgenClient]], user: User
) -> None:
    client = await client_of(user)
    assert client.session
    session = expired(client.session)

    await client.sign_out()

    with pytest.raises(NotSignedIn):
        await BatchgenClient.with_session(stack.url, stack.publishable_key, session)
