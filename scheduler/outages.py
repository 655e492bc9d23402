"""What does not answer for a while: one line in the log per change, whoever notices it first."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager

import structlog

from batchgen.errors import BatchgenError, KeyRefused

KEY_REFUSED_SECONDS = 600.0
"""Gateways refuse good keys for minutes after a restore or while a project's settings change; not for longer."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class KeyIsWrong(BatchgenError):
    """The worker's key is not accepted, and not in passing: its settings have to be mended."""


class Outage:
    """Several callers tell of their own calls, by name; the outage ends when none of them fails any more."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._failing: dict[str, int] = {}
        self._calls = 0
        self._refused_since: float | None = None

    @property
    def is_on(self) -> bool:
        return bool(self._failing)

    def failures(self, caller: str) -> int:
        """In a row, of this caller."""
        return self._failing.get(caller, 0)

    def begin(self, caller: str, error: Exception) -> None:
        if not self._failing:
            log.warning("queue lost, running items go on", reason=str(error) or type(error).__name__)
        self._failing[caller] = self.failures(caller) + 1
        self._calls += 1
        if not isinstance(error, KeyRefused):
            self._refused_since = None
        elif self._refused_since is None:
            self._refused_since = self._now()

    def end(self, caller: str) -> None:
        self._refused_since = None
        if self._failing.pop(caller, None) and not self._failing:
            log.info("queue recovered", failed_calls=self._calls)
            self._calls = 0

    def check_key(self) -> None:
        """Raises `KeyIsWrong` where nothing but refusals of the key has come for minutes."""
        since = self._refused_since
        if since is not None and self._now() - since > KEY_REFUSED_SECONDS:
            raise KeyIsWrong(f"It has been refused for {KEY_REFUSED_SECONDS / 60:.0f} minutes.")

    def _now(self) -> float:
        return self._clock() if self._clock else asyncio.get_running_loop().time()


class Trouble:
    """Says once that a task cannot do its work, and once that it can again."""

    def __init__(self, task: str) -> None:
        self._task = task
        self._is_on = False

    @contextmanager
    def told(self) -> Generator[None]:
        """Take the errors of the block, and tell of them where they are news."""
        try:
            yield
        except BatchgenError as error:
            if not self._is_on:
                log.warning("housekeeping is held up, items go on", task=self._task, reason=str(error))
            self._is_on = True
        else:
            if self._is_on:
                log.info("housekeeping goes on", task=self._task)
            self._is_on = False
