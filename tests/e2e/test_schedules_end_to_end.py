"""Schedules from the outside: worker processes run them, whoever dies; supabase-js manages them."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

from devstack import StackInfo
from tests.running_app import running_app
from tests.support import Database, User, WorkerProcess, eventually

StartWorker = Callable[..., Awaitable[WorkerProcess]]
REQUEST = {
    "prompts": [{"text": "a red fox"}, {"text": "a blue bird"}],
    "shared_settings": {"width": 64, "height": 64},
}


async def create(user: User, **fields: Any) -> dict[str, Any]:
    answer = await user.client.rpc("create_schedule", {"p_schedule": {"request": REQUEST} | fields}).execute()
    return answer.data["schedule"]  # type: ignore[index,call-overload,return-value]


async def runs(database: Database, schedule_id: str) -> list[dict[str, Any]]:
    query = "select * from batchgen.schedule_runs where schedule_id = %s order by slot"
    return await (await database.execute(query, [schedule_id])).fetchall()


async def test_three_workers_run_each_slot_once_though_one_is_killed(
    start_worker: StartWorker, user: User, database: Database
) -> None:
    made = [await create(user, cron="*/5 * * * *", missed_runs="all") for _ in range(3)]
    start = datetime.now(UTC) - timedelta(hours=1)
    await database.execute(
        "update batchgen.batch_schedules set planned_until = %s, slots = '{}' where id = any (%s)",
        [start, [one["id"] for one in made]],
    )

    workers = await asyncio.gather(*(start_worker(BATCHGEN_POLL_SECONDS="0.2") for _ in range(3)))

    async def has_begun() -> bool:
        return bool(await runs(database, made[0]["id"]))

    await eventually(has_begun, what="the first run")
    workers[0].send(signal.SIGKILL)

    async def is_over() -> bool:
        row = await (
            await database.execute(
                "select bool_and(due_at > now()) as over from batchgen.batch_schedules where user_id = %s", [user.id]
            )
        ).fetchone()
        return bool(row and row["over"])

    await eventually(is_over, 60, what="the end of all due slots")
    for one in made:
        recorded = await runs(database, one["id"])
        slots = [run["slot"] for run in recorded]
        assert len(slots) in (12, 13)
        assert all(second - first == timedelta(minutes=5) for first, second in pairwise(slots))
        assert {run["outcome"] for run in recorded} == {"submitted"}
        assert len({run["batch_id"] for run in recorded}) == len(slots)
    query = "select count(*)::integer as batches from public.batch_generations where user_id = %s"
    counted = await (await database.execute(query, [user.id])).fetchone()
    assert counted
    assert counted["batches"] == sum([len(await runs(database, one["id"])) for one in made])
    await database.execute("delete from batchgen.batch_schedules where user_id = %s", [user.id])
    await database.execute("delete from public.image_generations where user_id = %s", [user.id])


async def test_a_run_once_makes_the_pictures_of_a_schedule_that_is_due(
    stack: StackInfo, empty_queue: None, user: User, database: Database
) -> None:
    made = await create(user, run_at=datetime.now(UTC).isoformat())
    worker = await WorkerProcess.start(
        {
            "SUPABASE_URL": stack.url,
            "SUPABASE_SECRET_KEY": stack.secret_key,
            "BATCHGEN_OFFLINE_SECONDS": "0.05",
        },
        "--once",
    )
    assert await worker.exit_code(60) == 0, worker.lines

    [run] = await runs(database, made["id"])
    assert run["outcome"] == "submitted"
    row = await (
        await database.execute("select * from public.batch_generations where id = %s", [run["batch_id"]])
    ).fetchone()
    assert row
    assert row["status"] == "completed"


async def test_supabase_js_manages_schedules_and_strangers_learn_nothing(
    stack: StackInfo, start_worker: StartWorker, user: User, new_user: Callable[[], Awaitable[User]]
) -> None:
    await start_worker(BATCHGEN_POLL_SECONDS="0.2")
    stranger = await new_user()
    task = {
        "owner": {"email": user.email, "password": user.password},
        "stranger": {"email": stranger.email, "password": stranger.password},
        "request": REQUEST,
    }

    async with running_app("schedules.mjs", stack, task) as app:
        await app.event("done")
        [created], [planned], [edited] = app.seen("created"), app.seen("planned"), app.seen("edited")
        [paused], [resumed], [left] = app.seen("paused"), app.seen("resumed"), app.seen("left")
        refusals = app.seen("refused")

    assert created["state"] == "active"
    assert len(planned) == 5
    assert all(datetime.fromisoformat(time).minute == 0 for time in planned)
    assert (edited["name"], edited["missed_runs"]) == ("Foxes", "skip")
    assert (paused["state"], resumed["state"]) == ("paused", "active")
    assert left == []
    assert len(refusals) == 12
    assert {refusal["code"] for refusal in refusals} == {"schedule_not_found"}
    assert len({str(refusal) for refusal in refusals}) == 1
