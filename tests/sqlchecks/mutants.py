"""Every protection of the schema, each with the statement that removes it: policies, row level security, revokes,
triggers, CHECKs, and the guards inside functions."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import dict_row

SCHEMAS = ("public", "batchgen", "batchgen_api")
STRANGERS = ("public", "anon", "authenticated", "service_role")
VERBS = ("select", "insert", "update", "delete", "truncate", "references", "trigger")
# Functions that do nothing but refuse; a call of one is a guard.
REFUSAL = re.compile(r"\bperform\s+batchgen\.(refuse\w*|lease_lost|check_\w+|hold_user)\s*\(", re.IGNORECASE)
RAISING = re.compile(r"\braise\s+exception\b(?:[^;']|'[^']*')*;", re.IGNORECASE)
REFUSERS = ("refuse", "refuse_argument", "lease_lost")

Row = dict[str, Any]
Connection = psycopg.Connection[Row]


@dataclass(frozen=True)
class Mutant:
    """One change for the worse. `name` says what it removes and stays the same from run to run."""

    kind: str
    name: str
    sql: str

    def __str__(self) -> str:
        return f"{self.kind}: {self.name}"


# What no test can notice, because nobody could: each as `make mutate-sql` prints it, with its reason.
EQUIVALENT: dict[str, str] = {
    "guard removed: batchgen.before_item_updated_by_app(), refusal 3: perform batchgen.refuse_column('status');": (
        "the statement after it refuses every column that has changed, status among them, in the same words"
    ),
    "guard removed: batchgen.lock_limits(uuid), refusal 1: perform batchgen.hold_user(p_user_id);": (
        "it refuses nobody who comes this far, for a user's batches go with the user; it takes a lock early, so that a"
        " deletion of the user that comes at this very moment waits and is no deadlock"
    ),
}


def mutants(dsn: str) -> list[Mutant]:
    """All mutants of a migrated database, in a fixed order."""
    with Connection.connect(dsn, autocommit=True, row_factory=dict_row) as connection:
        found = [
            *_policies(connection),
            *_row_security(connection),
            *_views(connection),
            *_schemas(connection),
            *_table_privileges(connection),
            *_function_privileges(connection),
            *_triggers(connection),
            *_checks(connection),
            *_guards(connection),
        ]
    return sorted(found, key=lambda mutant: (mutant.kind, mutant.name))


def _policies(connection: Connection) -> Iterator[Mutant]:
    policies = _rows(
        connection,
        "select quote_ident(p.polname) as policy, p.polrelid::regclass::text as relation, p.polcmd::text as command,"
        " coalesce(pg_get_expr(p.polqual, p.polrelid) <> 'true', false) as has_using,"
        " p.polwithcheck is not null as has_check"
        " from pg_policy p"
        " join pg_class c on c.oid = p.polrelid"
        " where c.relnamespace::regnamespace::text = any (%s) or p.polname like 'batchgen: %%'",
        [list(SCHEMAS)],
    )
    for row in policies:
        which = f"{row['policy']} on {row['relation']}"
        yield Mutant("policy dropped", which, f"drop policy {which}")
        # For writes of existing rows both halves count, and each is taken down alone.
        if row["has_using"]:
            yield Mutant("policy shows all", which, f"alter policy {which} using (true)")
        if row["has_check"] or row["command"] in "*w":
            yield Mutant("policy takes all", which, f"alter policy {which} with check (true)")


def _row_security(connection: Connection) -> Iterator[Mutant]:
    for row in _relations(connection, "r", "p"):
        yield Mutant("row security off", row["name"], f"alter table {row['name']} disable row level security")


def _views(connection: Connection) -> Iterator[Mutant]:
    for row in _relations(connection, "v"):
        yield Mutant("view of its owner", row["name"], f"alter view {row['name']} set (security_invoker = off)")


def _schemas(connection: Connection) -> Iterator[Mutant]:
    for row in _rows(
        connection,
        "select n.nspname as name, r.role from pg_namespace n, unnest(%s::text[]) r (role)"
        " where n.nspname in ('batchgen', 'batchgen_api') and not has_schema_privilege(r.role, n.oid, 'usage')",
        [list(STRANGERS)],
    ):
        yield Mutant(
            "schema opened", f"{row['name']} to {row['role']}", f"grant usage on schema {row['name']} to {row['role']}"
        )


def _table_privileges(connection: Connection) -> Iterator[Mutant]:
    for row in _rows(
        connection,
        "select c.oid::regclass::text as name, r.role, v.verb"
        " from pg_class c, unnest(%s::text[]) r (role), unnest(%s::text[]) v (verb)"
        " where c.relnamespace::regnamespace::text = any (%s) and c.relkind in ('r', 'p', 'v')"
        " and not has_table_privilege(r.role, c.oid, v.verb)",
        [list(STRANGERS), list(VERBS), list(SCHEMAS)],
    ):
        which = f"{row['verb']} on {row['name']} to {row['role']}"
        yield Mutant("table granted", which, f"grant {which}")


def _function_privileges(connection: Connection) -> Iterator[Mutant]:
    for row in _rows(
        connection,
        "select p.oid::regprocedure::text as name, r.role from pg_proc p, unnest(%s::text[]) r (role)"
        " where p.pronamespace::regnamespace::text = any (%s) and not has_function_privilege(r.role, p.oid, 'execute')",
        [list(STRANGERS), list(SCHEMAS)],
    ):
        sql = f"grant execute on function {row['name']} to {row['role']}"
        yield Mutant("function granted", f"{row['name']} to {row['role']}", sql)


def _triggers(connection: Connection) -> Iterator[Mutant]:
    for row in _rows(
        connection,
        "select quote_ident(t.tgname) as trigger, t.tgrelid::regclass::text as relation, c.relkind = 'v' as of_a_view"
        " from pg_trigger t join pg_proc p on p.oid = t.tgfoid join pg_class c on c.oid = t.tgrelid"
        " where not t.tgisinternal and p.pronamespace::regnamespace::text = any (%s)",
        [list(SCHEMAS)],
    ):
        which = f"{row['trigger']} on {row['relation']}"
        if row["of_a_view"]:  # Postgres disables none of these
            yield Mutant("trigger dropped", which, f"drop trigger {row['trigger']} on {row['relation']}")
        else:
            yield Mutant("trigger disabled", which, f"alter table {row['relation']} disable trigger {row['trigger']}")


def _checks(connection: Connection) -> Iterator[Mutant]:
    for row in _rows(
        connection,
        "select quote_ident(c.conname) as name, c.conrelid::regclass::text as relation from pg_constraint c"
        " where c.contype = 'c' and c.connamespace::regnamespace::text = any (%s) and c.conrelid <> 0",
        [list(SCHEMAS)],
    ):
        which = f"{row['name']} on {row['relation']}"
        yield Mutant("check dropped", which, f"alter table {row['relation']} drop constraint {row['name']}")


def _guards(connection: Connection) -> Iterator[Mutant]:
    stand_ins = _stand_ins(connection)
    for row in _rows(
        connection,
        "select p.oid::regprocedure::text as name, pg_get_functiondef(p.oid) as definition from pg_proc p"
        " join pg_language l on l.oid = p.prolang where l.lanname = 'plpgsql'"
        " and p.pronamespace::regnamespace::text = any (%s) and p.proname <> all (%s)",
        [list(SCHEMAS), list(REFUSERS)],
    ):
        definition: str = row["definition"]
        for number, call in enumerate(REFUSAL.finditer(definition), 1):
            which = f"{row['name']}, refusal {number}: {_line(definition, call)}"
            passing = _replaced(definition, call, call[0].replace("batchgen.", "mutation."))
            yield Mutant("guard removed", which, f"{stand_ins}; {passing}")
        for number, raised in enumerate(RAISING.finditer(definition), 1):
            which = f"{row['name']}, exception {number}: {_line(definition, raised)}"
            yield Mutant("guard removed", which, _replaced(definition, raised, "null;"))


def _stand_ins(connection: Connection) -> str:
    """Functions called like those that refuse, which let everything pass. In a schema that no test looks at."""
    statements = ["create schema mutation", "grant usage on schema mutation to public"]
    for row in _rows(
        connection,
        "select p.proname as name, pg_get_function_arguments(p.oid) as arguments from pg_proc p"
        " where p.pronamespace = 'batchgen'::regnamespace and p.prorettype = 'void'::regtype"
        " and p.proname ~ '^(refuse.*|lease_lost|check_.*|hold_user)$'",
        [],
    ):
        sql = f"create function mutation.{row['name']}({row['arguments']}) returns void language sql as 'select'"
        statements.append(sql)
    return "; ".join(statements)


def _replaced(text: str, part: "re.Match[str]", instead: str) -> str:
    return text[: part.start()] + instead + text[part.end() :]


def _line(text: str, part: "re.Match[str]") -> str:
    number = text.count("\n", 0, part.start())
    return " ".join(text.splitlines()[number].split())[:90]


def _relations(connection: Connection, *kinds: str) -> list[Row]:
    return _rows(
        connection,
        "select c.oid::regclass::text as name from pg_class c"
        " where c.relnamespace::regnamespace::text = any (%s) and c.relkind = any (%s)",
        [list(SCHEMAS), list(kinds)],
    )


def _rows(connection: Connection, sql: str, parameters: list[Any]) -> list[Row]:
    return connection.execute(sql.encode(), parameters).fetchall()
