"""A fake of `POST /v1/images/generations` as OpenAI and servers like it answer it, with a log of its charges."""

import asyncio
import base64
import io
from typing import Any, Literal

from aiohttp import web
from PIL import Image

from tests.providers.local_server import LocalServer

Mode = Literal["b64_json", "url", "data_url"]
KEY = "sk-test-0123456789abcdef"


class OpenAIServer(LocalServer):
    """Charges a picture when it is made. `mode`: how it is delivered. `gate`: while it is closed, no picture is
    finished.
    """

    def __init__(self, mode: Mode = "b64_json") -> None:
        super().__init__()
        self.mode: Mode = mode
        self.packs = False
        """Whether answers are compressed with gzip, whatever the request accepts."""
        self.gate = asyncio.Event()
        self.gate.set()
        self.began = asyncio.Event()
        self.route("POST", "/v1/images/generations", self._generate)
        self.route("GET", "/v1/pictures/{id}", self._fetch)

    @property
    def api(self) -> str:
        return f"{self.url}/v1"

    async def _generate(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            message = f"Incorrect API key provided: {request.headers.get('Authorization')}."
            error = {"message": message, "type": "invalid_request_error", "param": None, "code": "invalid_api_key"}
            return web.json_response({"error": error}, status=401)
        body: dict[str, Any] = await request.json()
        if refusal := self._refusal(body):
            return refusal
        name = request.headers.get("X-Client-Request-Id", "?")
        self.note("created", name)
        self.began.set()
        await self.gate.wait()
        self.note("charged", name)
        answer = web.json_response(
            {"created": 1764000000, "data": [self._item(body)], "output_format": "png", "news": 1}
        )
        if self.packs:
            answer.enable_compression(web.ContentCoding.gzip)
        return answer

    def _refusal(self, body: dict[str, Any]) -> web.Response | None:
        prompt = body.get("prompt")
        if not isinstance(prompt, str) or not prompt:
            return _error(400, "Missing required parameter: 'prompt'.", "missing_required_parameter", "prompt")
        if body.get("model") not in ("gpt-image-1", "flux"):
            return _error(400, f"Invalid value: '{body.get('model')}'.", "invalid_value", "model")
        if "#blocked" in prompt:
            message = "Your request was rejected by the safety system. safety_violations=[violence]."
            stage = "output" if "#late" in prompt else "input"
            return _error(400, message, "moderation_blocked", moderation_details={"moderation_stage": stage})
        return None

    def _item(self, body: dict[str, Any]) -> dict[str, Any]:
        packed = base64.b64encode(a_picture(str(body.get("size", "32x32")))).decode()
        items: dict[str, dict[str, Any]] = {
            "b64_json": {"b64_json": packed, "revised_prompt": None},
            "data_url": {"url": f"data:image/png;base64,{packed}"},
            "url": {"url": f"{self.api}/pictures/1.png"},
        }
        return items[self.mode]

    async def _fetch(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {KEY}":
            return web.Response(status=401)
        return web.Response(body=a_picture("32x32"), content_type="image/png")


def a_picture(size: str) -> bytes:
    width, _, height = size.partition("x")
    file = io.BytesIO()
    Image.new("RGB", (int(width), int(height)), "teal").save(file, "PNG")
    return file.getvalue()


def _error(status: int, message: str, code: str, param: str | None = None, **more: object) -> web.Response:
    kind = "image_generation_user_error" if code == "moderation_blocked" else "invalid_request_error"
    error = {"message": message, "type": kind, "param": param, "code": code, **more}
    return web.json_response({"error": error}, status=status)
