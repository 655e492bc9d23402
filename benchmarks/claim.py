"""The time of one claim, including round trip and commit, with a large backlog, half of which belongs to one user.

Measured in the steady state: 20 items run, at most 3 per user (the defaults), and each claim follows one finished item
and one new batch. For speed, rows are loaded without triggers, together with the queue's rows.
"""

import json
import random
from dataclasses import dataclass
from uuid import UUID

from benchmarks.batchgen_queue import LEASE_SECONDS, Claimed, result_of
from benchmarks.bench import Bench
from benchmarks.cluster import Cluster, Connection, Stopwatch, connect
from benchmarks.results import percentile

SLOTS = 20
BATCH = 10
CLAIM_SIZES = (1, 5)
PROMPTS = json.dumps({"prompts": [{"text": "one more"}, {"text": "and another"}]})

LOAD = b"""
set session_replication_role = replica;
insert into auth.users (id)
select md5('user ' || n)::uuid from generate_series(1, current_setting('bench.users')::integer) n;
insert into public.batch_generations (id, user_id, total_count, status, created_at)
select md5('batch ' || n)::uuid,
  md5('user ' || case when n % 2 = 1 then 1 else 2 + (n / 2) % (current_setting('bench.users')::integer - 1) end)::uuid,
  current_setting('bench.batch')::integer, 'pending', timestamptz '2026-01-01' + n * interval '1 millisecond'
from generate_series(1, current_setting('bench.rows')::integer / current_setting('bench.batch')::integer) n;
insert into public.image_generations (user_id, prompt, model, width, height, steps, seed, status, batch_id, batch_index,
  retry_count, priority, created_at)
select b.user_id, 'a red fox in the snow', 'offline-sketch', 1024, 1024, 20, 1, 'pending', b.id, i, 0, 0, b.created_at
from public.batch_generations b cross join generate_series(0, b.total_count - 1) i order by b.created_at, i;
insert into batchgen.queue (generation_id, user_id, priority, created_at, batch_index)
select g.id, g.user_id, g.priority, g.created_at, g.batch_index from public.image_generations g;
insert into batchgen.touched (user_id) select distinct user_id from batchgen.queue;
reset session_replication_role;
"""


@dataclass(frozen=True)
class Backlog:
    rows: int
    users: int

    def __str__(self) -> str:
        return f"{self.rows:,} rows of {self.users:,} users"


WHOLE = (Backlog(20_000, 1_000), Backlog(200_000, 1_000), Backlog(1_000_000, 1_000), Backlog(1_000_000, 20_000))
QUICK = (Backlog(5_000, 200), Backlog(50_000, 200), Backlog(50_000, 2_000))


async def measure(bench: Bench, cluster: Cluster) -> None:
    backlogs = QUICK if bench.is_quick else WHOLE
    for backlog in backlogs:
        dsn = await cluster.fresh_database("bench_claim", migrated=True)
        async with await connect(dsn) as connection:
            with bench.step(f"claim: loading {backlog}"):
                await load(connection, backlog)
            for run in range(bench.runs):
                for size in CLAIM_SIZES:
                    with bench.step(f"claim of {size} at {backlog}, run {run + 1} of {bench.runs}"):
                        await _measure_steady(bench, connection, backlog, size)
    await cluster.drop_database("bench_claim")
    _set_goals(bench, backlogs)


async def load(connection: Connection, backlog: Backlog) -> None:
    for name, value in (("rows", backlog.rows), ("users", backlog.users), ("batch", BATCH)):
        await connection.execute("select set_config(%s, %s, false)", [f"bench.{name}", str(value)])
    await connection.execute(LOAD, prepare=False)
    await connection.execute("vacuum (analyze)")
    await connection.execute("select generation_id from public.claim_generations('bench', 0, 60)")  # ranks every user
    await connection.execute("vacuum (analyze)")
    await connection.execute("checkpoint")


async def _measure_steady(bench: Bench, connection: Connection, backlog: Backlog, size: int) -> None:
    rounds = bench.size(150, 40)
    with bench.measured() as load_:
        claims, finishes = await _steady(connection, size, rounds)
    for name, times in (("claim", claims), ("finish", finishes)):
        what = f"{name} of {size} at {backlog}"
        bench.results.add("claim", f"{what}, p50", "ms", percentile(times, 0.5), load_.foreign_cores)
        bench.results.add("claim", f"{what}, p95", "ms", percentile(times, 0.95), load_.foreign_cores)


async def _steady(connection: Connection, size: int, rounds: int) -> tuple[list[float], list[float]]:
    """Milliseconds per claim, and per finished item."""
    rng = random.Random(7)  # noqa: S311
    users = [row[0] for row in await (await connection.execute("select id from auth.users")).fetchall()]
    running = await _running(connection)
    while len(running) < SLOTS:
        running += await _claim(connection, SLOTS)
    claims: list[float] = []
    finishes: list[float] = []
    for _ in range(rounds):
        rng.shuffle(running)
        watch = Stopwatch()
        for item in running[:size]:
            await _finish(connection, item)
        finishes.append(watch.milliseconds / size)
        await connection.execute("select public.create_batch_as(%s, %s::jsonb)", [rng.choice(users), PROMPTS])
        watch = Stopwatch()
        claimed = await _claim(connection, size)
        claims.append(watch.milliseconds)
        running = running[size:] + claimed
    return claims, finishes


async def _claim(connection: Connection, size: int) -> list[Claimed]:
    """Claim as PostgREST does, with all columns."""
    rows = await connection.execute("select * from public.claim_generations('bench', %s, %s)", [size, LEASE_SECONDS])
    names = [column.name for column in rows.description or []]
    at = [names.index(name) for name in ("generation_id", "lease_id", "user_id")]
    return [(row[at[0]], row[at[1]], row[at[2]]) for row in await rows.fetchall()]


async def _running(connection: Connection) -> list[tuple[UUID, UUID, UUID]]:
    rows = await connection.execute(
        "select generation_id, lease_id, user_id from batchgen.queue where state = 'running'"
    )
    return [(row[0], row[1], row[2]) for row in await rows.fetchall()]


async def _finish(connection: Connection, item: Claimed) -> None:
    generation, lease, user = item
    await connection.execute(
        "select public.complete_generation(%s, %s, %s::jsonb)",
        [generation, lease, json.dumps(result_of(generation, user))],
    )


def _set_goals(bench: Bench, backlogs: tuple[Backlog, ...]) -> None:
    def figure(backlog: Backlog) -> tuple[str, str]:
        return "claim", f"claim of 5 at {backlog}, p50"

    few, many = backlogs[0], backlogs[-2]
    crowd = backlogs[-1]
    results = bench.results
    bench.goal(f"claim of 5: {many} over {few}", results.ratio(figure(many), figure(few)), 1.2, unit="times")
    bench.goal(f"claim of 5: {crowd} over {many}", results.ratio(figure(crowd), figure(many)), 2.0, unit="times")
    bench.goal(f"claim of 5 at {crowd}, p50", results.median(*figure(crowd)), 3.0, unit="ms")
