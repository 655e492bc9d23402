"""Messages of the command line while no worker runs."""

import asyncio
import json
from typing import Any

import pytest
from shell import Shell

from devstack import StackInfo
from tests.support import Database, WorkerProcess

TIMEOUT_SECONDS = 30


@pytest.fixture(scope="module", autouse=True)
def worker() -> None:
    """No worker, unlike in the other modules of this folder."""


async def waiting_batch(shell: Shell, database: Database) -> str:
    batch_id = (await shell.run("submit", "a fox", "a bird", "--json")).json["batch"]["id"]
    await database.execute("delete from batchgen.workers")
    await database.execute("update batchgen.queue set due_at = now() - interval '1 hour'")
    return batch_id


async def next_line(stream: asyncio.StreamReader | None) -> dict[str, Any]:
    assert stream is not None
    async with asyncio.timeout(TIMEOUT_SECONDS):
        return json.loads(await stream.readline())


async def test_watch_json_tells_whether_a_worker_runs(signed_in: Shell, database: Database, stack: StackInfo) -> None:
    watch = await signed_in.start("watch", await waiting_batch(signed_in, database), "--json")
    first, second = await next_line(watch.stdout), await next_line(watch.stdout)

    worker = await WorkerProcess.start(
        {"SUPABASE_URL": stack.url, "SUPABASE_SECRET_KEY": stack.secret_key, "BATCHGEN_PROVIDER": "offline"}
    )
    async with asyncio.timeout(TIMEOUT_SECONDS):
        rest, errors = await watch.communicate()
    await worker.end()

    last = json.loads(rest.splitlines()[-1])
    assert (first["no_worker"], second["no_worker"]) == (False, True)
    assert first | {"no_worker": True} == second
    assert (last["batch"]["status"], last["no_worker"]) == ("completed", False)
    assert errors == b""


async def test_submit_json_warns_on_stderr_when_no_worker_runs(signed_in: Shell, database: Database) -> None:
    await database.execute("delete from batchgen.workers")
    await database.execute("update batchgen.settings set worker_silence_seconds = 5")
    submit = await signed_in.start("submit", "a fox", "a bird", "--wait", "--json")

    warning = (await next_line(submit.stderr))["warning"]

    submit.kill()
    await submit.wait()
    await database.execute("update batchgen.settings set worker_silence_seconds = default")
    assert warning["code"] == "no_worker"
    assert "start one with batchgen worker" in warning["message"]
