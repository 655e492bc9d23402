"""Drain a worker: let running items finish, stop the rest, and hand their leases back."""

import asyncio
from collections.abc import Callable, Iterable, Sequence

import structlog

from batchgen.errors import BatchgenError
from batchgen.queue.ports import Queue
from scheduler.completions import Completions
from scheduler.leases import Lease, Leases, Stop
from scheduler.logs import item_fields
from scheduler.retries import RetryPolicy
from scheduler.running_items import RunningItems
from scheduler.stop_request import StopRequest
from scheduler.timing import WorkerTiming

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

RELEASE_TRIES = 3
HURRIED_REPORT_SECONDS = 1.0
"""How long items may take to write their results down after a second stop."""


class Drain:
    def __init__(
        self,
        *,
        queue: Queue,
        leases: Leases,
        items: RunningItems,
        completions: Completions,
        timing: WorkerTiming,
        retry_policy: RetryPolicy,
        stop: StopRequest,
        random: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._leases = leases
        self._items = items
        self._completions = completions
        self._timing = timing
        self._retry_policy = retry_policy
        self._stop = stop
        self._random = random
        self._releases: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Give running items the grace time, then stop them and hand their leases back.

        If a run's time is over, wait for orders whose pictures only this process can have, until they end or a stop is
        asked for.
        """
        for lease in self._leases.held:
            lease.may_order = False
        if self._items:
            log.info("draining", running=len(self._items), grace_seconds=self._timing.grace_seconds)
            if self._stop.is_time_over:
                await self._finish_run()
            if self._stop.asked.is_set() or not self._stop.is_time_over:
                await self._wait_for(self._items.leases, self._timing.grace_seconds, unless=self._stop.hurry)
        await self._hand_back(self._leases.held)
        await asyncio.gather(*self._releases)

    def release(self, leases: Sequence[Lease]) -> None:
        """Hand back claims that arrived after the stop. Does not wait; `run` does."""
        release = asyncio.create_task(self._release(leases))
        self._releases.add(release)
        release.add_done_callback(self._releases.discard)

    async def _finish_run(self) -> None:
        asked = self._stop.asked
        await self._wait_for(self._items.leases, self._timing.grace_seconds, unless=asked)
        if asked.is_set() or not any(lease.is_bound for lease in self._items.leases):
            return
        await self._hand_back([lease for lease in self._leases.held if not lease.is_bound])
        bound = [lease for lease in self._items.leases if lease.is_bound]
        log.info("waiting for orders whose pictures no other worker can have", orders=len(bound))
        await self._wait_for(bound, None, unless=asked)  # each ends by itself, by the item's timeout at the latest

    async def _hand_back(self, leases: Iterable[Lease]) -> None:
        """Stop the items of these leases and release, in one call, the leases that are still held then."""
        leases = list(leases)
        tasks = self._items.tasks_of(leases)
        for lease in leases:
            lease.stop(Stop.SHUTDOWN)
        await self._wait_for(leases, self._timing.report_seconds, unless=self._stop.hurry)
        if tasks and self._stop.hurry.is_set():
            await asyncio.wait(tasks, timeout=HURRIED_REPORT_SECONDS)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._completions.settled(
            HURRIED_REPORT_SECONDS if self._stop.hurry.is_set() else self._timing.report_seconds
        )
        await asyncio.gather(*self._releases)
        if left := [lease for lease in self._leases.held if lease in leases]:
            await self._release(left)

    async def _wait_for(self, leases: Sequence[Lease], seconds: float | None, *, unless: asyncio.Event) -> None:
        """Wait until the items of these leases end, at most `seconds`, and not after `unless` is set."""
        if not (tasks := self._items.tasks_of(leases)):
            return
        unless_set = asyncio.create_task(unless.wait())
        all_ended = asyncio.gather(*tasks, return_exceptions=True)
        try:
            await asyncio.wait([unless_set, all_ended], timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        finally:
            unless_set.cancel()

    async def _release(self, leases: Sequence[Lease]) -> None:
        for tries in range(1, RELEASE_TRIES + 1):
            try:
                released = await self._queue.release([lease.claim.lease_id for lease in leases])
            except BatchgenError as error:
                log.warning("leases not handed back yet", leases=len(leases), reason=str(error))
                await asyncio.sleep(self._retry_policy.pause(tries, self._random) / 2)
            else:
                break
        else:
            log.error("leases not handed back: they expire by themselves", leases=len(leases))
            released = []
        for lease in leases:
            if lease.claim.lease_id in released:
                log.info("item handed back", **item_fields(lease.claim))
            self._leases.settle(lease)
