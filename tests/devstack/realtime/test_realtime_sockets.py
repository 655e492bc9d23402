"""Sockets: silence, size, slowness, and the server's stop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any, cast

import aiohttp
import pytest_asyncio
from realtime_harness import PUBLISHABLE_KEY, Stack, binding

from devstack.realtime import SocketLimits

IDLE_SECONDS = 1.0
JOIN = json.dumps(
    {
        "topic": "realtime:room",
        "event": "phx_join",
        "payload": {"config": {"postgres_changes": [binding("blobs")]}},
        "ref": "1",
    }
)


def wire(ws: aiohttp.ClientWebSocketResponse) -> asyncio.Transport:
    return cast(Any, ws)._response.connection.transport


@pytest_asyncio.fixture
async def strict(dsn: str) -> AsyncIterator[Stack]:
    """A server that soon closes silent sockets."""
    stack = Stack(dsn, limits=SocketLimits(idle_seconds=IDLE_SECONDS))
    try:
        await stack.start()
        yield stack
    finally:
        await stack.stop()


@pytest_asyncio.fixture
async def narrow(dsn: str) -> AsyncIterator[Stack]:
    """A server with small limits for incoming frames and for unread ones."""
    stack = Stack(dsn, limits=SocketLimits(frame_bytes=100_000, queued_characters=2_000_000))
    try:
        await stack.start()
        yield stack
    finally:
        await stack.stop()


async def test_a_silent_socket_is_closed_with_1000(strict: Stack) -> None:
    client = await strict.connect()
    assert await client.closed() == 1000


async def test_websocket_pings_count_as_traffic(strict: Stack) -> None:
    client = await strict.connect()
    ends_at = asyncio.get_running_loop().time() + 2 * IDLE_SECONDS
    while asyncio.get_running_loop().time() < ends_at:
        await client.ws.ping()
        await asyncio.sleep(0.1)
    await client.send("phoenix", "heartbeat", {})
    await client.expect("phx_reply")


async def test_a_frame_of_five_million_bytes_is_read(stack: Stack) -> None:
    client = await stack.connect()
    await client.ws.send_str("x" * 5_000_000)
    ref = await client.send("phoenix", "heartbeat", {})
    await client.expect("phx_reply", ref=ref)


async def test_a_frame_over_the_limit_closes_with_1009(narrow: Stack) -> None:
    client = await narrow.connect()
    await client.ws.send_str("x" * 100_000)
    ref = await client.send("phoenix", "heartbeat", {})
    await client.expect("phx_reply", ref=ref)
    await client.ws.send_str("x" * 100_001)
    assert await client.closed() == 1009


async def test_a_client_that_does_not_read_is_disconnected(narrow: Stack) -> None:
    async with aiohttp.ClientSession() as session:
        unread = await session.ws_connect(f"{narrow.url}/websocket?apikey={PUBLISHABLE_KEY}", max_msg_size=0)
        await unread.send_str(JOIN)
        while json.loads((await unread.receive()).data)["event"] != "system":
            pass
        transport = wire(unread)
        transport.pause_reading()
        client = await narrow.connect("2.0.0")
        await client.join("room", [binding("blobs")])

        for number in range(16):
            await narrow.sql("insert into blobs values (%s, 'a', repeat('x', 900000))", [number])
            (change,) = await client.changes(1)
            assert change.data["record"]["id"] == number

        transport.resume_reading()
        async with asyncio.timeout(30):
            while (await unread.receive()).type not in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                pass
        assert unread.close_code == 1006


async def test_a_vanished_client_does_not_disturb_others(stack: Stack) -> None:
    gone, here = await stack.connect(), await stack.connect()
    await gone.join("room", [binding("todos")])
    await here.join("room", [binding("todos")])
    wire(gone.ws).abort()
    await gone.closed()
    await stack.sql("insert into todos (id) values (1)")
    assert len(await here.changes(1)) == 1


async def test_a_plain_request_is_refused(stack: Stack) -> None:
    url = f"{stack.url}/websocket?apikey={PUBLISHABLE_KEY}"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        assert answer.status == 400


async def test_stop_closes_sockets_with_1012_and_leaves_nothing(dsn: str) -> None:
    stack = Stack(dsn)
    await stack.start()
    try:
        client = await stack.connect()
        await client.join("room", [binding("todos")])
        await stack.realtime.stop()
        assert await client.closed() == 1012
        assert await stack.sql("select 1 from pg_replication_slots where database = current_database()") == []
        assert await stack.sql("select 1 from pg_stat_activity where application_name like 'devstack realtime%'") == []
        assert (await stack.handshake(apikey=PUBLISHABLE_KEY))[0] == 503
    finally:
        await stack.stop()
