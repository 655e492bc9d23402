"""The two serialisers of the protocol: version 1 is an object, version 2 an array with the join's ref.

Rules from supabase/realtime v2.129.8 lib/realtime_web/socket/v2_serializer.ex and Phoenix 1.8
lib/phoenix/socket/serializers/v1_json_serializer.ex. Clients of version 2 send broadcasts as binary frames, too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, cast

Version: TypeAlias = Literal["1.0.0", "2.0.0"]
Ref: TypeAlias = str | int | None


_USER_BROADCAST_PUSH = 3


@dataclass(frozen=True, slots=True)
class UserMessage:
    """A broadcast from a binary frame."""

    event: str
    payload: bytes
    is_json: bool


@dataclass(frozen=True, slots=True)
class ClientFrame:
    join_ref: Ref
    ref: Ref
    topic: str
    event: str
    payload: Mapping[str, Any]
    message: UserMessage | None = None


class FrameError(Exception):
    """An invalid frame: the server ignores it and keeps the connection."""


def version_of(vsn: str | None) -> Version | None:
    """The serialiser for the parameter `vsn`: 1.0.0 if it is absent, None for an unknown version."""
    if vsn is None or vsn.startswith("1.0."):
        return "1.0.0"
    return "2.0.0" if vsn.startswith("2.0.") else None


def read(version: Version, text: str) -> ClientFrame:
    try:
        data = json.loads(text, parse_constant=_no_constant)
        if "\\ud" in text.lower():
            compact(data).encode()  # a lone surrogate could not be sent back
    except (ValueError, RecursionError) as error:
        raise FrameError("not JSON") from error
    return _read_v1(data) if version == "1.0.0" else _read_v2(data)


def read_binary(version: Version, data: bytes) -> ClientFrame:
    """A broadcast: sizes of join_ref, ref, topic, event and metadata, the encoding, these texts, and the payload."""
    if version == "1.0.0" or len(data) < 7 or data[0] != _USER_BROADCAST_PUSH:
        raise FrameError("not a broadcast of version 2")
    texts, at = list[bytes](), 7
    for size in data[1:6]:
        texts.append(data[at : at + size])
        at += size
    if at > len(data):
        raise FrameError("shorter than its sizes")
    message_payload, is_json = data[at:], data[6] != 0
    try:
        join_ref, ref, topic, event, _ = (text.decode() for text in texts)
        if is_json:
            json.loads(message_payload, parse_constant=_no_constant)  # it is pasted into frames of version 1
    except (ValueError, RecursionError) as error:
        raise FrameError("not UTF-8 or not JSON") from error
    message = UserMessage(event, message_payload, is_json)
    return ClientFrame(join_ref, ref, topic, "broadcast", {}, message)


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _read_v1(data: Any) -> ClientFrame:
    if not isinstance(data, dict):
        raise FrameError("not an object")
    fields = cast(dict[str, Any], data)
    if not {"topic", "event", "payload", "ref"} <= fields.keys():
        raise FrameError("topic, event, payload and ref are required")
    return _frame(fields.get("join_ref"), fields["ref"], fields["topic"], fields["event"], fields["payload"])


def _read_v2(data: Any) -> ClientFrame:
    if not isinstance(data, list):
        raise FrameError("not an array")
    items = cast(list[Any], data)
    if len(items) != 5:
        raise FrameError("not five items")
    return _frame(*items)


def _frame(join_ref: Any, ref: Any, topic: Any, event: Any, payload: Any) -> ClientFrame:
    if not isinstance(topic, str) or not isinstance(event, str):
        raise FrameError("topic and event must be strings")
    fields: Mapping[str, Any] = cast(Mapping[str, Any], payload) if isinstance(payload, dict) else {}
    return ClientFrame(_ref(join_ref), _ref(ref), topic, event, fields)


def _ref(value: Any) -> Ref:
    if value is None or isinstance(value, str | int):
        return value
    raise FrameError("a ref must be a string")


def compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


def write(version: Version, *, topic: str, event: str, payload: str, ref: Ref = None, join_ref: Ref = None) -> str:
    """A frame for the client; `payload` is JSON text and inserted unchanged."""
    if version == "1.0.0":
        return f'{{"ref":{compact(ref)},"payload":{payload},"event":{compact(event)},"topic":{compact(topic)}}}'
    return f"[{compact(join_ref)},{compact(ref)},{compact(topic)},{compact(event)},{payload}]"
