"""Fixtures for all tests. The dev stack starts once, when a test first asks for it."""

import os
import signal
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from psycopg import sql
from psycopg.rows import dict_row
from supabase import AsyncClient

from batchgen.backend.connection import connect, disconnect
from batchgen.settings import Settings
from devstack import Stack, StackConfig, StackInfo
from tests.support import Database, User

# A shell that starts the tests in the background makes them ignore SIGINT, and nohup makes them ignore SIGHUP. Programs
# under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
    signal.signal(signal.SIGHUP, lambda _number, _frame: None)

LONG_FILES = (
    "tests/chaos/test_chaos.py",
    "tests/money/test_random_faults.py",
    "tests/readme/test_readme.py",
    "tests/worker/test_backend_outages.py",
    "tests/worker/test_worker_process.py",
    "tests/worker/test_watchdog.py",
    "tests/cli/test_cli.py",
    "tests/devstack/test_dev_command.py",
)
"""Few tests and long ones. They come first: the last file runs while the other cores have nothing left to do."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    places = {file: place for place, file in enumerate(LONG_FILES)}
    items.sort(key=lambda item: places.get(item.nodeid.partition("::")[0], len(places)))


def pytest_xdist_auto_num_workers() -> int:
    """One process more than cores: two of them leave a third of two cores idle, since tests wait for processes."""
    return len(os.sched_getaffinity(0)) + 1 if hasattr(os, "sched_getaffinity") else (os.cpu_count() or 1) + 1


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[StackInfo]:
    """Postgres, REST, Auth, Storage and Realtime on loopback, all migrations applied; no worker."""
    folder = tmp_path_factory.mktemp("stack")
    for parent in (folder, folder.parent):
        parent.chmod(0o711)  # Postgres may run as another user
    async with Stack(StackConfig(data_dir=folder, port=0, durable=False)) as info:
        yield info


@pytest.fixture
async def database(stack: StackInfo) -> AsyncGenerator[Database]:
    """A connection as the superuser, with autocommit and rows as dicts."""
    connection = await Database.connect(stack.database_url, autocommit=True, row_factory=dict_row)
    try:
        yield connection
    finally:
        await connection.close()


@pytest.fixture
def settings(stack: StackInfo, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Settings:
    """Settings for the stack, independent of the environment."""
    monkeypatch.chdir(tmp_path)  # no .env of a developer is read there
    return Settings.model_validate(
        {
            "supabase_url": stack.url,
            "supabase_publishable_key": stack.publishable_key,
            "supabase_secret_key": stack.secret_key,
        }
    )


@pytest.fixture
async def service(stack: StackInfo, settings: Settings) -> AsyncGenerator[AsyncClient]:
    """A client with the secret key."""
    client = await connect(settings, key=stack.secret_key)
    try:
        yield client
    finally:
        await disconnect(client)


@pytest.fixture
async def new_user(stack: StackInfo, settings: Settings) -> AsyncGenerator[Callable[[], Awaitable[User]]]:
    """Signs up a random user: `user = await new_user()`."""
    clients: list[AsyncClient] = []

    async def sign_up() -> User:
        client = await connect(settings, key=stack.publishable_key)
        clients.append(client)
        email, password = f"{uuid.uuid4().hex}@example.test", uuid.uuid4().hex
        answer = await client.auth.sign_up({"email": email, "password": password})
        assert answer.user
        assert answer.session
        return User(client, answer.user.id, email, password, answer.session.access_token)

    yield sign_up
    for client in clients:
        await disconnect(client)


@pytest.fixture
async def user(new_user: Callable[[], Awaitable[User]]) -> User:
    return await new_user()


@pytest.fixture
async def empty_queue(database: Database) -> AsyncGenerator[None]:
    """Ends all items in the shared stack's queue before and after the test."""
    await _empty(database)
    yield
    left = await _empty(database)
    assert left == 0, f"the test left {left} items in the queue"


@pytest.fixture
async def limits(database: Database) -> AsyncGenerator[Callable[..., Awaitable[None]]]:
    """Changes columns of `batchgen.settings` for one test: `await limits(max_retries=1)`."""
    row = await (await database.execute("select * from batchgen.settings")).fetchone()
    assert row
    before = {name: value for name, value in row.items() if name not in ("id", "updated_at")}

    async def change(**columns: Any) -> None:
        for name, value in columns.items():
            statement = sql.SQL("update batchgen.settings set {} = %s").format(sql.Identifier(name))
            await database.execute(statement, [value])

    yield change
    await change(**before)


async def _empty(database: Database) -> int:
    """End all items that wait or run; returns their number."""
    ended = await database.execute(
        "delete from public.image_generations where id in (select generation_id from batchgen.queue)"
    )
    return ended.rowcount
