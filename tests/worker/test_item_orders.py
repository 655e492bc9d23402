"""How an attempt comes to its job, and never to two of them."""

import asyncio
import time
from collections.abc import Callable
from uuid import UUID, uuid4

import pytest

from batchgen.errors import OutcomeUnknown, ProviderBusy, ProviderError, ProviderRejected, ProviderUnavailable
from batchgen.models import GenerationStatus
from batchgen.queue.types import Claim, Fault, NewOrder
from scheduler.leases import Lease, Leases, Stop
from scheduler.runner import Failed, Released, RetryLater, Succeeded
from tests.fake_queue import FakeQueue, Item, Shelf
from tests.support import eventually
from tests.worker.stage import Mall, ScriptedProvider, Shop, Theatre, theatre

BUSY = ProviderBusy("Slow down.", retry_after_seconds=8)
DOWN = ProviderUnavailable("Down.", code="provider_unavailable")
LOST = OutcomeUnknown("The answer was lost.")


def shopping(shop: Shop | None = None, **more: object) -> tuple[Theatre, Shop, Item]:
    """A worker with a shop for all models, and one item."""
    shop = shop or Shop()
    stage = theatre(shop, **more)  # pyright: ignore[reportArgumentType] - as theatre's own
    (item,) = stage.queue.shelf.add("a fox")
    item.model_provider = shop.name
    return stage, shop, item


def left_behind(item: Item, *, job_id: str | None = None) -> UUID:
    """An earlier attempt has begun an order at the shop, and perhaps stored its job's id."""
    item.order = NewOrder(provider="shop", model="as-ordered", version="v0", inputs={"text": "as it was sent"})
    item.order_key, item.provider_job_id = uuid4(), job_id
    item.provider = "shop" if job_id else None
    return item.order_key


async def attempt(stage: Theatre) -> Fault | None:
    """One attempt; the fault that it ended with."""
    outcome = await stage.runner.run(await stage.hold_one())
    return outcome.fault if isinstance(outcome, Failed | RetryLater) else None


async def test_a_purchase_is_written_down_whole_before_it_is_sent() -> None:
    stage, shop, item = shopping()
    shop.submit_gate.clear()

    running = asyncio.create_task(stage.runner.run(await stage.hold_one()))
    await eventually(lambda: shop.sold)

    assert item.order == NewOrder(provider="shop", model="a-model", version="v1", inputs={"text": "a fox", "seed": 1})
    assert item.provider_job_id is None
    shop.submit_gate.set()
    assert isinstance(await running, Succeeded)


async def test_what_is_sent_is_what_was_written_down() -> None:
    stage, shop, item = shopping()

    before = time.monotonic()
    await stage.runner.run(await stage.hold_one())

    (sent,) = shop.orders
    assert item.order
    assert (sent.key, sent.inputs) == (str(item.order_key), item.order.inputs)
    assert (sent.model, sent.model_version, sent.estimated_seconds) == ("a-model", "v1", 4)
    assert sent.ordered_at is not None
    assert before <= sent.ordered_at <= time.monotonic()


async def test_a_provider_that_sells_nothing_needs_no_order_and_no_inputs() -> None:
    stage = theatre()
    (item,) = stage.queue.shelf.add("a")
    item.input_spec = None

    assert isinstance(await stage.runner.run(await stage.hold_one()), Succeeded)

    assert "begin_order" not in stage.queue.calls


async def test_each_model_has_its_own_provider() -> None:
    near, far = Shop(name="near"), Shop(name="far")
    stage = theatre(providers=Mall({"near": near, "far": far}))
    one, other = stage.queue.shelf.add("near by", "far away")
    one.model_provider, other.model_provider = "near", "far"

    await stage.worker.run_once()

    assert (near.submitted, far.submitted) == (["near by"], ["far away"])
    assert (one.provider, other.provider) == ("near", "far")


async def test_a_job_is_resumed_where_it_was_ordered_as_it_was_ordered() -> None:
    shop, other = Shop(), Shop(name="other")
    stage = theatre(providers=Mall({"shop": shop, "other": other}))
    (item,) = stage.queue.shelf.add("a fox")
    key = left_behind(item, job_id="job-of-before")
    item.model_provider, item.input_spec = "other", None

    now = time.monotonic()
    assert isinstance(await stage.runner.run(await stage.hold_one()), Succeeded)

    (request,) = shop.waited_for
    assert shop.waiting == ["job-of-before"]
    assert (request.key, request.inputs) == (str(key), {"text": "as it was sent"})
    assert (request.model, request.model_version) == ("as-ordered", "v0")
    assert request.ordered_at == pytest.approx(now - 100, abs=5)
    assert (shop.submitted, other.submitted) == ([], [])


async def test_a_worker_with_one_provider_for_all_leaves_what_others_have() -> None:
    stage = theatre()
    (item,) = stage.queue.shelf.add("a")
    left_behind(item, job_id="job-of-before")

    assert isinstance(await stage.runner.run(await stage.hold_one()), Succeeded)

    assert stage.provider.waiting == ["job-1"]
    assert stage.provider.cancelled == []


async def test_an_order_that_arrived_is_found_and_resumed() -> None:
    stage, shop, item = shopping()
    shop.sold["job-of-before"] = str(left_behind(item))

    assert isinstance(await stage.runner.run(await stage.hold_one()), Succeeded)

    assert (shop.submitted, shop.waiting) == ([], ["job-of-before"])
    assert item.provider_job_id == "job-of-before"
    (asked,) = shop.finds
    assert (asked.inputs, asked.model) == ({"text": "as it was sent"}, "as-ordered")


async def test_an_order_that_never_arrived_is_sent_once_more_under_its_key() -> None:
    stage, shop, item = shopping()
    key = left_behind(item)

    assert isinstance(await stage.runner.run(await stage.hold_one()), Succeeded)

    assert shop.sold == {"job-1": str(key)}
    assert shop.orders[0].inputs == {"text": "as it was sent"}
    assert shop.orders[0].ordered_at == pytest.approx(time.monotonic(), abs=5)


async def test_an_order_of_which_nobody_can_tell_fails_and_is_never_sent_again() -> None:
    stage, shop, item = shopping()
    left_behind(item)
    shop.cannot_find = LOST

    fault = await attempt(stage)

    assert fault
    assert (fault.code, fault.job_over, fault.is_charged) == ("outcome_unknown", True, None)
    assert item.status is GenerationStatus.FAILED
    assert shop.submitted == []


@pytest.mark.parametrize("error", [BUSY, DOWN])
async def test_a_provider_that_does_not_tell_now_is_asked_later_and_the_order_stays(error: ProviderError) -> None:
    stage, shop, item = shopping()
    key = left_behind(item)
    shop.cannot_find = error

    fault = await attempt(stage)

    assert fault
    assert (fault.code, fault.retryable, fault.job_over, fault.is_charged) == (error.code, True, False, None)
    assert item.order_key == key
    assert shop.submitted == []


async def test_a_search_without_an_end_ends_at_the_deadline_and_the_order_stays() -> None:
    stage, shop, item = shopping(patience={"item_timeout_seconds": 0.05})
    key = left_behind(item)
    shop.hangs = True

    fault = await attempt(stage)

    assert fault
    assert (fault.code, fault.job_over) == ("timeout", False)
    assert item.order_key == key


async def test_nothing_is_bought_for_an_item_that_had_ended() -> None:
    stage, shop, item = shopping()
    left_behind(item)
    item.is_late = True

    fault = await attempt(stage)

    assert fault
    assert (fault.retryable, fault.job_over, fault.is_charged) == (False, True, None)
    assert shop.submitted == []


async def test_the_picture_of_an_item_that_had_ended_is_collected() -> None:
    stage, _, item = shopping()
    left_behind(item, job_id="job-of-before")
    item.is_late = True

    assert isinstance(await stage.runner.run(await stage.hold_one()), Succeeded)

    assert item.image


@pytest.mark.parametrize(
    ("error", "retryable"),
    [
        (ProviderUnavailable("Gone.", code="output_expired", is_charged=True), False),
        (ProviderUnavailable("Down.", code="provider_unavailable", is_job_over=False), True),
    ],
)
async def test_an_item_that_had_ended_is_tried_again_only_while_its_job_goes_on(
    error: ProviderError, retryable: bool
) -> None:
    stage, shop, item = shopping()
    left_behind(item, job_id="job-of-before")
    item.is_late = True
    shop.cannot_wait = [error]

    fault = await attempt(stage)

    assert fault
    assert fault.retryable is retryable


async def test_a_worker_that_cannot_ask_leaves_the_picture_of_an_item_that_had_ended() -> None:
    stage = theatre()
    (item,) = stage.queue.shelf.add("a")
    left_behind(item, job_id="job-of-before")
    item.is_late = True

    fault = await attempt(stage)

    assert fault
    assert (fault.code, fault.retry_after_seconds, fault.job_over) == ("provider_not_set_up", 60, False)
    assert stage.provider.submitted == []


@pytest.mark.parametrize(
    ("error", "retryable", "is_charged"),
    [
        (BUSY, True, False),
        (DOWN, True, False),
        (ProviderRejected("No.", code="invalid_input"), False, False),
        (ProviderUnavailable("Failed.", code="generation_failed", is_charged=True), True, True),
        (LOST, False, None),
    ],
)
async def test_an_order_that_was_turned_away_is_over(
    error: ProviderError, retryable: bool, is_charged: bool | None
) -> None:
    stage, shop, item = shopping()
    shop.refuses = [error]

    fault = await attempt(stage)

    assert fault
    assert (fault.code, fault.retryable, fault.job_over, fault.is_charged) == (error.code, retryable, True, is_charged)
    assert item.order_key is None


async def test_the_purchase_after_one_that_was_turned_away_has_a_key_of_its_own() -> None:
    stage, shop, item = shopping()
    shop.refuses = [DOWN]
    await attempt(stage)
    item.due_at = 0

    assert isinstance(await stage.runner.run(await stage.hold_one()), Succeeded)

    refused, sold = shop.orders
    assert refused.key != sold.key
    assert shop.finds == []


@pytest.mark.parametrize(
    "error",
    [ProviderUnavailable("No answer.", code="answer_lost", is_charged=None), ZeroDivisionError("a fault of ours")],
)
async def test_an_order_whose_answer_got_lost_is_looked_for_and_not_sent_again(error: Exception) -> None:
    stage, shop, item = shopping()
    shop.loses = [error]

    fault = await attempt(stage)
    item.due_at = 0
    outcome = await stage.runner.run(await stage.hold_one())

    assert fault
    assert (fault.job_over, fault.is_charged) == (False, None)
    assert isinstance(outcome, Succeeded)
    assert (len(shop.orders), shop.waiting) == (1, ["job-1"])


async def test_an_order_that_hangs_is_looked_for_and_not_sent_again() -> None:
    stage, shop, item = shopping(patience={"item_timeout_seconds": 0.05})
    shop.submit_gate.clear()

    fault = await attempt(stage)
    item.due_at = 0
    outcome = await stage.runner.run(await stage.hold_one())

    assert fault
    assert (fault.code, fault.job_over, fault.is_charged) == ("timeout", False, None)
    assert isinstance(outcome, Succeeded)
    assert (len(shop.orders), shop.waiting) == (1, ["job-1"])


class SlowToAdmit(Shop):
    """Its answer is already lost when the item's time is over, but it takes until later to say so."""

    async def submit(self, request: object) -> str:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            raise LOST from None
        raise AssertionError


async def test_an_unknown_outcome_that_comes_with_the_deadline_is_final_all_the_same() -> None:
    stage, _, item = shopping(SlowToAdmit(), patience={"item_timeout_seconds": 0.05})

    fault = await attempt(stage)

    assert fault
    assert (fault.code, fault.retryable, fault.job_over, fault.is_charged) == ("outcome_unknown", False, True, None)
    assert item.status is GenerationStatus.FAILED


class PausedAfterBegin(FakeQueue):
    """The whole worker stands still while the answer to `begin_order` is on its way: its lease ends meanwhile."""

    leases: Leases

    async def begin_order(self, claim: Claim, order: NewOrder) -> UUID:
        key = await super().begin_order(claim, order)
        (lease,) = self.leases.held
        lease.prolong(asyncio.get_running_loop().time())
        self.expire(claim)
        return key


async def test_a_worker_that_was_paused_before_it_sent_the_order_does_not_send_it() -> None:
    queue = PausedAfterBegin()
    stage, shop, item = shopping(queue=queue)
    queue.leases = stage.leases

    outcome = await stage.runner.run(await stage.hold_one())
    sent_meanwhile = len(shop.orders)
    taken_over, _, _ = shopping(shop, queue=FakeQueue(queue.shelf))
    queue.shelf.items = {item.id: item}
    theirs = await taken_over.runner.run(await taken_over.hold_one())

    assert (outcome, sent_meanwhile) == (Released(Stop.LOST), 0)
    assert isinstance(theirs, Succeeded)
    assert list(shop.sold) == ["job-1"]


class CancelledAfterBegin(FakeQueue):
    """Somebody cancels just before the order is sent."""

    leases: Leases

    async def begin_order(self, claim: Claim, order: NewOrder) -> UUID:
        key = await super().begin_order(claim, order)
        for lease in self.leases.held:
            lease.stop(Stop.CANCELLED)
        return key


async def test_an_order_that_was_cancelled_before_it_was_sent_is_not_sent_and_costs_nothing() -> None:
    queue = CancelledAfterBegin()
    stage, shop, _ = shopping(queue=queue)
    queue.leases = stage.leases

    fault = await attempt(stage)

    assert fault
    assert (fault.code, fault.job_over, fault.is_charged) == ("cancelled", True, False)
    assert shop.orders == []


async def test_a_shutdown_while_an_order_is_sent_leaves_a_job_that_is_stored() -> None:
    stage, shop, item = shopping()
    shop.submit_gate.clear()
    lease = await stage.hold_one()
    running = asyncio.create_task(stage.runner.run(lease))
    await eventually(lambda: shop.sold)

    lease.stop(Stop.SHUTDOWN)
    shop.submit_gate.set()

    assert await running == Released(Stop.SHUTDOWN)
    assert item.provider_job_id == "job-1"
    assert shop.cancelled == []


async def test_a_job_that_can_be_found_is_not_cancelled_where_its_id_could_not_be_stored() -> None:
    stage, shop, item = shopping()
    shop.submit_gate.clear()
    lease = await stage.hold_one()
    running = asyncio.create_task(stage.runner.run(lease))
    await eventually(lambda: shop.sold)
    stage.queue.expire(lease.claim)

    shop.submit_gate.set()
    outcome = await running
    theirs = await stage.runner.run(await stage.hold_one())

    assert outcome == Released(Stop.LOST)
    assert shop.cancelled == [], "whoever took the item over waits for it"
    assert isinstance(theirs, Succeeded)
    assert list(shop.sold) == ["job-1"]
    assert item.provider_job_id == "job-1"


@pytest.mark.parametrize(
    ("spec", "code"), [(None, "inputs_missing"), ({"prompt": "text", "sed": 1}, "invalid_inputs_spec")]
)
async def test_a_model_whose_row_is_wrong_waits_and_its_provider_does_not(
    spec: dict[str, object] | None, code: str
) -> None:
    stage, shop, item = shopping()
    item.input_spec = spec

    fault = await attempt(stage)

    assert fault
    assert (fault.code, fault.retryable, fault.retry_after_seconds, fault.model_fault) == (code, True, 60, True)
    assert (fault.provider, fault.is_charged) == (None, None)
    assert item.retry_count == 0
    assert shop.orders == []


@pytest.mark.parametrize(
    ("name", "code", "is_the_models"),
    [("shop", "provider_not_set_up", False), ("a-misspelt-one", "provider_unknown", True)],
)
async def test_a_provider_that_this_worker_cannot_ask_makes_items_wait(
    name: str, code: str, is_the_models: bool
) -> None:
    stage = theatre(providers=Mall({}, closed=frozenset({"shop"})))
    (item,) = stage.queue.shelf.add("a fox")
    item.model_provider = name

    fault = await attempt(stage)

    assert fault
    assert (fault.code, fault.model_fault, fault.retry_after_seconds) == (code, is_the_models, 60)
    assert fault.provider == (None if is_the_models else "shop")
    assert item.retry_count == 0


async def test_an_order_at_a_provider_that_this_worker_cannot_ask_stays() -> None:
    stage = theatre(providers=Mall({}, closed=frozenset({"shop"})))
    (item,) = stage.queue.shelf.add("a fox")
    left_behind(item, job_id="job-of-before")

    fault = await attempt(stage)

    assert fault
    assert (fault.code, fault.job_over) == ("provider_not_set_up", False)
    assert item.provider_job_id == "job-of-before"


Breakage = Callable[[FakeQueue, Shop], Callable[[], object]]
"""Breaks something on the way of an order, and returns what tells that an attempt has come so far."""


def _begin_down(queue: FakeQueue, _: Shop) -> Callable[[], object]:
    queue.down_calls = {"begin_order"}
    return lambda: "begin_order" in queue.calls


def _begin_forgotten(queue: FakeQueue, _: Shop) -> Callable[[], object]:
    queue.forgets = ["begin_order"]
    return lambda: "begin_order" in queue.calls


def _turned_away(_: FakeQueue, shop: Shop) -> Callable[[], object]:
    shop.refuses = [DOWN]
    return lambda: shop.orders


def _answer_lost(_: FakeQueue, shop: Shop) -> Callable[[], object]:
    shop.loses = [ProviderUnavailable("Lost.", code="answer_lost", is_charged=None)]
    return lambda: shop.sold


def _answer_hangs(_: FakeQueue, shop: Shop) -> Callable[[], object]:
    shop.submit_gate.clear()
    return lambda: shop.sold


def _attach_down(queue: FakeQueue, _: Shop) -> Callable[[], object]:
    queue.down_calls = {"attach"}
    return lambda: "attach" in queue.calls


def _attach_forgotten(queue: FakeQueue, _: Shop) -> Callable[[], object]:
    queue.forgets = ["attach"]
    return lambda: "attach" in queue.calls


def _complete_down(queue: FakeQueue, _: Shop) -> Callable[[], object]:
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
async def test_one_picture_is_sold_once_whatever_breaks_on_the_way(breakage: Breakage, ending: str) -> None:
    shelf, shop = Shelf(), Shop()
    (item,) = shelf.add("a fox")
    item.model_provider = "shop"
    stage = theatre(shop, queue=FakeQueue(shelf, lease_seconds=30), patience={"item_timeout_seconds": 0.1})
    is_reached = breakage(stage.queue, shop)

    lease = await stage.hold_one()
    running = asyncio.create_task(stage.runner.run(lease))
    await eventually(is_reached, every=0)
    await _end(ending, stage, lease, running)
    shop.submit_gate.set()
    await _until_completed(shelf, shop, item)

    assert len(shop.sold) == 1
    assert item.status is GenerationStatus.COMPLETED


async def _end(ending: str, stage: Theatre, lease: Lease, running: asyncio.Task[object]) -> None:
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
    stage.leases.settle(lease)


async def _until_completed(shelf: Shelf, shop: Shop, item: Item) -> None:
    """Other workers take the item over, as often as it comes back."""
    for _ in range(4):
        if item.status is GenerationStatus.COMPLETED:
            return
        if item.lease_id is not None:
            item.lease_ends_at = 0
        item.due_at = 0
        stage = theatre(shop, queue=FakeQueue(shelf))
        await stage.runner.run(await stage.hold_one())


async def test_a_provider_without_a_memory_is_not_believed_to_know_of_an_order() -> None:
    """It was one that sells when the order was begun, and is another one by the same name now."""
    stage = theatre(ScriptedProvider(name="shop"))
    (item,) = stage.queue.shelf.add("a fox")
    left_behind(item)

    fault = await attempt(stage)

    assert fault
    assert (fault.code, fault.job_over) == ("outcome_unknown", True)
    assert stage.provider.submitted == []
