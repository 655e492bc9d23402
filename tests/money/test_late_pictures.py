"""A job that ends after its item timed out: its picture is collected, and nothing is ordered again."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.money.conftest import StartFake, Submit
from tests.money.faulty_hosted_servers import LATE_SECONDS, FaultyFalServer, FaultyReplicateServer
from tests.money.run import make_orders_due
from tests.providers.faulty_server import Fault
from tests.support import Database, WorkerProcess, eventually

PROMPT = "this one takes its time #late"


@pytest.mark.parametrize("provider", ["replicate", "fal"])
async def test_the_sweep_collects_a_picture_paid_for_after_its_item_failed(
    provider: str,
    start_fake: StartFake,
    submit: Submit,
    start_worker: Callable[..., Awaitable[WorkerProcess]],
    pace: Callable[..., Awaitable[None]],
    database: Database,
) -> None:
    await pace(max_retries=0)
    fake = await start_fake(provider)
    assert isinstance(fake.server, FaultyReplicateServer | FaultyFalServer)
    fake.server.fail("cancel", *[Fault(500)] * 100)
    worker = await start_worker(fake, BATCHGEN_ITEM_TIMEOUT_SECONDS=str(LATE_SECONDS / 2))
    await worker.logs("worker starts")

    batch = await submit(fake.model_id, [PROMPT, "a quick one"])
    failed = await eventually(lambda: _late_item(database, batch, "failed"), 30, what="the item has failed")
    await eventually(lambda: fake.provider_log.total(prompt=PROMPT), 20, what="the job is charged")
    completed = await _collected(database, batch)

    assert failed["error_message"]
    assert completed["error_message"] is None
    assert fake.provider_log.count("created") == 2
    query = "select * from batchgen.charges where generation_id = %s order by attempt"
    first, last = await (await database.execute(query, [completed["id"]])).fetchall()
    assert (first["outcome"], first["amount_usd"], first["is_late"]) == ("timeout", 0, False)
    assert (last["outcome"], last["amount_usd"], last["is_late"]) == ("completed", fake.setup.price_usd, True)
    left = await database.execute("select 1 from batchgen.orders where generation_id = %s", [completed["id"]])
    assert await left.fetchone() is None


async def _collected(database: Database, batch: str) -> dict[str, Any]:
    async def item() -> dict[str, Any] | None:
        await make_orders_due(database)
        return await _late_item(database, batch, "completed")

    found = await eventually(item, 30, every=0.1, what="the picture is collected")
    assert found
    return found


async def _late_item(database: Database, batch: str, status: str) -> Any:
    query = "select * from public.image_generations where batch_id = %s and prompt = %s and status = %s"
    return await (await database.execute(query, [batch, PROMPT, status])).fetchone()
