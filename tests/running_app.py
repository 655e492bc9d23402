"""The app as a process: a script in tests/js that uses supabase-js and reports events as JSON."""

import asyncio
import itertools
import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from devstack import StackInfo
from devstack.node import node_binary
from tests.npm import npm_install
from tests.support import eventually

JS = Path(__file__).parent / "js"
LONGEST_LINE = 16 * 1024 * 1024


class RunningApp:
    """The script's events so far, and a way to send it commands."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self._events: list[tuple[str, Any]] = []
        self._reading = asyncio.create_task(self._read())
        self._numbers = itertools.count()

    def seen(self, what: str) -> list[Any]:
        return [value for name, value in self._events if name == what]

    async def event(self, what: str) -> Any:
        await eventually(lambda: bool(self.seen(what)) or self._process.returncode is not None, 20, what=what)
        assert self.seen(what), f"the app ended without reporting {what!r}"
        return self.seen(what)[-1]

    def send(self, command: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(f"{command}\n".encode())

    async def call(self, name: str, *arguments: Any) -> Any:
        """The result of the app's own call of that name."""
        number = next(self._numbers)
        self.send(json.dumps([number, name, *arguments]))

        def answers() -> list[Any]:
            return [result for asked, result in self.seen("answer") if asked == number]

        await eventually(lambda: answers() or self._process.returncode is not None, 30, what=f"an answer to {name}")
        assert answers(), f"the app ended without an answer to {name}"
        return answers()[0]

    async def _read(self) -> None:
        assert self._process.stdout
        async for line in self._process.stdout:
            what, value = json.loads(line)
            self._events.append((what, value))

    def end_input(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()

    async def ended(self) -> int:
        code = await self._process.wait()
        await self._reading
        return code


@asynccontextmanager
async def running_app(script: str, stack: StackInfo, task: dict[str, Any]) -> AsyncGenerator[RunningApp]:
    """`script` gets the stack's address and key, and `task` as JSON; it must end by itself, with 0."""
    await asyncio.to_thread(npm_install, JS)
    process = await asyncio.create_subprocess_exec(
        *(str(node_binary()), script, stack.url, stack.publishable_key, json.dumps(task)),
        cwd=JS,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        limit=LONGEST_LINE,
    )
    app = RunningApp(process)
    try:
        yield app
        app.end_input()
        assert await app.ended() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await app.ended()
