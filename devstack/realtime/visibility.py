"""Find out which changed rows a subscriber may see under row level security.

As in supabase/realtime v2.129.8 priv/repo/tenant_schema/realtime/functions/apply_rls.sql, a row is visible if one with
the new primary key can be selected *now* with the token's role and claims. Both are passed as parameters of
`set_config`, only inside a transaction.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import psycopg
from psycopg import sql

from devstack.realtime.catalog import TableNow, identifier
from devstack.realtime.database import Connection, is_connection_loss

log = logging.getLogger(__name__)

Key: TypeAlias = tuple[str | None, ...]


@dataclass(frozen=True, slots=True)
class Viewer:
    """The role and claims that rows are selected with. Subscribers with equal ones are one viewer."""

    role: str
    claims_json: str


_AS_VIEWER = "select set_config('role', %s, true), set_config('request.jwt.claims', %s, true)"


async def visible_keys(
    connection: Connection, viewer: Viewer, wanted: Mapping[TableNow, Sequence[Key]]
) -> Mapping[int, frozenset[Key]]:
    """By table oid, the keys of the rows that the viewer can see. An error in a policy hides the table's rows."""
    seen: dict[int, frozenset[Key]] = {}
    for table, keys in wanted.items():
        try:
            async with connection.transaction():
                await connection.execute(_AS_VIEWER, (viewer.role, viewer.claims_json))
                seen[table.oid] = await _select_keys(connection, table, keys)
        except psycopg.Error as error:
            if is_connection_loss(error):
                raise
            log.warning("rows of %s are hidden from %s: %s", table.identifier.as_string(None), viewer.role, error)
            seen[table.oid] = frozenset()
    return seen


async def _select_keys(connection: Connection, table: TableNow, keys: Sequence[Key]) -> frozenset[Key]:
    columns: list[list[str | None]] = [[key[part] for key in keys] for part in range(len(table.primary_key))]
    cursor = await connection.execute(_key_query(table), columns)
    return frozenset([keys[int(number) - 1] async for (number,) in cursor])


def _key_query(table: TableNow) -> sql.Composed:
    names = [sql.Identifier(f"k{number}") for number, _ in enumerate(table.primary_key)]
    same = [
        sql.SQL("x.{} = u.{}::{}").format(identifier(column.name), name, column.type_name.identifier)
        for column, name in zip(table.primary_key, names, strict=True)
    ]
    return sql.SQL(
        "select u.n from unnest({arrays}) with ordinality u({names}, n)"
        " where exists (select from {table} x where {same})"
    ).format(
        arrays=sql.SQL(", ").join([sql.SQL("%s::text[]")] * len(names)),
        names=sql.SQL(", ").join(names),
        table=table.identifier,
        same=sql.SQL(" and ").join(same),
    )
