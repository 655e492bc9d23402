"""Exports that users ask for: built by a worker, downloaded with supabase-js, removed after their hours."""

import base64
import io
import json
import zipfile
from collections.abc import Awaitable, Callable
from typing import Any

from devstack import StackInfo
from tests.running_app import running_app
from tests.support import Database, User, WorkerProcess, eventually

StartWorker = Callable[..., Awaitable[WorkerProcess]]
QUICK = {"BATCHGEN_EXPORTS_SECONDS": "0.2", "BATCHGEN_DELETIONS_SECONDS": "0.2", "BATCHGEN_LOG_FORMAT": "json"}


async def finished_batch(user: User, database: Database, *texts: str) -> str:
    request = {"prompts": [{"text": text} for text in texts], "shared_settings": {"width": 64, "height": 64}}
    made: Any = (await user.client.rpc("create_batch", {"p_request": request}).execute()).data
    batch_id = made["batch"]["id"]

    async def is_over() -> bool:
        row = await (
            await database.execute("select status from public.batch_generations where id = %s", [batch_id])
        ).fetchone()
        return bool(row and row["status"] in ("completed", "partial"))

    await eventually(is_over, 60, every=0.1)
    return batch_id


async def export_of(database: Database, export_id: str) -> dict[str, Any]:
    row = await (await database.execute("select * from batchgen.exports where id = %s", [export_id])).fetchone()
    assert row
    return row


async def files_of(database: Database, user: User) -> list[str]:
    query = "select name from storage.objects where bucket_id = 'batchgen-exports' and name like %s order by 1"
    return [row["name"] for row in await (await database.execute(query, [f"{user.id}/%"])).fetchall()]


async def test_an_app_downloads_the_export_it_asked_for(
    start_worker: StartWorker, user: User, new_user: Callable[[], Awaitable[User]], stack: StackInfo, database: Database
) -> None:
    await start_worker(**QUICK)
    batches = [await finished_batch(user, database, "a fox", "a bird"), await finished_batch(user, database, "a", "b")]
    stranger = await new_user()
    task = {
        "owner": {"email": user.email, "password": user.password},
        "stranger": {"email": stranger.email, "password": stranger.password},
        "batchIds": batches,
    }

    async with running_app("exports.mjs", stack, task) as app:
        asked = await app.event("asked")
        refused = await app.event("refused")
        ready = await app.event("ready")
        rights = await app.event("rights")

    assert asked["first"] == asked["again"]
    assert refused == "Batch not found, or it belongs to another user."
    assert (ready["status"], ready["pictures"], ready["missing"]) == ("ready", 4, 0), ready
    [file] = ready["files"]
    assert file["status"] == 200
    with zipfile.ZipFile(io.BytesIO(base64.b64decode(file["content"]))) as archive:
        assert archive.testzip() is None
        manifest = json.loads(archive.read("manifest.json"))
    assert {batch["id"] for batch in manifest["batches"]} == set(batches)
    assert rights == {
        "own": 200,
        "downloaded": ready["parts"][0]["bytes"],
        "open": False,
        "listed": [],
        "download": None,
        "signed": None,
        "stored": None,
        "replaced": None,
    }

    await database.execute("update batchgen.exports set expires_at = now() where id = %s", [asked["first"]])
    await database.execute("update batchgen.storage_deletions set due_at = now() where bucket_id = 'batchgen-exports'")

    async def is_gone() -> bool:
        return await files_of(database, user) == []

    await eventually(is_gone, 20, what="the removal of the expired file")


async def asked_for(user: User, batch_id: str) -> str:
    answer: Any = (await user.client.rpc("request_export", {"p_batch_ids": [batch_id]}).execute()).data
    return answer["id"]


async def test_a_run_once_builds_what_was_asked_for(
    start_worker: StartWorker, user: User, database: Database, stack: StackInfo
) -> None:
    maker = await start_worker(**QUICK)
    batch_id = await finished_batch(user, database, *(f"a fox {n}" for n in range(4)))
    await maker.end()
    export_id = await asked_for(user, batch_id)

    once = await WorkerProcess.start(
        {"SUPABASE_URL": stack.url, "SUPABASE_SECRET_KEY": stack.secret_key, "BATCHGEN_PROVIDER": "offline"},
        "--once",
        "--max-seconds",
        "30",
    )
    code = await once.exit_code(60)

    row = await export_of(database, export_id)
    assert code == 0
    assert (row["status"], row["attempts"], row["done_count"], row["picture_count"]) == ("ready", 1, 4, 4)
    assert [part["path"] for part in row["parts"]] == await files_of(database, user)


async def test_another_worker_builds_what_a_killed_one_began(
    start_worker: StartWorker, user: User, database: Database
) -> None:
    first = await start_worker(**QUICK)
    batch_id = await finished_batch(user, database, "a fox", "a bird")
    await database.execute("begin")
    await database.execute("lock table storage.objects in share row exclusive mode")
    export_id = await asked_for(user, batch_id)
    await first.logs("export started")  # it waits for the lock
    first.process.kill()
    await first.process.wait()
    await database.execute("rollback")
    await database.execute(
        "update batchgen.exports set lease_expires_at = now() - interval '1 second' where id = %s", [export_id]
    )

    second = await start_worker(**QUICK)
    await second.logs("export ready")

    row = await export_of(database, export_id)
    assert (row["status"], row["attempts"]) == ("ready", 2)
    stored = await files_of(database, user)
    assert {part["path"] for part in row["parts"]} <= set(stored) <= set(row["files"])
    query = "select count(*) as count from batchgen.storage_deletions where path = any (%s)"
    deleted = await (await database.execute(query, [row["files"]])).fetchone()
    assert deleted == {"count": len(row["files"])}
