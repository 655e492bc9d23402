"""The server: starts and stops all parts, and turns requests from the gateway into sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from aiohttp import WSCloseCode, web

from devstack.realtime.feed import Feed
from devstack.realtime.frames import compact, version_of
from devstack.realtime.hub import Hub
from devstack.realtime.message_feed import MessageFeed
from devstack.realtime.sockets import Socket, SocketLimits
from devstack.realtime.tokens import TokenChecker, TokenError


class RealtimeServer:
    """Serves changes and broadcasts of one database to the websocket requests of a gateway.

    `api_keys` maps new-style keys to roles. The database user must be a superuser, and `wal_level` must be logical.

    Refusals are delayed by `connect_error_pause_seconds` and the limits' `join_error_pause_seconds`. The real server
    waits 2 s and 5 s to slow down clients that retry at once; for development, both are 0.1 s.
    """

    def __init__(
        self,
        *,
        database_url: str,
        jwt_secret: str,
        api_keys: Mapping[str, str],
        publication: str = "supabase_realtime",
        poll_seconds: float = 0.05,
        connect_error_pause_seconds: float = 0.1,
        limits: SocketLimits | None = None,
    ) -> None:
        self._hub = Hub(database_url, publication, TokenChecker(jwt_secret, api_keys))
        self._feed = Feed(database_url, publication, self._hub, poll_seconds)
        self._messages = MessageFeed(database_url, self._hub)
        self._limits = limits or SocketLimits()
        self._connect_error_pause_seconds = connect_error_pause_seconds
        self._sockets: set[Socket] = set()
        self._serving = False

    async def start(self) -> None:
        """Take over the database. Changes and messages committed after this returns are delivered."""
        try:
            await self._feed.start()
            await self._messages.start()
        except BaseException:
            await self._messages.stop()
            await self._feed.stop()
            raise
        self._serving = True

    async def stop(self) -> None:
        """Close every socket with 1012, end the database sessions and drop the slot. Idempotent."""
        self._serving = False
        await asyncio.gather(*(socket.close_and_wait(WSCloseCode.SERVICE_RESTART) for socket in self._sockets))
        await self._messages.stop()
        await self._feed.stop()
        await self._hub.close()

    def drop_sockets(self) -> int:
        """Abort every connection, as a network failure does; return their number."""
        for socket in self._sockets:
            socket.abort()
        return len(self._sockets)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        if not self._serving:
            return _refusal(503, "Realtime is restarting, please standby")
        version = version_of(request.query.get("vsn"))
        if version is None:
            return web.Response(status=403)
        try:
            identity = self._hub.tokens.check_socket_key(request.headers.get("x-api-key", request.query.get("apikey")))
        except TokenError as refused:
            await asyncio.sleep(self._connect_error_pause_seconds)
            return _refusal(*refused.handshake_answer)
        socket = Socket(self._hub, identity, version, self._limits)
        self._sockets.add(socket)
        try:
            return await socket.serve(request)
        finally:
            self._sockets.discard(socket)


def _refusal(status: int, message: str) -> web.Response:
    return web.Response(status=status, text=compact({"error": message}), content_type="application/json")
