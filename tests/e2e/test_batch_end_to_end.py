"""A batch from the outside: submitted, run, stored, watched live."""

import asyncio
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image
from postgrest import APIError

from batchgen.providers.offline import read_metadata
from devstack import StackInfo
from tests.running_app import running_app
from tests.support import Database, User, WorkerProcess, eventually

LEASE_LOST = ("lease expired before it could be renewed", "lease lost, item stopped")


def tells_of_lost_leases(line: dict[str, Any]) -> bool:
    """A log line about lost leases. They are logged one by one; the heartbeat, if it is the first after a pause, counts
    them.
    """
    return line["event"] in LEASE_LOST or (line["event"] == "worker was not awake" and line["leases_ended"] > 0)


StartWorker = Callable[..., Awaitable[WorkerProcess]]


async def submit(user: User, *texts: str, width: int = 128, height: int = 128) -> dict[str, Any]:
    request = {"prompts": [{"text": text} for text in texts], "shared_settings": {"width": width, "height": height}}
    answer = await user.client.rpc("create_batch", {"p_request": request}).execute()
    return answer.data["batch"]  # type: ignore[index,call-overload,return-value]


async def finished(database: Database, batch_ids: list[str], timeout: float = 60) -> list[dict[str, Any]]:
    """Wait until all of these batches are final, and return them."""

    async def look() -> list[dict[str, Any]]:
        rows = await (
            await database.execute("select * from public.batch_generations where id = any (%s)", [batch_ids])
        ).fetchall()
        return rows if all(row["status"] in ("completed", "partial", "failed") for row in rows) else []

    return await eventually(look, timeout, every=0.1, what="the end of the batches")


async def items(database: Database, batch_id: str) -> list[dict[str, Any]]:
    query = "select * from public.image_generations where batch_id = %s order by batch_index"
    return await (await database.execute(query, [batch_id])).fetchall()


async def pictures(database: Database, batch_id: str) -> list[dict[str, Any]]:
    query = (
        "select i.* from public.images i join public.image_generations g on g.id = i.generation_id"
        " where g.batch_id = %s order by i.id"
    )
    return await (await database.execute(query, [batch_id])).fetchall()


async def test_a_batch_of_five_stores_five_different_pictures(
    start_worker: StartWorker, user: User, database: Database
) -> None:
    await start_worker(BATCHGEN_OFFLINE_FORMAT="png")

    batch = await submit(user, *[f"a fox number {n}" for n in range(5)], width=320, height=192)
    [row] = await finished(database, [batch["id"]])

    assert (row["status"], row["completed_count"], row["failed_count"]) == ("completed", 5, 0)
    images = await (
        await database.execute("select * from public.images where user_id = %s order by filename", [user.id])
    ).fetchall()
    assert len(images) == 5
    contents = set[bytes]()
    async with httpx.AsyncClient() as http:
        for image in images:
            content = (await http.get(image["public_url"])).content
            contents.add(content)
            assert Image.open(BytesIO(content)).size == (320, 192)
            assert (image["width"], image["height"], image["file_size"]) == (320, 192, len(content))
            assert image["storage_path"] == f"{user.id}/{image['generation_id']}.png"
            assert read_metadata(content)["prompt"] == image["prompt"]
            assert len(image["blurhash"]) == 28
    assert len(contents) == 5


async def test_a_failed_item_makes_the_batch_partial_and_tells_why(
    start_worker: StartWorker, user: User, database: Database
) -> None:
    await start_worker()

    batch = await submit(user, "a lake", "a hill #fail", "a tree", "a bad thing #blocked")
    [row] = await finished(database, [batch["id"]])

    assert (row["status"], row["completed_count"], row["failed_count"]) == ("partial", 2, 2)
    lake, hill, tree, bad = await items(database, batch["id"])
    assert [lake["status"], tree["status"]] == ["completed", "completed"]
    assert [hill["status"], bad["status"]] == ["failed", "failed"]
    assert hill["error_message"]
    assert bad["error_message"]
    assert (hill["retry_count"], bad["retry_count"]) == (0, 0)


async def test_an_item_is_retried_after_the_configured_delays(
    start_worker: StartWorker, user: User, database: Database, limits: Callable[..., Awaitable[None]]
) -> None:
    await limits(retry_delays_seconds=[1, 2, 30])
    worker = await start_worker(BATCHGEN_POLL_SECONDS="0.2", BATCHGEN_OFFLINE_SECONDS="0.1")

    batch = await submit(user, "a lake", "a hill #fail:2")
    [row] = await finished(database, [batch["id"]])

    assert row["status"] == "completed"
    _, hill = await items(database, batch["id"])
    assert hill["retry_count"] == 2
    starts = [line["timestamp"] for line in worker.named("item started") if line["generation_id"] == str(hill["id"])]
    first, second, third = (_seconds(stamp) for stamp in starts)
    assert second - first >= 1
    assert third - second >= 2
    assert third - first < 30, "the third delay was not used"


async def test_the_app_sees_each_change_in_order_and_others_see_nothing(
    start_worker: StartWorker, new_user: Callable[[], Awaitable[User]], stack: StackInfo, database: Database
) -> None:
    owner, stranger = await new_user(), await new_user()
    prompts = [{"text": f"a red boat {n}"} for n in range(4)]
    request = {"prompts": prompts, "shared_settings": {"width": 128, "height": 128}}

    task = {
        "owner": {"email": owner.email, "password": owner.password},
        "stranger": {"email": stranger.email, "password": stranger.password},
        "request": request,
    }
    async with running_app("app.mjs", stack, task) as app:
        batch = await app.event("created")
        await app.event("watching")
        await start_worker()
        await finished(database, [batch["id"]])
        await eventually(lambda: len(app.seen("owner")) == 8, what="two changes of each of the four items")
        app.send(f"look {owner.id}")
        stranger_reads, progress = await app.event("stranger_reads"), await app.event("progress")
        app.send("stop")

    steps: dict[str, list[str]] = {item["id"]: [item["status"]] for item in batch["generations"]}
    for change in app.seen("owner"):
        steps[change["row"]["id"]].append(change["row"]["status"])
    assert set(map(tuple, steps.values())) == {("pending", "processing", "completed")}
    assert app.seen("stranger") == []
    assert stranger_reads == {
        "batches": [],
        "generations": [],
        "images": [],
        "progress": [],
        "files": [],
        "claim": "42501",
        "as_another": "42501",
    }
    assert (progress["completed_count"], progress["processing_count"]) == (4, 0)
    assert [item["progress"] for item in progress["items"]] == [100] * 4


async def test_a_killed_worker_loses_no_item_and_stores_none_twice(
    start_worker: StartWorker, user: User, database: Database
) -> None:
    first = await start_worker(BATCHGEN_LEASE_SECONDS="3", BATCHGEN_OFFLINE_SECONDS="0.6")
    batch = await submit(user, *[f"a bird {n}" for n in range(10)])

    async def in_the_middle() -> bool:
        states = [item["status"] for item in await items(database, batch["id"])]
        return states.count("completed") >= 2 and states.count("processing") >= 1

    await eventually(in_the_middle, 30)
    first.process.kill()
    await start_worker(BATCHGEN_LEASE_SECONDS="3", BATCHGEN_POLL_SECONDS="0.3")
    [row] = await finished(database, [batch["id"]])

    assert (row["status"], row["completed_count"]) == ("completed", 10)
    images = await pictures(database, batch["id"])
    assert len({image["generation_id"] for image in images}) == len(images) == 10
    stored = await user.client.storage.from_("generated-images").list(user.id)
    thumbnails = [file for file in stored if file["name"].endswith(".thumb.webp")]
    assert len(stored) - len(thumbnails) == 10
    assert {f"{user.id}/{file['name']}" for file in thumbnails} == {image["thumbnail_path"] for image in images}


async def test_a_worker_suspended_past_its_leases_drops_its_results(
    start_worker: StartWorker, user: User, database: Database
) -> None:
    paused = await start_worker(BATCHGEN_LEASE_SECONDS="2", BATCHGEN_OFFLINE_SECONDS="1")
    batch = await submit(user, "a frog", "a swan", "a hare")
    await paused.logs("item started", 3)
    paused.send(signal.SIGSTOP)

    await start_worker(BATCHGEN_LEASE_SECONDS="2", BATCHGEN_POLL_SECONDS="0.3")
    await finished(database, [batch["id"]])
    before = await pictures(database, batch["id"])
    paused.send(signal.SIGCONT)
    await eventually(lambda: [line for line in paused.events if tells_of_lost_leases(line)], what="a lost lease")

    [row] = await finished(database, [batch["id"]])
    assert (row["status"], row["completed_count"]) == ("completed", 3)
    assert await pictures(database, batch["id"]) == before
    assert paused.named("item completed") == []
    paused.send(signal.SIGTERM)
    assert await paused.exit_code() == 0


async def test_thirty_batches_on_two_workers_never_exceed_the_limits(
    start_worker: StartWorker, new_user: Callable[[], Awaitable[User]], database: Database
) -> None:
    users = [await new_user() for _ in range(10)]
    async with watched_limits(database) as most_running:
        for _ in range(2):
            await start_worker(BATCHGEN_OFFLINE_SECONDS="0.3")
        batches = await asyncio.gather(
            *(submit(user, *[f"a tree {n}" for n in range(4)], width=64, height=64) for user in users for _ in range(3))
        )
        rows = await finished(database, [batch["id"] for batch in batches], timeout=90)
        per_user, total = await most_running()

    assert {row["status"] for row in rows} == {"completed"}
    assert 1 <= per_user <= 3
    assert 1 <= total <= 20


@asynccontextmanager
async def watched_limits(database: Database) -> AsyncGenerator[Callable[[], Awaitable[tuple[int, int]]]]:
    """A trigger counts each start of an item inside its own transaction, so that no moment is missed."""
    await database.execute("""
        create table public.most_running (per_user integer, total integer);
        create function public.note_running() returns trigger language plpgsql security definer as $$
        begin
          insert into public.most_running
          select max(running), sum(running)
          from (select count(*) as running from batchgen.queue where state = 'running' group by user_id) u;
          return null;
        end $$;
        create trigger note_running after update on batchgen.queue
          for each statement execute function public.note_running();
    """)

    async def most() -> tuple[int, int]:
        row = await (
            await database.execute("select max(per_user) as per_user, max(total) as total from public.most_running")
        ).fetchone()
        assert row
        return row["per_user"], row["total"]

    try:
        yield most
    finally:
        await database.execute(
            "drop trigger note_running on batchgen.queue; drop function public.note_running;"
            " drop table public.most_running"
        )


def _seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


@pytest.mark.parametrize("function", ["return_expired_leases", "claim_generations"])
async def test_a_worker_function_is_refused_to_a_user(user: User, function: str) -> None:
    arguments = {"p_worker": "x", "p_limit": 1, "p_lease_seconds": 30} if function == "claim_generations" else {}

    with pytest.raises(APIError) as refused:
        await user.client.rpc(function, arguments).execute()

    assert refused.value.code == "42501"
