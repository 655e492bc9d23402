"""Supabase's own command line, from the npm packages that `tools/` locks. No Docker, no account."""

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from devstack.node import node_binary
from tests.npm import npm_install
from tests.sqlchecks.scratch import ROOT

TOOLS = ROOT / "tools"
SCRIPT = TOOLS / "node_modules" / "supabase" / "dist" / "supabase.js"
SECONDS = 110


class CommandFailed(AssertionError):
    """The command said no; the message is what it printed."""


class SupabaseCli:
    """Runs it in the checkout, with a home of its own, and says nothing home."""

    def __init__(self, home: Path) -> None:
        self._env = {
            "PATH": f"{node_binary().parent}:{os.defpath}",
            "HOME": str(home),
            "SUPABASE_HOME": str(home / ".supabase"),
            "DO_NOT_TRACK": "1",
            "NO_COLOR": "1",
        }
        self._run("telemetry", "disable")

    async def __call__(self, *arguments: str) -> str:
        """What it printed, messages first."""
        done = await asyncio.to_thread(self._run, *arguments)
        return done.stderr + done.stdout

    async def output(self, *arguments: str) -> str:
        """What it printed on standard output alone."""
        return (await asyncio.to_thread(self._run, *arguments)).stdout

    def _run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        return node(SCRIPT, *arguments, env=self._env)


@contextmanager
def supabase_cli() -> Generator[SupabaseCli]:
    """Installs it first where that was not done since the lock file changed."""
    npm_install(TOOLS)
    with tempfile.TemporaryDirectory(prefix="batchgen-supabase-") as home:
        yield SupabaseCli(Path(home))


def node(
    script: Path, *arguments: str, env: dict[str, str], text: str | None = None
) -> "subprocess.CompletedProcess[str]":
    """Run a script of an npm package; `text` goes to its standard input."""
    command = [str(node_binary()), str(script), *arguments]
    done = subprocess.run(
        command, cwd=ROOT, env=env, input=text, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    if done.returncode != 0:
        raise CommandFailed(done.stdout + done.stderr)
    return done
