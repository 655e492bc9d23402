"""What a token may do with a private topic, by the policies on `realtime.messages`, if that exists; and its replay.

As supabase/realtime v2.129.8 lib/realtime/tenants/authorization.ex: to read, inserts messages of the topic, tries to
select them as the token's role, and rolls back; to send, tries to insert one. Replay as in lib/realtime/messages.ex.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

import psycopg

from devstack.realtime.broadcasts import UserBroadcast
from devstack.realtime.database import Connection, is_connection_loss
from devstack.realtime.tokens import Identity

log = logging.getLogger(__name__)


class MissingPartition(Exception):
    """`realtime.messages` has no partition for today."""


@dataclass(frozen=True, slots=True)
class Readable:
    broadcast: bool
    presence: bool

    @property
    def anything(self) -> bool:
        return self.broadcast or self.presence


NOTHING = Readable(broadcast=False, presence=False)


async def readable(connection: Connection, topic: str, identity: Identity, *, presence: bool) -> Readable:
    """Presence is asked for only if the channel uses it. Raises `MissingPartition`."""
    try:
        async with connection.transaction(force_rollback=True):
            probes = {name: uuid4() for name in ("broadcast", "presence") if presence or name == "broadcast"}
            for extension, probe in probes.items():
                await connection.execute(_PROBE, (probe, topic, extension))
            await _act_as(connection, topic, identity)
            rows = await (await connection.execute(_SEEN, (list(probes.values()),))).fetchall()
            seen = {row[0] for row in rows}
            return Readable(probes["broadcast"] in seen, probes.get("presence") in seen)
    except psycopg.errors.CheckViolation as error:
        raise MissingPartition from error
    except psycopg.Error as error:
        if is_connection_loss(error):
            raise
        log.info("private topic %s is refused: %s", topic, error)
        return NOTHING


async def may_send(connection: Connection, topic: str, identity: Identity) -> bool:
    try:
        async with connection.transaction(force_rollback=True):
            await _act_as(connection, topic, identity)
            await connection.execute(_PROBE, (uuid4(), topic, "broadcast"))
            return True
    except psycopg.Error as error:
        if is_connection_loss(error):
            raise
        log.info("nothing is sent to the private topic %s: %s", topic, error)
        return False


async def replay(connection: Connection, topic: str, since: datetime, limit: int) -> list[UserBroadcast]:
    """The last messages of the topic since then, oldest first."""
    rows = await (await connection.execute(_REPLAY, (topic, since.replace(tzinfo=None), limit))).fetchall()
    return [
        UserBroadcast(
            str(event), payload.encode() if binary is None else bytes(binary), binary is None, str(message_id)
        )
        for message_id, event, payload, binary in reversed(rows)
    ]


async def _act_as(connection: Connection, topic: str, identity: Identity) -> None:
    subject = str(identity.claims.get("sub") or "")
    await connection.execute(_AS_BEARER, (identity.role, topic, identity.claims_json, subject, identity.role))


_PROBE = "insert into realtime.messages (id, topic, extension, private) values (%s, %s, %s, true)"
_AS_BEARER = """
    select set_config('role', %s, true), set_config('realtime.topic', %s, true),
           set_config('request.jwt.claims', %s, true), set_config('request.jwt.claim.sub', %s, true),
           set_config('request.jwt.claim.role', %s, true)
"""
_SEEN = "select id from realtime.messages where id = any(%s)"
_REPLAY = """
    select id, event, coalesce(payload, '{}')::text, binary_payload from realtime.messages
     where topic = %s and private and extension = 'broadcast' and inserted_at >= %s
           and inserted_at < (now() at time zone 'utc') + interval '1 minute'
     order by inserted_at desc limit %s
"""
