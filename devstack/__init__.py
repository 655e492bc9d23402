"""Supabase on one machine without Docker, for development and tests: Postgres, Supabase Lite, Realtime."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devstack.errors import DevstackError
    from devstack.postgres import PostgresServer
    from devstack.stack import Stack, StackConfig, StackInfo

__all__ = ["DevstackError", "PostgresServer", "Stack", "StackConfig", "StackInfo"]

_HOMES = {
    "DevstackError": "devstack.errors",
    "PostgresServer": "devstack.postgres",
    "Stack": "devstack.stack",
    "StackConfig": "devstack.stack",
    "StackInfo": "devstack.stack",
}


def __getattr__(name: str) -> object:
    """Import on first use, so that `python -m devstack.demo` starts fast enough to handle Ctrl-C."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
