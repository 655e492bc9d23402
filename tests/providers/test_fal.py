"""fal, against a fake server of its queue API that counts its jobs."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from random import Random
from typing import Any, cast

import httpx
import pytest
from pydantic import SecretStr

from batchgen.errors import OutcomeUnknown, ProviderBusy, ProviderError, ProviderRejected, ProviderUnavailable
from batchgen.order_state import OrderState
from batchgen.providers.base import AccountableProvider, ImageRequest, RemoteImage
from batchgen.providers.fal import FalProvider
from tests.providers.fal_server import KEY, PNG, FalServer, JobPlan
from tests.providers.faulty_server import GARBAGE, LOST, NEVER_ARRIVED, Fault
from tests.providers.orders import Pauses, fetch, order, outcome
from tests.seeds import SEEDS

MakeProvider = Callable[..., FalProvider]


def refusal(kind: str, message: str = "It may not be.") -> dict[str, Any]:
    return {"detail": [{"loc": ["body", "prompt"], "msg": message, "type": kind, "input": "the whole prompt"}]}


@pytest.fixture
async def server() -> AsyncGenerator[FalServer]:
    async with FalServer() as started:
        yield started


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


@pytest.fixture
async def make(server: FalServer, pauses: Pauses) -> AsyncGenerator[MakeProvider]:
    made: list[FalProvider] = []

    def make(**options: Any) -> FalProvider:
        settings: dict[str, Any] = {"key": SecretStr(KEY), "base_url": server.url, "timeout_seconds": 5, **options}
        made.append(FalProvider(sleep=pauses, **settings))
        return made[-1]

    yield make
    for provider in made:
        await provider.aclose()


@pytest.fixture
def provider(make: MakeProvider) -> FalProvider:
    return make()


def flux(prompt: str = "a red fox", **other: Any) -> ImageRequest:
    return order(prompt, **cast("dict[str, Any]", {"model": "fal-ai/flux/dev", **other}))


# Ordering.


async def test_a_picture_is_ordered_awaited_and_found_at_its_address(server: FalServer, provider: FalProvider) -> None:
    request = flux()

    job_id = await provider.submit(request)
    picture = await provider.wait(job_id, request)

    [job] = server.jobs.values()
    assert job_id == f"fal-ai/flux/requests/{job.id}"
    assert (job.model, job.input) == ("fal-ai/flux/dev", {"prompt": "a red fox", "seed": 7})
    assert isinstance(picture, RemoteImage)
    assert (picture.seed, picture.version, picture.headers) == (7, None, {})
    assert await fetch(picture.url) == (200, PNG)
    assert [entry["event"] for entry in server.log] == ["created", "charged"]


@pytest.mark.parametrize(
    "model", ["fal-ai/qwen-image", "fal-ai/flux/schnell", "fal-ai/bytedance/seedream/v4/text-to-image"]
)
async def test_a_models_path_is_left_out_of_status_requests(provider: FalProvider, model: str) -> None:
    request = order(model=model)

    assert (await provider.wait(await provider.submit(request), request)).seed == 7


async def test_request_addresses_come_from_the_answer(make: MakeProvider) -> None:
    async with FalServer(suffix="/response") as other:
        provider, request = make(base_url=f"{other.url}/"), flux()

        job_id = await provider.submit(request)

        assert job_id.endswith("/response")
        assert isinstance(await provider.wait(job_id, request), RemoteImage)
        await provider.cancel(job_id)


async def test_an_order_carries_its_start_timeout(server: FalServer, make: MakeProvider) -> None:
    await make(start_timeout_seconds=900).submit(flux())

    assert [job.start_timeout for job in server.jobs.values()] == ["900"]


@pytest.mark.parametrize("model", ["fal-ai/flux/../x", "fal-ai/flux?x=1"])
async def test_an_invalid_model_name_is_refused(server: FalServer, provider: FalProvider, model: str) -> None:
    refused = await outcome(provider.submit(order(model=model)))

    assert isinstance(refused, ProviderRejected)
    assert refused.code == "model_not_found"
    assert server.jobs == {}


@pytest.mark.parametrize(
    ("kind", "code"), [("content_policy_violation", "blocked_by_policy"), ("value_error", "invalid_input")]
)
async def test_an_order_can_be_refused_at_once(server: FalServer, provider: FalProvider, kind: str, code: str) -> None:
    server.fail("order", Fault(422, body=_json(refusal(kind, "The prompt is no good."))))

    refused = await outcome(provider.submit(flux()))

    assert isinstance(refused, ProviderRejected)
    assert (refused.code, refused.order.charged) == (code, False)
    assert "The prompt is no good." in str(refused)
    assert "the whole prompt" not in str(refused)


# Orders with a lost answer.


@pytest.mark.parametrize(
    "fault",
    [
        LOST,
        NEVER_ARRIVED,
        Fault(500, after_work=True),
        Fault(502, body="<html>bad gateway</html>"),
        Fault(way="truncate", after_work=True),
        Fault(way="endless", after_work=True),
        GARBAGE,
        Fault(200, body='{"request_id": "7"}', after_work=True),
        Fault(200, body='{"response_url": "https://queue.fal.run/../../account"}', after_work=True),
        Fault(200, body='{"response_url": ["https://queue.fal.run"]}', after_work=True),
    ],
)
async def test_an_order_with_a_lost_answer_stays_unknown_and_is_not_resent(
    server: FalServer, provider: FalProvider, fault: Fault
) -> None:
    server.fail("order", fault)

    unknown = await outcome(provider.submit(flux()))

    assert isinstance(unknown, OutcomeUnknown)
    assert unknown.order.charged is None
    assert server.asked["order"] == 1


async def test_a_timed_out_order_stays_unknown(server: FalServer, make: MakeProvider) -> None:
    server.fail("order", Fault(way="hang", after_work=True))

    assert isinstance(await outcome(make(timeout_seconds=1).submit(flux())), OutcomeUnknown)
    assert len(server.jobs) == 1


async def test_fal_cannot_look_up_an_order(provider: FalProvider) -> None:
    assert isinstance(await outcome(provider.find(flux())), OutcomeUnknown)


async def test_a_foreign_address_gets_no_key(server: FalServer, provider: FalProvider) -> None:
    async with FalServer() as other:
        place = "fal-ai/flux/requests/1234"
        server.fail("order", Fault(200, body=f'{{"response_url": "{other.url}/{place}"}}'))

        assert await provider.submit(flux()) == place
        await outcome(provider.wait(place, flux()))

        assert other.asked.total() == 0


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
        Fault(200, body="[]"),
        Fault(way="hang"),
    ],
)
async def test_failed_result_requests_do_not_end_the_job(server: FalServer, make: MakeProvider, fault: Fault) -> None:
    provider, request = make(timeout_seconds=1), flux()
    server.fail("result", fault, fault)

    assert isinstance(await provider.wait(await provider.submit(request), request), RemoteImage)
    assert len(server.jobs) == 1


async def test_a_gateways_error_is_checked_before_it_ends_a_job(server: FalServer, provider: FalProvider) -> None:
    request = flux()
    server.fail("result", *[Fault(500, body='{"detail": "Internal Server Error"}')] * 2)

    assert isinstance(await provider.wait(await provider.submit(request), request), RemoteImage)


@pytest.mark.parametrize("call", ["look", "result"])
async def test_a_locked_account_releases_the_item_with_its_job(
    server: FalServer, provider: FalProvider, call: str
) -> None:
    request = flux()
    job_id = await provider.submit(request)
    server.fail(call, Fault(403, body='{"detail": "User is locked. Reason: Exhausted balance."}'))

    assert isinstance(await outcome(provider.wait(job_id, request)), ProviderBusy)
    assert isinstance(await provider.wait(job_id, request), RemoteImage)
    assert len(server.jobs) == 1


POLICY = JobPlan(422, refusal("content_policy_violation", "The content was flagged by a content checker."))
BAD_INPUT = JobPlan(422, refusal("less_than_equal", "Input should be less than or equal to 50"))
DISCONNECTED = {"detail": "Runner disconnected", "error_type": "runner_disconnected"}
STARTUP = {"detail": "Request timed out", "error_type": "startup_timeout"}


@pytest.mark.parametrize(
    ("job_plan", "kind", "code", "charged"),
    [
        (POLICY, ProviderRejected, "blocked_by_policy", None),
        (BAD_INPUT, ProviderRejected, "invalid_input", None),
        (JobPlan(400, {"detail": "No."}), ProviderRejected, "invalid_input", None),
        (JobPlan(503, DISCONNECTED), ProviderUnavailable, "generation_failed", False),
        (JobPlan(503, DISCONNECTED, error_type="runner_disconnected"), ProviderUnavailable, "generation_failed", False),
        (
            JobPlan(504, STARTUP, {"X-Fal-Error-Type": "startup_timeout"}),
            ProviderUnavailable,
            "provider_timeout",
            False,
        ),
        (JobPlan(500, refusal("internal_server_error")), ProviderUnavailable, "generation_failed", False),
        (
            JobPlan(500, refusal("internal_server_error"), {"X-Fal-Retryable": "false"}),
            ProviderRejected,
            "generation_failed",
            False,
        ),
        (JobPlan(429, {"detail": "The model is busy."}), ProviderUnavailable, "generation_failed", None),
        (
            JobPlan(499, {"detail": "…", "error_type": "client_cancelled"}),
            ProviderUnavailable,
            "provider_cancelled",
            None,
        ),
        (JobPlan(200, {"images": []}), ProviderRejected, "no_output", True),
        (JobPlan(200, {"images": [{"url": 7}], "prompt": "https://a.test"}), ProviderRejected, "no_output", True),
        (
            JobPlan(200, {"images": [{"url": "https://a.test/black.png"}], "has_nsfw_concepts": [True]}),
            ProviderRejected,
            "blocked_by_policy",
            True,
        ),
    ],
)
async def test_a_job_without_a_picture_tells_its_error_and_charge(
    server: FalServer,
    provider: FalProvider,
    job_plan: JobPlan,
    kind: type[ProviderError],
    code: str,
    charged: bool | None,
) -> None:
    server.job_plans["a red fox"] = job_plan
    request = flux()
    job_id = await provider.submit(request)

    failed = await outcome(provider.wait(job_id, request))
    settlement = await provider.settle(job_id, request)

    assert type(failed) is kind
    assert (failed.code, failed.order.charged) == (code, charged)
    assert (settlement.order.over, settlement.order.charged, settlement.picture) == (True, charged, None)


async def test_a_single_image_object_is_accepted(server: FalServer, provider: FalProvider) -> None:
    server.job_plans["a red fox"] = JobPlan(200, {"image": {"url": "https://a.test/1.png"}, "seed": 4711})
    request = flux()

    assert await provider.wait(await provider.submit(request), request) == RemoteImage(
        "https://a.test/1.png", seed=4711, order=OrderState(True, running_seconds=3.25)
    )


async def test_a_removed_result_has_an_unknown_charge(server: FalServer, provider: FalProvider) -> None:
    request = flux()
    job_id = await provider.submit(request)
    picture = await provider.wait(job_id, request)
    next(iter(server.jobs.values())).is_removed = True

    failed = await outcome(provider.wait(job_id, request))
    settlement = await provider.settle(job_id, request)

    assert (failed.code, failed.order.charged) == ("output_expired", None)
    assert (settlement.order.over, settlement.order.charged) == (True, None)
    assert isinstance(picture, RemoteImage)
    assert (await fetch(picture.url))[0] == 404


# Settling and cancelling.


async def test_an_ended_job_is_settled_with_picture_and_time(provider: FalProvider) -> None:
    request = flux()
    job_id = await provider.submit(request)
    picture = await provider.wait(job_id, request)

    settlement = await provider.settle(job_id, request)

    assert (settlement.order.over, settlement.order.charged, settlement.picture) == (True, True, picture)
    assert settlement.order.running_seconds == 3.25


@pytest.mark.parametrize("fault", [Fault(502), NEVER_ARRIVED, GARBAGE])
@pytest.mark.parametrize("call", ["look", "result"])
async def test_an_unreadable_settlement_is_an_error(
    server: FalServer, provider: FalProvider, call: str, fault: Fault
) -> None:
    request = flux()
    job_id = await provider.submit(request)
    await provider.wait(job_id, request)
    server.fail(call, fault)

    assert isinstance(await outcome(provider.settle(job_id, request)), ProviderUnavailable)


async def test_cancelling_ends_the_job_at_the_provider(server: FalServer, provider: FalProvider) -> None:
    request = flux()
    job_id = await provider.submit(request)

    await provider.cancel(job_id)

    assert len(server.events("cancelled")) == 1
    assert (await outcome(provider.wait(job_id, request))).code == "provider_cancelled"


async def test_cancelling_an_ended_or_unknown_job_is_no_error(server: FalServer, provider: FalProvider) -> None:
    request = flux()
    job_id = await provider.submit(request)
    await provider.wait(job_id, request)

    await provider.cancel(job_id)
    await provider.cancel("fal-ai/flux/requests/unknown")

    assert server.events("cancelled") == []


# All faults together.


@pytest.mark.random_faults
@pytest.mark.parametrize("seed", SEEDS)
async def test_no_item_is_ordered_twice_under_random_faults(server: FalServer, make: MakeProvider, seed: int) -> None:
    random = Random(seed)
    faults = [
        None,
        LOST,
        NEVER_ARRIVED,
        GARBAGE,
        Fault(way="truncate"),
        Fault(500, body='{"detail": "Internal Server Error"}'),
        Fault(500, after_work=True),
        Fault(429, {"Retry-After": "1"}),
    ]
    weights = [70, 4, 4, 4, 4, 5, 4, 5]
    server.fail_by(lambda call: random.choices(faults, weights)[0])
    prompts = [f"picture {number}" for number in range(40)]
    for prompt in prompts:
        server.job_plans[prompt] = random.choices([JobPlan(), JobPlan(503, DISCONNECTED)], [85, 15])[0]

    ends = await asyncio.gather(*(run(make(), prompt) for prompt in prompts))

    ordered = Counter(str(entry["prompt"]) for entry in server.events("created"))
    assert {prompt: times for prompt, times in ordered.items() if times > 1} == {}
    assert set(ends) <= {"picture", "failed", "unknown"}
    assert "picture" in ends
    assert all(ordered[prompt] == 1 for prompt, end in zip(prompts, ends, strict=True) if end != "unknown")


async def run(provider: AccountableProvider, prompt: str) -> str:
    """Order like a worker, but leave the failed jobs at the provider; never order again after an unknown outcome."""
    request, job_id = flux(prompt, seed=int(prompt.split()[1])), None
    for _ in range(40):
        try:
            job_id = job_id or await provider.submit(request)
            await provider.wait(job_id, request)
            return "picture"
        except OutcomeUnknown:
            return "unknown"
        except ProviderBusy:
            continue
        except ProviderUnavailable as failed:
            if failed.code == "generation_failed":
                return "failed"
    raise AssertionError(f"{prompt} did not come to an end")


def _json(body: Any) -> str:
    return httpx.Response(200, json=body).text
