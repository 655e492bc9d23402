"""The command line as a process."""

import asyncio
import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMAND = (sys.executable, "-m", "batchgen")
TIMEOUT_SECONDS = 30


@dataclass(frozen=True)
class Ended:
    code: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout; more than one is an error."""
        assert self.stdout, self.stderr
        return json.loads(self.stdout)

    @property
    def error(self) -> dict[str, Any]:
        return json.loads(self.stderr)["error"]


class Shell:
    """Runs `batchgen` with its own folder and its own settings."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder
        self.environment = environment

    async def start(self, *arguments: str, stdin: int = asyncio.subprocess.PIPE) -> asyncio.subprocess.Process:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        return await asyncio.create_subprocess_exec(
            *(*COMMAND, *arguments),
            cwd=self.folder,
            env={**kept, "XDG_CONFIG_HOME": str(self.folder / "config"), **self.environment},
            stdin=stdin,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )

    async def run(self, *arguments: str, stdin: str = "", seconds: float = TIMEOUT_SECONDS) -> Ended:
        process = await self.start(*arguments)
        try:
            async with asyncio.timeout(seconds):
                out, err = await process.communicate(stdin.encode())
        finally:
            if process.returncode is None:
                process.kill()
        return Ended(process.returncode or 0, out.decode(), err.decode())
