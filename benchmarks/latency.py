"""Latency from the start of a submit to the first call of the provider for an item of the batch.

Idle: a waiting worker, woken by Realtime. Under load: all its slots are taken, and other users' items wait.
"""

import asyncio
import random
import time

from benchmarks.bench import Bench
from benchmarks.live_stack import LiveStack, MeteredWorker
from benchmarks.results import percentile

ITEMS = 2
BUSY_USERS = 10
BUSY_SECONDS = 0.5
SLOTS = 20


async def measure(bench: Bench, live: LiveStack) -> None:
    submits = bench.size(60, 10)
    for run in range(bench.runs):
        with bench.step(f"latency idle, {submits} submits, run {run + 1} of {bench.runs}"):
            await _idle(bench, live, submits)
        with bench.step(f"latency under load, {submits} submits, run {run + 1} of {bench.runs}"):
            await _under_load(bench, live, submits)
    goal = bench.results.median("latency", "idle, p95")
    bench.goal("submit to processing, idle, p95", goal, 1.0, unit="s")


async def _idle(bench: Bench, live: LiveStack, submits: int) -> None:
    users = await live.new_users(submits)
    async with live.worker() as worker:
        with bench.measured() as load:
            waits = await _submit_and_watch(live, worker, users)
    await live.empty()
    _add(bench, "idle", waits, load.foreign_cores)


async def _under_load(bench: Bench, live: LiveStack, submits: int) -> None:
    """Measure while more items wait than can be finished meanwhile, all of earlier users."""
    users = await live.new_users(submits)
    busy = await live.new_users(BUSY_USERS)
    batches = int((5 + submits) * SLOTS / BUSY_SECONDS / 10)
    for number in range(batches):
        await live.insert_batch(busy[number % BUSY_USERS], 10)
    async with live.worker(seconds=BUSY_SECONDS) as worker:
        await worker.until(lambda: len(worker.all("done")) >= SLOTS)
        with bench.measured() as load:
            waits = await _submit_and_watch(live, worker, users)
    await live.empty()
    _add(bench, "under load", waits, load.foreign_cores)


async def _submit_and_watch(live: LiveStack, worker: MeteredWorker, users: list[str]) -> list[float]:
    """Seconds from the start of each submit to the provider's first item of it."""
    rng = random.Random(3)  # noqa: S311
    submitted: dict[str, float] = {}
    for user in users:
        await asyncio.sleep(0.2 + 0.4 * rng.random())
        began = time.monotonic()
        submitted |= dict.fromkeys(await live.submit(user, ITEMS), began)
    await worker.until(lambda: submitted.keys() <= {moment.generation for moment in worker.all("begun")})
    firsts: dict[float, float] = {}
    for moment in worker.all("begun"):
        if began := submitted.get(moment.generation):
            firsts.setdefault(began, moment.at - began)
    return list(firsts.values())


def _add(bench: Bench, name: str, waits: list[float], foreign_cores: float) -> None:
    bench.results.add("latency", f"{name}, p50", "s", percentile(waits, 0.5), foreign_cores)
    bench.results.add("latency", f"{name}, p95", "s", percentile(waits, 0.95), foreign_cores)
