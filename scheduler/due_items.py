"""Wait, in a run without new work, for items that are due soon."""

import asyncio
from collections.abc import Callable

import structlog

from batchgen.models import Outlook
from scheduler.running_items import WAKE_MARGIN_SECONDS

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

SHORTEST_WAIT_SECONDS = 1.0
"""Between two claims for items that should be due by now and are not given out."""


class DueItems:
    """Calls `wake` when the next item is due. Logs the beginning of a wait, not each look during it."""

    def __init__(self, wake: Callable[[], None]) -> None:
        self._wake = wake
        self._timer: asyncio.TimerHandle | None = None

    def is_waited_for(self, outlook: Outlook, *, asked_at: float, run_ends_at: float) -> bool:
        """Wait for the next item unless none is due before the run ends; both times by the running loop's clock."""
        loop = asyncio.get_running_loop()
        seconds = outlook.due_in_seconds
        if seconds is None or asked_at + seconds >= run_ends_at:
            log.info("nothing more is due", **outlook.model_dump(exclude_defaults=True))
            return False
        if self._timer is None:
            log.info("waiting for what is due soon", **outlook.model_dump(exclude_defaults=True))
        self.stop_waiting()
        wait = max(seconds + WAKE_MARGIN_SECONDS, SHORTEST_WAIT_SECONDS if seconds == 0 else 0)
        self._timer = loop.call_at(loop.time() + wait, self._wake)
        return True

    def stop_waiting(self) -> None:
        if self._timer:
            self._timer.cancel()
        self._timer = None
