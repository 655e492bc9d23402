"""OpenAI's images API: every order is sent once, and its outcome is reported truly."""

import asyncio
import base64
import io
import json
import logging
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from random import Random
from typing import Any
from uuid import UUID

import httpx
import pytest
from PIL import Image
from pydantic import SecretStr

from batchgen.errors import (
    ModelUnusable,
    OutcomeUnknown,
    ProviderBusy,
    ProviderError,
    ProviderRejected,
    ProviderUnavailable,
)
from batchgen.order_state import NOT_CHARGED, OPEN, OVER, OrderState
from batchgen.providers.base import AccountableProvider, ImageRequest, RawImage, RemoteImage, Settlement
from batchgen.providers.openai_images import OpenAIImagesProvider
from tests.providers.local_server import (
    DRIP,
    DROPPED,
    FLOOD,
    FORGOTTEN,
    HTML,
    LOST,
    SILENT,
    TRUNCATED,
    Fault,
    answers,
    chain,
)
from tests.providers.openai_server import KEY, OpenAIServer, a_picture
from tests.providers.orders import MEASURED
from tests.seeds import SEEDS

ORDERS = "POST /v1/images/generations"
REQUEST = ImageRequest(
    UUID(int=7),
    "a red fox",
    seed=11,
    width=64,
    height=32,
    model="gpt-image-1",
    key="order-1",
    inputs={"prompt": "a red fox", "size": "64x32", "quality": "low"},
)
MakeProvider = Callable[..., OpenAIImagesProvider]


@pytest.fixture
async def server() -> AsyncGenerator[OpenAIServer]:
    async with OpenAIServer() as server:
        yield server


@pytest.fixture
async def make(server: OpenAIServer) -> AsyncGenerator[MakeProvider]:
    made: list[OpenAIImagesProvider] = []

    def make(**options: Any) -> OpenAIImagesProvider:
        known: dict[str, Any] = {"key": SecretStr(KEY), "base_url": server.api}
        made.append(OpenAIImagesProvider(**known | options))
        return made[-1]

    yield make
    for provider in made:
        await provider.aclose()


def answer_seconds_for(fault: Fault) -> float:
    """Short if no answer comes; otherwise long, because a busy machine must not make an answer late."""
    return 0.3 if fault.kind == "hang" else 20


async def a_picture_of(provider: AccountableProvider, request: ImageRequest = REQUEST) -> Any:
    return await provider.wait(await provider.submit(request), request)


async def test_a_base64_picture_is_read_and_the_body_is_the_inputs(make: MakeProvider, server: OpenAIServer) -> None:
    provider: AccountableProvider = make()

    picture = await a_picture_of(provider)

    assert isinstance(picture, RawImage)
    with Image.open(io.BytesIO(picture.content)) as image:
        assert (image.format, image.size) == ("PNG", (64, 32))
    [(_, headers, body)] = server.requests
    assert body == {"model": "gpt-image-1", "prompt": "a red fox", "size": "64x32", "quality": "low"}
    assert headers["X-Client-Request-Id"] == headers["Idempotency-Key"] == "order-1"
    assert server.events("charged") == ["order-1"]


async def test_a_picture_address_of_the_own_server_gets_the_key(make: MakeProvider, server: OpenAIServer) -> None:
    server.mode = "url"

    picture = await a_picture_of(make())

    assert isinstance(picture, RemoteImage)
    async with httpx.AsyncClient() as http:
        fetched = await http.get(picture.url, headers=picture.headers)
    assert fetched.content == a_picture("32x32")
    assert KEY not in repr(picture)


async def test_the_key_does_not_go_to_other_addresses(make: MakeProvider, server: OpenAIServer) -> None:
    elsewhere = "https://files.example.test/picture.png?signature=x"
    server.fail(ORDERS, answers(200, {"data": [{"url": elsewhere}]}))

    assert await a_picture_of(make()) == RemoteImage(elsewhere, {}, order=OrderState(True, running_seconds=MEASURED))


async def test_a_data_url_is_read_as_the_picture(make: MakeProvider, server: OpenAIServer) -> None:
    server.mode = "data_url"

    assert await a_picture_of(make()) == RawImage(a_picture("64x32"), order=OrderState(True, running_seconds=MEASURED))


async def test_base64_content_wins_over_an_address(make: MakeProvider, server: OpenAIServer) -> None:
    packed = base64.b64encode(a_picture("64x32")).decode()
    both = {"url": "http://10.0.0.7:9000/pictures/1.png", "b64_json": packed}
    server.fail(ORDERS, answers(200, {"data": [both]}))

    assert await a_picture_of(make()) == RawImage(a_picture("64x32"), order=OrderState(True, running_seconds=MEASURED))


WITH_FORMAT = replace(REQUEST, inputs={**REQUEST.inputs, "response_format": "b64_json"})
NO_FORMAT = "Unknown parameter: 'response_format'."


@pytest.mark.parametrize(
    "refusal",
    [
        answers(400, {"error": {"message": NO_FORMAT, "code": "unknown_parameter", "param": "response_format"}}),
        answers(422, {"detail": "response_format: extra fields not permitted"}),
    ],
    ids=["openai", "fastapi"],
)
async def test_a_refused_response_format_is_left_out_from_then_on(
    make: MakeProvider, server: OpenAIServer, refusal: Fault
) -> None:
    server.fail(ORDERS, refusal)
    provider = make()

    pictures = [await a_picture_of(provider, replace(WITH_FORMAT, key=f"order-{n}")) for n in range(2)]

    assert all(isinstance(picture, RawImage) for picture in pictures)
    assert ["response_format" in body for _, _, body in server.requests] == [True, False, False]
    assert server.events("charged") == ["order-0", "order-1"]


@pytest.mark.parametrize(
    "refusal",
    [
        answers(400, {"error": {"message": NO_FORMAT, "code": "invalid_value", "param": "size"}}),
        answers(400, {"error": {"message": "Unknown parameter: 'quality'.", "code": "unknown_parameter"}}),
        answers(500, {"error": {"message": NO_FORMAT}}),
    ],
    ids=["other field", "other words", "500"],
)
async def test_a_refusal_for_another_reason_is_not_sent_again(
    make: MakeProvider, server: OpenAIServer, refusal: Fault
) -> None:
    server.fail(ORDERS, refusal)

    with pytest.raises(ProviderError):
        await a_picture_of(make(), WITH_FORMAT)

    assert server.asked(ORDERS) == 1


async def test_a_seed_from_the_server_is_kept(make: MakeProvider, server: OpenAIServer) -> None:
    server.fail(ORDERS, answers(200, {"data": [{"url": "https://x.test/1.png", "seed": 0}]}))

    assert (await a_picture_of(make())).seed == 0


async def test_nothing_is_ordered_before_the_wait(make: MakeProvider, server: OpenAIServer) -> None:
    provider = make()

    job_id = await provider.submit(REQUEST)

    assert server.requests == []
    assert await provider.find(REQUEST) == job_id
    assert await provider.find(replace(REQUEST, key="another")) is None
    assert await provider.settle(job_id, REQUEST) == Settlement(NOT_CHARGED)


async def test_waiting_twice_orders_once(make: MakeProvider, server: OpenAIServer) -> None:
    provider = make()
    job_id = await provider.submit(REQUEST)

    first, second = await asyncio.gather(provider.wait(job_id, REQUEST), provider.wait(job_id, REQUEST))
    third = await provider.wait(job_id, REQUEST)

    assert first == second == third
    assert server.events("charged") == ["order-1"]


async def test_giving_up_waiting_keeps_the_order_and_its_picture(make: MakeProvider, server: OpenAIServer) -> None:
    provider = make()
    server.gate.clear()
    job_id = await provider.submit(REQUEST)
    waiting = asyncio.create_task(provider.wait(job_id, REQUEST))
    await server.began.wait()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting

    await provider.cancel(job_id)  # a paid order cannot be stopped

    assert await provider.settle(job_id, REQUEST) == Settlement(OPEN)
    server.gate.set()
    picture = await provider.wait(job_id, REQUEST)
    settled = await provider.settle(job_id, REQUEST)
    assert (settled.order.over, settled.order.charged, settled.picture) == (True, True, picture)
    assert settled.order.running_seconds == picture.order.running_seconds == MEASURED
    assert server.events("created") == ["order-1"]


async def test_an_unsent_order_can_be_cancelled(make: MakeProvider, server: OpenAIServer) -> None:
    provider = make()
    job_id = await provider.submit(REQUEST)

    await provider.cancel(job_id)

    with pytest.raises(ProviderUnavailable) as caught:
        await provider.wait(job_id, REQUEST)
    assert (caught.value.code, caught.value.order.charged) == ("job_cancelled", False)
    assert server.requests == []


async def test_cancelling_unknown_or_ended_orders_is_no_error(make: MakeProvider) -> None:
    provider = make()
    job_id = await provider.submit(REQUEST)
    picture = await provider.wait(job_id, REQUEST)

    await provider.cancel(job_id)
    await provider.cancel("openai-of-another-process")

    assert await provider.wait(job_id, REQUEST) == picture


async def test_a_refused_order_is_over_for_every_process(make: MakeProvider, server: OpenAIServer) -> None:
    provider = make()
    server.fail(ORDERS, answers(429, {"error": {"message": "Slow down."}}, Retry_After="3"))
    job_id = await provider.submit(REQUEST)

    with pytest.raises(ProviderBusy) as caught:
        await provider.wait(job_id, REQUEST)

    assert (caught.value.order.over, caught.value.order.charged, caught.value.retry_after_seconds) == (True, False, 3)
    assert server.events("created") == []


async def test_the_job_of_another_process_is_never_ordered_again(make: MakeProvider, server: OpenAIServer) -> None:
    job_id = await make().submit(REQUEST)
    successor = make()

    with pytest.raises(OutcomeUnknown) as caught:
        await successor.wait(job_id, REQUEST)

    assert caught.value.order.charged is None
    assert await successor.settle(job_id, REQUEST) == Settlement(OPEN)  # the other one may get its picture
    assert server.requests == []


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (DROPPED, "provider_unreachable"),  # for the provider it looks like the next one
        (LOST, "provider_unreachable"),
        (FORGOTTEN, "provider_timeout"),
        (SILENT, "provider_timeout"),
        (TRUNCATED, "provider_unreachable"),
        (HTML, "provider_garbage"),
        (FLOOD, "provider_garbage"),
        (answers(200, [], after=True), "provider_garbage"),
        (answers(200, {}, after=True), "provider_garbage"),
        (answers(200, {"data": {}}, after=True), "provider_garbage"),
        (answers(200, {"data": ["x"]}, after=True), "provider_garbage"),
        (answers(200, {"data": [{"b64_json": "§"}]}, after=True), "provider_garbage"),
        (answers(200, {"data": [{"url": "file:///etc/passwd"}]}, after=True), "provider_garbage"),
        (answers(200, {"data": [{"url": "http://[::bad/x"}]}, after=True), "provider_garbage"),
        (answers(200, "[" * 100_000, after=True), "provider_garbage"),
        (answers(200, {"data": []}, after=True, Content_Encoding="gzip"), "provider_garbage"),
        (answers(200, {"error": {"message": "", "code": ""}, "detail": ""}, after=True), "provider_garbage"),
        (answers(200, {"error": True}, after=True), "provider_garbage"),
        (answers(200, {"success": False}, after=True), "provider_garbage"),
        (answers(502, "<html>", after=True), "outcome_unknown"),
        (answers(504, "<html>", after=True), "outcome_unknown"),
        (answers(524, "<html>", after=True), "outcome_unknown"),
        (answers(500, "Internal Server Error", after=True), "outcome_unknown"),
        (answers(501, "", after=True), "outcome_unknown"),
        (answers(511, '""', after=True), "outcome_unknown"),
        (answers(501, "[]", after=True), "outcome_unknown"),
        (answers(500, "{}", after=True), "outcome_unknown"),
        (answers(500, {"error": None}, after=True), "outcome_unknown"),
        (answers(500, '{"detail": [[[]]]}', after=True), "outcome_unknown"),
        (answers(500, ["upstream"], after=True), "outcome_unknown"),
        (answers(303, Location="/v1/pictures/1.png", after=True), "outcome_unknown"),
    ],
)
async def test_an_order_with_a_lost_answer_is_unknown_and_not_repeated(
    make: MakeProvider, server: OpenAIServer, fault: Fault, code: str
) -> None:
    provider = make(answer_seconds=answer_seconds_for(fault), most_bytes=2**20)
    job_id = await provider.submit(REQUEST)
    server.fail(ORDERS, fault)

    for _ in range(2):
        with pytest.raises(OutcomeUnknown) as caught:
            await provider.wait(job_id, REQUEST)
        assert caught.value.code == code

    assert server.asked(ORDERS) == 1
    assert await provider.settle(job_id, REQUEST) == Settlement(OVER)


@pytest.mark.parametrize("fault", [LOST, FORGOTTEN, TRUNCATED, HTML, answers(504, after=True)])
async def test_an_own_server_generates_a_lost_picture_again(
    make: MakeProvider, server: OpenAIServer, fault: Fault
) -> None:
    provider = make(is_free=True, answer_seconds=answer_seconds_for(fault))
    job_id = await provider.submit(REQUEST)
    server.fail(ORDERS, fault)

    with pytest.raises(ProviderUnavailable) as caught:
        await provider.wait(job_id, REQUEST)

    assert (caught.value.order.charged, caught.value.order.over) == (False, True)
    assert await provider.find(REQUEST) is None
    assert isinstance(await a_picture_of(provider), RawImage)
    with pytest.raises(ProviderUnavailable, match="another process"):
        await provider.wait("openai-elsewhere", REQUEST)
    assert await provider.settle("openai-elsewhere", REQUEST) == Settlement(NOT_CHARGED)


async def test_cancelling_drops_the_order_at_an_own_server(make: MakeProvider, server: OpenAIServer) -> None:
    provider = make(is_free=True)
    server.gate.clear()
    job_id = await provider.submit(REQUEST)
    waiting = asyncio.create_task(provider.wait(job_id, REQUEST))
    await server.began.wait()

    await provider.cancel(job_id)

    with pytest.raises(ProviderUnavailable) as caught:
        await waiting
    assert caught.value.code == "job_cancelled"
    assert await provider.settle(job_id, REQUEST) == Settlement(NOT_CHARGED)


async def test_a_slow_answer_is_accepted(make: MakeProvider, server: OpenAIServer) -> None:
    server.fail(ORDERS, DRIP)

    assert await a_picture_of(make()) == RawImage(a_picture("64x32"), order=OrderState(True, running_seconds=MEASURED))


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (answers(429, Retry_After="8"), 8),
        (answers(429, Retry_After="Sun, 06 Nov 1994 08:49:37 GMT"), 1),
        (answers(429, Retry_After="0"), 1),
        (answers(429, {"error": {"message": "Please try again in 20ms."}}), 1),
        (answers(429, {"error": {"message": "Please try again in 6m0s."}}), 360),
        (answers(429, x_ratelimit_reset_requests="1m12s"), 72),
        (answers(429, {"error": {"message": "Rate limit reached. Please try again in 20s."}}), 20),
        (answers(429, "slow down"), 10),
        (answers(503, Retry_After="4"), 4),
    ],
)
async def test_a_wait_requested_by_openai_is_passed_on(
    make: MakeProvider, server: OpenAIServer, fault: Fault, seconds: float
) -> None:
    provider = make()
    job_id = await provider.submit(REQUEST)
    server.fail(ORDERS, fault)

    with pytest.raises(ProviderBusy) as caught:
        await provider.wait(job_id, REQUEST)

    assert (caught.value.code, caught.value.retry_after_seconds) == ("provider_busy", seconds)
    assert caught.value.order.over  # no job was made: the next attempt orders under another id
    assert await provider.settle(job_id, REQUEST) == Settlement(NOT_CHARGED)
    assert await provider.find(REQUEST) is None
    assert isinstance(await a_picture_of(provider), RawImage)
    assert server.events("created") == ["order-1"]


BILLING = {"type": "insufficient_quota", "code": "project_spend_limit_exceeded", "message": "Limit reached."}


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (answers(401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}), "provider_key_refused"),
        (answers(403, {"error": {"message": "Your organization must be verified."}}), "provider_key_refused"),
        (answers(403, {"error": {"message": "You are not a member of this organization."}}), "provider_key_refused"),
        (answers(402, {"error": {"message": "Payment required"}}), "provider_account_empty"),
        (answers(429, {"error": BILLING}), "provider_account_empty"),
        (answers(400, {"error": {"code": "billing_hard_limit_reached"}}), "provider_account_empty"),
    ],
)
async def test_problems_for_the_operator_fail_no_item(
    make: MakeProvider, server: OpenAIServer, fault: Fault, code: str
) -> None:
    server.fail(ORDERS, fault)

    with pytest.raises(ProviderBusy) as caught:
        await a_picture_of(make())

    assert (caught.value.code, caught.value.retry_after_seconds) == (code, 300)
    assert KEY not in str(caught.value)


VERIFY = (
    "Your organization must be verified to use the model `gpt-image-1`. Please go to: "
    "https://platform.openai.com/settings/organization/general and click on Verify Organization."
)
NO_ACCESS = "Project `proj_x` does not have access to model `gpt-image-1`"
LIMIT = "Rate limit reached for gpt-image-1 in organization org-x on input-images per min. Please try again in 12s."


@pytest.mark.parametrize(
    ("fault", "code", "seconds"),
    [
        (
            answers(403, {"error": {"message": VERIFY, "type": "invalid_request_error", "code": None}}),
            "model_not_allowed",
            300,
        ),
        (answers(403, {"error": {"message": NO_ACCESS, "code": "model_not_found"}}), "model_not_allowed", 300),
        (answers(429, {"error": {"message": LIMIT, "code": "rate_limit_exceeded"}}), "model_busy", 12),
        (answers(429, {"error": {"message": "Slow down with gpt-image-1"}}, Retry_After="60"), "model_busy", 60),
    ],
)
async def test_a_refusal_of_one_model_makes_only_that_model_wait(
    make: MakeProvider, server: OpenAIServer, fault: Fault, code: str, seconds: float
) -> None:
    provider = make()
    server.fail(ORDERS, fault)
    job_id = await provider.submit(REQUEST)

    with pytest.raises(ModelUnusable) as caught:
        await provider.wait(job_id, REQUEST)

    assert (caught.value.code, caught.value.retry_after_seconds, caught.value.order.over) == (code, seconds, True)
    assert await provider.find(REQUEST) is None
    assert isinstance(await a_picture_of(provider), RawImage)
    assert server.events("created") == ["order-1"]


async def test_an_unverified_organisation_gets_a_remedy(make: MakeProvider, server: OpenAIServer) -> None:
    server.fail(ORDERS, answers(403, {"error": {"message": VERIFY}}))

    with pytest.raises(ModelUnusable, match="Verify the organisation"):
        await a_picture_of(make())


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (answers(500, {"error": {"message": "The server had an error."}}), "provider_unavailable"),
        (answers(503, {"error": {"message": "Overloaded"}}), "provider_unavailable"),
        (answers(503, "<html>503 Service Temporarily Unavailable</html>"), "provider_unavailable"),
        (answers(521, "<html>Web server is down</html>"), "provider_unavailable"),
        (answers(500, {"error": {"message": "CUDA out of memory."}}), "out_of_memory"),
        (answers(409, {"error": "conflict"}), "provider_unavailable"),
        (answers(404, {"detail": "Not Found"}), "provider_garbage"),
        (answers(302, Location="https://elsewhere.test/"), "provider_garbage"),
        (answers(200, {"error": {"message": "backend died"}}), "provider_unavailable"),
    ],
)
async def test_passing_errors_have_their_own_codes(
    make: MakeProvider, server: OpenAIServer, fault: Fault, code: str
) -> None:
    server.fail(ORDERS, fault)

    with pytest.raises(ProviderUnavailable) as caught:
        await a_picture_of(make())

    assert caught.value.code == code
    assert server.asked(ORDERS) == 1


async def test_an_unreachable_server_charges_nothing(make: MakeProvider) -> None:
    with pytest.raises(ProviderUnavailable) as caught:
        await a_picture_of(make(base_url="http://127.0.0.1:9"))

    assert (caught.value.code, caught.value.order.charged) == ("provider_unreachable", False)


@pytest.mark.parametrize(
    ("prompt", "charged"), [("a #blocked thing", False), ("a #blocked #late thing", None)], ids=["input", "output"]
)
async def test_a_policy_block_is_permanent(
    make: MakeProvider, server: OpenAIServer, prompt: str, charged: bool | None
) -> None:
    request = replace(REQUEST, inputs={"prompt": prompt})
    provider = make()
    job_id = await provider.submit(request)

    for _ in range(2):
        with pytest.raises(ProviderRejected) as caught:
            await provider.wait(job_id, request)
        assert (caught.value.code, caught.value.order.charged) == ("blocked_by_policy", charged)

    assert server.asked(ORDERS) == 1
    assert (await provider.settle(job_id, request)).order.charged is charged


@pytest.mark.parametrize(
    "fault",
    [
        answers(400, {"error": {"code": "content_policy_violation", "message": "no"}}),
        answers(400, {"error": {"code": "contentFilter", "message": "no"}}),
        answers(400, {"error": {"message": "x", "innererror": {"code": "ResponsibleAIPolicyViolation"}}}),
        answers(403, {"error": {"message": "Your prompt may violate our content policy."}}),
        answers(451, "unavailable"),
        answers(200, {"data": [{"b64_json": "", "respect_moderation": False}]}),
    ],
)
async def test_policy_blocks_of_compatible_servers_are_recognized(
    make: MakeProvider, server: OpenAIServer, fault: Fault
) -> None:
    server.fail(ORDERS, fault)

    with pytest.raises(ProviderRejected) as caught:
        await a_picture_of(make())

    assert caught.value.code == "blocked_by_policy"


async def test_an_answer_without_a_picture_is_not_ordered_again(make: MakeProvider, server: OpenAIServer) -> None:
    server.fail(ORDERS, answers(200, {"data": []}))

    with pytest.raises(ProviderRejected) as caught:
        await a_picture_of(make())

    assert (caught.value.code, caught.value.order.charged) == ("no_image", None)


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"model": "no-such-model"}, "model_not_found"),
        ({"inputs": {"prompt": ""}}, "invalid_input"),
    ],
)
async def test_invalid_requests_are_rejected(make: MakeProvider, change: dict[str, Any], code: str) -> None:
    with pytest.raises(ProviderRejected) as caught:
        await a_picture_of(make(), replace(REQUEST, **change))

    assert caught.value.code == code


async def test_a_long_error_text_is_cut_and_redacted(make: MakeProvider, server: OpenAIServer) -> None:
    server.fail(ORDERS, answers(400, {"error": {"message": f"bad {KEY}\n" + "x" * 100_000}}))

    with pytest.raises(ProviderRejected) as caught:
        await a_picture_of(make())

    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)
    assert KEY not in str(caught.value)


async def test_an_overlong_error_is_classified_by_its_status(make: MakeProvider, server: OpenAIServer) -> None:
    server.fail(ORDERS, answers(400, {"error": {"message": "x" * 500_000, "code": "moderation_blocked"}}))

    with pytest.raises(ProviderRejected) as caught:
        await a_picture_of(make())

    assert caught.value.code == "invalid_input"


@pytest.mark.parametrize("fault", [answers(401), LOST, HTML, answers(500), answers(429)])
async def test_the_key_is_not_in_errors_logs_or_reprs(
    make: MakeProvider, server: OpenAIServer, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    provider = make()
    server.fail(ORDERS, fault)

    with pytest.raises(ProviderError) as caught:
        await a_picture_of(provider)

    shown = [f"{error!r} {error} {vars(error)}" for error in chain(caught.value)]
    assert KEY not in json.dumps([*shown, caplog.text, repr(provider), str(vars(provider))])


@pytest.mark.parametrize("key", ["sk-a\nb", "sk-ä"])
def test_a_malformed_key_is_refused_without_being_shown(key: str) -> None:
    with pytest.raises(ValueError, match="paste only the key") as caught:
        OpenAIImagesProvider(key=SecretStr(key))

    assert key not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["https://user:hunter2@x.test/v1", "https://x.test/v1?key=hunter2", "ftp://x.test", "x"]
)
def test_an_invalid_address_or_one_with_a_secret_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address") as caught:
        OpenAIImagesProvider(base_url=url)

    assert "hunter2" not in str(caught.value)


async def test_blanks_around_a_key_are_stripped(make: MakeProvider) -> None:
    assert isinstance(await a_picture_of(make(key=SecretStr(f" {KEY}\n"))), RawImage)


async def test_delivered_pictures_do_not_accumulate(make: MakeProvider, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("batchgen.providers.http.synchronous.KEPT_BYTES", 5 * len(a_picture("64x32")))
    provider = make()
    job_ids = [await provider.submit(replace(REQUEST, key=f"key-{number}")) for number in range(20)]

    for job_id in job_ids:
        await provider.wait(job_id, REQUEST)
    await asyncio.sleep(0)

    kept = [job_id for job_id in job_ids if (await provider.settle(job_id, REQUEST)).picture is not None]
    assert kept == job_ids[-5:]


@pytest.mark.parametrize(
    ("is_free", "error"), [(False, OutcomeUnknown), (True, ProviderUnavailable)], ids=["paid, may be charged", "free"]
)
async def test_closing_ends_running_orders(
    make: MakeProvider, server: OpenAIServer, is_free: bool, error: type[ProviderError]
) -> None:
    server.gate.clear()
    provider = make(is_free=is_free)
    waiting = asyncio.create_task(a_picture_of(provider))
    await server.began.wait()

    await provider.aclose()

    with pytest.raises(error):
        await waiting


FAULTS = [
    None,
    None,
    None,
    DROPPED,
    LOST,
    FORGOTTEN,
    TRUNCATED,
    HTML,
    DRIP,
    answers(429, Retry_After="0"),
    answers(500),
    answers(504, after=True),
]


@pytest.mark.random_faults
@pytest.mark.parametrize("seed", SEEDS)
async def test_fifty_orders_under_random_faults_are_never_created_twice(
    make: MakeProvider, server: OpenAIServer, seed: int
) -> None:
    random = Random(seed)
    provider = make(answer_seconds=0.5)
    ends: list[str] = []
    for number in range(50):
        fault = random.choice(FAULTS)
        server.fail(ORDERS, *[fault] if fault else [])
        ends.append(await _tried_until_it_ends(provider, replace(REQUEST, key=f"key-{number}")))

    created, charged = server.events("created"), server.events("charged")
    assert len(set(created)) == len(created)
    assert len(set(charged)) == len(charged)
    assert set(ends) == {"picture", "unknown"}
    assert {f"key-{number}" for number, end in enumerate(ends) if end == "picture"} <= set(charged)


async def _tried_until_it_ends(provider: AccountableProvider, request: ImageRequest) -> str:
    while True:
        try:
            await provider.wait(await provider.find(request) or await provider.submit(request), request)
            return "picture"
        except OutcomeUnknown:
            return "unknown"
        except (ProviderBusy, ProviderUnavailable):
            continue


async def test_an_invalid_host_is_left_to_the_fetcher(make: MakeProvider, server: OpenAIServer) -> None:
    server.fail(ORDERS, answers(200, {"data": [{"url": "https://xn--a/1.png"}]}))

    picture = await a_picture_of(make())

    assert isinstance(picture, RemoteImage)
    assert picture.headers == {}


async def test_a_redirect_to_an_invalid_address_is_no_answer(make: MakeProvider, server: OpenAIServer) -> None:
    server.fail(ORDERS, answers(302, Location="//٣:٣/"))

    with pytest.raises(ProviderError) as caught:
        await a_picture_of(make())

    assert caught.value.code in ("provider_garbage", "provider_unreachable")
    assert server.asked(ORDERS) == 1
