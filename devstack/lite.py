"""Supabase Lite as a child process: REST, Auth and Storage on our Postgres."""

import asyncio
import json
import os
import signal
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from devstack import child
from devstack.errors import LiteFailed
from devstack.files import last_line
from devstack.node import node_binary

START_SECONDS = 60.0
STOP = ((signal.SIGTERM, 5.0),)


@dataclass(frozen=True)
class LiteConfig:
    database_url: str
    url: str
    storage_dir: Path
    jwt_secret: str
    publishable_key: str
    secret_key: str
    pool_size: int = 16


class LiteServer:
    """`scripts` is the folder of lite.mjs; it listens on a loopback port of the system's choice."""

    def __init__(self, scripts: Path, config: LiteConfig, log_file: Path) -> None:
        self._scripts = scripts
        self._config = config
        self._log_file = log_file
        self._process: asyncio.subprocess.Process | None = None
        self._port: int | None = None

    @property
    def base_url(self) -> str | None:
        """Where it answers; None while it does not."""
        return f"http://127.0.0.1:{self._port}" if self._port else None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def provision(self) -> None:
        """Make the schemas auth and storage, and end."""
        try:
            await self._run("provision", "provisioned")
        finally:
            await self.stop()

    async def start(self) -> None:
        """Read the schema once and serve; what migrations change later needs another start."""
        ready = await self._run("serve", "ready")
        self._port = int(ready["port"])

    async def wait(self) -> None:
        """Return when it has ended, by itself or not."""
        if self._process:
            await self._process.wait()
        self._port = None

    async def stop(self) -> None:
        self._port = None
        if self._process:
            await child.end(self._process, STOP)
        self._process = None

    async def _run(self, task: str, event: str) -> dict[str, Any]:
        self._log_file.parent.mkdir(parents=True, exist_ok=True)
        with self._log_file.open("ab") as log:
            process = await child.spawn(
                [str(node_binary()), "--disable-warning=ExperimentalWarning", str(self._scripts / "lite.mjs")],
                death_signal=signal.SIGKILL,
                env=_environment(),
                cwd=self._scripts,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )
        self._process = process
        try:
            return await asyncio.wait_for(self._talk(process, task, event), START_SECONDS)
        except TimeoutError:
            await self.stop()
            raise LiteFailed(f"Supabase Lite did not answer within {START_SECONDS:.0f} s ({self._log_file}).") from None
        except BaseException:
            await self.stop()
            raise

    async def _talk(self, process: asyncio.subprocess.Process, task: str, event: str) -> dict[str, Any]:
        if process.stdin is None or process.stdout is None:
            raise LiteFailed("Supabase Lite was started without pipes.")
        process.stdin.write(self._told(task))
        async for line in process.stdout:
            message = _message(line)
            if message.get("event") == event:
                return message
        raise LiteFailed(f"Supabase Lite did not start: {last_line(self._log_file)} (see {self._log_file})")

    def _told(self, task: str) -> bytes:
        names = {_camel(name): value for name, value in asdict(self._config).items()}
        return json.dumps({**names, "task": task}, default=str).encode() + b"\n"


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


def _message(line: bytes) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", json.loads(line))
    except ValueError:
        return {}


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(part.capitalize() for part in rest)
