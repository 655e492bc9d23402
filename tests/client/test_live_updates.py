"""A watch hears broadcasts first, and ends true without them: by row changes, then by polling."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any
from uuid import uuid4

import aiohttp
import pytest
from fake_worker import FakeWorker, two_prompts

from batchgen import BatchgenClient, BatchSnapshot, BatchStatus, CreatedBatch, WatchTiming
from batchgen.client.realtime import LiveChanges
from devstack import StackInfo
from devstack.realtime.join_request import JoinRequest, read_join
from tests.realtime_server import realtime_server
from tests.support import Database, User, eventually

NO_POLL = WatchTiming(poll_seconds=3600, undelivered_seconds=3600, settle_seconds=0)
PATIENCE_SECONDS = 20


class Heard(LiveChanges):
    """Keeps what comes by each way, and which of it was news."""

    made: "list[Heard]" = []  # noqa: RUF012 - filled anew by each test

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.broadcasts: list[dict[str, Any]] = []
        self.rows: list[dict[str, Any]] = []
        self.news: list[dict[str, Any] | None] = []
        self.made.append(self)

    @property
    def delivering(self) -> bool:
        return self.is_delivering and self._subscription is not None and self._subscription.is_joined

    def _on_broadcast(self, news: dict[str, Any]) -> None:
        self.broadcasts.append(news)
        super()._on_broadcast(news)

    def _on_row(self, change: Any) -> None:
        self.rows.append(change["data"].get("record"))
        super()._on_row(change)

    def _on_change(self, payload: Any) -> None:
        self.news.append(payload)
        super()._on_change(payload)


@pytest.fixture
def heard(monkeypatch: pytest.MonkeyPatch) -> list[Heard]:
    Heard.made = []
    monkeypatch.setattr("batchgen.client.watch.LiveChanges", Heard)
    return Heard.made


@asynccontextmanager
async def watching(
    client: BatchgenClient, batch: CreatedBatch, timing: WatchTiming
) -> AsyncGenerator[tuple[list[BatchSnapshot], "asyncio.Task[None]"]]:
    seen: list[BatchSnapshot] = []

    async def run() -> None:
        async with aclosing(client.watch(batch.id, timing=timing)) as changes:
            async for snapshot in changes:
                seen.append(snapshot)

    task = asyncio.create_task(run())
    try:
        await eventually(lambda: seen)
        yield seen, task
    finally:
        task.cancel()
        await asyncio.wait([task])


async def finish(worker: FakeWorker, batch: CreatedBatch, user: User) -> None:
    for item_id, lease in (await worker.start_all(batch)).items():
        await worker.complete(item_id, lease, user.id)


async def ends_true(seen: list[BatchSnapshot], task: "asyncio.Task[None]") -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        await task
    assert seen[-1].batch.status is BatchStatus.COMPLETED
    assert len(seen[-1].images) == 2


async def test_a_broadcast_is_heard_before_the_row_changes_which_are_then_no_news(
    client: BatchgenClient, worker: FakeWorker, heard: list[Heard]
) -> None:
    batch = await client.submit(two_prompts())

    async with watching(client, batch, NO_POLL) as (seen, _):
        await eventually(lambda: heard and heard[0].delivering)
        [live] = heard
        await eventually(lambda: live.news.count(None) >= 2, what="both ways are confirmed")
        await worker.start_all(batch)
        await eventually(lambda: seen[-1].batch.status is BatchStatus.PROCESSING)
        started = lambda: [row for row in live.rows if row["status"] == "processing"]  # noqa: E731
        await eventually(lambda: len(started()) == 3, what="row changes of two items and of their batch")

    [news] = live.broadcasts
    assert news["batch_id"] == str(batch.id)
    assert [item["status"] for item in news["items"]] == ["processing", "processing"]
    assert news in live.news
    assert not [change for change in live.news if change and change.get("data", {}).get("record") in started()]


async def test_other_batches_of_the_owner_are_no_news(
    client: BatchgenClient, worker: FakeWorker, heard: list[Heard]
) -> None:
    batch, other = await client.submit(two_prompts()), await client.submit(two_prompts())

    async with watching(client, batch, NO_POLL):
        await eventually(lambda: heard and heard[0].delivering)
        await worker.start_all(other)
        await eventually(lambda: [news for news in heard[0].broadcasts if news["batch_id"] == str(other.id)])

    assert not [news for news in heard[0].news if news and news.get("batch_id") == str(other.id)]


POLICY = 'policy "batchgen: owners hear of their batches" on realtime.messages'
SEND = "function realtime.{}(jsonb, text, text, boolean)"
TROUBLE = {
    "no policy": (f"alter {POLICY} using (false)", f"drop {POLICY}; select batchgen.protect_topics()"),
    "turned off": (
        "update batchgen.settings set broadcast_changes = false",
        "update batchgen.settings set broadcast_changes = true",
    ),
    "no function": (f"alter {SEND.format('send')} rename to sent", f"alter {SEND.format('sent')} rename to send"),
    "no messages": ("alter table realtime.messages rename to gone", "alter table realtime.gone rename to messages"),
}
"""What is wrong with broadcasts, and what mends it."""


@asynccontextmanager
async def in_trouble(database: Database, trouble: str) -> AsyncGenerator[None]:
    breaks, mends = TROUBLE[trouble]
    await database.execute(breaks.encode())
    try:
        yield
    finally:
        await database.execute(mends.encode())


@pytest.mark.parametrize("trouble", TROUBLE)
async def test_a_watch_without_broadcasts_ends_by_row_changes(
    trouble: str, client: BatchgenClient, user: User, worker: FakeWorker, heard: list[Heard], database: Database
) -> None:
    async with in_trouble(database, trouble):
        batch = await client.submit(two_prompts())
        async with watching(client, batch, NO_POLL) as (seen, task):
            await eventually(lambda: heard and heard[0].delivering)
            await finish(worker, batch, user)
            await ends_true(seen, task)

    assert not heard[0].broadcasts
    assert heard[0].rows


async def test_a_watch_on_a_server_without_private_topics_ends_by_row_changes(
    client: BatchgenClient, user: User, worker: FakeWorker, heard: list[Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read_public_join(name: str, payload: Mapping[str, Any]) -> JoinRequest:
        changes = {"postgres_changes": payload["config"]["postgres_changes"]}
        return read_join(name, {**payload, "config": changes})

    monkeypatch.setattr("devstack.realtime.sockets.read_join", read_public_join)
    batch = await client.submit(two_prompts())

    async with watching(client, batch, NO_POLL) as (seen, task):
        await eventually(lambda: heard and heard[0].delivering)
        await finish(worker, batch, user)
        await ends_true(seen, task)

    assert not heard[0].broadcasts


async def test_a_watch_hears_broadcasts_while_row_changes_are_refused(
    client: BatchgenClient, user: User, worker: FakeWorker, heard: list[Heard], database: Database
) -> None:
    await database.execute("alter publication supabase_realtime drop table public.image_generations")
    try:
        batch = await client.submit(two_prompts())
        async with watching(client, batch, NO_POLL) as (seen, task):
            await eventually(lambda: heard and heard[0].delivering)
            await finish(worker, batch, user)
            await ends_true(seen, task)
    finally:
        await database.execute("alter publication supabase_realtime add table public.image_generations")

    assert heard[0].broadcasts
    assert not heard[0].rows


async def test_an_operator_hears_an_owners_broadcasts(
    client: BatchgenClient, operator: BatchgenClient, user: User, worker: FakeWorker, heard: list[Heard]
) -> None:
    batch = await client.submit(two_prompts())

    async with watching(operator, batch, NO_POLL) as (seen, task):
        await eventually(lambda: heard and heard[0].delivering)
        await finish(worker, batch, user)
        await ends_true(seen, task)

    assert heard[0].broadcasts


async def test_messages_during_a_reconnect_are_sent_again(
    client: BatchgenClient, worker: FakeWorker, heard: list[Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchgen.client.realtime.PAUSES_SECONDS", (0.01,))
    batch = await client.submit(two_prompts())

    async with watching(client, batch, NO_POLL) as (seen, _):
        await eventually(lambda: heard and heard[0].delivering)
        heard[0].subscribe_again()
        await worker.start_all(batch)
        await eventually(lambda: heard[0].broadcasts, what="the message, again or for the first time")
        await eventually(lambda: seen[-1].batch.status is BatchStatus.PROCESSING)


async def test_a_server_that_confirms_nothing_delivers_nothing() -> None:
    async with realtime_server() as server:
        live = Heard(
            url=f"{server.url}/realtime/v1", key="sb_x", token=lambda: "", batch_id=uuid4(), changed=asyncio.Event()
        )
        live.owner_id = uuid4()
        async with live:
            await eventually(lambda: server.joins)
            assert not live.is_delivering
    assert not live.news


@pytest.mark.parametrize("token", ["stranger", "anon"])
async def test_strangers_and_anonymous_clients_are_refused_and_hear_nothing(
    token: str, stack: StackInfo, client: BatchgenClient, user: User, new_user: Callable[[], Awaitable[User]]
) -> None:
    stranger = await new_user()
    session = await stranger.client.auth.get_session()
    assert session
    topic = f"realtime:user:{user.id}"
    url = f"{stack.url}/realtime/v1/websocket?vsn=1.0.0&apikey={stack.publishable_key}"
    async with aiohttp.ClientSession() as http, http.ws_connect(url) as socket:
        join: dict[str, Any] = {"config": {"private": True, "broadcast": {"replay": {"since": 0}}}}
        if token == "stranger":
            join["access_token"] = session.access_token
        for number, payload in enumerate([join, {**join, "config": {"private": False}}]):
            ref = str(number)
            frame = {"topic": topic, "event": "phx_join", "payload": payload, "ref": ref, "join_ref": ref}
            await socket.send_json(frame)
        refused, joined = [await socket.receive_json(timeout=PATIENCE_SECONDS) for _ in range(2)]
        await client.submit(two_prompts())
        await socket.send_json({"topic": "phoenix", "event": "heartbeat", "payload": {}, "ref": "9"})
        last = await socket.receive_json(timeout=PATIENCE_SECONDS)

    reason = f"Unauthorized: You do not have permissions to read from this Channel topic: user:{user.id}"
    assert refused["payload"] == {"status": "error", "response": {"reason": reason}}
    assert joined["payload"]["status"] == "ok"
    assert last["topic"] == "phoenix"
