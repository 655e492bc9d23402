"""Have the database grant the credits of the month."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from scheduler.outages import housekeeping_outage

CREDITS_SECONDS = 60.0
USERS_AT_ONCE = 1000

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class MonthlyCredits:
    """Never raises: whatever fails is tried again at the next tick, by this worker or another.

    `grant` grants to that many users at most and returns to how many; the database sees to it that each user gets the
    month's credits once.
    """

    def __init__(self, grant: Callable[[int], Awaitable[int]]) -> None:
        self._grant = grant
        self._granting = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._outage = housekeeping_outage("monthly credits")

    async def grant(self) -> None:
        """Grant until no user is left without."""
        async with self._granting:
            with self._outage.logged():
                while not self._stopping.is_set():
                    count = await self._grant(USERS_AT_ONCE)
                    if count:
                        log.info("monthly credits granted", users=count)
                    if count < USERS_AT_ONCE:
                        break

    def stop(self) -> None:
        """Start nothing more."""
        self._stopping.set()
