"""The Postgres server: alone, restarted, killed, and of another version."""

import signal
import socket
from pathlib import Path

import psutil
import psycopg
import pytest

from devstack import DevstackError, PostgresServer


async def fetch_one(server: PostgresServer, query: str) -> object:
    async with await psycopg.AsyncConnection.connect(server.dsn(), autocommit=True) as connection:
        row = await (await connection.execute(query.encode())).fetchone()
    assert row is not None
    return row[0]


async def execute(server: PostgresServer, statement: str) -> None:
    async with await psycopg.AsyncConnection.connect(server.dsn(), autocommit=True) as connection:
        await connection.execute(statement.encode())


async def test_postgres_has_logical_decoding_and_listens_on_loopback_only(postgres: PostgresServer) -> None:
    assert await fetch_one(postgres, "show wal_level") == "logical"
    assert await fetch_one(postgres, "show listen_addresses") == "127.0.0.1"
    assert await fetch_one(postgres, "show unix_socket_directories") == ""


async def test_postgres_never_runs_as_root(postgres: PostgresServer) -> None:
    assert postgres.pid is not None
    assert psutil.Process(postgres.pid).uids().effective != 0


async def test_a_wrong_password_is_refused(postgres: PostgresServer) -> None:
    wrong = f"postgresql://postgres:wrong@127.0.0.1:{postgres.port}/postgres"

    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        await psycopg.AsyncConnection.connect(wrong)


async def test_durability_is_off_only_on_request(postgres: PostgresServer, tmp_path: Path) -> None:
    async with PostgresServer(tmp_path) as durable:
        assert await fetch_one(durable, "show fsync") == "on"
    assert await fetch_one(postgres, "show fsync") == "off"


async def test_data_is_kept_over_a_stop(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path, durable=False)
    async with server:
        await execute(server, "create table kept as select 1 as id")
    async with server:
        assert await fetch_one(server, "select id from kept") == 1


async def test_a_postgres_left_by_a_killed_run_is_ended_and_recovered(tmp_path: Path) -> None:
    abandoned = PostgresServer(tmp_path)
    await abandoned.start()
    await execute(abandoned, "create table kept as select 1 as id")

    async with PostgresServer(tmp_path) as server:  # as if the process that started the first one had died
        await abandoned.wait()
        assert await fetch_one(server, "select id from kept") == 1


async def test_a_killed_postgres_is_recovered(tmp_path: Path) -> None:
    server = PostgresServer(tmp_path)
    await server.start()
    await execute(server, "create table kept as select 1 as id")
    assert server.pid is not None
    psutil.Process(server.pid).send_signal(signal.SIGKILL)
    await server.wait()

    async with server:
        assert await fetch_one(server, "select id from kept") == 1


async def test_data_of_another_version_is_one_clear_line(tmp_path: Path) -> None:
    cluster = tmp_path / "cluster"
    cluster.mkdir()
    (cluster / "PG_VERSION").write_text("17\n")

    with pytest.raises(DevstackError, match=r"contains data of Postgres 17, but this is Postgres 18"):
        await PostgresServer(tmp_path).start()


async def test_a_port_in_use_is_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(DevstackError, match=f"Port {port} is in use"):
            await PostgresServer(tmp_path, port, durable=False).start()
