"""Drain of no-op items at SQL level: batchgen and the peers in turns, each in its own database on one cluster.

Enqueue the items, `vacuum (analyze)`, checkpoint, then start one worker process. The time runs from the start of the
first job (for batchgen from before its first claim) until the database shows no pending job.
"""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.bench import Bench
from benchmarks.cluster import Cluster, Connection, connect, settle
from benchmarks.machine import ROOT
from benchmarks.peers.environment import PeersMissing, has_oban, peers_python

PEERS = Path(__file__).parent / "peers"
LONGEST_SECONDS = 300
OURS = "batchgen"
PENDING = {
    "pgqueuer": b"select exists (select from pgqueuer)",
    "chancy": b"select exists (select from chancy_jobs where state not in ('succeeded', 'failed'))",
    "oban": b"select exists (select from oban_jobs where state not in ('completed', 'discarded', 'cancelled'))",
    "procrastinate": b"select exists (select from procrastinate_jobs where status in ('todo', 'doing'))",
}


class DrainFailed(Exception):
    """A queue did not complete its work."""


@dataclass(frozen=True)
class Contender:
    name: str
    command: tuple[str, ...]
    pending: bytes
    """A query that returns whether a job is pending."""
    is_ours: bool = False


async def measure(bench: Bench, cluster: Cluster) -> None:
    jobs = bench.size(20_000, 2_000)
    contenders = await _contenders(bench)
    for run in range(bench.runs):
        for contender in contenders:
            with bench.step(f"drain of {jobs:,} items, {contender.name}, run {run + 1} of {bench.runs}"):
                await _one_drain(bench, cluster, contender, jobs)
    _set_goals(bench, [contender.name for contender in contenders])


async def _contenders(bench: Bench) -> list[Contender]:
    ours = Contender(
        OURS,
        (sys.executable, "-m", "benchmarks.batchgen_queue"),
        b"select exists (select from batchgen.queue)",
        is_ours=True,
    )
    try:
        with bench.step("the peers' environment (takes a minute the first time)"):
            python = await asyncio.to_thread(peers_python, ROOT)
    except PeersMissing as error:
        bench.note(f"The peers are skipped: {error}.")
        return [ours]
    if not has_oban(python):
        bench.note("oban is skipped: it needs Python 3.12 or newer, and none was found.")
    return [ours, *_peers(python, with_oban=has_oban(python))]


def _peers(python: Path, *, with_oban: bool) -> list[Contender]:
    names = [name for name in PENDING if name != "oban" or with_oban]
    return [Contender(name, (str(python), str(PEERS / f"run_{name}.py")), PENDING[name]) for name in names]


async def _one_drain(bench: Bench, cluster: Cluster, contender: Contender, jobs: int) -> None:
    name = f"bench_{contender.name}"
    dsn = await cluster.fresh_database(name, migrated=contender.is_ours)
    await _finish(contender, "setup", dsn)
    put_in = await _finish(contender, "enqueue", dsn, str(jobs))
    await settle(dsn)
    async with _worker(contender, dsn, jobs) as worker:
        with bench.measured() as load:
            seconds = await _drain_seconds(contender, dsn, worker)
    await cluster.drop_database(name)
    bench.results.add("drain", contender.name, "items/s", jobs / seconds, load.foreign_cores)
    if put_in:
        bench.results.add("drain", f"{contender.name}, put in by its bulk call", "items/s", put_in, load.foreign_cores)


async def _drain_seconds(contender: Contender, dsn: str, worker: asyncio.subprocess.Process) -> float:
    assert worker.stdin  # noqa: S101
    async with await connect(dsn) as connection:
        worker.stdin.write(b"GO\n")
        async with asyncio.timeout(LONGEST_SECONDS):
            first = await _first_start(worker)
            watching = asyncio.create_task(_discard_output(worker))
            try:
                while await _is_pending(connection, contender):  # noqa: ASYNC110 - there is no event to wait for
                    await asyncio.sleep(0.01)
            finally:
                watching.cancel()
    return (time.monotonic_ns() - first) / 1e9


async def _is_pending(connection: Connection, contender: Contender) -> bool:
    row = await (await connection.execute(contender.pending)).fetchone()
    return bool(row and row[0])


async def _first_start(worker: asyncio.subprocess.Process) -> int:
    assert worker.stdout  # noqa: S101
    async for line in worker.stdout:
        if line.startswith(b"F "):
            return int(line.split()[1])
    raise DrainFailed("the worker ended before its first job")


async def _discard_output(worker: asyncio.subprocess.Process) -> None:
    """Discard the worker's output, since a full pipe would stop it."""
    assert worker.stdout  # noqa: S101
    async for _ in worker.stdout:
        pass


@asynccontextmanager
async def _worker(contender: Contender, dsn: str, jobs: int) -> AsyncGenerator[asyncio.subprocess.Process]:
    worker = await _spawn(contender, "work", dsn, str(jobs))
    assert worker.stdout  # noqa: S101
    try:
        if (await worker.stdout.readline()).strip() != b"READY":
            raise DrainFailed(f"{contender.name}: the worker did not start")
        yield worker
    finally:
        if worker.returncode is None:
            worker.kill()
        await worker.wait()


async def _finish(contender: Contender, *arguments: str) -> float | None:
    """Run a step to its end; return the rate that it prints after R, if any."""
    process = await _spawn(contender, *arguments)
    output, _ = await process.communicate()
    if process.returncode:
        raise DrainFailed(f"{contender.name}: {arguments[0]} ended with exit code {process.returncode}")
    rates = [line.split()[1] for line in output.splitlines() if line.startswith(b"R ")]
    return float(rates[-1]) if rates else None


async def _spawn(contender: Contender, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *contender.command, *arguments, cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE
    )


def _set_goals(bench: Bench, names: list[str]) -> None:
    for name in names:
        if name != OURS:
            must_win = 1.0 if name in ("oban", "chancy") else None
            ratio = bench.results.ratio(("drain", OURS), ("drain", name))
            bench.goal(f"drain: {OURS} over {name}", ratio, must_win, at_most=False, unit="times")
