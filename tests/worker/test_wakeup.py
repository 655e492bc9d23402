"""Realtime wakes the worker; when it is away, it is called again."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from batchgen.postgrest import rpc
from devstack import StackInfo
from scheduler.wakeup import Wakeup
from tests.support import Database, User, eventually


@asynccontextmanager
async def listening(wakeup: Wakeup) -> AsyncGenerator[None]:
    before = asyncio.all_tasks()
    task = asyncio.create_task(wakeup.run())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])
        await eventually(lambda: not (asyncio.all_tasks() - before), what="tasks of Realtime are gone")


async def test_an_inserted_batch_wakes(stack: StackInfo, user: User, database: Database) -> None:
    woken: list[int] = []
    wakeup = Wakeup(url=stack.url, key=stack.secret_key, wake=lambda: woken.append(1), pause=lambda _: 0.05)

    async with listening(wakeup):
        await wakeup.is_listening.wait()
        after_subscribing = len(woken)
        request = {"prompts": [{"text": "a harbour"}, {"text": "a forest"}]}
        batch = (await rpc(user.client, "create_batch", {"p_request": request}))["batch"]
        await eventually(lambda: len(woken) > after_subscribing, 5)

    assert after_subscribing == 1, "what came before the subscription is looked for, too"
    await database.execute("delete from public.image_generations where batch_id = %s", [batch["id"]])


async def test_realtime_that_is_away_is_called_again_with_longer_pauses() -> None:
    pauses: list[int] = []
    wakeup = Wakeup(
        url="http://127.0.0.1:9", key="sb_secret_x", wake=lambda: None, pause=lambda tries: pauses.append(tries) or 0.01
    )

    async with listening(wakeup):
        await eventually(lambda: len(pauses) >= 3)

    assert pauses[:3] == [1, 2, 3]
