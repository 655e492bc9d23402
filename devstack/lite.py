"""Supabase Lite as a child process: REST, Auth and Storage on our Postgres."""

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from devstack.errors import LiteFailed
from devstack.loopback import LoopbackServer, Program
from devstack.node import node_binary


@dataclass(frozen=True)
class LiteConfig:
    database_url: str
    url: str
    storage_dir: Path
    jwt_secret: str
    publishable_key: str
    secret_key: str
    pool_size: int = 16


class LiteServer(LoopbackServer):
    """`scripts` is the folder of lite.mjs."""

    def __init__(self, scripts: Path, config: LiteConfig, log_file: Path) -> None:
        command = [str(node_binary()), "--disable-warning=ExperimentalWarning", str(scripts / "lite.mjs")]
        super().__init__(Program("Supabase Lite", LiteFailed, command, _environment(), scripts, log_file))
        self._config = config

    async def provision(self) -> None:
        """Make the schemas auth and storage, and end."""
        try:
            await self.run(self._told("provision"), "provisioned")
        finally:
            await self.stop()

    async def start(self) -> None:
        """Read the schema once and serve; what migrations change later needs another start."""
        await self.serve(self._told("serve"))

    def _told(self, task: str) -> dict[str, Any]:
        return {**{_camel(name): value for name, value in asdict(self._config).items()}, "task": task}


def _environment() -> dict[str, str]:
    """Nothing of ours, and no word to anybody outside."""
    return {
        "PATH": os.defpath,
        "TZ": "UTC",
        "NODE_ENV": "production",
        "EXPERIMENTAL_STORAGE": "1",
        "LITE_TELEMETRY": "0",
        "DO_NOT_TRACK": "1",
    }


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
