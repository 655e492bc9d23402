"""Read committed changes, in commit order, from a logical replication slot that this server owns.

The slot is peeked at, and advanced only after delivery. If the connection or Postgres is lost in between, the same
changes are read again; those already delivered are recognised by their place (commit LSN, index in the transaction)
and skipped. So no change is lost or delivered twice as long as this process lives. The slot is dropped at stop; one
left by a killed process is dropped at the next start.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import psycopg
from psycopg import sql

from devstack.realtime.database import Connection, connect
from devstack.realtime.pgoutput import Action, Begin, Commit, Relation, Row, RowChange, decode

log = logging.getLogger(__name__)

Place: TypeAlias = tuple[int, int]

_MESSAGES_PER_PEEK = 4_000  # Postgres rounds up to whole transactions, which are fetched in chunks
_TAKEOVER_SECONDS = 10.0
_RESTART_POINT_BYTES = 4 * 1024 * 1024
_LOCK_CLASS = 0x52_54_44_53


class SlotTakenError(RuntimeError):
    """Another server reads this database's changes."""


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one row by a committed transaction, with the table at that time."""

    place: Place
    committed_at: datetime
    relation: Relation
    action: Action
    new: Row | None
    old: Row | None


class ChangeSlot:
    def __init__(self, database_url: str, publication: str) -> None:
        self._database_url = database_url
        self._publication = publication
        self._connection: Connection | None = None
        self._name = ""
        self._confirmed_lsn = 0
        self._restart_point_lsn = 0
        self._delivered: Place = (0, 0)

    async def open(self) -> None:
        """Connect; create the slot at the first call and find it again at later ones."""
        await self.disconnect()
        self._connection = await connect(self._database_url, "slot")
        await self._own_database()
        if not self._name:
            await self._create()
        elif not await self._find():
            log.warning("the replication slot %s is gone: changes may have been missed", self._name)
            await self._create()

    async def chunks(self) -> AsyncGenerator[list[Change]]:
        """New changes in commit order. Call `delivered` after each chunk; the slot is advanced at the end."""
        connection = self._connected()
        flushed_lsn, published = await self._log_end(connection)
        if flushed_lsn <= self._confirmed_lsn:
            return
        decoder = _PeekDecoder(self._delivered)
        if published:
            async with connection.transaction():
                await connection.execute(_PEEK, self._peek_arguments())
                while rows := await self._fetch(connection):
                    if chunk := decoder.changes_of(rows):
                        yield chunk
        await self._move_to(decoder.safe_lsn(flushed_lsn))

    def delivered(self, place: Place) -> None:
        self._delivered = max(self._delivered, place)

    async def skip_history(self) -> None:
        """Recreate the slot at the current position, if the plugin cannot read the log."""
        await self._drop_leftover()
        await self._create()

    async def disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def drop(self) -> None:
        """Drop the slot, over a new connection, since the reading one may be in any state."""
        await self.disconnect()
        if not self._name:
            return
        self._connection = await connect(self._database_url, "slot")
        try:
            await self._drop_leftover()
        finally:
            await self.disconnect()

    def _connected(self) -> Connection:
        if self._connection is None:
            raise psycopg.OperationalError("the slot's connection is closed")
        return self._connection

    async def _fetch(self, connection: Connection) -> list[tuple[Any, ...]]:
        return await (await connection.execute(_FETCH, binary=True)).fetchall()

    def _peek_arguments(self) -> tuple[str, int, str]:
        return self._name, _MESSAGES_PER_PEEK, sql.Identifier(self._publication).as_string(None)

    async def _log_end(self, connection: Connection) -> tuple[int, bool]:
        """The log's end, and whether the publication exists; if not, changes up to there are skipped."""
        if connection.info.server_version >= 170_000:
            await connection.execute(_FLUSH)
        row = await (await connection.execute(_LOOK, (self._publication,))).fetchone()
        return (int(row[0]), bool(row[1])) if row else (0, False)

    async def _move_to(self, lsn: int) -> None:
        if lsn <= self._confirmed_lsn:
            return
        connection = self._connected()
        await connection.execute(_ADVANCE, (self._name, _lsn_text(lsn)))
        self._confirmed_lsn = lsn
        if lsn - self._restart_point_lsn > _RESTART_POINT_BYTES and connection.info.server_version >= 160_000:
            # Each peek decodes from the last such record on, and Postgres itself writes one only every 15 s.
            await connection.execute("select pg_log_standby_snapshot()")
            self._restart_point_lsn = lsn

    async def _own_database(self) -> None:
        deadline = asyncio.get_running_loop().time() + _TAKEOVER_SECONDS
        while not await self._try_lock():
            if asyncio.get_running_loop().time() > deadline:
                raise SlotTakenError("another Realtime server serves this database")
            await asyncio.sleep(0.05)

    async def _try_lock(self) -> bool:
        """Take the session lock of the slot's owner. A killed owner's lock ends once its backend has noticed."""
        row = await (await self._connected().execute(_LOCK, (_LOCK_CLASS,))).fetchone()
        return bool(row and row[0])

    async def _create(self) -> None:
        row = await (await self._connected().execute(_NAME)).fetchone()
        assert row is not None  # noqa: S101 - the current database exists
        self._name = str(row[0])
        await self._drop_leftover()
        await self._connected().execute("select pg_create_logical_replication_slot(%s, 'pgoutput')", (self._name,))
        await self._find()

    async def _find(self) -> bool:
        row = await (await self._connected().execute(_POSITION, (self._name,))).fetchone()
        if row is None:
            return False
        self._confirmed_lsn = self._restart_point_lsn = int(row[0])
        return True

    async def _drop_leftover(self) -> None:
        deadline = asyncio.get_running_loop().time() + _TAKEOVER_SECONDS
        while True:
            try:
                await self._connected().execute(_DROP, (self._name,))
                return
            except psycopg.errors.ObjectInUse:
                if asyncio.get_running_loop().time() > deadline:
                    raise
            await self._connected().execute(_END_READER, (self._name,))
            await asyncio.sleep(0.05)


class _PeekDecoder:
    """Converts one peek's messages into changes and tracks how far the slot may be advanced."""

    def __init__(self, delivered: Place) -> None:
        self._delivered = delivered
        self._relations: dict[int, Relation] = {}
        self._transaction: Begin | None = None
        self._index = 0
        self._messages = 0
        self._end_lsn = 0

    def changes_of(self, rows: list[tuple[Any, ...]]) -> list[Change]:
        self._messages += len(rows)
        return [change for (data,) in rows if (change := self._read(data)) is not None]

    def safe_lsn(self, flushed_lsn: int) -> int:
        """How far the slot may be advanced: a full peek may have left transactions before `flushed_lsn`."""
        return self._end_lsn if self._messages >= _MESSAGES_PER_PEEK else max(flushed_lsn, self._end_lsn)

    def _read(self, data: bytes) -> Change | None:
        match decode(data):
            case Begin() as begin:
                self._transaction, self._index = begin, 0
            case Commit(end_lsn=end_lsn):
                self._end_lsn = end_lsn
            case Relation() as relation:
                self._relations[relation.oid] = relation
            case RowChange() as row:
                return self._change(row)
            case None:
                pass
        return None

    def _change(self, row: RowChange) -> Change | None:
        if self._transaction is None:
            raise ValueError("pgoutput sent a change outside a transaction")
        self._index += 1
        place = (self._transaction.commit_lsn, self._index)
        if place <= self._delivered:
            return None
        relation = self._relations[row.relation_oid]
        return Change(place, self._transaction.committed_at, relation, row.action, row.new, row.old)


def _lsn_text(lsn: int) -> str:
    return f"{lsn >> 32:X}/{lsn & 0xFFFFFFFF:X}"


_NAME = "select 'devstack_realtime_' || oid from pg_database where datname = current_database()"
# A commit with synchronous_commit off can be decoded only after the WAL writer's next flush, up to 0.6 s later
_FLUSH = """
    select pg_logical_emit_message(false, 'devstack realtime', '', true)
     where pg_current_wal_insert_lsn() > pg_current_wal_flush_lsn()
"""
_LOOK = """
    select pg_current_wal_flush_lsn() - '0/0'::pg_lsn, exists (select from pg_publication where pubname = %s)
"""
_PEEK = """
    declare changes no scroll cursor for select data from pg_logical_slot_peek_binary_changes(
        %s, null, %s, 'proto_version', '1', 'publication_names', %s)
"""
_FETCH = "fetch 400 from changes"
_ADVANCE = "select pg_replication_slot_advance(%s, %s::pg_lsn)"
_LOCK = "select pg_try_advisory_lock(%s, (select oid::int4 from pg_database where datname = current_database()))"
_POSITION = """
    select confirmed_flush_lsn - '0/0'::pg_lsn from pg_replication_slots
    where slot_name = %s and wal_status <> 'lost'
"""
_DROP = "select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = %s"
_END_READER = """
    select pg_terminate_backend(active_pid) from pg_replication_slots
    where slot_name = %s and active_pid is not null
"""
