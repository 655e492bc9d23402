"""The steps of `--once`: open orders, items, housekeeping."""

import asyncio

import pytest

from batchgen.exit_codes import INVALID
from batchgen.models import GenerationStatus
from batchgen.order_state import CHARGED
from batchgen.providers.base import RawImage, Settlement
from batchgen.queue.types import OpenOrder, OrderOutcome
from scheduler.__main__ import main
from scheduler.credits import CreditHousekeeping
from scheduler.exports import Exporter
from scheduler.housekeeping import Housekeeping
from scheduler.open_orders import OrderSettler
from scheduler.schedules import ScheduleRunner
from scheduler.wiring import WorkerParts, run_once
from tests.fake_exports import FakeExportFiles, FakeExports, no_download
from tests.fake_orders import FakeOrders
from tests.fake_outbox import FakeFiles, FakeOutbox
from tests.fake_queue import QueueState
from tests.fake_schedules import FakeSchedules
from tests.worker.worker_harness import FakePaidProvider, FakeProviders, WorkerHarness, picture, worker_harness


class CollectingOrders(FakeOrders):
    """Queues the item of an order that turns out to have made a picture."""

    def __init__(self, state: QueueState) -> None:
        super().__init__()
        self._state = state

    async def settle(self, order: OpenOrder, outcome: OrderOutcome) -> bool:
        await super().settle(order, outcome)
        (item,) = self._state.add("a fox")
        item.provider, item.provider_job_id = order.provider, order.provider_job_id
        item.model_provider, item.order_key, item.is_late = order.provider, order.order_key, True
        return True


async def no_horizon() -> None:
    pass


async def no_grants(_limit: int) -> int:
    return 0


def parts_of(harness: WorkerHarness, provider: FakePaidProvider) -> tuple[WorkerParts, CollectingOrders, FakeOutbox]:
    orders, outbox = CollectingOrders(harness.queue.state), FakeOutbox()
    settler = OrderSettler(orders, FakeProviders({"fake-provider": provider}), wake=harness.worker.wake)
    schedules = ScheduleRunner(FakeSchedules(), wake=harness.worker.wake)
    credits = CreditHousekeeping(no_grants, no_horizon)
    housekeeping = Housekeeping(outbox, FakeFiles().remove)
    exporter = Exporter(FakeExports(), FakeExportFiles(), no_download)
    return WorkerParts(harness.worker, housekeeping, settler, credits, exporter, schedules), orders, outbox


async def test_a_run_collects_the_picture_of_an_open_order() -> None:
    provider = FakePaidProvider(outcomes={"job-1": Settlement(CHARGED, RawImage(picture()))})
    harness = worker_harness(provider)
    parts, orders, outbox = parts_of(harness, provider)
    orders.add("job-1")
    outbox.add("a/1.png")

    await run_once(parts, None)

    (item,) = harness.queue.state.items.values()
    assert item.status is GenerationStatus.COMPLETED
    assert (provider.orders, provider.waiting) == ([], ["job-1"])
    assert outbox.entries == {}


async def test_a_hanging_provider_leaves_most_of_the_run_to_the_items() -> None:
    provider = FakePaidProvider(hangs=True)
    harness = worker_harness(provider)
    parts, orders, _ = parts_of(harness, provider)
    orders.add("job-1")
    (item,) = harness.queue.state.add("a fox")
    item.model_provider = "fake-provider"

    async with asyncio.timeout(20):
        await run_once(parts, 4)

    assert item.status is GenerationStatus.COMPLETED
    assert orders.outcomes == {}


async def test_a_stop_ends_every_part_of_the_run() -> None:
    provider = FakePaidProvider()
    harness = worker_harness(provider)
    parts, orders, outbox = parts_of(harness, provider)
    orders.add("job-1")
    outbox.add("a/1.png")
    harness.queue.state.add("a fox")

    parts.stop()
    await run_once(parts, None)

    assert (orders.taken, outbox.calls, provider.orders) == ([], [], [])


@pytest.mark.parametrize("given", ["nan", "inf", "-1", "0", "1e9", "soon", ""])
def test_an_invalid_max_seconds_is_refused_with_limit_and_example(
    given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--once", f"--max-seconds={given}"])

    assert end.value.code == INVALID
    assert (
        f"--max-seconds: {given!r} is not a number above 0 and at most 86400; give seconds" in capsys.readouterr().err
    )
