"""Live updates: the time from a change's commit to its owner's client by both of Realtime's ways, and their cost.

The cost is that of the broadcasts alone: items are started and completed one by one, in turns with the setting
`broadcast_changes` on and off.
"""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

from batchgen.backend.realtime import Broadcasts, RowChanges, Subscription
from benchmarks.batchgen_queue import LEASE_SECONDS, result_of
from benchmarks.bench import Bench
from benchmarks.cluster import Stopwatch
from benchmarks.live_stack import LiveStack
from benchmarks.results import percentile

WAYS = ("broadcast", "postgres_changes")
LONGEST_SECONDS = 10
SETTING = {True: "on", False: "off"}


async def measure(bench: Bench, live: LiveStack) -> None:
    changes, items = bench.size(200, 30), bench.size(300, 40)
    for run in range(bench.runs):
        with bench.step(f"live: {changes} changes, run {run + 1} of {bench.runs}"):
            await _delays(bench, live, changes)
        with bench.step(f"live: cost of broadcasts, {2 * items} items, run {run + 1} of {bench.runs}"):
            await _cost(bench, live, items)
    results = bench.results
    bench.goal("change to client by broadcast, p95", results.median("live", "broadcast, p95"), 20, unit="ms")
    on, off = (("live", f"completion, broadcasts {SETTING[is_on]}, p50") for is_on in (True, False))
    bench.goal("completion with broadcasts over without, p50", results.ratio(on, off), 1.1, unit="times")


class _Client:
    """The owner's client: remembers when each way has brought something."""

    def __init__(self) -> None:
        self.heard: dict[str, asyncio.Event] = {way: asyncio.Event() for way in WAYS}
        self.heard_at: dict[str, float] = {}
        self.confirmations = 0
        self.confirmed = asyncio.Event()

    def hear(self, way: str) -> None:
        self.heard_at[way] = time.perf_counter()
        self.heard[way].set()

    def confirm(self) -> None:
        self.confirmations += 1
        if self.confirmations == len(WAYS):
            self.confirmed.set()


@asynccontextmanager
async def _listening(live: LiveStack, user: str, item: str) -> AsyncGenerator[_Client]:
    client = _Client()

    def on_broadcast(_news: dict[str, Any]) -> None:
        client.hear("broadcast")

    def on_row(_change: Any) -> None:
        client.hear("postgres_changes")

    subscription = Subscription(
        url=f"{live.info.url}/realtime/v1",
        key=live.info.publishable_key,
        topic="bench",
        changes=[RowChanges("image_generations", on_row, "UPDATE", f"id=eq.{item}")],
        broadcasts=Broadcasts(f"user:{user}", "changed", on_broadcast, time.time()),
        on_delivering=client.confirm,
    )
    running = asyncio.create_task(subscription.run(live.token(user)))
    try:
        async with asyncio.timeout(LONGEST_SECONDS):
            await client.confirmed.wait()
        yield client
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def _delays(bench: Bench, live: LiveStack, changes: int) -> None:
    """Milliseconds from the commit's return to the client, for changes at random times."""
    rng = random.Random(5)  # noqa: S311
    [user] = await live.new_users(1)
    item = (await live.submit(user, 2))[0]
    delays: dict[str, list[float]] = {way: [] for way in WAYS}
    async with _listening(live, user, item) as client:
        with bench.measured() as load:
            for number in range(changes):
                await asyncio.sleep(0.05 + 0.1 * rng.random())
                for event in client.heard.values():
                    event.clear()
                update = "update public.image_generations set priority = %s where id = %s"
                await live.database.execute(update, [number % 5 + 1, item])
                committed_at = time.perf_counter()
                async with asyncio.timeout(LONGEST_SECONDS):
                    for event in client.heard.values():
                        await event.wait()
                for way in WAYS:
                    delays[way].append(max(client.heard_at[way] - committed_at, 0) * 1000)
    await live.empty()
    for way, times in delays.items():
        bench.results.add("live", f"{way}, p50", "ms", percentile(times, 0.5), load.foreign_cores)
        bench.results.add("live", f"{way}, p95", "ms", percentile(times, 0.95), load.foreign_cores)


async def _cost(bench: Bench, live: LiveStack, items: int) -> None:
    [user] = await live.new_users(1)
    for _ in range(items // 5):
        await live.insert_batch(user, 10)
    await live.database.execute("vacuum (analyze)")
    claims: dict[bool, list[float]] = {True: [], False: []}
    completions: dict[bool, list[float]] = {True: [], False: []}
    try:
        with bench.measured() as load:
            for number in range(2 * items):
                is_on = number % 2 == 0
                await live.database.execute("update batchgen.settings set broadcast_changes = %s", [is_on])
                claim, completion = await _run_one(live)
                claims[is_on].append(claim)
                completions[is_on].append(completion)
    finally:
        await live.database.execute("update batchgen.settings set broadcast_changes = true")
    await live.empty()
    for name, times in (("claim", claims), ("completion", completions)):
        for is_on in (True, False):
            figure = f"{name}, broadcasts {SETTING[is_on]}, p50"
            bench.results.add("live", figure, "ms", percentile(times[is_on], 0.5), load.foreign_cores)


async def _run_one(live: LiveStack) -> tuple[float, float]:
    """Claim one item and complete it; the milliseconds of both."""
    watch = Stopwatch()
    rows = await live.database.execute(
        "select generation_id, lease_id, user_id from public.claim_generations('bench', 1, %s)", [LEASE_SECONDS]
    )
    [(generation, lease, user)] = await rows.fetchall()
    claim = watch.milliseconds
    watch = Stopwatch()
    await live.database.execute(
        "select public.complete_generation(%s, %s, %s::jsonb)",
        [generation, lease, json.dumps(result_of(generation, user))],
    )
    return claim, watch.milliseconds
