"""Users learn nothing of other users' batches from the app's subscriptions.

On the whole stack, with the project's tables and policies, through Supabase's own client.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, cast
from uuid import uuid4

import aiohttp
import pytest
from realtime import AsyncRealtimeChannel, RealtimePostgresChangesListenEvent
from supabase import AsyncClient

from devstack import StackInfo
from tests.support import Database, User, eventually

ALL = RealtimePostgresChangesListenEvent.All
INSERT = RealtimePostgresChangesListenEvent.Insert
UPDATE = RealtimePostgresChangesListenEvent.Update
TABLES = ("batch_generations", "image_generations", "images")
TWO = {"prompts": [{"text": "a secret prompt"}, {"text": "another secret prompt"}], "batch_name": "a secret name"}


@dataclass
class Listener:
    """One client with the app's subscriptions to one batch; keeps all messages in order."""

    changes: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    ready: int = 0

    async def listen(self, client: AsyncClient, batch_id: str) -> None:
        """Join the app's two channels, and one channel for all changes of all tables."""
        batch = client.channel(f"batch_{batch_id}")
        batch.on_postgres_changes(
            ALL, self.receive, table="batch_generations", schema="public", filter=f"id=eq.{batch_id}"
        )
        batch.on_postgres_changes(
            ALL, self.receive, table="image_generations", schema="public", filter=f"batch_id=eq.{batch_id}"
        )
        own = client.channel("user-generations")
        for event in (INSERT, UPDATE):
            own.on_postgres_changes(event, self.receive, table="image_generations", schema="public")
        everything = client.channel("everything")
        for table in TABLES:
            everything.on_postgres_changes(ALL, self.receive, table=table, schema="public")
        for channel in (batch, own, everything):
            await self.join(channel)

    async def join(self, channel: AsyncRealtimeChannel) -> None:
        channel.on_system(self._on_system)
        before = self.ready
        await channel.subscribe()
        await eventually(lambda: self.ready > before, what=f"{channel.topic} is joined")

    def _on_system(self, payload: Any) -> None:
        self.ready += 1

    def receive(self, change: Any) -> None:
        self.changes.append(change["data"])

    def rows(self, *kinds: str) -> list[dict[str, Any]]:
        return [data["record"] for data in self.changes if data["type"] in (kinds or ("INSERT", "UPDATE"))]

    def deletions(self) -> list[dict[str, Any]]:
        return [data["old_record"] for data in self.changes if data["type"] == "DELETE"]


class Anon:
    """A bare socket without a token, because Supabase's client cannot parse the messages that it gets."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self.frames: list[str] = []
        self._socket = socket

    async def listen(self) -> None:
        changes = [{"event": "*", "schema": "public", "table": table} for table in TABLES]
        join = {"config": {"postgres_changes": changes}}
        frame = {"topic": "realtime:everything", "event": "phx_join", "payload": join, "ref": "1", "join_ref": "1"}
        await self._socket.send_json(frame)
        while "Subscribed to PostgreSQL" not in (await self._next()):
            pass

    async def wait_for(self, *kinds: str) -> None:
        """Wait for a message about each of these kinds of change."""
        while not all(any(f'"type":"{kind}"' in frame for frame in self.frames) for kind in kinds):
            await self._next()

    async def _next(self) -> str:
        text = str(await self._socket.receive_str(timeout=10))
        self.frames.append(text)
        return text


@pytest.fixture
async def anon(stack: StackInfo) -> AsyncGenerator[Anon]:
    url = f"{stack.url}/realtime/v1/websocket?vsn=1.0.0&apikey={stack.publishable_key}"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        yield Anon(socket)


async def create(client: AsyncClient) -> tuple[str, list[str]]:
    answer = cast("dict[str, Any]", (await client.rpc("create_batch", {"p_request": TWO}).execute()).data)
    batch = answer["batch"]
    return batch["id"], [item["id"] for item in batch["generations"]]


async def test_changes_of_a_batch_reach_only_its_owner(
    user: User, new_user: Callable[[], Awaitable[User]], anon: Anon, service: AsyncClient, database: Database
) -> None:
    stranger = await new_user()
    batch_id, items = await create(user.client)
    names = {"owner": user.client, "stranger": stranger.client, "service": service}
    listeners = {name: Listener() for name in names}
    for name, client in names.items():
        await listeners[name].listen(client, batch_id)
    await anon.listen()

    # One item starts and ends, one is added, and one is deleted: all three channels get messages about it.
    await database.execute("update public.image_generations set status = 'processing' where id = %s", [items[0]])
    await database.execute("update public.image_generations set status = 'completed' where id = %s", [items[0]])
    await database.execute(
        "insert into public.image_generations (user_id, prompt, status) values (%s, 'a single secret', 'pending')",
        [user.id],
    )
    await database.execute(
        "insert into public.images (user_id, filename, storage_path, prompt)"
        " values (%s, 'fox.png', %s, 'a secret picture')",
        [user.id, f"{user.id}/fox.png"],
    )
    await database.execute("delete from public.image_generations where id = %s", [items[1]])
    # Then a batch of the stranger's own: its message comes after all earlier ones.
    _, theirs = await create(stranger.client)

    seen = listeners["stranger"]
    await eventually(lambda: {row["id"] for row in seen.rows("INSERT")} >= set(theirs), what="the stranger's own items")
    await eventually(lambda: any(row.get("id") == theirs[1] for row in listeners["service"].rows()))
    for prompt in ("a single secret", "a secret picture"):
        await eventually(lambda prompt=prompt: prompt in {row.get("prompt") for row in listeners["owner"].rows()})
    assert {row["user_id"] for row in seen.rows()} == {stranger.id}
    assert {row["user_id"] for row in listeners["owner"].rows()} == {user.id}
    assert {row["user_id"] for row in listeners["service"].rows()} == {user.id, stranger.id}
    statuses = [row["status"] for row in listeners["owner"].rows("UPDATE") if row["id"] == items[0]]
    assert set(statuses) == {"processing", "completed"}
    # Deletions are sent without row level security, with the key alone.
    deletions = {name: listener.deletions() for name, listener in listeners.items()}
    assert all({"id": items[1]} in deleted for deleted in deletions.values()), deletions
    assert all(set(row) == {"id"} for deleted in deletions.values() for row in deleted), deletions
    # A client that is not signed in learns that a table changed, and nothing of any row.
    await anon.wait_for("INSERT", "UPDATE")
    for secret in (user.id, stranger.id, batch_id, *items, *theirs, "secret"):
        assert not [frame for frame in anon.frames if secret in frame and '"type":"DELETE"' not in frame]


async def test_a_filter_on_another_users_rows_delivers_nothing(
    user: User, new_user: Callable[[], Awaitable[User]], database: Database
) -> None:
    """By owner, by id and by text: a filter narrows the rows that the policy shows and never widens them."""
    stranger = await new_user()
    _, items = await create(user.client)
    listener = Listener()
    channel = stranger.client.channel(f"room-{uuid4().hex}")
    for filter_ in (
        f"user_id=eq.{user.id}",
        f"id=eq.{items[0]}",
        "status=eq.processing",
        "prompt=eq.a secret prompt",
        None,
    ):
        channel.on_postgres_changes(
            UPDATE, listener.receive, table="image_generations", schema="public", filter=filter_
        )
    await listener.join(channel)
    _, theirs = await create(stranger.client)

    await database.execute("update public.image_generations set status = 'processing' where id = %s", [items[0]])
    await database.execute("update public.image_generations set priority = 1 where id = %s", [theirs[0]])

    await eventually(lambda: any(row["id"] == theirs[0] for row in listener.rows()), what="the stranger's own item")
    assert {row["user_id"] for row in listener.rows()} == {stranger.id}
