"""End this process if its event loop is frozen: its leases are lost by then, and nothing else would notice.

A separate process does it (`scheduler.watchdog_child`): no Python runs here while C code holds the interpreter.
Why not a thread, and why not `faulthandler.dump_traceback_later`: docs/decisions/0007.
"""

import contextlib
import ctypes
import faulthandler
import io
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import structlog

from batchgen.pictures.check_process import KEPT_VARIABLES

PROGRAM = Path(__file__).with_name("watchdog_child.py")
RESTART_SECONDS = 10.0
"""A child that has ended is replaced at most that often."""
CLOSE_SECONDS = 5.0
NAME = __name__

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(NAME)


class Watchdog:
    """Ends this process with exit code 1 after `seconds` without `beat`, not counting time in which it was stopped.

    Before that it logs one line and the stacks of all threads. `close` ends the watch.
    """

    def __init__(self, seconds: float, handler: logging.Handler) -> None:
        self._seconds = seconds
        self._last_line = _last_line(seconds, handler)
        self._child: subprocess.Popen[bytes] | None = None
        self._beats = -1
        self._not_before = 0.0
        self._stacks, self._stacks_to = os.pipe()
        # A dump that nobody reads must not freeze the worker.
        os.set_blocking(self._stacks_to, False)
        faulthandler.register(signal.SIGUSR1, self._stacks_to, all_threads=True)
        self._unexit = _exit_on_hangup()
        self._start()

    def beat(self) -> None:
        """The event loop runs."""
        if self._child is None:
            self._start()
            return
        try:
            os.write(self._beats, b".")
        except BlockingIOError:  # the child is stopped and has enough to read
            pass
        except OSError:
            self._end_child()
            log.warning("the watchdog has ended, another one is started")

    def close(self) -> None:
        self._end_child()
        self._unexit()
        faulthandler.unregister(signal.SIGUSR1)
        os.close(self._stacks)
        os.close(self._stacks_to)

    def _start(self) -> None:
        now = time.monotonic()
        if now < self._not_before:
            return
        self._not_before = now + RESTART_SECONDS
        beats, self._beats = os.pipe()
        os.set_blocking(self._beats, False)
        numbers = (os.getpid(), f"{self._seconds:g}", beats, self._stacks)
        try:
            self._child = subprocess.Popen(
                [sys.executable, "-I", "-S", str(PROGRAM), *(str(number) for number in numbers)],
                env={name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ},
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=(beats, self._stacks),
                start_new_session=True,
            )
            assert self._child.stdin is not None  # noqa: S101 - it is a pipe
            with contextlib.suppress(BrokenPipeError), self._child.stdin as stdin:
                stdin.write(self._last_line.encode() + b"\n")
        except OSError as error:
            os.close(self._beats)
            self._child = None
            log.warning("no watchdog could be started, it is tried again", reason=str(error))
        finally:
            os.close(beats)

    def _end_child(self) -> None:
        if (child := self._child) is None:
            return
        self._child = None
        os.close(self._beats)
        try:
            child.wait(CLOSE_SECONDS)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()


@contextmanager
def watched(seconds: float, handler: logging.Handler) -> Generator[Watchdog]:
    """A watchdog while the block lasts."""
    watchdog = Watchdog(seconds, handler)
    try:
        yield watchdog
    finally:
        watchdog.close()


def _last_line(seconds: float, handler: logging.Handler) -> str:
    """The line that the child logs when it ends this process, in the log's format."""
    written = io.StringIO()
    spare = logging.StreamHandler(written)
    spare.setFormatter(handler.formatter)
    logger = logging.getLogger(NAME)
    logger.addHandler(spare)
    propagates, logger.propagate = logger.propagate, False
    try:
        log.critical(
            "worker frozen, it ends and must be started again",
            seconds=seconds,
            reason="The event loop did not run for so long. The stacks of all threads follow.",
        )
    finally:
        logger.propagate = propagates
        logger.removeHandler(spare)
    return " ".join(written.getvalue().splitlines())


def _exit_on_hangup() -> Callable[[], None]:
    """Let SIGHUP end the process with exit code 1, without any Python; return a function that undoes it.

    The handler is C's own `_exit`, which takes the signal's number, 1, as the exit code. SIGKILL is not enough: in a
    container the first process does not receive it from within. If SIGHUP is ignored (nohup), it stays ignored.
    """
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        return lambda: None
    libc = ctypes.CDLL(None)
    set_handler = libc.signal
    set_handler.argtypes, set_handler.restype = (ctypes.c_int, ctypes.c_void_p), ctypes.c_void_p
    before = set_handler(signal.SIGHUP, ctypes.cast(libc._exit, ctypes.c_void_p))
    return lambda: set_handler(signal.SIGHUP, before)
