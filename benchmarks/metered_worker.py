"""The complete worker with a provider that takes a fixed time. Prints a line for every step of an item:

    taken <generation> <ns> <requests>   a slot is taken; requests: the number of HTTP requests sent so far
    begun <generation> <ns>              the provider was called
    made <generation> <ns>               the provider has made the picture
    done <generation> <ns> <requests>    the slot is free again

Times are CLOCK_MONOTONIC. BENCH_PROVIDER_SECONDS is the provider's time, 0 by default.
"""

import asyncio
import os
import sys
import time
from io import BytesIO
from typing import Any
from uuid import UUID

import httpx
from PIL import Image

import scheduler.__main__ as worker
from batchgen.providers.base import ImageRequest, RawImage
from scheduler import wiring
from scheduler.leases import Lease
from scheduler.runner import Outcome, Runner

SIDE = 64


class PunctualProvider:
    """Returns the same small picture after a fixed time. It draws nothing, so that only the queue is measured."""

    name = "bench"

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._picture = _picture()

    async def submit(self, request: ImageRequest) -> str:
        _say("begun", request.generation_id)
        return f"bench-{request.generation_id}"

    async def wait(self, job_id: str, request: ImageRequest) -> RawImage:  # noqa: ARG002
        if self._seconds:
            await asyncio.sleep(self._seconds)
        _say("made", request.generation_id)
        return RawImage(self._picture, request.seed)

    async def cancel(self, job_id: str) -> None:
        """Nothing to cancel."""

    async def aclose(self) -> None:
        """No connections to close."""


class MeteredRunner(Runner):
    async def run(self, lease: Lease) -> Outcome:
        _say("taken", lease.claim.generation_id, CountedClient.sent)
        try:
            return await super().run(lease)
        finally:
            _say("done", lease.claim.generation_id, CountedClient.sent)


class CountedClient(httpx.AsyncClient):
    sent = 0

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        CountedClient.sent += 1
        return await super().send(request, **options)


def main() -> int:
    seconds = float(os.environ.get("BENCH_PROVIDER_SECONDS", "0"))
    wiring.Runner = MeteredRunner
    httpx.AsyncClient = CountedClient
    return worker.main([], lambda _settings: PunctualProvider(seconds))


def _picture() -> bytes:
    file = BytesIO()
    Image.new("RGB", (SIDE, SIDE), "teal").save(file, "png")
    return file.getvalue()


def _say(event: str, generation: UUID, requests: int | None = None) -> None:
    rest = "" if requests is None else f" {requests}"
    sys.stdout.write(f"{event} {generation} {time.monotonic_ns()}{rest}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
