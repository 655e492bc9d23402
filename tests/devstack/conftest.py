"""The dev stack under test: one for the session, with its own tables instead of the project's migrations."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from platformdirs import user_cache_path
from supabase import AsyncClient

from devstack import PostgresServer, Stack, StackConfig
from devstack.node import deno_binary, install_packages
from tests.devstack.stack_clients import Running, User, client_of, new_user
from tests.fast_folder import fast_folder

MIGRATIONS = Path(__file__).parent / "migrations"


@pytest.fixture(scope="session")
async def running(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Running]:
    data_dir = tmp_path_factory.mktemp("devstack")
    stack = Stack(StackConfig(data_dir, port=0, migrations_dir=MIGRATIONS, durable=False))
    async with stack as info:
        yield Running(stack, info)


@pytest.fixture(scope="session")
async def postgres() -> AsyncGenerator[PostgresServer]:
    with fast_folder() as folder:
        async with PostgresServer(folder / "postgres", durable=False) as server:
            yield server


@pytest.fixture(scope="session")
async def deno() -> Path:
    """The Deno of the stack."""
    binary = deno_binary(await install_packages(user_cache_path("batchgen"), lambda: None))
    if binary is None:
        pytest.skip("there is no Deno for this platform")
    return binary


@pytest.fixture
async def service(running: Running) -> AsyncGenerator[AsyncClient]:
    async with client_of(running.info, running.info.secret_key) as client:
        yield client


@pytest.fixture
async def user(running: Running) -> AsyncGenerator[User]:
    async with new_user(running.info) as user:
        yield user


@pytest.fixture
async def other_user(running: Running) -> AsyncGenerator[User]:
    async with new_user(running.info) as user:
        yield user
