"""The messages of a topic, as frames of either version of the protocol.

Follows supabase/realtime v2.129.8 lib/realtime_web/socket/v2_serializer.ex and user_broadcast.ex.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from devstack.realtime.frames import Ref, Version, compact, write

_USER_BROADCAST = 4
_LONGEST_NAME_BYTES = 255


class Broadcast(Protocol):
    @property
    def message_id(self) -> str | None:
        """The id of the row of `realtime.messages`; None for a message of a client."""
        ...

    def frame(self, version: Version, topic: str) -> str | bytes | None:
        """The frame for a client, or None if this version cannot express the message."""
        ...


@dataclass(frozen=True, slots=True)
class PlainBroadcast:
    """A message that a client sent as a text frame: it is passed on unchanged."""

    payload: str
    message_id: str | None = None

    def frame(self, version: Version, topic: str) -> str | bytes | None:
        return write(version, topic=topic, event="broadcast", payload=self.payload)


@dataclass(frozen=True, slots=True)
class UserBroadcast:
    """A message of the database, or one that a client sent as a binary frame. `payload` is JSON unless it is binary."""

    event: str
    payload: bytes
    is_json: bool = True
    message_id: str | None = None

    def frame(self, version: Version, topic: str) -> str | bytes | None:
        meta = None if self.message_id is None else {"id": self.message_id}
        if version == "2.0.0":
            return _binary_frame(topic, self, meta)
        return write(version, topic=topic, event="broadcast", payload=self._as_json(meta)) if self.is_json else None

    def replayed_frame(self, version: Version, topic: str, join_ref: Ref) -> str | bytes | None:
        """As a channel pushes it, not as it is dispatched: in version 2, JSON is a text frame with the join's ref."""
        meta = {"id": self.message_id, "replayed": True}
        if self.is_json:
            payload = self._as_json(meta)
            return write(version, topic=topic, event="broadcast", payload=payload, join_ref=join_ref)
        return _binary_frame(topic, self, meta) if version == "2.0.0" else None

    def _as_json(self, meta: Mapping[str, Any] | None) -> str:
        before = "" if meta is None else f'"meta":{compact(meta)},'
        payload = self.payload.decode()
        return f'{{"event":{compact(self.event)},{before}"payload":{payload},"type":"broadcast"}}'


def _binary_frame(topic: str, message: UserBroadcast, meta: Mapping[str, Any] | None) -> bytes | None:
    names = [topic.encode(), message.event.encode(), b"" if meta is None else compact(meta).encode()]
    if any(len(name) > _LONGEST_NAME_BYTES for name in names):
        return None
    head = bytes([_USER_BROADCAST, *(len(name) for name in names), int(message.is_json)])
    return b"".join([head, *names, message.payload])
