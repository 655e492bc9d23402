"""Jobs of a service whose answer to the order is the picture itself, so that there is no job to ask for again.

A job gets its id before the order goes out: `submit` only mints it, the worker stores it, and the first `wait` orders.
Whoever holds an id that this process did not mint can therefore not tell whether it was paid for, and never orders
under it again.
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
"""Of pictures that came and may be asked for again: a late one, or one that could not be stored yet."""

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
    def sold_nothing(self) -> bool:
        """Whether the order was turned away or failed for now, and costs nothing: another one may be sent."""
        error = self.error
        return isinstance(error, ProviderBusy | ModelUnusable | ProviderUnavailable) and error.order.charged is False

    @property
    def size(self) -> int:
        return len(self.picture.content) if isinstance(self.picture, RawImage) else 0


class SynchronousJobs:
    """The jobs of one service, by id. `order` sends the order of a job and returns the picture.

    `is_free`: the service costs nothing, so that a job whose outcome is unknown may be made again.
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
        """The job with this key. None: none that was stored can have been ordered, for `mint` orders nothing."""
        ours = (job_id for job_id, job in self._jobs.items() if job.key == request.key and not job.sold_nothing)
        return next(ours, None) if request.key else None

    def is_awaited(self, job_id: str) -> bool:
        """Whether the job's picture can still be had: this process began it, and did not let it go."""
        job = self._jobs.get(job_id)
        return job is not None and not job.is_cancelled

    async def wait(self, job_id: str, request: ImageRequest) -> Picture:
        """The job's picture; orders it where that was not done yet. Cancelling this call leaves the order alone."""
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
        """What is known of a job that nobody waits for any more.

        A paid one that this process does not know is not over: whoever began it may still get its picture.
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
        """Take back what was not ordered yet. What is on its way is let go only where it costs nothing.

        A paid picture comes all the same, and `settle` has it.
        """
        job = self._jobs.get(job_id)
        if job is None or (job.is_running and not self._is_free):
            return
        if job.task is None or job.is_running:
            job.is_cancelled = True
        if job.task is not None:
            job.task.cancel()

    async def aclose(self) -> None:
        """Let go of what runs: whoever wants a picture waits for it before."""
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
            # The job is kept for a while. The frames of its error would keep the whole answer with it.
            error.__context__ = None
            raise error.with_traceback(None) from None

    async def _ordered(self, job_id: str, request: ImageRequest) -> Picture:
        started_at = self._clock()
        try:
            picture = await self._order(job_id, request)
            running = OrderState(running_seconds=self._clock() - started_at)
            return replace(picture, order=picture.order.merge(running))
        except (ProviderBusy, ModelUnusable) as busy:
            # It is the order that was turned away. Only this process could order under its id, and any other one that
            # takes the item over would have to believe that it was sent.
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
        what = f"The job {job_id} was begun by another process, and {self._name} cannot tell what became of it."
        if self._is_free:
            return ProviderUnavailable(what, code="job_lost", is_provider_fault=False)
        return OutcomeUnknown(what)

    def _trim(self) -> None:
        """Forget the oldest: first what was handed over, then what nobody asked for. Never what runs."""
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
    """Else Python complains of an error that nobody has seen, where nobody waited for it."""
    if not task.cancelled():
        task.exception()
