"""One joined topic of one socket: its subscription, its token, and the frames that it sends.

Follows supabase/realtime v2.129.8 lib/realtime_web/channels/realtime_channel.ex.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import psycopg

from devstack.realtime.broadcasts import Broadcast, PlainBroadcast, UserBroadcast
from devstack.realtime.filters import BindingError, binding_id
from devstack.realtime.frames import ClientFrame, Ref, Version, compact, write
from devstack.realtime.hub import Hub
from devstack.realtime.join_request import TOPIC_PREFIX, JoinRequest
from devstack.realtime.private_topics import MissingPartition, Readable
from devstack.realtime.tokens import Identity, TokenError, still_valid

log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.5
_STREAMING_SECONDS = 60.0
UNREACHABLE = "Realtime was unable to connect to the project database"
NO_PERMISSION = "You do not have permissions to read from this Channel topic: {name}"


class ChannelSocket(Protocol):
    """The part of a socket that a channel uses."""

    @property
    def version(self) -> Version: ...

    def send(self, frame: str | bytes) -> None: ...

    def forget(self, channel: Channel) -> None: ...


class Channel:
    """`readable` is what the policies let a private channel read; `replayed` are messages to send after the join."""

    def __init__(
        self,
        socket: ChannelSocket,
        hub: Hub,
        topic: str,
        join_ref: Ref,
        request: JoinRequest,
        identity: Identity,
        readable: Readable,
        replayed: Sequence[UserBroadcast] = (),
    ) -> None:
        self.topic = topic
        self.name = topic.removeprefix(TOPIC_PREFIX)
        self._socket = socket
        self._hub = hub
        self._join_ref = join_ref
        self._request = request
        self._identity = identity
        self._readable = readable
        self._replayed = tuple(replayed)
        self._replayed_ids = frozenset(message.message_id for message in replayed if message.message_id is not None)
        self._may_send: bool | None = None
        self._open = True
        self._subscribing: asyncio.Task[None] | None = None
        self._expiring: asyncio.Task[None] | None = None
        self._announcing: asyncio.Task[None] | None = None

    def start(self, ref: Ref) -> None:
        """Reply to the join and enter the topic."""
        bindings = [{"id": binding_id(binding), **binding} for binding in self._request.bindings]
        self.reply(ref, "ok", {"postgres_changes": bindings})
        self._hub.enter(self.topic, self._request.private, self)
        self._watch_expiry()

    def begin(self) -> None:
        """Start the subscription, after the reply and after the `phx_close` of a channel that this one replaces."""
        for message in self._replayed:
            frame = message.replayed_frame(self._socket.version, self.topic, self._join_ref)
            if frame is not None:
                self._socket.send(frame)
        if self._request.presence and self._readable.presence:
            self.push("presence_state", "{}")
        if self._request.replication_ready:
            self._announcing = asyncio.create_task(self._announce_stream())
        self.subscribe_again()

    async def handle(self, frame: ClientFrame) -> None:
        match frame.event:
            case "phx_leave":
                self.reply(frame.ref, "ok", {})
                self.close()
            case "access_token":
                self._take_token(frame.payload.get("access_token"))
            case "broadcast":
                await self._broadcast(frame)
            case "presence":
                self.reply(frame.ref, "ok", {})
            case _:
                log.debug("unknown event %s", frame.event)

    def subscribe_again(self) -> None:
        if not self._open or not (self._request.bindings or self._request.private):
            return
        if self._subscribing is not None:
            self._subscribing.cancel()
        self._subscribing = asyncio.create_task(self._subscribe())

    def end(self) -> None:
        """Remove the channel without informing the client."""
        self._open = False
        self._hub.leave(self.topic, self._request.private, self)
        current = asyncio.current_task()
        for task in (self._subscribing, self._expiring, self._announcing):
            if task is not None and task is not current:
                task.cancel()

    def close(self) -> None:
        if self._open:
            self.end()
            self._socket.forget(self)
            self._send("phx_close", "{}", self._join_ref)

    # what it sends

    def reply(self, ref: Ref, status: str, response: Mapping[str, Any]) -> None:
        self._send("phx_reply", compact({"status": status, "response": response}), ref)

    def push(self, event: str, payload: str) -> None:
        self._send(event, payload, None)

    def push_change(self, change_type: str, ids: tuple[int, ...], data: str) -> None:
        """Send the event, without the join's ref even in version 2.

        As supabase/realtime v2.129.8 lib/extensions/postgres_cdc_rls/message_dispatcher.ex.
        """
        if not self._open:
            return
        event, payload = "postgres_changes", f'{{"ids":{compact(ids)},"data":{data}}}'
        if self._request.legacy:
            event, payload = change_type, data
        self._socket.send(write(self._socket.version, topic=self.topic, event=event, payload=payload))

    def _system(self, extension: str, status: str, message: str) -> None:
        payload = {"message": message, "status": status, "extension": extension, "channel": self.name}
        self.push("system", compact(payload))

    def _send(self, event: str, payload: str, ref: Ref) -> None:
        self._socket.send(
            write(
                self._socket.version,
                topic=self.topic,
                event=event,
                payload=payload,
                ref=ref,
                join_ref=self._join_ref,
            )
        )

    def receive(self, broadcast: Broadcast) -> None:
        """Send a broadcast of the topic, unless it is already replayed or the policies hide it."""
        if not self._open or not self._readable.broadcast or broadcast.message_id in self._replayed_ids:
            return
        frame = broadcast.frame(self._socket.version, self.topic)
        if frame is not None:
            self._socket.send(frame)

    async def _broadcast(self, frame: ClientFrame) -> None:
        """Broadcast a client's message. What may not be sent to a private topic is dropped without an answer."""
        if self._request.private and not await self._check_may_send():
            return
        leaving_out = None if self._request.self_broadcast else self
        message = frame.message
        broadcast = (
            PlainBroadcast(compact(frame.payload))
            if message is None
            else UserBroadcast(message.event, message.payload, message.is_json)
        )
        self._hub.broadcast(self.topic, self._request.private, broadcast, leaving_out)
        if self._request.ack_broadcast:
            self.reply(frame.ref, "ok", {})

    async def _check_may_send(self) -> bool:
        if self._may_send is None:
            try:
                self._may_send = await self._hub.may_send(self.name, self._identity)
            except (psycopg.Error, OSError) as error:
                log.debug("channel %s cannot send: %s", self.name, error)
        return bool(self._may_send)

    async def _announce_stream(self) -> None:
        """Tell the client once that messages of the database are delivered."""
        try:
            async with asyncio.timeout(_STREAMING_SECONDS):
                await self._hub.is_streaming.wait()
        except TimeoutError:
            self._shut_down("Replication connection was not established in time")
        else:
            self._system("system", "ok", "Replication connection established")

    # its subscription

    async def _subscribe(self) -> None:
        while True:
            try:
                if not await self._check_readable():
                    return
                found = await self._hub.subscriptions_for(self, self._request.bindings, self._identity)
            except BindingError as fault:
                self._hub.registry.remove(self)
                self._system("postgres_changes", "error", str(fault))
                return
            except (psycopg.Error, OSError) as error:
                log.debug("channel %s cannot subscribe yet: %s", self.name, error)
                await asyncio.sleep(_RETRY_SECONDS)
                continue
            self._hub.registry.put(self, found)
            if found:
                self._system("postgres_changes", "ok", "Subscribed to PostgreSQL")
            return

    async def _check_readable(self) -> bool:
        """Ask the policies again, after a change of the token or the publication. Closes the channel if they refuse."""
        if not self._request.private:
            return True
        before = self._readable
        try:
            now = await self._hub.readable(self.name, self._identity, presence=self._request.presence)
        except MissingPartition:
            self._shut_down(UNREACHABLE)
            return False
        self._readable, self._may_send = now, None
        if not now.anything:
            self._shut_down(NO_PERMISSION.format(name=self.name))
        elif before.broadcast > now.broadcast or before.presence > now.presence:
            self._shut_down(f"You no longer have permission to read from this Channel topic: {self.name}")
        return self._open

    # its token

    def _take_token(self, token: Any) -> None:
        if not isinstance(token, str) or token.startswith("sb_") or token == self._identity.token:
            return
        try:
            identity = self._hub.tokens.check(token)
        except TokenError as refused:
            self._shut_down(refused.refresh_message)
            return
        self._identity = identity
        self._watch_expiry()
        self.subscribe_again()

    def _watch_expiry(self) -> None:
        if self._expiring is not None:
            self._expiring.cancel()
        self._expiring = asyncio.create_task(self._expire(self._identity))

    async def _expire(self, identity: Identity) -> None:
        """Close the channel when its token expires. Checks the clock regularly, since the machine may have slept."""
        while True:
            await asyncio.sleep(min(300.0, max(0.005, identity.expires_at - time.time())))
            try:
                still_valid(identity)
            except TokenError as refused:
                self._shut_down(refused.refresh_message)
                return

    def _shut_down(self, message: str) -> None:
        if self._open:
            self._system("system", "error", message)
            self.close()
