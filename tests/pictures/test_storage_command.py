"""`batchgen storage check` as a process: its output and exit codes."""

import asyncio
import json
import os
import sys
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest
from hostile_pictures import picture
from supabase import AsyncClient

from batchgen.settings import Settings
from devstack import StackInfo
from tests.support import Database, User

Run = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def run(stack: StackInfo, tmp_path: Path) -> Run:
    async def run(*arguments: str, key: str = stack.secret_key) -> tuple[int, str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "batchgen", "storage", "check", *arguments),
            cwd=tmp_path,
            env={**kept, "SUPABASE_URL": stack.url, "SUPABASE_SECRET_KEY": key},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    return run


@pytest.fixture
async def orphan(service: AsyncClient, database: Database, user: User, settings: Settings) -> AsyncGenerator[str]:
    """A file without a row, past the grace time. Files of other tests are past it, too, and are removed with it."""
    path = f"{user.id}/{uuid.uuid4()}.png"
    bucket = service.storage.from_(settings.bucket)
    await bucket.upload(path, picture(), {"content-type": "image/png"})
    old = "update storage.objects set created_at = now() - interval '3 days', updated_at = now() - interval '3 days'"
    await database.execute(f"{old} where name = %s", [path])  # pyright: ignore[reportArgumentType]
    yield path
    await bucket.remove([path])


async def test_an_orphan_is_reported_then_removed(run: Run, orphan: str) -> None:
    code, out, err = await run()
    assert (code, f"file without a row: {orphan}" in out, "--fix" in err) == (1, True, True)

    code, out, _ = await run("--json")
    report = json.loads(out)
    assert (code, report["is_balanced"], orphan in report["orphans"]) == (1, False, True)

    code, out, _ = await run("--fix")
    assert (code, "Bucket and rows match." in out) == (0, True)

    code, out, _ = await run("--json")
    report = json.loads(out)
    assert (code, report["is_balanced"], report["orphans"], report["lost"]) == (0, True, [], [])


async def test_storage_check_needs_the_secret_key(run: Run) -> None:
    code, _, err = await run(key="")

    assert code == 2
    assert "SUPABASE_SECRET_KEY" in err


async def test_a_grace_time_of_zero_is_refused(run: Run) -> None:
    code, _, _ = await run("--grace-hours", "0")

    assert code == 2
