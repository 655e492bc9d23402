"""Read rows inserted into `realtime.messages` from a logical replication stream, as soon as they are committed.

As supabase/realtime v2.129.8 lib/realtime/tenants/replication_connection.ex: a publication of this table and a
temporary slot, which ends with the connection. Messages committed while there is no stream are not delivered; clients
get them by replay.
"""

from __future__ import annotations

import asyncio
import secrets
import struct
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from dataclasses import dataclass

import psycopg
from psycopg import pq

from devstack.realtime.broadcasts import UserBroadcast
from devstack.realtime.database import Connection, SharedConnection
from devstack.realtime.pgoutput import Commit, Relation, RowChange, Unchanged, decode

PUBLICATION = "supabase_realtime_messages_publication"

_HEAD_BYTES = 25  # of XLogData: kind, start of the data, end of the log, time


@dataclass(frozen=True, slots=True)
class Message:
    topic: str
    private: bool
    broadcast: UserBroadcast


class MessageStream:
    """One replication connection. Open a new one after an error."""

    def __init__(self, database_url: str) -> None:
        self._database_url = database_url
        self._queries = SharedConnection(database_url, "publication of messages")
        self._connection: Connection | None = None
        self._relations: dict[int, Relation] = {}
        self._read_lsn = 0

    async def open(self) -> bool:
        """Start to stream; False if the database has no table `realtime.messages`. Messages committed after this
        returns are read.
        """
        name = await self.publish()
        if name is None:
            return False
        self._connection = await psycopg.AsyncConnection.connect(
            self._database_url,
            autocommit=True,
            replication="database",
            application_name="devstack realtime messages",
            connect_timeout=5,
        )
        create = f"CREATE_REPLICATION_SLOT {name} TEMPORARY LOGICAL pgoutput NOEXPORT_SNAPSHOT"
        await self._connection.execute(create.encode())
        await self._start(
            f"START_REPLICATION SLOT {name} LOGICAL 0/0 (proto_version '1', publication_names '{PUBLICATION}')"
        )
        return True

    async def publish(self) -> str | None:
        """Publish `realtime.messages` unless it is; return a new name for a slot, or None if there is no such table."""
        async with self._queries.use() as connection:
            row = await (await connection.execute(_LOOK, {"publication": PUBLICATION})).fetchone()
            assert row is not None  # noqa: S101 - the query has no condition
            has_table, has_publication, is_published, database = row
            if has_table and not is_published:
                verb = "alter" if has_publication else "create"
                add = "add" if has_publication else "for"
                await connection.execute(f"{verb} publication {PUBLICATION} {add} table realtime.messages".encode())
            return f"devstack_messages_{database}_{secrets.token_hex(4)}" if has_table else None

    async def messages(self) -> AsyncGenerator[Message]:
        """The messages as they are committed. Never ends, but raises `psycopg.Error` when the connection is lost."""
        async with aclosing(self._copied()) as pieces:
            async for piece in pieces:
                if piece[:1] == b"k":  # a keepalive
                    end, _, wants_answer = struct.unpack("!QQB", piece[1:18])
                    self._read_lsn = max(self._read_lsn, end)
                    if wants_answer:
                        self._confirm()
                elif piece[:1] == b"w" and (message := self._read(piece[_HEAD_BYTES:])) is not None:
                    yield message

    async def close(self) -> None:
        """End the stream, and wait until its slot is gone with the server's end of the connection."""
        connection, self._connection = self._connection, None
        self._relations.clear()
        if connection is not None:
            backend_pid = connection.pgconn.backend_pid
            await connection.close()
            with suppress(psycopg.Error, OSError):  # the database may be gone
                async with self._queries.use() as queries:
                    await queries.execute("select pg_terminate_backend(%s, 2000)", (backend_pid,))
        await self._queries.close()

    async def _start(self, command: str) -> None:
        """psycopg itself knows no streams in both directions, but libpq does."""
        libpq = self._open_connection().pgconn
        libpq.send_query(command.encode())
        while libpq.flush():
            await self._ready("write")
        while libpq.is_busy():
            await self._ready("read")
            libpq.consume_input()
        result = libpq.get_result()
        if result is None or result.status != pq.ExecStatus.COPY_BOTH:
            reason = libpq.error_message if result is None else result.error_message
            raise psycopg.OperationalError(f"the stream of messages did not start: {reason.decode()}")

    async def _copied(self) -> AsyncGenerator[bytes]:
        libpq = self._open_connection().pgconn
        while True:
            size, data = libpq.get_copy_data(1)
            if size > 0:
                yield bytes(data)
            elif size < 0:
                raise psycopg.OperationalError("the stream of messages ended")
            else:
                await self._ready("read")
                libpq.consume_input()

    async def _ready(self, direction: str) -> None:
        loop = asyncio.get_running_loop()
        socket, ready = self._open_connection().pgconn.socket, asyncio.Event()
        add, remove = (
            (loop.add_reader, loop.remove_reader) if direction == "read" else (loop.add_writer, loop.remove_writer)
        )
        add(socket, ready.set)
        try:
            await ready.wait()
        finally:
            remove(socket)

    def _read(self, data: bytes) -> Message | None:
        match decode(data):
            case Relation() as relation:
                self._relations[relation.oid] = relation
            case RowChange(action="INSERT") as row:
                return _message(self._relations[row.relation_oid], row)
            case Commit(end_lsn=end_lsn):
                self._read_lsn = max(self._read_lsn, end_lsn)
                self._confirm()
            case _:
                pass
        return None

    def _confirm(self) -> None:
        """Report exactly how far the log was read: at shutdown, Postgres waits until that is its end."""
        libpq = self._open_connection().pgconn
        lsn = self._read_lsn
        libpq.put_copy_data(struct.pack("!cQQQQB", b"r", lsn, lsn, lsn, 0, 0))
        libpq.flush()

    def _open_connection(self) -> Connection:
        if self._connection is None:
            raise psycopg.OperationalError("the stream of messages is closed")
        return self._connection


def _message(relation: Relation, row: RowChange) -> Message | None:
    """The inserted row, or None if it lacks what a message needs: the probes of joins and rows of others' making."""
    names = [column.name for column in relation.columns]
    cells = {
        name: value
        for name, value in zip(names, row.new or (), strict=False)
        if value is not None and not isinstance(value, Unchanged)
    }
    if not {"topic", "event", "private", "id"} <= cells.keys():
        return None
    binary, payload = cells.get("binary_payload"), cells.get("payload")
    if binary is None and payload is None:
        return None
    content = bytes.fromhex(binary.removeprefix("\\x")) if binary is not None else str(payload).encode()
    broadcast = UserBroadcast(cells["event"], content, binary is None, cells["id"])
    return Message(cells["topic"], cells["private"] == "t", broadcast)


_LOOK = """
    select t.oid is not null, p.oid is not null,
           exists (select from pg_publication_rel r where r.prpubid = p.oid and r.prrelid = t.oid),
           d.oid::int8
      from pg_database d
      left join pg_class t on t.relnamespace::regnamespace::text = 'realtime' and t.relname = 'messages'
            and t.relkind in ('p', 'r')
      left join pg_publication p on p.pubname = %(publication)s
     where d.datname = current_database()
"""
