"""Watch the worker: `python watchdog_child.py WORKER SECONDS BEATS STACKS`, the last two being open files.

A thread of the worker could not do it: none runs while C code holds the interpreter. This process uses only the
standard library, holds no secrets, and ends with the worker. `scheduler.watchdog` starts it.
"""

import contextlib
import json
import os
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from datetime import UTC, datetime
from pathlib import Path

LONGEST_STEP_SECONDS = 1.0
STACK_SECONDS = 3.0
"""For the worker to start printing its stacks."""
QUIET_SECONDS = 0.5
"""After so long without output, the stacks are complete."""
WRITE_SECONDS = 3.0
"""For one write to the log. The worker may be frozen because nobody reads the log."""
END_SECONDS = 3.0
PIECE_BYTES = 65_536
STOPPED = frozenset("Tt")
TIME_IN_LOG = re.compile(r"(\d{4}-\d\d-\d\dT)?\d\d:\d\d:\d\d(\.\d+Z)?")


class Watch:
    """Counts the time without a beat, while both processes are awake."""

    def __init__(self, worker: int, seconds: float, beats: int, stacks: int, last_line: str) -> None:
        self._worker = worker
        self._seconds = seconds
        self._beats = beats
        self._stacks = stacks
        self._last_line = last_line
        self._step_seconds = min(LONGEST_STEP_SECONDS, seconds / 10)

    def run(self) -> None:
        """Return when the worker has ended, by itself or because this ended it."""
        silent = 0.0
        looked_at = time.monotonic()
        while silent < self._seconds:
            readable = self._readable([self._beats, self._stacks], self._step_seconds)
            now = time.monotonic()
            # During a longer step this process was stopped as well.
            passed, looked_at = min(now - looked_at, 2 * self._step_seconds), now
            if self._stacks in readable:  # somebody has sent SIGUSR1
                self._print(os.read(self._stacks, PIECE_BYTES))
            if self._beats in readable:
                if not os.read(self._beats, PIECE_BYTES):
                    return
                silent = 0.0
            else:
                silent = 0.0 if is_stopped(self._worker) else silent + passed
        self._end_worker()

    def _end_worker(self) -> None:
        self._print(timed(self._last_line, datetime.now(UTC)).encode() + b"\n")
        self._send(signal.SIGUSR1)
        seconds = STACK_SECONDS
        while self._stacks in self._readable([self._stacks], seconds):
            if not (piece := os.read(self._stacks, PIECE_BYTES)):
                break
            self._print(piece)
            seconds = QUIET_SECONDS
        for number in (signal.SIGHUP, signal.SIGKILL):
            self._send(number)
            if self._has_ended(END_SECONDS):
                return

    def _has_ended(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._beats in self._readable([self._beats], max(0.0, deadline - time.monotonic())):
            if not os.read(self._beats, PIECE_BYTES):
                return True
        return False

    def _send(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._worker, number)

    def _readable(self, files: Sequence[int], seconds: float) -> Sequence[int]:
        return select.select(files, [], [], seconds)[0]

    def _print(self, content: bytes) -> None:
        with contextlib.suppress(OSError), within(WRITE_SECONDS):
            while content:
                content = content[os.write(sys.stderr.fileno(), content) :]


def is_stopped(pid: int) -> bool:
    """Whether a process is stopped, by SIGSTOP or a debugger. False if that cannot be found out."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        state = _state_by_ps(pid)
    return state[:1] in STOPPED


def _state_by_ps(pid: int) -> str:
    """For systems without /proc, such as macOS."""
    command = ["/bin/ps", "-o", "stat=", "-p", str(pid)]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=5, check=False).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def timed(line: str, now: datetime) -> str:
    """A log line that was prepared at the start, with the time `now`."""
    text = now.isoformat().replace("+00:00", "Z")
    with contextlib.suppress(ValueError):
        return json.dumps({**json.loads(line), "timestamp": text}, ensure_ascii=False)
    return TIME_IN_LOG.sub(lambda found: text if found[1] else text[11:19], line, count=1)


@contextlib.contextmanager
def within(seconds: float) -> Generator[None]:
    """Raises `TimeoutError` if the block takes longer, for example to write to a full pipe."""

    def give_up(_number: int, _frame: object) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def main() -> None:
    # Signals are left to the worker: this process ends when the worker has ended.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)
    worker, seconds, beats, stacks = sys.argv[1:5]
    Watch(int(worker), float(seconds), int(beats), int(stacks), sys.stdin.readline().rstrip("\n")).run()


if __name__ == "__main__":
    main()
