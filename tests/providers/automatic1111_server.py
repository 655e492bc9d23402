"""A fake of AUTOMATIC1111's web UI: one task at a time under a lock, a global interrupt, unfinished pictures."""

import asyncio
import base64
import io
import json
from typing import Any

from aiohttp import web
from PIL import Image

from tests.providers.local_server import LocalServer

CREDENTIALS = "me:secret-0123456789"
CHECKPOINT = {
    "title": "xl/sdxl.safetensors [31e35c80fc]",
    "model_name": "xl_sdxl",
    "hash": "31e35c80fc",
    "sha256": "31e35c80fc4829d1",
    "filename": "C:\\models\\xl\\sdxl.safetensors",
    "config": None,
}
ADDED_LATER = {
    "title": "flux\\flux1-dev.safetensors",
    "model_name": "flux_flux1-dev",
    "hash": None,
    "sha256": None,
    "filename": "C:\\models\\flux\\flux1-dev.safetensors",
    "config": None,
}


class Automatic1111Server(LocalServer):
    """`gate`: while it is closed, the running task goes on until it is interrupted."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.credentials = ""
        self.has_grid = False
        self.heeds_overrides = True
        self.heeds_options = True
        self.loaded = CHECKPOINT
        self.listed: list[dict[str, Any]] = [CHECKPOINT]
        self.on_disk: list[dict[str, Any]] = [CHECKPOINT]
        self.more_info: dict[str, Any] = {}
        """More keys of `info`, or other values."""
        self.pending: list[str] = []
        self.current = ""
        self.interrupted = False
        self.timestamp = ""
        self._begun = 0
        self._lock = asyncio.Lock()
        self._stop = asyncio.Event()
        self.route("POST", "/sdapi/v1/txt2img", self._txt2img)
        self.route("GET", "/sdapi/v1/sd-models", self._models)
        self.route("POST", "/sdapi/v1/refresh-checkpoints", self._refresh)
        self.route("POST", "/sdapi/v1/options", self._options)
        self.route("GET", "/sdapi/v1/progress", self._progress)
        self.route("POST", "/sdapi/v1/interrupt", self._interrupt)
        self.route("POST", "/internal/progress", self._task_progress)

    def interrupt(self) -> None:
        """Stop the running task."""
        self.interrupted = True
        self._stop.set()

    async def _txt2img(self, request: web.Request) -> web.Response:
        if refusal := self._unauthorised(request):
            return refusal
        body: dict[str, Any] = await request.json()
        if body.get("sampler_name") == "none":
            return web.json_response({"detail": "Sampler not found"}, status=404)
        if not isinstance(body.get("steps", 20), int):
            fault = {"loc": ["body", "steps"], "msg": "Input should be a valid integer", "type": "int_parsing"}
            return web.json_response({"detail": [fault]}, status=422)
        task = str(body["force_task_id"])
        self.pending.append(task)
        async with self._lock:
            return await self._run(task, body)

    async def _run(self, task: str, body: dict[str, Any]) -> web.Response:
        self.pending.remove(task)
        self._begun += 1
        self.current, self.interrupted, self.timestamp = task, False, f"20261124{self._begun:06}"
        self._stop.clear()
        self.note("started", task)
        ends = [asyncio.create_task(event.wait()) for event in (self.gate, self._stop)]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for end in ends:
            end.cancel()
        self.current = ""
        self.note("interrupted" if self.interrupted else "finished", task)
        return web.json_response(self._result(body))

    def _load(self, name: object) -> None:
        """Like the real server: an unknown checkpoint changes nothing."""
        for checkpoint in self.listed:
            file = str(checkpoint["filename"]).rpartition("\\")[2]
            title, stem = str(checkpoint["title"]), file.partition(".")[0]
            names = (title, title.rpartition(" [")[0], checkpoint["model_name"], file, stem, checkpoint["hash"])
            if name and (name in names or name == checkpoint["sha256"]):
                self.loaded = checkpoint

    def _result(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.heeds_overrides:
            self._load(body.get("override_settings", {}).get("sd_model_checkpoint"))
        colours = ["gray", "teal"] if self.has_grid else ["teal"]
        info = {
            "seed": body.get("seed", -1),
            "sd_model_hash": self.loaded["hash"],
            "sd_model_name": str(self.loaded["filename"]).rpartition("\\")[2].partition(".")[0],
            "job_timestamp": self.timestamp,
            "index_of_first_image": len(colours) - 1,
            **self.more_info,
        }
        return {"images": [a_picture(colour) for colour in colours], "parameters": body, "info": json.dumps(info)}

    async def _models(self, request: web.Request) -> web.Response:
        return self._unauthorised(request) or web.json_response(self.listed)

    async def _refresh(self, _: web.Request) -> web.Response:
        self.listed = self.on_disk
        return web.json_response(None)

    async def _options(self, request: web.Request) -> web.Response:
        if self.heeds_options:
            self._load((await request.json()).get("sd_model_checkpoint"))
        return web.json_response(None)

    async def _progress(self, _: web.Request) -> web.Response:
        state = {"interrupted": self.interrupted, "job_timestamp": self.timestamp, "job_count": bool(self.current)}
        return web.json_response({"progress": 0.0, "eta_relative": 0.0, "state": state, "current_image": None})

    async def _task_progress(self, request: web.Request) -> web.Response:
        task = (await request.json())["id_task"]
        return web.json_response({"active": task == self.current, "queued": task in self.pending, "completed": False})

    async def _interrupt(self, _: web.Request) -> web.Response:
        self.interrupt()
        return web.json_response({})

    def _unauthorised(self, request: web.Request) -> web.Response | None:
        expected = f"Basic {base64.b64encode(self.credentials.encode()).decode()}"
        if self.credentials and request.headers.get("Authorization") != expected:
            return web.json_response({"detail": "Incorrect username or password"}, status=401)
        return None


def a_picture(colour: str) -> str:
    file = io.BytesIO()
    Image.new("RGB", (16, 16), colour).save(file, "PNG")
    return base64.b64encode(file.getvalue()).decode()
