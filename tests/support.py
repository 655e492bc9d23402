"""Helpers for tests to import; the fixtures are in conftest.py."""

import asyncio
import inspect
import json
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import psycopg
from supabase import AsyncClient

Database = psycopg.AsyncConnection[dict[str, Any]]
T = TypeVar("T")


@dataclass(frozen=True)
class User:
    """A user who has just signed up."""

    client: AsyncClient
    id: str
    email: str
    password: str
    token: str


async def eventually(
    check: Callable[[], T | Awaitable[T]], timeout: float = 10, *, every: float = 0.02, what: str = ""
) -> T:
    """Wait until `check` (sync or async) gives something true, and return that. Fails after `timeout` seconds."""
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        found = check()
        value = cast("T", await found if inspect.isawaitable(found) else found)
        if value:
            return value
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"{what or check} is not so after {timeout} s; it is {value!r}")
        await asyncio.sleep(every)


@dataclass
class WorkerProcess:
    """`python -m scheduler`, or another worker's module, as a process with its log lines."""

    process: asyncio.subprocess.Process
    lines: list[str] = field(default_factory=list[str])
    _reading: asyncio.Task[None] | None = None

    @classmethod
    async def start(cls, environment: Mapping[str, str], *arguments: str, module: str = "scheduler") -> "WorkerProcess":
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", module, *arguments),
            env={**kept, **environment},
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        worker = cls(process)
        worker._reading = asyncio.create_task(worker._read())
        return worker

    @property
    def events(self) -> list[dict[str, Any]]:
        """The log lines that are JSON."""
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    def named(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.events if line["event"] == event]

    async def logs(self, event: str, count: int = 1, timeout: float = 20) -> list[dict[str, Any]]:
        """Wait until `event` is in the log `count` times."""
        await eventually(lambda: len(self.named(event)) >= count, timeout, what=f"{event} in {self.lines[-8:]}")
        return self.named(event)

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def exit_code(self, timeout: float = 20) -> int:
        async with asyncio.timeout(timeout):
            code = await self.process.wait()
            if self._reading:
                await self._reading
            return code

    async def end(self) -> None:
        """End all processes at the end of a test."""
        if self.process.returncode is None:
            self.process.kill()
        await self.exit_code()

    async def _read(self) -> None:
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            self.lines.append(line.decode().rstrip())
