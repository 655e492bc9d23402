# pyright: basic, reportMissingImports=false
"""chancy in its fastest configuration: the asyncio executor, eager polling, 1,000 concurrent jobs."""

import logging

from chancy import Chancy, Queue, Worker
from chancy import job as chancy_job
from protocol import BULK, Meter, enqueue_in_bulk, main, ready_and_wait

CONCURRENCY = 1000
METER = Meter()
LOG = logging.getLogger("bench")
LOG.setLevel(logging.WARNING)


@chancy_job(queue="default")
async def noop(*, id):  # noqa: ARG001
    METER.hit()


async def setup(dsn):
    async with Chancy(dsn, log=LOG) as chancy:
        await chancy.migrate()
        queue = Queue(
            "default",
            concurrency=CONCURRENCY,
            executor="chancy.executors.asyncex.AsyncExecutor",
            eager_polling=True,
        )
        await chancy.declare(queue, upsert=True)


async def enqueue(dsn, jobs):
    async with Chancy(dsn, log=LOG) as chancy:

        async def put_many(ids):
            async for _ in chancy.push_many([noop.job.with_kwargs(id=one) for one in ids], batch_size=BULK):
                pass

        await enqueue_in_bulk(jobs, put_many)


async def work(dsn, _jobs):
    async with Chancy(dsn, log=LOG) as chancy:
        await ready_and_wait()
        async with Worker(chancy, register_signal_handlers=False):
            await METER.report()


if __name__ == "__main__":
    main(setup, enqueue, work)
