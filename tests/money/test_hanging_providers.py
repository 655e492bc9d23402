"""A provider that never answers occupies a slot until the item's deadline, and no longer."""

from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from tests.money.conftest import StartFake, Submit
from tests.support import Database, WorkerProcess, eventually

DEADLINE_SECONDS = 3.0
LAST_WORDS_SECONDS = 3.0
"""Time for cancelling, one last question and the write to the database, on a busy machine."""
HUNG = ("nobody answers this #hanging", "nobody ends this #endless")


@pytest.mark.parametrize("provider", ["replicate", "fal", "openai"])
async def test_a_hanging_item_costs_its_slot_only_until_the_deadline(
    provider: str,
    start_fake: StartFake,
    submit: Submit,
    start_worker: Callable[..., Awaitable[WorkerProcess]],
    pace: Callable[..., Awaitable[None]],
    database: Database,
) -> None:
    await pace(max_retries=0, max_parallel_per_user=3)
    fake = await start_fake(provider)
    worker = await start_worker(
        fake, BATCHGEN_MAX_PARALLEL="3", BATCHGEN_ITEM_TIMEOUT_SECONDS=str(DEADLINE_SECONDS),
        BATCHGEN_PROVIDER_TIMEOUT_SECONDS="60",
    )  # fmt: skip
    await worker.logs("worker starts")

    batch = await submit(fake.model_id, [*HUNG, *(f"a quick one, number {number}" for number in range(8))])

    items = await _when_all_are_final(database, batch)
    hung, quick = items[:2], items[2:]
    assert [item["status"] for item in hung] == ["failed"] * 2
    assert [item["status"] for item in quick] == ["completed"] * 8
    for item in hung:
        longest = timedelta(seconds=DEADLINE_SECONDS + LAST_WORDS_SECONDS)
        assert _slot_time(worker, item) < longest
    assert min(item["completed_at"] for item in quick) < min(item["completed_at"] for item in hung)
    endless = [event["event"] for event in fake.provider_log.of(HUNG[1])]
    assert endless[0] == "created"
    assert endless.count("created") == 1
    if provider != "openai":  # whose orders cannot be stopped
        assert "cancelled" in endless


async def _when_all_are_final(database: Database, batch: str) -> list[dict[str, Any]]:
    async def items() -> list[dict[str, Any]]:
        query = "select * from public.image_generations where batch_id = %s order by batch_index"
        rows = await (await database.execute(query, [batch])).fetchall()
        return rows if all(row["status"] in ("completed", "failed") for row in rows) else []

    return await eventually(items, 40, every=0.1, what="all items are final")


def _slot_time(worker: WorkerProcess, item: dict[str, Any]) -> timedelta:
    """Seconds from the start of the attempt to its end, by the worker's own log."""
    own = [event for event in worker.events if event.get("generation_id") == str(item["id"])]
    times = [
        datetime.fromisoformat(event["timestamp"]) for event in own if event["event"] in ("item started", "item failed")
    ]
    assert len(times) == 2, own
    return times[1] - times[0]
