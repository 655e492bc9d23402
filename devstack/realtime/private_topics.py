"""Check whether a token may read a private topic, by the policies on `realtime.messages`, if that exists.

As supabase/realtime v2.129.8 lib/realtime/tenants/authorization.ex: inserts a message of the topic, tries to select it
as the token's role, and rolls back.
"""

from __future__ import annotations

import logging
from uuid import uuid4

import psycopg

from devstack.realtime.database import Connection, is_connection_loss
from devstack.realtime.tokens import Identity

log = logging.getLogger(__name__)


async def may_read(connection: Connection, topic: str, identity: Identity) -> bool:
    try:
        async with connection.transaction(force_rollback=True):
            probes = {"broadcast": uuid4(), "presence": uuid4()}
            for extension, probe in probes.items():
                await connection.execute(_PROBE, (probe, topic, extension))
            await connection.execute(_AS_BEARER, (identity.role, topic, identity.claims_json))
            row = await (await connection.execute(_SEEN, (list(probes.values()),))).fetchone()
            return bool(row and row[0])
    except psycopg.Error as error:
        if is_connection_loss(error):
            raise
        log.info("private topic %s is refused: %s", topic, error)
        return False


_PROBE = "insert into realtime.messages (id, topic, extension, private) values (%s, %s, %s, true)"
_AS_BEARER = """
    select set_config('role', %s, true), set_config('realtime.topic', %s, true),
           set_config('request.jwt.claims', %s, true)
"""
_SEEN = "select exists (select from realtime.messages where id = any(%s))"
