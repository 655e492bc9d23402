"""Parse the payload of `phx_join`.

Follows supabase/realtime v2.129.8 lib/realtime_web/channels/payloads/*.ex and realtime_channel.ex (`join/3`): parts of
a wrong type are ignored if possible.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from devstack.realtime.filters import Binding, binding_of_topic

TOPIC_PREFIX = "realtime:"


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_REPLAYED = 25


class JoinError(Exception):
    """An invalid join. The message is the `reason` of the error reply."""


@dataclass(frozen=True, slots=True)
class Replay:
    """Messages to send again: at most `limit`, inserted since then."""

    since: datetime
    limit: int


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
    replay: Replay | None
    replication_ready: bool


def read_join(name: str, payload: Mapping[str, Any]) -> JoinRequest:
    legacy = "config" not in payload
    config = _section(payload, "config")
    broadcast = _section(config, "broadcast")
    private = _flag(config.get("private"))
    return JoinRequest(
        token=_token(payload),
        bindings=(binding_of_topic(name),) if legacy else _bindings(config.get("postgres_changes")),
        legacy=legacy,
        private=private,
        presence=_flag(_section(config, "presence").get("enabled")),
        ack_broadcast=_flag(broadcast.get("ack")),
        self_broadcast=_flag(broadcast.get("self")),
        replay=_replay(broadcast, private),
        replication_ready=_flag(broadcast.get("replication_ready")),
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


def _replay(broadcast: Mapping[str, Any], private: bool) -> Replay | None:
    if "replay" not in broadcast:
        return None
    if not private:
        raise JoinError("UnableToReplayMessages: Replay is not allowed for public channels")
    wanted = broadcast["replay"]
    if not isinstance(wanted, dict):
        return None
    wanted = cast(Mapping[str, Any], wanted)
    since, limit = wanted.get("since"), wanted.get("limit")
    limit = _MOST_REPLAYED if limit is None or limit is False else limit
    if not _is_integer(since) or not _is_integer(limit):
        raise JoinError("UnableToReplayMessages: Replay params are not valid")
    try:
        return Replay(_EPOCH + timedelta(milliseconds=cast(int, since)), max(min(limit, _MOST_REPLAYED), 1))
    except OverflowError as error:
        raise JoinError("UnableToReplayMessages: Replay params are not valid") from error


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _flag(value: Any) -> bool:
    return value is True or (isinstance(value, str) and value.lower() == "true")
