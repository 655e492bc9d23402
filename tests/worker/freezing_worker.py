"""A complete worker that freezes in the way that FREEZES names, half a second after its start.

It logs an event on stderr for each half second in which its event loop ran. WATCHDOG_SECONDS may be below the setting's
minimum.
"""

import asyncio
import contextlib
import ctypes
import json
import os
import re
import signal
import sys
import time
from collections.abc import Callable
from functools import partial

import scheduler.__main__ as worker
from batchgen.providers.base import ImageRequest, Picture
from batchgen.settings import WorkerSettings
from scheduler import wiring
from scheduler.watchdog import watched

FOR_EVER = 600
PAUSE_SECONDS = 0.5


def block() -> None:
    """A blocking call in a coroutine; other threads could run."""
    time.sleep(FOR_EVER)


def hold_interpreter() -> None:
    """A call into C that keeps the interpreter lock, and that no signal ends."""
    libc = ctypes.PyDLL(None)
    mutex = ctypes.create_string_buffer(128)
    libc.pthread_mutex_lock(mutex)
    libc.pthread_mutex_lock(mutex)


def go_back() -> None:
    """A backtracking regular expression, which keeps the interpreter lock."""
    key = "sb_secret_local"
    re.match(r"(a+)+$", "a" * 64 + key)


def spin() -> None:
    """Plain Python: other threads still run in turns."""
    while True:
        pass


def fill_log() -> None:
    """Fill a log that nobody reads."""
    while True:
        os.write(sys.stderr.fileno(), b"." * 4096)


def work_hard() -> None:
    """Much work in pieces that are far shorter than the limit."""
    ends_at = time.monotonic() + PAUSE_SECONDS
    while time.monotonic() < ends_at:
        pass
    asyncio.get_running_loop().call_later(0.01, work_hard)


FREEZES: dict[str, Callable[[], None]] = {
    each.__name__: each for each in (block, hold_interpreter, go_back, spin, fill_log, work_hard)
}


class NoProvider:
    name = "none"

    async def submit(self, request: ImageRequest) -> str:
        FREEZES[request.prompt]()
        return "job"

    async def wait(self, job_id: str, request: ImageRequest) -> Picture:
        raise NotImplementedError

    async def cancel(self, job_id: str) -> None:
        """Nothing to stop."""

    async def aclose(self) -> None:
        if os.environ.get("NEVER_CLOSES"):
            await asyncio.Event().wait()


def begin(_settings: WorkerSettings) -> NoProvider:
    loop = asyncio.get_running_loop()

    def tell() -> None:
        if signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL:  # before that, a signal ends it like any process
            print(json.dumps({"event": "loop runs"}), file=sys.stderr, flush=True)  # noqa: T201
        loop.call_later(PAUSE_SECONDS, tell)

    tell()
    if freeze := os.environ.get("FREEZES"):
        loop.call_later(PAUSE_SECONDS, FREEZES[freeze])
    return NoProvider()


def main() -> int:
    if seconds := os.environ.get("WATCHDOG_SECONDS"):

        def watched_closely(_seconds: float, *more: object) -> contextlib.AbstractContextManager[wiring.Watchdog]:
            return partial(watched, float(seconds))(*more)  # pyright: ignore[reportArgumentType]

        wiring.watched = watched_closely
        wiring.TAKE_DOWN_SECONDS = 0.5
    return worker.main([], begin)


if __name__ == "__main__":
    sys.exit(main())
