"""A fake provider's server whose calls can be made to fail, one by one."""

import asyncio
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self

from aiohttp import web

Way = Literal["answer", "drop", "hang", "truncate", "endless"]


@dataclass(frozen=True, slots=True)
class Fault:
    """The failure of one call. `after_work`: the request is still carried out, only its answer fails."""

    status: int = 500
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    body: str = ""
    way: Way = "answer"
    after_work: bool = False


LOST = Fault(way="drop", after_work=True)
"""Carry out the request, and cut the connection instead of answering."""
NEVER_ARRIVED = Fault(way="drop")
GARBAGE = Fault(status=200, body="<html>It works!</html>")


class FaultyServer:
    """Routes call `serve`, which applies the next planned fault of the call, if any."""

    def __init__(self) -> None:
        self.url = ""
        self.asked: Counter[str] = Counter()
        self.log: list[Mapping[str, Any]] = []
        self._planned: defaultdict[str, deque[Fault]] = defaultdict(deque)
        self._draw: Callable[[str], Fault | None] | None = None
        self._ending = asyncio.Event()
        self._runner: web.AppRunner | None = None

    def routes(self) -> list[web.RouteDef]:
        return []

    def fail(self, call: str, *faults: Fault) -> None:
        """Make the next calls of this kind fail, one fault each."""
        self._planned[call].extend(faults)

    def fail_by(self, draw: Callable[[str], Fault | None]) -> None:
        """Draw the fault of every call with `draw`."""
        self._draw = draw

    def events(self, kind: str) -> list[Mapping[str, Any]]:
        return [entry for entry in self.log if entry["event"] == kind]

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.add_routes(self.routes())
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        address: tuple[str, int] = self._runner.addresses[0]
        self.url = f"http://127.0.0.1:{address[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._ending.set()
        if self._runner:
            await self._runner.cleanup()

    async def serve(
        self, call: str, request: web.Request, work: Callable[[], web.StreamResponse]
    ) -> web.StreamResponse:
        self.asked[call] += 1
        fault = self._next(call)
        if fault is None:
            return work()
        if fault.after_work:
            work()
        if fault.way == "hang":
            await self._ending.wait()
        if fault.way in ("hang", "drop"):
            return _cut(request)
        if fault.way in ("truncate", "endless"):
            return await self._broken(request, fault)
        return web.Response(status=fault.status, headers=fault.headers, text=fault.body)

    def _next(self, call: str) -> Fault | None:
        if self._planned[call]:
            return self._planned[call].popleft()
        return self._draw(call) if self._draw else None

    async def _broken(self, request: web.Request, fault: Fault) -> web.StreamResponse:
        """An answer that ends too early, or does not end."""
        response = web.StreamResponse(headers={"Content-Type": "application/json"})
        if fault.way == "truncate":
            response.content_length = 10_000
        await response.prepare(request)
        try:
            await response.write(b'{"id": "')
            while fault.way == "endless" and not self._ending.is_set():
                await response.write(b"x" * 65_536)
        except ConnectionError:
            return response
        return _cut(request, response)


def _cut(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
    if request.transport is not None:
        request.transport.abort()
    return response or web.Response()
