"""Calls to the queue that must come through, for as long as the item's lease is held."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from itertools import count
from typing import Protocol, TypeVar

import structlog

from batchgen.errors import NotSignedIn, QueueUnavailable
from batchgen.policy import backoff_seconds
from scheduler.leases import Lease

T = TypeVar("T")
log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a worker tries."""

    item_timeout_seconds: float = 600
    storage_patience_seconds: float = 120
    backoff_seconds: float = 0.5
    backoff_max_seconds: float = 30

    def pause(self, tries: int, random: Callable[[], float]) -> float:
        return backoff_seconds(tries, first=self.backoff_seconds, longest=self.backoff_max_seconds, jitter=random())


class Insist(Protocol):
    """Calls until the database answers; not for ever: it may be this very call that the database cannot do.

    Raises what the call raises, and `QueueUnavailable` or `NotSignedIn` where it was given up.
    """

    async def __call__(self, lease: Lease, call: Callable[[], Awaitable[T]]) -> T: ...


def insisting(patience: Patience, random: Callable[[], float]) -> Insist:
    async def insist(lease: Lease, call: Callable[[], Awaitable[T]]) -> T:
        clock = asyncio.get_running_loop().time
        deadline = clock() + patience.item_timeout_seconds
        for tries in count(1):
            try:
                return await call()
            except (QueueUnavailable, NotSignedIn) as error:
                if tries == 1:
                    log.warning("the queue does not answer, trying on", reason=str(error))
                await lease.pause(patience.pause(tries, random))
                if lease.stopped is not None or clock() > deadline:
                    raise
        raise AssertionError("the loop above returns or raises")

    return insist
