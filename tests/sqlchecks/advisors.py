"""Supabase's database advisors (splinter): nothing to report, whatever is granted by default."""

import json
from typing import Any, cast

from tests.sqlchecks.supabase_cli import SupabaseCli

# Of a database in which no query ever ran it reports every index.
ALWAYS = {"unused_index"}


async def findings(supabase: SupabaseCli, dsn: str) -> list[str]:
    """One line per finding, of every level."""
    said = await supabase.output("db", "advisors", f"--remote={dsn}", "--level", "info", "--output-format", "json")
    report = cast("dict[str, Any]", json.loads(said))
    return sorted(_line(lint) for lint in report["results"] if lint["name"] not in ALWAYS)


def _line(lint: dict[str, Any]) -> str:
    return f"{lint['level'].lower()} {lint['name']}: {lint['detail']}"
