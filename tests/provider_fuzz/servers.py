"""The fake servers of the money tests, whose answers can be replaced before they are sent."""

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from aiohttp import web

from batchgen.providers.http.own_server import NOT_REACHED
from tests.money.faults import FaultSource
from tests.money.faulty_hosted_servers import FaultyFalServer, FaultyReplicateServer
from tests.money.faulty_local_servers import ORDERS, FaultyAutomatic1111Server, FaultyComfyUIServer, FaultyOpenAIServer
from tests.money.provider_log import ProviderLog
from tests.money.provider_setups import PROVIDER_SETUPS, FakeServer
from tests.provider_fuzz.cases import Case, Changed, ReplacedAnswer
from tests.providers.local_server import Handler

Work = Callable[[], Awaitable[web.StreamResponse]]

SILENT_SECONDS = 6.0
"""Longer than a worker waits for an answer here."""
MOST_ENDLESS_BYTES = 200 * 2**20
NO_PROMPT = ""
"""For requests that name no job: they get the answers that were planned for any prompt."""


@dataclass
class AnswerReplacer:
    """Replaces the answers that were planned for a prompt. `sent` has the sent ones, by prompt."""

    plans: defaultdict[tuple[str, str], deque[ReplacedAnswer]] = field(
        default_factory=lambda: defaultdict[tuple[str, str], deque[ReplacedAnswer]](deque)
    )
    sent: defaultdict[str, list[tuple[str, ReplacedAnswer]]] = field(
        default_factory=lambda: defaultdict[str, list[tuple[str, ReplacedAnswer]]](list)
    )
    possible_ends: defaultdict[str, int] = field(default_factory=lambda: defaultdict[str, int](int))
    """The number of answers that a worker could read as the end of a job without a picture."""

    def plan(self, prompt: str, case: Case, without_job: Sequence[str]) -> None:
        for kind, answer in case.answers:
            self.plans[kind, NO_PROMPT if kind in without_job else prompt].append(answer)

    async def replace(self, kind: str, prompt: str, request: web.Request, work: Work) -> web.StreamResponse:
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
        self.possible_ends[prompt] += _may_mean_the_end(kind, status, body)
        return await _deliver(request, answer, status, body, dict(real.headers))


def _may_mean_the_end(kind: str, status: int, body: bytes) -> bool:
    """Whether the answer is an error, a redirect, an unreachable service, or a non-empty object (or a list with one).

    No other answer is a reason to order again.
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
    request: web.Request, answer: ReplacedAnswer, status: int, body: bytes, own_headers: Mapping[str, str]
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


class NoFaults(FaultSource):
    """A source without faults whose jobs take next to no time."""

    def __init__(self) -> None:
        super().__init__(seed=0)
        self.is_over.set()

    def seconds(self, prompt: str, is_long: bool = False) -> float:
        return 0.01


class _Hosted:
    """Replicate's and fal's servers name each call."""

    replacer: AnswerReplacer

    async def serve(
        self, call: str, request: web.Request, work: Callable[[], web.StreamResponse]
    ) -> web.StreamResponse:
        prompt: str = await cast("Any", self).prompt_of(call, request)
        parent = cast("Any", super())
        return await self.replacer.replace(call, prompt, request, lambda: parent.serve(call, request, work))


class FuzzedReplicate(_Hosted, FaultyReplicateServer):
    pass


class FuzzedFal(_Hosted, FaultyFalServer):
    pass


class _OwnServer:
    """The other servers have a handler for each route."""

    replacer: AnswerReplacer

    def route(self, method: str, path: str, handler: Handler) -> None:
        name = f"{method} {path}"

        async def replaced(request: web.Request) -> web.StreamResponse:
            read = await request.read()  # the body was read before: it can be read again, but not awaited
            body: Any = json.loads(read) if read else {}
            prompt: str = cast("Any", self).prompt_of(name, request, body)
            return await self.replacer.replace(name, prompt, request, lambda: handler(request))

        cast("Any", super()).route(method, path, replaced)


class FuzzedOpenAI(_OwnServer, FaultyOpenAIServer):
    pass


class FuzzedComfyUI(_OwnServer, FaultyComfyUIServer):
    pass


class FuzzedAutomatic1111(_OwnServer, FaultyAutomatic1111Server):
    pass


@dataclass(frozen=True)
class Target:
    """`kinds` of requests whose answers are replaced; those of `without_job` name no job."""

    make: Callable[[FaultSource, ProviderLog], Any]
    kinds: tuple[str, ...]
    without_job: tuple[str, ...] = ()

    def server(self, provider_log: ProviderLog) -> FakeServer:
        made = self.make(NoFaults(), provider_log)
        made.replacer = AnswerReplacer()
        return made


TARGETS: Mapping[str, Target] = {
    "replicate": Target(
        lambda fault_source, provider_log: FuzzedReplicate(fault_source=fault_source, provider_log=provider_log),
        ("order", "order", "look", "look", "list", "cancel", "file"),
        ("list",),
    ),
    "fal": Target(
        lambda fault_source, provider_log: FuzzedFal(fault_source=fault_source, provider_log=provider_log),
        ("order", "order", "look", "look", "result", "result", "cancel", "file"),
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
assert set(TARGETS) == set(PROVIDER_SETUPS)
assert {kind for target in TARGETS.values() for kind in target.kinds if kind.startswith("POST")} >= ORDERS
