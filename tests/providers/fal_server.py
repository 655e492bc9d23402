"""A fake of fal's queue API, as its documentation describes it, with a log of its jobs.

A request advances by one step at each status request. It is charged when its result is good.
"""

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

from aiohttp import web

from tests.providers.faulty_server import FaultyServer

KEY = "key-id:a-secret-that-nobody-may-see"
APPS = frozenset({"fal-ai/flux", "fal-ai/qwen-image", "fal-ai/bytedance"})
PNG = b"\x89PNG\r\n\x1a\n-a-picture"


@dataclass(slots=True)
class JobPlan:
    """The planned end of a request: the model's answer, after so many status requests."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict[str, str])
    error_type: str | None = None
    looks: int = 2


@dataclass(slots=True)
class Job:
    id: str
    app: str
    model: str
    input: dict[str, Any]
    plan: JobPlan
    start_timeout: str
    status: str = "IN_QUEUE"
    looks: int = 0
    is_removed: bool = False


@dataclass
class FalServer(FaultyServer):
    """`job_plans` by prompt. `suffix`: the end of the result's addresses."""

    job_plans: dict[str, JobPlan] = field(default_factory=dict[str, JobPlan])
    jobs: dict[str, Job] = field(default_factory=dict[str, Job])
    suffix: str = ""

    def __post_init__(self) -> None:
        super().__init__()

    def routes(self) -> list[web.RouteDef]:
        request = "/{app:[^/]+/[^/]+}/requests/{id}"
        return [
            web.get(f"{request}/status", self._look),
            web.put(f"{request}/cancel", self._cancel),
            web.get(f"{request}{self.suffix}", self._result),
            web.get("/files/{id}.png", self._file),
            web.post("/{model:.+}", self._order),
        ]

    async def _order(self, request: web.Request) -> web.StreamResponse:
        asked: dict[str, Any] = await request.json()
        model = request.match_info["model"]
        app = "/".join(model.split("/")[:2])
        if request.headers.get("Authorization") != f"Key {KEY}":
            return web.json_response({"detail": "Cannot access application. Authentication is required."}, status=401)
        if app not in APPS:
            return web.json_response({"detail": f"Application '{model}' not found"}, status=404)

        def work() -> web.StreamResponse:
            start_timeout = request.headers.get("X-Fal-Request-Start-Timeout", "")
            plan = self.job_plans.get(str(asked.get("prompt")), JobPlan())
            job = Job(str(uuid4()), app, model, asked, plan, start_timeout)
            self.jobs[job.id] = job
            self._note("created", job)
            place = f"{self.url}/{app}/requests/{job.id}"
            return web.json_response(
                {
                    "status": "IN_QUEUE",
                    "request_id": job.id,
                    "response_url": f"{place}{self.suffix}",
                    "status_url": f"{place}/status",
                    "cancel_url": f"{place}/cancel",
                    "queue_position": 0,
                }
            )

        return await self.serve("order", request, work)

    async def _look(self, request: web.Request) -> web.StreamResponse:
        def work() -> web.StreamResponse:
            job = self._job(request)
            if job is None:
                return web.json_response({"detail": "Request not found"}, status=404)
            self._go_on(job)
            shown: dict[str, Any] = {"status": job.status, "request_id": job.id, "logs": None}
            if job.status == "IN_QUEUE":
                shown["queue_position"] = 1
            if job.status == "COMPLETED":
                shown["metrics"] = {"inference_time": 3.25}
            if job.status == "COMPLETED" and job.plan.error_type:
                shown |= {"error": "It did not work.", "error_type": job.plan.error_type}
            return web.json_response(shown, status=200 if job.status == "COMPLETED" else 202)

        return await self.serve("look", request, work)

    async def _result(self, request: web.Request) -> web.StreamResponse:
        def work() -> web.StreamResponse:
            job = self._job(request)
            if job is None or job.is_removed:
                return web.json_response({"detail": "Request not found"}, status=404)
            if job.status != "COMPLETED":
                return web.json_response({"detail": "Request is still in progress"}, status=400)
            plan = job.plan
            body = self._picture(job) if plan.body is None else plan.body
            return web.json_response(body, status=plan.status, headers=plan.headers)

        return await self.serve("result", request, work)

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        def work() -> web.StreamResponse:
            job = self._job(request)
            if job is None:
                return web.json_response({"status": "NOT_FOUND"}, status=404)
            if job.status == "COMPLETED":
                return web.json_response({"status": "ALREADY_COMPLETED"}, status=400)
            job.status = "COMPLETED"
            job.plan = JobPlan(499, {"detail": "Request was cancelled", "error_type": "client_cancelled"})
            self._note("cancelled", job)
            return web.json_response({"status": "CANCELLATION_REQUESTED"}, status=202)

        return await self.serve("cancel", request, work)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        def work() -> web.StreamResponse:
            job = self.jobs.get(request.match_info["id"])
            if job is None or job.is_removed:
                return web.Response(status=404)
            return web.Response(body=PNG, content_type="image/png")

        return await self.serve("file", request, work)

    def _job(self, request: web.Request) -> Job | None:
        job = self.jobs.get(request.match_info["id"])
        is_theirs = request.headers.get("Authorization") == f"Key {KEY}"
        return job if is_theirs and job and job.app == request.match_info["app"] else None

    def _go_on(self, job: Job) -> None:
        job.looks += 1
        if job.status == "COMPLETED":
            return
        job.status = "IN_PROGRESS" if job.looks < job.plan.looks else "COMPLETED"
        if job.status == "COMPLETED":
            self._note("charged" if job.plan.status == 200 else "failed", job)

    def _picture(self, job: Job) -> dict[str, Any]:
        image = {"url": f"{self.url}/files/{job.id}.png", "width": 1024, "height": 1024, "content_type": "image/png"}
        return {
            "images": [image],
            "timings": {"inference": 3.2},
            "seed": job.input.get("seed", 99),
            "has_nsfw_concepts": [False],
            "prompt": "https://example.test/not-a-picture.png",
        }

    def _note(self, event: str, job: Job) -> None:
        self.log.append({"event": event, "job": job.id, "prompt": job.input.get("prompt")})
