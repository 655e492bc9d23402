"""Parse the payload of `phx_join`.

Follows supabase/realtime v2.129.8 lib/realtime_web/channels/payloads/*.ex and realtime_channel.ex (`join/3`): parts of
a wrong type are ignored if possible.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from devstack.realtime.filters import Binding, binding_of_topic

TOPIC_PREFIX = "realtime:"


class JoinError(Exception):
    """An invalid join. The message is the `reason` of the error reply."""


@dataclass(frozen=True, slots=True)
class JoinRequest:
    """`token` is None if the channel uses the socket's key."""

    token: str | None
    bindings: tuple[Binding, ...]
    legacy: bool
    private: bool
    presence: bool
    ack_broadcast: bool
    self_broadcast: bool


def read_join(name: str, payload: Mapping[str, Any]) -> JoinRequest:
    legacy = "config" not in payload
    config = _section(payload, "config")
    broadcast = _section(config, "broadcast")
    return JoinRequest(
        token=_token(payload),
        bindings=(binding_of_topic(name),) if legacy else _bindings(config.get("postgres_changes")),
        legacy=legacy,
        private=_flag(config.get("private")),
        presence=_flag(_section(config, "presence").get("enabled")),
        ack_broadcast=_flag(broadcast.get("ack")),
        self_broadcast=_flag(broadcast.get("self")),
    )


def _section(payload: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = payload.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise JoinError(f"UnknownErrorOnChannel: unable to parse {key}, expected a map")
    return cast(Mapping[str, Any], value)


def _token(payload: Mapping[str, Any]) -> str | None:
    first = payload.get("access_token") or payload.get("user_token")
    if isinstance(first, str) and first.startswith("sb_"):
        return None
    for key in ("user_token", "access_token"):
        if isinstance(payload.get(key), str):
            return cast(str, payload[key])
    return None


def _bindings(value: Any) -> tuple[Binding, ...]:
    if not isinstance(value, list):
        return ()
    items = [item for item in cast(list[Any], value) if item is not None]
    if any(not isinstance(item, dict) for item in items):
        raise JoinError("UnknownErrorOnChannel: unable to parse postgres_changes, expected an array of maps")
    return tuple(cast(list[Binding], items))


def _flag(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")
