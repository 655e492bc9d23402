"""Open orders without an attempt are asked about, and errors with one of them do not stop the others."""

import asyncio
import time
from dataclasses import dataclass, field

import pytest
from structlog.testing import capture_logs

from batchgen.errors import OutcomeUnknown, ProviderBusy, ProviderUnavailable
from batchgen.order_state import CHARGED, NOT_CHARGED, OPEN, OVER, OrderState
from batchgen.providers.base import ImageRequest, RawImage, Settlement
from batchgen.providers.registry import OneProvider, ProvidersByName
from batchgen.queue.types import OpenOrder, OrderOutcome
from scheduler.open_orders import ASKED_AT_ONCE, ORDERS_AT_ONCE, OrderSettler
from tests.fake_orders import FakeOrders
from tests.support import eventually
from tests.worker.worker_harness import FakePaidProvider, FakeProviders, ScriptedProvider, picture

DOWN = ProviderUnavailable("Down.", code="provider_unavailable")
STILL_OPEN = OrderOutcome(order=OPEN)


@dataclass
class SettlingHarness:
    """Settles the orders of one provider; `wakes` counts how often the worker was woken."""

    provider: FakePaidProvider = field(default_factory=FakePaidProvider)
    orders: FakeOrders = field(default_factory=FakeOrders)
    providers: ProvidersByName | None = None
    wakes: int = 0

    def __post_init__(self) -> None:
        self.settler = OrderSettler(
            self.orders, self.providers or FakeProviders({"fake-provider": self.provider}), wake=self._wake
        )

    def outcome(self, order: OpenOrder) -> OrderOutcome | None:
        return self.orders.outcomes.get(order.order_key)

    def _wake(self) -> None:
        self.wakes += 1


async def test_an_ended_job_is_settled_as_its_provider_says() -> None:
    harness = SettlingHarness()
    order = harness.orders.add("job-1")
    harness.provider.outcomes["job-1"] = Settlement(OrderState(True, False, 1, 2))

    await harness.settler.sweep()

    expected = OrderOutcome(order=OrderState(True, False, 1, 2), has_picture=False)
    assert harness.outcome(order) == expected
    assert (harness.provider.cancelled, harness.wakes) == ([], 0)


async def test_a_paid_picture_wakes_the_worker_to_collect_it() -> None:
    harness = SettlingHarness()
    order = harness.orders.add("job-1")
    harness.orders.collects = {order.order_key}
    harness.provider.outcomes["job-1"] = Settlement(CHARGED, RawImage(picture()))

    await harness.settler.sweep()

    assert harness.outcome(order) == OrderOutcome(order=CHARGED, has_picture=True)
    assert harness.wakes == 1


async def test_a_running_job_is_cancelled_and_asked_about_again() -> None:
    harness = SettlingHarness()
    order = harness.orders.add("job-1")

    await harness.settler.sweep()

    assert harness.provider.cancelled == ["job-1"]
    assert harness.outcome(order) == STILL_OPEN


async def test_an_order_without_a_job_is_looked_up_by_key_and_inputs() -> None:
    harness = SettlingHarness()
    order = harness.orders.add(None)
    harness.provider.jobs["job-7"] = str(order.order_key)
    harness.provider.outcomes["job-7"] = Settlement(CHARGED)
    before = time.monotonic()

    await harness.settler.sweep()

    (asked,) = harness.provider.finds
    assert (asked.inputs, asked.model, asked.model_version, asked.seed) == ({"text": "a fox"}, "a-model", "v1", 7)
    assert asked.ordered_at is not None
    assert before <= asked.ordered_at + 100 <= time.monotonic()
    assert harness.provider.settled == ["job-7"]
    assert harness.outcome(order) == OrderOutcome(order=CHARGED)


async def test_an_order_that_never_arrived_cost_nothing() -> None:
    harness = SettlingHarness()
    order = harness.orders.add(None)

    await harness.settler.sweep()

    assert harness.outcome(order) == OrderOutcome(order=NOT_CHARGED)
    assert harness.provider.settled == []


@pytest.mark.parametrize("job_id", ["job-1", None])
async def test_an_order_with_an_unknown_outcome_has_unknown_costs(job_id: str | None) -> None:
    harness = SettlingHarness()
    order = harness.orders.add(job_id)
    harness.provider.cannot_find = harness.provider.outcomes["job-1"] = OutcomeUnknown("Nobody knows.")

    await harness.settler.sweep()

    assert harness.outcome(order) == OrderOutcome(order=OVER)


@pytest.mark.parametrize("error", [DOWN, ProviderBusy("Wait.", retry_after_seconds=8), ZeroDivisionError("ours")])
async def test_one_unanswered_order_stays_open_without_stopping_others(error: Exception) -> None:
    harness = SettlingHarness()
    first, second = harness.orders.add("job-1"), harness.orders.add("job-2")
    harness.provider.outcomes = {"job-1": error, "job-2": Settlement(NOT_CHARGED)}

    await harness.settler.sweep()

    assert harness.outcome(first) == STILL_OPEN
    assert harness.outcome(second) == OrderOutcome(order=NOT_CHARGED)


async def test_an_order_at_a_silent_provider_stays_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.open_orders.ANSWER_SECONDS", 0.05)
    harness = SettlingHarness()
    order = harness.orders.add("job-1")
    harness.provider.hangs = True

    await harness.settler.sweep()

    assert harness.outcome(order) == STILL_OPEN


async def test_an_unwritable_outcome_does_not_hold_up_the_others() -> None:
    harness = SettlingHarness()
    first, second = harness.orders.add("job-1"), harness.orders.add("job-2")
    harness.orders.cannot_settle = {first.order_key}
    harness.provider.outcomes = {name: Settlement(NOT_CHARGED) for name in ("job-1", "job-2")}

    with capture_logs() as lines:
        await harness.settler.sweep()

    assert harness.outcome(second) == OrderOutcome(order=NOT_CHARGED)
    assert [line["task"] for line in lines if line["event"].startswith("housekeeping")] == ["open orders"]


@pytest.mark.parametrize(
    "providers",
    [
        FakeProviders({}, without_key=frozenset({"fake-provider"})),
        FakeProviders({}),
        OneProvider(FakePaidProvider(name="another", outcomes={"job-1": Settlement(NOT_CHARGED)})),
        OneProvider(ScriptedProvider(name="fake-provider")),
    ],
)
async def test_an_order_of_an_unusable_provider_is_left_open(providers: ProvidersByName) -> None:
    harness = SettlingHarness(providers=providers)
    order = harness.orders.add("job-1")

    await harness.settler.sweep()

    assert harness.outcome(order) == STILL_OPEN


async def test_a_provider_outage_in_the_sweep_is_logged_once_per_change() -> None:
    harness = SettlingHarness()
    harness.provider.outcomes = {"job-1": DOWN}

    with capture_logs() as lines:
        for _ in range(3):
            harness.orders.add("job-1")
            harness.orders.add("job-1")
            await harness.settler.sweep()
        harness.provider.outcomes = {"job-1": Settlement(NOT_CHARGED)}
        harness.orders.add("job-1")
        await harness.settler.sweep()

    told = [(line["event"], line["task"]) for line in lines if line["event"].startswith("housekeeping")]
    assert told == [
        ("housekeeping is held up, items go on", "open orders at fake-provider"),
        ("housekeeping goes on", "open orders at fake-provider"),
    ]


async def test_an_orders_outage_raises_nothing_and_is_logged_once() -> None:
    harness = SettlingHarness()
    harness.orders.is_down = True

    with capture_logs() as lines:
        await harness.settler.sweep()
        await harness.settler.sweep()

    assert [line["task"] for line in lines] == ["open orders"]


class Counting(FakePaidProvider):
    """Counts the questions that are open at the same time."""

    now = most = 0

    async def settle(self, job_id: str, request: ImageRequest) -> Settlement:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0)
        self.now -= 1
        return Settlement(NOT_CHARGED)


async def test_many_orders_are_settled_in_chunks_with_few_calls_at_once() -> None:
    provider = Counting()
    harness = SettlingHarness(provider)
    for _ in range(2 * ORDERS_AT_ONCE + 1):
        harness.orders.add("job-1")

    await harness.settler.sweep()

    assert harness.orders.taken == [ORDERS_AT_ONCE, ORDERS_AT_ONCE, 1]
    assert len(harness.orders.outcomes) == 2 * ORDERS_AT_ONCE + 1
    assert provider.most == ASKED_AT_ONCE


async def test_a_sweep_over_its_time_leaves_the_rest_to_the_next() -> None:
    harness = SettlingHarness(Counting())
    for _ in range(2 * ORDERS_AT_ONCE):
        harness.orders.add("job-1")

    await harness.settler.sweep(seconds=0.000001)
    after_one = len(harness.orders.due)
    await harness.settler.sweep()

    assert after_one == ORDERS_AT_ONCE
    assert harness.orders.due == []


async def test_a_sweep_without_due_orders_costs_one_request() -> None:
    harness = SettlingHarness()

    await harness.settler.sweep()

    assert harness.orders.taken == [0]


async def test_finishing_settles_all_due_orders() -> None:
    harness = SettlingHarness(Counting())
    for _ in range(ORDERS_AT_ONCE + 1):
        harness.orders.add("job-1")

    await harness.settler.finish(10)

    assert len(harness.orders.outcomes) == ORDERS_AT_ONCE + 1


async def test_finishing_ends_in_time_with_a_hanging_provider() -> None:
    harness = SettlingHarness()
    order = harness.orders.add("job-1")
    harness.provider.hangs = True

    async with asyncio.timeout(5):
        await harness.settler.finish(0.05)

    assert harness.outcome(order) is None, "its lease runs out, and it is asked about again"


async def test_a_stop_ends_finishing_at_once() -> None:
    harness = SettlingHarness()
    harness.orders.add("job-1")
    harness.provider.hangs = True
    finishing = asyncio.create_task(harness.settler.finish(60))
    await eventually(lambda: harness.provider.settled)

    harness.settler.stop()

    async with asyncio.timeout(5):
        await finishing


async def test_a_stopped_sweep_takes_no_orders() -> None:
    harness = SettlingHarness()
    harness.orders.add("job-1")
    harness.settler.stop()

    await harness.settler.sweep()

    assert harness.orders.taken == []
