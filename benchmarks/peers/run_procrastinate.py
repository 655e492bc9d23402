# pyright: basic, reportMissingImports=false
"""procrastinate: 10 concurrent async tasks (more are slower), LISTEN on, finished jobs kept (the default)."""

import asyncio
import logging

import procrastinate
from protocol import Meter, enqueue_in_bulk, main, ready_and_wait

CONCURRENCY = 10
METER = Meter()


def make_app(dsn):
    connector = procrastinate.PsycopgConnector(conninfo=dsn, min_size=1, max_size=CONCURRENCY + 4)
    app = procrastinate.App(connector=connector)

    @app.task(name="job")
    async def job(id):  # noqa: ARG001
        METER.hit()

    return app, job


async def setup(dsn):
    app, _ = make_app(dsn)
    async with app.open_async():
        await app.schema_manager.apply_schema_async()


async def enqueue(dsn, jobs):
    app, job = make_app(dsn)
    async with app.open_async():
        await enqueue_in_bulk(jobs, lambda ids: job.batch_defer_async(*[{"id": one} for one in ids]))


async def work(dsn, _jobs):
    logging.getLogger("procrastinate").setLevel(logging.WARNING)
    app, _ = make_app(dsn)
    async with app.open_async():
        await ready_and_wait()
        await asyncio.gather(
            METER.report(), app.run_worker_async(concurrency=CONCURRENCY, wait=True, delete_jobs="never")
        )


if __name__ == "__main__":
    main(setup, enqueue, work)
