"""Whatever happens to connections, no change is lost or sent twice, and changes come in the order of the commits."""

from __future__ import annotations

import asyncio
import sys

import psycopg
import pytest
from realtime_harness import PATIENCE_SECONDS, Stack, binding

from devstack.postgres import PostgresServer
from devstack.realtime.slot import SlotTakenError


async def test_changes_come_in_the_order_of_the_commits(stack: Stack) -> None:
    """Ten writers update one row in turn; its values show the order of the commits."""
    await stack.sql("insert into two_keys values (1, 'counter', '0')")
    await stack.wait_until_read()
    client = await stack.connect("2.0.0")
    await client.join("room", [binding("two_keys")])

    async def count() -> None:
        async with await psycopg.AsyncConnection.connect(stack.dsn, autocommit=True) as connection:
            for _ in range(20):
                await connection.execute("update two_keys set v = (v::int + 1)::text where a = 1")

    await asyncio.gather(*(count() for _ in range(10)))

    values = [int(frame.data["record"]["v"]) for frame in await client.changes(200)]
    assert values == list(range(1, 201))


async def test_a_large_transaction_comes_whole_and_in_order(stack: Stack) -> None:
    client = await stack.connect()
    await client.join("room", [binding("two_keys")])
    await stack.sql("insert into two_keys select n, 'x' from generate_series(1, 5000) n")
    await stack.sql("insert into two_keys values (5001, 'x')")
    assert [frame.data["record"]["a"] for frame in await client.changes(5001, 20)] == list(range(1, 5002))


async def test_a_join_sees_every_commit_after_its_system_message(stack: Stack) -> None:
    """While rows are being written, each client's first row comes no later than the first one after it subscribed."""
    last, stop = 0, asyncio.Event()

    async def write() -> None:
        nonlocal last
        async with await psycopg.AsyncConnection.connect(stack.dsn, autocommit=True) as connection:
            while not stop.is_set():
                await connection.execute("insert into two_keys values (%s, 'x')", [last + 1])
                last += 1

    writing = asyncio.create_task(write())
    try:
        for _ in range(15):
            client = await stack.connect()
            await client.join("room", [binding("two_keys")])
            subscribed_at = last
            first, *more = [frame.data["record"]["a"] for frame in await client.changes(20)]
            assert first <= subscribed_at + 1 + 1
            assert [first, *more] == list(range(first, first + 20))
            await client.close()
    finally:
        stop.set()
        await writing


async def test_terminated_connections_lose_and_repeat_nothing(stack: Stack) -> None:
    client = await stack.connect()
    await client.join("room", [binding("two_keys")])

    for number in range(1, 101):
        await stack.sql("insert into two_keys values (%s, 'x')", [number])
        if number % 10 == 0:
            await stack.sql(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
                " and application_name like 'devstack realtime%'"
            )

    assert [frame.data["record"]["a"] for frame in await client.changes(100, 20)] == list(range(1, 101))
    await client.join("other", [binding("two_keys")])
    assert not client.waiting()


@pytest.mark.parametrize("way", ["stop", "kill"])
async def test_a_restart_of_postgres_loses_and_repeats_nothing(
    stack: Stack, postgres: PostgresServer, way: str
) -> None:
    client = await stack.connect()
    await client.join("room", [binding("two_keys")])
    await stack.sql("insert into two_keys select n, 'x' from generate_series(1, 50) n")
    await client.changes(50)
    await stack.sql("insert into two_keys select n, 'x' from generate_series(51, 1000) n")

    port = postgres.port
    await (postgres.stop() if way == "stop" else postgres.kill())
    postgres._any_port, postgres.port = False, port  # pyright: ignore[reportPrivateUsage]
    await postgres.start()
    await stack.reconnect()
    await stack.sql("insert into two_keys values (1001, 'x')")

    assert [frame.data["record"]["a"] for frame in await client.changes(951, 20)] == list(range(51, 1002))
    await client.join("other", [binding("two_keys")])
    await stack.sql("insert into two_keys values (1002, 'x')")
    assert len(await client.changes(2)) == 2
    assert not client.waiting()


SERVER = """
import asyncio, sys
from devstack.realtime import RealtimeServer

async def main():
    await RealtimeServer(database_url=sys.argv[1], jwt_secret="x" * 32, api_keys={}, poll_seconds=0).start()
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


async def test_a_slot_left_by_a_killed_server_is_dropped_at_the_next_start(dsn: str) -> None:
    killed = await asyncio.create_subprocess_exec(sys.executable, "-c", SERVER, dsn, stdout=asyncio.subprocess.PIPE)
    assert killed.stdout is not None
    assert await killed.stdout.readline() == b"ready\n"
    killed.kill()
    await killed.wait()

    stack = Stack(dsn)
    try:
        assert len(await stack.sql("select 1 from pg_replication_slots where database = current_database()")) == 1
        await stack.start()
        client = await stack.connect()
        await client.join("room", [binding("todos")])
        await stack.sql("insert into todos (id) values (1)")
        assert len(await client.changes(1)) == 1
    finally:
        await stack.stop()


async def test_a_second_server_on_the_same_database_does_not_start(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("devstack.realtime.slot._TAKEOVER_SECONDS", 0.2)
    second = Stack(stack.dsn)
    try:
        with pytest.raises(SlotTakenError):
            await second.start()
    finally:
        await second.stop()
    client = await stack.connect()
    await client.join("room", [binding("todos")])
    await stack.sql("insert into todos (id) values (1)")
    assert len(await client.changes(1)) == 1


async def test_a_publication_created_later_is_followed(dsn: str) -> None:
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute("drop publication supabase_realtime")
        await connection.execute("insert into todos (id) values (1)")
    stack = Stack(dsn)
    try:
        await stack.start()
        client = await stack.connect()
        await client.join("room", [binding("todos")], subscribed=False)
        refused = await client.expect("system")

        await stack.sql("insert into todos (id) values (2)")
        await stack.sql("create publication supabase_realtime for table todos")
        subscribed = await client.expect("system", seconds=4 * PATIENCE_SECONDS)  # the server skips the log first
        await stack.sql("insert into todos (id) values (3)")
        (change,) = await client.changes(1)

        assert refused.payload["status"] == "error"
        assert subscribed.payload["message"] == "Subscribed to PostgreSQL"
        assert change.data["record"]["id"] == 3
    finally:
        await stack.stop()


async def test_every_channel_learns_of_tables_leaving_the_publication(stack: Stack) -> None:
    client = await stack.connect()
    await client.join("stays", [binding("todos")])
    await client.join("leaves", [binding("notes")])
    await stack.wait_until_read()

    await stack.sql("alter publication supabase_realtime drop table notes")
    stays, leaves = await client.expect("system", "realtime:stays"), await client.expect("system", "realtime:leaves")
    await stack.sql("alter publication supabase_realtime add table notes")
    back = await client.expect("system", "realtime:leaves")

    assert [frame.payload["status"] for frame in (stays, leaves, back)] == ["ok", "error", "ok"]
    assert "Please check Realtime is enabled" in leaves.payload["message"]


async def test_a_dropped_table_does_not_stop_other_changes(stack: Stack) -> None:
    client = await stack.connect()
    await client.join("room", [binding("two_keys"), binding("todos")])
    await stack.sql("insert into two_keys values (1, 'x'); drop table two_keys; insert into todos (id) values (1)")
    tables = [(await client.changes(1))[0].data["table"]]
    if tables == ["two_keys"]:
        tables.append((await client.changes(1))[0].data["table"])
    assert tables[-1] == "todos"
