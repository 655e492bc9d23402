"""Have the database grant the credits of the month and move the horizon of the credit ledger."""

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from scheduler.outages import housekeeping_outage

CREDITS_SECONDS = 60.0
USERS_AT_ONCE = 1000

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


class CreditHousekeeping:
    """Never raises: whatever fails is tried again at the next tick, by this worker or another.

    `grant` grants to that many users at most and returns to how many; the database sees to it that each user gets the
    month's credits once.
    """

    def __init__(self, grant: Callable[[int], Awaitable[int]], move_horizon: Callable[[], Awaitable[None]]) -> None:
        self._grant = grant
        self._move_horizon = move_horizon
        self._running = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._outage = housekeeping_outage("credits")

    async def run(self) -> None:
        """Grant until no user is left without, then move the horizon."""
        async with self._running:
            with self._outage.logged():
                while not self._stopping.is_set():
                    count = await self._grant(USERS_AT_ONCE)
                    if count:
                        log.info("monthly credits granted", users=count)
                    if count < USERS_AT_ONCE:
                        await self._move_horizon()
                        break

    def stop(self) -> None:
        """Start nothing more."""
        self._stopping.set()
