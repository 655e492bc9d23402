"""The stack's one port: forwards REST, Auth and Storage to Supabase Lite, functions to Deno, websockets to Realtime."""

import contextlib
import hmac
import socket
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import aiohttp
from aiohttp import hdrs, web
from multidict import CIMultiDict
from yarl import URL

from devstack.errors import PortInUse

HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-connection"}
)
PIECE = 256 * 1024
CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, POST, PATCH, PUT, DELETE, OPTIONS, HEAD",
}


class WebsocketServer(Protocol):
    async def handle(self, request: web.Request) -> web.StreamResponse: ...


@dataclass(frozen=True)
class Upstream:
    """`base_url` returns the current address, or None while the server does not run."""

    name: str
    base_url: Callable[[], str | None]


@dataclass(frozen=True)
class AdminUsers:
    """Auth's list of users, for requests with the secret key; `page` returns the JSON for a request's query."""

    secret_key: str
    page: Callable[[Mapping[str, str]], Awaitable[Mapping[str, Any]]]


class Gateway:
    """`functions` is None if there is no Deno for this platform."""

    def __init__(
        self,
        listener: socket.socket,
        lite: Upstream,
        functions: Upstream | None,
        realtime: WebsocketServer | None,
        users: AdminUsers | None = None,
    ) -> None:
        self._listener = listener
        self._lite = lite
        self._functions = functions
        self._realtime = realtime
        self._users = users
        self._session: aiohttp.ClientSession | None = None
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        self._session = aiohttp.ClientSession(
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        self._runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=1.0, handler_cancellation=True)
        await self._runner.setup()
        await web.SockSite(self._runner, self._listener).start()

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()
        if self._session:
            await self._session.close()
        self._listener.close()

    def _app(self) -> web.Application:
        app = web.Application(client_max_size=0)
        app.router.add_get("/health", self._health)
        app.router.add_get("/realtime/v1/websocket", self._websocket)
        app.router.add_get("/auth/v1/admin/users", self._list_users)
        for prefix in ("rest", "auth", "storage"):
            app.router.add_route("*", f"/{prefix}/v1{{tail:(/.*)?}}", self._to_lite)
        app.router.add_route("*", "/functions/v1/{tail:.+}", self._to_functions)
        app.router.add_route("*", "/{tail:.*}", self._not_found)
        return app

    async def _health(self, _request: web.Request) -> web.Response:
        ready = self._lite.base_url() is not None
        return _json(200 if ready else 503, {"status": "ok" if ready else "starting"})

    async def _not_found(self, request: web.Request) -> web.Response:
        if _is_preflight(request):
            return _allow(request)
        return _json(404, {"message": f"The dev stack has nothing at {request.path}"})

    async def _websocket(self, request: web.Request) -> web.StreamResponse:
        if self._realtime is None:
            return await self._not_found(request)
        return await self._realtime.handle(request)

    async def _list_users(self, request: web.Request) -> web.StreamResponse:
        """Answer requests with the secret key; Lite refuses all others."""
        bearer = request.headers.get(hdrs.AUTHORIZATION, "").removeprefix("Bearer ")
        given = (request.headers.get("apikey", ""), bearer)
        users = self._users
        if users is None or not any(hmac.compare_digest(key.encode(), users.secret_key.encode()) for key in given):
            return await self._to_lite(request)
        return _json(200, await users.page(request.query))

    async def _to_lite(self, request: web.Request) -> web.StreamResponse:
        return _allow(request) if _is_preflight(request) else await self._pass_on(request, self._lite)

    async def _to_functions(self, request: web.Request) -> web.StreamResponse:
        """Forward all requests, also preflights, which functions answer themselves as on hosted projects."""
        if self._functions is None:
            return _json(503, {"message": "The dev stack has no Deno for this platform, so no Edge Functions"})
        return await self._pass_on(request, self._functions)

    async def _pass_on(self, request: web.Request, upstream: Upstream) -> web.StreamResponse:
        base_url = upstream.base_url()
        if base_url is None or self._session is None:
            return _unavailable(upstream)
        try:
            answer = await self._session.request(
                request.method,
                # unchanged: encoded slashes in an object's name must stay encoded
                URL(base_url + request.raw_path, encoded=True),
                headers=_headers_for(request),
                data=request.content.iter_chunked(PIECE) if request.body_exists else None,
                allow_redirects=False,
            )
        except aiohttp.ClientConnectionError:
            return _unavailable(upstream)
        async with answer:
            return await _stream_back(request, answer)


def listen(port: int) -> socket.socket:
    """Open the port before anything is started. Raises `PortInUse`."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(256)
    except OSError as error:
        listener.close()
        raise PortInUse(
            f"Port {port} on 127.0.0.1 is in use ({error.strerror}), perhaps by another stack. Stop what runs there, "
            "or choose another port with --port; --port 0 takes any free one."
        ) from error
    listener.setblocking(False)
    return listener


def _is_preflight(request: web.Request) -> bool:
    return request.method == hdrs.METH_OPTIONS and hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers


def _allow(request: web.Request) -> web.Response:
    """Answer a preflight request for Lite, whose Auth allows no headers, so that browsers would send none."""
    wanted = request.headers.get(hdrs.ACCESS_CONTROL_REQUEST_HEADERS, "*")
    return web.Response(
        status=204, headers={**CORS, "Access-Control-Allow-Headers": wanted, "Access-Control-Max-Age": "86400"}
    )


async def _stream_back(request: web.Request, answer: aiohttp.ClientResponse) -> web.StreamResponse:
    response = web.StreamResponse(status=answer.status, reason=answer.reason)
    for name, value in answer.headers.items():
        if name.lower() not in HOP_BY_HOP:
            response.headers.add(name, value)
    with contextlib.suppress(ConnectionResetError):  # the client has disconnected
        await response.prepare(request)
        if request.method != hdrs.METH_HEAD:
            async for piece in answer.content.iter_chunked(PIECE):
                await response.write(piece)
        await response.write_eof()
    return response


def _headers_for(request: web.Request) -> CIMultiDict[str]:
    headers = request.headers.copy()
    for name in HOP_BY_HOP:
        headers.popall(name, None)
    headers["X-Forwarded-Host"] = request.host
    return headers


def _unavailable(upstream: Upstream) -> web.Response:
    return _json(503, {"message": f"{upstream.name} is not available at present; try again"}, {"Retry-After": "1"})


def _json(status: int, body: Mapping[str, object], headers: Mapping[str, str] | None = None) -> web.Response:
    return web.json_response(body, status=status, headers={**CORS, **(headers or {})})
