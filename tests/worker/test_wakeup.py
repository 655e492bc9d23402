"""Realtime wakes the worker, which connects again after an outage of Realtime."""

import asyncio
from collections.abc import AsyncGenerator, Callable, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
import structlog

from batchgen.backend.rpc import rpc
from devstack import StackInfo
from scheduler.wakeup import SPREAD_SECONDS, Wakeup
from tests.realtime_server import NOT_PUBLISHED, SUBSCRIBED, realtime_server
from tests.support import Database, User, eventually


def wakeup_of(
    url: str = "http://127.0.0.1:9",
    key: str = "sb_secret_x",
    wake: Callable[[], None] = lambda: None,
    claimed: Callable[[], int] = lambda: 0,
    pause: Callable[[int], float] = lambda _: 0.01,
    chance: float = 1.0,
    steady_seconds: float = 3600,
) -> Wakeup:
    return Wakeup(
        url=url,
        key=key,
        wake=wake,
        claimed=claimed,
        pause=pause,
        random=lambda: chance,
        steady_seconds=steady_seconds,
    )


def about_realtime(logs: Sequence[MutableMapping[str, Any]]) -> list[MutableMapping[str, Any]]:
    """The log lines of the wake-up; other parts of the process may log, too."""
    return [line for line in logs if "Realtime" in line["event"] or line["event"] == "listening for new batches"]


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


async def test_an_inserted_batch_wakes_the_worker(stack: StackInfo, user: User, database: Database) -> None:
    woken: list[int] = []
    wakeup = wakeup_of(stack.url, stack.secret_key, wake=lambda: woken.append(1), pause=lambda _: 0.05)

    async with listening(wakeup):
        await wakeup.is_listening.wait()
        after_subscribing = len(woken)
        request = {"prompts": [{"text": "a harbour"}, {"text": "a forest"}]}
        batch = (await rpc(user.client, "create_batch", {"p_request": request}))["batch"]
        await eventually(lambda: len(woken) > after_subscribing)

    assert after_subscribing == 1, "what came before the subscription is looked for, too"
    await database.execute("delete from public.image_generations where batch_id = %s", [batch["id"]])


async def test_items_reset_to_pending_wake_the_worker_and_retries_do_not(
    stack: StackInfo, user: User, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = {"prompts": [{"text": "a harbour"}, {"text": "a forest"}]}
    batch = (await rpc(user.client, "create_batch", {"p_request": request}))["batch"]
    woken_by: list[dict[str, Any]] = []
    wakeup = wakeup_of(stack.url, stack.secret_key)

    def on_batch(change: Any) -> None:
        if change["data"]["table"] == "image_generations":  # the batch's own event may still be on its way
            woken_by.append(change["data"]["record"])

    monkeypatch.setattr(wakeup, "on_batch", on_batch)
    steps = [
        ("processing", 0),
        ("failed", 0),
        ("pending", 0),
        ("processing", 0),
        ("pending", 1),
        ("failed", 1),
        ("pending", 0),
    ]

    async with listening(wakeup):
        await wakeup.is_listening.wait()
        for status, retries in steps:
            await database.execute(
                "update public.image_generations set status = %s, retry_count = %s"
                " where batch_id = %s and batch_index = 1",
                [status, retries, batch["id"]],
            )
        await eventually(lambda: len(woken_by) >= 2)

    assert [(row["status"], row["retry_count"], row["batch_index"]) for row in woken_by] == [("pending", 0, 1)] * 2
    await database.execute("delete from public.image_generations where batch_id = %s", [batch["id"]])


async def test_a_broadcast_wakes_the_worker_before_the_row_changes(
    stack: StackInfo, user: User, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    news: list[Any] = []
    wakeup = wakeup_of(stack.url, stack.secret_key)
    monkeypatch.setattr(wakeup, "on_broadcast", news.append)

    async with listening(wakeup):
        await wakeup.is_listening.wait()
        request = {"prompts": [{"text": "a harbour"}, {"text": "a forest"}]}
        batch = (await rpc(user.client, "create_batch", {"p_request": request}))["batch"]
        await eventually(lambda: [one for one in news if one["batch_ids"] == [batch["id"]]])

    assert [one["items"] for one in news if one["batch_ids"] == [batch["id"]]] == [2]
    await database.execute("delete from public.image_generations where batch_id = %s", [batch["id"]])


async def test_row_changes_of_an_announced_batch_do_not_wake_the_worker_again() -> None:
    woken: list[int] = []
    wakeup = wakeup_of(wake=lambda: woken.append(1), chance=0.0)

    wakeup.on_broadcast({"items": 2, "batch_ids": ["a"]})
    await eventually(lambda: len(woken) == 1)
    wakeup.on_batch({"data": {"table": "batch_generations", "record": {"id": "a"}}})
    wakeup.on_item({"data": {"table": "image_generations", "record": {"id": "i", "batch_id": "a"}}})
    wakeup.on_batch({"data": {"table": "batch_generations", "record": {"id": "b"}}})
    await eventually(lambda: len(woken) == 2)

    assert wakeup.spread_seconds == SPREAD_SECONDS * 2, "woken in vain once, by the other batch"


async def test_new_batches_wake_the_worker_while_broadcasts_are_off(
    stack: StackInfo, user: User, database: Database
) -> None:
    woken: list[int] = []
    wakeup = wakeup_of(stack.url, stack.secret_key, wake=lambda: woken.append(1))
    await database.execute("update batchgen.settings set broadcast_changes = false")

    try:
        async with listening(wakeup):
            await wakeup.is_listening.wait()
            after_subscribing = len(woken)
            request = {"prompts": [{"text": "a harbour"}, {"text": "a forest"}]}
            batch = (await rpc(user.client, "create_batch", {"p_request": request}))["batch"]
            await eventually(lambda: len(woken) > after_subscribing)
    finally:
        await database.execute("update batchgen.settings set broadcast_changes = true")

    await database.execute("delete from public.image_generations where batch_id = %s", [batch["id"]])


async def test_realtime_is_reconnected_with_growing_pauses() -> None:
    pauses: list[int] = []
    wakeup = wakeup_of(pause=lambda tries: pauses.append(tries) or 0.01)

    async with listening(wakeup):
        await eventually(lambda: len(pauses) >= 3)

    assert pauses[:3] == [1, 2, 3]


async def test_a_subscription_refused_later_counts_as_not_listening() -> None:
    pauses: list[int] = []
    woken: list[int] = []

    with structlog.testing.capture_logs() as logs:
        async with realtime_server(NOT_PUBLISHED) as server:
            wakeup = wakeup_of(
                server.url, wake=lambda: woken.append(1), pause=lambda tries: pauses.append(tries) or 0.01
            )
            async with listening(wakeup):
                await eventually(lambda: len(pauses) >= 3)
                assert not wakeup.is_listening.is_set()

    assert pauses[:3] == [1, 2, 3]
    assert woken == []
    [told] = about_realtime(logs)
    assert (told["event"], told["log_level"]) == ("Realtime does not deliver, polling goes on", "warning")
    assert NOT_PUBLISHED["message"] in told["reason"]


async def test_alternating_confirmations_and_refusals_are_logged_once() -> None:
    pauses: list[int] = []

    with structlog.testing.capture_logs() as logs:
        async with realtime_server(SUBSCRIBED, NOT_PUBLISHED) as server:
            wakeup = wakeup_of(server.url, pause=lambda tries: pauses.append(tries) or 0.01)
            async with listening(wakeup):
                await eventually(lambda: len(pauses) >= 5)
                assert not wakeup.is_listening.is_set()

    assert pauses[:5] == [1, 2, 3, 4, 5]
    assert [line["event"] for line in about_realtime(logs)] == [
        "listening for new batches",
        "Realtime does not deliver, polling goes on",
    ]


async def test_a_subscription_recovered_after_refusals_is_logged_once() -> None:
    pauses: list[int] = []

    with structlog.testing.capture_logs() as logs:
        async with realtime_server(NOT_PUBLISHED) as server:
            wakeup = wakeup_of(server.url, pause=lambda tries: pauses.append(tries) or 0.01, steady_seconds=0)
            async with listening(wakeup):
                await eventually(lambda: len(pauses) >= 2)
                server.says = [SUBSCRIBED]
                await eventually(lambda: len(about_realtime(logs)) >= 2 and wakeup.is_listening.is_set())

    assert [line["event"] for line in about_realtime(logs)] == [
        "Realtime does not deliver, polling goes on",
        "Realtime delivers again",
    ]
    assert about_realtime(logs)[-1]["failed_calls"] >= 2


async def test_simultaneous_batches_wake_the_worker_once() -> None:
    woken: list[int] = []
    wakeup = wakeup_of(wake=lambda: woken.append(1), chance=0.2)

    for _ in range(10):
        wakeup.on_batch(None)
    await eventually(lambda: woken)
    await asyncio.sleep(0.05)

    assert woken == [1]


async def test_a_worker_woken_in_vain_waits_longer_the_next_time() -> None:
    claimed = 0
    woken: list[int] = []
    wakeup = wakeup_of(wake=lambda: woken.append(1), claimed=lambda: claimed, chance=0.0)
    spreads: list[float] = []
    for claimed in (0, 0, 0, 0, 0, 0, 3, 3):  # noqa: B007 - read by the wake-up
        wakeup.on_batch(None)
        spreads.append(wakeup.spread_seconds)
        await eventually(lambda: len(woken) == len(spreads))

    assert spreads == [0.05, 0.1, 0.2, 0.4, 0.8, 0.8, 0.05, 0.1]
