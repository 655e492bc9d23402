"""Ends of attempts: their outcome, the state of their order in the database, and keeping of paid pictures."""

import asyncio
from typing import Any

import pytest
from structlog.testing import capture_logs

from batchgen.errors import InvalidRequest, OutcomeUnknown, ProviderBusy, ProviderError, ProviderUnavailable
from batchgen.models import GenerationStatus
from batchgen.order_state import CHARGED, NOT_CHARGED, OPEN, OVER, PICTURE_LEFT, OrderState
from batchgen.pictures.check import PictureDamaged, PictureRefused
from batchgen.pictures.fetch import LinkExpired
from batchgen.providers.base import RawImage, RemoteImage, Settlement
from batchgen.queue.types import Claim, Fault, StoredImage
from scheduler.leases import Stop
from scheduler.runner import Failed, Outcome, Released, RetryLater, Succeeded
from tests.fake_queue import Item
from tests.support import eventually
from tests.worker.worker_harness import (
    FakePaidProvider,
    FakeProviders,
    FakeReceiver,
    WorkerHarness,
    picture,
    worker_harness,
)

REMOTE = RemoteImage("https://pictures.example/a.png")
NOT_FETCHED = ProviderUnavailable("Cut.", code="download_failed", order=PICTURE_LEFT)
TOO_SLOW = ProviderUnavailable("Slow.", code="download_too_slow", order=PICTURE_LEFT)
EXPIRED = LinkExpired("pictures.example", 403)


def harness_with_item(**more: Any) -> tuple[WorkerHarness, FakePaidProvider, Item]:
    """A worker with a paid provider, and one item."""
    provider = FakePaidProvider()
    harness = worker_harness(provider, **more)
    (item,) = harness.queue.state.add("a fox")
    item.model_provider = "fake-provider"
    return harness, provider, item


def fake_receiver(*errors: Exception) -> FakeReceiver:
    return FakeReceiver(content=picture(), errors=list(errors))


async def run(harness: WorkerHarness) -> Outcome:
    return await harness.runner.run(await harness.hold_one())


def fault_in(outcome: Outcome) -> Fault:
    assert isinstance(outcome, Failed | RetryLater), outcome
    return outcome.fault


async def cancelled(harness: WorkerHarness, provider: FakePaidProvider, item: Item) -> Outcome:
    """Run an attempt whose item is cancelled while its job runs."""
    provider.gate.clear()
    running = asyncio.create_task(run(harness))
    await eventually(lambda: provider.waiting)
    item.cancel_requested = True
    await harness.leases.renew()
    return await running


@pytest.mark.parametrize(
    ("error", "over", "charged"),
    [
        (ProviderUnavailable("Failed.", code="generation_failed", order=OVER), True, None),
        (ProviderUnavailable("Cancelled there.", code="provider_cancelled", order=CHARGED), True, True),
        (ProviderUnavailable("Down.", code="provider_unavailable", order=OPEN), False, None),
        (ProviderBusy("Wait.", retry_after_seconds=8), False, None),
        (ProviderBusy("Turned away.", retry_after_seconds=8, order=NOT_CHARGED), True, False),
        (OutcomeUnknown("It is not known any more.", code="job_gone"), True, None),
        (ZeroDivisionError("a fault of ours"), False, None),
    ],
)
async def test_a_job_stays_open_until_its_provider_says_it_ended(
    error: Exception, over: bool, charged: bool | None
) -> None:
    harness, provider, item = harness_with_item()
    provider.cannot_wait = [error]

    fault = fault_in(await run(harness))

    assert (fault.order.over, fault.order.charged) == (over, charged)
    assert item.provider_job_id == (None if over else "job-1")


async def test_a_picture_finished_at_the_deadline_is_kept() -> None:
    harness, provider, item = harness_with_item(patience={"item_timeout_seconds": 0.2})
    provider.gate.clear()
    provider.outcomes["job-1"] = Settlement(OrderState(True, True, 1, 2), RawImage(picture(), seed=5))

    assert isinstance(await run(harness), Succeeded)

    assert provider.cancelled == ["job-1"]
    assert item.image
    assert (item.image.order.charged, item.image.order.queued_seconds) == (True, 1)
    assert item.image.order.running_seconds == 2


@pytest.mark.parametrize("charged", [True, False, None])
async def test_a_job_cancelled_at_the_deadline_is_over(charged: bool | None) -> None:
    harness, provider, item = harness_with_item(patience={"item_timeout_seconds": 0.2})
    provider.gate.clear()
    provider.outcomes["job-1"] = Settlement(OrderState(True, charged, 1, 2))

    fault = fault_in(await run(harness))

    assert (fault.code, fault.retryable, fault.order.over, fault.order.charged) == ("timeout", True, True, charged)
    assert (fault.order.queued_seconds, fault.order.running_seconds) == (1, 2)
    assert item.order_key is None


@pytest.mark.parametrize("answer", [None, ProviderUnavailable("Down.", code="down"), OutcomeUnknown("Nobody knows.")])
async def test_the_next_attempt_resumes_a_job_that_may_still_run(answer: ProviderError | None) -> None:
    harness, provider, item = harness_with_item(patience={"item_timeout_seconds": 0.2})
    provider.gate.clear()
    if answer is not None:
        provider.outcomes["job-1"] = answer

    fault = fault_in(await run(harness))
    provider.gate.set()
    item.due_at = 0

    assert (fault.code, fault.order.over, fault.order.charged) == ("timeout", False, None)
    assert isinstance(await run(harness), Succeeded)
    assert len(provider.orders) == 1


async def test_a_hanging_provider_costs_the_deadline_and_two_short_calls() -> None:
    harness, provider, _ = harness_with_item(patience={"item_timeout_seconds": 0.2})
    provider.gate.clear()
    provider.hangs = True

    async with asyncio.timeout(10):
        fault = fault_in(await run(harness))

    assert (fault.code, fault.order.over) == ("timeout", False)
    assert provider.settled == ["job-1"]


async def test_a_job_is_not_cancelled_after_its_lease_ended() -> None:
    harness, provider, _ = harness_with_item(patience={"item_timeout_seconds": 0.2})
    provider.gate.clear()
    lease = await harness.hold_one()
    lease.close()  # nothing notices the end, as in a paused worker
    running = asyncio.create_task(harness.runner.run(lease))
    await eventually(lambda: provider.waiting, every=0)
    lease.prolong(asyncio.get_running_loop().time())
    lease.close()

    assert await running == Released(Stop.LOST)
    assert provider.cancelled == [], "somebody else may be waiting for it"


async def test_a_cancelled_item_keeps_a_picture_already_made() -> None:
    harness, provider, item = harness_with_item()
    provider.outcomes["job-1"] = Settlement(CHARGED, RawImage(picture()))

    assert isinstance(await cancelled(harness, provider, item), Succeeded)

    assert provider.cancelled == ["job-1"]
    assert item.status is GenerationStatus.COMPLETED


@pytest.mark.parametrize(
    ("settlement", "over", "charged"),
    [
        (Settlement(NOT_CHARGED), True, False),
        (Settlement(CHARGED), True, True),
        (Settlement(OVER), True, None),
        (Settlement(OPEN), False, None),
        (OutcomeUnknown("Nobody knows."), False, None),
    ],
)
async def test_the_fault_of_a_cancelled_item_has_the_state_of_its_job(
    settlement: Settlement | Exception, over: bool, charged: bool | None
) -> None:
    harness, provider, item = harness_with_item()
    provider.outcomes["job-1"] = settlement

    fault = fault_in(await cancelled(harness, provider, item))

    assert (fault.code, fault.order.over, fault.order.charged) == ("cancelled", over, charged)
    assert item.status is GenerationStatus.FAILED


async def test_a_cancelled_items_unstored_picture_is_left_to_be_collected() -> None:
    harness, provider, item = harness_with_item(patience={"storage_patience_seconds": 0.05})
    harness.storage.faults = 99_999
    provider.outcomes["job-1"] = Settlement(CHARGED, RawImage(picture()))

    fault = fault_in(await cancelled(harness, provider, item))

    assert (fault.code, fault.order.over, fault.order.charged) == ("cancelled", False, True)


async def test_cancelling_while_an_order_is_sent_cancels_its_job() -> None:
    harness, provider, item = harness_with_item()
    provider.submit_gate.clear()
    provider.outcomes["job-1"] = Settlement(NOT_CHARGED)
    running = asyncio.create_task(run(harness))
    await eventually(lambda: provider.jobs)
    item.cancel_requested = True

    await harness.leases.renew()
    provider.submit_gate.set()
    fault = fault_in(await running)

    assert provider.cancelled == ["job-1"]
    assert (fault.code, fault.order.over, fault.order.charged) == ("cancelled", True, False)


async def test_cancelling_an_order_with_a_lost_answer_leaves_it_open() -> None:
    harness, provider, item = harness_with_item()
    provider.submit_gate.clear()
    provider.loses = [ZeroDivisionError()]
    running = asyncio.create_task(run(harness))
    await eventually(lambda: provider.jobs)
    item.cancel_requested = True

    await harness.leases.renew()
    provider.submit_gate.set()
    fault = fault_in(await running)

    assert (fault.code, fault.order.over, fault.order.charged) == ("cancelled", False, None)


async def test_cancelling_before_the_attempt_cancels_the_earlier_job() -> None:
    harness, provider, item = harness_with_item()
    item.provider, item.provider_job_id = "fake-provider", "job-of-before"
    provider.outcomes["job-of-before"] = Settlement(CHARGED)
    lease = await harness.hold_one()
    lease.stop(Stop.CANCELLED)

    fault = fault_in(await harness.runner.run(lease))

    assert provider.cancelled == ["job-of-before"]
    assert (fault.code, fault.order.over, fault.order.charged) == ("cancelled", True, True)


async def test_cancelling_at_an_unusable_provider_leaves_the_order_open() -> None:
    harness = worker_harness(providers=FakeProviders({}, without_key=frozenset({"fake-provider"})))
    (item,) = harness.queue.state.add("a fox")
    item.provider, item.provider_job_id = "fake-provider", "job-of-before"
    lease = await harness.hold_one()
    lease.stop(Stop.CANCELLED)

    fault = fault_in(await harness.runner.run(lease))

    assert (fault.code, fault.order.over, fault.order.charged) == ("cancelled", False, None)


@pytest.mark.parametrize("trouble", [NOT_FETCHED, TOO_SLOW, PictureDamaged("Half a picture.")])
async def test_a_failed_download_is_repeated_without_ordering_again(trouble: ProviderError) -> None:
    harness, provider, item = harness_with_item(receiver=fake_receiver(trouble))
    provider.delivers = REMOTE

    fault = fault_in(await run(harness))
    item.due_at = 0

    assert (fault.code, fault.retryable, fault.order.over, fault.order.charged) == (trouble.code, True, False, True)
    assert isinstance(await run(harness), Succeeded)
    assert len(provider.orders) == 1


async def test_a_paid_output_that_is_no_picture_is_final() -> None:
    harness, provider, item = harness_with_item(receiver=fake_receiver(PictureRefused("HTML.", code="not_a_picture")))
    provider.delivers = REMOTE

    fault = fault_in(await run(harness))

    assert (fault.code, fault.retryable, fault.order.over, fault.order.charged) == ("not_a_picture", False, True, True)
    assert item.order_key is None


async def test_a_storage_outage_does_not_order_a_second_picture() -> None:
    harness, provider, item = harness_with_item(patience={"storage_patience_seconds": 0.05})
    harness.storage.faults = 99_999

    fault = fault_in(await run(harness))
    harness.storage.faults, item.due_at = 0, 0

    assert (fault.code, fault.order.over) == ("storage_unavailable", False)
    assert isinstance(await run(harness), Succeeded)
    assert len(provider.orders) == 1


async def test_an_expired_link_is_asked_for_again_at_once() -> None:
    receiver = fake_receiver(EXPIRED)
    harness, provider, item = harness_with_item(receiver=receiver)
    provider.delivers = REMOTE

    assert isinstance(await run(harness), Succeeded)

    assert provider.waiting == ["job-1", "job-1"]
    assert len(receiver.fetched) == 2
    assert item.image


async def test_a_second_expired_link_is_left_to_the_next_attempt() -> None:
    harness, provider, item = harness_with_item(receiver=fake_receiver(EXPIRED, EXPIRED))
    provider.delivers = REMOTE

    fault = fault_in(await run(harness))

    assert (fault.code, fault.retryable, fault.order.over, fault.order.charged) == ("link_expired", True, False, True)
    assert provider.waiting == ["job-1", "job-1"]
    assert item.provider_job_id == "job-1"


async def test_only_the_provider_can_declare_a_picture_gone() -> None:
    harness, provider, item = harness_with_item(receiver=fake_receiver(EXPIRED))
    provider.delivers = REMOTE
    provider.cannot_wait = [None, ProviderUnavailable("Gone.", code="output_expired", order=CHARGED)]

    fault = fault_in(await run(harness))

    assert (fault.code, fault.order.over, fault.order.charged) == ("output_expired", True, True)
    assert item.order_key is None


async def test_a_picture_may_come_from_the_operators_own_server() -> None:
    receiver, provider = fake_receiver(), FakePaidProvider()
    providers = FakeProviders({"fake-provider": provider}, local_servers={"fake-provider": "http://127.0.0.1:8188"})
    harness = worker_harness(provider, providers=providers, receiver=receiver)
    (item,) = harness.queue.state.add("a fox")
    item.model_provider = "fake-provider"
    provider.delivers = REMOTE

    assert isinstance(await run(harness), Succeeded)

    assert receiver.fetched == [(REMOTE.url, "http://127.0.0.1:8188")]


async def test_a_picture_is_stored_with_its_providers_details() -> None:
    harness, provider, item = harness_with_item()
    provider.delivers = RawImage(
        picture(), seed=77, version="abc\x00def", order=OrderState(True, queued_seconds=3, running_seconds=4)
    )

    assert isinstance(await run(harness), Succeeded)

    assert item.image
    assert (item.image.seed, item.image.model_version, item.image.is_black) == (77, "abc\\x00def", False)
    assert (item.image.order.charged, item.image.order.queued_seconds) == (None, 3)
    assert item.image.order.running_seconds == 4


async def test_running_seconds_are_measured_when_the_provider_tells_none() -> None:
    harness, provider, item = harness_with_item()
    provider.delays["a fox"] = 0.05

    assert isinstance(await run(harness), Succeeded)

    assert item.image
    assert item.image.seed == 1
    assert (item.image.order.running_seconds or 0) >= 0.04


async def test_a_seed_too_large_for_its_column_does_not_lose_the_picture() -> None:
    harness, provider, item = harness_with_item()
    provider.delivers = RawImage(picture(), seed=2**64 - 1)

    assert isinstance(await run(harness), Succeeded)

    assert item.image
    assert item.image.seed is None


async def test_a_black_picture_is_kept_and_marked() -> None:
    harness, provider, item = harness_with_item()
    provider.delivers = RawImage(picture("black"))

    with capture_logs() as lines:
        assert isinstance(await run(harness), Succeeded)

    assert item.image
    assert item.image.is_black
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == [
        "picture is all black: a safety filter may have replaced it"
    ]


@pytest.mark.parametrize("refused_by", ["storage", "database"])
async def test_a_picture_refused_by_storage_or_database_stays_charged(
    monkeypatch: pytest.MonkeyPatch, refused_by: str
) -> None:
    harness, _, item = harness_with_item()

    async def refuse(*_: object, **__: object) -> StoredImage:
        raise InvalidRequest("No.", code="image_refused")

    part = harness.storage if refused_by == "storage" else harness.queue
    monkeypatch.setattr(part, "put" if refused_by == "storage" else "complete", refuse)

    fault = fault_in(await run(harness))

    assert (fault.code, fault.retryable, fault.order.over, fault.order.charged) == ("image_refused", False, True, True)
    assert item.order_key is None


async def test_a_job_with_a_refused_id_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    harness, provider, _ = harness_with_item()

    async def refuse(claim: Claim, provider: str, job_id: str) -> None:
        raise InvalidRequest("No.", code="invalid_argument")

    monkeypatch.setattr(harness.queue, "attach_provider_job", refuse)

    fault = fault_in(await run(harness))

    assert (fault.retryable, fault.order.over, fault.order.charged) == (False, False, None)
    assert provider.cancelled == []
