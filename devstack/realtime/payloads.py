"""Write the `data` object of an event as JSON text, for one role and one column selection.

Follows supabase/realtime v2.129.8 priv/repo/tenant_schema/realtime/functions/apply_rls.sql.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from devstack.realtime.catalog import TableNow
from devstack.realtime.pgoutput import Unchanged, Value
from devstack.realtime.slot import Change
from devstack.realtime.values import TypedText

Cells: TypeAlias = Mapping[str, TypedText]

MAX_RECORD_BYTES = 1_048_576
_KEPT_VALUE_BYTES = 64
NO_PRIMARY_KEY = "Error 400: Bad Request, no primary key"
UNAUTHORIZED = "Error 401: Unauthorized"
_TOO_LARGE = "Error 413: Payload Too Large"


@dataclass(frozen=True, slots=True)
class ChangedRow:
    """A change by column name. `new` lacks unchanged TOASTed values; `old` is the row's old identity."""

    change: Change
    new: Cells
    old: Cells

    def typed_values(self) -> Iterable[TypedText]:
        yield from self.new.values()
        yield from self.old.values()

    def primary_key(self, table: TableNow) -> tuple[str | None, ...]:
        """The new row's key. An unchanged TOASTed column of it comes from the old identity."""
        cells = {**self.old, **self.new}
        return tuple(cells[column.name].text if column.name in cells else None for column in table.primary_key)


def changed_row(change: Change) -> ChangedRow:
    columns = change.relation.columns

    def cells(values: Iterable[Value], in_identity: bool) -> Cells:
        return {
            column.name: TypedText(column.type_oid, value)
            for column, value in zip(columns, values, strict=False)
            if not isinstance(value, Unchanged) and (column.in_identity or not in_identity)
        }

    new = cells(change.new or (), in_identity=False)
    if change.action == "INSERT":
        return ChangedRow(change, new, {})
    # Postgres logs no old key if an UPDATE did not change it: then it equals the new one
    identity = change.old if change.old is not None else change.new
    return ChangedRow(change, new, cells(identity or (), in_identity=True))


@dataclass(frozen=True, slots=True)
class Audience:
    """A group of subscribers with the same role and column selection for a table."""

    table: TableNow
    role: str
    select: tuple[str, ...] | None

    def shows(self, column: str) -> bool:
        return column in self.table.selectable(self.role) and self.selected(column)

    def selected(self, column: str) -> bool:
        return self.select is None or column in self.select or self.is_key(column)

    def is_key(self, column: str) -> bool:
        return any(column == key.name for key in self.table.primary_key)


def refusal(change: Change, table: TableNow, role: str) -> str | None:
    """Why nobody with this role may see the row; None if they may. DELETEs are not checked."""
    if change.action == "DELETE":
        return None
    if not table.primary_key:
        return NO_PRIMARY_KEY
    return None if all(role in key.selectable_by for key in table.primary_key) else UNAUTHORIZED


def refused_data(change: Change, error: str) -> str:
    parts = {**_head(change, None), "columns": "[]", "record": "{}", "errors": json.dumps([error])}
    if change.action == "UPDATE":
        parts["old_record"] = "{}"
    return _object(parts)


def data(row: ChangedRow, audience: Audience, json_of: Mapping[TypedText, str]) -> str:
    oversize = _size(row, json_of) > MAX_RECORD_BYTES
    shown = _shown_cells(audience, json_of, oversize)
    parts = {**_head(row.change, row.change.committed_at), "columns": _columns(audience)}
    if row.change.action != "DELETE":
        parts["record"] = _record({**row.old, **row.new}, shown)
    if row.change.action == "UPDATE":
        parts["old_record"] = _record(row.old, shown)
    if row.change.action == "DELETE":
        # Policies cannot be evaluated for a row that is gone, so under RLS only its key is sent
        sent = _key_cells(row.old, audience) if audience.table.has_row_security else row.old
        parts["old_record"] = _record(sent, shown)
    parts["errors"] = json.dumps([_TOO_LARGE]) if oversize else "null"
    return _object(parts)


def _record(cells: Cells, shown: Callable[[str, TypedText], str | None]) -> str:
    """A JSON object with its keys in jsonb's order: by length, then by bytes."""
    texts = {name: text for name, value in cells.items() if (text := shown(name, value)) is not None}
    return "{" + ", ".join(f"{_text(name)}: {texts[name]}" for name in sorted(texts, key=_jsonb_order)) + "}"


def _shown_cells(
    audience: Audience, json_of: Mapping[TypedText, str], oversize: bool
) -> Callable[[str, TypedText], str | None]:
    """A function that returns the JSON of a cell, or None if this audience does not get it."""
    visible = {column.name for column in audience.table.columns if audience.shows(column.name)}

    def shown(name: str, value: TypedText) -> str | None:
        if name not in visible:
            return None
        kept = not oversize or (value.text is not None and len(json_of[value].encode()) <= _KEPT_VALUE_BYTES)
        return json_of[value] if kept else None

    return shown


def _jsonb_order(name: str) -> tuple[int, bytes]:
    encoded = name.encode()
    return len(encoded), encoded


def _text(value: str | None) -> str:
    return json.dumps(value, ensure_ascii=False)


def _object(parts: Mapping[str, str]) -> str:
    return "{" + ",".join(f"{_text(key)}:{value}" for key, value in parts.items()) + "}"


def _key_cells(cells: Cells, audience: Audience) -> Cells:
    return {name: value for name, value in cells.items() if audience.is_key(name)}


def _head(change: Change, committed_at: datetime | None) -> dict[str, str]:
    stamp = None
    if committed_at is not None:
        stamp = f"{committed_at:%Y-%m-%dT%H:%M:%S}.{committed_at.microsecond // 1000:03d}Z"
    return {
        "schema": _text(change.relation.schema),
        "table": _text(change.relation.name),
        "type": _text(change.action),
        "commit_timestamp": _text(stamp),
    }


def _columns(audience: Audience) -> str:
    shown = [column for column in audience.table.columns if audience.shows(column.name)]
    return json.dumps([{"name": c.name, "type": c.type_name.name} for c in shown], ensure_ascii=False)


def _size(row: ChangedRow, json_of: Mapping[TypedText, str]) -> int:
    """Approximate size in bytes of wal2json's document, which the real server measures."""
    return sum(len(json_of[value]) + 60 for value in row.typed_values())
