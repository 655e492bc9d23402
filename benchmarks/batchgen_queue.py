"""batchgen's queue at SQL level: `python -m benchmarks.batchgen_queue setup|enqueue|work DSN N`, as the peers' scripts.

One process with a few connections that claims items and completes them at once with the worker's SQL functions. The
limits are raised; everything else is on: fairness, fencing, totals, triggers, the publication.
"""

import asyncio
import json
import sys
from uuid import UUID

from benchmarks.cluster import Connection, connect
from benchmarks.peers.protocol import Meter, main, ready_and_wait, say

USERS = 1000
BATCH = 10
CONNECTIONS = 3
ROWS_A_CLAIM = 500
LEASE_SECONDS = 600
NO_LIMIT = 100_000

Claimed = tuple[UUID, UUID, UUID]
"""The ids of item, lease and user."""


async def setup(dsn: str) -> None:
    async with await connect(dsn) as connection:
        await connection.execute(
            "update batchgen.settings set max_parallel_per_user = %s, max_parallel_global = %s", [NO_LIMIT, NO_LIMIT]
        )
        await connection.execute(
            "insert into auth.users (id) select gen_random_uuid() from generate_series(1, %s)", [USERS]
        )


async def enqueue(dsn: str, jobs: int) -> None:
    """Submit with `create_batch_as`, in pipelines of 100 batches."""
    prompts = json.dumps({"prompts": [{"text": f"no-op {n}"} for n in range(BATCH)]})
    loop = asyncio.get_running_loop()
    async with await connect(dsn) as connection:
        users = [row[0] for row in await (await connection.execute("select id from auth.users")).fetchall()]
        batches = [users[n % len(users)] for n in range(jobs // BATCH)]
        began = loop.time()
        for first in range(0, len(batches), 100):
            async with connection.pipeline():
                for user in batches[first : first + 100]:
                    await connection.execute("select public.create_batch_as(%s, %s::jsonb)", [user, prompts])
        say(f"R {jobs / (loop.time() - began):.1f}")


async def work(dsn: str, _jobs: int) -> None:
    meter = Meter()
    connections = [await connect(dsn) for _ in range(CONNECTIONS)]
    await ready_and_wait()
    meter.hit(0)  # start the clock before the first claim
    await asyncio.gather(meter.report(), *[drain(one, meter) for one in connections])


async def drain(connection: Connection, meter: Meter) -> None:
    while True:
        items = await claim(connection, ROWS_A_CLAIM)
        meter.hit(len(items))
        if items:
            await complete(connection, items)
        else:
            await asyncio.sleep(0.02)


async def claim(connection: Connection, rows: int) -> list[Claimed]:
    claimed = await connection.execute(
        "select generation_id, lease_id, user_id from public.claim_generations('bench', %s, %s) order by batch_id",
        [rows, LEASE_SECONDS],
    )
    return [(row[0], row[1], row[2]) for row in await claimed.fetchall()]


async def complete(connection: Connection, items: list[Claimed]) -> None:
    results = [
        {"generation_id": str(generation), "lease_id": str(lease), "result": result_of(generation, user)}
        for generation, lease, user in items
    ]
    await connection.execute("select from public.complete_generations(%s::jsonb)", [json.dumps(results)])


def result_of(generation: UUID, user: UUID) -> dict[str, str | int]:
    path = f"{user}/{generation}.png"
    return {"storage_path": path, "format": "png", "width": 1024, "height": 1024, "file_size": 100_000}


if __name__ == "__main__":
    main(setup, enqueue, work)
    sys.exit(0)
