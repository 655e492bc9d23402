"""Runs plpgsql_check over every PL/pgSQL function, and over trigger functions with each of their tables."""

from tests.sqlchecks.scratch import run

FINDINGS = r"""
with ours as (
  select p.oid, p.oid::regprocedure::text as name, p.prosrc as source, p.prorettype = 'trigger'::regtype as is_trigger
  from pg_proc p join pg_language l on l.oid = p.prolang
  where p.pronamespace::regnamespace::text in ('public', 'batchgen', 'batchgen_api') and l.lanname = 'plpgsql'
),
calls as (
  select o.oid, o.name, o.source, coalesce(t.tgrelid, 0) as relation, t.tgoldtable, t.tgnewtable
  from ours o left join pg_trigger t on t.tgfoid = o.oid and not t.tgisinternal
  where not o.is_trigger or t.oid is not null
)
select c.name || coalesce(' on ' || nullif(c.relation, 0)::regclass, ''), f.lineno, f.level, f.message
from calls c cross join lateral plpgsql_check_function_tb(
  c.oid, relid => c.relation, oldtable => c.tgoldtable, newtable => c.tgnewtable,
  fatal_errors => false, other_warnings => true, extra_warnings => true, performance_warnings => false,
  security_warnings => true
) f
where not (
  -- A variable that begins as the literal '{}' or '[]': a text that always fits.
  f.sqlstate = '42804' and f.context like '% initialization on line %'
  and f.detail ~ '^cast "text" value to "(.*\[\]|jsonb)" type$'
)
and not (
  -- A function whose last statement refuses never comes to its end.
  f.message = 'control reached end of function without RETURN'
  and c.source ~ 'perform batchgen\.refuse\w*\([^;]*\);\s*end\s*$'
)
order by 1, 2
"""
UNCHECKED = """
select p.oid::regprocedure::text from pg_proc p
where p.pronamespace::regnamespace::text in ('public', 'batchgen', 'batchgen_api') and p.prorettype = 'trigger'::regtype
  and not exists (select from pg_trigger t where t.tgfoid = p.oid)
"""


def findings(dsn: str) -> list[str]:
    """One line per finding. A trigger function without a trigger cannot be checked, and is one."""
    run(dsn, "create extension if not exists plpgsql_check with schema extensions")
    with_path = "set search_path = extensions, public;" + FINDINGS
    found = [f"{name}, line {line}: {level}: {message}" for name, line, level, message in run(dsn, with_path)]
    return found + [f"{name}: no trigger calls it" for (name,) in run(dsn, UNCHECKED)]
