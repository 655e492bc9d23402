"""Fake servers of Replicate and fal that take time, deliver real pictures and fail as a `FaultSource` says."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from tests.money.faults import CANCEL, FILE, ORDER, QUESTION, SLOW_SECONDS, FaultSource, Odds
from tests.money.provider_log import ProviderLog, picture_of
from tests.providers.fal_server import FalServer
from tests.providers.fal_server import Job as FalJob
from tests.providers.fal_server import JobPlan as FalJobPlan
from tests.providers.faulty_server import Fault, FaultyServer
from tests.providers.replicate_server import Job as ReplicateJob
from tests.providers.replicate_server import JobPlan as ReplicateJobPlan
from tests.providers.replicate_server import ReplicateServer

FAULTS: Mapping[str, Fault] = {
    "429": Fault(429, {"Retry-After": "1"}),
    "503 with Retry-After": Fault(503, {"Retry-After": "1"}),
    "500 before the work": Fault(500),
    "dropped before the work": Fault(way="drop"),
    "lost after the work": Fault(way="drop", after_work=True),
    "gateway error after the work": Fault(504, after_work=True),
    "garbage after the work": Fault(200, body="<html>It works!</html>", after_work=True),
    "truncated after the work": Fault(way="truncate", after_work=True),
    "silent after the work": Fault(way="hang", after_work=True),
    "expired": Fault(404),
    "no picture": Fault(200, body="<html>Not here any more, but with 200</html>"),
}
ODDS: Mapping[str, Odds] = {
    "order": ORDER,
    "look": QUESTION,
    "list": QUESTION,
    "result": QUESTION,
    "cancel": CANCEL,
    "file": FILE,
}
NO_ANSWERS = ("lost", "gateway", "garbage", "truncated", "silent", "500", "dropped")
"""Faults that leave the outcome of an order unknown."""
HALF = 200
"""Bytes of a truncated picture."""
RUNNING = frozenset({"starting", "processing", "IN_QUEUE", "IN_PROGRESS"})
REFUSED = "#blocked"
"""In a prompt: the provider blocks it, every time."""
ENDLESS = "#endless"
"""In a prompt: its job never ends by itself."""
LATE, LATE_SECONDS = "#late", 4.0
"""In a prompt: its job takes this long."""
HANGING = "#hanging"
"""In a prompt: its order never gets an answer and makes no job."""

REPLICATE_JOB_PLANS: Mapping[str, ReplicateJobPlan] = {
    "fails": ReplicateJobPlan("failed", "CUDA error"),
    "fails and costs": ReplicateJobPlan("failed", "CUDA error, later"),
    "blocked": ReplicateJobPlan("failed", "NSFW content detected"),
    "cut off": ReplicateJobPlan("aborted"),
}
REPLICATE_ODDS: Odds = {
    "fails": 0.06,
    "fails and costs": 0.06,
    "cut off": 0.03,
    "never ends": 0.03,
    "takes long": 0.08,
}
FAL_JOB_PLANS: Mapping[str, FalJobPlan] = {
    "fails": FalJobPlan(500, {"detail": "Internal server error"}, error_type="internal_server_error"),
    "fails and costs": FalJobPlan(422, {"detail": [{"loc": ["body"], "msg": "It broke.", "type": "downstream_error"}]}),
    "blocked": FalJobPlan(422, {"detail": [{"loc": ["body"], "msg": "No.", "type": "content_policy_violation"}]}),
}
FAL_ODDS: Odds = {"fails": 0.08, "fails and costs": 0.04, "never ends": 0.03, "takes long": 0.08}


class _FaultyAnswers(FaultyServer):
    """Draws the fault of each call from the fault source."""

    fault_source: FaultSource
    provider_log: ProviderLog

    async def prompt_of(self, call: str, request: web.Request) -> str:
        raise NotImplementedError

    async def serve(
        self, call: str, request: web.Request, work: Callable[[], web.StreamResponse]
    ) -> web.StreamResponse:
        prompt = await self.prompt_of(call, request)
        fault = self.fault_source.draw(call, prompt, ODDS[call])
        if call == "order" and fault and fault.startswith(NO_ANSWERS):
            self.provider_log.write("no answer to the order", "", prompt, fault=fault)
        if fault == "half a picture":
            return web.Response(body=picture_of(prompt)[:HALF], content_type="image/png")
        if call == "order" and HANGING in prompt:
            self.fail(call, Fault(way="hang"))
        elif fault is not None and fault in FAULTS:
            self.fail(call, FAULTS[fault])
        answer = await super().serve(call, request, work)
        if fault == "slow":  # a worker that is killed meanwhile never gets the job's id
            await asyncio.sleep(SLOW_SECONDS)
        return answer

    async def give_picture(self, request: web.Request) -> web.StreamResponse:
        prompt = await self.prompt_of("file", request)
        return await self.serve(
            "file", request, lambda: web.Response(body=picture_of(prompt), content_type="image/png")
        )


@dataclass
class FaultyReplicateServer(_FaultyAnswers, ReplicateServer):
    """A prediction ends at its time, whether a worker asks or not."""

    fault_source: FaultSource = field(kw_only=True)
    provider_log: ProviderLog = field(kw_only=True)

    async def prompt_of(self, call: str, request: web.Request) -> str:
        if call == "order":
            return str((await request.json())["input"]["prompt"])
        job = self.jobs.get(request.match_info.get("id", ""))
        return str(job.input["prompt"]) if job else ""

    def _create(self, model: str, version: str, inputs: dict[str, Any], cancel_after: str) -> ReplicateJob:
        prompt = str(inputs["prompt"])
        job_end = _draw_job_end(self.fault_source, prompt, REPLICATE_ODDS)
        self.job_plans[prompt] = REPLICATE_JOB_PLANS.get(job_end or "", ReplicateJobPlan())
        job = super()._create(model, version, inputs, cancel_after)
        if job_end != "never ends":
            seconds = LATE_SECONDS if LATE in prompt else self.fault_source.seconds(prompt, job_end == "takes long")
            asyncio.get_running_loop().call_later(seconds, self._end, job, job_end)
        return job

    def _end(self, job: ReplicateJob, job_end: str | None) -> None:
        if job.status not in RUNNING:
            return
        job.status = job.plan.status
        self._note(job.status, job)
        if job.status == "succeeded" or job_end == "fails and costs":
            self._note("charged", job)

    def _go_on(self, job: ReplicateJob) -> None:
        if job.status == "starting":
            job.status = "processing"

    async def _file(self, request: web.Request) -> web.StreamResponse:
        return await self.give_picture(request)

    def _note(self, event: str, job: ReplicateJob) -> None:
        super()._note(event, job)
        _enter(self.provider_log, event, job.id, str(job.input["prompt"]))


@dataclass
class FaultyFalServer(_FaultyAnswers, FalServer):
    """A request ends at its time, whether a worker asks or not."""

    fault_source: FaultSource = field(kw_only=True)
    provider_log: ProviderLog = field(kw_only=True)

    async def prompt_of(self, call: str, request: web.Request) -> str:
        if call == "order":
            return str((await request.json())["prompt"])
        job = self.jobs.get(request.match_info["id"])
        return str(job.input["prompt"]) if job else ""

    def _begin(self, job: FalJob) -> None:
        prompt = str(job.input["prompt"])
        job_end = _draw_job_end(self.fault_source, prompt, FAL_ODDS)
        job.plan = FAL_JOB_PLANS.get(job_end or "", FalJobPlan())
        if job_end != "never ends":
            seconds = LATE_SECONDS if LATE in prompt else self.fault_source.seconds(prompt, job_end == "takes long")
            asyncio.get_running_loop().call_later(seconds, self._end, job, job_end)

    def _end(self, job: FalJob, job_end: str | None) -> None:
        if job.status not in RUNNING:
            return
        job.status = "COMPLETED"
        self._note("succeeded" if job.plan.status == 200 else "failed", job)
        if job.plan.status == 200 or job_end == "fails and costs":
            self._note("charged", job)

    def _go_on(self, job: FalJob) -> None:
        if job.status == "IN_QUEUE":
            job.status = "IN_PROGRESS"

    async def _file(self, request: web.Request) -> web.StreamResponse:
        return await self.give_picture(request)

    def _note(self, event: str, job: FalJob) -> None:
        super()._note(event, job)
        _enter(self.provider_log, event, job.id, str(job.input["prompt"]))
        if event == "created":
            self._begin(job)


def _draw_job_end(fault_source: FaultSource, prompt: str, odds: Odds) -> str | None:
    if REFUSED in prompt:
        return "blocked"
    return "never ends" if ENDLESS in prompt else fault_source.draw("job end", prompt, odds)


def _enter(provider_log: ProviderLog, event: str, job: str, prompt: str) -> None:
    if event == "charged":
        provider_log.charge(job, prompt)
    else:
        provider_log.write({"canceled": "cancelled", "aborted": "failed"}.get(event, event), job, prompt)
