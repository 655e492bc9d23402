# pyright: basic, reportMissingImports=false
"""pgqueuer in its fastest configuration: asyncpg, durable tables, its autovacuum advice, 3 managers with 300 rows per
dequeue.
"""

import asyncio
import json
from datetime import timedelta

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries
from protocol import Meter, enqueue_in_bulk, main, ready_and_wait

ROWS_A_DEQUEUE = 300
MANAGERS = 3


async def setup(dsn):
    queries = Queries(AsyncpgDriver(await asyncpg.connect(dsn)))
    await queries.install()
    await queries.optimize_autovacuum()


async def enqueue(dsn, jobs):
    queries = Queries(AsyncpgDriver(await asyncpg.connect(dsn)))

    async def put_many(ids):
        payloads = [json.dumps({"id": one}).encode() for one in ids]
        await queries.enqueue(["job"] * len(ids), payloads, [0] * len(ids))

    await enqueue_in_bulk(jobs, put_many)


async def work(dsn, _jobs):
    meter = Meter()
    managers = [await manager(dsn, meter) for _ in range(MANAGERS)]
    await ready_and_wait()
    runs = [one.run(batch_size=ROWS_A_DEQUEUE, dequeue_timeout=timedelta(seconds=30)) for one in managers]
    await asyncio.gather(meter.report(), *runs)


async def manager(dsn, meter):
    queue = PgQueuer(AsyncpgDriver(await asyncpg.connect(dsn)))

    @queue.entrypoint("job")
    async def job(_job):
        meter.hit()

    return queue


if __name__ == "__main__":
    main(setup, enqueue, work)
