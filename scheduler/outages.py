"""Log an outage once when it begins and once when it ends."""

import asyncio
from collections.abc import Callable, Generator
from contextlib import contextmanager

import structlog

from batchgen.errors import BatchgenError, KeyRefused

KEY_REFUSED_SECONDS = 600.0
"""Gateways refuse valid keys for minutes after a restore or while a project's settings change; not for longer."""

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class KeyIsWrong(BatchgenError):
    """The worker's key has been refused for so long that its settings must be corrected."""


class Outage:
    """Counts failed calls. Logs `lost` at the first one and `recovered` at the first success after it."""

    def __init__(self, lost: str, recovered: str, **fields: str) -> None:
        self._lost = lost
        self._recovered = recovered
        self._fields = fields
        self.failures = 0
        """Failed calls since the outage began."""

    @property
    def is_on(self) -> bool:
        return self.failures > 0

    def begin(self, reason: Exception | str) -> None:
        self.failures += 1
        if self.failures == 1:
            log.warning(self._lost, **self._fields, reason=str(reason) or type(reason).__name__)

    def end(self) -> None:
        if self.is_on:
            log.info(self._recovered, **self._fields, failed_calls=self.failures)
        self.failures = 0

    @contextmanager
    def logged(self) -> Generator[None]:
        """Take the errors of the block as failed calls, and its end as a success."""
        try:
            yield
        except BatchgenError as error:
            self.begin(error)
        else:
            self.end()


def housekeeping_outage(task: str) -> Outage:
    return Outage("housekeeping is held up, items go on", "housekeeping goes on", task=task)


class QueueOutage:
    """One outage for all callers of the queue: it ends when no caller's last call has failed."""

    def __init__(self, clock: Callable[[], float] | None = None) -> None:
        self._clock = clock
        self._outage = Outage("queue lost, running items go on", "queue recovered")
        self._failing: dict[str, int] = {}
        self._refused_since: float | None = None

    @property
    def is_on(self) -> bool:
        return self._outage.is_on

    def failures(self, caller: str) -> int:
        """Failed calls of this caller in a row."""
        return self._failing.get(caller, 0)

    def begin(self, caller: str, error: Exception) -> None:
        self._outage.begin(error)
        self._failing[caller] = self.failures(caller) + 1
        if not isinstance(error, KeyRefused):
            self._refused_since = None
        elif self._refused_since is None:
            self._refused_since = self._now()

    def end(self, caller: str) -> None:
        self._refused_since = None
        if self._failing.pop(caller, None) and not self._failing:
            self._outage.end()

    def check_key(self) -> None:
        """Raises `KeyIsWrong` when every answer for `KEY_REFUSED_SECONDS` has refused the key."""
        since = self._refused_since
        if since is not None and self._now() - since > KEY_REFUSED_SECONDS:
            raise KeyIsWrong(f"It has been refused for {KEY_REFUSED_SECONDS / 60:.0f} minutes.")

    def _now(self) -> float:
        return self._clock() if self._clock else asyncio.get_running_loop().time()
