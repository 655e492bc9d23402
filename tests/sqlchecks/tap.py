"""Runs `supabase/tests` (pgTAP) as `supabase test db` does: each file in a psql of its own, and rolled back."""

import asyncio
import os
import re
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from devstack.postgres import PostgresServer
from tests.npm import npm_install
from tests.sqlchecks.names import CHARACTERS
from tests.sqlchecks.scratch import ROOT, run
from tests.sqlchecks.supabase_cli import TOOLS

TESTS = ROOT / "supabase" / "tests"
PGTAP = TOOLS / "node_modules" / "@electric-sql" / "pglite-pgtap" / "dist" / "pgtap.tar.gz"
PSQL_OPTIONS = ("--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "--set", "ON_ERROR_STOP=1")
SECONDS = 120

BEGUN_BEFORE = "WARNING:  there is already a transaction in progress"
PLAN = re.compile(r"^1\.\.(\d+)$")
RESULT = re.compile(r"^(not )?ok (\d+)(?: - (.*))?$")


@dataclass(frozen=True)
class Verdict:
    """The result of one file. It passed if it planned tests, ran exactly those, and nothing is wrong."""

    file: Path
    passed: int
    wrong: tuple[str, ...]

    @property
    def name(self) -> str:
        return str(self.file.relative_to(TESTS)) if self.file.is_relative_to(TESTS) else str(self.file)


def sql_files(folder: Path = TESTS) -> list[Path]:
    return sorted(folder.rglob("*.test.sql"))


def install_pgtap(dsn: str) -> None:
    """pgTAP into the schema `extensions`, where `supabase test db` has it."""
    npm_install(TOOLS)
    with tarfile.open(PGTAP) as archive:
        member = archive.extractfile("share/postgresql/extension/pgtap.sql")
        assert member is not None
        sql = member.read().decode()
    run(dsn, f"create schema if not exists extensions; set search_path = extensions, public; {sql}")


async def run_file(dsn: str, file: Path, before: str = "") -> Verdict:
    """`before` is done first, in the file's own transaction, and rolled back with it."""
    first = ("--command", "begin", "--command", before) if before else ()
    process = await asyncio.create_subprocess_exec(
        *(str(PostgresServer.program("psql")), *PSQL_OPTIONS, *first, "--file", str(file), dsn),
        env={
            "PATH": os.defpath,
            "PGCONNECT_TIMEOUT": "10",
            "PGTZ": "UTC",
            "PGOPTIONS": "-c client_min_messages=warning",
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        output, errors = await asyncio.wait_for(process.communicate(), SECONDS)
    except BaseException as error:
        process.kill()
        await process.wait()
        if isinstance(error, TimeoutError):  # a mutant may make a statement wait or loop for ever
            return Verdict(file, 0, (f"it did not end within {SECONDS} s",))
        raise
    return judge(file, output.decode(), errors.decode(), process.returncode or 0)


async def run_files(dsn: str, files: Sequence[Path], at_once: int = 2) -> list[Verdict]:
    """The verdicts in the order of the files."""
    turns = asyncio.Semaphore(at_once)

    async def in_turn(file: Path) -> Verdict:
        async with turns:
            return await run_file(dsn, file)

    return await asyncio.gather(*map(in_turn, files))


async def first_failure(dsn: str, files: Sequence[Path], before: str) -> Verdict | None:
    """Runs file after file until one fails."""
    for file in files:
        if (verdict := await run_file(dsn, file, before)).wrong:
            return verdict
    return None


def judge(file: Path, output: str, errors: str, code: int) -> Verdict:
    """Read TAP: what is not ok, what was not planned, what was planned and did not run."""
    lines = output.splitlines()
    plans = [int(match[1]) for line in lines if (match := PLAN.match(line))]
    results = [match for line in lines if (match := RESULT.match(line))]
    wrong = [match.string for match in results if match[1]]
    long = [match[3] for match in results if match[3] and len(match[3]) > CHARACTERS]
    wrong += [f"a description has at most {CHARACTERS} characters: {description}" for description in long]
    wrong += [line for line in errors.splitlines() if line.strip() and not line.endswith(BEGUN_BEFORE)]
    if code != 0:
        wrong.append(f"psql ended with {code}")
    if len(plans) != 1 or plans[0] < 1:
        wrong.append(f"it plans no tests: {plans}")
    elif [int(match[2]) for match in results] != list(range(1, plans[0] + 1)):
        wrong.append(f"it planned {plans[0]} tests and ran {len(results)}")
    if wrong:
        wrong += [line for line in lines if line.startswith("#")]
    return Verdict(file, sum(not match[1] for match in results), tuple(wrong))
