"""The Edge Functions as the app calls them: through the stack, into the database."""

import json
import time
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import jwt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from supabase_functions.errors import FunctionsHttpError

from devstack import StackInfo
from tests.support import Database, User

BOTH = ["batch-generate-images", "batch-generate"]
TWO = [{"text": "a red fox"}, {"text": "a blue bird"}]
SETTINGS = {"model_id": "", "model_version": None, "width": 512, "height": 512, "steps": 20, "guidance_scale": 7.5}
MAX_BYTES = 1024 * 1024
REFUSED = {400, 413, 422, 429}


@pytest.fixture
async def caller(stack: StackInfo, new_user: Callable[[], Awaitable[User]]) -> User:
    return await new_user()


@pytest.fixture
async def http(stack: StackInfo, caller: User) -> AsyncGenerator[httpx.AsyncClient]:
    """Sends the requests of the app's client, with the caller's token."""
    headers = {
        "apikey": stack.publishable_key,
        "Authorization": f"Bearer {caller.token}",
        "Content-Type": "application/json",
    }
    async with httpx.AsyncClient(base_url=f"{stack.url}/functions/v1/", headers=headers, timeout=30) as client:
        yield client


@pytest.fixture
async def nothing_left(caller: User, database: Database) -> AsyncGenerator[None]:
    """Removes the caller's items from the shared stack's queue."""
    yield
    await database.execute("delete from public.image_generations where user_id = %s", [caller.id])


async def invoke(user: User, function: str, **options: Any) -> Any:
    functions: Any = user.client.functions
    return await functions.invoke(function, {"responseType": "json", **options})


async def batches_of(database: Database, user: User) -> list[dict[str, Any]]:
    """The user's batches, each with its number of items."""
    query = """
        select b.*, (select count(*) from public.image_generations g where g.batch_id = b.id) as items
        from public.batch_generations b where b.user_id = %s order by b.created_at
    """
    return await (await database.execute(query, [user.id])).fetchall()


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("function", BOTH)
async def test_the_function_answers_a_batch_in_the_apps_form(caller: User, database: Database, function: str) -> None:
    prompts = [{"text": "a red fox", "negative_prompt": "blur", "seed": 0, "tags": ["Animals"]}, {"text": "a bird"}]
    body = {"prompts": prompts, "shared_settings": SETTINGS, "batch_name": "Quick: a red fox (2x)"}

    batch = (await invoke(caller, function, body=body))["batch"]

    assert (batch["name"], batch["total_count"]) == ("Quick: a red fox (2x)", 2)
    assert [(item["index"], item["prompt"], item["status"]) for item in batch["generations"]] == [
        (0, "a red fox", "pending"),
        (1, "a bird", "pending"),
    ]
    [row] = await batches_of(database, caller)
    assert (str(row["id"]), row["items"], row["status"]) == (batch["id"], 2, "pending")
    query = "select id, seed from public.image_generations where batch_id = %s order by batch_index"
    items = await (await database.execute(query, [row["id"]])).fetchall()
    assert [str(item["id"]) for item in items] == [item["id"] for item in batch["generations"]]
    assert items[0]["seed"] == 0
    assert items[1]["seed"] is not None


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize(
    "shared", [None, {"model_id": ""}, {"model_id": "batchgen/offline-sketch", "model_version": ""}]
)
async def test_the_model_may_be_empty_named_or_missing(http: httpx.AsyncClient, shared: dict[str, Any] | None) -> None:
    answer = await http.post("batch-generate", json={"prompts": TWO, "shared_settings": shared})

    assert answer.status_code == 200


async def test_supabase_py_receives_the_reason_of_a_refusal(caller: User, database: Database) -> None:
    with pytest.raises(FunctionsHttpError) as refused:
        await invoke(caller, "batch-generate", body={"prompts": TWO[:1]})

    assert refused.value.status == 422
    assert refused.value.message == {
        "code": "too_few_prompts",
        "message": "A batch has at least 2 prompts; this one has 1.",
        "index": None,
        "field": "prompts",
        "limit": 2,
        "remedy": "Send 2 to 10 prompts.",
    }
    assert await batches_of(database, caller) == []


@pytest.mark.parametrize(
    ("body", "code", "index", "field"),
    [
        ({}, "prompts_missing", None, "prompts"),
        ({"prompts": "a fox"}, "wrong_type", None, "prompts"),
        ({"prompts": []}, "too_few_prompts", None, "prompts"),
        ({"prompts": TWO * 6}, "too_many_prompts", None, "prompts"),
        ({"prompts": [*TWO, {"text": " \n"}]}, "blank_prompt", 2, "prompts[2].text"),
        ({"prompts": [*TWO, {"text": "x" * 4001}]}, "too_long", 2, "prompts[2].text"),
        ({"prompts": [{"text": "x", "seed": 1.5}, *TWO]}, "wrong_type", 0, "prompts[0].seed"),
        ({"prompts": TWO, "shared_settings": {"width": 1}}, "out_of_range", None, "shared_settings.width"),
        ({"prompts": TWO, "shared_settings": {"model_id": "?"}}, "unknown_model", None, "shared_settings.model_id"),
        ({"prompts": TWO, "batch_name": "\0"}, "invalid_text", None, None),
        ([TWO], "wrong_type", None, "request"),
    ],
)
async def test_an_invalid_request_is_refused_with_its_field(
    http: httpx.AsyncClient, body: Any, code: str, index: int | None, field: str | None
) -> None:
    answer = await http.post("batch-generate-images", json=body)

    error = answer.json()["error"]
    assert answer.status_code == 422
    assert (error["code"], error["index"], error["field"]) == (code, index, field)
    assert error["message"]
    assert error["remedy"]
    assert answer.headers["access-control-allow-origin"] == "*"


@pytest.mark.usefixtures("nothing_left")
async def test_a_client_key_returns_the_same_batch_or_a_conflict(
    http: httpx.AsyncClient, caller: User, database: Database
) -> None:
    body = {"prompts": TWO, "client_key": uuid.uuid4().hex}

    first, again = [(await http.post(function, json=body)).json() for function in BOTH]
    other = await http.post("batch-generate", json={**body, "batch_name": "another"})

    assert first == again
    assert (other.status_code, other.json()["error"]["code"]) == (409, "client_key_reused")
    assert len(await batches_of(database, caller)) == 1


@pytest.mark.parametrize("function", [*BOTH, "process-queue"])
async def test_requests_without_a_valid_token_are_refused(
    http: httpx.AsyncClient, stack: StackInfo, function: str
) -> None:
    claims = {"sub": str(uuid.uuid4()), "role": "authenticated", "aud": "authenticated", "exp": int(time.time()) - 60}
    bad = {
        "none": "",
        "no bearer": "Basic YTpi",
        "key": f"Bearer {stack.publishable_key}",
        "secret key": f"Bearer {stack.secret_key}",
        "no token": "Bearer a.b.c",
        "expired": "Bearer " + jwt.encode(claims, stack.jwt_secret, "HS256"),
        "forged": "Bearer " + jwt.encode({**claims, "exp": int(time.time()) + 60}, "x" * 40, "HS256"),
    }

    answers = {
        who: await http.post(function, json={"prompts": TWO}, headers={"Authorization": header})
        for who, header in bad.items()
    }

    assert {who: answer.status_code for who, answer in answers.items()} == dict.fromkeys(bad, 401)
    codes = {answer.json()["error"]["code"] for answer in answers.values()}
    assert codes == {"not_signed_in", "invalid_token"}


async def test_process_queue_answers_the_app(caller: User, http: httpx.AsyncClient) -> None:
    answer = await invoke(caller, "process-queue")
    with_a_body = await http.post("process-queue", content=b"anything")

    assert answer == {}
    assert (with_a_body.status_code, with_a_body.json()) == (200, {})


@pytest.mark.parametrize("function", [*BOTH, "process-queue"])
async def test_browsers_may_call_the_functions(http: httpx.AsyncClient, function: str) -> None:
    asked = {
        "Origin": "https://app.example.com",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "apikey,authorization,content-type,x-client-info",
    }

    preflight = await http.options(function, headers=asked)
    refused = await http.get(function)

    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert preflight.headers["access-control-allow-headers"] == asked["Access-Control-Request-Headers"]
    assert "POST" in preflight.headers["access-control-allow-methods"]
    assert refused.status_code == 405
    assert refused.headers["allow"] == "POST, OPTIONS"
    assert refused.headers["access-control-allow-origin"] == "*"


@pytest.mark.parametrize("length", [None, 50 * MAX_BYTES], ids=["chunked", "announced"])
async def test_fifty_megabytes_are_refused_and_the_next_request_works(
    http: httpx.AsyncClient, length: int | None
) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b" " * MAX_BYTES

    headers = {"Content-Length": str(length)} if length else {}
    answer = await http.post("batch-generate", content=endless(), headers=headers)
    afterwards = await http.post("batch-generate", json={})

    assert answer.status_code == 413
    assert answer.json()["error"] == {
        "code": "request_too_large",
        "message": f"The request is longer than {MAX_BYTES} bytes.",
        "index": None,
        "field": None,
        "limit": MAX_BYTES,
        "remedy": "Send shorter prompts, or fewer of them.",
    }
    assert afterwards.status_code == 422


@pytest.mark.usefixtures("nothing_left")
async def test_the_largest_batch_of_emoji_is_accepted(
    http: httpx.AsyncClient, caller: User, database: Database
) -> None:
    """Python's json writes twelve bytes for each emoji."""
    prompts = [{"text": "🦊" * 4000, "negative_prompt": "🐦" * 4000}] * 10

    answer = await http.post("batch-generate", content=json.dumps({"prompts": prompts}))

    assert answer.status_code == 200
    [row] = await batches_of(database, caller)
    assert row["items"] == 10


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=50),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=12,
)
"""Any JSON, NaN and infinite numbers included."""
PROMPT = st.fixed_dictionaries(
    {"text": st.text(min_size=1, max_size=20) | JSON},
    optional={"negative_prompt": JSON, "seed": st.integers() | JSON, "tags": st.lists(st.text(max_size=8)) | JSON},
)
BODY = st.fixed_dictionaries(
    {"prompts": st.lists(PROMPT, min_size=1, max_size=4) | JSON},
    optional={"shared_settings": st.dictionaries(st.sampled_from(sorted(SETTINGS)), JSON) | JSON, "batch_name": JSON},
)
CORPUS = [
    b"",
    b"\x00",
    b"\xff\xfe{}",
    b"\xef\xbb\xbf{}",
    b"{",
    b'{"prompts":[' + b'{"text":"x"},' * 50_000 + b'{"text":"x"}]}',
    b'{"prompts":' + b"[" * 500_000 + b"]" * 500_000 + b"}",
    b'{"prompts":[{"text":"a","seed":1e400},{"text":"b","seed":-1e400}]}',
    b'{"prompts":[{"text":"a","seed":1' + b"0" * 200_000 + b'},{"text":"b"}]}',
    b'{"prompts":[{"text":"\\ud800"},{"text":"b"}]}',
    b'{"prompts":[{"text":"\\u0000"},{"text":"b"}]}',
    b'{"prompts":[{"text":"a"},{"text":"b"}],"__proto__":{"a":1},"constructor":null}',
    b'{"prompts":[{"text":"a"},{"text":"b"}],"prompts":null}',
    b'{"prompts":[{"text":"a"},{"text":"b"}]}, "p_request": {}',
    '{"prompts":[{"text":"\u202eright to left\u202c"},{"text":"\U0001f98a\u200d\U0001f98a"}]}'.encode(),
]


async def check(http: httpx.AsyncClient, content: bytes) -> int:
    """Send the content: the answer is never a 500, and an error has its code and message."""
    answer = await http.post("batch-generate", content=content)
    assert answer.status_code == 200 or answer.status_code in REFUSED, (answer.status_code, answer.text, content[:500])
    if answer.status_code != 200:
        error = answer.json()["error"]
        assert error["code"]
        assert error["message"]
    return answer.status_code


@pytest.mark.usefixtures("nothing_left")
@pytest.mark.parametrize("content", CORPUS, ids=range(len(CORPUS)))
async def test_unusual_bodies_are_refused_or_make_a_whole_batch(
    http: httpx.AsyncClient, caller: User, database: Database, content: bytes
) -> None:
    status = await check(http, content)

    assert [row["items"] for row in await batches_of(database, caller)] == ([2] if status == 200 else [])


@pytest.mark.usefixtures("nothing_left")
@given(content=st.binary(max_size=200) | BODY.map(lambda body: json.dumps(body).encode()))
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_no_function_body_causes_a_500_or_half_a_batch(
    http: httpx.AsyncClient, caller: User, database: Database, content: bytes
) -> None:
    before = await batches_of(database, caller)

    status = await check(http, content)

    new = (await batches_of(database, caller))[len(before) :]
    assert len(new) == (1 if status == 200 else 0)
    assert all(row["items"] == row["total_count"] for row in new)
