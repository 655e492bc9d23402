"""Whatever a provider answers, a call ends with a result or a `ProviderError`, and an order is sent once."""

import json
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from batchgen.errors import ProviderError
from batchgen.providers.fal import FalProvider
from batchgen.providers.replicate import ReplicateProvider
from tests.providers.fal_server import KEY, FalServer
from tests.providers.faulty_server import Fault
from tests.providers.orders import Pauses, order
from tests.providers.replicate_server import TOKEN, ReplicateServer

FIELDS = [
    *("id", "status", "input", "model", "version", "source", "output", "error", "logs", "metrics", "prompt"),
    *("created_at", "started_at", "completed_at", "data_removed", "results", "next", "detail", "error_type"),
    *("request_id", "response_url", "images", "image", "seed", "has_nsfw_concepts"),
]
TEXTS = [
    *("succeeded", "failed", "canceled", "processing", "COMPLETED", "IN_QUEUE", "api", "\ud800", "../../x"),
    *("http://[", "https://a.test/1.png", "data:image/png;base64,x"),
    *("2026-11-24T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
]

texts = st.sampled_from(TEXTS) | st.text(max_size=8)
leaves = st.none() | st.booleans() | st.integers() | st.floats() | texts
values = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=4),
    max_leaves=8,
)
answers = st.dictionaries(st.sampled_from(FIELDS), values, max_size=8) | values
statuses = st.sampled_from([200, 200, 200, 201, 202, 204, 302, 400, 404, 418, 422, 429, 451, 500, 503])
headers = st.dictionaries(
    st.sampled_from(["Date", "Retry-After", "X-Fal-Error-Type", "X-Fal-Retryable", "Location"]),
    st.sampled_from(
        ["", "x", "-1", "1e999", "Mon, 01 Jan 0001 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "http://["]
    ),
    max_size=3,
)


def a_fault(status: int, headers: dict[str, str], body: Any) -> Fault:
    return Fault(status, headers, json.dumps(body))


faults = st.builds(a_fault, statuses, headers, answers)
often = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
async def replicate() -> AsyncGenerator[tuple[ReplicateServer, ReplicateProvider]]:
    async with ReplicateServer() as server:
        provider = ReplicateProvider(
            api_token=SecretStr(TOKEN), base_url=f"{server.url}/v1", sleep=Pauses(), clock=lambda: 0.0
        )
        yield server, provider
        await provider.aclose()


@pytest.fixture
async def fal() -> AsyncGenerator[tuple[FalServer, FalProvider]]:
    async with FalServer() as server:
        provider = FalProvider(key=SecretStr(KEY), base_url=server.url, sleep=Pauses())
        yield server, provider
        await provider.aclose()


def a_prediction(**fields: Any) -> Fault:
    return Fault(200, body=json.dumps({"id": "1", "status": "succeeded", **fields}))


@often
@given(fault=faults)
@example(fault=a_prediction(status=[]))
@example(fault=a_prediction(output={"image": {"url": [None]}}, logs=7, metrics=[], version={}))
@example(fault=a_prediction(status="failed", error={"a": ["nsfw"]}))
async def test_malformed_replicate_jobs_end_in_provider_errors(
    replicate: tuple[ReplicateServer, ReplicateProvider], fault: Fault
) -> None:
    server, provider = replicate
    server.fail("look", fault)

    with suppress(ProviderError):
        await provider.settle("1", order())


@often
@given(fault=faults)
@example(fault=Fault(200, body='{"results": [], "next": "http://["}'))
@example(fault=Fault(200, body='{"results": [], "next": "?cursor=\\ud800"}'))
@example(fault=Fault(200, {"Date": "Mon, 01 Jan 0001 00:00:00 GMT"}, '{"results": [{"created_at": "x"}]}'))
async def test_malformed_replicate_lists_end_in_provider_errors(
    replicate: tuple[ReplicateServer, ReplicateProvider], fault: Fault
) -> None:
    server, provider = replicate
    server.fail("list", fault)

    with suppress(ProviderError):
        await provider.find(order(ordered_at=0.0))


@often
@given(fault=faults)
async def test_malformed_replicate_order_answers_send_one_order(
    replicate: tuple[ReplicateServer, ReplicateProvider], fault: Fault
) -> None:
    server, provider = replicate
    before = server.asked["order"]
    server.fail("order", fault)

    with suppress(ProviderError):
        await provider.submit(order(model="black-forest-labs/flux-schnell"))

    assert server.asked["order"] == before + 1


@often
@given(fault=faults)
@example(fault=Fault(200, body='{"status": []}'))
async def test_malformed_fal_jobs_end_in_provider_errors(fal: tuple[FalServer, FalProvider], fault: Fault) -> None:
    server, provider = fal
    server.fail("look", fault)

    with suppress(ProviderError):
        await provider.settle("fal-ai/flux/requests/1", order())


@often
@given(fault=faults)
@example(fault=Fault(422, body='{"detail": [7, {"type": [], "msg": {}}]}'))
@example(fault=Fault(200, body='{"images": [[], {"url": {}}, null], "seed": []}'))
async def test_malformed_fal_results_end_in_provider_errors(fal: tuple[FalServer, FalProvider], fault: Fault) -> None:
    server, provider = fal
    server.fail("look", Fault(200, body='{"status": "COMPLETED", "metrics": {"inference_time": "x"}}'))
    server.fail("result", fault)

    with suppress(ProviderError):
        await provider.settle("fal-ai/flux/requests/1", order())


@often
@given(fault=faults)
@example(fault=Fault(200, body='{"response_url": "http://["}'))
async def test_malformed_fal_order_answers_send_one_order(fal: tuple[FalServer, FalProvider], fault: Fault) -> None:
    server, provider = fal
    before = server.asked["order"]
    server.fail("order", fault)

    with suppress(ProviderError):
        await provider.submit(order(model="fal-ai/flux/dev"))

    assert server.asked["order"] == before + 1
