"""A worker with a frozen event loop ends by itself and logs it; a stopped or busy one goes on."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from scheduler.watchdog_child import timed
from tests.support import WorkerProcess, eventually

ROOT = Path(__file__).parents[2]
KEY = "sb_secret_for_this_test"
FROZEN = "worker frozen, it ends and must be started again"
ENVIRONMENT = {
    "SUPABASE_URL": "http://127.0.0.1:9",
    "SUPABASE_SECRET_KEY": KEY,
    "BATCHGEN_LOG_FORMAT": "json",
    "BATCHGEN_WORKER_NAME": "watched",
    "PYTHONPATH": str(ROOT),
    "WATCHDOG_SECONDS": "2",
}
MODULE = "tests.worker.freezing_worker"

Start = Callable[..., Awaitable[WorkerProcess]]


@pytest.fixture
async def start() -> AsyncGenerator[Start]:
    """Starts workers that wait for a project which does not exist: `await start("block")`; they end with the test."""
    workers: list[WorkerProcess] = []

    async def start_one(freezes: str = "", seconds: float = 2, **more: str) -> WorkerProcess:
        environment = {**ENVIRONMENT, "FREEZES": freezes, "WATCHDOG_SECONDS": str(seconds), **more}
        workers.append(await WorkerProcess.start(environment, module=MODULE))
        return workers[-1]

    yield start_one
    for worker in workers:
        await worker.end()


def children_of(worker: WorkerProcess) -> list[int]:
    """The child processes. The file exists on Linux alone, where these tests run."""
    pid = worker.process.pid
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def environment_and_arguments_of(pid: int) -> bytes:
    """The environment and the arguments of a process."""
    return b"".join(Path(f"/proc/{pid}/{file}").read_bytes() for file in ("environ", "cmdline"))


@pytest.mark.parametrize("freezes", ["block", "hold_interpreter", "go_back", "spin"])
async def test_a_frozen_worker_ends_and_logs_where_it_hangs(start: Start, freezes: str) -> None:
    worker = await start(freezes)

    code = await worker.exit_code()

    assert code == 1
    [line] = worker.named(FROZEN)
    assert (line["level"], line["worker"], line["seconds"]) == ("critical", "watched", 2)
    assert datetime.now(UTC) - datetime.fromisoformat(line["timestamp"]) < timedelta(seconds=30)
    stacks = worker.lines[next(index for index, text in enumerate(worker.lines) if FROZEN in text) + 1 :]
    assert stacks[0].startswith(("Current thread", "Thread"))
    assert any(f"in {freezes}" in text for text in stacks), stacks
    assert "sb_secret" not in "".join(worker.lines)


async def test_the_last_line_of_a_text_log_is_text(start: Start) -> None:
    worker = await start("block", BATCHGEN_LOG_FORMAT="text")

    assert await worker.exit_code() == 1
    [line] = [line for line in worker.lines if FROZEN in line]
    assert "critical" in line
    assert not line.startswith("{")


async def test_a_worker_blocked_by_a_full_log_pipe_ends() -> None:
    unread, log = os.pipe()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", MODULE), env={**ENVIRONMENT, "FREEZES": "fill_log"}, stderr=log
    )
    os.close(log)

    async with asyncio.timeout(30):
        code = await process.wait()

    os.close(unread)
    assert code == 1


async def test_a_worker_suspended_beyond_the_limit_goes_on(start: Start) -> None:
    worker = await start(seconds=2)
    await worker.logs("loop runs", 2)

    worker.send(signal.SIGSTOP)
    await asyncio.sleep(4)
    worker.send(signal.SIGCONT)

    before = len(worker.named("loop runs"))
    await worker.logs("loop runs", before + 6)
    worker.send(signal.SIGTERM)
    assert await worker.exit_code() == 0
    assert worker.named(FROZEN) == []


async def test_a_worker_that_freezes_after_a_suspension_ends(start: Start) -> None:
    worker = await start("spin", seconds=2)
    await worker.logs("loop runs", 1)
    worker.send(signal.SIGSTOP)
    await asyncio.sleep(3)
    assert worker.process.returncode is None
    worker.send(signal.SIGCONT)

    assert await worker.exit_code() == 1
    assert len(worker.named(FROZEN)) == 1


async def test_a_busy_worker_is_not_taken_for_frozen(start: Start) -> None:
    worker = await start("work_hard", seconds=3)

    await worker.logs("loop runs", 10, timeout=40)

    worker.send(signal.SIGTERM)
    assert await worker.exit_code() == 0
    assert worker.named(FROZEN) == []


async def test_a_part_that_does_not_close_does_not_keep_the_worker_alive(start: Start) -> None:
    worker = await start(seconds=20, NEVER_CLOSES="1")
    await worker.logs("loop runs", 1)

    worker.send(signal.SIGTERM)

    assert await worker.exit_code() == 0
    [line] = worker.named("a part of the worker does not close in time, going on without it")
    assert line["part"] == "providers"


async def test_an_ended_watchdog_is_started_again(start: Start) -> None:
    worker = await start(seconds=20)
    await worker.logs("loop runs", 1)
    [first] = children_of(worker)

    os.kill(first, signal.SIGKILL)

    await worker.logs("the watchdog has ended, another one is started")
    await eventually(lambda: children_of(worker) not in ([], [first]), timeout=20)
    worker.send(signal.SIGTERM)
    assert await worker.exit_code() == 0


async def test_the_watchdog_ends_with_a_killed_worker(start: Start) -> None:
    worker = await start(seconds=20)
    await worker.logs("loop runs", 1)
    [child] = children_of(worker)

    worker.send(signal.SIGKILL)
    await worker.exit_code()  # its log has ended, too: the child had it open

    await eventually(lambda: not Path(f"/proc/{child}").exists())


async def test_the_watchdog_process_knows_no_secrets(start: Start) -> None:
    worker = await start(seconds=20)
    await worker.logs("loop runs", 1)
    [child] = children_of(worker)

    known = environment_and_arguments_of(child)

    assert b"watchdog_child.py" in known
    assert b"SUPABASE" not in known
    assert KEY.encode() not in known


async def test_sigusr1_logs_the_stacks_and_the_worker_goes_on(start: Start) -> None:
    worker = await start(seconds=20)
    await worker.logs("loop runs", 1)

    worker.send(signal.SIGUSR1)

    await eventually(lambda: any("in run_forever" in line for line in worker.lines))
    before = len(worker.named("loop runs"))
    await worker.logs("loop runs", before + 1)


NOW = datetime(2026, 12, 1, 8, 30, 15, 123, UTC)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("2026-11-28T07:00:00.5Z [critical ] frozen", "2026-12-01T08:30:15.000123Z [critical ] frozen"),
        ("\x1b[2m2026-11-28T07:00:00.5Z\x1b[0m frozen", "\x1b[2m2026-12-01T08:30:15.000123Z\x1b[0m frozen"),
        ("07:00:00 critical frozen at=07:00:00", "08:30:15 critical frozen at=07:00:00"),
        ("frozen", "frozen"),
    ],
)
def test_a_watchdog_line_in_text_gets_the_time_of_its_event(line: str, expected: str) -> None:
    assert timed(line, NOW) == expected


def test_a_watchdog_line_in_json_gets_the_time_of_its_event() -> None:
    line = json.dumps({"event": "frozen", "worker": "Größe 07:00:00", "timestamp": "2026-11-28T07:00:00.5Z"})

    told = json.loads(timed(line, NOW))

    assert told == {"event": "frozen", "worker": "Größe 07:00:00", "timestamp": "2026-12-01T08:30:15.000123Z"}
