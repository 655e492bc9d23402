"""An attempt orders or resumes one job, and never has two."""

import asyncio
import time
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest

from batchgen.errors import OutcomeUnknown, ProviderBusy, ProviderError, ProviderRejected, ProviderUnavailable
from batchgen.models import GenerationStatus
from batchgen.order_state import CHARGED, OPEN, OVER
from batchgen.queue.types import Claim, Fault, NewOrder
from scheduler.leases import Lease, Leases, Stop
from scheduler.runner import Failed, Released, RetryLater, Succeeded
from tests.fake_queue import FakeQueue, Item, QueueState
from tests.support import eventually
from tests.worker.worker_harness import FakePaidProvider, FakeProviders, ScriptedProvider, WorkerHarness, worker_harness

BUSY = ProviderBusy("Slow down.", retry_after_seconds=8)
DOWN = ProviderUnavailable("Down.", code="provider_unavailable")
LOST = OutcomeUnknown("The answer was lost.")


def harness_with_item(
    provider: FakePaidProvider | None = None, **more: object
) -> tuple[WorkerHarness, FakePaidProvider, Item]:
    """A worker with a provider for all models, and one item."""
    provider = provider or FakePaidProvider()
    harness = worker_harness(provider, **more)  # pyright: ignore[reportArgumentType] - as worker_harness's own
    (item,) = harness.queue.state.add("a fox")
    item.model_provider = provider.name
    return harness, provider, item


def left_behind(item: Item, *, job_id: str | None = None) -> UUID:
    """Begin an order like an earlier attempt, perhaps with its job's id; returns its key."""
    item.order = NewOrder(provider="fake-provider", model="as-ordered", version="v0", inputs={"text": "as it was sent"})
    item.order_key, item.provider_job_id = uuid4(), job_id
    item.provider = "fake-provider" if job_id else None
    return item.order_key


async def attempt(harness: WorkerHarness) -> Fault | None:
    """Run one attempt; returns its fault."""
    outcome = await harness.runner.run(await harness.hold_one())
    return outcome.fault if isinstance(outcome, Failed | RetryLater) else None


async def test_an_order_is_recorded_completely_before_it_is_sent() -> None:
    harness, provider, item = harness_with_item()
    provider.submit_gate.clear()

    running = asyncio.create_task(harness.runner.run(await harness.hold_one()))
    await eventually(lambda: provider.jobs)

    assert item.order == NewOrder(
        provider="fake-provider", model="a-model", version="v1", inputs={"text": "a fox", "seed": 1}
    )
    assert item.provider_job_id is None
    provider.submit_gate.set()
    assert isinstance(await running, Succeeded)


async def test_the_recorded_order_is_what_is_sent() -> None:
    harness, provider, item = harness_with_item()

    before = time.monotonic()
    await harness.runner.run(await harness.hold_one())

    (sent,) = provider.orders
    assert item.order
    assert (sent.key, sent.inputs) == (str(item.order_key), item.order.inputs)
    assert (sent.model, sent.model_version, sent.estimated_seconds) == ("a-model", "v1", 4)
    assert sent.ordered_at is not None
    assert before <= sent.ordered_at <= time.monotonic()


async def test_a_free_provider_needs_no_order_and_no_inputs() -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    item.input_spec = None

    assert isinstance(await harness.runner.run(await harness.hold_one()), Succeeded)

    assert "begin_order" not in harness.queue.calls


async def test_each_item_goes_to_its_models_provider() -> None:
    near, far = FakePaidProvider(name="near"), FakePaidProvider(name="far")
    harness = worker_harness(providers=FakeProviders({"near": near, "far": far}))
    one, other = harness.queue.state.add("near by", "far away")
    one.model_provider, other.model_provider = "near", "far"

    await harness.worker.run_once()

    assert (near.submitted, far.submitted) == (["near by"], ["far away"])
    assert (one.provider, other.provider) == ("near", "far")


async def test_a_job_is_resumed_at_its_orders_provider_with_its_inputs() -> None:
    provider, other = FakePaidProvider(), FakePaidProvider(name="other")
    harness = worker_harness(providers=FakeProviders({"fake-provider": provider, "other": other}))
    (item,) = harness.queue.state.add("a fox")
    key = left_behind(item, job_id="job-of-before")
    item.model_provider, item.input_spec = "other", None

    now = time.monotonic()
    assert isinstance(await harness.runner.run(await harness.hold_one()), Succeeded)

    (request,) = provider.waited_for
    assert provider.waiting == ["job-of-before"]
    assert (request.key, request.inputs) == (str(key), {"text": "as it was sent"})
    assert (request.model, request.model_version) == ("as-ordered", "v0")
    assert request.ordered_at == pytest.approx(now - 100, abs=5)
    assert (provider.submitted, other.submitted) == ([], [])


async def test_a_worker_with_one_provider_leaves_jobs_of_others() -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    left_behind(item, job_id="job-of-before")

    assert isinstance(await harness.runner.run(await harness.hold_one()), Succeeded)

    assert harness.provider.waiting == ["job-1"]
    assert harness.provider.cancelled == []


async def test_an_order_that_reached_the_provider_is_found_and_resumed() -> None:
    harness, provider, item = harness_with_item()
    provider.jobs["job-of-before"] = str(left_behind(item))

    assert isinstance(await harness.runner.run(await harness.hold_one()), Succeeded)

    assert (provider.submitted, provider.waiting) == ([], ["job-of-before"])
    assert item.provider_job_id == "job-of-before"
    (asked,) = provider.finds
    assert (asked.inputs, asked.model) == ({"text": "as it was sent"}, "as-ordered")


async def test_an_order_that_never_arrived_is_resent_under_its_key() -> None:
    harness, provider, item = harness_with_item()
    key = left_behind(item)
    before = time.monotonic()

    assert isinstance(await harness.runner.run(await harness.hold_one()), Succeeded)

    assert provider.jobs == {"job-1": str(key)}
    (sent,) = provider.orders
    assert sent.inputs == {"text": "as it was sent"}
    assert sent.ordered_at is not None
    assert before <= sent.ordered_at <= time.monotonic()


async def test_an_order_with_an_unknown_outcome_fails_and_is_not_resent() -> None:
    harness, provider, item = harness_with_item()
    left_behind(item)
    provider.cannot_find = LOST

    fault = await attempt(harness)

    assert fault
    assert (fault.code, fault.order.over, fault.order.charged) == ("outcome_unknown", True, None)
    assert item.status is GenerationStatus.FAILED
    assert provider.submitted == []


@pytest.mark.parametrize("error", [BUSY, DOWN])
async def test_an_order_stays_open_when_its_provider_cannot_answer_now(error: ProviderError) -> None:
    harness, provider, item = harness_with_item()
    key = left_behind(item)
    provider.cannot_find = error

    fault = await attempt(harness)

    assert fault
    assert (fault.code, fault.retryable, fault.order.over, fault.order.charged) == (error.code, True, False, None)
    assert item.order_key == key
    assert provider.submitted == []


async def test_an_endless_search_ends_at_the_deadline_with_the_order_open() -> None:
    harness, provider, item = harness_with_item(patience={"item_timeout_seconds": 0.2})
    key = left_behind(item)
    provider.hangs = True

    fault = await attempt(harness)

    assert fault
    assert (fault.code, fault.order.over) == ("timeout", False)
    assert item.order_key == key


async def test_nothing_is_ordered_for_an_ended_item() -> None:
    harness, provider, item = harness_with_item()
    left_behind(item)
    item.is_late = True

    fault = await attempt(harness)

    assert fault
    assert (fault.retryable, fault.order.over, fault.order.charged) == (False, True, None)
    assert provider.submitted == []


async def test_the_picture_of_an_ended_item_is_collected() -> None:
    harness, _, item = harness_with_item()
    left_behind(item, job_id="job-of-before")
    item.is_late = True

    assert isinstance(await harness.runner.run(await harness.hold_one()), Succeeded)

    assert item.image


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (ProviderUnavailable("Gone.", code="output_expired", order=CHARGED), False),
        (ProviderUnavailable("Down.", code="provider_unavailable", order=OPEN), True),
    ],
)
async def test_an_ended_item_is_retried_only_while_its_job_runs(error: ProviderError, retryable: bool) -> None:
    harness, provider, item = harness_with_item()
    left_behind(item, job_id="job-of-before")
    item.is_late = True
    provider.cannot_wait = [error]

    fault = await attempt(harness)

    assert fault
    assert fault.retryable is retryable


async def test_a_worker_without_the_provider_leaves_an_ended_items_picture() -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    left_behind(item, job_id="job-of-before")
    item.is_late = True

    fault = await attempt(harness)

    assert fault
    assert (fault.code, fault.retry_after_seconds, fault.order.over) == ("provider_not_set_up", 60, False)
    assert harness.provider.submitted == []


@pytest.mark.parametrize(
    ("error", "retryable", "charged"),
    [
        (BUSY, True, False),
        (DOWN, True, False),
        (ProviderRejected("No.", code="invalid_input"), False, False),
        (ProviderUnavailable("Failed.", code="generation_failed", order=CHARGED), True, True),
        (LOST, False, None),
    ],
)
async def test_a_refused_order_is_over(error: ProviderError, retryable: bool, charged: bool | None) -> None:
    harness, provider, item = harness_with_item()
    provider.refuses = [error]

    fault = await attempt(harness)

    assert fault
    assert (fault.code, fault.retryable, fault.order.over, fault.order.charged) == (
        error.code,
        retryable,
        True,
        charged,
    )
    assert item.order_key is None


async def test_the_order_after_a_refused_one_has_a_new_key() -> None:
    harness, provider, item = harness_with_item()
    provider.refuses = [DOWN]
    await attempt(harness)
    item.due_at = 0

    assert isinstance(await harness.runner.run(await harness.hold_one()), Succeeded)

    refused, accepted = provider.orders
    assert refused.key != accepted.key
    assert provider.finds == []


@pytest.mark.parametrize(
    "error",
    [ProviderUnavailable("No answer.", code="answer_lost", order=OVER), ZeroDivisionError("a fault of ours")],
)
async def test_an_order_with_a_lost_answer_is_looked_up_and_not_resent(error: Exception) -> None:
    harness, provider, item = harness_with_item()
    provider.loses = [error]

    fault = await attempt(harness)
    item.due_at = 0
    outcome = await harness.runner.run(await harness.hold_one())

    assert fault
    assert (fault.order.over, fault.order.charged) == (False, None)
    assert isinstance(outcome, Succeeded)
    assert (len(provider.orders), provider.waiting) == (1, ["job-1"])


async def test_a_hanging_order_is_looked_up_and_not_resent() -> None:
    harness, provider, item = harness_with_item(patience={"item_timeout_seconds": 0.2})
    provider.submit_gate.clear()

    fault = await attempt(harness)
    item.due_at = 0
    outcome = await harness.runner.run(await harness.hold_one())

    assert fault
    assert (fault.code, fault.order.over, fault.order.charged) == ("timeout", False, None)
    assert isinstance(outcome, Succeeded)
    assert (len(provider.orders), provider.waiting) == (1, ["job-1"])


class SlowToFail(FakePaidProvider):
    """Its answer is lost when the item's time is over, but the error comes only when the call is cancelled."""

    async def submit(self, request: object) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise LOST from None
        raise AssertionError


async def test_an_unknown_outcome_at_the_deadline_is_final() -> None:
    harness, _, item = harness_with_item(SlowToFail(), patience={"item_timeout_seconds": 0.2})

    fault = await attempt(harness)

    assert fault
    assert (fault.code, fault.retryable, fault.order.over, fault.order.charged) == (
        "outcome_unknown",
        False,
        True,
        None,
    )
    assert item.status is GenerationStatus.FAILED


class PausedAfterBegin(FakeQueue):
    """The whole worker is paused while the answer to `begin_order` is on its way, until its lease has ended."""

    leases: Leases

    async def begin_order(self, claim: Claim, order: NewOrder) -> UUID:
        key = await super().begin_order(claim, order)
        (lease,) = self.leases.held
        lease.prolong(asyncio.get_running_loop().time())
        self.expire(claim)
        return key


async def test_a_worker_paused_past_its_lease_sends_no_order() -> None:
    queue = PausedAfterBegin()
    harness, provider, item = harness_with_item(queue=queue)
    queue.leases = harness.leases

    outcome = await harness.runner.run(await harness.hold_one())
    sent_meanwhile = len(provider.orders)
    taken_over, _, _ = harness_with_item(provider, queue=FakeQueue(queue.state))
    queue.state.items = {item.id: item}
    theirs = await taken_over.runner.run(await taken_over.hold_one())

    assert (outcome, sent_meanwhile) == (Released(Stop.LOST), 0)
    assert isinstance(theirs, Succeeded)
    assert list(provider.jobs) == ["job-1"]


class CancelledAfterBegin(FakeQueue):
    """The item is cancelled just before the order is sent."""

    leases: Leases

    async def begin_order(self, claim: Claim, order: NewOrder) -> UUID:
        key = await super().begin_order(claim, order)
        for lease in self.leases.held:
            lease.stop(Stop.CANCELLED)
        return key


async def test_an_order_cancelled_before_sending_is_never_sent() -> None:
    queue = CancelledAfterBegin()
    harness, provider, _ = harness_with_item(queue=queue)
    queue.leases = harness.leases

    fault = await attempt(harness)

    assert fault
    assert (fault.code, fault.order.over, fault.order.charged) == ("cancelled", True, False)
    assert provider.orders == []


async def test_a_shutdown_during_an_order_stores_its_job() -> None:
    harness, provider, item = harness_with_item()
    provider.submit_gate.clear()
    lease = await harness.hold_one()
    running = asyncio.create_task(harness.runner.run(lease))
    await eventually(lambda: provider.jobs)

    lease.stop(Stop.SHUTDOWN)
    provider.submit_gate.set()

    assert await running == Released(Stop.SHUTDOWN)
    assert item.provider_job_id == "job-1"
    assert provider.cancelled == []


async def test_a_findable_job_with_an_unstored_id_is_not_cancelled() -> None:
    harness, provider, item = harness_with_item()
    provider.submit_gate.clear()
    lease = await harness.hold_one()
    running = asyncio.create_task(harness.runner.run(lease))
    await eventually(lambda: provider.jobs)
    harness.queue.expire(lease.claim)

    provider.submit_gate.set()
    outcome = await running
    theirs = await harness.runner.run(await harness.hold_one())

    assert outcome == Released(Stop.LOST)
    assert provider.cancelled == [], "whoever took the item over waits for it"
    assert isinstance(theirs, Succeeded)
    assert list(provider.jobs) == ["job-1"]
    assert item.provider_job_id == "job-1"


@pytest.mark.parametrize(
    ("spec", "code"), [(None, "inputs_missing"), ({"prompt": "text", "sed": 1}, "invalid_inputs_spec")]
)
async def test_a_model_with_an_invalid_row_waits_without_its_provider(
    spec: dict[str, object] | None, code: str
) -> None:
    harness, provider, item = harness_with_item()
    item.input_spec = spec

    fault = await attempt(harness)

    assert fault
    assert (fault.code, fault.retryable, fault.retry_after_seconds, fault.model_fault) == (code, True, 60, True)
    assert (fault.provider, fault.order.charged) == (None, None)
    assert item.retry_count == 0
    assert provider.orders == []


@pytest.mark.parametrize(
    ("name", "code", "is_the_models"),
    [("fake-provider", "provider_not_set_up", False), ("a-misspelt-one", "provider_unknown", True)],
)
async def test_items_of_an_unusable_provider_wait(name: str, code: str, is_the_models: bool) -> None:
    harness = worker_harness(providers=FakeProviders({}, without_key=frozenset({"fake-provider"})))
    (item,) = harness.queue.state.add("a fox")
    item.model_provider = name

    fault = await attempt(harness)

    assert fault
    assert (fault.code, fault.model_fault, fault.retry_after_seconds) == (code, is_the_models, 60)
    assert fault.provider == (None if is_the_models else "fake-provider")
    assert item.retry_count == 0


async def test_an_order_at_an_unusable_provider_stays_open() -> None:
    harness = worker_harness(providers=FakeProviders({}, without_key=frozenset({"fake-provider"})))
    (item,) = harness.queue.state.add("a fox")
    left_behind(item, job_id="job-of-before")

    fault = await attempt(harness)

    assert fault
    assert (fault.code, fault.order.over) == ("provider_not_set_up", False)
    assert item.provider_job_id == "job-of-before"


Breakage = Callable[[FakeQueue, FakePaidProvider], Callable[[], object]]
"""Breaks a step of an order; returns a check that is true once an attempt has reached it."""


def _begin_down(queue: FakeQueue, _: FakePaidProvider) -> Callable[[], object]:
    queue.down_calls = {"begin_order"}
    return lambda: "begin_order" in queue.calls


def _begin_forgotten(queue: FakeQueue, _: FakePaidProvider) -> Callable[[], object]:
    queue.loses_answers_of = ["begin_order"]
    return lambda: "begin_order" in queue.calls


def _turned_away(_: FakeQueue, provider: FakePaidProvider) -> Callable[[], object]:
    provider.refuses = [DOWN]
    return lambda: provider.orders


def _answer_lost(_: FakeQueue, provider: FakePaidProvider) -> Callable[[], object]:
    provider.loses = [ProviderUnavailable("Lost.", code="answer_lost", order=OVER)]
    return lambda: provider.jobs


def _answer_hangs(_: FakeQueue, provider: FakePaidProvider) -> Callable[[], object]:
    provider.submit_gate.clear()
    return lambda: provider.jobs


def _attach_down(queue: FakeQueue, _: FakePaidProvider) -> Callable[[], object]:
    queue.down_calls = {"attach"}
    return lambda: "attach" in queue.calls


def _attach_forgotten(queue: FakeQueue, _: FakePaidProvider) -> Callable[[], object]:
    queue.loses_answers_of = ["attach"]
    return lambda: "attach" in queue.calls


def _complete_down(queue: FakeQueue, _: FakePaidProvider) -> Callable[[], object]:
    queue.down_calls = {"complete"}
    return lambda: "complete" in queue.calls


BREAKAGES = (
    _begin_down,
    _begin_forgotten,
    _turned_away,
    _answer_lost,
    _answer_hangs,
    _attach_down,
    _attach_forgotten,
    _complete_down,
)


@pytest.mark.parametrize("ending", ["killed", "lease lost", "shut down", "left to itself"])
@pytest.mark.parametrize("breakage", BREAKAGES)
async def test_one_picture_is_ordered_once_whatever_breaks(breakage: Breakage, ending: str) -> None:
    state, provider = QueueState(), FakePaidProvider()
    (item,) = state.add("a fox")
    item.model_provider = "fake-provider"
    harness = worker_harness(provider, queue=FakeQueue(state, lease_seconds=30), patience={"item_timeout_seconds": 0.1})
    is_reached = breakage(harness.queue, provider)

    lease = await harness.hold_one()
    running = asyncio.create_task(harness.runner.run(lease))
    await eventually(is_reached, every=0)
    await _end(ending, harness, lease, running)
    provider.submit_gate.set()
    await _until_completed(state, provider, item)

    assert len(provider.jobs) == 1
    assert item.status is GenerationStatus.COMPLETED


async def _end(ending: str, harness: WorkerHarness, lease: Lease, running: asyncio.Task[object]) -> None:
    match ending:
        case "killed":
            running.cancel()
            running.cancel()
        case "lease lost":
            lease.stop(Stop.LOST)
        case "shut down":
            lease.stop(Stop.SHUTDOWN)
        case _:
            pass
    async with asyncio.timeout(5):
        await asyncio.gather(running, return_exceptions=True)
    harness.leases.settle(lease)


async def _until_completed(state: QueueState, provider: FakePaidProvider, item: Item) -> None:
    """Let other workers run the item until it is completed, up to four times."""
    for _ in range(4):
        if item.status is GenerationStatus.COMPLETED:
            return
        if item.lease_id is not None:
            item.lease_ends_at = 0
        item.due_at = 0
        harness = worker_harness(provider, queue=FakeQueue(state))
        await harness.runner.run(await harness.hold_one())


async def test_a_provider_without_lookup_cannot_deny_an_order() -> None:
    """Only a provider with lookup can say that there is no order; this one has the same name and no lookup."""
    harness = worker_harness(ScriptedProvider(name="fake-provider"))
    (item,) = harness.queue.state.add("a fox")
    left_behind(item)

    fault = await attempt(harness)

    assert fault
    assert (fault.code, fault.order.over) == ("outcome_unknown", True)
    assert harness.provider.submitted == []
