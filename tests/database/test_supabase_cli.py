"""Supabase's own command line applies the migrations and finds nothing to complain about. No Docker, no account."""

import asyncio
import os
import subprocess
from pathlib import Path

import pytest
from database_harness import Database, NewDatabase

from devstack.migrations import apply_migrations, default_migrations_dir
from devstack.node import node_binary
from tests.npm import npm_install

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tools"
SECONDS = 110
GRANT_EVERYTHING = (
    "alter default privileges in schema public grant all on tables to anon, authenticated, service_role;"
    "alter default privileges in schema public grant execute on functions to anon, authenticated, service_role"
)


class Cli:
    def __init__(self, home: Path) -> None:
        self.env = {
            "PATH": f"{node_binary().parent}:{os.defpath}",
            "HOME": str(home),
            "SUPABASE_HOME": str(home / ".supabase"),
            "DO_NOT_TRACK": "1",
            "NO_COLOR": "1",
        }

    async def __call__(self, *arguments: str) -> str:
        """Run it in the checkout; what it printed."""
        script = TOOLS / "node_modules" / "supabase" / "dist" / "supabase.js"
        return await asyncio.to_thread(_run, [str(node_binary()), str(script), *arguments], ROOT, self.env)


@pytest.fixture(scope="module")
def supabase(tmp_path_factory: pytest.TempPathFactory) -> Cli:
    npm_install(TOOLS)
    home = tmp_path_factory.mktemp("supabase-home")
    cli = Cli(home)
    script = TOOLS / "node_modules" / "supabase" / "dist" / "supabase.js"
    _run([str(node_binary()), str(script), "telemetry", "disable"], ROOT, cli.env)
    return cli


@pytest.mark.parametrize("files", [[], ["hosted_schemas.sql"]], ids=["plain", "hosted"])
async def test_db_push_applies_everything_once(supabase: Cli, bare: NewDatabase, files: list[str]) -> None:
    db = await bare(*files)

    await supabase("db", "push", f"--remote={db.dsn}", "--yes")
    again = await supabase("db", "push", f"--remote={db.dsn}", "--yes")

    assert "up to date" in again
    files_here = {path.name.split("_", 1)[0] for path in default_migrations_dir().glob("*.sql")}
    applied = db.run("select version from supabase_migrations.schema_migrations")
    assert {row["version"] for row in applied} == files_here
    assert await apply_migrations(db.dsn, default_migrations_dir()) == []
    assert _one_batch_runs(db)


async def test_db_push_finds_nothing_to_do_after_the_dev_stack(supabase: Cli, bare: NewDatabase) -> None:
    db = await bare()
    await apply_migrations(db.dsn, default_migrations_dir())

    assert "up to date" in await supabase("db", "push", f"--remote={db.dsn}", "--yes")


async def test_the_database_advisors_find_nothing_until_something_is_wrong(supabase: Cli, bare: NewDatabase) -> None:
    """Where new objects are granted to everybody by default: there the advisors have most to find."""
    db = await bare("hosted_schemas.sql", before=GRANT_EVERYTHING)
    await apply_migrations(db.dsn, default_migrations_dir())
    # Without it nine of the advisors look at nothing.
    db.run(f"alter database {db.admin.info.dbname} set pgrst.db_schemas = 'public, graphql_public'")
    advisors = ("db", "advisors", f"--remote={db.dsn}", "--level", "warn", "--fail-on", "warn")

    assert "No issues found" in await supabase(*advisors)

    db.run("create table public.open (id bigint primary key)")
    with pytest.raises(AssertionError, match="rls_disabled_in_public"):
        await supabase(*advisors)


def _one_batch_runs(db: Database) -> bool:
    batch = db.submit()
    for claim in db.claim():
        db.complete(claim)
    return db.totals(batch["id"]) == ("completed", 2, 0)


def _run(command: list[str], folder: Path, env: dict[str, str]) -> str:
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
