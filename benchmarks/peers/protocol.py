# pyright: basic, reportMissingImports=false
"""What every queue under test does alike. Runs in the peers' own environment: the standard library alone.

    run_<queue>.py setup DSN          make the tables
    run_<queue>.py enqueue DSN N      put N no-op jobs in; prints R <jobs per second>
    run_<queue>.py work DSN N         print READY, begin on a line of stdin, then F <ns> at the first job's start and
                                      C <jobs> whenever more of them have started; goes on until it is ended

Times are CLOCK_MONOTONIC in nanoseconds, the same for all processes of a machine.
"""

import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

BULK = 1000


class Meter:
    """Counts the jobs that start; only every 5 ms does it say so."""

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
    """The queue's own bulk call, BULK jobs at a time."""
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
