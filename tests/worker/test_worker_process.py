"""`python -m scheduler` as a process, on the real dev stack."""

import signal
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, cast

import httpx
import pytest
from supabase import AsyncClient

import batchgen
from batchgen.backend.bucket import ImageStorage
from batchgen.backend.connection import connect
from batchgen.backend.rpc import rpc
from batchgen.settings import Settings, WorkerSettings
from devstack import StackInfo
from scheduler.options import Options
from scheduler.wiring import run
from tests.support import Database, User, WorkerProcess, eventually

Start = Callable[..., Awaitable[WorkerProcess]]

pytestmark = pytest.mark.usefixtures("empty_queue")


@pytest.fixture
def environment(stack: StackInfo) -> Mapping[str, str]:
    return {
        "SUPABASE_URL": stack.url,
        "SUPABASE_SECRET_KEY": stack.secret_key,
        "BATCHGEN_OFFLINE_COMMANDS": "1",
        "BATCHGEN_OFFLINE_SECONDS": "0",
    }


@pytest.fixture
async def start(environment: Mapping[str, str]) -> AsyncGenerator[Start]:
    """Starts workers: `await start("--once", BATCHGEN_LEASE_SECONDS="2")`; they end with the test."""
    workers: list[WorkerProcess] = []

    async def start_one(*arguments: str, **more: str) -> WorkerProcess:
        workers.append(await WorkerProcess.start({**environment, **more}, *arguments))
        return workers[-1]

    yield start_one
    for worker in workers:
        await worker.end()


async def submit(user: User, *prompts: str) -> str:
    """Submit a batch of small pictures; returns its id."""
    request: dict[str, Any] = {
        "prompts": [{"text": prompt} for prompt in prompts],
        "shared_settings": {"width": 64, "height": 64},
    }
    return (await rpc(user.client, "create_batch", {"p_request": request}))["batch"]["id"]


async def statuses(database: Database, batch_id: str) -> Counter[str]:
    rows = await (
        await database.execute("select status from public.image_generations where batch_id = %s", [batch_id])
    ).fetchall()
    return Counter(row["status"] for row in rows)


async def all_completed(database: Database, batch_id: str, count: int) -> bool:
    return await statuses(database, batch_id) == {"completed": count}


async def stored_pictures(database: Database, batch_id: str) -> list[str]:
    """The paths in the rows of images."""
    rows = await (
        await database.execute(
            "select i.storage_path from public.images i join public.image_generations g on g.id = i.generation_id"
            " where g.batch_id = %s",
            [batch_id],
        )
    ).fetchall()
    return [row["storage_path"] for row in rows]


async def test_once_completes_due_items_and_exits_with_0(
    start: Start, user: User, database: Database, service: AsyncClient
) -> None:
    batch_id = await submit(user, "a harbour", "a forest", "a street", "a tower")

    code = await (await start("--once")).exit_code()

    assert code == 0
    assert await statuses(database, batch_id) == {"completed": 4}
    paths = await stored_pictures(database, batch_id)
    assert len(set(paths)) == 4
    content = await ImageStorage(service, bucket="generated-images").get(paths[0])
    assert content.startswith(b"\x89PNG")


async def test_once_exits_with_1_when_an_item_failed_for_good(start: Start, user: User, database: Database) -> None:
    batch_id = await submit(user, "a harbour", "a forest #fail", "a street #blocked")

    code = await (await start("--once")).exit_code()

    assert code == 1
    assert await statuses(database, batch_id) == {"completed": 1, "failed": 2}


async def test_once_exits_with_0_when_nothing_is_due(start: Start) -> None:
    assert await (await start("--once")).exit_code() == 0


async def test_once_runs_a_retry_due_soon_and_exits_with_0(
    start: Start, user: User, database: Database, limits: Callable[..., Awaitable[None]]
) -> None:
    await limits(retry_delays_seconds=[2])
    batch_id = await submit(user, "a harbour #fail:1", "a forest")

    worker = await start("--once", "--max-seconds", "60")

    assert await worker.exit_code(timeout=60) == 0
    assert await statuses(database, batch_id) == {"completed": 2}
    assert len(worker.named("waiting for what is due soon")) == 1


async def test_once_logs_why_it_ends_while_a_provider_is_paused(start: Start, user: User, database: Database) -> None:
    batch_id = await submit(user, "a harbour", "a forest")
    await database.execute(
        "insert into batchgen.providers (name, not_before, reason)"
        " values ('offline', clock_timestamp() + interval '1 hour', 'provider_busy')"
        " on conflict (name) do update set not_before = excluded.not_before, reason = excluded.reason"
    )
    try:
        worker = await start("--once", "--max-seconds", "60")
        code = await worker.exit_code()
    finally:
        await database.execute("delete from batchgen.providers")

    [line] = worker.named("nothing more is due")
    assert (code, line["paused"], line["closed"]) == (0, 2, ["offline: provider_busy"])
    assert 3000 < line["due_in_seconds"] <= 3600
    await database.execute("delete from public.image_generations where batch_id = %s", [batch_id])


async def test_once_exits_with_3_without_a_backend(start: Start) -> None:
    worker = await start("--once", SUPABASE_URL="http://127.0.0.1:9", BATCHGEN_BACKOFF_SECONDS="0.05")

    assert await worker.exit_code() == 3
    assert worker.named("backend not reachable")


@pytest.mark.parametrize(
    ("wrong", "name"),
    [
        ({"SUPABASE_SECRET_KEY": "sb_secret_nonsense"}, "SUPABASE_SECRET_KEY"),
        ({"BATCHGEN_LEASE_SECONDS": "-1"}, "BATCHGEN_LEASE_SECONDS"),
        ({"SUPABASE_URL": ""}, "SUPABASE_URL"),
    ],
)
async def test_invalid_settings_exit_with_2_and_one_line_naming_the_variable(
    start: Start, wrong: dict[str, str], name: str
) -> None:
    worker = await start("--once", **wrong)

    assert await worker.exit_code() == 2
    plain = [line for line in worker.lines if not line.startswith("{")]
    assert len(plain) == 1
    assert name in plain[0]
    assert "nonsense" not in plain[0]


async def test_a_worker_reports_its_version_and_providers(start: Start, database: Database) -> None:
    worker = await start("--once", BATCHGEN_WORKER_NAME="told", BATCHGEN_XYZ="1")

    assert await worker.exit_code() == 0
    [row] = await (
        await database.execute("select version, providers from batchgen.workers where worker = 'told'")
    ).fetchall()
    assert (row["version"], row["providers"]) == (batchgen.__version__, ["offline"])
    assert worker.named("BATCHGEN_XYZ is not a batchgen setting and has no effect; docs/settings.md lists all settings")


async def test_a_passing_failure_is_retried_and_completes(
    start: Start, user: User, database: Database, limits: Callable[..., Awaitable[None]]
) -> None:
    await limits(retry_delays_seconds=[0.1])
    batch_id = await submit(user, "a harbour #fail:2", "a forest")

    worker = await start(BATCHGEN_POLL_SECONDS="0.2")
    await worker.logs("item completed", 2)
    worker.send(signal.SIGTERM)

    assert await worker.exit_code() == 0
    assert await statuses(database, batch_id) == {"completed": 2}
    assert len(worker.named("item will be retried")) == 2


async def test_a_new_batch_wakes_the_worker_before_its_next_poll(start: Start, user: User) -> None:
    worker = await start(BATCHGEN_POLL_SECONDS="3600")
    await worker.logs("listening for new batches")

    await submit(user, "a harbour", "a forest")

    await eventually(lambda: len(worker.named("item completed")) == 2, timeout=20)
    worker.send(signal.SIGTERM)
    assert await worker.exit_code() == 0


async def test_a_cancelled_running_item_ends_soon_even_with_a_long_lease(
    start: Start, user: User, database: Database
) -> None:
    batch_id = await submit(user, "a harbour #slow:60", "a forest #slow:60")
    worker = await start(BATCHGEN_LEASE_SECONDS="3600", BATCHGEN_POLL_SECONDS="0.2")
    await worker.logs("item started", 2)

    await database.execute("update batchgen.queue set cancel_requested = true")

    await worker.logs("item failed", 2)
    assert [line["code"] for line in worker.named("item failed")] == ["cancelled"] * 2
    assert await statuses(database, batch_id) == {"failed": 2}


async def test_sigterm_releases_items_that_do_not_finish_in_time(start: Start, user: User, database: Database) -> None:
    batch_id = await submit(user, "a harbour #slow:60", "a forest #slow:60")
    worker = await start(BATCHGEN_GRACE_SECONDS="0.2")
    await worker.logs("item started", 2)

    worker.send(signal.SIGTERM)
    code = await worker.exit_code()

    assert code == 0
    assert len(worker.named("item handed back")) == 2
    rows = await (await database.execute("select state, crash_count, lease_id from batchgen.queue")).fetchall()
    assert [(row["state"], row["crash_count"], row["lease_id"]) for row in rows] == [("waiting", 0, None)] * 2
    await database.execute("delete from public.image_generations where batch_id = %s", [batch_id])


async def test_sigterm_lets_items_finish_within_the_grace_time(start: Start, user: User, database: Database) -> None:
    batch_id = await submit(user, "a harbour #slow:0.7", "a forest #slow:0.7")
    worker = await start()
    await worker.logs("item started", 2)

    worker.send(signal.SIGTERM)

    assert await worker.exit_code() == 0
    assert await statuses(database, batch_id) == {"completed": 2}


async def test_a_second_signal_releases_items_at_once(start: Start, user: User, database: Database) -> None:
    batch_id = await submit(user, "a harbour #slow:60", "a forest #slow:60")
    worker = await start(BATCHGEN_GRACE_SECONDS="600")
    await worker.logs("item started", 2)

    worker.send(signal.SIGTERM)
    await worker.logs("draining")
    worker.send(signal.SIGINT)

    assert await worker.exit_code() == 0
    assert await statuses(database, batch_id) == {"pending": 2}
    await database.execute("delete from public.image_generations where batch_id = %s", [batch_id])


async def test_another_worker_finishes_everything_after_a_kill(
    start: Start, new_user: Callable[[], Awaitable[User]], database: Database
) -> None:
    batches = [await submit(await new_user(), *[f"a harbour #slow:0.{n}" for n in range(5, 9)]) for _ in range(2)]
    pace = {"BATCHGEN_LEASE_SECONDS": "2", "BATCHGEN_POLL_SECONDS": "0.2"}
    killed = await start(**pace)
    await killed.logs("item started", 6)

    killed.send(signal.SIGKILL)
    successor = await start(**pace)

    for batch_id in batches:
        await eventually(lambda batch_id=batch_id: all_completed(database, batch_id, 4), timeout=20)
        paths = await stored_pictures(database, batch_id)
        assert len(paths) == len(set(paths)) == 4
    successor.send(signal.SIGTERM)
    assert await successor.exit_code() == 0


async def test_a_suspended_worker_goes_on(start: Start, user: User, database: Database) -> None:
    batch_id = await submit(user, "a harbour #slow:3", "a forest #slow:3")
    worker = await start(BATCHGEN_LEASE_SECONDS="2", BATCHGEN_POLL_SECONDS="0.2")
    await worker.logs("item started", 2)

    async def lease_is_long_over() -> bool:
        rows = await database.execute(
            "select from batchgen.queue where lease_expires_at < clock_timestamp() - interval '3 seconds'"
        )
        return await rows.fetchone() is not None

    worker.send(signal.SIGSTOP)
    await eventually(lease_is_long_over, timeout=20)
    worker.send(signal.SIGCONT)

    await worker.logs("worker was not awake")
    await eventually(lambda: all_completed(database, batch_id, 2), timeout=30)
    worker.send(signal.SIGTERM)
    assert await worker.exit_code() == 0


async def test_two_workers_run_each_item_once(
    start: Start, new_user: Callable[[], Awaitable[User]], database: Database
) -> None:
    batches = [await submit(await new_user(), *["a harbour #slow:0.1"] * 6) for _ in range(4)]

    workers = [await start("--once", BATCHGEN_MAX_PARALLEL="4") for _ in range(2)]
    codes = [await worker.exit_code() for worker in workers]
    rest = await start("--once")

    assert codes == [0, 0]
    assert await rest.exit_code() == 0
    done = [line["generation_id"] for worker in [*workers, rest] for line in worker.named("item completed")]
    assert len(done) == len(set(done)) == 24
    for batch_id in batches:
        assert await statuses(database, batch_id) == {"completed": 6}


HOUSEKEEPING = (
    "grant_monthly_credits",
    "queue_outlook",
    "remove_expired_images",
    "return_expired_leases",
    "run_schedules",
    "take_export",
    "take_open_orders_as_json",
    "take_storage_deletions_as_json",
)
"""Functions that a worker calls from time to time, whatever the number of items."""


async def test_an_item_costs_few_requests(
    settings: Settings, user: User, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests: Counter[str] = Counter()

    async def counted_connect(settings: Settings, *, key: str) -> AsyncClient:
        client = await connect(settings, key=key)
        count_requests(client, requests)
        return client

    monkeypatch.setattr("scheduler.wiring.connect", counted_connect)
    batch_id = await submit(user, *["a harbour"] * 10)
    rare = {"poll_seconds": 3600, "lease_seconds": 3600}  # polls and renewals depend on time, not on items
    values = {**settings.model_dump(), "offline_seconds": 0.2, **rare}

    code = await run(WorkerSettings.model_validate(values), Options(once=True), "counted")

    assert code == 0
    assert await statuses(database, batch_id) == {"completed": 10}
    of_items = requests.total() - sum(requests[name] for name in HOUSEKEEPING)
    assert requests["upload"] <= 10 * 2 + 1, requests  # a picture and its thumbnail; the probe of the bucket
    assert of_items <= 10 * 5 + 2, requests


def count_requests(client: AsyncClient, requests: Counter[str]) -> None:
    """Count requests by function, or as `upload`."""

    async def count(request: httpx.Request) -> None:
        path = request.url.path
        requests["upload" if "/storage/" in path else path.rsplit("/", 1)[-1]] += 1

    http = cast("httpx.AsyncClient", vars(client.options)["httpx_client"])
    http.event_hooks = {**http.event_hooks, "request": [count]}
