"""A server on loopback with planned faults; the fake servers of local providers are built on it."""

import asyncio
import json
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.Response]]


@dataclass(frozen=True)
class Fault:
    """The fault of one request. `after`: the request is carried out first, and only its answer fails."""

    kind: Literal["answer", "drop", "hang", "truncate", "flood", "drip"]
    after: bool = False
    status: int = 500
    body: str = ""
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


def answers(status: int, body: object = "", *, after: bool = False, **headers: str) -> Fault:
    """A fault that answers with this. `Retry_After="8"` is a header."""
    text = body if isinstance(body, str) else json.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Fault("answer", after, status, text, named)


DROPPED = Fault("drop")
LOST = Fault("drop", after=True)
SILENT = Fault("hang")
FORGOTTEN = Fault("hang", after=True)
TRUNCATED = Fault("truncate", after=True)
FLOOD = Fault("flood", after=True)
DRIP = Fault("drip", after=True)
HTML = answers(200, "<html>It works!</html>", after=True)


class LocalServer:
    """Routes are added before `start`. `log` has all events in order."""

    def __init__(self) -> None:
        self.log: list[tuple[str, str]] = []
        self.requests: list[tuple[str, Mapping[str, str], Any]] = []
        self.url = ""
        self._faults: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._app = web.Application(client_max_size=2**27)
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=0.1)
        self._stops = asyncio.Event()

    def fail(self, route: str, *faults: Fault) -> None:
        """Inject these faults into the next requests to the route, such as `POST /prompt`, one each."""
        self._faults[route].extend(faults)

    def events(self, name: str) -> list[str]:
        """The log's entries of one kind of event, in order."""
        return [what for event, what in self.log if event == name]

    def asked(self, route: str) -> int:
        """The number of requests to the route."""
        return sum(name == route for name, _, _ in self.requests)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        address: tuple[str, int] = self._runner.addresses[0]
        self.url = f"http://127.0.0.1:{address[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stops.set()
        await self._runner.cleanup()

    def note(self, event: str, what: str) -> None:
        """Write an event into the log."""
        self.log.append((event, what))

    async def next_fault(self, name: str, request: web.Request, body: Any) -> Fault | None:
        """The fault of this request to the route of this name: the next planned one, if any."""
        return self._faults[name].popleft() if self._faults[name] else None

    def route(self, method: str, path: str, handler: Handler) -> None:
        name = f"{method} {path}"

        async def handle(request: web.Request) -> web.StreamResponse:
            body = await request.json() if request.can_read_body else None
            self.requests.append((name, request.headers, body))
            fault = await self.next_fault(name, request, body)
            answer = await handler(request) if fault is None or fault.after else web.Response()
            return answer if fault is None else await self._spoil(request, fault, answer)

        self._app.router.add_route(method, path, handle)

    async def _spoil(self, request: web.Request, fault: Fault, answer: web.Response) -> web.StreamResponse:
        match fault.kind:
            case "answer":
                kind = "application/json" if fault.body[:1] in "{[" else "text/html"
                return web.Response(status=fault.status, text=fault.body, content_type=kind, headers=fault.headers)
            case "hang":
                await self._stops.wait()
                return _cut(request)
            case "drop":
                return _cut(request)
            case _:
                return await self._spoil_body(request, fault, answer)

    async def _spoil_body(self, request: web.Request, fault: Fault, answer: web.Response) -> web.StreamResponse:
        body = answer.body if isinstance(answer.body, bytes) else b""
        response = web.StreamResponse(headers={"Content-Type": answer.content_type})
        if fault.kind != "flood":
            response.content_length = len(body)
        await response.prepare(request)
        if fault.kind == "truncate":
            await response.write(body[: len(body) // 2])
            return _cut(request, response)
        if fault.kind == "drip":
            await _drip(response, body, self._stops)
            return response
        while not self._stops.is_set() and request.transport is not None:
            await response.write(b" " * 2**16)
        return response


def _cut(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    """Cut the connection before the answer, or within it."""
    if request.transport is not None:
        request.transport.abort()
    return response or web.Response()


async def _drip(response: web.StreamResponse, body: bytes, stops: asyncio.Event) -> None:
    """Send the right answer in small pieces."""
    for start in range(0, len(body), max(1, len(body) // 8)):
        await response.write(body[start : start + max(1, len(body) // 8)])
        try:
            await asyncio.wait_for(stops.wait(), 0.02)
        except TimeoutError:
            continue


def chain(error: BaseException | None) -> list[BaseException]:
    """An error with all its causes and contexts."""
    errors: list[BaseException] = []
    while error is not None and error not in errors:
        errors.append(error)
        error = error.__cause__ or error.__context__
    return errors


class Sleeps:
    """A `sleep` that takes next to no time and records the requested times."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)
        await asyncio.sleep(0.001)


class Clock:
    """A clock that tests set, or that follows the sleeps."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        await asyncio.sleep(0)
