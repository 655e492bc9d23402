"""Actions on items through supabase-js with a user's token, beside a real worker and Storage."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx

from devstack import StackInfo
from tests.running_app import RunningApp, running_app
from tests.support import Database, User, WorkerProcess, eventually

StartWorker = Callable[..., Awaitable[WorkerProcess]]


async def call(app: RunningApp, function: str, **arguments: Any) -> Any:
    answer = await app.call("rpc", function, arguments)
    assert answer["error"] is None, answer
    return answer["data"]


def outcomes(answer: dict[str, Any]) -> list[str]:
    entries = [*answer["done"], *answer["refused"]]
    return [entry.get("action") or entry["code"] for entry in sorted(entries, key=lambda entry: entry["index"])]


async def ended(database: Database, batch_id: str) -> str:
    """The batch's status once all items have ended."""
    status = ""

    async def is_final() -> bool:
        nonlocal status
        rows = await database.execute("select status from public.batch_generations where id = %s", [batch_id])
        row = await rows.fetchone()
        status = row["status"] if row else ""
        return status in ("completed", "partial", "failed")

    await eventually(is_final, 30, what="the batch ends")
    return status


async def test_an_app_acts_on_single_items(
    stack: StackInfo, start_worker: StartWorker, user: User, database: Database
) -> None:
    await start_worker()
    prompts = [{"text": "a fox"}, {"text": "a bird"}, {"text": "a cat #blocked"}]
    async with running_app("rpc.mjs", stack, {"email": user.email, "password": user.password}) as app:
        batch = (await call(app, "create_batch", p_request={"prompts": prompts}))["batch"]
        one = {"p_batch_id": batch["id"]}
        first, second, blocked = (item["id"] for item in batch["generations"])
        assert await ended(database, batch["id"]) == "partial"

        plain = await call(app, "retry_failed", **one)
        edit = {"generation_id": blocked, "prompt": "a tame cat"}
        edited = await call(app, "retry_failed", **one, p_edits=[edit])
        assert await ended(database, batch["id"]) == "completed"
        tagged = await call(app, "tag_batch_images", **one, p_tags=["red"], p_generation_ids=[first])
        untagged = await call(app, "untag_batch_images", **one, p_tags=["red"])
        saved = await call(app, "save_batch_images", **one, p_generation_ids=[second, second])
        rated = await call(app, "rate_batch_images", **one, p_rating=5, p_generation_ids=[first])
        rating = await call(app, "rate_batch", **one, p_stars=4, p_comment="Quick.")
        cancelled = await call(app, "cancel_batch", **one, p_waiting_only=True)
        similar = await call(app, "generate_similar", **one, p_generation_ids=[first], p_count=2)
        again = await call(app, "run_again", **one, p_shared_settings={"width": 512})
        assert await ended(database, similar["batch"]["id"]) == "completed"
        assert await ended(database, again["batch"]["id"]) == "completed"

    assert outcomes(plain) == ["already_completed", "already_completed", "blocked_by_policy"]
    assert outcomes(edited) == ["requeued"]
    assert outcomes(tagged) == ["tagged"]
    assert outcomes(untagged) == ["untagged", "already_untagged", "already_untagged"]
    assert outcomes(saved) == ["saved"]
    assert outcomes(rated) == ["rated"]
    assert (rating["stars"], rating["comment"]) == (4, "Quick.")
    assert outcomes(cancelled) == ["already_completed"] * 3
    assert [one["field"] for one in again["differs"]] == ["width"]


async def test_an_app_throws_away_takes_back_and_deletes(
    stack: StackInfo, start_worker: StartWorker, user: User, database: Database
) -> None:
    await start_worker(BATCHGEN_DELETIONS_SECONDS="0.2")
    async with running_app("rpc.mjs", stack, {"email": user.email, "password": user.password}) as app:
        batch = (await call(app, "create_batch", p_request={"prompts": [{"text": "a fox"}, {"text": "a bird"}]}))[
            "batch"
        ]
        await ended(database, batch["id"])
        one = {"p_batch_id": batch["id"]}
        kept = batch["generations"][0]["id"]

        trashed = await call(app, "trash_batch_images", **one)
        [entry] = (await call(app, "get_trash"))["entries"]
        listed = await call(app, "list_batches")
        restored = await call(app, "restore_batch_images", **one, p_generation_ids=[kept])
        emptied = await call(app, "empty_trash")

    addresses = {image["generation_id"]: image["public_url"] for image in entry["images"]}
    async with httpx.AsyncClient() as http:

        async def is_gone() -> bool:
            return not (await http.get(addresses[batch["generations"][1]["id"]])).is_success

        await eventually(is_gone, 20, what="the file is removed")
        assert (await http.get(addresses[kept])).is_success
    assert outcomes(trashed) == ["trashed"] * 2
    assert entry["kind"] == "batch"
    assert batch["id"] not in [row["id"] for row in listed]
    assert outcomes(restored) == ["restored"]
    assert emptied == {"images": 1, "batches": 0, "left": 0}


async def test_a_stranger_is_refused_each_action_and_learns_nothing(
    stack: StackInfo, user: User, new_user: Callable[[], Awaitable[User]]
) -> None:
    other = await new_user()
    more: dict[str, dict[str, Any]] = {
        "cancel_batch": {"p_waiting_only": True},
        "retry_failed": {"p_edits": []},
        "save_batch_images": {},
        "tag_batch_images": {"p_tags": ["red"]},
        "untag_batch_images": {"p_tags": ["red"]},
        "delete_batch_images": {},
        "rate_batch_images": {"p_rating": 1},
        "rate_batch": {"p_stars": 1},
        "get_batch_rating": {},
        "trash_batch_images": {},
        "restore_batch_images": {},
        "generate_similar": {},
        "run_again": {},
    }
    unknown = "5f0c6d0e-0000-4000-8000-000000000000"
    async with (
        running_app("rpc.mjs", stack, {"email": user.email, "password": user.password}) as app,
        running_app("rpc.mjs", stack, {"email": other.email, "password": other.password}) as stranger,
    ):
        request = {"prompts": [{"text": "a fox"}, {"text": "a bird"}]}
        batch = (await call(app, "create_batch", p_request=request))["batch"]
        before = await call(app, "batch_snapshot", p_batch_id=batch["id"])
        for function, arguments in more.items():
            theirs = await stranger.call("rpc", function, {"p_batch_id": batch["id"], **arguments})
            nobodys = await stranger.call("rpc", function, {"p_batch_id": unknown, **arguments})
            assert theirs == nobodys, function
            assert (theirs["status"], theirs["error"]["code"]) == (404, "PT404"), function
        after = await call(app, "batch_snapshot", p_batch_id=batch["id"])
        await call(app, "cancel_batch", p_batch_id=batch["id"])

    assert after == before
