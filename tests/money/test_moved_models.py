"""A model is added, and moved to another provider, in SQL alone, while workers run."""

from collections.abc import Awaitable, Callable

from tests.money.conftest import StartFake, Submit
from tests.support import Database, WorkerProcess, eventually

MOVE = """
    update batchgen.models set provider = 'fal', provider_model = 'fal-ai/flux/dev', price_usd = %s where id = %s
"""


async def test_a_moved_model_is_ordered_elsewhere_from_the_next_claim(
    start_fake: StartFake,
    submit: Submit,
    start_worker: Callable[..., Awaitable[WorkerProcess]],
    pace: Callable[..., Awaitable[None]],
    database: Database,
) -> None:
    await pace()
    first, second = await start_fake("replicate"), await start_fake("fal")
    worker = await start_worker(first, second)
    await worker.logs("worker starts")

    before = await submit(first.model_id, ["made at the first, one", "made at the first, two"])
    await eventually(lambda: first.provider_log.count("created") == 2, 20, what="the first provider has both jobs")
    await database.execute(MOVE, [second.setup.price_usd, first.model_id])
    after = await submit(first.model_id, ["made at the second, one", "made at the second, two"])

    for batch in (before, after):
        await eventually(lambda batch=batch: _is_completed(database, batch), 30, every=0.1, what="the batch is made")
    assert (first.provider_log.count("charged"), second.provider_log.count("charged")) == (2, 2)
    assert await _charges(database, before) == [("replicate", first.setup.price_usd)] * 2
    assert await _charges(database, after) == [("fal", second.setup.price_usd)] * 2
    assert worker.process.returncode is None


async def _is_completed(database: Database, batch: str) -> bool:
    found = await database.execute(
        "select 1 from public.batch_generations where id = %s and status = 'completed'", [batch]
    )
    return await found.fetchone() is not None


async def _charges(database: Database, batch: str) -> list[tuple[str, object]]:
    query = "select provider, amount_usd from batchgen.charges where batch_id = %s and is_paid"
    return [(row["provider"], row["amount_usd"]) for row in await (await database.execute(query, [batch])).fetchall()]
