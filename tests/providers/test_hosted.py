"""What Replicate and fal have in common, each against a server on this machine that speaks its API."""

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
class Shop:
    """A provider's server, and what is called differently there."""

    server: ReplicateServer | FalServer
    pauses: Pauses
    model: str
    unknown_job: str
    make: Callable[..., AccountableProvider]

    def order(self, **other: Any) -> ImageRequest:
        fields: dict[str, Any] = {"model": self.model, **other}
        return order(**fields)

    def dawdle(self, looks: int) -> None:
        """A job for the usual prompt ends after so many looks."""
        if isinstance(self.server, FalServer):
            self.server.fates["a red fox"] = fal_server.Fate(looks=looks)
        else:
            self.server.fates["a red fox"] = replicate_server.Fate(looks=looks)


@pytest.fixture(params=["replicate", "fal"])
async def shop(request: pytest.FixtureRequest) -> AsyncGenerator[Shop]:
    async with AsyncExitStack() as stack:
        open_shop = _replicate if request.param == "replicate" else _fal
        yield await open_shop(stack)


async def _replicate(stack: AsyncExitStack) -> Shop:
    server, pauses = await stack.enter_async_context(ReplicateServer()), Pauses()

    def make(key: str = replicate_server.TOKEN, address: str = server.url, **options: Any) -> AccountableProvider:
        settings: dict[str, Any] = {"timeout_seconds": 5, "sleep": pauses, "clock": pauses.clock, **options}
        provider = ReplicateProvider(api_token=SecretStr(key), base_url=f"{address}/v1", **settings)
        stack.push_async_callback(provider.aclose)
        return provider

    return Shop(server, pauses, "black-forest-labs/flux-schnell", "unknown", make)


async def _fal(stack: AsyncExitStack) -> Shop:
    server, pauses = await stack.enter_async_context(FalServer()), Pauses()

    def make(key: str = fal_server.KEY, address: str = server.url, **options: Any) -> AccountableProvider:
        settings: dict[str, Any] = {"timeout_seconds": 5, "sleep": pauses, **options}
        provider = FalProvider(key=SecretStr(key), base_url=address, **settings)
        stack.push_async_callback(provider.aclose)
        return provider

    return Shop(server, pauses, "fal-ai/flux/dev", "fal-ai/flux/requests/unknown", make)


# Ordering.


@pytest.mark.parametrize("model", [None, "", "flux", "../../account", "someone/unknown"])
async def test_an_unknown_model_is_refused(shop: Shop, model: str | None) -> None:
    refused = await outcome(shop.make().submit(shop.order(model=model)))

    assert isinstance(refused, ProviderRejected)
    assert refused.code == "model_not_found"
    assert shop.server.jobs == {}


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
async def test_a_provider_that_asks_to_wait_is_left_alone_for_so_long(shop: Shop, fault: Fault, seconds: float) -> None:
    shop.server.fail("buy", fault)

    busy = await outcome(shop.make().submit(shop.order()))

    assert isinstance(busy, ProviderBusy)
    assert busy.retry_after_seconds == seconds
    assert shop.server.asked["buy"] == 1


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
async def test_trouble_with_the_account_makes_items_wait_and_fails_none(shop: Shop, fault: Fault, code: str) -> None:
    for options, seconds in ({}, 300), ({"account_wait_seconds": 120}, 120):
        shop.server.fail("buy", fault)

        busy = await outcome(shop.make(**options).submit(shop.order()))

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
async def test_what_is_said_of_one_model_makes_that_model_wait_and_no_other(
    shop: Shop, status: int, detail: str, code: str, seconds: float
) -> None:
    shop.server.fail("buy", Fault(status, body=json.dumps({"detail": detail.format(model=shop.model)})))

    refused = await outcome(shop.make().submit(shop.order()))

    assert isinstance(refused, ModelUnusable)
    assert (refused.code, refused.retry_after_seconds) == (code, seconds)
    assert (refused.is_job_over, refused.is_charged) == (True, False)
    assert shop.model in str(refused)


async def test_a_wrong_key_is_never_shown(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key = "another-id:another-secret"
    provider = shop.make(key)

    refused = await outcome(provider.submit(shop.order()))

    shown = "".join(traceback.format_exception(refused)) + repr(refused) + repr(vars(provider)) + caplog.text
    assert refused.code == "provider_key_refused"
    assert key not in shown


async def test_a_provider_that_cannot_be_reached_has_sold_nothing(shop: Shop) -> None:
    async with FaultyServer() as gone:
        address = gone.url
    failed = await outcome(shop.make(address=address).submit(shop.order()))

    assert isinstance(failed, ProviderUnavailable)
    assert (failed.code, failed.is_charged) == ("provider_unreachable", False)


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
async def test_faults_while_waiting_say_nothing_about_the_job(shop: Shop, fault: Fault) -> None:
    provider, request = shop.make(timeout_seconds=1), shop.order()
    shop.server.fail("look", fault, fault)

    assert isinstance(await provider.wait(await provider.submit(request), request), RemoteImage)
    assert len(shop.server.jobs) == 1


@pytest.mark.parametrize(("estimated_seconds", "first"), [(None, 0.5), (10, 1)])
async def test_pauses_between_looks_grow_up_to_a_limit(
    shop: Shop, estimated_seconds: float | None, first: float
) -> None:
    shop.dawdle(looks=12)
    provider, request = shop.make(), shop.order(estimated_seconds=estimated_seconds)

    await provider.wait(await provider.submit(request), request)

    assert shop.pauses.taken == sorted(shop.pauses.taken)
    assert (shop.pauses.taken[0], shop.pauses.taken[-1]) == (first, 5)
    assert len(shop.pauses.taken) == 11


async def test_a_short_wait_is_sat_out_while_waiting(shop: Shop) -> None:
    shop.server.fail("look", Fault(429, {"Retry-After": "17"}))
    provider, request = shop.make(), shop.order()

    await provider.wait(await provider.submit(request), request)

    assert shop.pauses.taken[0] == 17


@pytest.mark.parametrize("job_id", [None, "../account", "", "fal-ai/flux/requests/../x"])
async def test_a_job_that_is_unknown_is_nobodys_to_buy_again(shop: Shop, job_id: str | None) -> None:
    gone = shop.unknown_job if job_id is None else job_id

    unknown = await outcome(shop.make().wait(gone, shop.order()))

    assert isinstance(unknown, OutcomeUnknown)
    assert unknown.code == "job_gone"


async def test_a_job_that_never_ends_is_waited_for_until_the_caller_gives_up(shop: Shop) -> None:
    shop.dawdle(looks=10**9)
    provider, request = shop.make(), shop.order()
    job_id = await provider.submit(request)

    waiting = asyncio.create_task(provider.wait(job_id, request))
    async with asyncio.timeout(20):
        await shop.pauses.after(20).wait()
    waiting.cancel()

    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert [job.status for job in shop.server.jobs.values()] in (["processing"], ["IN_PROGRESS"])


# Settling.


async def test_a_job_that_runs_is_not_settled(shop: Shop) -> None:
    provider, request = shop.make(), shop.order()

    settlement = await provider.settle(await provider.submit(request), request)

    assert (settlement.is_over, settlement.is_charged) == (False, None)


async def test_a_job_that_is_forgotten_is_settled_without_a_word_of_its_charge(shop: Shop) -> None:
    settlement = await shop.make().settle(shop.unknown_job, shop.order())

    assert (settlement.is_over, settlement.is_charged) == (True, None)
