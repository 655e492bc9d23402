"""Response times while 100 users submit a batch of 10 at once through REST. No worker runs."""

import asyncio
import time

from benchmarks.bench import Bench
from benchmarks.live_stack import LiveStack
from benchmarks.results import percentile

BATCH = 10


async def measure(bench: Bench, live: LiveStack) -> None:
    users = await live.new_users(bench.size(100, 30))
    await asyncio.gather(*(live.submit(user, BATCH) for user in users))  # connects and prepares
    await live.empty()
    for run in range(bench.runs):
        with bench.step(f"submit: {len(users)} users at once, run {run + 1} of {bench.runs}"):
            with bench.measured() as load:
                times = await asyncio.gather(*(_timed(live, user) for user in users))
            await live.empty()
            for name, share in (("p50", 0.5), ("p95", 0.95)):
                milliseconds = percentile(times, share) * 1000
                bench.results.add(
                    "submit", f"create_batch, {len(users)} at once, {name}", "ms", milliseconds, load.foreign_cores
                )


async def _timed(live: LiveStack, user: str) -> float:
    began = time.monotonic()
    await live.submit(user, BATCH)
    return time.monotonic() - began
