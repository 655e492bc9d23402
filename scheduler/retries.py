"""Retry database writes until they succeed, the lease is lost, or time is up; and the pauses between tries."""

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
    """The pause after `tries` failures in a row: doubling, never above `longest`.

    `jitter` (0 to 1, random) takes up to half of it away, so that many workers do not come back as one.
    """
    whole = min(longest, first * 2.0 ** min(tries - 1, 60))
    return whole * (1 - jitter / 2)


RANDOM = SystemRandom().random


T = TypeVar("T")
log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How long the worker tries."""

    item_timeout_seconds: float = 600
    storage_patience_seconds: float = 120
    backoff_seconds: float = 0.5
    backoff_max_seconds: float = 30

    def pause(self, tries: int, random: Callable[[], float]) -> float:
        return backoff_seconds(tries, first=self.backoff_seconds, longest=self.backoff_max_seconds, jitter=random())


class RetryWrites:
    """`await retry_writes(lease, call)`: the answer of a call that must not get lost in an outage."""

    def __init__(self, retry_policy: RetryPolicy, random: Callable[[], float] = RANDOM) -> None:
        self._retry_policy = retry_policy
        self._random = random

    async def __call__(self, lease: Lease, call: Callable[[], Awaitable[T]]) -> T:
        """Call until the database answers, for as long as the lease is held; but not for ever: it may be this very
        call that the database cannot do.
        """
        clock = asyncio.get_running_loop().time
        deadline = clock() + self._retry_policy.item_timeout_seconds
        for tries in count(1):
            try:
                return await call()
            except QueueUnavailable as error:
                if tries == 1:
                    log.debug("the queue does not answer, trying on", reason=str(error))
                await lease.pause(self._retry_policy.pause(tries, self._random))
                if lease.stopped is not None or clock() > deadline:
                    raise
        raise AssertionError("the loop above returns or raises")


async def finish_when_cancelled(work: Coroutine[Any, Any, T]) -> T:
    """Run `work` whole, whoever cancels: a job that may be paid for must get its id written down."""
    task = asyncio.create_task(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await _wait_for(task)
        if not task.cancelled() and (error := task.exception()):
            log.info("the job was not taken on", reason=type(error).__name__)
        raise


async def _wait_for(task: asyncio.Task[Any]) -> None:
    """Wait without raising the task's error; a second cancellation does end the task."""
    try:
        await asyncio.wait([task])
    except asyncio.CancelledError:
        task.cancel()
        raise
