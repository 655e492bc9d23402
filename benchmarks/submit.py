"""100 users who submit a batch of 10 at once, through REST; each call's time as its user sees it. No worker runs."""

import asyncio
import time

from benchmarks.bench import Bench
from benchmarks.live import Live
from benchmarks.results import percentile

BATCH = 10


async def measure(bench: Bench, live: Live) -> None:
    users = await live.new_users(bench.size(100, 30))
    await asyncio.gather(*(live.submit(user, BATCH) for user in users))  # connections are open, plans are made
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


async def _timed(live: Live, user: str) -> float:
    began = time.monotonic()
    await live.submit(user, BATCH)
    return time.monotonic() - began
