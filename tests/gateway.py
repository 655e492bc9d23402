"""A gateway in front of the dev stack that answers some calls itself, as those of hosted projects do."""

from collections import Counter
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import ClientSession, web

HOP_BY_HOP = {"transfer-encoding", "content-encoding", "content-length", "connection", "host"}


@dataclass(frozen=True)
class Reply:
    """An answer of the gateway instead of the project's."""

    status: int
    body: str = ""
    content_type: str = "application/json"


@dataclass
class Gateway:
    """`rule` gets the end of a call's path, as in `claim_generations_as_json`, and its count; None forwards it."""

    behind: str
    rule: Callable[[str, int], Reply | None] = lambda _name, _count: None
    calls: Counter[str] = field(default_factory=Counter[str])
    refused: Counter[str] = field(default_factory=Counter[str])
    url: str = ""

    async def answer(self, request: web.Request) -> web.StreamResponse:
        name = "upload" if "/storage/v1/object" in request.path else request.path.rstrip("/").rsplit("/", 1)[-1]
        self.calls[name] += 1
        if reply := self.rule(name, self.calls[name]):
            self.refused[name] += 1
            return web.Response(status=reply.status, text=reply.body, content_type=reply.content_type)
        headers = {key: value for key, value in request.headers.items() if key.lower() not in HOP_BY_HOP}
        async with (
            ClientSession() as session,
            session.request(
                request.method, self.behind + request.path_qs, headers=headers, data=await request.read()
            ) as answer,
        ):
            kept = {key: value for key, value in answer.headers.items() if key.lower() not in HOP_BY_HOP}
            return web.Response(status=answer.status, headers=kept, body=await answer.read())


@asynccontextmanager
async def gateway_before(url: str) -> AsyncGenerator[Gateway]:
    gateway = Gateway(url)
    app = web.Application(client_max_size=64 * 2**20)
    app.router.add_route("*", "/{rest:.*}", gateway.answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    assert runner.addresses
    gateway.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield gateway
    finally:
        await runner.cleanup()
