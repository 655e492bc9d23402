"""Supabase for one machine without Docker, for development and tests: Postgres, Supabase Lite, Realtime."""

from devstack.errors import DevstackError
from devstack.postgres import PostgresServer
from devstack.stack import Stack, StackConfig, StackInfo

__all__ = ["DevstackError", "PostgresServer", "Stack", "StackConfig", "StackInfo"]
