"""Compares two databases object by object, in any order of creation.

`pg_dump` lists the objects: tables with their columns in order, functions, triggers, policies, grants, default
privileges, publications, comments. Rows that an installation writes (settings, models) are compared beside them.
"""

import asyncio
import os
import re
from collections.abc import Iterator, Mapping
from difflib import unified_diff
from typing import cast

from devstack.postgres import PostgresServer
from tests.sqlchecks.scratch import run

OPTIONS = (
    *("--schema-only", "--no-owner", "--no-tablespaces", "--no-table-access-method"),
    "--exclude-schema=supabase_migrations",  # the history that the migrations leave
)
SECONDS = 60
HEADER = re.compile(
    r"^--\n-- Name: (?P<name>.*); Type: (?P<type>[^;]*); Schema: (?P<schema>[^;]*); Owner:.*\n--\n", re.M
)
FOOTER = "\n--\n-- PostgreSQL database dump complete"
LINES = 40

# Every column of every row, but for those whose values differ from run to run: random ids and times, and references to
# them.
TABLES = """
select format('%I.%I', n.nspname, c.relname), array(
  select format('%I', a.attname) from pg_attribute a
  left join pg_attrdef d on d.adrelid = a.attrelid and d.adnum = a.attnum
  where a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped and a.attidentity = ''
    and coalesce(pg_get_expr(d.adbin, d.adrelid), '') !~ '\\m(gen_random_uuid|now|clock_timestamp)\\M'
    and not exists (
      select from pg_constraint k where k.conrelid = c.oid and k.contype = 'f' and a.attnum = any (k.conkey)
    )
  order by a.attname
)
from pg_class c join pg_namespace n on n.oid = c.relnamespace
where c.relkind = 'r' and (
  n.nspname in ('public', 'batchgen', 'batchgen_api') or (n.nspname, c.relname) = ('storage', 'buckets')
)
order by 1
"""
FOUND = "batchgen.found_objects"  # what was there before the migrations, which schema files do not tell
# Says which provider makes which model: that is a reference in the table itself.
MODELS = ("batchgen.models", "name, provider, provider_model, provider_version, inputs, price_usd, estimated_seconds")

Objects = Mapping[str, str]


async def objects(dsn: str) -> Objects:
    """Each object under its kind and name, as text."""
    found = dict(_entries(await _dump(dsn)))
    found.update(await asyncio.to_thread(lambda: dict(_rows(dsn))))
    return found


def differences(one: Objects, other: Objects, names: tuple[str, str]) -> list[str]:
    """Lines that name each object that is missing or another one, with what differs; none where both are the same."""
    lines: list[str] = []
    for key in sorted(one.keys() | other.keys()):
        if key not in other:
            lines += [f"{key}: only in {names[0]}", *_beginning(one[key])]
        elif key not in one:
            lines += [f"{key}: only in {names[1]}", *_beginning(other[key])]
        elif one[key] != other[key]:
            lines.append(f"{key}: differs")
            changes = unified_diff(one[key].splitlines(), other[key].splitlines(), *names, lineterm="", n=1)
            lines += [f"  {line}" for line in list(changes)[:LINES]]
    return lines


def _beginning(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()[:5]]


async def _dump(dsn: str) -> str:
    process = await asyncio.create_subprocess_exec(
        *(str(PostgresServer.program("pg_dump")), *OPTIONS, dsn),
        env={"PATH": os.defpath, "PGCONNECT_TIMEOUT": "10", "PGTZ": "UTC"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), SECONDS)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    if process.returncode != 0:
        raise AssertionError(f"pg_dump ended with {process.returncode}: {errors.decode()}")
    return output.decode()


def _entries(dump: str) -> Iterator[tuple[str, str]]:
    headers = list(HEADER.finditer(dump))
    ends = [header.start() for header in headers[1:]] + [dump.index(FOOTER)]
    for header, end in zip(headers, ends, strict=True):
        text = dump[header.end() : end].strip()
        if "ACL" in header["type"]:  # in the order in which the rights were granted
            text = "\n".join(sorted(text.splitlines()))
        schema = "" if header["schema"] == "-" else f"{header['schema']}."
        yield f"{header['type'].lower()} {schema}{header['name']}", text


def _rows(dsn: str) -> Iterator[tuple[str, str]]:
    tables = [(str(name), ", ".join(cast("list[str]", columns))) for name, columns in run(dsn, TABLES)]
    tables = [table for table in tables if table[0] != FOUND]
    there = {name for name, _ in tables}
    if "public.models" in there:
        tables.append(MODELS)
    for table, columns in tables:
        rows = run(dsn, f"select to_jsonb(r)::text from (select {columns} from {table}) r order by 1")  # noqa: S608
        if rows:
            yield f"rows of {table}", "\n".join(str(row) for (row,) in rows)
