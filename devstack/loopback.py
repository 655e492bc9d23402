"""A child process that serves HTTP on a loopback port of the system's choice, and ends with us.

It is told its config as one JSON line on stdin, which stays open as long as we live, and says as JSON lines on stdout
when it is ready, and on which port.
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
    """`name` and `failure` are for the error when it does not start."""

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
        """Where it answers; None while it does not."""
        return f"http://127.0.0.1:{self._port}" if self._port else None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def serve(self, told: Mapping[str, Any]) -> None:
        """Return when it is ready."""
        ready = await self.run(told, "ready")
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

    async def run(self, told: Mapping[str, Any], event: str) -> dict[str, Any]:
        """Start it and return what it says with this event; it is stopped where it does not come to that."""
        self._process = process = await self._spawn()
        try:
            return await asyncio.wait_for(self._talk(process, told, event), START_SECONDS)
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

    async def _talk(self, process: asyncio.subprocess.Process, told: Mapping[str, Any], event: str) -> dict[str, Any]:
        if process.stdin is None or process.stdout is None:
            raise self.program.failure(f"{self.program.name} was started without pipes.")
        process.stdin.write(json.dumps(told, default=str).encode() + b"\n")
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
