"""Retry database writes until they succeed, the lease is lost, or time is up."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from itertools import count
from random import SystemRandom
from typing import Any, TypeVar

import structlog

from batchgen.errors import QueueUnavailable
from scheduler.leases import Lease


def backoff_seconds(tries: int, *, first: float, longest: float, jitter: float) -> float:
    """The pause after `tries` failures in a row: it doubles, up to `longest`.

    `jitter` (0 to 1, random) shortens it by up to half, so that many workers do not retry at the same moment.
    """
    whole = min(longest, first * 2.0 ** min(tries - 1, 60))
    return whole * (1 - jitter / 2)


RANDOM = SystemRandom().random


T = TypeVar("T")
log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long the worker keeps trying, and the pauses between tries."""

    item_timeout_seconds: float = 600
    storage_patience_seconds: float = 120
    backoff_seconds: float = 0.5
    backoff_max_seconds: float = 30

    def pause(self, tries: int, random: Callable[[], float]) -> float:
        return backoff_seconds(tries, first=self.backoff_seconds, longest=self.backoff_max_seconds, jitter=random())


class RetryWrites:
    """`await retry_writes(lease, call)` returns the answer of a call that must survive an outage of the database."""

    def __init__(self, retry_policy: RetryPolicy, random: Callable[[], float] = RANDOM) -> None:
        self._retry_policy = retry_policy
        self._random = random

    async def __call__(self, lease: Lease, call: Callable[[], Awaitable[T]]) -> T:
        """Call until the database answers or the lease is lost, at most for the item's timeout.

        Without that limit, a call that itself breaks the database would be repeated forever.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._retry_policy.item_timeout_seconds
        for tries in count(1):
            try:
                return await call()
            except QueueUnavailable as error:
                if tries == 1:
                    log.debug("the queue does not answer, retrying", reason=str(error))
                await lease.pause(self._retry_policy.pause(tries, self._random))
                if lease.stopped is not None or clock() > deadline:
                    raise
        raise AssertionError("the loop above returns or raises")


async def finish_when_cancelled(work: Coroutine[Any, Any, T]) -> T:
    """Finish `work` even if cancelled: the id of a job that may be paid for must be recorded."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await _wait_for(task)
        if not task.cancelled() and (error := task.exception()):
            log.info("no job was submitted", reason=type(error).__name__)
        raise


async def _wait_for(task: asyncio.Task[Any]) -> None:
    """Wait without raising the task's error; a second cancellation ends the task."""
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        raise
