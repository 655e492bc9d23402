"""Actions on a whole batch, from the app's call to the provider and to Storage."""

from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from supabase import AsyncClient

from devstack import StackInfo
from tests.chaos.paid_provider_server import Job, PaidProviderServer
from tests.support import Database, User, WorkerProcess, eventually

BUCKET = "generated-images"
ROOT = Path(__file__).parents[2]
StartWorker = Callable[..., Awaitable[WorkerProcess]]


class PatientProvider(PaidProviderServer):
    """Jobs end only when the test ends them, or when they are cancelled."""

    def _run(self, job: Job) -> None:
        """Jobs do not end by themselves."""

    def finish(self, reference: str) -> None:
        self._end(next(job for job in self.jobs.values() if job.reference == reference), "succeeded")

    def states(self) -> dict[str, str]:
        """The state of each item's job."""
        return {job.reference: job.state for job in self.jobs.values()}


@pytest.fixture
async def provider(tmp_path: Path) -> AsyncGenerator[PatientProvider]:
    service = PatientProvider(seed=1, log_file=tmp_path / "provider.jsonl", is_reliable=True)
    await service.start()
    yield service
    await service.stop()


@pytest.fixture
async def worker_at(stack: StackInfo, empty_queue: None) -> AsyncGenerator[StartWorker]:
    """Starts a worker at the provider: `await worker_at(provider)`."""
    workers: list[WorkerProcess] = []

    async def start(provider: PaidProviderServer, **more: str) -> WorkerProcess:
        environment = {
            "SUPABASE_URL": stack.url,
            "SUPABASE_SECRET_KEY": stack.secret_key,
            "BATCHGEN_POLL_SECONDS": "1",
            "CHAOS_PROVIDER_URL": provider.url,
            "CHAOS_KEYS": "chain",
            "PYTHONPATH": str(ROOT),
        }
        workers.append(await WorkerProcess.start({**environment, **more}, module="tests.chaos.chaos_worker"))
        return workers[-1]

    yield start
    for worker in workers:
        await worker.end()


async def submit(user: User, *texts: str) -> dict[str, Any]:
    request = {"prompts": [{"text": text} for text in texts], "shared_settings": {"width": 64, "height": 64}}
    return await call(user, "create_batch", p_request=request)


async def call(user: User, function: str, **arguments: Any) -> Any:
    answer: Any = (await user.client.rpc(function, arguments).execute()).data
    return answer["batch"] if function == "create_batch" else answer


def outcomes(answer: dict[str, Any]) -> list[str]:
    done = [(item["index"], item["action"]) for item in answer["done"]]
    refused = [(item["index"], item["code"]) for item in answer["refused"]]
    return [outcome for _, outcome in sorted(done + refused)]


async def ended(database: Database, batch_id: str, timeout: float = 30) -> dict[str, Any]:
    """Wait until the batch is final, and return it."""

    async def look() -> dict[str, Any] | None:
        query = "select * from public.batch_generations where id = %s and status in ('completed', 'partial', 'failed')"
        return await (await database.execute(query, [batch_id])).fetchone()

    row = await eventually(look, timeout, every=0.1, what="the end of the batch")
    assert row
    return row


async def messages(database: Database, batch_id: str) -> list[tuple[str, str | None]]:
    query = "select status, error_message from public.image_generations where batch_id = %s order by batch_index"
    rows = await (await database.execute(query, [batch_id])).fetchall()
    return [(row["status"], row["error_message"]) for row in rows]


async def files_of(service: AsyncClient, user: User) -> Sequence[str]:
    """The paths of the user's files, as Storage lists them."""
    listed: Any = await service.storage.from_(BUCKET).list(user.id)
    return sorted(f"{user.id}/{file['name']}" for file in listed)


async def rows_of(database: Database, user: User) -> Sequence[str]:
    """The paths in the user's rows of images: pictures and thumbnails."""
    query = "select storage_path, thumbnail_path from public.images where user_id = %s"
    rows = await (await database.execute(query, [user.id])).fetchall()
    return sorted(path for row in rows for path in (row["storage_path"], row["thumbnail_path"]))


async def outbox_of(database: Database, user: User) -> int:
    query = "select count(*) as count from batchgen.storage_deletions where path like %s"
    row = await (await database.execute(query, [f"{user.id}/%"])).fetchone()
    assert row
    return row["count"]


async def test_cancelling_stops_jobs_at_the_provider_and_keeps_paid_pictures(
    worker_at: StartWorker, provider: PatientProvider, user: User, database: Database, service: AsyncClient
) -> None:
    await worker_at(provider)
    batch = await submit(user, "a fox", "a bird", "a cat", "a hare")
    first, second, third, fourth = [item["id"] for item in batch["generations"]]
    await eventually(lambda: len(provider.jobs) == 3, 20, what="three items run, as many as one user may")
    provider.finish(first)
    await eventually(lambda: len(provider.jobs) == 4, 20, what="the fourth job was created")

    answer = await call(user, "cancel_batch", p_batch_id=batch["id"])
    row = await ended(database, batch["id"], timeout=15)

    assert outcomes(answer) == ["already_completed"] + ["cancel_requested"] * 3
    assert provider.states() == {first: "succeeded", second: "cancelled", third: "cancelled", fourth: "cancelled"}
    assert (row["status"], row["completed_count"], row["failed_count"]) == ("partial", 1, 3)
    assert await messages(database, batch["id"]) == [("completed", None)] + [("failed", "Cancelled by user")] * 3
    assert (
        await files_of(service, user)
        == await rows_of(database, user)
        == [
            f"{user.id}/{first}.png",
            f"{user.id}/{first}.thumb.webp",
        ]
    )


async def test_an_item_cancelled_before_it_starts_is_never_ordered(
    worker_at: StartWorker, provider: PatientProvider, user: User, database: Database
) -> None:
    batch = await submit(user, "a fox", "a bird")
    answer = await call(user, "cancel_batch", p_batch_id=batch["id"])

    worker = await worker_at(provider, BATCHGEN_POLL_SECONDS="0.2")
    sentinel = await submit(user, "a cat", "a hare")
    await eventually(lambda: len(provider.jobs) == 2, 20)

    assert outcomes(answer) == ["cancelled"] * 2
    assert set(provider.states()) == {item["id"] for item in sentinel["generations"]}
    assert {line["batch_id"] for line in worker.named("item started")} == {sentinel["id"]}
    await call(user, "cancel_batch", p_batch_id=sentinel["id"])
    await ended(database, sentinel["id"])


async def test_a_cancelled_item_whose_attempt_fails_is_not_retried(
    worker_at: StartWorker, provider: PatientProvider, user: User, database: Database
) -> None:
    worker = await worker_at(provider, BATCHGEN_POLL_SECONDS="3600", BATCHGEN_LEASE_SECONDS="3600")
    await worker.logs("listening for new batches")
    batch = await submit(user, "a fox", "a bird")
    await eventually(lambda: len(provider.jobs) == 2, 20)
    await call(user, "cancel_batch", p_batch_id=batch["id"])

    for job in provider.jobs.values():
        provider._end(job, "failed")  # pyright: ignore[reportPrivateUsage]
    row = await ended(database, batch["id"])

    assert (row["status"], row["failed_count"]) == ("failed", 2)
    assert len(provider.jobs) == 2, "nothing was ordered again"


async def test_a_picture_finished_before_the_cancellation_arrives_is_kept(
    worker_at: StartWorker, provider: PatientProvider, user: User, database: Database
) -> None:
    worker = await worker_at(provider, BATCHGEN_POLL_SECONDS="3600", BATCHGEN_LEASE_SECONDS="3600")
    await worker.logs("listening for new batches")
    batch = await submit(user, "a fox", "a bird")
    await eventually(lambda: len(provider.jobs) == 2, 20)
    await call(user, "cancel_batch", p_batch_id=batch["id"])

    for item in batch["generations"]:
        provider.finish(item["id"])
    row = await ended(database, batch["id"])

    assert (row["status"], row["completed_count"]) == ("completed", 2)
    assert Counter(provider.states().values()) == {"succeeded": 2}


async def test_deleting_pictures_leaves_files_and_rows_in_agreement(
    start_worker: StartWorker, user: User, database: Database, service: AsyncClient
) -> None:
    await start_worker(BATCHGEN_DELETIONS_SECONDS="0.3")
    gone, stays = await submit(user, "a fox", "a bird", "a cat"), await submit(user, "a hare", "a tree #fail", "a hill")
    for batch in (gone, stays):
        await ended(database, batch["id"])
    assert len(await files_of(service, user)) == 2 * 5

    answer = await call(user, "delete_batch_images", p_batch_id=gone["id"])
    rows = await rows_of(database, user)

    async def agree() -> bool:
        return await files_of(service, user) == await rows_of(database, user)

    await eventually(agree, 20, what="files and rows agree")
    assert outcomes(answer) == ["deleted"] * 3
    kept = [stays["generations"][0]["id"], stays["generations"][2]["id"]]
    assert rows == sorted(f"{user.id}/{item}{end}" for item in kept for end in (".webp", ".thumb.webp"))
    await eventually(lambda: _is_empty(database, user), what="the outbox is empty")


async def test_a_once_run_removes_all_due_files(
    start_worker: StartWorker, stack: StackInfo, user: User, database: Database, service: AsyncClient
) -> None:
    await start_worker(BATCHGEN_DELETIONS_SECONDS="3600")
    batches = [await submit(user, *["a fox"] * 5) for _ in range(2)]
    for batch in batches:
        await ended(database, batch["id"])
        await call(user, "delete_batch_images", p_batch_id=batch["id"])
    assert (len(await files_of(service, user)), await outbox_of(database, user)) == (2 * 10, 2 * 10)

    environment = {"SUPABASE_URL": stack.url, "SUPABASE_SECRET_KEY": stack.secret_key}
    once = await WorkerProcess.start(environment, "--once")

    assert await once.exit_code() == 0
    assert list(await files_of(service, user)) == []
    assert await outbox_of(database, user) == 0


async def test_unsaved_pictures_expire_after_the_retention_time(
    start_worker: StartWorker,
    stack: StackInfo,
    user: User,
    database: Database,
    service: AsyncClient,
    limits: Callable[..., Awaitable[None]],
) -> None:
    await start_worker(BATCHGEN_DELETIONS_SECONDS="3600")
    old, saved, young = [await submit(user, "a fox", "a bird") for _ in range(3)]
    for batch in (old, saved, young):
        await ended(database, batch["id"])
    await call(user, "save_batch_images", p_batch_id=saved["id"])
    await _make_older(database, old["id"], saved["id"])
    await limits(image_retention_days=30)

    environment = {"SUPABASE_URL": stack.url, "SUPABASE_SECRET_KEY": stack.secret_key}
    once = await WorkerProcess.start(environment, "--once")
    code = await once.exit_code()

    items = [item["id"] for batch in (saved, young) for item in batch["generations"]]
    kept = sorted(f"{user.id}/{item}{end}" for item in items for end in (".webp", ".thumb.webp"))
    assert code == 0
    assert await rows_of(database, user) == kept
    assert await files_of(service, user) == kept
    assert [line["count"] for line in once.named("expired pictures deleted")] == [2]


async def test_a_missing_outbox_function_does_not_hold_up_items(
    start_worker: StartWorker, user: User, database: Database
) -> None:
    rename = "alter function public.{}(text, integer, integer) rename to {}"
    await database.execute(
        rename.format("take_storage_deletions", "take_away").encode() + b"; notify pgrst, 'reload schema'"
    )
    try:
        worker = await start_worker(BATCHGEN_DELETIONS_SECONDS="0.2")
        batch = await submit(user, "a fox", "a bird")
        row = await ended(database, batch["id"])
        await worker.logs("housekeeping is held up, items go on")
    finally:
        await database.execute(
            rename.format("take_away", "take_storage_deletions").encode() + b"; notify pgrst, 'reload schema'"
        )
    await worker.logs("housekeeping goes on")

    assert row["status"] == "completed"
    assert len(worker.named("housekeeping is held up, items go on")) == 1


async def _is_empty(database: Database, user: User) -> bool:
    return await outbox_of(database, user) == 0


async def _make_older(database: Database, *batch_ids: str) -> None:
    await database.execute(
        "update public.images set created_at = now() - interval '31 days' where generation_id in"
        " (select id from public.image_generations where batch_id = any (%s))",
        [list(batch_ids)],
    )
