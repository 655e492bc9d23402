"""A fake of Replicate's predictions API, as its documentation describes it, with a log of its jobs.

A prediction advances by one step at each request for it. It is charged when it succeeds, or when it is cancelled while
it runs; the log entry `charged` says so.
"""

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aiohttp import web

from tests.providers.faulty_server import FaultyServer

TOKEN = "r8_a-token-that-nobody-may-see"
VERSIONS = {"stability-ai/sdxl": "7762fd07cf82"}
OFFICIAL = frozenset({"black-forest-labs/flux-schnell", "google/imagen-4-fast"})
PNG = b"\x89PNG\r\n\x1a\n-a-picture"


@dataclass(slots=True)
class JobPlan:
    """The planned end of a prediction, after so many requests for it."""

    status: str = "succeeded"
    error: str | None = None
    output: Any = "a list"
    logs: str = ""
    looks: int = 2


@dataclass(slots=True)
class Job:
    id: str
    model: str
    version: str
    input: dict[str, Any]
    plan: JobPlan
    cancel_after: str
    created_at: datetime
    status: str = "starting"
    looks: int = 0
    is_removed: bool = False
    source: str = "api"


@dataclass
class ReplicateServer(FaultyServer):
    """`job_plans` by prompt. `skew`: how far the server's clock is ahead of ours."""

    job_plans: dict[str, JobPlan] = field(default_factory=dict[str, JobPlan])
    jobs: dict[str, Job] = field(default_factory=dict[str, Job])
    skew: timedelta = timedelta()
    page_size: int = 100

    def __post_init__(self) -> None:
        super().__init__()

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post("/v1/models/{owner}/{name}/predictions", self._order_official),
            web.post("/v1/predictions", self._order_version),
            web.get("/v1/predictions", self._list),
            web.get("/v1/predictions/{id}", self._look),
            web.post("/v1/predictions/{id}/cancel", self._cancel),
            web.get("/files/{id}.png", self._file),
        ]

    def now(self) -> datetime:
        return datetime.now(UTC) + self.skew

    def add_job(
        self,
        prompt: str = "a red fox",
        *,
        model: str = "black-forest-labs/flux-schnell",
        age_seconds: float = 0,
        **more: Any,
    ) -> Job:
        """Add a prediction that another client ordered, now or some time ago."""
        inputs: dict[str, Any] = more.get("inputs", {"prompt": prompt, "seed": 7})
        job = self._create(model, "hidden", inputs, "1800s")
        job.created_at -= timedelta(seconds=age_seconds)
        job.source = more.get("source", "api")
        return job

    async def _order_official(self, request: web.Request) -> web.StreamResponse:
        model = f"{request.match_info['owner']}/{request.match_info['name']}"
        asked: dict[str, Any] = await request.json()
        if (refusal := self._refusal(request)) is not None:
            return refusal
        if model not in OFFICIAL:
            return _problem(404, "The requested resource could not be found.")
        return await self._order(request, model, "hidden", asked)

    async def _order_version(self, request: web.Request) -> web.StreamResponse:
        asked: dict[str, Any] = await request.json()
        model, _, version = str(asked.get("version")).partition(":")
        if (refusal := self._refusal(request)) is not None:
            return refusal
        if VERSIONS.get(model) != version:
            return _problem(
                422, "The specified version does not exist (or perhaps you don't have permission to use it?)"
            )
        return await self._order(request, model, version, asked)

    async def _order(self, request: web.Request, model: str, version: str, asked: dict[str, Any]) -> web.StreamResponse:
        cancel_after = request.headers.get("Cancel-After", "")
        if re.fullmatch(r"\d+[smh]?", cancel_after) is None:
            return _problem(400, "Invalid Cancel-After header")
        if asked["input"].get("width", 1024) > 1440:
            fields = [
                {"type": "number_lte", "field": "input.width", "description": "Must be less than or equal to 1440"}
            ]
            return web.json_response(
                {"title": "Input validation failed", "detail": "- input.width: Must be less than or equal to 1440\n",
                 "status": 422, "invalid_fields": fields}, status=422
            )  # fmt: skip

        def work() -> web.StreamResponse:
            return web.json_response(
                self._shown(self._create(model, version, asked["input"], cancel_after)), status=201
            )

        return await self.serve("order", request, work)

    def _create(self, model: str, version: str, inputs: dict[str, Any], cancel_after: str) -> Job:
        plan = self.job_plans.get(str(inputs.get("prompt")), JobPlan())
        job = Job(f"job{len(self.jobs) + 1:022d}", model, version, inputs, plan, cancel_after, self.now())
        self.jobs[job.id] = job
        self._note("created", job)
        return job

    async def _look(self, request: web.Request) -> web.StreamResponse:
        def work() -> web.StreamResponse:
            job = self.jobs.get(request.match_info["id"])
            if job is None:
                return _problem(404, "The requested resource could not be found.")
            self._go_on(job)
            return web.json_response(self._shown(job))

        refusal = self._refusal(request)
        return await self.serve("look", request, work) if refusal is None else refusal

    async def _cancel(self, request: web.Request) -> web.StreamResponse:
        def work() -> web.StreamResponse:
            job = self.jobs.get(request.match_info["id"])
            if job is None:
                return _problem(404, "The requested resource could not be found.")
            if job.status in ("starting", "processing"):
                job.status = "canceled"
                self._note("canceled", job)
                self._note("charged", job)
            return web.json_response(self._shown(job))

        return await self.serve("cancel", request, work)

    async def _list(self, request: web.Request) -> web.StreamResponse:
        def work() -> web.StreamResponse:
            start = int(request.query.get("cursor", "0"))
            newest = sorted(self.jobs.values(), key=lambda job: (job.created_at, job.id), reverse=True)
            page, after = newest[start : start + self.page_size], start + self.page_size
            following = f"https://api.replicate.com/v1/predictions?cursor={after}" if after < len(newest) else None
            return web.json_response(
                {"previous": None, "next": following, "results": [self._shown(job) for job in page]},
                headers={"Date": self.now().strftime("%a, %d %b %Y %H:%M:%S GMT")},
            )

        refusal = self._refusal(request)
        return await self.serve("list", request, work) if refusal is None else refusal

    async def _file(self, request: web.Request) -> web.StreamResponse:
        def work() -> web.StreamResponse:
            job = self.jobs.get(request.match_info["id"])
            if job is None or job.is_removed:
                return _problem(404, "Not found")
            return web.Response(body=PNG, content_type="image/png")

        return await self.serve("file", request, work)

    def _go_on(self, job: Job) -> None:
        job.looks += 1
        if job.status not in ("starting", "processing"):
            return
        if job.looks < job.plan.looks:
            job.status = "processing"
            return
        job.status = job.plan.status
        self._note(job.status, job)
        if job.status in ("succeeded", "canceled"):
            self._note("charged", job)

    def _shown(self, job: Job) -> dict[str, Any]:
        is_over = job.status not in ("starting", "processing")
        shown: dict[str, Any] = {
            "id": job.id,
            "model": job.model,
            "version": job.version,
            "input": {} if job.is_removed else {**job.input, "go_fast": True},
            "logs": job.plan.logs if is_over and not job.is_removed else "",
            "output": self._output(job) if job.status == "succeeded" and not job.is_removed else None,
            "data_removed": job.is_removed,
            "error": job.plan.error if is_over else None,
            "source": job.source,
            "status": job.status,
            "created_at": _iso(job.created_at),
            "urls": {"get": f"https://api.replicate.com/v1/predictions/{job.id}"},
        }
        if is_over and job.status != "aborted":
            started = job.created_at + timedelta(seconds=1.5)
            shown |= {"started_at": _iso(started), "completed_at": _iso(started + timedelta(seconds=3))}
            shown |= {"metrics": {"predict_time": 2.75}}
        return shown

    def _output(self, job: Job) -> Any:
        url = f"{self.url}/files/{job.id}.png"
        shapes: dict[str, Any] = {"a list": [url], "a string": url, "an object": {"image": url, "style_id": None}}
        return shapes.get(job.plan.output, job.plan.output) if isinstance(job.plan.output, str) else job.plan.output

    def _refusal(self, request: web.Request) -> web.Response | None:
        if request.headers.get("Authorization") == f"Bearer {TOKEN}":
            return None
        return _problem(401, "You did not pass a valid authentication token", title="Unauthenticated")

    def _note(self, event: str, job: Job) -> None:
        self.log.append({"event": event, "job": job.id, "prompt": job.input.get("prompt")})


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _problem(status: int, detail: str, **more: Any) -> web.Response:
    return web.json_response({"detail": detail, "status": status, **more}, status=status)
