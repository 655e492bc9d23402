"""A watch ends with the right state, whatever happens to Realtime, tokens and connections."""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import pytest
from fake_worker import FakeWorker, expired, two_prompts

from batchgen import BackendUnavailable, BatchgenClient, BatchSnapshot, BatchStatus, CreatedBatch, NotFound, WatchTiming
from batchgen.client.caller import Caller
from batchgen.client.realtime import LiveChanges
from tests.realtime_server import NOT_PUBLISHED, SUBSCRIBED, realtime_server
from tests.support import Database, User, eventually

REALTIME_ALONE = WatchTiming(poll_seconds=60, undelivered_seconds=60, settle_seconds=0)
POLL_ALONE = WatchTiming(poll_seconds=0.1, retry_seconds=0.01)
PATIENCE_SECONDS = 20


class Watching:
    """A watch in the background."""

    def __init__(self) -> None:
        self.seen: list[BatchSnapshot] = []
        self.trouble: list[BackendUnavailable | None] = []
        self.task: asyncio.Task[None] | None = None

    async def run(self, client: BatchgenClient, batch_id: UUID, timing: WatchTiming) -> None:
        async with aclosing(client.watch(batch_id, timing=timing, on_outage=self.trouble.append)) as changes:
            async for snapshot in changes:
                self.seen.append(snapshot)

    async def sees(self, status: BatchStatus) -> None:
        await eventually(lambda: self.seen and self.seen[-1].batch.status is status, PATIENCE_SECONDS, what=status)

    async def ends(self) -> BatchSnapshot:
        assert self.task
        async with asyncio.timeout(PATIENCE_SECONDS):
            await self.task
        return self.seen[-1]


@asynccontextmanager
async def watching(client: BatchgenClient, batch: CreatedBatch, timing: WatchTiming) -> AsyncGenerator[Watching]:
    watching = Watching()
    watching.task = asyncio.create_task(watching.run(client, batch.id, timing))
    try:
        await watching.sees(BatchStatus.PENDING)
        yield watching
    finally:
        watching.task.cancel()
        await asyncio.wait([watching.task])


class Recorded(LiveChanges):
    """Signals each new subscription to the test."""

    made: "list[Recorded]" = []  # noqa: RUF012 - filled anew by each test

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.made.append(self)

    @property
    def delivering(self) -> bool:
        return self.is_delivering and self._subscription is not None and self._subscription.is_joined

    @property
    def sent_token(self) -> str:
        return self._sent_token

    async def lose_connection(self) -> None:
        assert self._subscription
        socket: Any = self._subscription._client._ws_connection  # pyright: ignore[reportPrivateUsage]
        await socket.close(code=1011)


class SilentRealtime(LiveChanges):
    """A Realtime client that joins and never receives a message."""

    def _on_change(self, _payload: Any) -> None:
        pass


class Unreachable(LiveChanges):
    """A Realtime client that never joins."""

    def __init__(self, **arguments: Any) -> None:
        arguments["url"] = "ws://127.0.0.1:1/realtime/v1"
        super().__init__(**arguments)


@pytest.fixture
def live(monkeypatch: pytest.MonkeyPatch) -> list[Recorded]:
    Recorded.made = []
    monkeypatch.setattr("batchgen.client.watch.LiveChanges", Recorded)
    return Recorded.made


async def finish(worker: FakeWorker, batch: CreatedBatch, user: User, *, failed: int = 0) -> None:
    leases = await worker.start_all(batch)
    for place, (item_id, lease) in enumerate(leases.items()):
        if place < failed:
            await worker.fail(item_id, lease, "the prompt is blocked")
        else:
            await worker.complete(item_id, lease, user.id)


async def test_a_watch_follows_a_batch_by_realtime_alone(
    client: BatchgenClient, user: User, worker: FakeWorker, live: list[Recorded]
) -> None:
    batch = await client.submit(two_prompts())

    async with watching(client, batch, REALTIME_ALONE) as watch:
        await eventually(lambda: live and live[0].delivering)
        leases = await worker.start_all(batch)
        await watch.sees(BatchStatus.PROCESSING)
        first, second = leases
        await worker.complete(first, leases[first], user.id)
        await worker.fail(second, leases[second])
        end = await watch.ends()

    assert end.batch.status is BatchStatus.PARTIAL
    assert (end.batch.completed_count, end.batch.failed_count) == (1, 1)
    assert [image.generation_id for image in end.images] == [first]


@pytest.mark.parametrize("realtime", [SilentRealtime, Unreachable])
async def test_a_watch_without_events_ends_by_polling(
    client: BatchgenClient, user: User, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch, realtime: type[LiveChanges]
) -> None:
    monkeypatch.setattr("batchgen.client.watch.LiveChanges", realtime)
    batch = await client.submit(two_prompts())

    async with watching(client, batch, POLL_ALONE) as watch:
        await finish(worker, batch, user)
        end = await watch.ends()

    assert end.batch.status is BatchStatus.COMPLETED
    assert len(end.images) == 2


# realtime-py reads attributes that websockets has deprecated
@pytest.mark.filterwarnings("ignore:ConnectionClosed:DeprecationWarning")
async def test_a_watch_catches_up_after_a_lost_connection(
    client: BatchgenClient, user: User, worker: FakeWorker, live: list[Recorded]
) -> None:
    batch = await client.submit(two_prompts())

    async with watching(client, batch, REALTIME_ALONE) as watch:
        await eventually(lambda: live and live[0].delivering)
        await live[0].lose_connection()
        await finish(worker, batch, user, failed=2)
        end = await watch.ends()

    assert end.batch.status is BatchStatus.FAILED


async def test_a_silent_realtime_is_subscribed_again_while_items_run(
    client: BatchgenClient, user: User, worker: FakeWorker, live: list[Recorded], monkeypatch: pytest.MonkeyPatch
) -> None:
    again: list[float] = []

    def remember(self: Recorded) -> None:
        again.append(self.silent_seconds)

    monkeypatch.setattr(Recorded, "subscribe_again", remember)
    batch = await client.submit(two_prompts())
    timing = WatchTiming(poll_seconds=0.05, silence_seconds=0.2)

    async with watching(client, batch, timing) as watch:
        await eventually(lambda: live and live[0].delivering)
        assert not again
        leases = await worker.start_all(batch)
        await eventually(lambda: again)
        for item_id, lease in leases.items():
            await worker.complete(item_id, lease, user.id)
        await watch.ends()

    assert min(again) >= 0.2


async def test_an_expired_token_is_renewed_and_passed_on_to_realtime(
    client: BatchgenClient, user: User, worker: FakeWorker, live: list[Recorded]
) -> None:
    batch = await client.submit(two_prompts())
    caller = caller_of(client)

    async with watching(client, batch, WatchTiming(poll_seconds=0.2)) as watch:
        await eventually(lambda: live and live[0].delivering)
        assert caller.session
        caller.session = expired(caller.session)
        await eventually(lambda: caller.token != "ended" and live[0].sent_token == caller.token)
        await finish(worker, batch, user)
        end = await watch.ends()

    assert end.batch.status is BatchStatus.COMPLETED


async def test_a_session_refused_by_the_server_is_renewed(client: BatchgenClient) -> None:
    batch = await client.submit(two_prompts())
    supabase = caller_of(client).supabase
    supabase.postgrest.headers["Authorization"] = "Bearer e30.e30.x"

    snapshot = await client.snapshot(batch.id)

    assert snapshot.batch.id == batch.id


async def test_a_watch_waits_out_an_outage_and_reports_it(
    client: BatchgenClient, user: User, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = await client.submit(two_prompts())
    monkeypatch.setattr("batchgen.client.watch.LiveChanges", SilentRealtime)
    real_url = caller_of(client).supabase.postgrest.base_url

    async with watching(client, batch, POLL_ALONE) as watch:
        caller_of(client).supabase.postgrest.base_url = real_url.with_port(1)
        await eventually(lambda: any(watch.trouble))
        caller_of(client).supabase.postgrest.base_url = real_url
        await finish(worker, batch, user)
        end = await watch.ends()

    assert end.batch.status is BatchStatus.COMPLETED
    assert watch.trouble[-1] is None


async def test_a_watch_gives_up_on_an_endless_outage(client: BatchgenClient, monkeypatch: pytest.MonkeyPatch) -> None:
    batch = await client.submit(two_prompts())
    monkeypatch.setattr("batchgen.client.watch.LiveChanges", SilentRealtime)

    async with watching(client, batch, WatchTiming(poll_seconds=0.05, outage_seconds=0.1, retry_seconds=0.01)) as watch:
        postgrest = caller_of(client).supabase.postgrest
        postgrest.base_url = postgrest.base_url.with_port(1)
        with pytest.raises(BackendUnavailable):
            await watch.ends()


async def test_watching_another_users_batch_is_refused(
    client: BatchgenClient,
    client_of: Callable[[User], Awaitable[BatchgenClient]],
    new_user: Callable[[], Awaitable[User]],
) -> None:
    batch = await client.submit(two_prompts())
    stranger = await client_of(await new_user())

    with pytest.raises(NotFound):
        await Watching().run(stranger, batch.id, POLL_ALONE)


async def test_watching_an_unknown_batch_is_refused(client: BatchgenClient) -> None:
    with pytest.raises(NotFound) as refused:
        await Watching().run(client, uuid4(), POLL_ALONE)

    assert refused.value.code == "batch_not_found"


async def test_deleting_a_batch_ends_its_watch(client: BatchgenClient, database: Database) -> None:
    batch = await client.submit(two_prompts())

    async with watching(client, batch, POLL_ALONE) as watch:
        await database.execute("delete from public.batch_generations where id = %s", [batch.id])
        with pytest.raises(NotFound):
            await watch.ends()


async def test_leaving_a_watch_early_leaves_no_task(client: BatchgenClient, live: list[Recorded]) -> None:
    batch = await client.submit(two_prompts())
    before = asyncio.all_tasks()

    async with watching(client, batch, POLL_ALONE):
        await eventually(lambda: live and live[0].delivering)

    await eventually(lambda: asyncio.all_tasks() <= before)


async def test_a_finished_batch_is_shown_once_without_realtime(
    client: BatchgenClient, user: User, worker: FakeWorker, live: list[Recorded]
) -> None:
    batch = await client.submit(two_prompts())
    await finish(worker, batch, user)

    snapshots = [snapshot async for snapshot in client.watch(batch.id)]

    assert [snapshot.batch.status for snapshot in snapshots] == [BatchStatus.COMPLETED]
    assert not live[0].delivering


def caller_of(client: BatchgenClient) -> Caller:
    return client._caller  # pyright: ignore[reportPrivateUsage]


def realtime_messages(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "batchgen.client.realtime"]


async def test_a_subscription_refused_later_is_logged_once_and_not_delivering(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("batchgen.client.realtime.PAUSES_SECONDS", (0.01,))
    caplog.set_level("INFO", "batchgen.client.realtime")
    changed = asyncio.Event()

    async with realtime_server(NOT_PUBLISHED) as server:
        url = f"{server.url}/realtime/v1"
        live = Recorded(url=url, key="sb_x", token=lambda: "", batch_id=uuid4(), changed=changed)
        async with live:
            await eventually(lambda: server.joins >= 3)
            assert not live.is_delivering

    assert not changed.is_set()
    assert [NOT_PUBLISHED["message"] in line for line in realtime_messages(caplog)] == [True]


async def test_a_subscription_confirmed_and_refused_in_turns_is_logged_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("batchgen.client.realtime.PAUSES_SECONDS", (0.01,))
    caplog.set_level("INFO", "batchgen.client.realtime")

    async with realtime_server(SUBSCRIBED, NOT_PUBLISHED) as server:
        url = f"{server.url}/realtime/v1"
        async with LiveChanges(url=url, key="sb_x", token=lambda: "", batch_id=uuid4(), changed=asyncio.Event()):
            await eventually(lambda: server.joins >= 5)

    assert [NOT_PUBLISHED["message"] in line for line in realtime_messages(caplog)] == [True]


async def test_a_watch_polls_faster_while_realtime_does_not_deliver(
    client: BatchgenClient, user: User, worker: FakeWorker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchgen.client.watch.LiveChanges", Unreachable)
    batch = await client.submit(two_prompts())

    async with watching(client, batch, WatchTiming(poll_seconds=3600, undelivered_seconds=0.1)) as watch:
        await finish(worker, batch, user)
        end = await watch.ends()

    assert end.batch.status is BatchStatus.COMPLETED
