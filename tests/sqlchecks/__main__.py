"""`python -m tests.sqlchecks check|tap|mutate|types|postgres`; exits with 1 where something is wrong."""

import argparse
import asyncio
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from difflib import unified_diff
from pathlib import Path

from rich.console import Console

from tests.sqlchecks import (
    advisors,
    catalog,
    markdown,
    mutants,
    names,
    plpgsql,
    postgres_versions,
    row_security,
    schema_types,
    sources,
    tap,
)
from tests.sqlchecks.mutate import MutationTest, Outcome
from tests.sqlchecks.scratch import Grants, declared, migrated, postgres
from tests.sqlchecks.supabase_cli import supabase_cli

console = Console(soft_wrap=True, highlight=False, markup=False)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.sqlchecks", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("check", help="text, schemas beside migrations, lints, PL/pgSQL, row level security, types")
    taps = commands.add_parser("tap", help="the tests in supabase/tests")
    taps.add_argument("files", nargs="*", type=Path, help="these alone; default: all")
    mutation_test = commands.add_parser("mutate", help="remove each protection and look whether a test notices")
    mutation_test.add_argument("--only", default="", help="mutants whose kind or name has this in it")
    mutation_test.add_argument("--list", action="store_true", help="name them and stop")
    commands.add_parser("types", help="write supabase/types/database.types.ts")
    postgreses = commands.add_parser("postgres", help="say where a version of Postgres comes from")
    postgreses.add_argument("version", help=", ".join(postgres_versions.VERSIONS))
    given = parser.parse_args()
    if given.command == "postgres":
        return _find_postgres(given.version)
    started = time.monotonic()
    try:
        wrong = asyncio.run(_command(given))
    except KeyboardInterrupt:
        return 130
    _say(f"{'✗' if wrong else '✓'} {given.command} after {time.monotonic() - started:.0f} s")
    return 1 if wrong else 0


def _find_postgres(version: str) -> int:
    try:
        programs = postgres_versions.postgres_of(version).program("postgres").parent
    except postgres_versions.PostgresNotFound as error:
        sys.stderr.write(f"{error}\n")
        return 1
    _say(f"• Postgres {version} in {programs}")
    return 0


async def _command(given: argparse.Namespace) -> bool:
    match given.command:
        case "check":
            return await _check()
        case "tap":
            return await _tap([file.resolve() for file in given.files] or tap.sql_files())
        case "mutate":
            return await _mutate(given.only, given.list)
        case _:
            return await _types()


async def _check() -> bool:
    found = sources.findings() + names.findings() + markdown.findings()
    _report("text: lines of SQL and Markdown, definitions, length of functions, names of tests", found)
    wrong = [bool(found)]
    with supabase_cli() as supabase:
        async with postgres() as server:
            dsns = {grants: await migrated(server, f"lint_{grants.name.lower()}", grants) for grants in Grants}
            for grants, dsn in dsns.items():
                there = await declared(server, f"schemas_{grants.name.lower()}", grants)
                wrong.append(
                    await _step(f"schemas = migrations, {grants.sentence}", lambda a=there, b=dsn: _differences(a, b))
                )
            wrong += [
                await _step(f"advisors, {grants.sentence}", lambda dsn=dsn: advisors.findings(supabase, dsn))
                for grants, dsn in dsns.items()
            ]
            dsn = dsns[Grants.NOTHING]
            wrong.append(await _step("types", lambda: _drift(schema_types.generate(supabase, dsn))))
            for grants, each in dsns.items():
                wrong.append(
                    await _step(f"row level security, {grants.sentence}", _in_thread(row_security.failures, each))
                )
    wrong.append(await _check_postgres_15())
    return any(wrong)


async def _check_postgres_15() -> bool:
    if not postgres_versions.has_plpgsql_check():
        _say(f"  - Postgres 15 and PL/pgSQL: skipped, they need Debian's {postgres_versions.CHECK_PACKAGES}")
        return False
    async with postgres(postgres_versions.postgres_of("15")) as server:
        dsn = await migrated(server, "oldest")
        wrong = await _step("PL/pgSQL, on Postgres 15", _in_thread(plpgsql.findings, dsn))
        tap.install_pgtap(dsn)
        verdicts = await tap.run_files(dsn, tap.sql_files())
    failed = [f"{verdict.name}: {line}" for verdict in verdicts for line in verdict.wrong]
    _report("supabase/tests, on Postgres 15", failed)
    return wrong or bool(failed)


async def _tap(files: Sequence[Path]) -> bool:
    async with postgres() as server:
        dsn = await migrated(server, "tap")
        tap.install_pgtap(dsn)
        verdicts = await tap.run_files(dsn, files)
    for verdict in verdicts:
        _say(f"  {'✗' if verdict.wrong else '✓'} {verdict.name} ({verdict.passed})")
        for line in verdict.wrong:
            _say(f"      {line}")
    failed = sum(bool(verdict.wrong) for verdict in verdicts)
    _say(f"{len(verdicts)} files, {sum(verdict.passed for verdict in verdicts)} tests passed, {failed} files failed")
    return failed > 0 or not verdicts


async def _mutate(only: str, list_alone: bool) -> bool:
    async with postgres() as server:
        dsn = await migrated(server, "mutants")
        tap.install_pgtap(dsn)
        chosen = [each for each in mutants.mutants(dsn) if only in str(each)]
        if list_alone:
            _list(chosen)
            return False
        mutation_test, outcomes = MutationTest(server, "mutants", tap.sql_files()), list[Outcome]()
        if failures_without_mutants := await mutation_test.failures_without_mutants():
            _report("tests without any mutant", failures_without_mutants)
            return True
        async for outcome in mutation_test.outcomes(chosen):
            outcomes.append(outcome)
            if not outcome.noticed_by and str(outcome.mutant) not in mutants.EQUIVALENT:
                _say(f"  not noticed: {outcome.mutant}")
            if len(outcomes) % 50 == 0 or len(outcomes) == len(chosen):
                _say(f"  {len(outcomes)} of {len(chosen)}, {sum(not each.noticed_by for each in outcomes)} not noticed")
    _summary(outcomes)
    return _verdict(outcomes)


def _summary(outcomes: Sequence[Outcome]) -> None:
    for kind in sorted({outcome.mutant.kind for outcome in outcomes}):
        noticing = Counter(outcome.noticed_by for outcome in outcomes if outcome.mutant.kind == kind)
        _say(f"{kind}: {noticing.total()}")
        for noticed_by, number in noticing.most_common():
            if noticed_by:
                _say(f"  {number:>4} noticed by {noticed_by}")


def _verdict(outcomes: Sequence[Outcome]) -> bool:
    names = {str(outcome.mutant) for outcome in outcomes}
    not_noticed = {str(outcome.mutant) for outcome in outcomes if not outcome.noticed_by}
    for name in sorted(not_noticed):
        _say(f"not noticed: {name} ({mutants.EQUIVALENT.get(name, 'a test is missing')})")
    noticed = sorted((names & mutants.EQUIVALENT.keys()) - not_noticed)
    for name in noticed:
        _say(f"noticed although listed as equivalent, take it off the list: {name}")
    return bool(noticed) or not outcomes or bool(not_noticed - mutants.EQUIVALENT.keys())


def _list(chosen: Sequence[mutants.Mutant]) -> None:
    for each in chosen:
        _say(str(each))
    _say(f"{len(chosen)} mutants")


async def _types() -> bool:
    with supabase_cli() as supabase:
        async with postgres() as server:
            text = await schema_types.generate(supabase, await migrated(server, "types"))
    schema_types.FILE.parent.mkdir(exist_ok=True)
    schema_types.FILE.write_text(text)
    return False


async def _differences(schemas: str, migrations: str) -> list[str]:
    names = ("supabase/schemas", "supabase/migrations")
    return catalog.differences(await catalog.objects(schemas), await catalog.objects(migrations), names)


async def _drift(generating: Awaitable[str]) -> list[str]:
    kept = schema_types.FILE.read_text() if schema_types.FILE.exists() else ""
    now = await generating
    lines = unified_diff(kept.splitlines(), now.splitlines(), "kept", "now", lineterm="", n=1)
    return [*list(lines)[:40], "`make types` writes it anew"] if kept != now else []


async def _step(name: str, finding: Callable[[], Awaitable[list[str]]]) -> bool:
    found = await finding()
    _report(name, found)
    return bool(found)


def _report(name: str, found: Sequence[str]) -> None:
    _say(f"  {'✗' if found else '✓'} {name}")
    for line in found:
        _say(f"      {line}")


def _in_thread(function: Callable[[str], list[str]], dsn: str) -> Callable[[], Awaitable[list[str]]]:
    return lambda: asyncio.to_thread(function, dsn)


def _say(text: str) -> None:
    console.print(text)
    console.file.flush()


if __name__ == "__main__":
    sys.exit(main())
