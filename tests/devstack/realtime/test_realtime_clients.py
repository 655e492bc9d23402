"""Supabase's own clients, unchanged: realtime-py (protocol 1.0.0) and supabase-js (2.0.0 and 1.0.0)."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from realtime import AsyncRealtimeClient, RealtimePostgresChangesListenEvent, RealtimeSubscribeStates
from realtime_harness import ALICE, BATCH, BOB, PATIENCE_SECONDS, PUBLISHABLE_KEY, Stack, binding, user_token

from devstack.node import node_binary
from tests.npm import npm_install

JS = Path(__file__).parents[2] / "js"
ALL = RealtimePostgresChangesListenEvent.All
SCRIPT = Path(__file__).with_name("realtime_client.mjs")


class Events:
    """Messages of a client, to wait for."""

    def __init__(self) -> None:
        self._events: list[tuple[str, Any]] = []
        self._news = asyncio.Event()

    def say(self, what: str, value: Any) -> None:
        self._events.append((what, value))
        self._news.set()

    async def expect(self, what: str, fits: Callable[[Any], bool] = lambda _: True) -> Any:
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                while True:
                    for item in self._events:
                        if item[0] == what and fits(item[1]):
                            self._events.remove(item)
                            return item[1]
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise AssertionError(f"no {what}; there is {self._events}") from None

    def of(self, what: str) -> list[Any]:
        return [value for name, value in self._events if name == what]


# realtime-py


@asynccontextmanager
async def python_client(stack: Stack, token: str) -> AsyncGenerator[AsyncRealtimeClient]:
    client = AsyncRealtimeClient(stack.url.replace("http", "ws"), PUBLISHABLE_KEY, auto_reconnect=False)
    await client.set_auth(token)
    try:
        await client.connect()
        yield client
    finally:
        await client.close()


async def test_realtime_py_gets_its_rows_and_a_new_tokens_rows(stack: Stack) -> None:
    events = Events()
    async with python_client(stack, user_token(ALICE)) as client:
        channel = client.channel("room")
        channel.on_postgres_changes(ALL, lambda change: events.say("change", change), table="notes", schema="public")
        channel.on_system(lambda payload: events.say("system", payload))
        await channel.subscribe(lambda state, error: events.say("state", (state, error)))
        assert await events.expect("state") == (RealtimeSubscribeStates.SUBSCRIBED, None)
        await events.expect("system")

        await stack.sql("insert into notes values (1, %s, 'a'), (2, %s, 'b')", [ALICE, BOB])
        assert (await events.expect("change"))["data"]["record"]["id"] == 1
        await client.set_auth(user_token(BOB))
        await events.expect("system")
        await stack.sql("insert into notes values (3, %s, 'a'), (4, %s, 'b')", [ALICE, BOB])
        assert (await events.expect("change"))["data"]["record"]["id"] == 4
        await stack.sql("delete from notes where id = 4")
        assert (await events.expect("change"))["data"]["old_record"] == {"id": 4}

        await channel.unsubscribe()
        assert (await events.expect("state"))[0] == RealtimeSubscribeStates.CLOSED
    assert not events.of("change")


async def test_realtime_py_keeps_bindings_apart_and_joins_again(stack: Stack) -> None:
    events = Events()
    async with python_client(stack, user_token()) as client:
        for _ in range(2):
            channel = client.channel("room")
            for name, event, filter_ in (
                ("ins", RealtimePostgresChangesListenEvent.Insert, None),
                ("upd", RealtimePostgresChangesListenEvent.Update, None),
                ("batch", ALL, f"batch_id=eq.{BATCH}"),
            ):

                def on_change(change: Any, name: str = name) -> None:
                    events.say(name, change["data"]["type"])

                channel.on_postgres_changes(event, on_change, table="todos", schema="public", filter=filter_)
            channel.on_system(lambda payload: events.say("system", payload))
            await channel.subscribe(lambda state, error: events.say("state", (state, error)))
            await events.expect("system")
            await stack.sql("insert into todos (batch_id) values (%s)", [BATCH])
            await stack.sql("update todos set done = true")
            assert [await events.expect(name) for name in ("ins", "upd", "batch", "batch")] == [
                "INSERT", "UPDATE", "INSERT", "UPDATE",
            ]  # fmt: skip
            await stack.sql("truncate todos")
            await client.remove_channel(channel)
        assert not events.of("ins")


async def test_realtime_py_learns_of_a_refused_token(stack: Stack) -> None:
    events = Events()
    async with python_client(stack, user_token(seconds=-60)) as client:
        channel = client.channel("room")
        channel.on_postgres_changes(ALL, lambda change: events.say("change", change), table="todos", schema="public")
        await channel.subscribe(lambda state, error: events.say("state", (state, str(error))))
        state, error = await events.expect("state")
        assert state == RealtimeSubscribeStates.CHANNEL_ERROR
        assert "InvalidJWTToken: Token has expired" in error


# supabase-js


@pytest.fixture(scope="session")
def modules() -> Path:
    """The folder of the locked packages, which are installed on first use."""
    return npm_install(JS)


class JavaScript:
    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.events = Events()
        self._process = process
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.events.say(*json.loads(line))

    async def command(self, word: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{word}\n".encode())
        await self._process.stdin.drain()

    async def end(self) -> int:
        async with asyncio.timeout(PATIENCE_SECONDS):
            return await self._process.wait()

    async def clean_up(self) -> None:
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reading


@asynccontextmanager
async def javascript(
    stack: Stack, version: str, wanted: dict[str, Any], *tokens: str | None, modules: Path, folder: Path
) -> AsyncGenerator[JavaScript]:
    (folder / "node_modules").symlink_to(modules)
    shutil.copy(SCRIPT, folder)
    arguments = [stack.url.removesuffix("/realtime/v1"), PUBLISHABLE_KEY, version, json.dumps(wanted)]
    process = await asyncio.create_subprocess_exec(
        str(node_binary()),
        str(folder / SCRIPT.name),
        *arguments,
        json.dumps(tokens),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    client = JavaScript(process)
    try:
        yield client
    finally:
        await client.clean_up()


def is_subscribed(payload: Any) -> bool:
    return payload["message"] == "Subscribed to PostgreSQL"


@pytest.mark.parametrize("version", ["2.0.0", "1.0.0"])
async def test_supabase_js_runs_a_whole_session(stack: Stack, version: str, modules: Path, tmp_path: Path) -> None:
    tokens = (user_token(ALICE), user_token(BOB))
    async with javascript(stack, version, binding("notes"), *tokens, modules=modules, folder=tmp_path) as client:
        events = client.events
        assert await events.expect("status") == ["SUBSCRIBED", None]
        await events.expect("system", is_subscribed)

        await stack.sql("insert into notes values (1, %s, 'a'), (2, %s, 'b')", [ALICE, BOB])
        inserted = await events.expect("change")
        await client.command("token")
        await events.expect("system", is_subscribed)
        await stack.sql("update notes set text = 'c'")
        updated = await events.expect("change")
        await stack.sql("delete from notes where id = 2")
        deleted = await events.expect("change")
        await client.command("rejoin")
        assert await events.expect("status") == ["CLOSED", None]
        await events.expect("system", is_subscribed)
        await stack.sql("insert into notes values (3, %s, 'b')", [BOB])
        again = await events.expect("change")
        await events.expect("heartbeat", lambda status: status == "ok")
        await client.command("stop")
        assert await client.end() == 0

    assert (inserted["eventType"], inserted["new"]["id"], inserted["errors"]) == ("INSERT", 1, None)
    assert (updated["eventType"], updated["new"]["id"], updated["old"]) == ("UPDATE", 2, {"id": 2})
    assert (deleted["eventType"], deleted["new"], deleted["old"]) == ("DELETE", {}, {"id": 2})
    assert again["new"]["id"] == 3
    assert events.of("change") == []


@pytest.mark.parametrize("version", ["2.0.0", "1.0.0"])
async def test_supabase_js_learns_of_an_invalid_filter(
    stack: Stack, version: str, modules: Path, tmp_path: Path
) -> None:
    wrong = binding("todos", filter="batch_id=eq.nonsense")
    async with javascript(stack, version, wrong, None, modules=modules, folder=tmp_path) as client:
        assert await client.events.expect("status") == ["SUBSCRIBED", None]
        system = await client.events.expect("system")
        assert system["status"] == "error"
        assert "invalid input syntax for type uuid" in system["message"]


async def test_supabase_js_learns_of_a_refused_token(stack: Stack, modules: Path, tmp_path: Path) -> None:
    expired = user_token(seconds=-60)
    async with javascript(stack, "2.0.0", binding("todos"), expired, modules=modules, folder=tmp_path) as client:
        status, message = await client.events.expect("status")
        assert status == "CHANNEL_ERROR"
        assert "Token has expired" in message
