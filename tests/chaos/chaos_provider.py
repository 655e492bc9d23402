"""The adapter of the paid provider; with keys, it never orders twice.

The three kinds of keys promise different things:

- `chain` (the default) never orders twice. The n-th key of an item is `{id}:{n}`. Each submit begins at 0 and goes on
  to the next key only if the job under this key is known to have ended without a charge. This needs no memory: after a
  crash before the job's id was stored, a lost answer or cancellation, or a long pause of the worker, the same job is
  found again. The provider must honour keys and report the state of a job.
- `attempt`: the key is `{id}:{retry_count}`, the only thing in a request that names its attempt. It survives a crash.
  After a failed attempt the key is new, and so is the job, though the old job may still end and be charged.
- `none`: no key, for providers without keys. Any interruption between the order and the stored id orders twice.
"""

import asyncio
from collections.abc import Mapping
from io import BytesIO
from itertools import count
from typing import Any, Literal, cast

import httpx
from PIL import Image

from batchgen.errors import ProviderBusy, ProviderRejected, ProviderUnavailable
from batchgen.providers.base import ImageRequest, RawImage

Keys = Literal["chain", "attempt", "none"]

ANSWER_SECONDS = 3.0
LOOK_SECONDS = 0.3
CANCEL_TRIES = 4
UNCHARGED_ENDS = frozenset({"failed", "cancelled"})


class ChaosProvider:
    """Runs jobs at `url`. Never repeats a POST; repeats questions, downloads and cancellations."""

    name = "paid"

    def __init__(self, url: str, keys: Keys = "chain") -> None:
        self._keys: Keys = keys
        self._http = httpx.AsyncClient(
            base_url=url, timeout=ANSWER_SECONDS, transport=httpx.AsyncHTTPTransport(retries=0)
        )

    async def submit(self, request: ImageRequest) -> str:
        if self._keys == "chain":
            for number in count():
                job = await self._order(request, f"{request.generation_id}:{number}")
                if job["status"] not in UNCHARGED_ENDS:
                    return str(job["id"])
        key = f"{request.generation_id}:{request.retry_count}" if self._keys == "attempt" else None
        return str((await self._order(request, key))["id"])

    async def wait(self, job_id: str, request: ImageRequest) -> RawImage:
        """Wait for the job's picture. An unusable answer says nothing about the job, so ask again."""
        while True:
            try:
                status = (await self._ask("GET", f"/jobs/{job_id}"))["status"]
                if status == "succeeded":
                    return _whole_picture(await self._send("GET", f"/jobs/{job_id}/picture"), request)
            except ProviderUnavailable:
                status = "unknown"
            if status in UNCHARGED_ENDS:
                raise ProviderUnavailable(f"The provider's job has {status}.", code=f"job_{status}")
            await asyncio.sleep(LOOK_SECONDS)

    async def cancel(self, job_id: str) -> None:
        for tries in range(1, CANCEL_TRIES + 1):
            try:
                await self._ask("DELETE", f"/jobs/{job_id}")
                return
            except (ProviderUnavailable, ProviderBusy):
                if tries == CANCEL_TRIES:
                    raise
            await asyncio.sleep(LOOK_SECONDS)

    async def aclose(self) -> None:
        await self._http.aclose()

    async def _order(self, request: ImageRequest, key: str | None) -> Mapping[str, Any]:
        return await self._ask(
            "POST",
            "/jobs",
            headers={"Idempotency-Key": key} if key else {},
            json={
                "reference": str(request.generation_id),
                "prompt": request.prompt,
                "width": request.width,
                "height": request.height,
            },
        )

    async def _ask(self, method: str, path: str, **more: Any) -> Mapping[str, Any]:
        answer = await self._send(method, path, **more)
        try:
            body = answer.json()
        except ValueError:
            body = None
        if not isinstance(body, dict) or "status" not in body:
            raise ProviderUnavailable("The provider's answer makes no sense.", code="provider_garbage")
        return cast("Mapping[str, Any]", body)

    async def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        try:
            answer = await self._http.request(method, path, **more)
        except httpx.HTTPError as error:
            what = f"The provider did not answer ({type(error).__name__})."
            raise ProviderUnavailable(what, code="provider_unreachable") from error
        if answer.status_code == 429:
            wait = float(answer.headers.get("Retry-After", "1"))
            raise ProviderBusy("The provider asks to wait.", retry_after_seconds=wait)
        if answer.status_code == 400:
            raise ProviderRejected("The provider refuses this prompt.", code="blocked")
        if not answer.is_success:
            raise ProviderUnavailable(f"The provider answered {answer.status_code}.", code="provider_unavailable")
        return answer


def _whole_picture(answer: httpx.Response, request: ImageRequest) -> RawImage:
    """Return the picture. One that cannot be decoded to its end is fetched again, not ordered again."""
    try:
        with Image.open(BytesIO(answer.content)) as image:
            image.load()
    except (OSError, SyntaxError) as error:
        raise ProviderUnavailable("The picture is damaged.", code="picture_damaged") from error
    return RawImage(answer.content, request.seed)
