"""The shops of the money tests, whose answers can be replaced on their way out."""

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from aiohttp import web

from batchgen.providers.http.own_server import NOT_REACHED
from tests.money.books import Books
from tests.money.catalogue import LISTINGS, Shop
from tests.money.hosted_shops import FalShop, ReplicateShop
from tests.money.own_gpu_shops import ORDERS, Automatic1111Shop, ComfyUIShop, OpenAIShop
from tests.money.weather import Weather
from tests.provider_fuzz.strange import Case, Changed, Strange
from tests.providers.local_server import Handler

Work = Callable[[], Awaitable[web.StreamResponse]]

SILENT_SECONDS = 6.0
"""Longer than a worker waits for an answer here."""
MOST_ENDLESS_BYTES = 200 * 2**20
NOBODY = ""
"""Of requests that name no job: they meet what was planned for anybody's."""


@dataclass
class Meddler:
    """Replaces the answers that were planned for a prompt. `sent` has what went out, by prompt."""

    plans: defaultdict[tuple[str, str], deque[Strange]] = field(
        default_factory=lambda: defaultdict[tuple[str, str], deque[Strange]](deque)
    )
    sent: defaultdict[str, list[tuple[str, Strange]]] = field(
        default_factory=lambda: defaultdict[str, list[tuple[str, Strange]]](list)
    )
    excuses: defaultdict[str, int] = field(default_factory=lambda: defaultdict[str, int](int))
    """How many answers a worker could read as the end of a job without a picture."""

    def plan(self, prompt: str, case: Case, nameless: Sequence[str]) -> None:
        for kind, answer in case.answers:
            self.plans[kind, NOBODY if kind in nameless else prompt].append(answer)

    async def meddle(self, kind: str, prompt: str, request: web.Request, work: Work) -> web.StreamResponse:
        planned = self.plans[kind, prompt]
        if not planned:
            return await work()
        answer = planned.popleft()
        real = await work() if answer.after else web.Response()
        status = real.status if answer.status is None else answer.status
        body = real.body if isinstance(real, web.Response) and isinstance(real.body, bytes) else b""
        if isinstance(answer.body, Changed):
            body = answer.body.of(body)
        elif answer.body is not None:
            body = answer.body
        self.sent[prompt].append((kind, answer))
        self.excuses[prompt] += _may_mean_the_end(kind, status, body)
        return await _deliver(request, answer, status, body, dict(real.headers))


def _may_mean_the_end(kind: str, status: int, body: bytes) -> bool:
    """A refusal, a redirect, a service that was not reached, or an object (or a list with one) that may say anything,
    but says something. No other answer is a reason to order again.
    """
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    parts = cast("list[Any]", value) if isinstance(value, list) else [value]
    is_object = any(isinstance(part, dict) for part in parts)
    return 300 <= status < 500 or status in NOT_REACHED or (is_object and _says_something(parts))


def _says_something(value: Any) -> bool:
    if isinstance(value, dict):
        return any(_says_something(part) for part in cast("dict[str, Any]", value).values())
    if isinstance(value, list):
        return any(_says_something(part) for part in cast("list[Any]", value))
    return isinstance(value, str) and not value.isspace() and value != ""


async def _deliver(
    request: web.Request, answer: Strange, status: int, body: bytes, own_headers: Mapping[str, str]
) -> web.StreamResponse:
    if answer.framing == "silent":
        await asyncio.sleep(SILENT_SECONDS)
    if answer.framing == "wire" and request.transport is not None:
        request.transport.write(body)
        request.transport.close()
        return web.Response()
    if answer.framing in ("silent", "reset"):
        return _cut(request, web.Response())
    kept = {name: value for name, value in own_headers.items() if name.lower() == "content-type"}
    given = {**kept, **dict(answer.headers)}
    response = web.StreamResponse(status=status, headers=given)
    if answer.framing != "endless":
        response.content_length = len(body) + (100 if answer.framing == "cut" else 0)
    try:
        await response.prepare(request)
        if status in (204, 304):
            return response
        await _write(response, answer.framing, body)
    except (ConnectionError, RuntimeError):
        return response
    return _cut(request, response) if answer.framing == "cut" else response


async def _write(response: web.StreamResponse, framing: str, body: bytes) -> None:
    if framing == "drip":
        step = max(1, len(body) // 5)
        for start in range(0, len(body), step):
            await response.write(body[start : start + step])
            await asyncio.sleep(0.05)
        return
    await response.write(body)
    sent = 0
    while framing == "endless" and sent < MOST_ENDLESS_BYTES:
        await response.write(b" " * 2**16)
        sent += 2**16


def _cut(request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return response


class QuickWeather(Weather):
    """No faults, and every job takes next to no time."""

    def __init__(self) -> None:
        super().__init__(seed=0)
        self.calm.set()

    def seconds(self, prompt: str, is_long: bool = False) -> float:
        return 0.01


class _Hosted:
    """Replicate's and fal's servers name each call."""

    meddler: Meddler

    async def serve(
        self, call: str, request: web.Request, work: Callable[[], web.StreamResponse]
    ) -> web.StreamResponse:
        prompt: str = await cast("Any", self).prompt_of(call, request)
        parent = cast("Any", super())
        return await self.meddler.meddle(call, prompt, request, lambda: parent.serve(call, request, work))


class FuzzedReplicate(_Hosted, ReplicateShop):
    pass


class FuzzedFal(_Hosted, FalShop):
    pass


class _OwnServer:
    """The others have a handler for each route."""

    meddler: Meddler

    def route(self, method: str, path: str, handler: Handler) -> None:
        name = f"{method} {path}"

        async def meddled(request: web.Request) -> web.StreamResponse:
            read = await request.read()  # its caller has read it before: it can be had again, but not waited for
            body: Any = json.loads(read) if read else {}
            prompt: str = cast("Any", self).prompt_of(name, request, body)
            return await self.meddler.meddle(name, prompt, request, lambda: handler(request))

        cast("Any", super()).route(method, path, meddled)


class FuzzedOpenAI(_OwnServer, OpenAIShop):
    pass


class FuzzedComfyUI(_OwnServer, ComfyUIShop):
    pass


class FuzzedAutomatic1111(_OwnServer, Automatic1111Shop):
    pass


@dataclass(frozen=True)
class Target:
    """`kinds` of requests whose answers are replaced; those of `nameless` name no job. `orders`: what buys."""

    make: Callable[[Weather, Books], Any]
    kinds: tuple[str, ...]
    nameless: tuple[str, ...] = ()

    def shop(self, books: Books) -> Shop:
        made = self.make(QuickWeather(), books)
        made.meddler = Meddler()
        return made


TARGETS: Mapping[str, Target] = {
    "replicate": Target(
        lambda weather, books: FuzzedReplicate(weather=weather, books=books),
        ("buy", "buy", "look", "look", "list", "cancel", "file"),
        ("list",),
    ),
    "fal": Target(
        lambda weather, books: FuzzedFal(weather=weather, books=books),
        ("buy", "buy", "look", "look", "result", "result", "cancel", "file"),
    ),
    "openai": Target(FuzzedOpenAI, ("POST /v1/images/generations",) * 3 + ("GET /v1/pictures/{id}",)),
    "comfyui": Target(
        FuzzedComfyUI,
        (
            "POST /prompt",
            "POST /prompt",
            "GET /history/{id}",
            "GET /history/{id}",
            "GET /history",
            "GET /queue",
            "GET /view",
        ),
        ("GET /history", "GET /queue"),
    ),
    "automatic1111": Target(
        FuzzedAutomatic1111,
        ("POST /sdapi/v1/txt2img",) * 3 + ("GET /sdapi/v1/sd-models", "POST /internal/progress"),
        ("GET /sdapi/v1/sd-models",),
    ),
}
assert set(TARGETS) == set(LISTINGS)
assert {kind for target in TARGETS.values() for kind in target.kinds if kind.startswith("POST")} >= ORDERS
