"""Read descriptions of tables, types and privileges from the database, when changes are routed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from psycopg import sql

from devstack.realtime.database import Connection


def identifier(*names: str) -> sql.Identifier:
    """A quoted name for a statement with parameters. % is doubled, since psycopg would read it as a placeholder."""
    return sql.Identifier(*(name.replace("%", "%%") for name in names))


@dataclass(frozen=True, slots=True)
class TypeName:
    """A type by schema and name, since the `regtype` `character` would mean a single character."""

    schema: str
    name: str

    @property
    def identifier(self) -> sql.Identifier:
        return identifier(self.schema, self.name)

    @property
    def array_identifier(self) -> sql.Composable:
        return sql.Composed([self.identifier, sql.SQL("[]")])


@dataclass(frozen=True, slots=True)
class ColumnNow:
    name: str
    type_oid: int
    type_name: TypeName
    in_primary_key: bool
    selectable_by: frozenset[str]


@dataclass(frozen=True, slots=True, eq=False)
class TableNow:
    """A table as it is now. Compared by identity, since another description may differ."""

    oid: int
    identifier: sql.Identifier
    has_row_security: bool
    columns: tuple[ColumnNow, ...]

    @property
    def primary_key(self) -> tuple[ColumnNow, ...]:
        return tuple(column for column in self.columns if column.in_primary_key)

    def selectable(self, role: str) -> frozenset[str]:
        return frozenset(column.name for column in self.columns if role in column.selectable_by)


async def describe_tables(
    connection: Connection, table_oids: Collection[int], roles: Collection[str]
) -> Mapping[int, TableNow]:
    """Describe those tables that still exist. A role that does not exist can select nothing."""
    cursor = await connection.execute(_TABLES, {"tables": list(table_oids), "roles": list(roles)})
    heads: dict[int, tuple[sql.Identifier, bool]] = {}
    columns: dict[int, list[ColumnNow]] = {}
    async for (
        oid,
        schema,
        table,
        row_security,
        name,
        type_oid,
        type_schema,
        type_name,
        in_key,
        selectable,
    ) in cursor:
        heads[oid] = (identifier(schema, table), row_security)
        column = ColumnNow(name, type_oid, TypeName(type_schema, type_name), in_key, frozenset(selectable))
        columns.setdefault(oid, []).append(column)
    return {oid: TableNow(oid, *head, tuple(columns[oid])) for oid, head in heads.items()}


async def name_types(connection: Connection, type_oids: Collection[int]) -> Mapping[int, TypeName]:
    cursor = await connection.execute(_TYPES, (list(type_oids),))
    return {oid: TypeName(schema, name) async for oid, schema, name in cursor}


_TABLES = """
    select c.oid::int8, n.nspname, c.relname, c.relrowsecurity,
           a.attname, t.oid::int8, tn.nspname, t.typname,
           coalesce(a.attnum = any(pk.conkey), false),
           array(select r.rolname::text from pg_roles r
                  where r.rolname = any(%(roles)s) and has_column_privilege(r.oid, c.oid, a.attnum, 'SELECT'))
      from pg_class c
      join pg_namespace n on n.oid = c.relnamespace
      join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
      join pg_type t on t.oid = a.atttypid
      join pg_namespace tn on tn.oid = t.typnamespace
      left join pg_constraint pk on pk.conrelid = c.oid and pk.contype = 'p'
     where c.oid = any(%(tables)s::oid[])
     order by c.oid, a.attnum
"""
_TYPES = """
    select t.oid::int8, n.nspname, t.typname
      from pg_type t join pg_namespace n on n.oid = t.typnamespace
     where t.oid = any(%s::oid[])
"""
