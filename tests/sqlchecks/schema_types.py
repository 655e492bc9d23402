"""TypeScript types of the schema, as Supabase's command line writes them: kept in the repository for web clients."""

import os

from devstack.node import node_binary
from tests.sqlchecks.scratch import ROOT
from tests.sqlchecks.supabase_cli import TOOLS, SupabaseCli, node

FILE = ROOT / "supabase" / "types" / "database.types.ts"
PRETTIER = TOOLS / "node_modules" / "prettier" / "bin" / "prettier.cjs"
STYLE = ("--parser", "typescript", "--print-width", "120", "--no-config", "--no-editorconfig")
HEADER = "// Written by `make types` from supabase/migrations; `make check` refuses it where it is not what they say.\n"


async def generate(supabase: SupabaseCli, dsn: str) -> str:
    """The types of a migrated database, formatted."""
    written = await supabase.output("gen", "types", f"--remote={dsn}", "--schema", "public", "--lang", "typescript")
    start = written.index("export type Json")  # before it stands what the command says of the connection
    env = {"PATH": f"{node_binary().parent}:{os.defpath}"}
    return HEADER + node(PRETTIER, *STYLE, env=env, text=written[start:]).stdout
