"""The time of batch_details, batches_page and preview_batch in SQL, with a million finished items.

Half of the batches belong to one user, whose batches are read. For speed, rows are loaded without triggers. Each figure
is the server's own time for one call, planned before, as it is on the pooled connections of PostgREST.
"""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from benchmarks.bench import Bench
from benchmarks.cluster import Cluster, Connection, Stopwatch, connect
from benchmarks.results import percentile

BATCH = 10
PAGE = 20

LOAD = b"""
set session_replication_role = replica;
insert into auth.users (id) select md5('user ' || n)::uuid from generate_series(1, 100) n;
insert into public.batch_generations (id, user_id, name, total_count, completed_count, status, created_at, completed_at,
  model_id, width, height)
select md5('batch ' || n)::uuid, md5('user ' || case when n % 2 = 1 then 1 else 2 + (n / 2) % 99 end)::uuid,
  'batch ' || n, 10, 10, 'completed', now() - n * interval '1 minute', now() - n * interval '1 minute',
  (select id::text from public.models where is_default), 1024, 1024
from generate_series(1, current_setting('bench.items')::integer / 10) n;
insert into public.image_generations (id, user_id, prompt, model, model_id, width, height, steps, seed, status,
  batch_id, batch_index, retry_count, created_at, started_at, completed_at, generation_time_seconds)
select md5(b.id || ' ' || i)::uuid, b.user_id, 'a red fox in the snow, oil on canvas', 'offline-sketch',
  b.model_id::uuid, 1024, 1024, 20, i, 'completed', b.id, i, 0, b.created_at, b.created_at,
  b.created_at + (2 + i) * interval '1 second', 2 + i
from public.batch_generations b cross join generate_series(0, 9) i;
insert into public.images (generation_id, user_id, filename, storage_path, thumbnail_path, prompt, width, height,
  format, file_size, blurhash, created_at)
select g.id, g.user_id, g.id || '.png', g.user_id || '/' || g.id || '.png', g.user_id || '/' || g.id || '.webp',
  g.prompt, 1024, 1024, 'png', 845000, 'LEHV6nWB2yk8pyo0adR*.7kCMdnj', g.completed_at
from public.image_generations g;
insert into batchgen.ledger (generation_id, attempt, entry, outcome, user_id, batch_id, model_id, provider, is_charged,
  noted_at)
select g.id, 1, 'attempt', 'completed', g.user_id, g.batch_id, g.model_id, 'offline', false, g.completed_at
from public.image_generations g;
insert into public.tags (name) values ('bench');
insert into public.image_tags (image_id, tag_id)
select i.id, t.id from public.images i cross join public.tags t where i.created_at > now() - interval '10 hours';
reset session_replication_role;
"""
REQUEST = json.dumps({"prompts": [{"text": f"a red fox in the snow, number {n}"} for n in range(BATCH)]})
# What create_batch does before it writes: read the whole request, and check limits, credits and tags.
READ = """
  select batchgen.repeated_batch(u.id, r.request), batchgen.choose_seeds(b.items),
    batchgen.refuse_over_limit(u.id, 10), batchgen.check_cost_and_tags(b.batch, b.items)
  from (select %s::uuid as id) u, (select %s::jsonb as request) r, batchgen.read_batch(u.id, r.request) b
"""


async def measure(bench: Bench, cluster: Cluster) -> None:
    items = bench.size(1_000_000, 50_000)
    dsn = await cluster.fresh_database("bench_details", migrated=True)
    async with await connect(dsn) as connection:
        with bench.step(f"details: loading {items:,} finished items"):
            await connection.execute("select set_config('bench.items', %s, false)", [str(items)])
            await connection.execute(LOAD, prepare=False)
            await connection.execute("vacuum (analyze)")
            await connection.execute("checkpoint")
        user = await _value(connection, "select md5('user 1')::uuid")
        waiting = await _submit(connection, user)
        for run in range(bench.runs):
            with bench.step(f"details, run {run + 1} of {bench.runs}"):
                await _measure(bench, connection, user, waiting)
    await cluster.drop_database("bench_details")
    _set_goals(bench)


async def _measure(bench: Bench, connection: Connection, user: UUID, waiting: UUID) -> None:
    finished = await _value(connection, "select md5('batch 1001')::uuid")
    details = "select public.batch_details(%s)"
    calls: dict[str, tuple[str, Sequence[object]]] = {
        "batch_details, 10 finished items": (details, [finished]),
        "batch_details, 10 waiting items": (details, [waiting]),
        "batches_page, 20 batches": ("select public.batches_page_as(%s)", [user]),
        "batches_page, 20 batches with a tag": ("select public.batches_page_as(%s, p_tag => 'bench')", [user]),
        "batches_page, 20 batches with a text": ("select public.batches_page_as(%s, p_search => 'canvas')", [user]),
        "preview_batch, 10 prompts": ("select public.preview_batch_as(%s, %s::jsonb)", [user, REQUEST]),
        "create_batch without its writes, 10 prompts": (READ, [user, REQUEST]),
    }
    rounds = bench.size(100, 30)
    for name, (call, arguments) in calls.items():
        for _ in range(10):  # plans are made in the first calls
            await connection.execute(call.encode(), arguments)
        times: list[float] = []
        with bench.measured() as load:
            for _ in range(rounds):
                watch = Stopwatch()
                await connection.execute(call.encode(), arguments)
                times.append(watch.milliseconds)
        bench.results.add("details", f"{name}, p50", "ms", percentile(times, 0.5), load.foreign_cores)
        bench.results.add("details", f"{name}, p95", "ms", percentile(times, 0.95), load.foreign_cores)


async def _submit(connection: Connection, user: UUID) -> UUID:
    answer = await _value(connection, "select public.create_batch_as(%s, %s::jsonb)", user, REQUEST)
    return UUID(answer["batch"]["id"])


async def _value(connection: Connection, sql: str, *arguments: object) -> Any:
    row = await (await connection.execute(sql.encode(), list(arguments))).fetchone()
    if row is None:
        raise ValueError(f"no row: {sql}")
    return row[0]


def _set_goals(bench: Bench) -> None:
    results = bench.results
    for name, most in (
        ("batch_details, 10 finished items", 3.0),
        ("batch_details, 10 waiting items", 3.0),
        ("batches_page, 20 batches", 15.0),
    ):
        bench.goal(f"{name}, p50", results.median("details", f"{name}, p50"), most, unit="ms")
    preview, read = (
        ("details", "preview_batch, 10 prompts, p50"),
        (
            "details",
            "create_batch without its writes, 10 prompts, p50",
        ),
    )
    bench.goal("preview_batch over create_batch without its writes", results.ratio(preview, read), 1.5, unit="times")
