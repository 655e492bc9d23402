"""Throughput of a worker through REST and Storage with a provider that takes no time, and HTTP requests per item."""

from benchmarks.bench import Bench
from benchmarks.live_stack import LiveStack

USERS = 100
BATCH = 10


async def measure(bench: Bench, live: LiveStack) -> None:
    batches = bench.size(100, 10)
    users = await live.new_users(USERS)
    for run in range(bench.runs):
        with bench.step(f"rest: {batches * BATCH:,} items by one worker, run {run + 1} of {bench.runs}"):
            await _one_run(bench, live, users, batches)


async def _one_run(bench: Bench, live: LiveStack, users: list[str], batches: int) -> None:
    items = batches * BATCH
    for number in range(batches):
        await live.insert_batch(users[number % len(users)], BATCH)
    with bench.measured() as load:
        async with live.worker() as worker:
            await worker.until_done(items)
    first, last = worker.all("taken")[0], worker.all("done")[-1]
    await live.empty()
    bench.results.add("rest", "items of one worker", "items/s", items / (last.at - first.at), load.foreign_cores)
    # One claim has been sent when the first item is taken.
    requests = (last.requests - first.requests + 1) / items
    bench.results.add("rest", "requests per item", "requests", requests, load.foreign_cores)
