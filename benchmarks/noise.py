"""Measure the load of other processes during a measurement."""

import time
from types import TracebackType
from typing import Self

import psutil

from benchmarks.results import MAX_FOREIGN_CORES

LOOK_SECONDS = 1.0


class Load:
    """`with Load() as load:` … `load.foreign_cores`: cores used by all processes but this one and its children."""

    def __init__(self) -> None:
        self.foreign_cores = 0.0
        self._ours = psutil.Process()

    def __enter__(self) -> Self:
        self._began, self._total, self._own = time.monotonic(), _busy_seconds(), self._own_seconds()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        spent = (_busy_seconds() - self._total) - (self._own_seconds() - self._own)
        self.foreign_cores = max(0.0, spent / (time.monotonic() - self._began))

    def _own_seconds(self) -> float:
        return sum(_seconds_of(process) for process in [self._ours, *self._ours.children(recursive=True)])


def wait_until_quiet(longest_seconds: float) -> None:
    """Return when the load of other processes is low, or after this time; then the run counts as noisy."""
    end = time.monotonic() + longest_seconds
    while time.monotonic() < end:
        with Load() as load:
            time.sleep(LOOK_SECONDS)
        if load.foreign_cores <= MAX_FOREIGN_CORES:
            return


def _busy_seconds() -> float:
    times = psutil.cpu_times()
    return sum(getattr(times, name, 0.0) for name in ("user", "nice", "system", "irq", "softirq"))


def _seconds_of(process: psutil.Process) -> float:
    """CPU time of the process and of its children that have ended."""
    try:
        return sum(process.cpu_times()[:4])
    except psutil.NoSuchProcess:
        return 0.0
