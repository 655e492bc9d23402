"""Decode the messages of Postgres' logical decoding plugin `pgoutput`, protocol version 1. Does no I/O."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Literal, TypeAlias

_POSTGRES_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class Unchanged(Enum):
    """Stands for a TOASTed value that an UPDATE did not change: its text is not in the log."""

    TOAST = "toast"


Value: TypeAlias = str | Literal[Unchanged.TOAST] | None
Row: TypeAlias = tuple[Value, ...]
Action: TypeAlias = Literal["INSERT", "UPDATE", "DELETE"]


@dataclass(frozen=True, slots=True)
class RelationColumn:
    name: str
    type_oid: int
    in_identity: bool


@dataclass(frozen=True, slots=True)
class Relation:
    """A table at the time of the change."""

    oid: int
    schema: str
    name: str
    replica_identity: str
    columns: tuple[RelationColumn, ...]


@dataclass(frozen=True, slots=True)
class Begin:
    commit_lsn: int
    committed_at: datetime


@dataclass(frozen=True, slots=True)
class Commit:
    commit_lsn: int
    end_lsn: int


@dataclass(frozen=True, slots=True)
class RowChange:
    """`old` is the whole old row, or its identity with None in other columns, or None if neither was logged."""

    action: Action
    relation_oid: int
    new: Row | None
    old: Row | None


Message: TypeAlias = Begin | Commit | Relation | RowChange


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def take(self, size: int) -> bytes:
        piece = self._data[self._at : self._at + size]
        if len(piece) != size:
            raise ValueError("a pgoutput message ended too early")
        self._at += size
        return piece

    def byte(self) -> str:
        return chr(self.take(1)[0])

    def uint8(self) -> int:
        return self.take(1)[0]

    def int16(self) -> int:
        return int(struct.unpack("!h", self.take(2))[0])

    def uint32(self) -> int:
        return int(struct.unpack("!I", self.take(4))[0])

    def int32(self) -> int:
        return int(struct.unpack("!i", self.take(4))[0])

    def uint64(self) -> int:
        return int(struct.unpack("!Q", self.take(8))[0])

    def int64(self) -> int:
        return int(struct.unpack("!q", self.take(8))[0])

    def text(self) -> str:
        end = self._data.index(0, self._at)
        piece = self._data[self._at : end]
        self._at = end + 1
        return piece.decode()


def decode(data: bytes) -> Message | None:
    """Decode one message. Returns None for kinds that are not used (truncate, type, origin, logical message)."""
    reader = _Reader(data)
    match reader.byte():
        case "B":
            return _begin(reader)
        case "C":
            return _commit(reader)
        case "R":
            return _relation(reader)
        case "I":
            return _insert(reader)
        case "U":
            return _update(reader)
        case "D":
            return _delete(reader)
        case _:
            return None


def _begin(reader: _Reader) -> Begin:
    commit_lsn = reader.uint64()
    return Begin(commit_lsn, _POSTGRES_EPOCH + timedelta(microseconds=reader.int64()))


def _commit(reader: _Reader) -> Commit:
    reader.uint8()
    return Commit(reader.uint64(), reader.uint64())


def _relation(reader: _Reader) -> Relation:
    oid = reader.uint32()
    schema = reader.text() or "pg_catalog"
    name = reader.text()
    replica_identity = reader.byte()
    columns = tuple(_column(reader) for _ in range(reader.int16()))
    return Relation(oid, schema, name, replica_identity, columns)


def _column(reader: _Reader) -> RelationColumn:
    in_identity = bool(reader.uint8() & 1)
    name = reader.text()
    type_oid = reader.uint32()
    reader.int32()  # the type modifier
    return RelationColumn(name, type_oid, in_identity)


def _insert(reader: _Reader) -> RowChange:
    oid = reader.uint32()
    reader.byte()
    return RowChange("INSERT", oid, _row(reader), None)


def _update(reader: _Reader) -> RowChange:
    oid = reader.uint32()
    old = None
    if reader.byte() in "KO":
        old = _row(reader)
        reader.byte()
    return RowChange("UPDATE", oid, _row(reader), old)


def _delete(reader: _Reader) -> RowChange:
    oid = reader.uint32()
    reader.byte()
    return RowChange("DELETE", oid, None, _row(reader))


def _row(reader: _Reader) -> Row:
    return tuple(_value(reader) for _ in range(reader.int16()))


def _value(reader: _Reader) -> Value:
    match reader.byte():
        case "n":
            return None
        case "u":
            return Unchanged.TOAST
        case "t":
            return reader.take(reader.uint32()).decode()
        case kind:
            raise ValueError(f"pgoutput sent a value of unknown kind {kind!r}")
