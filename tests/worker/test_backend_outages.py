"""Errors of gateways, quotas and a read-only database after a worker was accepted: it waits out the outage."""

import json
import signal
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest

from devstack import StackInfo
from tests.gateway import Gateway, Reply, gateway_before
from tests.support import Database, User, WorkerProcess, eventually
from tests.worker.test_worker_process import all_completed, submit

Start = Callable[..., Awaitable[WorkerProcess]]

pytestmark = pytest.mark.usefixtures("empty_queue")

TOO_EARLY = Reply(401, json.dumps({"code": "PGRST303", "message": "JWT issued at future"}))
CLOUD_PAGE = Reply(403, "<html>Sorry, you have been blocked</html>", "text/html")
QUOTA = Reply(402, json.dumps({"message": "Service for this project is restricted: exceed_egress_quota."}))
NO_ROUTE = Reply(404, json.dumps({"message": "no Route matched with those values"}))
READ_ONLY = Reply(405, json.dumps({"code": "25006", "message": "cannot execute UPDATE in a read-only transaction"}))
SHUT_DOWN = Reply(400, json.dumps({"code": "57P01", "message": "terminating connection"}))
WRONG_KEY = Reply(401, json.dumps({"message": "Invalid API key", "hint": "Double check your API key."}))
REFUSALS = [TOO_EARLY, CLOUD_PAGE, QUOTA, NO_ROUTE, READ_ONLY, SHUT_DOWN, WRONG_KEY, Reply(413), Reply(200, "[]")]
CLAIM = "claim_generations_as_json"
FAST = {"BATCHGEN_BACKOFF_SECONDS": "0.05", "BATCHGEN_BACKOFF_MAX_SECONDS": "0.2", "BATCHGEN_POLL_SECONDS": "0.2"}


@pytest.fixture
async def gateway(stack: StackInfo) -> AsyncGenerator[Gateway]:
    async with gateway_before(stack.url) as gateway:
        yield gateway


@pytest.fixture
async def start(stack: StackInfo, gateway: Gateway) -> AsyncGenerator[Start]:
    """Starts workers behind the gateway; they end with the test."""
    workers: list[WorkerProcess] = []
    environment = {
        "SUPABASE_URL": gateway.url,
        "SUPABASE_SECRET_KEY": stack.secret_key,
        "BATCHGEN_OFFLINE_COMMANDS": "1",
        "BATCHGEN_OFFLINE_SECONDS": "0",
        **FAST,
    }

    async def start_one(*arguments: str, **more: str) -> WorkerProcess:
        workers.append(await WorkerProcess.start({**environment, **more}, *arguments))
        return workers[-1]

    yield start_one
    for worker in workers:
        await worker.end()


def no_traceback(worker: WorkerProcess) -> bool:
    return not any("Traceback" in line for line in worker.lines)


async def test_an_accepted_worker_survives_any_refused_claim(
    start: Start, gateway: Gateway, user: User, database: Database
) -> None:
    """One worker meets all refusals in turn: starting one takes a second of CPU."""
    worker = await start()
    await eventually(lambda: gateway.calls[CLAIM] > 0, timeout=20)

    for number, reply in enumerate(REFUSALS, 1):
        refuse_claims(gateway, reply, 4)
        await worker.logs("queue lost, running items go on", number)
        batch_id = await submit(user, "a harbour", "a forest")
        await completed(database, batch_id, str(reply))

        assert len(worker.named("queue lost, running items go on")) == number, reply
        assert len(worker.named("queue recovered")) == number, reply

    assert no_traceback(worker)
    worker.send(signal.SIGTERM)
    assert await worker.exit_code() == 0


def refuse_claims(gateway: Gateway, reply: Reply, times: int) -> None:
    """The next claims get this answer."""
    before = gateway.calls[CLAIM]
    gateway.rule = lambda name, count: reply if name == CLAIM and before < count <= before + times else None


async def completed(database: Database, batch_id: str, what: str) -> None:
    await eventually(lambda: all_completed(database, batch_id, 2), timeout=20, what=what)


@pytest.mark.parametrize("reply", [TOO_EARLY, CLOUD_PAGE, QUOTA, READ_ONLY], ids=["401", "403", "402", "405"])
async def test_results_are_kept_during_an_outage_and_written_after_it(
    start: Start, gateway: Gateway, user: User, database: Database, reply: Reply
) -> None:
    is_out = False
    gateway.rule = lambda _name, _count: reply if is_out else None
    batch_id = await submit(user, "a harbour #slow:2", "a forest #slow:2")
    worker = await start()
    await eventually(lambda: gateway.calls["attach_provider_job"] == 2, timeout=20)

    is_out = True
    await eventually(lambda: gateway.refused["complete_and_claim"] + gateway.refused["upload"] >= 3, timeout=20)
    is_out = False

    await eventually(lambda: all_completed(database, batch_id, 2), timeout=20)
    assert len(worker.named("item started")) == 2
    assert len(worker.named("queue lost, running items go on")) == 1
    assert not worker.named("item failed")
    assert not worker.named("result refused")
    assert no_traceback(worker)
    worker.send(signal.SIGTERM)
    assert await worker.exit_code() == 0


@pytest.mark.parametrize("reply", [QUOTA, READ_ONLY, CLOUD_PAGE, NO_ROUTE, Reply(500)], ids=str)
async def test_once_exits_with_3_in_an_outage(start: Start, gateway: Gateway, reply: Reply) -> None:
    gateway.rule = lambda _name, _count: reply

    worker = await start("--once")

    assert await worker.exit_code() == 3
    assert worker.named("backend not reachable")
    assert no_traceback(worker)


async def test_a_service_started_in_an_outage_waits_for_its_end(
    start: Start, gateway: Gateway, user: User, database: Database
) -> None:
    is_out = True
    gateway.rule = lambda _name, _count: QUOTA if is_out else None
    batch_id = await submit(user, "a harbour", "a forest")
    worker = await start()
    await worker.logs("queue lost, the worker waits for it to begin")

    is_out = False

    await eventually(lambda: all_completed(database, batch_id, 2), timeout=20)
    worker.send(signal.SIGTERM)
    assert await worker.exit_code() == 0


async def test_a_signal_ends_a_service_waiting_for_the_backend(start: Start, gateway: Gateway) -> None:
    gateway.rule = lambda _name, _count: QUOTA
    worker = await start(BATCHGEN_BACKOFF_SECONDS="30", BATCHGEN_BACKOFF_MAX_SECONDS="30")
    await worker.logs("queue lost, the worker waits for it to begin")

    worker.send(signal.SIGTERM)

    assert await worker.exit_code() == 0


@pytest.mark.parametrize("once", [True, False])
async def test_a_key_refused_at_the_first_call_exits_with_2(start: Start, gateway: Gateway, once: bool) -> None:
    gateway.rule = lambda _name, _count: WRONG_KEY

    worker = await start(*(["--once"] if once else []))

    assert await worker.exit_code() == 2
    assert any("SUPABASE_SECRET_KEY" in line for line in worker.lines if not line.startswith("{"))
    assert gateway.calls["claim_generations_as_json"] == 0


async def test_a_key_refused_as_issued_in_the_future_is_tried_again(start: Start, gateway: Gateway) -> None:
    gateway.rule = lambda name, count: TOO_EARLY if name == "worker_start" and count == 1 else None

    worker = await start("--once")

    assert await worker.exit_code() == 0


async def test_missing_migrations_stop_the_start(start: Start, gateway: Gateway) -> None:
    missing = Reply(404, json.dumps({"code": "PGRST202", "message": "Could not find the function"}))
    gateway.rule = lambda name, _count: missing if name == "worker_start" else None

    worker = await start()

    assert await worker.exit_code() == 2
    assert any("supabase/migrations" in line for line in worker.lines)


async def test_outdated_migrations_stop_the_start(start: Start, gateway: Gateway) -> None:
    older = json.dumps({"functions": [{"name": "renew_leases_as_json", "arguments": ["p_worker"]}], "models": []})
    gateway.rule = lambda name, _count: Reply(200, older) if name == "worker_start" else None

    worker = await start("--once")

    assert await worker.exit_code() == 2
    (line,) = [line for line in worker.lines if not line.startswith("{")]
    assert "renew_leases_as_json" in line
    assert "supabase/migrations" in line


@pytest.mark.parametrize(
    ("bucket", "word"),
    [
        (
            Reply(400, json.dumps({"statusCode": "404", "error": "Bucket not found", "message": "Bucket not found"})),
            "no",
        ),
        (Reply(200, json.dumps({"id": "generated-images", "public": False})), "private"),
        (Reply(200, json.dumps({"id": "generated-images", "public": True, "file_size_limit": 1000})), "1000 bytes"),
        (Reply(200, json.dumps({"public": True, "allowed_mime_types": ["image/png"]})), "image/webp"),
    ],
    ids=["none", "private", "small", "types"],
)
async def test_an_unsuitable_bucket_stops_the_start(start: Start, gateway: Gateway, bucket: Reply, word: str) -> None:
    gateway.rule = lambda name, _count: bucket if name == "generated-images" else None

    worker = await start()

    assert await worker.exit_code() == 2
    (line,) = [line for line in worker.lines if not line.startswith("{")]
    assert "BATCHGEN_BUCKET" in line
    assert word in line


async def test_a_missing_bucket_stops_claims_and_keeps_pictures(
    start: Start, gateway: Gateway, user: User, database: Database
) -> None:
    no_bucket = Reply(
        400, json.dumps({"statusCode": "404", "error": "Bucket not found", "message": "Bucket not found"})
    )
    is_gone = False
    gateway.rule = lambda name, _count: no_bucket if is_gone and name in ("upload", "generated-images") else None
    worker = await start(BATCHGEN_MAX_PARALLEL="1", BATCHGEN_STORAGE_PATIENCE_SECONDS="0.5")
    await worker.logs("worker starts")
    is_gone = True
    batch_id = await submit(user, "a harbour", "a forest", "a street")
    await worker.logs("storage lost, nothing more is begun and pictures are kept")
    tries = gateway.calls["upload"]
    await eventually(lambda: gateway.calls["upload"] > tries + 5)

    assert len(worker.named("item started")) == 1

    is_gone = False
    await eventually(lambda: all_completed(database, batch_id, 3), timeout=20)
    assert len(worker.named("item started")) == 3
    worker.send(signal.SIGTERM)
    assert await worker.exit_code() == 0


async def test_a_database_that_becomes_read_only_costs_no_result(
    start: Start, user: User, database: Database, stack: StackInfo
) -> None:
    batch_id = await submit(user, "a harbour #slow:2", "a forest #slow:2")
    worker = await start()
    await worker.logs("item started", 2)
    end_others = (
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where pid <> pg_backend_pid() and backend_type = 'client backend'"
        " and application_name not like 'devstack realtime %'"  # tests after this one need their events
    )
    try:
        await database.execute("alter database postgres set default_transaction_read_only = on")
        await database.execute(end_others)
        await worker.logs("queue lost, running items go on")
    finally:
        await database.execute("set default_transaction_read_only = off")
        await database.execute("alter database postgres reset default_transaction_read_only")
        await database.execute(end_others)

    await eventually(lambda: all_completed(database, batch_id, 2), timeout=20)
    assert len(worker.named("item started")) == 2
    assert no_traceback(worker)
    worker.send(signal.SIGTERM)
    assert await worker.exit_code() == 0
