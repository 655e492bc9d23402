"""The tests in `supabase/tests` pass and cover every object of the API, and a failing one is noticed."""

from pathlib import Path

import pytest

from tests.sqlchecks import tap
from tests.sqlchecks.scratch import run

FILES = tap.sql_files()
# Functions that only other functions call are tested with those.
OBJECTS = """
select c.relname from pg_class c
where c.relnamespace = 'public'::regnamespace and c.relkind in ('r', 'p', 'v')
union
select p.proname from pg_proc p where p.pronamespace = 'public'::regnamespace and p.prorettype <> 'trigger'::regtype
"""


@pytest.mark.parametrize("file", FILES, ids=[str(file.relative_to(tap.TESTS)) for file in FILES])
async def test_a_file_passes_as_planned(shared_dsn: str, file: Path) -> None:
    verdict = await tap.run_file(shared_dsn, file)

    assert not verdict.wrong, "\n".join(verdict.wrong)
    assert verdict.passed > 0


def test_every_table_view_and_function_of_the_api_has_tests(shared_dsn: str) -> None:
    tested = {file.parent.name for file in FILES}

    untested = {str(name) for (name,) in run(shared_dsn, OBJECTS)} - tested

    assert not untested, f"make a folder in {tap.TESTS} for each of {sorted(untested)}"


def test_a_file_leaves_nothing_behind(shared_dsn: str) -> None:
    assert run(shared_dsn, "select count(*) from auth.users") == [(0,)]


@pytest.mark.parametrize(
    ("body", "wrong"),
    [
        ("select plan(1); select ok(false, 'so'); select * from finish();", "not ok 1 - so"),
        ("select plan(2); select ok(true); select * from finish();", "it planned 2 tests and ran 1"),
        ("select plan(1); select ok(true); select ok(true); select * from finish();", "it planned 1 tests and ran 2"),
        ("select ok(true);", "You tried to run a test without a plan"),
        ("select 1;", "it plans no tests: []"),
        (
            "select plan(1); select ok(true, repeat('x', 81)); select * from finish();",
            "a description has at most 80 characters: xxx",
        ),
        ("select plan(1); select ok(true); select 1 / 0;", "ERROR:  division by zero"),
        ("select plan(1); select ok(true); select * from finish(); select nonsense;", "psql ended with 3"),
    ],
    ids=["fails", "too few", "too many", "no plan", "no tests", "long description", "error", "error after the end"],
)
async def test_a_file_that_does_not_pass_is_told_so(shared_dsn: str, tmp_path: Path, body: str, wrong: str) -> None:
    file = tmp_path / "wrong.test.sql"
    file.write_text(f"begin; {body} rollback;")

    verdict = await tap.run_file(shared_dsn, file)

    assert any(wrong in line for line in verdict.wrong), verdict


async def test_a_file_that_does_not_end_does_not_pass(
    shared_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tap, "SECONDS", 1)
    file = tmp_path / "endless.test.sql"
    file.write_text("begin; select pg_sleep(600); rollback;")

    verdict = await tap.run_file(shared_dsn, file)

    assert verdict.wrong == ("it did not end within 1 s",)


async def test_statements_before_a_file_are_rolled_back_with_it(shared_dsn: str) -> None:
    file = tap.TESTS / "tags" / "signed_in_users_read_words.test.sql"

    spoiled = await tap.run_file(shared_dsn, file, before="revoke select on public.tags from authenticated")

    assert any("permission denied for table tags" in line for line in spoiled.wrong), spoiled
    assert not (await tap.run_file(shared_dsn, file)).wrong
