"""Credits from outside: supabase-js, the library and the command line against the stack, with a real worker."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from decimal import Decimal
from uuid import UUID

import pytest

from batchgen import BatchgenClient, BatchRequest, CreditsShort, InvalidRequest, NotFound, Prompt
from devstack import StackInfo
from tests.running_app import running_app
from tests.support import Database, User, WorkerProcess, eventually

TWO = {"prompts": [{"text": "a red fox"}, {"text": "a blue bird"}]}
REQUEST = BatchRequest(prompts=(Prompt(text="a red fox"), Prompt(text="a blue bird #fail")))


@pytest.fixture(autouse=True)
async def paid(database: Database, user: User) -> AsyncGenerator[None]:
    """Credits are on, and a picture costs this user 2.5."""
    await database.execute("insert into batchgen.credit_prices (user_id, credits) values (%s, 2.5)", [user.id])
    await database.execute("update batchgen.settings set credits = true")
    yield
    await database.execute("update batchgen.settings set credits = false, monthly_credits = 0")


@pytest.fixture
async def operator(stack: StackInfo, user: User) -> AsyncGenerator[BatchgenClient]:
    async with await BatchgenClient.operator(stack.url, stack.secret_key, user=UUID(user.id)) as client:
        yield client


@pytest.fixture
async def client(stack: StackInfo, user: User) -> AsyncGenerator[BatchgenClient]:
    async with await BatchgenClient.sign_in(stack.url, stack.publishable_key, user.email, user.password) as client:
        yield client


async def test_the_app_spends_credits_through_supabase_js_and_is_refused_without(
    stack: StackInfo, user: User, operator: BatchgenClient, start_worker: Callable[..., Awaitable[WorkerProcess]]
) -> None:
    await operator.grant_credits(6)

    async with running_app("rpc.mjs", stack, {"email": user.email, "password": user.password}) as app:
        before = await app.call("rpc", "get_credits", {})
        batch = await app.call("rpc", "create_batch", {"p_request": TWO})
        refused = await app.call("rpc", "create_batch", {"p_request": TWO})
        forbidden = await app.call("rpc", "grant_credits", {"p_user_id": user.id, "p_credits": 100})
        await start_worker()
        await eventually(lambda: _is_spent(operator), 30)
        after = await app.call("rpc", "get_credits", {})
        history = await app.call("rpc", "credit_history", {"p_limit": 3})

    assert [before["data"][name] for name in ("balance", "held", "available", "is_on")] == [6, 0, 6, True]
    assert {price["credits"] for price in before["data"]["prices"]} == {2.5}
    assert batch["status"] == 200
    assert (refused["status"], refused["error"]["code"]) == (402, "PT402")
    details = json.loads(refused["error"]["details"])
    assert (details["code"], details["needed"], details["available"]) == ("credits_short", 5, 1)
    assert details["remedy"]
    assert forbidden["error"]["code"] == "42501"
    assert [after["data"][name] for name in ("balance", "held", "available")] == [1, 0, 1]
    assert [entry["entry"] for entry in history["data"]["entries"]] == ["capture", "capture", "hold"]
    assert history["data"]["next"] == history["data"]["entries"][-1]["id"]


async def _is_spent(operator: BatchgenClient) -> bool:
    return (await operator.credits()).balance == 1


async def test_the_library_captures_pictures_releases_failures_and_holds_retries(
    client: BatchgenClient, operator: BatchgenClient, start_worker: Callable[..., Awaitable[WorkerProcess]]
) -> None:
    await operator.grant_credits(Decimal("5.5"), note="a gift", key="gift")
    await operator.grant_credits(Decimal("5.5"), note="a gift", key="gift")
    await start_worker()

    batch = await client.submit(REQUEST)
    async for _ in client.watch(batch.id):
        pass
    credits = await client.credits()
    entries = await client.credit_history(50)
    older = await client.credit_history(50, before=entries[-2].id)
    await operator.adjust_credits(-1, note="a mistake")
    with pytest.raises(CreditsShort) as refused:
        await client.retry_failed(batch.id)
    again = await client.credits()

    assert (credits.balance, credits.held, credits.available) == (3, 0, 3)
    assert sorted(entry.entry for entry in entries) == ["capture", "grant", "hold", "hold", "release"]
    assert [(entry.entry, entry.note) for entry in older] == [("grant", "a gift")]
    assert (refused.value.code, refused.value.needed, refused.value.available) == ("credits_short", Decimal("2.5"), 2)
    assert again.available == 2


async def test_nobody_sees_or_changes_the_credits_of_another(
    stack: StackInfo, user: User, client: BatchgenClient, new_user: Callable[[], Awaitable[User]]
) -> None:
    stranger = await new_user()

    async with running_app("rpc.mjs", stack, {"email": stranger.email, "password": stranger.password}) as app:
        answers = [
            await app.call("rpc", function, {"p_user_id": about})
            for function in ("get_credits", "credit_history")
            for about in (user.id, "aaaaaaaa-0000-4000-8000-00000000ffff")
        ]
    with pytest.raises(InvalidRequest) as refused:
        await client.grant_credits(5)

    assert {answer["status"] for answer in answers} == {404}
    assert len({answer["error"]["message"] for answer in answers}) == 1
    assert refused.value.code == "operator_needed"


async def test_an_operator_names_a_user_that_exists(stack: StackInfo) -> None:
    async with await BatchgenClient.operator(stack.url, stack.secret_key) as operator:
        with pytest.raises(InvalidRequest) as unnamed:
            await operator.credits()
    unknown = UUID("aaaaaaaa-0000-4000-8000-00000000ffff")
    async with await BatchgenClient.operator(stack.url, stack.secret_key, user=unknown) as operator:
        with pytest.raises(NotFound):
            await operator.grant_credits(5)
        with pytest.raises(InvalidRequest) as word:
            await operator.grant_credits("many")

    assert (unnamed.value.code, word.value.field) == ("user_needed", "credits")


async def test_workers_grant_the_credits_of_the_month(
    database: Database, operator: BatchgenClient, start_worker: Callable[..., Awaitable[WorkerProcess]]
) -> None:
    await database.execute("update batchgen.settings set monthly_credits = 20")
    await database.execute("update batchgen.credit_schedule set next_at = now()")

    await start_worker()
    await start_worker()

    await eventually(lambda: _has_some(operator), 20)
    assert [entry.entry for entry in await operator.credit_history()] == ["grant"]


async def _has_some(operator: BatchgenClient) -> bool:
    return (await operator.credits()).balance == 20
