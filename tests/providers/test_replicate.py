"""Replicate, against a fake server of its predictions API that counts its jobs."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from random import Random
from typing import Any, cast

import pytest
from pydantic import SecretStr

from batchgen.errors import OutcomeUnknown, ProviderBusy, ProviderError, ProviderRejected, ProviderUnavailable
from batchgen.order_state import OrderState
from batchgen.providers.base import AccountableProvider, ImageRequest, RawImage, RemoteImage
from batchgen.providers.replicate import ReplicateProvider
from tests.providers.faulty_server import GARBAGE, LOST, NEVER_ARRIVED, Fault
from tests.providers.orders import Pauses, fetch, order, outcome
from tests.providers.replicate_server import PNG, TOKEN, JobPlan, ReplicateServer
from tests.seeds import SEEDS

FLUX = "black-forest-labs/flux-schnell"
TRUNCATED = Fault(way="truncate")
ENDLESS = Fault(way="endless")
HANGS = Fault(way="hang")


@pytest.fixture
async def server() -> AsyncGenerator[ReplicateServer]:
    async with ReplicateServer() as started:
        yield started


@pytest.fixture
def pauses() -> Pauses:
    return Pauses()


MakeProvider = Callable[..., ReplicateProvider]


@pytest.fixture
async def make(server: ReplicateServer, pauses: Pauses) -> AsyncGenerator[MakeProvider]:
    made: list[ReplicateProvider] = []

    def make(**options: Any) -> ReplicateProvider:
        settings: dict[str, Any] = {
            "api_token": SecretStr(TOKEN),
            "base_url": f"{server.url}/v1",
            "timeout_seconds": 5,
            **options,
        }
        made.append(ReplicateProvider(sleep=pauses, clock=pauses.clock, **settings))
        return made[-1]

    yield make
    for provider in made:
        await provider.aclose()


@pytest.fixture
def provider(make: MakeProvider) -> ReplicateProvider:
    return make()


def flux(prompt: str = "a red fox", **other: Any) -> ImageRequest:
    return order(prompt, **cast("dict[str, Any]", {"model": FLUX, **other}))


# Ordering.


async def test_a_picture_is_ordered_awaited_and_found_at_its_address(
    server: ReplicateServer, provider: ReplicateProvider
) -> None:
    request = flux()

    job_id = await provider.submit(request)
    picture = await provider.wait(job_id, request)

    assert isinstance(picture, RemoteImage)
    assert await fetch(picture.url) == (200, PNG)
    assert (picture.seed, picture.version, picture.headers) == (7, None, {})
    assert (picture.order.queued_seconds, picture.order.running_seconds) == (1.5, 2.75)
    assert [entry["event"] for entry in server.log] == ["created", "succeeded", "charged"]
    assert server.jobs[job_id].input == {"prompt": "a red fox", "seed": 7}


async def test_every_order_carries_its_own_deadline(server: ReplicateServer, make: MakeProvider) -> None:
    job_id = await make(deadline_seconds=900).submit(flux())

    assert server.jobs[job_id].cancel_after == "900s"


@pytest.mark.parametrize("version", ["7762fd07cf82", "stability-ai/sdxl:7762fd07cf82"])
async def test_a_model_with_a_version_runs_as_that_version(
    server: ReplicateServer, provider: ReplicateProvider, version: str
) -> None:
    request = order(model="stability-ai/sdxl", model_version=version)

    picture = await provider.wait(await provider.submit(request), request)

    assert picture.version == "7762fd07cf82"


async def test_a_version_may_be_part_of_the_model_name(provider: ReplicateProvider) -> None:
    request = order(model="stability-ai/sdxl:7762fd07cf82", model_version="")

    picture = await provider.wait(await provider.submit(request), request)

    assert picture.version == "7762fd07cf82"


@pytest.mark.parametrize(
    "version", ["someone/costly-video:7762fd07cf82", "7762fd07cf82/../..", "nothing-like-it", "0abc"]
)
async def test_a_version_cannot_name_another_model(
    server: ReplicateServer, provider: ReplicateProvider, version: str
) -> None:
    refused = await outcome(provider.submit(order(model="stability-ai/sdxl", model_version=version)))

    assert isinstance(refused, ProviderRejected)
    assert server.jobs == {}


@pytest.mark.parametrize("model", ["a/b/c", "someone/else's"])
async def test_an_invalid_model_name_is_refused(
    server: ReplicateServer, provider: ReplicateProvider, model: str
) -> None:
    refused = await outcome(provider.submit(order(model=model)))

    assert isinstance(refused, ProviderRejected)
    assert refused.code == "model_not_found"
    assert server.jobs == {}


async def test_invalid_input_is_refused_with_the_providers_message(provider: ReplicateProvider) -> None:
    refused = await outcome(provider.submit(flux(inputs={"prompt": "a red fox", "width": 9000})))

    assert isinstance(refused, ProviderRejected)
    assert (refused.code, refused.order.charged) == ("invalid_input", False)
    assert "Must be less than or equal to 1440" in str(refused)


# Errors that concern the account or the moment, not the item.


async def test_a_requested_wait_may_be_a_date(server: ReplicateServer, provider: ReplicateProvider) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
    server.fail("order", Fault(429, {"Retry-After": later}))

    busy = await outcome(provider.submit(flux()))

    assert isinstance(busy, ProviderBusy)
    assert busy.retry_after_seconds == pytest.approx(40, abs=3)


async def test_a_key_repeated_by_the_provider_is_redacted(server: ReplicateServer, provider: ReplicateProvider) -> None:
    server.fail("order", Fault(422, body=f'{{"detail": "The token {TOKEN} may not\\u001b[31m do this."}}'))

    refused = await outcome(provider.submit(flux()))

    assert TOKEN not in str(refused)
    assert "\x1b" not in str(refused)


async def test_a_redirect_is_not_followed(server: ReplicateServer, provider: ReplicateProvider) -> None:
    async with ReplicateServer() as other:
        server.fail("order", Fault(307, {"Location": f"{other.url}/v1/models/{FLUX}/predictions"}))

        failed = await outcome(provider.submit(flux()))

        assert isinstance(failed, ProviderUnavailable)
        assert other.jobs == {}


# Orders with a lost answer.


@pytest.mark.parametrize(
    "fault",
    [
        LOST,
        Fault(500, after_work=True),
        Fault(502, body="<html>bad gateway</html>", after_work=True),
        Fault(503, after_work=True),
        Fault(way="truncate", after_work=True),
        Fault(way="endless", after_work=True),
        Fault(200, body="<html>It works!</html>", after_work=True),
        Fault(201, body='{"id": 7}', after_work=True),
        Fault(201, body='{"id": "../../account"}', after_work=True),
        Fault(201, body="[" * 100_000, after_work=True),
    ],
)
async def test_an_order_with_a_lost_answer_is_found_and_not_resent(
    server: ReplicateServer, provider: ReplicateProvider, fault: Fault
) -> None:
    request = flux()
    server.fail("order", fault)

    job_id = await provider.submit(request)

    assert list(server.jobs) == [job_id]
    assert server.asked["order"] == 1
    assert isinstance(await provider.wait(job_id, request), RemoteImage)


async def test_a_timed_out_order_is_found(server: ReplicateServer, make: MakeProvider) -> None:
    server.fail("order", Fault(way="hang", after_work=True))

    job_id = await make(timeout_seconds=1).submit(flux())

    assert list(server.jobs) == [job_id]


@pytest.mark.parametrize("fault", [NEVER_ARRIVED, Fault(500), GARBAGE])
async def test_an_order_without_a_job_can_be_sent_again(
    server: ReplicateServer, provider: ReplicateProvider, pauses: Pauses, fault: Fault
) -> None:
    server.fail("order", fault)

    failed = await outcome(provider.submit(flux()))

    assert isinstance(failed, ProviderUnavailable)
    assert (failed.code, failed.order.charged) == ("order_lost", False)
    assert server.asked["list"] == 2
    assert pauses.taken == [5]


async def test_a_late_lost_order_is_found_by_the_second_list(server: ReplicateServer, make: MakeProvider) -> None:
    request = flux()

    async def show_up(_: float) -> None:
        server.add_job(inputs=dict(request.inputs))

    provider = make()
    provider._sleep = show_up  # pyright: ignore[reportPrivateUsage]
    server.fail("order", NEVER_ARRIVED)

    assert await provider.submit(request) in server.jobs


async def test_a_lost_order_is_unknown_when_jobs_cannot_be_listed(
    server: ReplicateServer, provider: ReplicateProvider
) -> None:
    server.fail("order", LOST)
    server.fail("list", *[Fault(502)] * 10)

    assert isinstance(await outcome(provider.submit(flux())), OutcomeUnknown)
    assert len(server.jobs) == 1


async def test_listing_jobs_survives_passing_errors(
    server: ReplicateServer, provider: ReplicateProvider, pauses: Pauses
) -> None:
    server.fail("order", LOST)
    server.fail("list", Fault(502), NEVER_ARRIVED, Fault(429, {"Retry-After": "9"}))

    assert await provider.submit(flux()) in server.jobs
    assert pauses.taken == [0.5, 0.75, 9]


async def test_equal_lost_orders_of_two_items_find_two_jobs(
    server: ReplicateServer, provider: ReplicateProvider
) -> None:
    server.fail("order", LOST, LOST)

    jobs = await asyncio.gather(provider.submit(flux()), provider.submit(flux()))

    assert sorted(jobs) == sorted(server.jobs)


async def test_a_lost_order_is_not_matched_to_an_answered_one(
    server: ReplicateServer, provider: ReplicateProvider
) -> None:
    await provider.submit(flux())
    server.fail("order", NEVER_ARRIVED)

    failed = await outcome(provider.submit(flux()))

    assert failed.code == "order_lost"
    assert len(server.jobs) == 1


@pytest.mark.parametrize(
    "other",
    [
        {"prompt": "a blue bird"},
        {"model": "google/imagen-4-fast"},
        {"inputs": {"prompt": "a red fox", "seed": 8}},
        {"age_seconds": 600},
        {"source": "web"},
    ],
)
async def test_a_lost_order_is_not_matched_to_other_jobs(
    server: ReplicateServer, provider: ReplicateProvider, other: dict[str, Any]
) -> None:
    server.add_job(**other)
    server.fail("order", NEVER_ARRIVED)

    assert (await outcome(provider.submit(flux()))).code == "order_lost"


@pytest.mark.parametrize("skew", [timedelta(hours=-2), timedelta(hours=2)])
async def test_a_lost_order_is_found_despite_a_wrong_clock(
    server: ReplicateServer, provider: ReplicateProvider, skew: timedelta
) -> None:
    server.skew = skew
    server.add_job(age_seconds=600)
    server.fail("order", LOST)

    job_id = await provider.submit(flux())

    assert job_id == max(server.jobs)


async def test_a_lost_order_is_found_on_a_later_page(server: ReplicateServer, provider: ReplicateProvider) -> None:
    server.page_size = 3
    server.add_job("a red fox", age_seconds=5)
    for number in range(10):
        server.add_job(f"bird {number}")

    server.fail("order", NEVER_ARRIVED)
    job_id = await provider.submit(flux())

    assert job_id == min(server.jobs)
    assert server.asked["list"] == 4


async def test_a_lost_order_without_a_seed_stays_unknown(server: ReplicateServer, provider: ReplicateProvider) -> None:
    request = order(model="google/imagen-4-fast", inputs={"prompt": "a red fox"})
    server.fail("order", LOST)

    assert isinstance(await outcome(provider.submit(request)), OutcomeUnknown)


# Finding an order that another process sent.


async def test_an_order_of_another_process_is_found(server: ReplicateServer, make: MakeProvider) -> None:
    request = flux(ordered_at=0.0)
    ordered = await make().submit(request)
    server.add_job("a blue bird")

    assert await make().find(request) == ordered
    assert server.asked["order"] == 1


async def test_a_dead_workers_order_may_arrive_late(
    server: ReplicateServer, make: MakeProvider, pauses: Pauses
) -> None:
    request = flux(ordered_at=-4.0)

    async def arrives_late(seconds: float) -> None:
        await pauses(seconds)
        server.add_job(inputs=dict(request.inputs))

    provider = make(timeout_seconds=20, settle_seconds=3)
    provider._sleep = arrives_late  # pyright: ignore[reportPrivateUsage]

    assert await provider.find(request) in server.jobs
    assert pauses.taken == [19]


async def test_an_order_too_old_to_arrive_counts_as_never_sent(
    server: ReplicateServer, make: MakeProvider, pauses: Pauses
) -> None:
    provider = make(timeout_seconds=20, settle_seconds=3)

    assert await provider.find(flux(ordered_at=-4.0)) is None
    assert (pauses.taken, server.asked["list"]) == ([19], 2)
    assert await provider.find(flux(ordered_at=-4.0)) is None  # by now it is old enough to be accepted at once
    assert (pauses.taken, server.asked["list"]) == ([19], 3)


async def test_equal_orders_of_another_process_find_one_job_each(server: ReplicateServer, make: MakeProvider) -> None:
    one, other = flux(ordered_at=0.0), flux(ordered_at=0.0)
    server.add_job(inputs=dict(one.inputs), age_seconds=3)
    server.add_job(inputs=dict(one.inputs), age_seconds=2)
    provider = make()

    jobs = [await provider.find(one), await provider.find(other), await provider.find(one)]

    assert sorted(set(jobs), key=str) == sorted(server.jobs)
    assert jobs[0] == jobs[2]


async def test_an_order_with_removed_inputs_stays_unknown(server: ReplicateServer, make: MakeProvider) -> None:
    request = flux(ordered_at=0.0)
    server.jobs[await make().submit(request)].is_removed = True

    assert isinstance(await outcome(make().find(request)), OutcomeUnknown)


@pytest.mark.parametrize("ordered_at", [None, -3601.0])
async def test_an_old_order_of_another_process_stays_unknown(
    server: ReplicateServer, provider: ReplicateProvider, ordered_at: float | None
) -> None:
    request = flux(ordered_at=ordered_at)
    server.add_job(inputs=dict(request.inputs))  # by another client, since then

    assert isinstance(await outcome(provider.find(request)), OutcomeUnknown)


async def test_the_newest_of_several_jobs_of_an_order_is_found(server: ReplicateServer, make: MakeProvider) -> None:
    request = flux(ordered_at=0.0)
    server.add_job(inputs=dict(request.inputs), age_seconds=20)
    newest = await make().submit(request)

    assert await make().find(request) == newest


# Waiting.


@pytest.mark.parametrize("shape", ["a list", "a string", "an object"])
async def test_an_output_may_be_a_list_a_text_or_an_object(
    server: ReplicateServer, provider: ReplicateProvider, shape: str
) -> None:
    server.job_plans["a red fox"] = JobPlan(output=shape)
    request = flux()

    picture = await provider.wait(job_id := await provider.submit(request), request)

    assert isinstance(picture, RemoteImage)
    assert picture.url == f"{server.url}/files/{job_id}.png"


async def test_a_picture_may_be_in_the_answer(server: ReplicateServer, provider: ReplicateProvider) -> None:
    server.job_plans["a red fox"] = JobPlan(output=["data:image/png;base64,iVBORw0KGgo="])
    request = flux()

    picture = await provider.wait(await provider.submit(request), request)

    assert picture == RawImage(
        b"\x89PNG\r\n\x1a\n", seed=7, order=OrderState(True, queued_seconds=1.5, running_seconds=2.75)
    )


async def test_addresses_in_other_output_texts_are_ignored(
    server: ReplicateServer, provider: ReplicateProvider
) -> None:
    server.job_plans["a red fox"] = JobPlan(
        output={"prompt": "https://example.test/a.png", "text": ["http://example.test"]}
    )
    request = flux()

    failed = await outcome(provider.wait(await provider.submit(request), request))

    assert (failed.code, failed.order.charged) == ("no_output", True)


@pytest.mark.parametrize(("logs", "seed"), [("Using seed: 4711\n100%|####|", 4711), ("100%|####|", 7), ("", 7)])
async def test_the_seed_is_read_from_the_models_log(
    server: ReplicateServer, provider: ReplicateProvider, logs: str, seed: int
) -> None:
    server.job_plans["a red fox"] = JobPlan(logs=logs)
    request = flux()

    assert (await provider.wait(await provider.submit(request), request)).seed == seed


async def test_an_endless_answer_is_cut_off(server: ReplicateServer, provider: ReplicateProvider) -> None:
    server.fail("look", ENDLESS)

    failed = await outcome(provider.settle("1", flux()))

    assert isinstance(failed, ProviderUnavailable)
    assert failed.code == "provider_garbage"


@pytest.mark.parametrize("fault", [Fault(429, {"Retry-After": "600"}), Fault(401)])
async def test_a_long_wait_releases_the_item_with_its_job(
    server: ReplicateServer, provider: ReplicateProvider, fault: Fault
) -> None:
    request = flux()
    job_id = await provider.submit(request)
    server.fail("look", fault)

    assert isinstance(await outcome(provider.wait(job_id, request)), ProviderBusy)
    assert isinstance(await provider.wait(job_id, request), RemoteImage)
    assert len(server.jobs) == 1


async def test_a_job_not_listed_yet_is_asked_for_again(server: ReplicateServer, provider: ReplicateProvider) -> None:
    request = flux()
    server.fail("look", *[Fault(404)] * 4)

    assert isinstance(await provider.wait(await provider.submit(request), request), RemoteImage)


@pytest.mark.parametrize(
    ("job_plan", "kind", "code", "charged"),
    [
        (
            JobPlan("failed", "NSFW content detected. Try running it again."),
            ProviderRejected,
            "blocked_by_policy",
            None,
        ),
        (
            JobPlan("failed", "The input or output was flagged as sensitive. (E005)"),
            ProviderRejected,
            "blocked_by_policy",
            None,
        ),
        (JobPlan("failed", "Invalid input: seed is too large"), ProviderRejected, "invalid_input", None),
        (JobPlan("failed", "CUDA out of memory"), ProviderUnavailable, "generation_failed", None),
        (JobPlan("failed", None), ProviderUnavailable, "generation_failed", None),
        (JobPlan("canceled"), ProviderUnavailable, "provider_cancelled", True),
        (JobPlan("aborted"), ProviderUnavailable, "provider_timeout", False),
        (JobPlan(output=None), ProviderRejected, "no_output", True),
        (JobPlan(output=[], logs="NSFW content detected in image 0"), ProviderRejected, "blocked_by_policy", True),
        (JobPlan(output=["data:image/png;base64,%%%"]), ProviderRejected, "provider_garbage", True),
    ],
)
async def test_a_job_without_a_picture_tells_its_error_and_charge(
    server: ReplicateServer,
    provider: ReplicateProvider,
    job_plan: JobPlan,
    kind: type[ProviderError],
    code: str,
    charged: bool | None,
) -> None:
    server.job_plans["a red fox"] = job_plan
    request = flux()

    failed = await outcome(provider.wait(await provider.submit(request), request))

    assert type(failed) is kind
    assert (failed.code, failed.order.charged) == (code, charged)


async def test_a_picture_address_expires(server: ReplicateServer, provider: ReplicateProvider) -> None:
    request = flux()
    picture = await provider.wait(job_id := await provider.submit(request), request)
    server.jobs[job_id].is_removed = True

    assert isinstance(picture, RemoteImage)
    assert (await fetch(picture.url))[0] == 404


async def test_a_removed_picture_is_charged(server: ReplicateServer, provider: ReplicateProvider) -> None:
    request = flux()
    job_id = await provider.submit(request)
    await provider.wait(job_id, request)
    server.jobs[job_id].is_removed = True

    failed = await outcome(provider.wait(job_id, request))

    assert (failed.code, failed.order.charged) == ("output_expired", True)


# Settling and cancelling.


async def test_an_ended_job_is_settled_with_picture_and_times(
    server: ReplicateServer, provider: ReplicateProvider
) -> None:
    request = flux()
    job_id = await provider.submit(request)
    picture = await provider.wait(job_id, request)

    settlement = await provider.settle(job_id, request)

    assert (settlement.order.over, settlement.order.charged, settlement.picture) == (True, True, picture)
    assert (settlement.order.queued_seconds, settlement.order.running_seconds) == (1.5, 2.75)


@pytest.mark.parametrize(("status", "charged"), [("failed", None), ("canceled", True), ("aborted", False)])
async def test_a_failed_job_is_settled_with_its_charge(
    server: ReplicateServer, provider: ReplicateProvider, status: str, charged: bool | None
) -> None:
    server.job_plans["a red fox"] = JobPlan(status, looks=1)
    request = flux()

    settlement = await provider.settle(await provider.submit(request), request)

    assert (settlement.order.over, settlement.order.charged, settlement.picture) == (True, charged, None)


async def test_settling_sends_one_request(server: ReplicateServer, provider: ReplicateProvider) -> None:
    request = flux()
    job_id = await provider.submit(request)
    server.fail("look", Fault(500))

    assert isinstance(await outcome(provider.settle(job_id, request)), ProviderUnavailable)
    assert server.asked["look"] == 1


async def test_cancelling_ends_the_job_at_the_provider(server: ReplicateServer, provider: ReplicateProvider) -> None:
    job_id = await provider.submit(flux())

    await provider.cancel(job_id)

    assert server.jobs[job_id].status == "canceled"


async def test_cancelling_an_ended_or_unknown_job_is_no_error(
    server: ReplicateServer, provider: ReplicateProvider
) -> None:
    request = flux()
    job_id = await provider.submit(request)
    await provider.wait(job_id, request)

    await provider.cancel(job_id)
    await provider.cancel("unknown")

    assert server.jobs[job_id].status == "succeeded"


# All faults together.


@pytest.mark.random_faults
@pytest.mark.parametrize("seed", SEEDS)
async def test_no_item_is_ordered_twice_under_random_faults(
    server: ReplicateServer, make: MakeProvider, seed: int
) -> None:
    random = Random(seed)
    faults = [
        None,
        LOST,
        NEVER_ARRIVED,
        GARBAGE,
        TRUNCATED,
        Fault(500),
        Fault(500, after_work=True),
        Fault(way="truncate", after_work=True),
        Fault(429, {"Retry-After": "1"}),
    ]
    weights = [60, 6, 6, 4, 4, 6, 6, 4, 4]
    server.fail_by(lambda call: None if call == "file" else random.choices(faults, weights)[0])
    prompts = [f"picture {number}" for number in range(40)]
    for prompt in prompts:
        server.job_plans[prompt] = JobPlan(random.choices(["succeeded", "failed"], [85, 15])[0])

    ends = await asyncio.gather(*(run(make, prompt) for prompt in prompts))

    ordered = Counter(str(entry["prompt"]) for entry in server.events("created"))
    failed = Counter(str(entry["prompt"]) for entry in server.events("failed"))
    assert {prompt: times for prompt, times in ordered.items() if times > 1 + failed[prompt]} == {}
    assert ends.count(False) <= 10
    assert len(server.events("charged")) <= len(prompts)


async def run(make: MakeProvider, prompt: str) -> bool:
    """Order like a worker: again after passing errors, at most five times; never again after an unknown outcome."""
    request = flux(prompt, seed=int(prompt.split()[1]))
    job_id: str | None = None
    provider: AccountableProvider = make()
    for _ in range(40):
        try:
            job_id = job_id or await provider.submit(request)
            await provider.wait(job_id, request)
            return True
        except OutcomeUnknown:
            return False
        except ProviderBusy:
            continue
        except ProviderUnavailable as failed:
            job_id = None
            if failed.code == "generation_failed":
                return True
    raise AssertionError(f"{prompt} did not come to an end")
