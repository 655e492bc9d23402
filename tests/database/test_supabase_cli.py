"""The Supabase CLI applies the migrations to projects of any kind. No Docker, no account."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from database_harness import Database, NewDatabase

from devstack.migrations import apply_migrations, default_migrations_dir
from tests.sqlchecks.supabase_cli import SupabaseCli, supabase_cli


@pytest.fixture(scope="module")
def supabase() -> Iterator[SupabaseCli]:
    with supabase_cli() as cli:
        yield cli


@pytest.mark.parametrize("files", [[], ["hosted_schemas.sql"]], ids=["plain", "hosted"])
async def test_db_push_applies_everything_once(supabase: SupabaseCli, bare: NewDatabase, files: list[str]) -> None:
    db = await bare(*files)

    await supabase("db", "push", f"--remote={db.dsn}", "--yes")
    again = await supabase("db", "push", f"--remote={db.dsn}", "--yes")

    assert "up to date" in again
    files_here = {path.name.split("_", 1)[0] for path in default_migrations_dir().glob("*.sql")}
    applied = db.run("select version from supabase_migrations.schema_migrations")
    assert {row["version"] for row in applied} == files_here
    assert await apply_migrations(db.dsn, default_migrations_dir()) == []
    assert _one_batch_runs(db)


async def test_db_push_finds_nothing_to_do_after_the_dev_stack(supabase: SupabaseCli, bare: NewDatabase) -> None:
    db = await bare()
    await apply_migrations(db.dsn, default_migrations_dir())

    assert "up to date" in await supabase("db", "push", f"--remote={db.dsn}", "--yes")


async def test_db_push_beside_an_apps_own_history_leaves_it_alone(
    supabase: SupabaseCli, bare: NewDatabase, tmp_path: Path
) -> None:
    """docs/existing-projects.md: the files are copied beside the app's own, which are earlier and later."""
    db = await bare()
    folder = tmp_path / "supabase" / "migrations"
    folder.mkdir(parents=True)
    for version in ("20250101000000", "20990101000000"):
        (folder / f"{version}_app.sql").write_text(f"create table public.app_{version} (id uuid primary key);")
    push = ("db", "push", f"--remote={db.dsn}", "--yes", f"--workdir={tmp_path}")
    await supabase(*push)

    for file in default_migrations_dir().glob("*.sql"):
        shutil.copy(file, folder)
    await supabase(*push, "--include-all")

    applied = {row["version"] for row in db.run("select version from supabase_migrations.schema_migrations")}
    assert applied == {path.name.split("_", 1)[0] for path in folder.glob("*.sql")}
    assert _one_batch_runs(db)


def _one_batch_runs(db: Database) -> bool:
    batch = db.submit()
    for claim in db.claim():
        db.complete(claim)
    return db.totals(batch["id"]) == ("completed", 2, 0)
