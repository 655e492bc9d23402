"""Supabase Lite in a child process: REST, Auth and Storage on the stack's Postgres."""

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
        """Create the schemas auth and storage, then end."""
        try:
            await self.run(self._task("provision"), "provisioned")
        finally:
            await self.stop()

    async def start(self) -> None:
        """Read the schema once and serve. Later migrations need a restart."""
        await self.serve(self._task("serve"))

    def _task(self, task: str) -> dict[str, Any]:
        return {**{_camel(name): value for name, value in asdict(self._config).items()}, "task": task}


def _environment() -> dict[str, str]:
    """Nothing of this process's environment, and no telemetry."""
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
