"""A fake of ComfyUI's server, with its queue, history and validation, in the three forms of its API.

- `new`: accepts our `prompt_id`, cancels by id.
- `interrupts_by_id`: accepts it, and interrupts by id.
- `old`: makes its own id and interrupts the running job, whichever it is.
"""

import io
import uuid
from dataclasses import dataclass, field
from typing import Any, Literal

from aiohttp import web
from PIL import Image

from tests.providers.local_server import LocalServer

Age = Literal["new", "interrupts_by_id", "old"]
CHECKPOINTS = ("sdxl.safetensors", "flux\\flux1-dev.safetensors")


@dataclass
class Job:
    id: str
    number: int
    workflow: dict[str, Any]
    extra_data: dict[str, Any]
    job_end: str = "success"
    messages: list[list[Any]] = field(default_factory=list[list[Any]])

    def as_list(self) -> list[Any]:
        return [self.number, self.id, self.workflow, self.extra_data, ["picture"]]


class ComfyUIServer(LocalServer):
    """Runs one job at a time. It ends at once, or if the server `holds` jobs, at `finish`."""

    def __init__(self, age: Age = "new", token: str | None = None) -> None:
        super().__init__()
        self.age: Age = age
        self.token = token
        self.holds = False
        self.queue: list[Job] = []
        self.running: Job | None = None
        self.history: dict[str, dict[str, Any]] = {}
        self.outputs: dict[str, Any] = saved("ComfyUI_00001_.png")
        self.cache: list[Any] | None = None
        """Workflows that ran, if the server remembers them: an equal one ends without outputs."""
        self.lists_choices = True
        """Whether an error lists the allowed values; newer servers leave out long lists."""
        self.node_errors: dict[str, Any] = {}
        self._number = 0
        self.route("POST", "/prompt", self._prompt)
        self.route("GET", "/history", self._all_history)
        self.route("GET", "/history/{id}", self._one_history)
        self.route("GET", "/queue", self._show_queue)
        self.route("POST", "/queue", self._change_queue)
        self.route("POST", "/interrupt", self._interrupt)
        self.route("GET", "/view", self._view)
        self.route("GET", "/object_info/{node}", self._object_info)
        if age == "new":
            self.route("POST", "/api/jobs/{id}/cancel", self._cancel)

    def finish(self, job_end: str = "success", **error: str) -> None:
        """End the running job, and start the next."""
        assert self.running
        self._end(self.running, job_end, error)
        self._begin()

    def restart(self) -> None:
        """Forget everything: the server keeps queue and history in memory."""
        self.queue, self.running, self.history = [], None, {}

    async def _prompt(self, request: web.Request) -> web.Response:
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.Response(status=401)
        body: dict[str, Any] = await request.json()
        if refusal := _refusal(body.get("prompt") or {}, lists_choices=self.lists_choices):
            return web.json_response(refusal, status=400)
        job_id = str(uuid.uuid4()) if self.age == "old" else str(body["prompt_id"])
        assert str(uuid.UUID(job_id)) == job_id, "the server takes canonical ids only"
        self._number += 1
        extra = {**body.get("extra_data", {}), "create_time": 1_764_000_000_000}
        self.queue.append(Job(job_id, self._number, body["prompt"], extra))
        self.note("queued", str(extra["batchgen_key"]))
        self._begin()
        return web.json_response({"prompt_id": job_id, "number": self._number, "node_errors": self.node_errors})

    def _begin(self) -> None:
        if self.running is None and self.queue:
            self.running = self.queue.pop(0)
            started = {"prompt_id": self.running.id, "timestamp": 1_764_000_002_000}
            self.running.messages.append(["execution_start", started])
            self.note("started", self.running.id)
            if not self.holds:
                self.finish()

    def _end(self, job: Job, job_end: str, error: dict[str, str]) -> None:
        self.running = None
        self.note(job_end, job.id)
        job.messages.append([f"execution_{job_end}", {"prompt_id": job.id, "timestamp": 1_764_000_005_500, **error}])
        status = {"status_str": "success" if job_end == "success" else "error", "completed": job_end == "success"}
        outputs = self.outputs if job_end == "success" else {}
        if self.cache is not None and job.workflow in self.cache:
            job.messages.append(["execution_cached", {"nodes": list(job.workflow), "prompt_id": job.id}])
            outputs = {}
        elif self.cache is not None:
            self.cache.append(job.workflow)
        self.history[job.id] = {
            "prompt": job.as_list(),
            "outputs": outputs,
            "status": {**status, "messages": job.messages},
            "meta": {},
        }

    async def _all_history(self, request: web.Request) -> web.Response:
        most = int(request.query["max_items"])
        return web.json_response(dict(list(self.history.items())[-most:]))

    async def _one_history(self, request: web.Request) -> web.Response:
        job_id = request.match_info["id"]
        return web.json_response({job_id: self.history[job_id]} if job_id in self.history else {})

    async def _show_queue(self, _: web.Request) -> web.Response:
        running = [self.running.as_list()] if self.running else []
        return web.json_response({"queue_running": running, "queue_pending": [job.as_list() for job in self.queue]})

    async def _change_queue(self, request: web.Request) -> web.Response:
        ids = (await request.json())["delete"]
        self.queue = [job for job in self.queue if job.id not in ids]
        return web.Response()

    async def _interrupt(self, request: web.Request) -> web.Response:
        wanted = (await request.json()).get("prompt_id")
        if self.running and (self.age == "old" or wanted == self.running.id):
            self.finish("interrupted")
        return web.Response()

    async def _cancel(self, request: web.Request) -> web.Response:
        job_id, before = request.match_info["id"], len(self.queue)
        self.queue = [job for job in self.queue if job.id != job_id]
        is_running = self.running is not None and self.running.id == job_id
        if is_running:
            self.finish("interrupted")
        return web.json_response({"cancelled": is_running or len(self.queue) < before})

    async def _object_info(self, request: web.Request) -> web.Response:
        node = request.match_info["node"]
        inputs = {"required": {"ckpt_name": ["COMBO", {"options": list(CHECKPOINTS)}]}}
        return web.json_response({node: {"input": inputs, "output": ["MODEL"]}})

    async def _view(self, request: web.Request) -> web.Response:
        if self.token and request.headers.get("Authorization") != f"Bearer {self.token}":
            return web.Response(status=401)
        nodes: list[dict[str, Any]] = list(self.outputs.values())
        names = {file["filename"] for node in nodes for file in node.get("images", [])}
        if request.query["filename"] not in names:
            return web.Response(status=404)
        file = io.BytesIO()
        Image.new("RGB", (16, 16), "teal").save(file, "PNG")
        return web.Response(body=file.getvalue(), content_type="image/png")


def saved(*names: str, node: str = "picture", kind: str = "output", subfolder: str = "batchgen") -> dict[str, Any]:
    """Outputs of one node, as the history has them."""
    return {node: {"images": [{"filename": name, "subfolder": subfolder, "type": kind} for name in names]}}


def _refusal(workflow: dict[str, Any], *, lists_choices: bool) -> dict[str, Any] | None:
    for node_id, node in workflow.items():
        if node["class_type"].startswith("Missing"):
            error = {"type": "missing_node_type", "message": f"Node '{node['class_type']}' not found.", "details": ""}
            return {"error": error, "node_errors": {}}
        checkpoint = node["inputs"].get("ckpt_name", CHECKPOINTS[0])
        if checkpoint not in CHECKPOINTS:
            choices: list[Any] | None = [list(CHECKPOINTS), {}] if lists_choices else None
            return _invalid(node_id, "value_not_in_list", "Value not in list", "ckpt_name", repr(checkpoint), choices)
        if node["inputs"].get("steps", 1) < 1:
            return _invalid(node_id, "value_smaller_than_min", "Value 0 smaller than min of 1", "steps", "steps")
    return None


def _invalid(
    node_id: str, kind: str, message: str, field_name: str, details: str, choices: object = None
) -> dict[str, Any]:
    about = {"input_name": field_name, "input_config": choices}
    fault = {"type": kind, "message": message, "details": details, "extra_info": about}
    return {
        "error": {"type": "prompt_outputs_failed_validation", "message": "Prompt outputs failed validation"},
        "node_errors": {node_id: {"errors": [fault], "dependent_outputs": ["picture"], "class_type": "X"}},
    }
