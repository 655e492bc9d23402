"""The outbox of files to delete, and the retention that feeds it: no file goes while a row names it or will name it."""

from collections.abc import Callable, Iterable
from uuid import UUID, uuid4

import pytest
from database_harness import OTHER_WORKER, WORKER, Database, NewDatabase, Row, connect, refused
from test_batch_actions import act, finished_batch
from test_batch_actions_races import BackgroundCall, until_somebody_waits

from devstack.migrations import apply_migrations, default_migrations_dir

STORAGE = """
create schema storage;
create table storage.objects (bucket_id text, name text, primary key (bucket_id, name));
"""


def take(db: Database, limit: int = 100, worker: str = WORKER, lease_seconds: int = 60) -> list[Row]:
    sql = "select * from public.take_storage_deletions(%s, %s, %s)"
    return db.as_service(sql, worker, limit, lease_seconds)


def end(db: Database, taken: Iterable[Row], worker: str = WORKER) -> int:
    leases = [row["lease_id"] for row in taken]
    return db.as_service("select public.end_storage_deletions(%s, %s::uuid[]) as n", worker, leases)[0]["n"]


def expire_leases(db: Database) -> None:
    """Time goes on until the leases and the waits after them are over."""
    db.run("update batchgen.storage_deletions set due_at = now() - interval '1 second'")
    sql = "update batchgen.storage_deletions set lease_expires_at = now() - interval '1 second'"
    db.run(sql + " where lease_id is not null")


def outbox(db: Database) -> list[str]:
    return [row["path"] for row in db.run("select path from batchgen.storage_deletions order by path")]


@pytest.fixture
def user(db: Database) -> UUID:
    return db.new_user()


@pytest.fixture
def deleted(db: Database, user: UUID) -> Row:
    """A batch of two whose pictures were deleted just now."""
    batch = finished_batch(db, user, 2)
    act(db, user, "delete", batch)
    return batch


def requeue(db: Database, index: int = 0) -> None:
    db.run("update public.image_generations set status = 'pending' where batch_index = %s", index)


def path_of(batch: Row, user: UUID, index: int = 0) -> str:
    return f"{user}/{batch['generations'][index]['id']}.png"


# leases


def test_a_file_is_leased_to_one_worker_at_a_time_and_gone_when_it_says_so(db: Database, deleted: Row) -> None:
    taken = take(db)

    assert len(taken) == 2
    assert take(db, worker=OTHER_WORKER) == []
    assert end(db, taken, OTHER_WORKER) == 0
    assert end(db, taken) == 2
    assert outbox(db) == []


def test_a_lease_that_has_ended_is_ignored_and_the_file_is_taken_again(db: Database, deleted: Row) -> None:
    old = take(db)
    expire_leases(db)

    assert end(db, old) == 0
    new = take(db, worker=OTHER_WORKER)
    assert end(db, old) == 0
    assert {row["path"] for row in new} == {row["path"] for row in old}
    assert {row["lease_id"] for row in new}.isdisjoint(row["lease_id"] for row in old)
    assert end(db, new, OTHER_WORKER) == 2


def test_unknown_leases_are_ignored(db: Database, deleted: Row) -> None:
    assert end(db, [{"lease_id": uuid4()}]) == 0
    assert end(db, []) == 0
    assert len(outbox(db)) == 2


def test_files_are_due_after_a_dead_workers_lease_and_failing_ones_wait_ever_longer(db: Database, deleted: Row) -> None:
    waits: list[int] = []
    for _ in range(12):
        take(db, lease_seconds=60)
        sql = "select distinct attempts, round(extract(epoch from due_at - lease_expires_at))::integer as wait"
        [row] = db.run(sql + " from batchgen.storage_deletions")
        waits.append(row["wait"])
        expire_leases(db)

    assert waits == [0, 30, 60, 120, 240, 480, 960, 1920, 3600, 3600, 3600, 3600]
    assert db.value("select min(attempts) from batchgen.storage_deletions") == 12


def test_the_oldest_come_first_and_no_more_than_asked_for(db: Database, user: UUID) -> None:
    first = finished_batch(db, user, 2)
    act(db, user, "delete", first)
    second = finished_batch(db, user, 2)
    act(db, user, "delete", second)

    assert {row["path"] for row in take(db, 2)} == {path_of(first, user, n) for n in (0, 1)}
    assert take(db, 0) == []
    assert {row["path"] for row in take(db, 2)} == {path_of(second, user, n) for n in (0, 1)}


@pytest.mark.parametrize("arguments", ["'', 1, 60", "'w', -1, 60", "'w', 1001, 60", "'w', 1, 0", "'w', null, 60"])
def test_arguments_out_of_range_are_refused(shared_db: Database, arguments: str) -> None:
    with refused("PT422"):
        shared_db.as_service(f"select * from public.take_storage_deletions({arguments})")  # noqa: S608


def test_two_workers_at_once_take_different_files(db: Database, user: UUID) -> None:
    batch = finished_batch(db, user, 4)
    act(db, user, "delete", batch)
    with connect(db.dsn) as connection, connection.transaction():
        theirs = take(Database(db.dsn, connection), 2, OTHER_WORKER)
        db.run("set lock_timeout = '2s'")
        ours = take(db, 100)

    assert (len(theirs), len(ours)) == (2, 2)
    assert {row["path"] for row in theirs}.isdisjoint(row["path"] for row in ours)


# what feeds it


def test_a_row_that_goes_in_any_way_takes_its_file_along(db: Database, user: UUID) -> None:
    batch = finished_batch(db, user, 2)
    db.run("delete from public.images where generation_id = %s", batch["generations"][0]["id"])
    db.run("delete from auth.users where id = %s", user)

    assert {row["path"] for row in take(db)} == {path_of(batch, user, n) for n in (0, 1)}


def test_a_file_that_the_app_removes_itself_is_looked_after_later(db: Database, user: UUID) -> None:
    """It removes the file first and then the row; what it may store at that path next is not touched."""
    finished_batch(db, user, 2)

    db.as_user(user, "delete from public.images")

    assert take(db) == []
    expire_leases(db)
    assert len(take(db)) == 2


def test_a_path_outside_the_owners_folder_is_nobodys_to_delete(db: Database, user: UUID) -> None:
    victim = db.new_user()
    paths = [f"{victim}/a.png", "a.png", f"{user}/../{victim}/a.png", f"{user}/ok.png"]
    for path in paths:
        sql = "insert into public.images (user_id, filename, prompt, storage_path) values (%s, 'a', 'a', %s)"
        db.run(sql, user, path)

    db.run("delete from public.images")

    assert [row["path"] for row in take(db)] == [f"{user}/ok.png"]


@pytest.fixture
def stored(db: Database) -> Callable[..., None]:
    """The database has Storage's table; `stored(path)` puts a file there."""
    db.run(STORAGE)

    def put(path: str, bucket: str = "generated-images") -> None:
        db.run("insert into storage.objects (bucket_id, name) values (%s, %s)", bucket, path)

    return put


def forget_pictures(db: Database, user: UUID, *paths: str) -> None:
    """The user writes rows with these paths, and deletes them."""
    for path in paths:
        sql = "insert into public.images (user_id, filename, prompt, storage_path) values (%s, 'a', 'a', %s)"
        db.as_user(user, sql, user, path)
    db.as_user(user, "delete from public.images where storage_path = any (%s)", list(paths))


def test_paths_that_a_user_invents_do_not_fill_the_outbox(
    db: Database, user: UUID, stored: Callable[..., None]
) -> None:
    stored(f"{user}/real.png")
    stored(f"{user}/elsewhere.png", "other-bucket")

    forget_pictures(db, user, *(f"{user}/{n}.png" for n in range(50)), f"{user}/elsewhere.png", f"{user}/real.png")

    assert outbox(db) == [f"{user}/real.png"]


@pytest.mark.parametrize(
    ("rights", "expected"),
    [
        ([], {"real", "invented"}),
        (["grant usage on schema storage to authenticated"], {"real", "invented"}),
        (["grant select on storage.objects to authenticated"], {"real", "invented"}),
        (
            [
                "grant usage on schema storage to authenticated",
                "grant select on storage.objects to authenticated",
                "alter table storage.objects enable row level security",
            ],
            {"real", "invented"},
        ),
        (
            ["grant usage on schema storage to authenticated", "grant select on storage.objects to authenticated"],
            {"real"},
        ),
    ],
)
def test_every_path_goes_into_the_outbox_if_storages_table_cannot_be_read_whole(
    db: Database, user: UUID, stored: Callable[..., None], rights: list[str], expected: set[str]
) -> None:
    """Better a file looked after in vain than one that nobody deletes."""
    stored(f"{user}/real.png")
    db.run("alter function batchgen.files_in_storage(text, text[]) owner to authenticated")
    for right in rights:
        db.run(right)

    forget_pictures(db, user, f"{user}/real.png", f"{user}/invented.png")

    assert set(outbox(db)) == {f"{user}/{name}.png" for name in expected}


def test_a_file_that_is_deleted_again_is_deleted_after_the_second_time(db: Database, user: UUID) -> None:
    """A lease from the first time says nothing about the file that was stored since."""
    sql = "insert into public.images (user_id, filename, prompt, storage_path) values (%s, 'a', 'a', %s)"
    db.run(sql, user, f"{user}/a.png")
    db.run("delete from public.images")
    old = take(db)
    db.run(sql, user, f"{user}/a.png")

    db.run("delete from public.images")

    assert end(db, old) == 0
    assert end(db, take(db)) == 1


# files that are needed


def test_a_path_that_a_row_names_again_is_dropped_and_not_deleted(db: Database, user: UUID) -> None:
    sql = "insert into public.images (user_id, filename, prompt, storage_path) values (%s, 'a', 'a', %s)"
    db.run(sql, user, f"{user}/a.png")
    db.run("delete from public.images")
    db.run(sql, user, f"{user}/a.png")

    assert take(db) == []
    assert outbox(db) == []


def test_two_rows_with_one_file_keep_it_until_both_are_gone(db: Database, user: UUID) -> None:
    sql = "insert into public.images (user_id, filename, prompt, storage_path) values (%s, %s, 'a', %s)"
    db.run(sql, user, "first", f"{user}/a.png")
    db.run(sql, user, "second", f"{user}/a.png")

    db.run("delete from public.images where filename = 'first'")
    assert take(db) == []
    db.run("delete from public.images where filename = 'second'")

    assert [row["path"] for row in take(db)] == [f"{user}/a.png"]


def test_the_file_of_an_item_that_enters_the_queue_again_is_kept_for_its_picture(
    db: Database, user: UUID, deleted: Row
) -> None:
    requeue(db)

    assert [row["path"] for row in take(db)] == [path_of(deleted, user, 1)]
    db.complete(db.claim_one())
    expire_leases(db)
    assert path_of(deleted, user) not in {row["path"] for row in take(db)}


def test_an_item_whose_file_is_being_deleted_is_due_after_that_lease(db: Database, user: UUID, deleted: Row) -> None:
    taken = take(db, lease_seconds=600)
    requeue(db)

    item = deleted["generations"][0]["id"]
    assert db.waiting_row(item)["state"] == "delayed"
    assert 590 < db.wait_seconds(item) <= 600
    assert db.claim() == []
    end(db, taken)
    db.make_due()
    db.complete(db.claim_one())
    assert take(db) == []


def test_a_lease_that_ended_delays_nothing(db: Database, deleted: Row) -> None:
    take(db)
    expire_leases(db)

    requeue(db)

    assert len(db.claim()) == 1


@pytest.mark.parametrize("state", ["waiting", "running"])
def test_the_old_file_of_an_item_that_waits_or_runs_is_left_alone(db: Database, user: UUID, state: str) -> None:
    """Its picture is deleted while it is made anew: the new one goes to the same path before its row is there."""
    batch = finished_batch(db, user, 2)
    requeue(db)
    if state == "running":
        db.claim()

    db.run("delete from public.images where generation_id = %s", batch["generations"][0]["id"])

    assert outbox(db) == [path_of(batch, user)]
    assert take(db) == []
    claim = db.claim_one() if state == "waiting" else db.one("select * from batchgen.queue") | {"user_id": user}
    db.complete(claim)
    assert take(db) == []
    assert outbox(db) == []


def test_the_old_file_of_an_item_that_failed_in_the_end_goes(db: Database, user: UUID) -> None:
    batch = finished_batch(db, user, 2)
    requeue(db)
    db.run("delete from public.images where generation_id = %s", batch["generations"][0]["id"])

    db.fail(db.claim_one())
    expire_leases(db)

    assert path_of(batch, user) in {row["path"] for row in take(db)}


def test_an_item_queued_while_its_file_is_being_deleted_waits_for_that_lease(db: Database, deleted: Row) -> None:
    with connect(db.dsn) as connection, connection.transaction():
        taken = take(Database(db.dsn, connection), lease_seconds=600)
        entering = BackgroundCall(db, requeue)
        until_somebody_waits(db)
    entering.answer()

    assert len(taken) == 2
    assert db.waiting_row(deleted["generations"][0]["id"])["state"] == "delayed"
    assert db.claim() == []


def test_a_worker_that_takes_deletions_leaves_the_file_of_an_item_being_queued(
    db: Database, user: UUID, deleted: Row
) -> None:
    with connect(db.dsn) as connection, connection.transaction():
        requeue(Database(db.dsn, connection))
        db.run("set lock_timeout = '2s'")
        taken = take(db)

    assert [row["path"] for row in taken] == [path_of(deleted, user, 1)]
    assert len(db.claim()) == 1


@pytest.fixture
def attacked(db: Database, deleted: Row) -> str:
    """Somebody else deleted a picture of the first item's name, in a folder of their own; its path."""
    attacker = db.new_user()
    path = f"{attacker}/{deleted['generations'][0]['id']}.png"
    forget_pictures(db, attacker, path)
    expire_leases(db)
    return path


def test_deletions_of_another_user_do_not_delay_an_item(db: Database, deleted: Row, attacked: str) -> None:
    db.run("update batchgen.storage_deletions set due_at = now() + interval '1 hour' where path <> %s", attacked)
    assert [row["path"] for row in take(db, lease_seconds=600)] == [attacked]

    requeue(db)

    assert db.waiting_row(deleted["generations"][0]["id"])["state"] == "waiting"
    assert len(db.claim()) == 1


def test_an_item_in_the_queue_keeps_no_file_of_somebody_elses(db: Database, deleted: Row, attacked: str) -> None:
    requeue(db)

    assert attacked in {row["path"] for row in take(db)}


# retention


def remove_expired(db: Database) -> int:
    return db.as_service("select public.remove_expired_images() as n")[0]["n"]


def age(db: Database, days: float) -> None:
    db.run("update public.images set created_at = now() - make_interval(secs => 86400 * %s::float8)", days)


def test_without_a_setting_nothing_expires(db: Database, user: UUID) -> None:
    finished_batch(db, user)
    age(db, 36500)

    assert db.value("select image_retention_days from batchgen.settings") is None
    assert remove_expired(db) == 0
    assert db.value("select count(*) from public.images") == 3


def test_old_pictures_expire_and_saved_ones_favourites_and_singles_stay(db: Database, user: UUID) -> None:
    db.run("update batchgen.settings set image_retention_days = 30")
    saved, favourite, old = (finished_batch(db, user, 2) for _ in range(3))
    act(db, user, "save", saved)
    db.run(
        "update public.images set is_favorite = true where generation_id in"
        " (select id from public.image_generations where batch_id = %s)",
        favourite["id"],
    )
    sql = "insert into public.image_generations (user_id, prompt) values (%s, 'single') returning id"
    single = db.value(sql, user)
    sql = (
        "insert into public.images (generation_id, user_id, filename, prompt, storage_path)"
        " values (%s, %s, 'a', 'a', %s)"
    )
    db.run(sql, single, user, f"{user}/{single}.png")
    age(db, 29.99)
    assert remove_expired(db) == 0
    age(db, 30.01)
    db.run("delete from public.batch_generations where id = %s", old["id"])

    assert remove_expired(db) == 2

    assert {row["path"] for row in take(db)} == {path_of(old, user, n) for n in (0, 1)}
    assert db.value("select count(*) from public.images") == 5
    assert remove_expired(db) == 0


def test_at_most_500_expire_in_a_call(db: Database, user: UUID) -> None:
    db.run("update batchgen.settings set image_retention_days = 1")
    db.run(
        "with g as (insert into public.image_generations (user_id, prompt, status, batch_index)"
        " select %s, 'old', 'completed', 0 from generate_series(1, 501) returning id, user_id)"
        " insert into public.images (generation_id, user_id, filename, prompt, storage_path, created_at)"
        " select id, user_id, 'a', 'a', user_id || '/' || id || '.png', now() - interval '2 days' from g",
        user,
    )

    assert [remove_expired(db) for _ in range(3)] == [500, 1, 0]
    assert len(take(db, 1000)) == 501


@pytest.mark.parametrize("days", [0, -1, 36501])
def test_a_retention_out_of_range_is_refused(shared_db: Database, days: int) -> None:
    with refused("23514"):
        shared_db.run("update batchgen.settings set image_retention_days = %s", days)


async def test_on_a_project_with_pictures_from_before_none_of_them_expires(bare: NewDatabase) -> None:
    db = await bare("app_schema.sql")
    await apply_migrations(db.dsn, default_migrations_dir())
    db.run("update batchgen.settings set image_retention_days = 1")
    age(db, 1000)

    assert remove_expired(db) == 0
    assert db.value("select count(*) from public.images") == 1


def test_a_picture_with_a_path_too_long_for_an_index_can_be_deleted_with_its_owner(db: Database) -> None:
    user = db.new_user()
    path = f"{user}/" + "".join(chr(0x20000 + n * 7) for n in range(659))
    db.run("insert into public.images (user_id, filename, storage_path, prompt) values (%s, 'f', %s, 'p')", user, path)

    db.run("delete from auth.users where id = %s", user)

    assert db.value("select count(*) from batchgen.storage_deletions") == 0
