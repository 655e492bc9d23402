"""One websocket: reads the client's frames, passes them to channels, and writes the channels' frames.

Follows Phoenix 1.8 lib/phoenix/socket.ex and supabase/realtime v2.129.8 lib/realtime_web/endpoint.ex.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass

import psycopg
from aiohttp import WSCloseCode, WSMsgType, web

from devstack.realtime.broadcasts import UserBroadcast
from devstack.realtime.channel import NO_PERMISSION, UNREACHABLE, Channel
from devstack.realtime.database import is_connection_loss
from devstack.realtime.frames import ClientFrame, FrameError, Version, compact, read, read_binary, write
from devstack.realtime.hub import Hub
from devstack.realtime.join_request import TOPIC_PREFIX, JoinError, JoinRequest, read_join
from devstack.realtime.private_topics import MissingPartition, Readable
from devstack.realtime.tokens import Identity, TokenError, still_valid

log = logging.getLogger(__name__)

_CLOSE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class SocketLimits:
    """`queued_*` limit the frames that wait for a slow client; the other limits are the real server's."""

    idle_seconds: float = 60.0
    frame_bytes: int = 5_000_000
    channels: int = 100
    queued_frames: int = 50_000
    queued_characters: int = 64 * 1024 * 1024
    join_error_pause_seconds: float = 0.1


class _Outbox:
    """Frames waiting for the wire."""

    def __init__(self, limits: SocketLimits) -> None:
        self._limits = limits
        self._frames: deque[str | bytes] = deque()
        self._characters = 0
        self._filled = asyncio.Event()

    def put(self, frame: str | bytes) -> bool:
        """Queue a frame; False if the client has fallen too far behind."""
        self._frames.append(frame)
        self._characters += len(frame)
        self._filled.set()
        return len(self._frames) <= self._limits.queued_frames and self._characters <= self._limits.queued_characters

    async def take(self) -> str | bytes:
        while not self._frames:
            self._filled.clear()
            await self._filled.wait()
        frame = self._frames.popleft()
        self._characters -= len(frame)
        return frame


class Socket:
    def __init__(
        self,
        hub: Hub,
        identity: Identity,
        version: Version,
        limits: SocketLimits,
    ) -> None:
        self._hub = hub
        self._identity = identity
        self._version: Version = version
        self._limits = limits
        # aiohttp refuses a frame that reaches its limit, the real server one that exceeds it
        self._ws = web.WebSocketResponse(max_msg_size=limits.frame_bytes + 1, compress=False, timeout=1.0)
        self._outbox = _Outbox(limits)
        self._channels: dict[str, Channel] = {}
        self._transport: asyncio.Transport | None = None
        self._ended = asyncio.Event()
        self._closing_code: int | None = None
        self._cut_off = False

    @property
    def version(self) -> Version:
        return self._version

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Serve the connection until either side closes it."""
        try:
            await self._ws.prepare(request)
            self._transport = request.transport
            await self._converse()
        finally:
            self._ended.set()
        return self._ws

    async def _converse(self) -> None:
        writing = asyncio.create_task(self._write())
        try:
            if self._closing_code is not None:
                await self.close(self._closing_code)
            await self._read()
        finally:
            writing.cancel()
            for channel in self._channels.values():
                channel.end()
            self._channels.clear()
            await asyncio.wait([writing])

    async def close(self, code: int) -> None:
        self._closing_code = code
        if not self._ws.prepared:
            return  # it is closed after the handshake
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._ws.close(code=code)
        except TimeoutError:
            self.abort()

    async def close_and_wait(self, code: int) -> None:
        """Close the socket; return when all its tasks have ended."""
        await self.close(code)
        await self._ended.wait()

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    def send(self, frame: str | bytes) -> None:
        """Queue a frame. A client that reads too slowly is disconnected, so that no other waits for it."""
        if not self._cut_off and not self._outbox.put(frame):
            log.warning("a client reads too slowly and is disconnected")
            self._cut_off = True
            self.abort()

    def forget(self, channel: Channel) -> None:
        if self._channels.get(channel.topic) is channel:
            del self._channels[channel.topic]

    async def _write(self) -> None:
        try:
            while True:
                frame = await self._outbox.take()
                await (self._ws.send_str(frame) if isinstance(frame, str) else self._ws.send_bytes(frame))
        except ConnectionError:
            log.debug("the client is gone")

    async def _read(self) -> None:
        while True:
            try:
                message = await self._ws.receive(timeout=self._limits.idle_seconds)
            except TimeoutError:
                await self.close(WSCloseCode.OK)
                return
            match message.type:
                case WSMsgType.TEXT | WSMsgType.BINARY:
                    await self._take(message.data)
                case _:
                    return

    async def _take(self, data: str | bytes) -> None:
        try:
            frame = read(self._version, data) if isinstance(data, str) else read_binary(self._version, data)
        except FrameError as error:
            log.debug("a frame is ignored: %s", error)
            return
        if frame.topic == "phoenix" and frame.event == "heartbeat":
            self._reply(frame, "ok")
        elif frame.event == "phx_join":
            await self._join(frame)
        elif channel := self._channels.get(frame.topic):
            await channel.handle(frame)
        elif frame.event == "phx_leave":
            self._reply(frame, "ok")
        else:
            self._reply(frame, "error", "unmatched topic")

    def _reply(self, frame: ClientFrame, status: str, reason: str | None = None) -> None:
        """Reply from the socket itself. In version 2, only the reply to a join carries the join's ref."""
        response = {} if reason is None else {"reason": reason}
        join_ref = frame.join_ref if frame.event == "phx_join" and reason != "unmatched topic" else None
        payload = compact({"status": status, "response": response})
        self.send(
            write(
                self._version,
                topic=frame.topic,
                event="phx_reply",
                payload=payload,
                ref=frame.ref,
                join_ref=join_ref,
            )
        )

    # joining

    async def _join(self, frame: ClientFrame) -> None:
        if not frame.topic.startswith(TOPIC_PREFIX):
            self._reply(frame, "error", "unmatched topic")
            return
        try:
            channel = await self._admitted(frame)
        except JoinError as refused:
            await asyncio.sleep(self._limits.join_error_pause_seconds)
            self._reply(frame, "error", str(refused))
            return
        self._replace(channel, frame)

    def _replace(self, channel: Channel, frame: ClientFrame) -> None:
        """Replace the channel of an earlier join of the topic, which is closed after the new one's reply."""
        before = self._channels.get(frame.topic)
        self._channels[frame.topic] = channel
        channel.start(frame.ref)
        if before is not None:
            before.close()
        channel.begin()

    async def _admitted(self, frame: ClientFrame) -> Channel:
        name = frame.topic.removeprefix(TOPIC_PREFIX)
        if not name:
            raise JoinError("TopicNameRequired: You must provide a topic name")
        request = read_join(name, frame.payload)
        if len(self._channels.keys() - {frame.topic}) >= self._limits.channels:
            raise JoinError("ChannelRateLimitReached: Too many channels")
        identity = self._identity_for(request)
        try:
            readable = await self._readable(name, request, identity)
            replayed = await self._replayed(name, request)
        except (psycopg.Error, OSError) as error:
            raise JoinError(f"UnableToConnectToProject: {UNREACHABLE}") from error
        return Channel(self, self._hub, frame.topic, frame.join_ref, request, identity, readable, replayed)

    def _identity_for(self, request: JoinRequest) -> Identity:
        try:
            if request.token is None or request.token == self._identity.token:
                return still_valid(self._identity)
            return self._hub.tokens.check(request.token)
        except TokenError as refused:
            raise JoinError(refused.join_reason) from refused

    async def _readable(self, name: str, request: JoinRequest, identity: Identity) -> Readable:
        if not request.private:
            return Readable(broadcast=True, presence=True)
        try:
            readable = await self._hub.readable(name, identity, presence=request.presence)
        except MissingPartition as error:
            reason = "MissingPartition: Realtime was unable to find the expected messages partition"
            raise JoinError(reason) from error
        if not readable.anything or (request.replay and not readable.broadcast):
            raise JoinError("Unauthorized: " + NO_PERMISSION.format(name=name))
        return readable

    async def _replayed(self, name: str, request: JoinRequest) -> list[UserBroadcast]:
        if request.replay is None:
            return []
        try:
            return await self._hub.replay(name, request.replay.since, request.replay.limit)
        except psycopg.Error as error:
            if is_connection_loss(error):
                raise
            raise JoinError("UnableToReplayMessages: Realtime was unable to replay messages") from error
