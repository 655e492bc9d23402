"""Run claimed items, each in a task of its own."""

import asyncio
from collections.abc import Sequence
from contextvars import copy_context
from dataclasses import dataclass

import structlog

from scheduler.leases import Lease, Leases, Stop
from scheduler.logs import item_fields
from scheduler.runner import Failed, Outcome, Released, RetryLater, Runner, Succeeded
from scheduler.slots import Slots

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

LONGEST_WAKE_SECONDS = 86_400.0
WAKE_MARGIN_SECONDS = 0.05
"""A delay ends by the database's clock a moment after the call that reported it has returned."""


@dataclass(slots=True)
class Tally:
    """How many items of this run ended in which way."""

    completed: int = 0
    failed: int = 0
    retried: int = 0
    left: int = 0

    def count(self, outcome: Outcome) -> None:
        match outcome:
            case Succeeded():
                self.completed += 1
            case Failed():
                self.failed += 1
            case RetryLater():
                self.retried += 1
            case Released():
                self.left += 1


class RunningItems:
    """The tasks of the items that run now."""

    def __init__(self, runner: Runner, leases: Leases, slots: Slots) -> None:
        self.tally = Tally()
        self.progress_at = 0.0
        """When an attempt last ended that its provider did not put off, by the loop's clock."""
        self._runner = runner
        self._leases = leases
        self._slots = slots
        self._tasks: dict[asyncio.Task[None], Lease] = {}
        self._context = copy_context()

    def __len__(self) -> int:
        return len(self._tasks)

    def tasks_of(self, leases: Sequence[Lease]) -> list[asyncio.Task[None]]:
        return [task for task, lease in self._tasks.items() if lease in leases]

    @property
    def leases(self) -> list[Lease]:
        return list(self._tasks.values())

    def start(self, lease: Lease) -> None:
        # In the worker's context: another item's end may start this one, and its log fields must not be inherited.
        name, context = f"item {lease.claim.generation_id}", self._context.copy()
        task = asyncio.create_task(self._run(lease), name=name, context=context)
        self._tasks[task] = lease
        self._slots.occupy()
        task.add_done_callback(self._forget)

    async def _run(self, lease: Lease) -> None:
        structlog.contextvars.bind_contextvars(**item_fields(lease.claim))
        try:
            outcome = await self._runner.run(lease)
        except Exception:
            # The lease expires and the item counts as crashed: it may be the item that does this to its workers.
            log.exception("item stopped by a fault of the worker itself, others go on")
            self._leases.settle(lease)
            self._slots.note_news()
            return
        self.tally.count(outcome)
        self._note_progress(outcome)
        if outcome != Released(Stop.SHUTDOWN):
            self._leases.settle(lease)

    def _note_progress(self, outcome: Outcome) -> None:
        loop = asyncio.get_running_loop()
        if not isinstance(outcome, RetryLater) or outcome.fault.retry_after_seconds is None:
            self.progress_at = loop.time()
        if not isinstance(outcome, Succeeded):  # a success has asked for the next item itself
            self._slots.note_news()
        if isinstance(outcome, RetryLater) and (wait := outcome.in_seconds) is not None:
            # The poll would find it as well, but later.
            loop.call_later(min(wait, LONGEST_WAKE_SECONDS) + WAKE_MARGIN_SECONDS, self._slots.wake)

    def _forget(self, task: asyncio.Task[None]) -> None:
        del self._tasks[task]
        self._slots.free()
