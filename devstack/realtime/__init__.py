"""Supabase Realtime's wire protocol for `postgres_changes`, for development and tests on one machine.

Unchanged supabase-js (protocol 2.0.0) and realtime-py (1.0.0) work with it as with supabase/realtime
v2.129.8, whose source files the modules name where a rule comes from.

Not offered: presence (joins and tracks are answered, nobody's presence is told), broadcasts over binary
frames, over HTTP, from the database or into private topics, replay, rate limits, tenants, tokens signed by
other than HS256/384/512. Unlike the real server, which reads by wal2json, the publication's row filters and
column lists count here (pgoutput applies them), stored generated columns are missing from records, and
`character` and `bit` values come whole. A token whose role is a superuser is refused: it would see all.
"""

from devstack.realtime.server import RealtimeServer
from devstack.realtime.sockets import SocketLimits

__all__ = ["RealtimeServer", "SocketLimits"]
