"""The Postgres 15 that Debian packages, and its plpgsql_check, where they are installed."""

import os
from pathlib import Path

from devstack.postgres import PostgresServer

HOME = Path("/usr/lib/postgresql/15")
PACKAGES = "postgresql-15 and postgresql-15-plpgsql-check"


class DebianPostgres(PostgresServer):
    """The oldest version that hosted projects run."""

    major = "15"
    locale_options = ("--locale", "C.UTF-8")

    @classmethod
    def program(cls, name: str) -> Path:
        return HOME / "bin" / name


def is_there() -> bool:
    """Raises where nothing may be skipped, as `.ci/run` says by BATCHGEN_CHECKS=all."""
    there = (HOME / "bin" / "initdb").exists() and (HOME / "lib" / "plpgsql_check.so").exists()
    if not there and os.environ.get("BATCHGEN_CHECKS") == "all":
        raise FileNotFoundError(
            f"Debian's {PACKAGES} are not installed, and BATCHGEN_CHECKS=all lets nothing be skipped."
        )
    return there
