"""Fixtures: the command line as a process, with a real worker beside it."""

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from shell import Shell

from devstack import StackInfo
from tests.support import User, WorkerProcess


@pytest.fixture(scope="module", autouse=True)
async def worker(stack: StackInfo) -> AsyncGenerator[None]:
    process = await WorkerProcess.start(
        {
            "SUPABASE_URL": stack.url,
            "SUPABASE_SECRET_KEY": stack.secret_key,
            "BATCHGEN_OFFLINE_COMMANDS": "1",
            "BATCHGEN_OFFLINE_SECONDS": "0.1",
            "BATCHGEN_POLL_SECONDS": "0.2",
            "BATCHGEN_DELETIONS_SECONDS": "0.2",
            "BATCHGEN_LOG_FORMAT": "json",
        }
    )
    yield
    await process.end()


@pytest.fixture
def shell(stack: StackInfo, tmp_path: Path) -> Shell:
    """A shell on a machine where nobody is signed in."""
    return Shell(tmp_path, {"SUPABASE_URL": stack.url, "SUPABASE_PUBLISHABLE_KEY": stack.publishable_key})


@pytest.fixture
def operator(stack: StackInfo, tmp_path: Path) -> Shell:
    return Shell(tmp_path, {"SUPABASE_URL": stack.url, "SUPABASE_SECRET_KEY": stack.secret_key})


@pytest.fixture
async def signed_in(shell: Shell, user: User) -> Shell:
    ended = await shell.run("login", "--email", user.email, "--password-stdin", stdin=user.password)
    assert ended.code == 0, ended.stderr
    return shell
