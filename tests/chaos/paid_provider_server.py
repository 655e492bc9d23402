"""A paid image service whose answers may be late, wrong or lost. It logs each job.

A job is charged once, when it succeeds; a job that failed, was cancelled or never ends costs nothing. An
`Idempotency-Key` never expires: the same key is always answered with the same job, whatever its state.

The fault of a request depends on the seed, the prompt and the number of earlier requests of that kind for the prompt,
not on time or chance: a seed gives the same faults to the same prompts.
"""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any, TextIO

from aiohttp import web
from PIL import Image

Odds = Mapping[str, float]
"""Faults and the probability of each; the remaining probability is a good answer."""

SUBMIT: Odds = {
    "429": 0.05,
    "500": 0.04,
    "500 after the order": 0.02,
    "slow": 0.05,
    "dropped": 0.03,
    "answer lost after the order": 0.06,
    "garbage after the order": 0.03,
    "timeout after the order": 0.02,
}
LOOK: Odds = {"429": 0.02, "500": 0.04, "garbage": 0.02, "dropped": 0.03, "slow": 0.02}
FETCH: Odds = {"500": 0.05, "truncated": 0.05, "half a picture": 0.03, "garbage": 0.03, "429": 0.02}
CANCEL: Odds = {"500": 0.15, "dropped": 0.15, "garbage": 0.05}
JOB_ENDS: Odds = {"fails": 0.06, "never ends": 0.02, "takes long": 0.04}
REFUSED_SHARE = 0.01
"""The share of prompts that the provider refuses, every time."""

QUICK_SECONDS = (0.2, 1.5)
LONG_SECONDS = (4.0, 10.0)
SLOW_ANSWER_SECONDS = 1.0
TIMEOUT_SECONDS = 6.0
"""Longer than any client waits."""


@dataclass
class Job:
    id: str
    reference: str
    prompt: str
    size: tuple[int, int]
    state: str = "running"


@dataclass
class PaidProviderServer:
    """`is_reliable`: no more faults. `is_down`: every request gets a 503."""

    seed: int
    log_file: Path
    is_reliable: bool = False
    is_down: bool = False
    faults: Counter[str] = field(default_factory=Counter[str])
    jobs: dict[str, Job] = field(default_factory=dict[str, Job])
    replays: int = 0
    url: str = ""
    _by_key: dict[str, Job] = field(default_factory=dict[str, Job])
    _asked: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])
    _log: TextIO | None = None
    _runner: web.AppRunner | None = None

    async def start(self) -> None:
        self._log = self.log_file.open("a", buffering=1)
        app = web.Application()
        app.router.add_post("/jobs", self._submit)
        app.router.add_get("/jobs/{id}", self._look)
        app.router.add_get("/jobs/{id}/picture", self._fetch)
        app.router.add_delete("/jobs/{id}", self._cancel)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        address: tuple[str, int] = self._runner.addresses[0]
        self.url = f"http://127.0.0.1:{address[1]}"

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()
        if self._log:
            self._log.close()

    def entries(self) -> Sequence[Mapping[str, Any]]:
        """The entries of the log file."""
        return [json.loads(line) for line in self.log_file.read_text().splitlines()]

    async def _submit(self, request: web.Request) -> web.StreamResponse:
        asked: dict[str, Any] = await request.json()
        prompt, key = str(asked["prompt"]), request.headers.get("Idempotency-Key")
        if Random(f"{self.seed}/refused/{prompt}").random() < REFUSED_SHARE:
            self._write("refused", reference=asked["reference"])
            return web.json_response({"error": "blocked by policy"}, status=400)
        fault = self._draw("submit", prompt, SUBMIT)
        if fault == "dropped":
            return _drop(request)
        if fault == "slow":
            await asyncio.sleep(SLOW_ANSWER_SECONDS)
        if early := _refusal(fault):
            return early
        job = self._create_job(asked, key)
        if fault == "500 after the order":
            return web.json_response({"error": "internal"}, status=500)
        if fault == "answer lost after the order":
            return _drop(request)
        if fault == "garbage after the order":
            return web.Response(text="<html>It works!</html>", content_type="text/html")
        if fault == "timeout after the order":
            await asyncio.sleep(TIMEOUT_SECONDS)
        return web.json_response({"id": job.id, "status": job.state})

    async def _look(self, request: web.Request) -> web.StreamResponse:
        job = self.jobs.get(request.match_info["id"])
        if job is None:
            return web.json_response({"error": "no such job"}, status=404)
        answer = web.json_response({"id": job.id, "status": job.state})
        return await self._spoil(request, self._draw("look", job.prompt, LOOK), answer)

    async def _fetch(self, request: web.Request) -> web.StreamResponse:
        job = self.jobs.get(request.match_info["id"])
        if job is None or job.state != "succeeded":
            return web.json_response({"error": "no picture"}, status=404)
        content = _picture(job)
        fault = self._draw("fetch", job.prompt, FETCH)
        if fault == "truncated":
            response = web.StreamResponse(headers={"Content-Length": str(len(content)), "Content-Type": "image/png"})
            await response.prepare(request)
            await response.write(content[: len(content) // 2])
            return _drop(request, response)
        if fault == "half a picture":
            content = content[: len(content) // 2]
        return await self._spoil(request, fault, web.Response(body=content, content_type="image/png"))

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        job = self.jobs.get(request.match_info["id"])
        if job is None:
            return web.json_response({"error": "no such job"}, status=404)
        fault = self._draw("cancel", job.prompt, CANCEL)
        if fault is None and job.state == "running":
            self._end(job, "cancelled")
        return await self._spoil(request, fault, web.json_response({"id": job.id, "status": job.state}))

    async def _spoil(self, request: web.Request, fault: str | None, answer: web.StreamResponse) -> web.StreamResponse:
        if fault == "dropped":
            return _drop(request)
        if fault == "garbage":
            return web.Response(text="<html>It works!</html>", content_type="text/html")
        if fault == "slow":
            await asyncio.sleep(SLOW_ANSWER_SECONDS)
        return _refusal(fault) or answer

    def _create_job(self, asked: Mapping[str, Any], key: str | None) -> Job:
        if key is not None and (known := self._by_key.get(key)):
            self.replays += 1
            self._write("replayed", known, key=key)
            return known
        job = Job(
            id=f"job-{len(self.jobs) + 1}",
            reference=str(asked["reference"]),
            prompt=str(asked["prompt"]),
            size=(int(asked["width"]), int(asked["height"])),
        )
        self.jobs[job.id] = job
        if key is not None:
            self._by_key[key] = job
        self._write("created", job, key=key)
        self._run(job)
        return job

    def _run(self, job: Job) -> None:
        job_end = self._draw("job end", job.prompt, JOB_ENDS)
        if job_end == "never ends":
            return
        random = Random(f"{self.seed}/pace/{job.prompt}/{self._asked['job end', job.prompt]}")
        seconds = random.uniform(*(LONG_SECONDS if job_end == "takes long" else QUICK_SECONDS))
        asyncio.get_running_loop().call_later(seconds, self._end, job, "failed" if job_end == "fails" else "succeeded")

    def _end(self, job: Job, state: str) -> None:
        if job.state == "running":
            job.state = state
            self._write(state, job)

    def _draw(self, kind: str, prompt: str, odds: Odds) -> str | None:
        number = self._asked[kind, prompt]
        self._asked[kind, prompt] += 1
        if self.is_down and kind != "job end":
            return "503"
        if self.is_reliable:
            return None
        left = Random(f"{self.seed}/{kind}/{prompt}/{number}").random()
        for fault, share in odds.items():
            left -= share
            if left < 0:
                self.faults[f"{kind}: {fault}"] += 1
                return fault
        return None

    def _write(self, event: str, job: Job | None = None, **more: object) -> None:
        if self._log and not self._log.closed:
            known = {"job": job.id, "reference": job.reference} if job else {}
            self._log.write(json.dumps({"at": round(time.time(), 3), "event": event, **known, **more}) + "\n")


def _refusal(fault: str | None) -> web.Response | None:
    if fault == "429":
        return web.json_response({"error": "slow down"}, status=429, headers={"Retry-After": "1"})
    if fault in ("500", "503"):
        return web.json_response({"error": "internal"}, status=int(fault))
    return None


def _drop(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    """Cut the connection instead of answering."""
    if request.transport is not None:
        request.transport.abort()
    return response or web.Response()


def is_picture_of(picture: Image.Image, reference: str) -> bool:
    return picture.convert("RGB").tobytes() == _pixels(reference, picture.size)


def _picture(job: Job) -> bytes:
    """A picture with pixels unique to its job's reference, so that a mix-up of items is found."""
    file = BytesIO()
    Image.frombytes("RGB", job.size, _pixels(job.reference, job.size)).save(file, "PNG")
    return file.getvalue()


def _pixels(reference: str, size: tuple[int, int]) -> bytes:
    return Random(reference).randbytes(3 * size[0] * size[1])
