# pyright: basic, reportMissingImports=false
"""The protocol of all measured queues. Runs in the peers' environment and uses only the standard library.

    run_<queue>.py setup DSN          create the tables
    run_<queue>.py enqueue DSN N      enqueue N no-op jobs; prints R <jobs per second>
    run_<queue>.py work DSN N         print READY, start at a line on stdin, then print F <ns> when the first job starts
                                      and C <jobs> whenever more have started; run until killed

Times are CLOCK_MONOTONIC in nanoseconds, the same for all processes of a machine.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

BULK = 1000


class Meter:
    """Counts started jobs and prints the count at most every 5 ms."""

    def __init__(self) -> None:
        self.started = 0
        self._said = 0

    def hit(self, jobs: int = 1) -> None:
        if not self.started:
            say(f"F {time.monotonic_ns()}")
        self.started += jobs

    async def report(self) -> None:
        while True:
            await asyncio.sleep(0.005)
            if self.started != self._said:
                self._said = self.started
                say(f"C {self.started}")


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


async def ready_and_wait() -> None:
    say("READY")
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)


async def enqueue_in_bulk(jobs: int, put_many: Callable[[list[int]], Awaitable[object]]) -> None:
    """Enqueue with the queue's bulk call, BULK jobs at a time."""
    began = time.monotonic()
    for first in range(0, jobs, BULK):
        await put_many(list(range(first, min(jobs, first + BULK))))
    say(f"R {jobs / (time.monotonic() - began):.1f}")


def main(
    setup: Callable[[str], Coroutine[Any, Any, None]],
    enqueue: Callable[[str, int], Coroutine[Any, Any, None]],
    work: Callable[[str, int], Coroutine[Any, Any, None]],
) -> None:
    try:
        import uvloop

        run = uvloop.run
    except ImportError:
        run = asyncio.run
    what, dsn = sys.argv[1:3]
    if what == "setup":
        run(setup(dsn))
    else:
        run({"enqueue": enqueue, "work": work}[what](dsn, int(sys.argv[3])))
