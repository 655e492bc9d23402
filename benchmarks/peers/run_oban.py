# pyright: basic, reportMissingImports=false, reportAttributeAccessIssue=false
"""oban (Python) with a local limit of 300, which is the size of one fetch."""

from oban import Oban
from oban import worker as oban_worker
from oban.schema import install
from protocol import Meter, enqueue_in_bulk, main, ready_and_wait

LIMIT = 300
METER = Meter()


@oban_worker(queue="default")
class Noop:
    async def process(self, _job):
        METER.hit()


async def setup(dsn):
    pool = await Oban.create_pool(dsn, min_size=1, max_size=4)
    await install(pool)
    await pool.close()


async def enqueue(dsn, jobs):
    pool = await Oban.create_pool(dsn, min_size=1, max_size=4)
    async with Oban(pool=pool) as oban:
        await enqueue_in_bulk(jobs, lambda ids: oban.enqueue_many([Noop.new({"id": one}) for one in ids]))
    await pool.close()


async def work(dsn, _jobs):
    pool = await Oban.create_pool(dsn, min_size=4, max_size=10)
    await ready_and_wait()
    async with Oban(pool=pool, queues={"default": LIMIT}):
        await METER.report()


if __name__ == "__main__":
    main(setup, enqueue, work)
