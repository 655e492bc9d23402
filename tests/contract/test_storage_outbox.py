"""The contract of an outbox, for the fake of the worker's tests and for the real one."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from supabase import AsyncClient

from batchgen.errors import KeyRefused
from batchgen.queue.ports import Outbox
from batchgen.queue.postgrest import PostgrestOutbox
from batchgen.queue.types import StorageDeletion
from tests.fake_outbox import FakeOutbox
from tests.support import Database, User


@dataclass
class OutboxSetup:
    """An outbox under test, the same outbox for another worker, and functions that change its entries directly."""

    outbox: Outbox
    other: Outbox
    add: Callable[[int], Awaitable[set[str]]]
    """Adds that many files to the outbox; returns their paths."""
    expire: Callable[[StorageDeletion], Awaitable[Any]]


@pytest.fixture(params=["fake", "postgrest"])
def setup(request: pytest.FixtureRequest) -> OutboxSetup:
    return request.getfixturevalue(f"{request.param}_setup")


@pytest.fixture
async def fake_setup() -> OutboxSetup:
    outbox = FakeOutbox()

    async def add(count: int) -> set[str]:
        paths = {f"{uuid4()}.png" for _ in range(count)}
        outbox.add(*paths)
        return paths

    async def expire(deletion: StorageDeletion) -> None:
        if entry := outbox.entries.get(deletion.deletion_id):
            entry.lease_ends_at = 0

    return OutboxSetup(outbox, outbox, add, expire)


@pytest.fixture
async def postgrest_setup(database: Database, service: AsyncClient, user: User) -> AsyncGenerator[OutboxSetup]:
    await database.execute("delete from batchgen.storage_deletions")
    bucket = service.storage.from_("generated-images")
    added: list[str] = []

    async def add(count: int) -> set[str]:
        paths = {f"{user.id}/{uuid4()}.png" for _ in range(count)}
        for path in paths:
            await bucket.upload(path, b"picture", {"content-type": "image/png"})
            insert = "insert into public.images (user_id, filename, storage_path, prompt) values (%s, 'x', %s, 'x')"
            await database.execute(insert, (user.id, path))
        await database.execute("delete from public.images where storage_path = any (%s)", [list(paths)])
        added.extend(paths)
        return paths

    async def expire(deletion: StorageDeletion) -> None:
        await database.execute(
            "update batchgen.storage_deletions set lease_expires_at = clock_timestamp(), due_at = clock_timestamp()"
            " where lease_id = %s",
            [deletion.lease_id],
        )

    yield OutboxSetup(
        PostgrestOutbox(service, worker="one", lease_seconds=60),
        PostgrestOutbox(service, worker="two", lease_seconds=60),
        add,
        expire,
    )
    await database.execute("delete from batchgen.storage_deletions")
    if added:
        await bucket.remove(added)


async def test_a_path_without_a_file_is_not_handed_out(
    postgrest_setup: OutboxSetup, database: Database, service: AsyncClient, user: User
) -> None:
    """On the real Storage: paths that a user invents do no harm; files that the user stored are removed."""
    invented, real = f"{user.id}/{uuid4()}.png", f"{user.id}/{uuid4()}.png"
    await user.client.storage.from_("generated-images").upload(real, b"picture", {"content-type": "image/png"})
    for path in (invented, real):
        row = {"user_id": user.id, "filename": "x", "storage_path": path, "prompt": "x"}
        await user.client.table("images").insert(row).execute()  # pyright: ignore[reportUnknownMemberType]

    await user.client.table("images").delete().eq("user_id", user.id).execute()

    due_now = "update batchgen.storage_deletions set due_at = clock_timestamp() where path like %s"
    await database.execute(due_now, [f"{user.id}/%"])
    (taken,) = await postgrest_setup.outbox.take(10)
    assert taken.path == real
    await service.storage.from_(taken.bucket_id).remove([taken.path])


def leases(*deletions: StorageDeletion) -> list[UUID]:
    return [deletion.lease_id for deletion in deletions]


async def test_two_workers_never_get_the_same_file(setup: OutboxSetup) -> None:
    paths = await setup.add(3)

    mine, theirs = await setup.outbox.take(2), await setup.other.take(5)

    assert len(mine) == 2
    assert {deletion.path for deletion in [*mine, *theirs]} == paths
    assert len({deletion.lease_id for deletion in [*mine, *theirs]}) == 3


async def test_an_empty_outbox_returns_nothing(setup: OutboxSetup) -> None:
    assert list(await setup.outbox.take(5)) == []
    assert await setup.outbox.end([]) == 0


async def test_a_removed_file_is_not_handed_out_again(setup: OutboxSetup) -> None:
    await setup.add(2)
    first, second = await setup.outbox.take(2)

    ended = await setup.outbox.end(leases(first, second))

    assert ended == 2
    assert await setup.outbox.end(leases(first, second)) == 0
    await setup.expire(first)
    assert list(await setup.outbox.take(5)) == []


async def test_a_dead_workers_file_goes_to_another_worker(
    setup: OutboxSetup,
) -> None:
    await setup.add(1)
    (lost,) = await setup.outbox.take(1)
    await setup.expire(lost)

    (taken,) = await setup.other.take(1)
    ended_late = await setup.outbox.end(leases(lost))
    ended = await setup.other.end(leases(taken))

    assert (taken.deletion_id, taken.path) == (lost.deletion_id, lost.path)
    assert taken.lease_id != lost.lease_id
    assert (ended_late, ended) == (0, 1)


async def test_an_expired_outbox_lease_cannot_end_its_entry(setup: OutboxSetup) -> None:
    await setup.add(1)
    (lost,) = await setup.outbox.take(1)
    await setup.expire(lost)

    assert await setup.outbox.end(leases(lost)) == 0


async def test_no_picture_expires_without_a_retention_setting(setup: OutboxSetup) -> None:
    assert await setup.outbox.remove_expired_images() == 0


async def test_a_users_key_is_refused_as_a_worker_key(user: User) -> None:
    outbox = PostgrestOutbox(user.client, worker="one", lease_seconds=60)

    for call in (outbox.take(1), outbox.end([]), outbox.remove_expired_images()):
        with pytest.raises(KeyRefused):
            await call
