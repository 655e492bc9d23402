"""Foreign errors are mapped to batchgen's own by SQLSTATE and HTTP status, never by their text."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, cast
from uuid import uuid4

import httpx
import pytest
from supabase import AsyncClient

from batchgen.backend.connection import connect, disconnect
from batchgen.backend.rpc import COLLISION_TRIES, rpc
from batchgen.errors import (
    BackendUnavailable,
    Conflict,
    CreditsShort,
    InvalidRequest,
    KeyRefused,
    LeaseLost,
    LimitReached,
    NotFound,
    NotSetUp,
    NotSignedIn,
    QueueUnavailable,
    StorageError,
)
from batchgen.queue.picture_store import PictureStore
from batchgen.queue.postgrest import PostgrestOpenOrders, PostgrestOutbox, PostgrestQueue
from batchgen.queue.types import Claim, NewOrder
from batchgen.settings import Settings
from tests.worker.worker_harness import checked_picture, worker_harness

Answer = Callable[[httpx.Request], httpx.Response]
Connected = Callable[[Answer], Awaitable[AsyncClient]]


@pytest.fixture
async def answering(monkeypatch: pytest.MonkeyPatch) -> AsyncGenerator[Connected]:
    """Makes clients whose requests are all answered by a function."""
    monkeypatch.setattr("batchgen.backend.rpc.COLLISION_PAUSE_SECONDS", 0.0001)
    clients: list[AsyncClient] = []

    async def client_for(answer: Answer) -> AsyncClient:
        settings = Settings.model_validate({"supabase_url": "http://project.test"})
        client = await connect(settings, key="sb_secret_test")
        http = cast("httpx.AsyncClient", vars(client.options)["httpx_client"])
        await http._transport.aclose()  # pyright: ignore[reportPrivateUsage]
        http._transport = httpx.MockTransport(answer)  # pyright: ignore[reportPrivateUsage]
        clients.append(client)
        return client

    yield client_for
    for client in clients:
        await disconnect(client)


def error(status: int, code: str | None, details: Any = None) -> Answer:
    body = {"code": code, "message": "It did not work.", "details": details, "hint": "Try this."}
    return lambda _request: httpx.Response(status, json=body)


def page(status: int) -> Answer:
    return lambda _request: httpx.Response(status, text="<html>A proxy speaks</html>")


def says(response: httpx.Response) -> Answer:
    return lambda _request: response


LOST = json.dumps({"code": "lease_lost"})


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error(409, "PT409", LOST), LeaseLost),
        (error(409, "PT409", json.dumps({"code": "client_key_reused"})), Conflict),
        (error(409, "PT409", json.dumps({"code": "busy"})), BackendUnavailable),
        (error(404, "PT404", json.dumps({"code": "no_such_batch"})), NotFound),
        (error(422, "PT422", "no JSON"), InvalidRequest),
        (error(429, "PT429", json.dumps({"code": "daily_limit"})), LimitReached),
        (error(429, "PT429", "no JSON"), LimitReached),
        (error(402, "PT402", "no JSON"), CreditsShort),
        (error(401, "PT401"), NotSignedIn),
        (error(401, "PGRST301"), NotSignedIn),
        (error(403, "42501"), NotSignedIn),
        (error(401, None), NotSignedIn),
        (error(404, "PGRST202"), NotSetUp),
        (error(401, "PGRST303"), NotSignedIn),
        (page(401), BackendUnavailable),
        (page(403), BackendUnavailable),
        (error(403, None), BackendUnavailable),
        (page(402), BackendUnavailable),
        (error(402, None), BackendUnavailable),
        (page(404), BackendUnavailable),
        (error(404, None), BackendUnavailable),
        (error(404, "PGRST125"), BackendUnavailable),
        (error(405, "25006"), BackendUnavailable),
        (error(406, None), BackendUnavailable),
        (error(408, None), BackendUnavailable),
        (error(409, None), BackendUnavailable),
        (error(421, None), BackendUnavailable),
        (error(400, "3D000"), BackendUnavailable),
        (error(400, "57P01"), BackendUnavailable),
        (error(400, "53300"), BackendUnavailable),
        (error(400, "08006"), BackendUnavailable),
        (error(409, "23505"), InvalidRequest),
        (error(413, None), InvalidRequest),
        (error(500, "57014"), BackendUnavailable),
        (error(503, "PGRST001"), BackendUnavailable),
        (error(429, None), BackendUnavailable),
        (error(400, "22P02"), InvalidRequest),
        (page(502), BackendUnavailable),
    ],
)
async def test_each_answer_maps_to_its_error(answering: Connected, answer: Answer, expected: type[Exception]) -> None:
    client = await answering(answer)

    with pytest.raises(expected) as raised:
        await rpc(client, "create_batch", {})

    assert type(raised.value) is expected
    assert raised.value.__cause__ is not None


async def test_a_proxys_page_is_an_unavailable_backend(answering: Connected) -> None:
    client = await answering(page(200))

    with pytest.raises(BackendUnavailable):
        await rpc(client, "complete_generation", {})


async def test_a_refused_request_keeps_code_index_field_and_remedy(answering: Connected) -> None:
    details = {"code": "prompt_too_long", "message": "Too long.", "index": 3, "field": "text", "limit": 4000}
    client = await answering(error(422, "PT422", json.dumps({**details, "remedy": "Shorten it."})))

    with pytest.raises(InvalidRequest) as raised:
        await rpc(client, "create_batch", {})

    assert raised.value.as_dict() == {**details, "remedy": "Shorten it."}


REACHED = {
    "code": "hourly_limit",
    "message": "Your hourly limit is 300 items.",
    "index": None,
    "field": "hourly_generations_limit",
    "limit": 300,
    "remedy": "Try again after it resets.",
}


async def test_a_reached_limit_tells_when_it_resets(answering: Connected) -> None:
    details = {**REACHED, "resets_at": "2026-11-24T10:30:00.5+00:00", "retry_after_seconds": 1799}
    client = await answering(error(429, "PT429", json.dumps(details)))

    with pytest.raises(LimitReached) as raised:
        await rpc(client, "create_batch", {})

    assert isinstance(raised.value, InvalidRequest)
    assert raised.value.resets_at == datetime(2026, 11, 24, 10, 30, 0, 500_000, UTC)
    assert raised.value.retry_after_seconds == 1799
    assert raised.value.as_dict() == {**details, "resets_at": "2026-11-24T10:30:00.500000+00:00"}


async def test_a_refusal_for_lack_of_credits_tells_how_many_are_needed(answering: Connected) -> None:
    details = {**REACHED, "code": "credits_short", "needed": 6, "available": 5.25}
    client = await answering(error(402, "PT402", json.dumps(details)))

    with pytest.raises(CreditsShort) as raised:
        await rpc(client, "create_batch", {})

    assert isinstance(raised.value, InvalidRequest)
    assert (raised.value.needed, raised.value.available) == (6, Decimal("5.25"))
    assert raised.value.as_dict() == {**details, "needed": "6", "available": "5.25"}


@pytest.mark.parametrize("resets_at", [None, "soon", 7])
async def test_a_reached_limit_may_have_no_reset_time(answering: Connected, resets_at: object) -> None:
    details = {**REACHED, "resets_at": resets_at, "retry_after_seconds": None}
    client = await answering(error(429, "PT429", json.dumps(details)))

    with pytest.raises(LimitReached) as raised:
        await rpc(client, "create_batch", {})

    assert (raised.value.resets_at, raised.value.retry_after_seconds) == (None, None)
    assert raised.value.remedy == REACHED["remedy"]


@pytest.mark.parametrize("fault", [httpx.ConnectError("refused"), httpx.ReadTimeout("slow")])
async def test_no_answer_is_an_unavailable_backend(answering: Connected, fault: Exception) -> None:
    def fail(request: httpx.Request) -> httpx.Response:
        raise fault

    client = await answering(fail)

    with pytest.raises(BackendUnavailable):
        await rpc(client, "create_batch", {})
    with pytest.raises(QueueUnavailable):
        await PostgrestQueue(client, worker="one", lease_seconds=60).claim(1)


async def test_collided_transactions_are_repeated(answering: Connected) -> None:
    answers = [error(500, "40P01"), error(409, "PT409", json.dumps({"code": "busy"})), error(500, "40001")]

    def collide(request: httpx.Request) -> httpx.Response:
        return answers.pop()(request) if answers else httpx.Response(200, json=7)

    client = await answering(collide)

    assert await rpc(client, "return_expired_leases", {}) == 7


async def test_repeated_collisions_end_in_an_error(answering: Connected) -> None:
    calls: list[str] = []

    def collide(request: httpx.Request) -> httpx.Response:
        calls.append(request.url.path)
        return error(500, "40P01")(request)

    client = await answering(collide)

    with pytest.raises(BackendUnavailable):
        await rpc(client, "return_expired_leases", {})
    assert len(calls) == COLLISION_TRIES


async def test_other_failures_are_not_repeated(answering: Connected) -> None:
    calls: list[str] = []

    def fail(request: httpx.Request) -> httpx.Response:
        calls.append(request.url.path)
        return httpx.Response(503)

    client = await answering(fail)

    with pytest.raises(BackendUnavailable):
        await rpc(client, "claim_generations", {})
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (error(401, "PGRST303"), KeyRefused),
        (error(405, "25006"), QueueUnavailable),
        (error(402, None), QueueUnavailable),
        (error(413, None), QueueUnavailable),
        (error(422, None), QueueUnavailable),
        (error(400, "22P02"), QueueUnavailable),
        (error(409, "23505"), QueueUnavailable),
        (error(422, "PT422", "no JSON"), QueueUnavailable),
        (error(422, "PT422", json.dumps({"code": "invalid_result"})), InvalidRequest),
        (error(409, "PT409", LOST), LeaseLost),
        (page(403), QueueUnavailable),
        (says(httpx.Response(302, headers={"location": "http://[bad"})), QueueUnavailable),
        (says(httpx.Response(200, json=None)), QueueUnavailable),
        (says(httpx.Response(200, json="no key")), QueueUnavailable),
    ],
)
async def test_only_refusals_of_our_own_sql_fail_an_item(
    answering: Connected, answer: Answer, expected: type[Exception]
) -> None:
    queue = PostgrestQueue(await answering(answer), worker="one", lease_seconds=60)

    with pytest.raises(expected) as raised:
        await queue.begin_order(claim(), NewOrder(provider="replicate"))

    assert type(raised.value) is expected


def claim() -> Claim:
    return Claim.model_validate(row())


def row(**other: Any) -> dict[str, Any]:
    """An item as a claim returns it."""
    given = {
        "generation_id": str(uuid4()),
        "lease_id": str(uuid4()),
        "lease_expires_at": "2026-11-24T10:30:00+00:00",
        "attempt": 1,
        "retry_count": 0,
        "user_id": str(uuid4()),
        "batch_id": str(uuid4()),
        "batch_index": 0,
        "prompt": "a harbour",
        "seed": 1,
        "width": 64,
        "height": 64,
    }
    return {**given, **other}


class Rows:
    """Answers claims with these rows, as text; records failed items."""

    def __init__(self, *rows: dict[str, Any] | str | None) -> None:
        self.text = json.dumps({"lease_ids": [], "claims": rows})
        self.failed: list[dict[str, Any]] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.url.path.endswith("fail_generation"):
            self.failed.append(json.loads(request.content))
            return httpx.Response(200, json={"status": "failed", "retry_count": 0})
        return httpx.Response(200, text=self.text, headers={"content-type": "application/json"})


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ({"user_id": None}, "user_id"),
        ({"seed": float("inf")}, "seed"),
        ({"guidance_scale": float("nan")}, "guidance_scale"),
        ({"guidance_scale": "NaN"}, "guidance_scale"),
        ({"width": "wide"}, "width"),
        ({"prompt": None}, "prompt"),
        ({"input_spec": [1]}, "input_spec"),
        ({"batch_index": {}}, "batch_index"),
    ],
)
async def test_an_unreadable_row_fails_alone(answering: Connected, wrong: dict[str, Any], field: str) -> None:
    good, bad = row(), row(**wrong)
    rows = Rows(bad, good)
    queue = PostgrestQueue(await answering(rows), worker="one", lease_seconds=60)

    claims = await queue.claim(2)
    more = await queue.complete_and_claim([], 2)

    assert [str(one.generation_id) for one in claims] == [good["generation_id"]]
    assert [str(one.generation_id) for one in more.claims] == [good["generation_id"]]
    assert len(rows.failed) == 2
    assert rows.failed[0]["p_lease_id"] == bad["lease_id"]
    assert rows.failed[0]["p_error"]["code"] == "unreadable_claim"
    assert field in rows.failed[0]["p_error"]["message"]


async def test_a_number_of_five_thousand_digits_fails_only_its_own_row(answering: Connected) -> None:
    good, bad = row(), row(seed=12345)
    rows = Rows(bad, good)
    rows.text = rows.text.replace("12345", "1" * 5000)
    queue = PostgrestQueue(await answering(rows), worker="one", lease_seconds=60)

    claims = await queue.claim(2)

    assert [str(one.generation_id) for one in claims] == [good["generation_id"]]
    assert len(rows.failed) == 1


async def test_rows_without_ids_are_left_until_their_leases_end(answering: Connected) -> None:
    good = row()
    rows = Rows(None, "no row", row(lease_id=7), good)
    queue = PostgrestQueue(await answering(rows), worker="one", lease_seconds=60)

    claims = await queue.claim(4)

    assert [str(one.generation_id) for one in claims] == [good["generation_id"]]
    assert rows.failed == []


async def test_an_unreadable_items_open_order_stays_open(answering: Connected) -> None:
    rows = Rows(row(user_id=None, order_key=str(uuid4())))
    queue = PostgrestQueue(await answering(rows), worker="one", lease_seconds=60)

    assert await queue.claim(1) == []
    assert rows.failed[0]["p_error"]["order"]["over"] is False


async def test_a_renewal_counts_when_only_its_lease_id_is_readable(answering: Connected) -> None:
    lease_id = uuid4()
    rows = [{"lease_id": str(lease_id), "lease_expires_at": "never", "cancel_requested": True}, {"lease_id": 1}]
    client = await answering(lambda _request: httpx.Response(200, json={"renewals": rows}))

    renewals = await PostgrestQueue(client, worker="one", lease_seconds=60).renew([lease_id])

    assert [(one.lease_id, one.cancel_requested) for one in renewals] == [(lease_id, True)]


async def test_orders_and_deletions_are_read_row_by_row(answering: Connected) -> None:
    order = {"order_key": str(uuid4()), "lease_id": str(uuid4()), "generation_id": str(uuid4())}
    orders = [{**order, "provider": "fal", "ordered_seconds_ago": 1}, {**order, "provider": None}]
    file = {"deletion_id": 1, "lease_id": str(uuid4()), "bucket_id": "pictures", "path": "a/b.png"}
    answer = {"orders": orders, "deletions": [{**file, "deletion_id": "x"}, file]}
    client = await answering(lambda _request: httpx.Response(200, json=answer))

    assert len(await PostgrestOpenOrders(client, worker="one", lease_seconds=60).take(2)) == 1
    assert len(await PostgrestOutbox(client, worker="one", lease_seconds=60).take(2)) == 1


async def test_an_answer_of_another_shape_asks_for_newer_migrations(answering: Connected) -> None:
    client = await answering(lambda _: httpx.Response(200, json=[{"lease": 1}]))

    with pytest.raises(QueueUnavailable, match="older"):
        await PostgrestQueue(client, worker="one", lease_seconds=60).claim(1)


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (503, "busy", StorageError),
        (400, {"statusCode": "403", "error": "Unauthorized", "message": "no"}, StorageError),
        (400, {"statusCode": "413", "error": "Payload too large", "message": "no"}, InvalidRequest),
        (400, {"statusCode": "415", "error": "invalid_mime_type", "message": "no"}, InvalidRequest),
        (200, "no JSON", StorageError),
    ],
)
async def test_storage_errors_tell_whether_to_retry(
    answering: Connected, status: int, body: Any, expected: type[Exception]
) -> None:
    answer = httpx.Response(status, text=body) if isinstance(body, str) else httpx.Response(status, json=body)
    storage = PictureStore(await answering(lambda _: answer), bucket="pictures")
    (item,) = worker_harness().queue.state.add("a")

    with checked_picture() as image, pytest.raises(expected):
        await storage.put(image, user_id=item.user_id, generation_id=item.id)


async def test_a_picture_is_stored_at_its_items_path_and_replaces_no_file(answering: Connected) -> None:
    seen: list[httpx.Request] = []

    def take(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={"Key": "pictures/x", "Id": "1"})

    storage = PictureStore(await answering(take), bucket="pictures")
    (item,) = worker_harness().queue.state.add("a")

    with checked_picture() as image:
        stored = await storage.put(image, user_id=item.user_id, generation_id=item.id)

    assert stored.storage_path == f"{item.user_id}/{item.id}.png"
    assert stored.file_size == image.file_size
    assert stored.public_url
    assert stored.public_url.endswith(stored.storage_path)
    assert seen[0].url.path.endswith(stored.storage_path)
    assert seen[0].headers["x-upsert"] == "false"
    assert b"image/png" in seen[0].content
