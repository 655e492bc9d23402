"""Supabase Realtime's wire protocol for changes and broadcasts, for development and tests on one machine.

Unmodified supabase-js (protocol 2.0.0) and realtime-py (1.0.0) work with it as with supabase/realtime v2.129.8. The
modules name that server's source files as sources of their rules.

Not supported: presence (joins and tracks are acknowledged, but no presence is sent); broadcasts over HTTP; rate limits;
tenants; tokens signed with other algorithms than HS256/384/512. Differences from the real server, which reads changes
with wal2json: the publication's row filters and column lists apply (pgoutput applies them), records lack stored
generated columns, and `character` and `bit` values are complete. A token with a superuser's role is refused, since it
would bypass all policies.
"""

from devstack.realtime.server import RealtimeServer
from devstack.realtime.sockets import SocketLimits

__all__ = ["RealtimeServer", "SocketLimits"]
