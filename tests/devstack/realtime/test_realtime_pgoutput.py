"""The decoder, on bytes laid out as in PostgreSQL's manual ("Logical Replication Message Formats")."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

import pytest

from devstack.realtime.pgoutput import Begin, Commit, Relation, RelationColumn, RowChange, Unchanged, decode

OID = 4711


def row(*values: str | Unchanged | None) -> bytes:
    cells = b""
    for value in values:
        if value is None:
            cells += b"n"
        elif isinstance(value, Unchanged):
            cells += b"u"
        else:
            cells += b"t" + struct.pack("!I", len(value.encode())) + value.encode()
    return struct.pack("!h", len(values)) + cells


def test_begin_has_the_position_and_time_of_the_commit() -> None:
    one_second = 1_000_000
    assert decode(b"B" + struct.pack("!QqI", 99, one_second, 7)) == Begin(99, datetime(2000, 1, 1, 0, 0, 1, tzinfo=UTC))


def test_commit_has_the_next_log_position() -> None:
    assert decode(b"C" + struct.pack("!BQQq", 0, 99, 120, 0)) == Commit(99, 120)


def test_relation_marks_the_columns_of_the_replica_identity() -> None:
    key = b"\x01id\x00" + struct.pack("!Ii", 20, -1)
    title = b"\x00" + "tïtle".encode() + b"\x00" + struct.pack("!Ii", 25, -1)
    message = b"R" + struct.pack("!I", OID) + b"public\x00todos\x00d" + struct.pack("!h", 2) + key + title

    assert decode(message) == Relation(
        OID, "public", "todos", "d", (RelationColumn("id", 20, True), RelationColumn("tïtle", 25, False))
    )


def test_insert_holds_the_new_row() -> None:
    message = b"I" + struct.pack("!I", OID) + b"N" + row("5", None, "käse")
    assert decode(message) == RowChange("INSERT", OID, ("5", None, "käse"), None)


def test_update_without_an_old_row_keeps_its_unchanged_toast() -> None:
    message = b"U" + struct.pack("!I", OID) + b"N" + row("5", Unchanged.TOAST)
    assert decode(message) == RowChange("UPDATE", OID, ("5", Unchanged.TOAST), None)


@pytest.mark.parametrize("kind", [b"K", b"O"])
def test_update_with_an_old_row_holds_both(kind: bytes) -> None:
    message = b"U" + struct.pack("!I", OID) + kind + row("4", None) + b"N" + row("5", "x")
    assert decode(message) == RowChange("UPDATE", OID, ("5", "x"), ("4", None))


def test_delete_holds_the_old_row() -> None:
    message = b"D" + struct.pack("!I", OID) + b"K" + row("5", None)
    assert decode(message) == RowChange("DELETE", OID, None, ("5", None))


@pytest.mark.parametrize("kind", [b"T", b"Y", b"O", b"M"])
def test_other_messages_are_skipped(kind: bytes) -> None:
    assert decode(kind + b"whatever") is None


def test_a_message_cut_short_is_an_error() -> None:
    with pytest.raises(ValueError, match="ended too early"):
        decode(b"I" + struct.pack("!I", OID) + b"N" + row("hello")[:-2])
