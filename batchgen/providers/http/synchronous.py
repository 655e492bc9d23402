"""Jobs of a service that answers an order with the picture itself, so that no job can be asked for later.

A job gets its id before its order is sent: `submit` only mints the id, the worker stores it, and the first `wait` sends
the order. For an id that another process minted, nobody can tell whether it was paid for: it is never ordered again.
"""

import asyncio
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, replace
from typing import Any

from batchgen.errors import ModelUnusable, OutcomeUnknown, ProviderBusy, ProviderError, ProviderUnavailable
from batchgen.order_state import CHARGED, NOT_CHARGED, OPEN, OVER, OrderState
from batchgen.providers.base import ImageRequest, Picture, RawImage, Settlement

KEPT_JOBS = 256
KEPT_BYTES = 128 * 2**20
"""Of pictures that may be asked for again: late ones, or ones that could not be stored yet."""

SendOrder = Callable[[str, ImageRequest], Coroutine[Any, Any, Picture]]


@dataclass
class _Job:
    key: str
    task: asyncio.Task[Picture] | None = None
    is_cancelled: bool = False
    was_handed_over: bool = False

    @property
    def is_running(self) -> bool:
        return self.task is not None and not self.task.done()

    @property
    def error(self) -> BaseException | None:
        if self.task is None or not self.task.done() or self.task.cancelled():
            return None
        return self.task.exception()

    @property
    def picture(self) -> Picture | None:
        if self.task is None or not self.task.done() or self.task.cancelled() or self.task.exception():
            return None
        return self.task.result()

    @property
    def was_refused_free(self) -> bool:
        """Whether the order was refused or failed in passing and costs nothing: another one may be sent."""
        error = self.error
        return isinstance(error, ProviderBusy | ModelUnusable | ProviderUnavailable) and error.order.charged is False

    @property
    def size(self) -> int:
        return len(self.picture.content) if isinstance(self.picture, RawImage) else 0


class SynchronousJobs:
    """The jobs of one service, by id. `order` sends a job's order and returns the picture.

    `is_free`: the service costs nothing, so that a job with an unknown outcome may be ordered again.
    """

    def __init__(
        self, name: str, order: SendOrder, *, is_free: bool, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._name = name
        self._order = order
        self._is_free = is_free
        self._clock = clock
        self._jobs: dict[str, _Job] = {}

    def mint(self, request: ImageRequest) -> str:
        """A new job's id. Nothing is ordered yet."""
        job_id = f"{self._name}-{secrets.token_hex(16)}"
        self._jobs[job_id] = _Job(request.key)
        self._trim()
        return job_id

    def find(self, request: ImageRequest) -> str | None:
        """The job with this key. None: no stored job can have been ordered, since `mint` orders nothing."""
        ours = (job_id for job_id, job in self._jobs.items() if job.key == request.key and not job.was_refused_free)
        return next(ours, None) if request.key else None

    def is_awaited(self, job_id: str) -> bool:
        """Whether the job's picture can still arrive: this process started the job and did not drop it."""
        job = self._jobs.get(job_id)
        return job is not None and not job.is_cancelled

    async def wait(self, job_id: str, request: ImageRequest) -> Picture:
        """Order the picture unless that was done, and wait for it. Cancelling this call leaves the order alone."""
        job = self._jobs.get(job_id)
        if job is None:
            raise self._lost(job_id)
        if job.is_cancelled:
            raise _cancelled(job_id)
        task = job.task or self._start(job_id, job, request)
        await asyncio.wait([task])
        if task.cancelled():
            raise _cancelled(job_id) if self._is_free else OutcomeUnknown(f"The order of {job_id} was cut off.")
        if (error := task.exception()) is not None:
            raise error
        job.was_handed_over = True
        return task.result()

    def settle(self, job_id: str) -> Settlement:
        """What is known of a job that nobody waits for.

        A paid job of another process is not over: that process may still get its picture.
        """
        job = self._jobs.get(job_id)
        if job is None:
            return Settlement(NOT_CHARGED if self._is_free else OPEN)
        if (picture := job.picture) is not None:
            return Settlement(picture.order.merge(NOT_CHARGED if self._is_free else CHARGED), picture)
        if job.is_cancelled:  # its task may not have ended yet
            return Settlement(NOT_CHARGED)
        if job.is_running:
            return Settlement(OPEN)
        return Settlement(self._state_of(job))

    def cancel(self, job_id: str) -> None:
        """Withdraw an order that was not sent yet, and drop one that runs only if it costs nothing.

        A paid picture arrives anyway, and `settle` returns it.
        """
        job = self._jobs.get(job_id)
        if job is None or (job.is_running and not self._is_free):
            return
        if job.task is None or job.is_running:
            job.is_cancelled = True
        if job.task is not None:
            job.task.cancel()

    async def aclose(self) -> None:
        """Drop what runs: wait for wanted pictures before."""
        running = [job.task for job in self._jobs.values() if job.task is not None and job.is_running]
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    def _start(self, job_id: str, job: _Job, request: ImageRequest) -> asyncio.Task[Picture]:
        job.task = asyncio.create_task(self._run(job_id, request))
        job.task.add_done_callback(_look_at_the_error)
        return job.task

    async def _run(self, job_id: str, request: ImageRequest) -> Picture:
        try:
            return await self._ordered(job_id, request)
        except ProviderError as error:
            # The job is kept for a while; the frames of its error would keep the whole answer in memory.
            error.__context__ = None
            raise error.with_traceback(None) from None

    async def _ordered(self, job_id: str, request: ImageRequest) -> Picture:
        started_at = self._clock()
        try:
            picture = await self._order(job_id, request)
            running = OrderState(running_seconds=self._clock() - started_at)
            return replace(picture, order=picture.order.merge(running))
        except (ProviderBusy, ModelUnusable) as busy:
            # The order itself was refused. Only this process could order under its id: another one that takes the item
            # over would have to assume that the order was sent.
            busy.order = NOT_CHARGED
            raise
        except OutcomeUnknown as error:
            if self._is_free:
                code = "provider_unavailable" if error.code == "outcome_unknown" else error.code
                raise ProviderUnavailable(str(error), code=code) from error
            raise
        finally:
            asyncio.get_running_loop().call_soon(self._trim)

    def _state_of(self, job: _Job) -> OrderState:
        """The order's state, of a job that ended without a picture."""
        if isinstance(job.error, ProviderError):
            return job.error.order.merge(OVER)
        return NOT_CHARGED if self._is_free or job.task is None else OVER

    def _lost(self, job_id: str) -> ProviderError:
        what = f"The job {job_id} was started by another process, and {self._name} cannot tell what became of it."
        if self._is_free:
            return ProviderUnavailable(what, code="job_lost", is_provider_fault=False)
        return OutcomeUnknown(what)

    def _trim(self) -> None:
        """Forget the oldest jobs: first those handed over, then those not asked for, never those that run."""
        handed = [job_id for job_id, job in self._jobs.items() if job.was_handed_over]
        others = [job_id for job_id, job in self._jobs.items() if not job.was_handed_over and not job.is_running]
        size = sum(job.size for job in self._jobs.values())
        for job_id in handed + others:
            if len(self._jobs) <= KEPT_JOBS and size <= KEPT_BYTES:
                return
            size -= self._jobs.pop(job_id).size


def _cancelled(job_id: str) -> ProviderUnavailable:
    return ProviderUnavailable(f"The job {job_id} was cancelled.", code="job_cancelled", is_provider_fault=False)


def _look_at_the_error(task: asyncio.Task[Picture]) -> None:
    """Retrieve the error: otherwise Python warns of it if nobody waits for the task."""
    if not task.cancelled():
        task.exception()
