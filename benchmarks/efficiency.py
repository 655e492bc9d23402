"""Parallel efficiency: 200 items of 2 s by 100 users, one worker with 20 slots, default limits.

Busy slot time divided by slots times makespan. A slot is busy from the start of an item to the end of its report. The
second figure counts only the provider's seconds, so that all other time of an item is loss.
"""

from benchmarks.bench import Bench
from benchmarks.live_stack import LiveStack, MeteredWorker, Moment

SLOTS = 20
SECONDS = 2


async def measure(bench: Bench, live: LiveStack) -> None:
    user_count, seconds = bench.size(100, 30), SECONDS
    items = user_count * 2
    users = await live.new_users(user_count)
    for run in range(bench.runs):
        with bench.step(
            f"efficiency: {items} items of {seconds} s by {user_count} users, run {run + 1} of {bench.runs}"
        ):
            for user in users:
                await live.insert_batch(user, 2)
            with bench.measured() as load:
                async with live.worker(seconds=seconds) as worker:
                    await worker.until_done(items)
            await live.empty()
            for name, share in _shares(worker, items * seconds).items():
                bench.results.add("efficiency", name, "", share, load.foreign_cores)
    bench.goal("parallel efficiency", bench.results.median("efficiency", "busy slots"), 0.95, at_most=False)


def _shares(worker: MeteredWorker, provider_seconds: float) -> dict[str, float]:
    taken, done = _by_item(worker.all("taken")), _by_item(worker.all("done"))
    makespan = max(done.values()) - min(taken.values())
    busy = sum(done[item] - taken[item] for item in done)
    return {"busy slots": busy / (SLOTS * makespan), "provider's time": provider_seconds / (SLOTS * makespan)}


def _by_item(moments: list[Moment]) -> dict[str, float]:
    return {moment.generation: moment.at for moment in moments}
