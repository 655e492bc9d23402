"""The Postgres 15 that Debian packages, and its plpgsql_check, where they are installed."""

from pathlib import Path

from devstack.postgres import PostgresServer

HOME = Path("/usr/lib/postgresql/15")
PACKAGES = "postgresql-15 and postgresql-15-plpgsql-check"


class DebianPostgres(PostgresServer):
    """The oldest version that hosted projects run."""

    major = "15"
    locale_options = ("--locale", "C")

    @classmethod
    def program(cls, name: str) -> Path:
        return HOME / "bin" / name


def is_installed() -> bool:
    return (HOME / "bin" / "initdb").exists() and (HOME / "lib" / "plpgsql_check.so").exists()
