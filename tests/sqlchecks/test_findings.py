"""Each check of `make check` finds an error that is there."""

from collections.abc import AsyncGenerator, Iterator

import pytest

from tests.sqlchecks import advisors, plpgsql, postgres_versions, row_security, schema_types
from tests.sqlchecks.scratch import Grants, migrated, postgres, run
from tests.sqlchecks.supabase_cli import SupabaseCli, supabase_cli


@pytest.fixture(scope="module")
def supabase() -> Iterator[SupabaseCli]:
    with supabase_cli() as cli:
        yield cli


@pytest.fixture(scope="module")
async def debian_dsn() -> AsyncGenerator[str]:
    if not postgres_versions.has_plpgsql_check():
        pytest.skip(f"needs Debian's {postgres_versions.CHECK_PACKAGES}")
    async with postgres(postgres_versions.postgres_of("15")) as server:
        yield await migrated(server, "lint", Grants.EVERYTHING)


async def test_the_advisors_find_an_open_table_and_a_key_without_an_index(supabase: SupabaseCli, dsn: str) -> None:
    run(
        dsn,
        "create table public.open (id bigint primary key, user_id uuid references auth.users (id));"
        "grant select on public.open to anon",
    )

    found = await advisors.findings(supabase, dsn)

    assert any(line.startswith("error rls_disabled_in_public: ") for line in found), found
    assert any(line.startswith("info unindexed_foreign_keys: ") for line in found), found


async def test_a_new_column_makes_the_types_drift(supabase: SupabaseCli, dsn: str) -> None:
    run(dsn, "alter table public.tags add column sort_order integer not null default 0")

    text = await schema_types.generate(supabase, dsn)

    assert text != schema_types.FILE.read_text()
    assert "sort_order?: number;" in text


HOLES = {
    'alter policy "Owners read their images" on public.images using (true)': "images.other.reads",
    "alter table public.image_generations disable row level security": "image_generations.other.reads",
    "alter view public.batch_progress set (security_invoker = off)": "batch_progress.other.reads",
    # A trigger refuses it, too: both are removed.
    'alter policy "Owners add templates" on public.prompt_templates with check (true);'
    "alter table public.prompt_templates disable trigger batchgen_app_write": (
        "prompt_templates.other.inserts_in_her_name"
    ),
    "grant update on public.user_rate_limits to authenticated": "user_rate_limits.owner.raises",
    'drop policy "Owners read their images" on public.images': "images.owner.reads",
}


@pytest.mark.parametrize("hole", HOLES)
def test_the_checker_of_row_level_security_finds_a_hole(dsn: str, hole: str) -> None:
    run(dsn, hole)

    lines = row_security.failures(dsn)

    assert any(line.startswith(f"{HOLES[hole]}: ") for line in lines), lines


def test_the_checker_of_row_level_security_finds_none_in_the_migrations(dsn: str) -> None:
    assert row_security.failures(dsn) == []


def test_plpgsql_check_finds_a_fault_in_a_trigger_function(debian_dsn: str) -> None:
    assert plpgsql.findings(debian_dsn) == []
    run(
        debian_dsn,
        "create function batchgen.broken() returns trigger language plpgsql set search_path = '' as"
        " $$ begin new.nothing := 1; return new; end $$;"
        "create trigger broken before insert on public.tags for each row execute function batchgen.broken();"
        "create function batchgen.idle() returns trigger language plpgsql set search_path = '' as"
        " $$ begin return new; end $$",
    )

    found = plpgsql.findings(debian_dsn)

    assert any('record "new" has no field "nothing"' in line for line in found), found
    assert "batchgen.idle(): no trigger calls it" in found
