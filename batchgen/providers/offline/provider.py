"""A provider without a service: it draws each picture in this process, from the request alone."""

import asyncio
import hashlib
import re
import time
from collections.abc import Awaitable, Callable

from batchgen.errors import ProviderBusy, ProviderRejected, ProviderUnavailable
from batchgen.providers.base import ImageRequest, RawImage
from batchgen.providers.offline.commands import Commands, read_commands
from batchgen.providers.offline.drawing import draw
from batchgen.providers.offline.metadata import ImageFormat, describe, encode

MIN_SIDE = 16
MAX_SIDE = 4096
_JOB_ID = re.compile(r"offline-(\d{1,15})-[0-9a-f]+")


class OfflineProvider:
    """Draws pictures for development and tests, with no model behind them; the pictures say so themselves.

    A job's id tells when it started and the request tells the rest, so any process can resume any job, and a
    resumed job takes only what is left of its time. `commands` lets words in a prompt steer it: `#blocked` is
    refused at submit; `#fail` and `#fail:2` fail in `wait` at the end of the job's time; `#slow:5` sets that time.
    `#busy:8` answers every question about a job younger than 8 seconds with `ProviderBusy` and the rest of them.
    """

    name = "offline"

    def __init__(
        self,
        *,
        seconds: float = 1.0,
        commands: bool = False,
        image_format: ImageFormat = "png",
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        self._seconds = seconds
        self._commands = commands
        self._format: ImageFormat = image_format
        self._clock = clock
        self._sleep = sleep

    async def submit(self, request: ImageRequest) -> str:
        """Name the job; refuse a blocked prompt or an invalid size."""
        if self._read(request).blocked:
            raise ProviderRejected("The prompt was blocked by #blocked.", code="blocked_by_policy")
        if not all(MIN_SIDE <= side <= MAX_SIDE for side in (request.width, request.height)):
            raise ProviderRejected(
                f"The offline provider draws sides of {MIN_SIDE} to {MAX_SIDE} pixels, not "
                f"{request.width}x{request.height}.",
                code="invalid_size",
            )
        started_ms = round(self._clock() * 1000)
        mark = hashlib.sha256(f"{request.generation_id}/{request.retry_count}".encode()).hexdigest()[:12]
        return f"offline-{started_ms}-{mark}"

    async def wait(self, job_id: str, request: ImageRequest) -> RawImage:
        """Wait for the rest of the job's time, then draw in another thread."""
        commands = self._read(request)
        if (busy := self._left(job_id, commands.busy_seconds)) > 0:
            raise ProviderBusy("The provider asks to wait, because of #busy.", retry_after_seconds=busy)
        total = self._seconds if commands.seconds is None else commands.seconds
        await self._sleep(self._left(job_id, total))
        _fail_as_told(commands, request.retry_count)
        content = await asyncio.to_thread(draw_file, request, commands.prompt, self._format)
        return RawImage(content, request.seed, keeps_metadata=True)

    async def cancel(self, job_id: str) -> None:
        """Do nothing: no job runs between the calls."""

    async def aclose(self) -> None:
        """Do nothing: there are no connections."""

    def _read(self, request: ImageRequest) -> Commands:
        return read_commands(request.prompt) if self._commands else Commands(request.prompt)

    def _left(self, job_id: str, total: float) -> float:
        # At most the whole time: the clock that wrote the id may be ahead of this one.
        match = _JOB_ID.fullmatch(job_id)
        if match is None:
            return total
        return min(total, max(0.0, int(match[1]) / 1000 + total - self._clock()))


def _fail_as_told(commands: Commands, retry_count: int) -> None:
    if commands.fails is None:
        return
    if commands.fails < 0:
        raise ProviderRejected("The job failed because of #fail.", code="offline_failed")
    if retry_count < commands.fails:
        raise ProviderUnavailable(
            f"Failure {retry_count + 1} of {commands.fails}, because of #fail:{commands.fails}.",
            code="offline_unavailable",
            is_provider_fault=False,
        )


def draw_file(request: ImageRequest, prompt: str, image_format: ImageFormat) -> bytes:
    """Draw and encode a picture. `prompt` is the request's without command words."""
    return encode(draw(request, prompt), image_format, describe(request))
