"""Check a binding against the database, with the real server's error messages.

Follows supabase/realtime v2.129.8 priv/repo/tenant_schema/realtime/functions/subscription_check_filters.sql
and lib/extensions/postgres_cdc_rls/subscriptions.ex (`create/5`); the notation of errors is Postgrex's.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import psycopg
from psycopg import sql

from devstack.realtime.catalog import ColumnNow, TableNow, describe_tables
from devstack.realtime.database import Connection, is_connection_loss
from devstack.realtime.filters import BindingError, Filter, ParsedBinding

_MAX_IN_VALUES = 100
_IS_KEYWORDS = ("null", "true", "false", "unknown")


class _RaisedError(Exception):
    """An error that the real server's trigger raises."""

    def __init__(self, message: str, state: str = "P0001", name: str = "raise_exception") -> None:
        super().__init__(f"ERROR {state} ({name}) {message}")


@dataclass(frozen=True, slots=True)
class PublishedTable:
    schema: str
    name: str
    oid: int


async def published_tables(connection: Connection, publication: str) -> frozenset[PublishedTable]:
    cursor = await connection.execute(_PUBLISHED, (publication,))
    return frozenset([PublishedTable(*row) async for row in cursor])


async def tables_of(connection: Connection, publication: str, binding: ParsedBinding, role: str) -> frozenset[int]:
    """The tables that the binding matches. Raises `BindingError` if one of them does not fit it."""
    try:
        oids = await _matching_tables(connection, publication, binding)
        if not oids:
            raise BindingError(
                "Unable to subscribe to changes with given parameters. Please check Realtime is enabled for "
                f"the given connect parameters: [{binding.described()}]"
            )
        await _check_role(connection, role)
        for table in (await describe_tables(connection, oids, [role])).values():
            await _check(connection, table, binding, role)
    except (_RaisedError, psycopg.Error) as error:
        if isinstance(error, psycopg.Error) and is_connection_loss(error):
            raise
        raise BindingError(
            "Unable to subscribe to changes with given parameters. An exception happened so please check "
            f"your connect parameters: [{binding.described()}]. Exception: {_worded(error)}"
        ) from error
    return oids


async def _matching_tables(connection: Connection, publication: str, binding: ParsedBinding) -> frozenset[int]:
    schema = "%" if binding.schema == "*" else binding.schema
    table = "%" if binding.table == "*" else binding.table
    cursor = await connection.execute(_MATCHING, (publication, schema, table))
    return frozenset([oid async for (oid,) in cursor])


async def _check_role(connection: Connection, role: str) -> None:
    """Check that the role exists, as the real server does, and is not a superuser, which bypasses all policies."""
    row = await (await connection.execute(_ROLE, (role,))).fetchone()
    if row is None:
        raise _RaisedError(f'role "{role}" does not exist', "42704", "undefined_object")
    if row[0]:
        raise _RaisedError(f'permission denied to set role "{role}"', "42501", "insufficient_privilege")


async def _check(connection: Connection, table: TableNow, binding: ParsedBinding, role: str) -> None:
    selectable = {column.name: column for column in table.columns if role in column.selectable_by}
    for filter_ in binding.filters:
        column = selectable.get(filter_.column)
        if column is None:
            raise _RaisedError(f"invalid column for filter {filter_.column}")
        await _check_filter(connection, column, filter_)
    for name in binding.select or ():
        if name not in selectable:
            raise _RaisedError(f"invalid column for select {name}")


async def _check_filter(connection: Connection, column: ColumnNow, filter_: Filter) -> None:
    match filter_.operator:
        case "in":
            await _check_in(connection, column, filter_.value)
        case "is":
            await _check_is(connection, column, filter_.value)
        case "like" | "ilike":
            await _check_operator(connection, column, filter_, "~~")
        case "match" | "imatch":
            await _check_operator(connection, column, filter_, "~" if filter_.operator == "match" else "~*")
            await _check_pattern(connection, filter_)
        case _:
            await _cast(connection, column.type_name.identifier, filter_.value)


async def _cast(connection: Connection, type_name: sql.Composable, value: str) -> object:
    query = sql.SQL("select to_jsonb(%s::text::{})").format(type_name)
    row = await (await connection.execute(query, (value,))).fetchone()
    return row[0] if row else None


async def _check_in(connection: Connection, column: ColumnNow, value: str) -> None:
    values = await _cast(connection, column.type_name.array_identifier, value)
    if isinstance(values, list) and len(values) > _MAX_IN_VALUES:  # pyright: ignore[reportUnknownArgumentType]
        raise _RaisedError(f"too many values for `in` filter. Maximum {_MAX_IN_VALUES}")


async def _check_is(connection: Connection, column: ColumnNow, value: str) -> None:
    if value not in _IS_KEYWORDS:
        raise _RaisedError("invalid value for is filter: must be null, true, false, or unknown")
    if value != "null" and (column.type_name.schema, column.type_name.name) != ("pg_catalog", "bool"):
        shown = await _shown_type(connection, column)
        raise _RaisedError(f"is {value} filter requires a boolean column, got {shown}")


async def _check_operator(connection: Connection, column: ColumnNow, filter_: Filter, symbol: str) -> None:
    row = await (await connection.execute(_OPERATOR, (symbol, column.type_oid))).fetchone()
    if row is None:
        shown = await _shown_type(connection, column)
        raise _RaisedError(f"operator {filter_.operator} requires a text-compatible column type, got {shown}")


async def _check_pattern(connection: Connection, filter_: Filter) -> None:
    try:
        await connection.execute("select '' ~ %s", (filter_.value,))
    except psycopg.DataError as error:
        reason = error.diag.message_primary or str(error)
        raise _RaisedError(f"invalid regular expression for {filter_.operator} filter: {reason}") from error


async def _shown_type(connection: Connection, column: ColumnNow) -> str:
    row = await (await connection.execute("select %s::oid::regtype::text", (column.type_oid,))).fetchone()
    return str(row[0]) if row else column.type_name.name


def _worded(error: _RaisedError | psycopg.Error) -> str:
    if isinstance(error, _RaisedError) or error.sqlstate is None:
        return str(error)
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(error).__name__).lower()
    return f"{error.diag.severity} {error.sqlstate} ({name}) {error.diag.message_primary}"


_PUBLISHED = """
    select p.schemaname, p.tablename, format('%%I.%%I', p.schemaname, p.tablename)::regclass::oid::int8
      from pg_publication_tables p where p.pubname = %s
"""
_MATCHING = """
    select format('%%I.%%I', p.schemaname, p.tablename)::regclass::oid::int8
      from pg_publication_tables p
     where p.pubname = %s and p.schemaname like %s escape '' and p.tablename like %s escape ''
"""
_ROLE = "select rolsuper from pg_roles where rolname = %s"
_OPERATOR = "select from pg_operator where oprname = %s and oprleft = %s::oid limit 1"
