"""Fake servers of ComfyUI, AUTOMATIC1111 and OpenAI's API that take time, deliver real pictures and fail."""

import asyncio
import base64
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from tests.money.faults import CANCEL, FILE, ORDER, QUESTION, SLOW_SECONDS, FaultSource, Odds
from tests.money.faulty_hosted_servers import ENDLESS, HALF, HANGING, NO_ANSWERS, REFUSED
from tests.money.provider_log import ProviderLog, picture_of
from tests.providers.automatic1111_server import Automatic1111Server
from tests.providers.comfyui_server import ComfyUIServer, Job, saved
from tests.providers.local_server import (
    DROPPED,
    FORGOTTEN,
    HTML,
    LOST,
    SILENT,
    TRUNCATED,
    Fault,
    LocalServer,
    answers,
)
from tests.providers.openai_server import KEY, OpenAIServer

FAULTS: Mapping[str, Fault] = {
    "429": answers(429, {"error": {"message": "Slow down."}}, Retry_After="1"),
    "503 with Retry-After": answers(503, Retry_After="1"),
    "500 before the work": answers(500, {"error": {"message": "Oh."}}),
    "dropped before the work": DROPPED,
    "lost after the work": LOST,
    "gateway error after the work": answers(504, after=True),
    "garbage after the work": HTML,
    "truncated after the work": TRUNCATED,
    "silent after the work": FORGOTTEN,
    "expired": answers(404),
    "no picture": answers(200, "<html>Not here any more, but with 200</html>"),
}
ODDS: Mapping[str, Odds] = {
    "POST /v1/images/generations": ORDER,
    "GET /v1/pictures/{id}": FILE,
    "POST /prompt": ORDER,
    "GET /history/{id}": QUESTION,
    "GET /history": QUESTION,
    "GET /queue": QUESTION,
    "POST /api/jobs/{id}/cancel": CANCEL,
    "GET /view": FILE,
    "POST /sdapi/v1/txt2img": ORDER,
    "GET /sdapi/v1/sd-models": QUESTION,
    "POST /internal/progress": QUESTION,
    "POST /sdapi/v1/interrupt": CANCEL,
}
JOB_ENDS: Odds = {"fails": 0.06, "never ends": 0.02, "takes long": 0.04}
ORDERS = frozenset({"POST /v1/images/generations", "POST /prompt", "POST /sdapi/v1/txt2img"})
ON_ONE_GPU = 0.2
"""The share of a hosted job's time: these servers run one job after another."""


class _FaultyAnswers(LocalServer):
    """Draws the fault of each request from the fault source."""

    def __init__(self, fault_source: FaultSource, provider_log: ProviderLog, **more: Any) -> None:
        super().__init__(**more)
        self.fault_source = fault_source
        self.provider_log = provider_log
        self.prompts: dict[str, str] = {}
        """Prompts by the names of their jobs in the log."""
        self._halves: set[str] = set()
        """Prompts whose next picture is truncated."""

    def prompt_of(self, name: str, request: web.Request, body: Mapping[str, Any]) -> str:
        raise NotImplementedError

    def draw_job_end(self, prompt: str) -> str | None:
        if REFUSED in prompt:
            return "blocked"
        return "never ends" if ENDLESS in prompt else self.fault_source.draw("job end", prompt, JOB_ENDS)

    async def be_slow(self, name: str, prompt: str) -> None:
        await asyncio.sleep(SLOW_SECONDS)

    def picture(self, prompt: str) -> web.Response:
        content = picture_of(prompt)
        if prompt in self._halves:
            self._halves.remove(prompt)
            content = content[:HALF]
        return web.Response(body=content, content_type="image/png")

    async def next_fault(self, name: str, request: web.Request, body: Any) -> Fault | None:
        if name not in ODDS:
            return None
        prompt = self.prompt_of(name, request, body or {})
        if name in ORDERS and HANGING in prompt:
            return SILENT
        fault = self.fault_source.draw(name, prompt, ODDS[name])
        if fault == "slow":
            await self.be_slow(name, prompt)
        elif name in ORDERS and fault and fault.startswith(NO_ANSWERS):
            self.provider_log.write("no answer to the order", "", prompt, fault=fault)
        elif fault == "half a picture":
            self._halves.add(prompt)
        return FAULTS.get(fault or "")


class FaultyOpenAIServer(_FaultyAnswers, OpenAIServer):
    """Charges a picture when it is made, whether its answer arrives or not. A job's name is the order's key."""

    def prompt_of(self, name: str, request: web.Request, body: Mapping[str, Any]) -> str:
        return str(body["prompt"]) if body else self.prompts.get(request.match_info["id"], "")

    async def _generate(self, request: web.Request) -> web.Response:
        body: dict[str, Any] = await request.json()
        if refusal := self._refusal(body):
            return refusal
        name, prompt = request.headers["X-Client-Request-Id"], str(body["prompt"])
        self.prompts[name] = prompt
        self.provider_log.write("created", name, prompt)
        job_end = self.draw_job_end(prompt)
        if job_end == "never ends":
            await (self._stops if ENDLESS in prompt else self.fault_source.is_over).wait()
            self.provider_log.write("failed", name, prompt)
            self.provider_log.write("no answer to the order", "", prompt, fault="never ends")
            return web.Response(status=504)
        await asyncio.sleep(self.fault_source.seconds(prompt, job_end == "takes long"))
        if job_end == "fails":
            self.provider_log.write("failed", name, prompt)
            return web.json_response({"error": {"message": "The server had an error."}}, status=500)
        self.provider_log.write("succeeded", name, prompt)
        self.provider_log.charge(name, prompt)
        return web.json_response({"created": 1764000000, "data": [self._delivery(name, prompt)]})

    def _delivery(self, name: str, prompt: str) -> Mapping[str, Any]:
        packed = base64.b64encode(picture_of(prompt)).decode()
        ways = (
            {"b64_json": packed},
            {"url": f"data:image/png;base64,{packed}"},
            {"url": f"{self.api}/pictures/{name}"},
        )
        return ways[len(prompt) % len(ways)]

    async def _fetch(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.Response(status=401)
        return self.picture(self.prompts[request.match_info["id"]])


class FaultyComfyUIServer(_FaultyAnswers, ComfyUIServer):
    """Runs one job after another, each for its own time."""

    def __init__(self, fault_source: FaultSource, provider_log: ProviderLog) -> None:
        super().__init__(fault_source, provider_log)
        self.holds = True
        self._ids: dict[str, str] = {}
        self._slow: set[str] = set()

    def prompt_of(self, name: str, request: web.Request, body: Mapping[str, Any]) -> str:
        if name == "POST /prompt":
            job, prompt = str(body["prompt_id"]), str(body["prompt"]["prompt"]["inputs"]["text"])
            self.prompts[job] = prompt
            self._ids[str(body["extra_data"]["batchgen_key"])] = job
            return prompt
        job = request.match_info.get("id") or request.query.get("filename", "").partition(".")[0]
        return self.prompts.get(job, "")

    def note(self, event: str, what: str) -> None:
        super().note(event, what)
        known = {"queued": "created", "success": "succeeded", "error": "failed", "interrupted": "cancelled"}
        if event in known:
            job = self._ids.get(what, what)
            self.provider_log.write(known[event], job, self.prompts[job])

    def _begin(self) -> None:
        before = self.running
        super()._begin()
        if self.running is not None and self.running is not before:
            prompt = self.prompts[self.running.id]
            job_end = self.draw_job_end(prompt)
            if job_end != "never ends":
                seconds = ON_ONE_GPU * self.fault_source.seconds(prompt, job_end == "takes long")
                end = "error" if job_end == "fails" else "success"
                asyncio.get_running_loop().call_later(seconds, self._finish, self.running, end)

    def _finish(self, job: Job, job_end: str) -> None:
        if self.running is job:
            self.finish(job_end)

    def _end(self, job: Job, job_end: str, error: dict[str, str]) -> None:
        self.outputs = saved(f"{job.id}.png")
        super()._end(job, job_end, error)

    async def be_slow(self, name: str, prompt: str) -> None:
        if name in ORDERS:
            self._slow.add(prompt)
        else:
            await super().be_slow(name, prompt)

    async def _prompt(self, request: web.Request) -> web.Response:
        """Queue the job; delay a slow answer, so that a worker that is killed meanwhile does not know of the job."""
        answer = await super()._prompt(request)
        prompt = str((await request.json())["prompt"]["prompt"]["inputs"]["text"])
        if prompt in self._slow:
            self._slow.remove(prompt)
            await asyncio.sleep(SLOW_SECONDS)
        return answer

    async def _change_queue(self, request: web.Request) -> web.Response:
        queued = self.queue
        answer = await super()._change_queue(request)
        self._note_removed(queued)
        return answer

    async def _cancel(self, request: web.Request) -> web.Response:
        queued = self.queue
        answer = await super()._cancel(request)
        self._note_removed(queued)
        return answer

    def _note_removed(self, queued: list[Job]) -> None:
        for job in queued:
            if job not in self.queue and job is not self.running and job.id not in self.history:
                self.note("interrupted", job.id)

    async def _view(self, request: web.Request) -> web.Response:
        return self.picture(self.prompts[request.query["filename"].partition(".")[0]])


class FaultyAutomatic1111Server(_FaultyAnswers, Automatic1111Server):
    """Runs one task after another. The picture of an interrupted task is unfinished, not what was ordered."""

    def __init__(self, fault_source: FaultSource, provider_log: ProviderLog) -> None:
        super().__init__(fault_source, provider_log)
        self._failing: set[str] = set()

    def prompt_of(self, name: str, request: web.Request, body: Mapping[str, Any]) -> str:
        if name == "POST /sdapi/v1/txt2img":
            self.prompts[str(body["force_task_id"])] = str(body["prompt"])
            return str(body["prompt"])
        return self.prompts.get(str(body.get("id_task")), "")

    def note(self, event: str, what: str) -> None:
        super().note(event, what)
        known = {"started": "created", "finished": "succeeded", "interrupted": "cancelled"}
        told = "failed" if event == "finished" and what in self._failing else known[event]
        self.provider_log.write(told, what, self.prompts[what])

    async def _run(self, task: str, body: dict[str, Any]) -> web.Response:
        prompt = str(body["prompt"])
        job_end = self.draw_job_end(prompt)
        if job_end == "fails":
            self._failing.add(task)
        self.gate.clear()
        ending = asyncio.create_task(self._open_gate(prompt, job_end))
        answer = await super()._run(task, body)
        ending.cancel()
        if job_end == "fails" and not self.interrupted:
            return web.json_response({"error": "RuntimeError", "errors": "It broke."}, status=500)
        return answer

    async def _open_gate(self, prompt: str, job_end: str | None) -> None:
        """Open the gate when the picture is done. An endless task ends once faults are over: it blocks the GPU."""
        if job_end == "never ends":
            await self.fault_source.is_over.wait()
        else:
            await asyncio.sleep(ON_ONE_GPU * self.fault_source.seconds(prompt, job_end == "takes long"))
        self.gate.set()

    def _result(self, body: dict[str, Any]) -> dict[str, Any]:
        prompt = f"unfinished: {body['prompt']}" if self.interrupted else str(body["prompt"])
        return {**super()._result(body), "images": [base64.b64encode(picture_of(prompt)).decode()]}
