"""Parse the bindings of a join: event, schema, table, `filter` and `select`.

The grammar and all messages follow supabase/realtime v2.129.8 lib/extensions/postgres_cdc_rls/subscriptions.ex
(`parse_subscription_params/1`). `validation.py` checks columns and values against the table.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

OPERATORS = frozenset(
    "eq neq lt lte gt gte in like ilike is match imatch isdistinct".split()  # noqa: SIM905 - reads as the doc does
)
Binding: TypeAlias = Mapping[str, Any]
_NO_PARAMS = "No subscription params provided. Please provide at least a `schema` or `table` to subscribe to: "
_SELECT_NOT_A_LIST = (
    'Error parsing `select` params: expected a list of column name strings, e.g. select: ["col1", "col2"]'
)
_SELECT_ON_WILDCARD = (
    "Column selection is not supported for wildcard subscriptions. Provide an explicit schema and table name."
)


class BindingError(Exception):
    """An invalid binding. The message goes to the client verbatim."""


@dataclass(frozen=True, slots=True)
class Filter:
    column: str
    operator: str
    value: str
    negated: bool


@dataclass(frozen=True, slots=True)
class ParsedBinding:
    action: str  # INSERT, UPDATE, DELETE or *
    schema: str
    table: str
    filters: tuple[Filter, ...]
    select: tuple[str, ...] | None

    def described(self) -> str:
        """The binding in Elixir's notation, as in the real server's error messages."""
        shown = ", ".join(
            "{" + ", ".join(inspect_elixir(part) for part in (f.column, f.operator, f.value, f.negated)) + "}"
            for f in self.filters
        )
        select = "nil" if self.select is None else inspect_elixir(list(self.select))
        return f"event: {self.action}, schema: {self.schema}, table: {self.table}, filters: [{shown}], select: {select}"


def binding_id(binding: Binding) -> int:
    """A stable number below 2^27, equal for equal bindings; not the same as `:erlang.phash2`."""
    canonical = json.dumps(binding, sort_keys=True, separators=(",", ":"))
    return int.from_bytes(hashlib.blake2b(canonical.encode(), digest_size=4).digest()) >> 5


def binding_of_topic(name: str) -> Binding:
    """The binding in an old client's topic: `schema[:table[:filter]]`."""
    return dict(zip(("schema", "table", "filter"), name.split(":", 2), strict=False))


def parse_binding(binding: Binding) -> ParsedBinding:
    select = _select(binding)
    schema, table = _target(binding)
    filters = _filters(binding["filter"]) if "filter" in binding else ()
    if select is not None and "*" in (schema, table):
        raise BindingError(_SELECT_ON_WILDCARD)
    return ParsedBinding(_action(binding.get("event")), schema, table, filters, select)


def _target(binding: Binding) -> tuple[str, str]:
    given = {key: binding[key] for key in ("schema", "table", "filter") if key in binding}
    if all(isinstance(value, str) for value in given.values()):
        if {"schema", "table"} <= given.keys():
            return given["schema"], given["table"]
        if given.keys() == {"schema"}:
            return given["schema"], "*"
        if given.keys() == {"table"}:
            return "public", given["table"]
    redacted = "user_token" in binding or "auth_token" in binding
    raise BindingError(_NO_PARAMS + ("<redacted>" if redacted else inspect_elixir(binding)))


def _action(event: Any) -> str:
    upper = event.upper() if isinstance(event, str) else "*"
    return upper if upper in ("INSERT", "UPDATE", "DELETE") else "*"


def _select(binding: Binding) -> tuple[str, ...] | None:
    given = binding.get("select")
    if isinstance(given, str):
        raise BindingError(_SELECT_NOT_A_LIST)
    if not isinstance(given, list):
        return None
    names = {name for name in cast(list[Any], given) if isinstance(name, str)}
    return tuple(sorted(names)) or None


def _filters(text: str) -> tuple[Filter, ...]:
    trimmed = text.strip()
    if not trimmed:
        return ()
    return tuple(_segment(segment) for segment in _split_at_commas(trimmed))


def _segment(text: str) -> Filter:
    trimmed = text.strip()
    if not trimmed:
        raise _unparsable("filter must not contain empty segments (check for extra commas)")
    column, equals, rest = trimmed.partition("=")
    if not equals:
        raise _unparsable(inspect_elixir([trimmed]))
    negated = rest.startswith("not.")
    operator, dot, value = rest.removeprefix("not.").partition(".")
    if not dot:
        raise _unparsable(inspect_elixir([operator]))
    if operator not in OPERATORS:
        raise _unparsable(inspect_elixir([operator, value]))
    return Filter(column, operator, _filter_value(operator, value), negated)


def _unparsable(reason: str) -> BindingError:
    return BindingError(f"Error parsing `filter` params: {reason}")


def _filter_value(operator: str, value: str) -> str:
    if operator != "in":
        return _unquoted(value)
    if len(value) >= 2 and value.startswith("(") and value.endswith(")"):
        return "{" + value[1:-1] + "}"
    raise _unparsable("`in` filter value must be wrapped by parentheses")


def _unquoted(value: str) -> str:
    """Remove double quotes around a whole value, and the backslashes in it; leave other values unchanged."""
    if not value.startswith('"'):
        return value
    taken: list[str] = []
    characters = iter(value[1:])
    for character in characters:
        if character == '"':
            return "".join(taken) if next(characters, None) is None else value
        taken.append(next(characters, "\\") if character == "\\" else character)
    return value


def _split_at_commas(text: str) -> list[str]:
    """Split at commas outside quotes and parentheses; a quote opens only after `.`, `(` or `,`."""
    segments, current, depth, quoted, before = list[str](), "", 0, False, ""
    characters = iter(text)
    for character in characters:
        if quoted:
            current += character
            if character == "\\":
                current += next(characters, "")
            quoted = character != '"'
        elif character == "," and depth == 0:
            segments.append(current)
            current, character = "", ""  # a comma that splits does not count as "before"
        else:
            current += character
            depth = max(0, depth + (character == "(") - (character == ")"))
            quoted = character == '"' and before in (".", "(", ",")
        before = character
    return [*segments, current]


def inspect_elixir(value: Any) -> str:
    """A JSON value in the notation of Elixir's `inspect`, as in the messages."""
    match value:
        case None:
            return "nil"
        case bool():
            return "true" if value else "false"
        case str():
            return _inspect_string(value)
        case dict():
            items = sorted(cast(dict[str, Any], value).items())
            return "%{" + ", ".join(f"{inspect_elixir(k)} => {inspect_elixir(v)}" for k, v in items) + "}"
        case list():
            return "[" + ", ".join(inspect_elixir(item) for item in cast(list[Any], value)) + "]"
        case _:
            return str(value)


def _inspect_string(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("#{", "\\#{")
    return '"' + escaped.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t") + '"'
