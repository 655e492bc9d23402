"""What `--once` does, from its first step to its last."""

import asyncio

import pytest

from batchgen.exit_codes import INVALID
from batchgen.models import GenerationStatus
from batchgen.providers.base import RawImage, Settlement
from batchgen.queue.types import OpenOrder, OrderOutcome
from scheduler.__main__ import main
from scheduler.housekeeping import Housekeeping
from scheduler.open_orders import OrderSettler
from scheduler.wiring import WorkerParts, run_once
from tests.fake_orders import FakeOrders
from tests.fake_outbox import FakeFiles, FakeOutbox
from tests.fake_queue import Shelf
from tests.worker.stage import Mall, Shop, Theatre, picture, theatre


class FakeDesk(FakeOrders):
    """Queues the item of an order that turns out to have made a picture."""

    def __init__(self, shelf: Shelf) -> None:
        super().__init__()
        self._shelf = shelf

    async def settle(self, order: OpenOrder, outcome: OrderOutcome) -> bool:
        await super().settle(order, outcome)
        (item,) = self._shelf.add("a fox")
        item.provider, item.provider_job_id = order.provider, order.provider_job_id
        item.model_provider, item.order_key, item.is_late = order.provider, order.order_key, True
        return True


def crew_of(stage: Theatre, shop: Shop) -> tuple[WorkerParts, FakeDesk, FakeOutbox]:
    desk, outbox = FakeDesk(stage.queue.shelf), FakeOutbox()
    settler = OrderSettler(desk, Mall({"shop": shop}), wake=stage.worker.wake)
    return WorkerParts(stage.worker, Housekeeping(outbox, FakeFiles().remove), settler), desk, outbox


async def test_a_picture_that_an_open_order_has_made_is_collected_by_the_very_run() -> None:
    shop = Shop(outcomes={"job-1": Settlement(True, True, RawImage(picture()))})
    stage = theatre(shop)
    crew, desk, outbox = crew_of(stage, shop)
    desk.add("job-1")
    outbox.add("a/1.png")

    await run_once(crew, None)

    (item,) = stage.queue.shelf.items.values()
    assert item.status is GenerationStatus.COMPLETED
    assert (shop.orders, shop.waiting) == ([], ["job-1"])
    assert outbox.entries == {}


async def test_a_provider_that_hangs_leaves_the_items_most_of_the_time() -> None:
    shop = Shop(hangs=True)
    stage = theatre(shop)
    crew, desk, _ = crew_of(stage, shop)
    desk.add("job-1")
    (item,) = stage.queue.shelf.add("a fox")
    item.model_provider = "shop"

    async with asyncio.timeout(5):
        await run_once(crew, 1)

    assert item.status is GenerationStatus.COMPLETED
    assert desk.outcomes == {}


async def test_a_stop_stops_all_of_it() -> None:
    shop = Shop()
    stage = theatre(shop)
    crew, desk, outbox = crew_of(stage, shop)
    desk.add("job-1")
    outbox.add("a/1.png")
    stage.queue.shelf.add("a fox")

    crew.stop()
    await run_once(crew, None)

    assert (desk.taken, outbox.calls, shop.orders) == ([], [], [])


@pytest.mark.parametrize("given", ["nan", "inf", "-1", "0", "1e9", "soon", ""])
def test_a_time_that_is_none_is_refused_with_its_limit_and_an_example(
    given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        main(["--once", f"--max-seconds={given}"])

    assert end.value.code == INVALID
    assert f"--max-seconds: {given!r} is no number above 0 and at most 86400; give seconds" in capsys.readouterr().err
