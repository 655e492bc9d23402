"""The existing app, unchanged: its own calls, through supabase-js, with a user's token."""

import uuid
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from devstack import StackInfo
from tests.running_app import RunningApp, running_app
from tests.support import Database, User, WorkerProcess, eventually

StartWorker = Callable[..., Awaitable[WorkerProcess]]
NewUser = Callable[[], Awaitable[User]]
Limits = Callable[..., Awaitable[None]]
FINAL = ("completed", "partial", "failed")
SHORT_LEASE = {"BATCHGEN_LEASE_SECONDS": "3"}
"""Workers see a cancel request when they renew."""


@pytest.fixture
async def owner(new_user: NewUser) -> User:
    return await new_user()


@pytest.fixture
async def stranger(new_user: NewUser) -> User:
    return await new_user()


def app_of(stack: StackInfo, user: User) -> AbstractAsyncContextManager[RunningApp]:
    return running_app("contract.mjs", stack, {"email": user.email, "password": user.password})


def request(*texts: str, **more: Any) -> dict[str, Any]:
    shared = {"model_id": "", "model_version": None, "width": 128, "height": 128, "steps": 20, "guidance_scale": 7.5}
    return {"prompts": [{"text": text} for text in texts], "shared_settings": shared, **more}


async def submit(app: RunningApp, *texts: str) -> dict[str, Any]:
    answer = await app.call("submit", "batch-generate", request(*texts))
    assert answer["error"] is None, answer
    return answer["data"]["batch"]


async def rows(database: Database, query: str, *arguments: Any) -> list[dict[str, Any]]:
    return await (await database.execute(query, arguments)).fetchall()  # type: ignore[arg-type]


async def items_of(database: Database, batch: dict[str, Any]) -> list[dict[str, Any]]:
    """By ids, because items outlive their batch."""
    ids = [item["id"] for item in batch["generations"]]
    return await rows(
        database, "select * from public.image_generations where id = any (%s::uuid[]) order by batch_index", ids
    )


async def statuses(database: Database, batch: dict[str, Any]) -> list[str]:
    return [item["status"] for item in await items_of(database, batch)]


async def until_statuses(database: Database, batch: dict[str, Any], *wanted: str) -> None:
    async def so() -> bool:
        return await statuses(database, batch) == list(wanted)

    await eventually(so, 30, what=f"{wanted}")


async def until_final(database: Database, batch: dict[str, Any]) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        [row] = await rows(database, "select * from public.batch_generations where id = %s", batch["id"])
        return row if row["status"] in FINAL else None

    return await eventually(look, 30, what="the end of the batch")  # type: ignore[return-value]


async def queued(database: Database, user: User) -> list[dict[str, Any]]:
    return await rows(database, "select * from batchgen.queue where user_id = %s order by generation_id", user.id)


def newest(app: RunningApp) -> dict[str, Any]:
    """The batch as in its last event; empty values before the first event."""
    seen = app.seen("batch")
    return seen[-1]["batch"] if seen else {"status": None, "completed_count": None, "failed_count": None}


def item_updates(app: RunningApp) -> list[dict[str, Any]]:
    """Without the inserts: Realtime may deliver a change that was made just before the subscription."""
    return [change for change in app.seen("item") if change["type"] == "UPDATE"]


def totals(row: dict[str, Any]) -> tuple[str, int, int]:
    return row["status"], row["completed_count"], row["failed_count"]


def succeeded(answer: dict[str, Any]) -> bool:
    return answer["error"] is None and answer["status"] in (200, 201, 204)


@pytest.mark.parametrize("function", ["batch-generate", "batch-generate-images"])
async def test_the_app_submits_watches_and_lists_a_batch(
    start_worker: StartWorker, stack: StackInfo, owner: User, stranger: User, database: Database, function: str
) -> None:
    async with app_of(stack, owner) as app, app_of(stack, stranger) as other:
        await app.call("watchGallery")
        await other.call("watchGallery")
        answer = await app.call("submit", function, request("a lake", "a hill", "a tree", batch_name="Three"))
        batch = answer["data"]["batch"]
        await app.call("watch", batch["id"])
        await other.call("watch", batch["id"])
        await start_worker()

        row = await until_final(database, batch)
        await eventually(lambda: len(item_updates(app)) == 6, what="two changes of each of the three items")
        await eventually(lambda: [p["data"]["completed_count"] for p in app.seen("progress")].count(3) >= 1)
        await eventually(lambda: newest(app)["status"] == "completed")
        listed = (await app.call("list"))["data"]
        images = (await app.call("images", [item["id"] for item in batch["generations"]]))["data"]
        seen_by_other = [other.seen(what) for what in ("gallery", "item", "batch")]
        others = [await other.call("list"), await other.call("images", [item["id"] for item in batch["generations"]])]
        other_progress = await other.call("progress", batch["id"])

    assert (batch["name"], batch["total_count"]) == ("Three", 3)
    assert [(item["index"], item["prompt"], item["status"]) for item in batch["generations"]] == [
        (0, "a lake", "pending"),
        (1, "a hill", "pending"),
        (2, "a tree", "pending"),
    ]
    assert totals(row) == ("completed", 3, 0)
    assert totals(newest(app)) == ("completed", 3, 0)
    progress = app.seen("progress")[-1]["data"]
    assert [(item["index"], item["status"], item["progress"]) for item in progress["items"]] == [
        (index, "completed", 100) for index in range(3)
    ]
    steps: dict[str, list[str]] = {}
    for change in app.seen("gallery"):
        steps.setdefault(change["row"]["id"], []).append(f"{change['type']} {change['row']['status']}")
    expected = ["INSERT pending", "UPDATE processing", "UPDATE completed"]
    assert steps == {item["id"]: expected for item in batch["generations"]}
    assert [(one["id"], totals(one)) for one in listed] == [(batch["id"], ("completed", 3, 0))]
    assert {image["storage_path"].rsplit(".")[0] for image in images} == {
        f"{owner.id}/{item['id']}" for item in batch["generations"]
    }
    assert await downloads(images) == [200] * 3
    assert seen_by_other == [[], [], []]
    assert [answer["data"] for answer in others] == [[], []]
    assert other_progress["error"]["code"] == "PGRST116"


async def downloads(images: list[dict[str, Any]]) -> list[int]:
    async with httpx.AsyncClient() as http:
        return [(await http.get(image["public_url"])).status_code for image in images]


@pytest.mark.usefixtures("empty_queue")
async def test_copies_from_the_quick_bar_keep_their_own_seeds(
    stack: StackInfo, owner: User, database: Database
) -> None:
    prompts = [{"text": "a fox", "seed": seed} for seed in (0, 17, 2147483647)]
    async with app_of(stack, owner) as app:
        answer = await app.call("submit", "batch-generate", {"prompts": prompts, "batch_name": "Quick: a fox (3x)"})
        batch = answer["data"]["batch"]
        items = await items_of(database, batch)
        await app.call("delete", batch["id"])

    assert batch["name"] == "Quick: a fox (3x)"
    assert [item["seed"] for item in items] == [0, 17, 2147483647]


async def test_a_batch_of_one_is_refused_with_a_readable_message(stack: StackInfo, owner: User) -> None:
    async with app_of(stack, owner) as app:
        answer = await app.call("submit", "batch-generate", request("a fox"))
        listed = await app.call("list")

    assert (answer["error"], answer["status"]) == ("FunctionsHttpError", 422)
    assert answer["body"]["error"]["code"] == "too_few_prompts"
    assert answer["body"]["error"]["message"] == "A batch has at least 2 prompts; this one has 1."
    assert listed["data"] == []


@pytest.mark.usefixtures("empty_queue")
async def test_a_reached_limit_is_reported_and_creates_nothing(
    stack: StackInfo, owner: User, database: Database
) -> None:
    async with app_of(stack, owner) as app:
        batch = await submit(app, "a lake", "a hill")
        await database.execute(
            "update public.user_rate_limits set hourly_generations_limit = 3 where user_id = %s", [owner.id]
        )
        before = await everything(database)

        answer = await app.call("submit", "batch-generate", request("a tree", "a bird"))
        after = await everything(database)
        await app.call("delete", batch["id"])

    assert (answer["error"], answer["status"]) == ("FunctionsHttpError", 429)
    assert answer["body"]["error"]["code"] == "hourly_limit"
    assert 3000 < int(answer["retryAfter"]) <= 3600
    assert answer["body"]["error"]["resets_at"]
    assert after == before


async def test_the_apps_retry_runs_failed_items_but_not_blocked_ones(
    start_worker: StartWorker, stack: StackInfo, owner: User, database: Database, limits: Limits
) -> None:
    await limits(max_retries=0, retry_delays_seconds=[1])
    await start_worker(BATCHGEN_POLL_SECONDS="60")  # the poll is too slow for this test: the wakeup starts the items
    async with app_of(stack, owner) as app:
        batch = await submit(app, "a lake", "a hill #fail:1", "a bad thing #blocked")
        before = await until_final(database, batch)
        [lake, *_] = await items_of(database, batch)
        await limits(max_retries=1)
        await app.call("watch", batch["id"])

        answer = await app.call("retry", batch["id"])
        after = await until_final_again(database, batch, before)
        await eventually(lambda: totals(newest(app)) == ("partial", 2, 1))
        [lake_after, hill, bad] = await items_of(database, batch)

    assert totals(before) == ("partial", 1, 2)
    assert succeeded(answer["items"])
    assert succeeded(answer["batch"])
    assert answer["woken"] == {"data": {}, "error": None}
    assert totals(after) == ("partial", 2, 1)
    assert after["completed_at"] > before["completed_at"]
    assert lake_after == lake
    assert (hill["status"], hill["error_message"], hill["retry_count"]) == ("completed", None, 1)
    assert bad["status"] == "failed"
    assert bad["error_message"]


async def until_final_again(database: Database, batch: dict[str, Any], before: dict[str, Any]) -> dict[str, Any]:
    async def look() -> dict[str, Any] | None:
        row = await until_final(database, batch)
        return row if row["completed_at"] != before["completed_at"] else None

    return await eventually(look, 20, what="another end of the batch")  # type: ignore[return-value]


async def test_the_apps_cancel_ends_waiting_and_running_items_only(
    start_worker: StartWorker, stack: StackInfo, owner: User, database: Database, limits: Limits
) -> None:
    await limits(max_parallel_per_user=2)
    await start_worker(**SHORT_LEASE)
    async with app_of(stack, owner) as app:
        batch = await submit(app, "a lake", "a hill #slow:60", "a tree #slow:60", "a bird", "a fish")
        await until_statuses(database, batch, "completed", "processing", "processing", "pending", "pending")
        await app.call("watch", batch["id"])
        cancelled_at = datetime.now(UTC)

        answer = await app.call("cancel", batch["id"])
        at_once = await items_of(database, batch)
        [row_at_once] = await rows(database, "select * from public.batch_generations where id = %s", batch["id"])
        row = await until_final(database, batch)
        await eventually(lambda: totals(newest(app)) == ("partial", 1, 4))
        items = await items_of(database, batch)
        images = (await app.call("images", [item["id"] for item in batch["generations"]]))["data"]

        again = await app.call("retry", batch["id"])
        after_retry = await items_of(database, batch)
        [row_after_retry] = await rows(database, "select * from public.batch_generations where id = %s", batch["id"])

    assert succeeded(answer["items"])
    assert succeeded(answer["batch"])
    assert [item["status"] for item in at_once][3:] == ["failed", "failed"]
    assert [item["error_message"] for item in at_once][3:] == ["Cancelled by user"] * 2
    assert totals(row_at_once) in [("processing", 1, failed) for failed in (2, 3)]
    assert row_at_once["completed_at"] is None
    assert totals(row) == ("partial", 1, 4)
    assert row["completed_at"] >= cancelled_at
    assert [item["status"] for item in items] == ["completed"] + ["failed"] * 4
    assert all(item["error_message"] for item in items[1:])
    assert [image["generation_id"] for image in images] == [batch["generations"][0]["id"]]
    assert await downloads(images) == [200]
    assert await queued(database, owner) == []
    assert (again["items"]["error"], again["batch"]["error"]) == (None, None)
    assert after_retry == items
    assert row_after_retry == row


async def test_deleting_a_batch_ends_its_items_and_keeps_its_pictures(
    start_worker: StartWorker, stack: StackInfo, owner: User, database: Database, limits: Limits
) -> None:
    await limits(max_parallel_per_user=2)
    await start_worker(**SHORT_LEASE)
    async with app_of(stack, owner) as app:
        batch = await submit(app, "a lake", "a hill #slow:60", "a tree #slow:60", "a bird", "a fish")
        await until_statuses(database, batch, "completed", "processing", "processing", "pending", "pending")

        answer = await app.call("delete", batch["id"])
        at_once = await statuses(database, batch)
        await until_statuses(database, batch, "completed", *["failed"] * 4)
        listed = (await app.call("list"))["data"]
        gone = await app.call("progress", batch["id"])
        images = (await app.call("images", [item["id"] for item in batch["generations"]]))["data"]
        items = await items_of(database, batch)

    assert succeeded(answer)
    assert (at_once[0], at_once[3:]) == ("completed", ["failed", "failed"])
    assert listed == []
    assert gone["error"]["code"] == "PGRST116"
    assert [item["batch_id"] for item in items] == [None] * 5
    assert [image["generation_id"] for image in images] == [batch["generations"][0]["id"]]
    assert await downloads(images) == [200]
    assert await queued(database, owner) == []


async def test_removing_a_picture_removes_its_file_and_keeps_the_totals(
    start_worker: StartWorker, stack: StackInfo, owner: User, database: Database
) -> None:
    await start_worker(BATCHGEN_DELETIONS_SECONDS="0.3")
    async with app_of(stack, owner) as app:
        batch = await submit(app, "a lake", "a hill")
        before = await until_final(database, batch)
        ids = [item["id"] for item in batch["generations"]]
        first, second = sorted(
            (await app.call("images", ids))["data"], key=lambda image: ids.index(image["generation_id"])
        )

        answer = await app.call("removePicture", first)
        left = (await app.call("images", ids))["data"]
        [after] = await rows(database, "select * from public.batch_generations where id = %s", batch["id"])

    assert [file["name"] for file in answer["file"]["data"]] == [first["storage_path"]]
    assert succeeded(answer["row"])
    assert left == [second]

    async def only_the_second_is_left() -> bool:
        """The worker removes the first thumbnail, which the app does not know."""
        stored = await rows(database, "select name from storage.objects where split_part(name, '/', 1) = %s", owner.id)
        return {file["name"] for file in stored} == {second["storage_path"], second["thumbnail_path"]}

    await eventually(only_the_second_is_left, 20, what="the files of the second picture alone")
    assert after == before
    assert await statuses(database, batch) == ["completed", "completed"]


async def test_workers_leave_single_generations_to_the_app(
    start_worker: StartWorker, stack: StackInfo, owner: User, stranger: User, database: Database
) -> None:
    await start_worker()
    async with app_of(stack, owner) as app, app_of(stack, stranger) as other:
        await app.call("watchGallery")
        await other.call("watchGallery")

        single = await app.call("single", {"prompt": "a lone wolf", "width": 512, "height": 512, "seed": 0})
        generation = single["data"]
        in_queue = await queued(database, owner)
        by_other = await other.call("failSingle", generation["id"], "mine now")
        untouched = await row_of(database, generation["id"])
        batch = await submit(app, "a lake", "a hill")
        await until_final(database, batch)  # the worker has looked for items by then
        still = await row_of(database, generation["id"])
        first = await app.call("upload", generation["id"], "first")
        second = await app.call("upload", generation["id"], "second")
        drawing = await app.call("upload", generation["id"], "<svg/>", "svg")
        failed = await app.call("failSingle", generation["id"], "The provider was away.")
        after = await row_of(database, generation["id"])
        await eventually(lambda: len([c for c in app.seen("gallery") if c["row"]["id"] == generation["id"]]) == 2)
        changes = [(c["type"], c["row"]["status"]) for c in app.seen("gallery") if c["row"]["id"] == generation["id"]]
        seen_by_other = other.seen("gallery")

    assert (single["error"], generation["status"], generation["batch_id"]) == (None, "pending", None)
    assert in_queue == []
    assert by_other["error"] is None or by_other["status"] in (401, 403, 404)
    assert untouched == still
    assert untouched["status"] == "pending"
    assert (first["error"], second["error"]) == (None, None)
    async with httpx.AsyncClient() as http:
        assert (await http.get(second["publicUrl"])).text == "second"
        assert drawing["error"] is not None
        assert (await http.get(drawing["publicUrl"])).status_code in (400, 404)
    assert succeeded(failed)
    assert (after["status"], after["error_message"]) == ("failed", "The provider was away.")
    assert changes == [("INSERT", "pending"), ("UPDATE", "failed")]
    assert seen_by_other == []


async def test_the_apps_pictures_use_shared_tags(stack: StackInfo, owner: User, stranger: User) -> None:
    word = f"fox {uuid.uuid4().hex}"
    async with app_of(stack, owner) as app, app_of(stack, stranger) as other:
        ids: list[str] = []
        for who, user in ((app, owner), (other, stranger)):
            single = (await who.call("single", {"prompt": "a fox"}))["data"]
            path = f"{user.id}/{single['id']}.svg"
            await who.call("upload", single["id"], "<svg/>")
            picture = await who.call(
                "addPicture",
                {"generation_id": single["id"], "storage_path": path, "filename": "fox.svg", "prompt": "a fox"},
            )
            assert picture["error"] is None, picture
            ids.append(picture["data"]["id"])

        first, again = await app.call("tag", ids[0], word), await app.call("tag", ids[0], word)
        by_other = await other.call("tag", ids[1], word)
        on_foreign = await other.call("tag", ids[0], f"not {word}")
        tags = (await app.call("tagsOf", ids[0]))["data"]
        seen_by_other = (await other.call("tagsOf", ids[0]))["data"]

    assert first == {**first, "added": None, "linked": None}
    assert again == {**again, "added": "23505", "linked": "23505"}
    assert by_other == {**by_other, "added": "23505", "linked": None}
    assert on_foreign["linked"]
    assert tags == [{"tags": {"name": word}}]
    assert seen_by_other == []


async def row_of(database: Database, generation_id: str) -> dict[str, Any]:
    [row] = await rows(database, "select * from public.image_generations where id = %s", generation_id)
    return row


async def test_a_user_can_read_only_their_own_limits(stack: StackInfo, owner: User, stranger: User) -> None:
    async with app_of(stack, owner) as app:
        mine = await app.call("limits")
        others = await app.call("limits", stranger.id)

    assert mine["error"] is None
    assert set(mine["data"]) >= {
        *("daily_used", "daily_limit", "daily_reset_at", "hourly_used", "hourly_limit", "hourly_reset_at"),
        *("active_generations", "max_concurrent", "total_all_time", "can_generate", "limit_reason"),
    }
    assert (mine["data"]["can_generate"], mine["data"]["limit_reason"]) == (True, None)
    assert others["error"]
    assert others["data"] is None


ITEM_FORGERIES: dict[str, dict[str, Any]] = {
    "completed": {"status": "completed"},
    "running": {"status": "processing"},
    "unknown status": {"status": "cancelled"},
    "no status": {"status": None},
    "completed with a time": {"status": "completed", "completed_at": "2026-01-01T00:00:00Z"},
    "priority": {"priority": 1000},
    "retries left": {"retry_count": -1000},
    "prompt": {"prompt": "something else"},
    "place": {"batch_index": 7},
    "provider's job": {"replicate_prediction_id": "stolen"},
    "age": {"created_at": "2000-01-01T00:00:00Z"},
    "no batch": {"batch_id": None},
    "a retry that jumps the queue": {"status": "pending", "error_message": None, "retry_count": 0, "priority": 9},
}
BATCH_FORGERIES: dict[str, dict[str, Any]] = {
    "completed": {"status": "completed", "completed_count": 2},
    "counters": {"completed_count": 2, "failed_count": 0},
    "total": {"total_count": 1},
    "model": {"model_id": "dearest"},
    "age": {"created_at": "2000-01-01T00:00:00Z"},
}


@pytest.mark.usefixtures("empty_queue")
async def test_forged_writes_are_refused_or_have_no_effect(
    stack: StackInfo, owner: User, stranger: User, database: Database
) -> None:
    async with app_of(stack, owner) as app, app_of(stack, stranger) as other:
        batch, own_other = await submit(app, "a lake", "a hill"), await submit(app, "a bird", "a fish")
        its_items, itself = {"batch_id": batch["id"]}, {"id": batch["id"]}
        before = await everything(database)
        attempts = [
            *[(app, "write", "image_generations", values, its_items) for values in ITEM_FORGERIES.values()],
            *[(app, "write", "batch_generations", values, itself) for values in BATCH_FORGERIES.values()],
            (app, "write", "image_generations", {"batch_id": own_other["id"]}, its_items),
            (app, "write", "image_generations", {"user_id": stranger.id}, its_items),
            (app, "write", "batch_generations", {"user_id": stranger.id}, itself),
            (app, "insert", "batch_generations", {"user_id": owner.id, "total_count": 1}),
            (
                app,
                "insert",
                "image_generations",
                {"user_id": owner.id, "prompt": "x", "status": "pending", **its_items},
            ),
            (app, "insert", "image_generations", {"user_id": owner.id, "prompt": "x", "status": "completed"}),
            (app, "insert", "image_generations", {"user_id": stranger.id, "prompt": "x", "status": "pending"}),
            (app, "remove", "image_generations", its_items),
            *[(other, "write", "image_generations", values, its_items) for values in ITEM_FORGERIES.values()],
            *[(other, "write", "batch_generations", values, itself) for values in BATCH_FORGERIES.values()],
            (other, "write", "image_generations", {"user_id": stranger.id}, its_items),
            (
                other,
                "insert",
                "image_generations",
                {"user_id": stranger.id, "prompt": "x", "status": "pending", **its_items},
            ),
            (other, "remove", "image_generations", its_items),
            (other, "remove", "batch_generations", itself),
            (other, "cancel", batch["id"]),
            (other, "retry", batch["id"]),
            (other, "delete", batch["id"]),
        ]

        effects: list[tuple[Any, ...]] = []
        for who, call, *arguments in attempts:
            answer = await who.call(call, *arguments)
            if await everything(database) != before or (answer["status"] or 0) >= 500:
                effects.append((call, *arguments, answer))
                before = await everything(database)
        for one in (batch, own_other):
            await app.call("delete", one["id"])

    assert effects == []


async def everything(database: Database) -> list[list[dict[str, Any]]]:
    tables = ("public.batch_generations", "public.image_generations", "batchgen.queue", "batchgen.failures")
    key = {"batchgen.queue": "generation_id", "batchgen.failures": "generation_id"}
    return [await rows(database, f"select * from {table} order by {key.get(table, 'id')}") for table in tables]  # noqa: S608


@pytest.mark.usefixtures("empty_queue")
async def test_the_apps_retry_does_not_requeue_waiting_items(stack: StackInfo, owner: User, database: Database) -> None:
    async with app_of(stack, owner) as app:
        batch = await submit(app, "a lake", "a hill")
        before = await everything(database)

        answer = await app.call("retry", batch["id"])
        after = await everything(database)
        await app.call("delete", batch["id"])

    assert (answer["items"]["error"], answer["batch"]["error"]) == (None, None)
    assert after == before
