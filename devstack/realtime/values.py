"""Convert the log's text to JSON and evaluate filters, in the database, in batches.

Values are converted with `to_jsonb`, so that no number passes through a float. Rules from supabase/realtime v2.129.8
priv/repo/tenant_schema/realtime/functions/cast.sql and check_equality_op.sql.
"""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import psycopg
from psycopg import sql

from devstack.realtime.catalog import TypeName, name_types
from devstack.realtime.database import Connection, is_connection_loss
from devstack.realtime.filters import Filter

log = logging.getLogger(__name__)

_BYTEA_OID = 17
_FLOATING_OIDS = frozenset((700, 701, 1700))
_NOT_FINITE = frozenset(("NaN", "Infinity", "-Infinity"))
_IS_KEYWORDS = frozenset(("null", "true", "false", "unknown"))


class TypedText(NamedTuple):
    """A value from the log. `text` is None for SQL's null."""

    type_oid: int
    text: str | None


class Comparison(NamedTuple):
    value: TypedText
    operator: str
    operand: str
    negated: bool

    @classmethod
    def of(cls, value: TypedText, filter_: Filter) -> Comparison:
        return cls(value, filter_.operator, filter_.value, filter_.negated)


async def to_json(connection: Connection, values: Collection[TypedText]) -> Mapping[TypedText, str]:
    """The JSON text of each value. As in wal2json, NaN is null and a bytea's hex lacks the prefix `\\x`."""
    known = {value: plain for value in values if (plain := _plain_json(value)) is not None}
    by_type: dict[int, list[TypedText]] = defaultdict(list)
    for value in values:
        if value not in known:
            by_type[value.type_oid].append(value)
    names = await name_types(connection, by_type.keys())
    for type_oid, typed in by_type.items():
        known.update(await _cast(connection, names.get(type_oid), typed))
    return known


def _plain_json(value: TypedText) -> str | None:
    if value.text is None or (value.type_oid in _FLOATING_OIDS and value.text in _NOT_FINITE):
        return "null"
    return json.dumps(value.text[2:]) if value.type_oid == _BYTEA_OID else None


async def _cast(
    connection: Connection, type_name: TypeName | None, values: Sequence[TypedText]
) -> Mapping[TypedText, str]:
    as_text = {value: json.dumps(value.text, ensure_ascii=False) for value in values}
    if type_name is None:
        return as_text  # the type was dropped meanwhile
    query = sql.SQL("select to_jsonb(v::{})::text from unnest(%s::text[]) with ordinality u(v, n) order by n")
    try:
        cursor = await connection.execute(query.format(type_name.identifier), ([v.text for v in values],))
    except psycopg.Error as error:
        if is_connection_loss(error):
            raise
        log.warning("values of type %s.%s are sent as text: %s", type_name.schema, type_name.name, error)
        return as_text
    return {value: row[0] or "null" for value, row in zip(values, await cursor.fetchall(), strict=True)}


async def compare(connection: Connection, comparisons: Collection[Comparison]) -> Mapping[Comparison, bool]:
    """Evaluate the comparisons. Null, and a comparison that the type does not support, is false."""
    groups: dict[tuple[int, str, bool, str], list[Comparison]] = defaultdict(list)
    for comparison in comparisons:
        # `is` takes a keyword, which is part of the statement, so each keyword has its own group
        keyword = comparison.operand if comparison.operator == "is" else ""
        groups[comparison.value.type_oid, comparison.operator, comparison.negated, keyword].append(comparison)
    names = await name_types(connection, {key[0] for key in groups})
    held: dict[Comparison, bool] = {}
    for (type_oid, operator, negated, keyword), group in groups.items():
        test = comparison_sql(names.get(type_oid), operator, negated, keyword)
        held.update(await _compare_group(connection, test, group))
    return held


async def _compare_group(
    connection: Connection, test: sql.Composable | None, group: Sequence[Comparison]
) -> Mapping[Comparison, bool]:
    if test is None:
        return dict.fromkeys(group, False)
    query = sql.SQL(
        "select coalesce({}, false) from unnest(%s::text[], %s::text[]) with ordinality u(a, b, n) order by n"
    ).format(test)
    values = [_comparable(comparison.value) for comparison in group]
    try:
        cursor = await connection.execute(query, (values, [comparison.operand for comparison in group]))
    except psycopg.Error as error:
        if is_connection_loss(error):
            raise
        log.warning("a filter with %s cannot be evaluated: %s", group[0].operator, error)
        return dict.fromkeys(group, False)
    return {comparison: row[0] for comparison, row in zip(group, await cursor.fetchall(), strict=True)}


def _comparable(value: TypedText) -> str | None:
    lacks_json = value.type_oid in _FLOATING_OIDS and value.text in _NOT_FINITE
    return None if lacks_json else value.text


_SYMBOLS = {
    "eq": "=",
    "neq": "!=",
    "lt": "<",
    "lte": "<=",
    "gt": ">",
    "gte": ">=",
    "like": "LIKE",
    "ilike": "ILIKE",
    "match": "~",
    "imatch": "~*",
}


def comparison_sql(type_name: TypeName | None, operator: str, negated: bool, keyword: str) -> sql.Composable | None:
    """The SQL that compares column `a` with operand `b`, both texts cast to the column's type."""
    if type_name is None:
        return None
    left = sql.SQL("a::{}").format(type_name.identifier)
    right = sql.SQL("b::{}").format(type_name.identifier)
    if operator == "is":
        if keyword not in _IS_KEYWORDS:
            return None
        return sql.SQL("{} {} {}").format(left, _word("IS NOT" if negated else "IS"), _word(keyword.upper()))
    if operator == "isdistinct":
        words = "IS NOT DISTINCT FROM" if negated else "IS DISTINCT FROM"
        return sql.SQL("{} {} {}").format(left, _word(words), right)
    if operator == "in":
        test = sql.SQL("{} = any(b::{})").format(left, type_name.array_identifier)
    else:
        test = sql.SQL("{} {} ({})").format(left, _word(_SYMBOLS[operator]), right)
    return sql.SQL("not ({})").format(test) if negated else test


def _word(word: str) -> sql.SQL:
    """A keyword or operator from this module's own tables, never from a client."""
    allowed = {*_SYMBOLS.values(), "IS", "IS NOT", "IS DISTINCT FROM", "IS NOT DISTINCT FROM"}
    if word not in allowed | {keyword.upper() for keyword in _IS_KEYWORDS}:
        raise ValueError(f"not an allowed keyword: {word}")
    return sql.SQL(word)  # pyright: ignore[reportArgumentType]
