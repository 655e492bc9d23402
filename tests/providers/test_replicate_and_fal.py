"""Common behaviour of Replicate and fal, each against a fake server of its API."""

import asyncio
import json
import logging
import traceback
from collections.abc import AsyncGenerator, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import pytest
from pydantic import SecretStr

from batchgen.errors import ModelUnusable, OutcomeUnknown, ProviderBusy, ProviderRejected, ProviderUnavailable
from batchgen.providers.base import AccountableProvider, ImageRequest, RemoteImage
from batchgen.providers.fal import FalProvider
from batchgen.providers.replicate import ReplicateProvider
from tests.providers import fal_server, replicate_server
from tests.providers.fal_server import FalServer
from tests.providers.faulty_server import GARBAGE, NEVER_ARRIVED, Fault, FaultyServer
from tests.providers.orders import Pauses, order, outcome
from tests.providers.replicate_server import ReplicateServer


@dataclass
class HostedSetup:
    """A provider's server, and the parts in which the two differ."""

    server: ReplicateServer | FalServer
    pauses: Pauses
    model: str
    unknown_job: str
    make: Callable[..., AccountableProvider]

    def order(self, **other: Any) -> ImageRequest:
        fields: dict[str, Any] = {"model": self.model, **other}
        return order(**fields)

    def end_after(self, looks: int) -> None:
        """End the job of the usual prompt after so many requests for it."""
        if isinstance(self.server, FalServer):
            self.server.job_plans["a red fox"] = fal_server.JobPlan(looks=looks)
        else:
            self.server.job_plans["a red fox"] = replicate_server.JobPlan(looks=looks)


@pytest.fixture(params=["replicate", "fal"])
async def hosted(request: pytest.FixtureRequest) -> AsyncGenerator[HostedSetup]:
    async with AsyncExitStack() as stack:
        start = _replicate if request.param == "replicate" else _fal
        yield await start(stack)


async def _replicate(stack: AsyncExitStack) -> HostedSetup:
    server, pauses = await stack.enter_async_context(ReplicateServer()), Pauses()

    def make(key: str = replicate_server.TOKEN, address: str = server.url, **options: Any) -> AccountableProvider:
        settings: dict[str, Any] = {"timeout_seconds": 5, "sleep": pauses, "clock": pauses.clock, **options}
        provider = ReplicateProvider(api_token=SecretStr(key), base_url=f"{address}/v1", **settings)
        stack.push_async_callback(provider.aclose)
        return provider

    return HostedSetup(server, pauses, "black-forest-labs/flux-schnell", "unknown", make)


async def _fal(stack: AsyncExitStack) -> HostedSetup:
    server, pauses = await stack.enter_async_context(FalServer()), Pauses()

    def make(key: str = fal_server.KEY, address: str = server.url, **options: Any) -> AccountableProvider:
        settings: dict[str, Any] = {"timeout_seconds": 5, "sleep": pauses, **options}
        provider = FalProvider(key=SecretStr(key), base_url=address, **settings)
        stack.push_async_callback(provider.aclose)
        return provider

    return HostedSetup(server, pauses, "fal-ai/flux/dev", "fal-ai/flux/requests/unknown", make)


# Ordering.


@pytest.mark.parametrize("model", [None, "", "flux", "../../account", "someone/unknown"])
async def test_an_unknown_model_is_refused(hosted: HostedSetup, model: str | None) -> None:
    refused = await outcome(hosted.make().submit(hosted.order(model=model)))

    assert isinstance(refused, ProviderRejected)
    assert refused.code == "model_not_found"
    assert hosted.server.jobs == {}


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (Fault(429, {"Retry-After": "8"}), 8),
        (Fault(429, body='{"detail": "Request was throttled. Your rate limit resets in ~30s."}'), 30),
        (Fault(429, body='{"retry_after": 3}'), 3),
        (Fault(429), 10),
        (Fault(503, {"Retry-After": "20"}), 20),
        (Fault(429, {"Retry-After": "0"}), 1),
        (Fault(429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), 1),
        (Fault(429, {"Retry-After-Ms": "20"}), 1),
        (Fault(429, body='{"detail": "Please try again in 20ms"}'), 1),
        (Fault(429, body='{"detail": "Please try again in 1m12s"}'), 72),
        (Fault(429, {"X-RateLimit-Reset-Requests": "6m0s"}), 360),
    ],
)
async def test_a_requested_wait_is_passed_on(hosted: HostedSetup, fault: Fault, seconds: float) -> None:
    hosted.server.fail("order", fault)

    busy = await outcome(hosted.make().submit(hosted.order()))

    assert isinstance(busy, ProviderBusy)
    assert busy.retry_after_seconds == seconds
    assert hosted.server.asked["order"] == 1


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault(402, body='{"detail": "You have insufficient credit to run this model."}'), "provider_account_empty"),
        (Fault(403, body='{"detail": "Your spend limit is reached."}'), "provider_account_empty"),
        (Fault(403, body='{"detail": "User is locked. Reason: Exhausted balance. Top up."}'), "provider_account_empty"),
        (Fault(403, body='{"detail": "User is locked. Reason: TOP_UP."}'), "provider_account_empty"),
        (Fault(403, body='{"detail": "User is locked. Reason: Admin lock."}'), "provider_key_refused"),
        (Fault(403, body='{"detail": "Forbidden"}'), "provider_key_refused"),
        (Fault(401), "provider_key_refused"),
    ],
)
async def test_account_problems_make_items_wait(hosted: HostedSetup, fault: Fault, code: str) -> None:
    for options, seconds in ({}, 300), ({"account_wait_seconds": 120}, 120):
        hosted.server.fail("order", fault)

        busy = await outcome(hosted.make(**options).submit(hosted.order()))

        assert isinstance(busy, ProviderBusy)
        assert (busy.code, busy.retry_after_seconds) == (code, seconds)


@pytest.mark.parametrize(
    ("status", "detail", "code", "seconds"),
    [
        (403, "You do not have access to this model.", "model_not_allowed", 300),
        (403, "{model} is a gated model: accept the license first.", "model_not_allowed", 300),
        (429, "Rate limit reached for {model}. Please try again in 1m12s.", "model_busy", 72),
        (429, "Too many requests for {model}", "model_busy", 10),
    ],
)
async def test_a_refusal_of_one_model_makes_only_that_model_wait(
    hosted: HostedSetup, status: int, detail: str, code: str, seconds: float
) -> None:
    hosted.server.fail("order", Fault(status, body=json.dumps({"detail": detail.format(model=hosted.model)})))

    refused = await outcome(hosted.make().submit(hosted.order()))

    assert isinstance(refused, ModelUnusable)
    assert (refused.code, refused.retry_after_seconds) == (code, seconds)
    assert (refused.order.over, refused.order.charged) == (True, False)
    assert hosted.model in str(refused)


async def test_a_wrong_key_is_never_shown(hosted: HostedSetup, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key = "another-id:another-secret"
    provider = hosted.make(key)

    refused = await outcome(provider.submit(hosted.order()))

    shown = "".join(traceback.format_exception(refused)) + repr(refused) + repr(vars(provider)) + caplog.text
    assert refused.code == "provider_key_refused"
    assert key not in shown


async def test_an_unreachable_provider_charges_nothing(hosted: HostedSetup) -> None:
    async with FaultyServer() as gone:
        address = gone.url
    failed = await outcome(hosted.make(address=address).submit(hosted.order()))

    assert isinstance(failed, ProviderUnavailable)
    assert (failed.code, failed.order.charged) == ("provider_unreachable", False)


# Waiting.


@pytest.mark.parametrize(
    "fault",
    [
        Fault(500),
        Fault(502, body="<html>"),
        NEVER_ARRIVED,
        Fault(way="truncate"),
        Fault(way="endless"),
        GARBAGE,
        Fault(200, body='{"status": "odd"}'),
        Fault(way="hang"),
    ],
)
async def test_failed_status_requests_do_not_end_the_job(hosted: HostedSetup, fault: Fault) -> None:
    provider, request = hosted.make(timeout_seconds=1), hosted.order()
    hosted.server.fail("look", fault, fault)

    assert isinstance(await provider.wait(await provider.submit(request), request), RemoteImage)
    assert len(hosted.server.jobs) == 1


@pytest.mark.parametrize(("estimated_seconds", "first"), [(None, 0.5), (10, 1)])
async def test_pauses_between_status_requests_grow_to_a_limit(
    hosted: HostedSetup, estimated_seconds: float | None, first: float
) -> None:
    hosted.end_after(looks=12)
    provider, request = hosted.make(), hosted.order(estimated_seconds=estimated_seconds)

    await provider.wait(await provider.submit(request), request)

    assert hosted.pauses.taken == sorted(hosted.pauses.taken)
    assert (hosted.pauses.taken[0], hosted.pauses.taken[-1]) == (first, 5)
    assert len(hosted.pauses.taken) == 11


async def test_a_short_requested_wait_is_waited_out(hosted: HostedSetup) -> None:
    hosted.server.fail("look", Fault(429, {"Retry-After": "17"}))
    provider, request = hosted.make(), hosted.order()

    await provider.wait(await provider.submit(request), request)

    assert hosted.pauses.taken[0] == 17


@pytest.mark.parametrize("job_id", [None, "../account", "", "fal-ai/flux/requests/../x"])
async def test_an_unknown_job_has_an_unknown_outcome(hosted: HostedSetup, job_id: str | None) -> None:
    gone = hosted.unknown_job if job_id is None else job_id

    unknown = await outcome(hosted.make().wait(gone, hosted.order()))

    assert isinstance(unknown, OutcomeUnknown)
    assert unknown.code == "job_gone"


async def test_an_endless_job_is_awaited_until_the_caller_gives_up(hosted: HostedSetup) -> None:
    hosted.end_after(looks=10**9)
    provider, request = hosted.make(), hosted.order()
    job_id = await provider.submit(request)

    waiting = asyncio.create_task(provider.wait(job_id, request))
    async with asyncio.timeout(20):
        await hosted.pauses.after(20).wait()
    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert [job.status for job in hosted.server.jobs.values()] in (["processing"], ["IN_PROGRESS"])


# Settling.


async def test_a_running_job_is_not_settled(hosted: HostedSetup) -> None:
    provider, request = hosted.make(), hosted.order()

    settlement = await provider.settle(await provider.submit(request), request)

    assert (settlement.order.over, settlement.order.charged) == (False, None)


async def test_a_forgotten_job_is_settled_with_an_unknown_charge(hosted: HostedSetup) -> None:
    settlement = await hosted.make().settle(hosted.unknown_job, hosted.order())

    assert (settlement.order.over, settlement.order.charged) == (True, None)
