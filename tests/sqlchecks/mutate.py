"""Removes one protection of the schema at a time and checks whether a test notices."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg

from devstack.postgres import PostgresServer
from tests.sqlchecks import row_security, tap
from tests.sqlchecks.mutants import Mutant
from tests.sqlchecks.scratch import ROOT, run

# In Python, for what pgTAP cannot say in one session; asked last, because they take longest.
PYTHON_TESTS = ("test_races.py", "test_batch_actions_races.py", "test_limits.py")
SECONDS = 300


@dataclass(frozen=True)
class Outcome:
    """A mutant, and the test that noticed it, if any."""

    mutant: Mutant
    noticed_by: str | None


class MutationTest:
    """Asks the files in `supabase/tests` first, in a transaction with the mutant, beginning with likely ones; then, on
    a copy of the database, the checker of row level security and tests in Python."""

    def __init__(self, server: PostgresServer, template: str, files: Sequence[Path], at_once: int = 2) -> None:
        self._server, self._template, self._files = server, template, list(files)
        self._names = [f"mutants_{number}" for number in range(at_once)]
        self._noticing: dict[str, Counter[Path]] = {}

    async def outcomes(self, mutants: Sequence[Mutant]) -> AsyncGenerator[Outcome]:
        """As they come, one at a time in each of our databases: DDL locks."""
        waiting, done = iter(mutants), asyncio.Queue[Outcome]()

        async def test_in(name: str) -> None:
            await asyncio.to_thread(self._copy, name)
            for mutant in waiting:
                await done.put(await self._outcome(mutant, name))

        async with asyncio.TaskGroup() as group:
            for name in self._names:
                group.create_task(test_in(name))
            for _ in mutants:
                yield await done.get()

    async def failures_without_mutants(self) -> list[str]:
        """What fails without any mutant; there must be nothing, or each mutant would look noticed."""
        verdicts = await tap.run_files(self._server.dsn(self._template), self._files)
        name = f"{self._template}_whole"
        await asyncio.to_thread(self._copy, name)
        holes = await asyncio.to_thread(row_security.failures, self._server.dsn(name))
        return [f"{verdict.name}: {line}" for verdict in verdicts for line in verdict.wrong] + holes

    async def _outcome(self, mutant: Mutant, name: str) -> Outcome:
        dsn = self._server.dsn(name)
        await asyncio.to_thread(_try, dsn, mutant.sql)
        verdict = await tap.first_failure(dsn, self._in_order(mutant), before=mutant.sql)
        if verdict:
            self._noticing.setdefault(mutant.kind, Counter())[verdict.file] += 1
            return Outcome(mutant, verdict.name)
        return Outcome(mutant, await self._ask_the_others(mutant, f"{name}_whole"))

    async def _ask_the_others(self, mutant: Mutant, name: str) -> str | None:
        await asyncio.to_thread(self._copy, name)
        await asyncio.to_thread(run, self._server.dsn(name), mutant.sql)
        broken = await asyncio.to_thread(row_security.failures, self._server.dsn(name))
        await asyncio.to_thread(run, self._server.dsn(), f"drop database {name} with (force)")
        return broken[0] if broken else await _ask_python(mutant)

    def _copy(self, name: str) -> None:
        run(self._server.dsn(), f"create database {name} template {self._template} strategy file_copy")

    def _in_order(self, mutant: Mutant) -> list[Path]:
        """The file that noticed most of the kind, those of a table or function that the mutant names, all others."""
        noticed = self._noticing.get(mutant.kind, Counter())
        name = mutant.name.replace("storage.objects", "storage_objects")
        best = max(noticed, key=lambda file: noticed[file], default=None)
        return sorted(self._files, key=lambda file: (file != best, file.parent.name not in name, -noticed[file]))


def _try(dsn: str, sql: str) -> None:
    """A mutant that cannot be made would look as if a test had noticed it."""
    with psycopg.connect(dsn) as connection:
        connection.execute(sql.encode())
        connection.rollback()


async def _ask_python(mutant: Mutant) -> str | None:
    """The first test that fails on a database with the mutant, if any; it must pass without."""
    failed = await _first_failed(mutant.sql, *(f"tests/database/{name}" for name in PYTHON_TESTS))
    if failed:
        unasked = await _first_failed("", failed)
        assert unasked is None, f"{failed} fails without any mutant"
    return failed


async def _first_failed(mutant: str, *tests: str) -> str | None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider", *tests),
        env={**os.environ, "BATCHGEN_TEST_MUTANT": mutant},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(), SECONDS)
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode in (0, 1), output.decode()
    lines = (line for line in output.decode().splitlines() if line.startswith("FAILED "))
    return next((line.removeprefix("FAILED ").split(" - ")[0] for line in lines), None)
