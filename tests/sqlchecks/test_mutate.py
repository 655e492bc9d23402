"""A short `make mutate-sql`: a mutant of each kind is noticed, and one that changes nothing is not."""

from collections import Counter
from itertools import groupby

import pytest

from devstack.postgres import PostgresServer
from tests.sqlchecks import mutants, tap
from tests.sqlchecks.mutants import Mutant
from tests.sqlchecks.mutate import MutationTest


@pytest.fixture(scope="module")
def found(shared_dsn: str) -> list[Mutant]:
    return mutants.mutants(shared_dsn)


def test_each_kind_of_protection_has_mutants_under_names_of_their_own(found: list[Mutant]) -> None:
    assert {mutant.kind for mutant in found} == {
        "check dropped",
        "function granted",
        "guard removed",
        "policy dropped",
        "policy shows all",
        "policy takes all",
        "row security off",
        "schema opened",
        "table granted",
        "trigger disabled",
        "trigger dropped",
        "view of its owner",
    }
    assert [name for name, number in Counter(map(str, found)).items() if number > 1] == []
    assert {name for name in mutants.EQUIVALENT if name not in set(map(str, found))} == set()


async def test_a_mutant_of_each_kind_is_noticed(server: PostgresServer, template: str, found: list[Mutant]) -> None:
    sample = [list(group)[-1] for _, group in groupby(found, key=lambda mutant: mutant.kind)]

    outcomes = [outcome async for outcome in MutationTest(server, template, tap.sql_files()).outcomes(sample)]

    assert len(outcomes) == len(sample)
    assert [str(outcome.mutant) for outcome in outcomes if outcome.noticed_by is None] == []


async def test_a_mutant_that_changes_nothing_is_not_noticed(shared_dsn: str) -> None:
    assert (
        await tap.first_failure(shared_dsn, tap.sql_files(), before="comment on table public.tags is 'Words'") is None
    )
