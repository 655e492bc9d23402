"""A child process that serves HTTP on a free loopback port and ends with this process.

It reads its configuration as one JSON line from stdin, which stays open as long as this process lives, and writes JSON
lines to stdout: one when it is ready, with its port.
"""

import asyncio
import json
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from devstack import child
from devstack.errors import DevstackError
from devstack.files import last_line

START_SECONDS = 60.0
STOP = ((signal.SIGTERM, 5.0),)


@dataclass(frozen=True)
class Program:
    """`name` and `failure` are used for the error if it does not start."""

    name: str
    failure: type[DevstackError]
    command: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    log_file: Path


class LoopbackServer:
    def __init__(self, program: Program) -> None:
        self.program = program
        self._process: asyncio.subprocess.Process | None = None
        self._port: int | None = None

    @property
    def base_url(self) -> str | None:
        """The server's address; None while it does not run."""
        return f"http://127.0.0.1:{self._port}" if self._port else None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def serve(self, config: Mapping[str, Any]) -> None:
        """Start the server; return when it is ready."""
        ready = await self.run(config, "ready")
        self._port = int(ready["port"])

    async def wait(self) -> None:
        """Return when the process has ended, for any reason."""
        if self._process:
            await self._process.wait()
        self._port = None

    async def stop(self) -> None:
        self._port = None
        if self._process:
            await child.end(self._process, STOP)
        self._process = None

    async def run(self, config: Mapping[str, Any], event: str) -> dict[str, Any]:
        """Start the process and return its message of this event. Stops it if the message does not come."""
        self._process = process = await self._spawn()
        try:
            return await asyncio.wait_for(self._configure(process, config, event), START_SECONDS)
        except TimeoutError:
            await self.stop()
            name, log = self.program.name, self.program.log_file
            raise self.program.failure(f"{name} did not answer within {START_SECONDS:.0f} s ({log}).") from None
        except BaseException:
            await self.stop()
            raise

    async def _spawn(self) -> asyncio.subprocess.Process:
        self.program.log_file.parent.mkdir(parents=True, exist_ok=True)
        with self.program.log_file.open("ab") as log:
            return await child.spawn(
                self.program.command,
                death_signal=signal.SIGKILL,
                env=self.program.env,
                cwd=self.program.cwd,
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=log,
            )

    async def _configure(
        self, process: asyncio.subprocess.Process, config: Mapping[str, Any], event: str
    ) -> dict[str, Any]:
        if process.stdin is None or process.stdout is None:
            raise self.program.failure(f"{self.program.name} was started without pipes.")
        process.stdin.write(json.dumps(config, default=str).encode() + b"\n")
        async for line in process.stdout:
            message = _message(line)
            if message.get("event") == event:
                return message
        log = self.program.log_file
        raise self.program.failure(f"{self.program.name} did not start: {last_line(log)} (see {log})")


def _message(line: bytes) -> dict[str, Any]:
    try:
        return cast("dict[str, Any]", json.loads(line))
    except ValueError:
        return {}
