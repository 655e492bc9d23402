"""Concurrent requests for exports, and workers that take them."""

from typing import Any
from uuid import UUID, uuid4

import psycopg
from database_harness import Database
from test_batch_actions_races import Call, at_once


def with_pictures(db: Database, user: UUID, batches: int = 1) -> list[str]:
    """Batches of a user with a picture each."""
    ids: list[str] = []
    for _ in range(batches):
        batch = db.submit(user)
        item = batch["generations"][0]["id"]
        db.run(
            "insert into public.images (generation_id, user_id, filename, storage_path, prompt, file_size)"
            " values (%s, %s, 'a.png', %s, 'a fox', 10)",
            item,
            user,
            f"{user}/{item}.png",
        )
        ids.append(batch["id"])
    return ids


def ask(user: UUID, *batch_ids: str) -> Call:
    """Ask for an export; the answer is its id, or the SQLSTATE of the refusal."""

    def call(db: Database) -> Any:
        try:
            rows = db.as_user(user, "select public.request_export(%s::uuid[]) as answer", list(batch_ids))
        except psycopg.Error as error:
            return error.sqlstate
        return rows[0]["answer"]["id"]

    return call


def take(worker: str) -> Call:
    def call(db: Database) -> Any:
        [row] = db.as_service("select public.take_export(%s, 60) as answer", worker)
        return [one["export_id"] for one in row["answer"]["exports"]]

    return call


async def test_requests_at_once_for_the_same_batches_are_one_export(db: Database) -> None:
    user = db.new_user()
    batch_ids = with_pictures(db, user, 2)

    answers = at_once(db, *[ask(user, *order) for order in (batch_ids, batch_ids[::-1]) for _ in range(5)])

    assert len(set(answers)) == 1
    assert db.value("select count(*) from batchgen.exports") == 1


async def test_requests_at_once_keep_the_daily_limit(db: Database) -> None:
    db.run("update batchgen.settings set exports_per_day = 3")
    user = db.new_user()

    answers = at_once(db, *[ask(user, one) for one in with_pictures(db, user, 8)])

    assert answers.count("PT429") == 5
    assert db.value("select count(*) from batchgen.exports") == 3


async def test_workers_at_once_take_each_export_once(db: Database) -> None:
    for _ in range(3):
        user = db.new_user()
        for one in with_pictures(db, user, 2):
            ask(user, one)(db)

    taken = [one for some in at_once(db, *[take(f"w{n}") for n in range(9)]) for one in some]

    assert len(taken) == len(set(taken))
    assert 1 <= len(taken) <= 6
    while more := take("later")(db):
        taken += more
    assert len(taken) == len(set(taken)) == 6


async def test_an_export_of_a_deleted_user_leaves_its_files_to_the_outbox(db: Database) -> None:
    user = db.new_user()
    export_id = ask(user, *with_pictures(db, user))(db)
    [row] = db.as_service("select public.take_export('w', 60) as answer")
    lease_id = row["answer"]["exports"][0]["lease_id"]
    path = f"{user}/{export_id}/{uuid4()}/a.zip"
    db.as_service("select public.note_export_file(%s, %s, %s)", export_id, lease_id, path)

    db.run("delete from auth.users where id = %s", user)

    assert db.value("select count(*) from batchgen.exports") == 0
    assert db.value(
        "select bucket_id from batchgen.storage_deletions where path = %s and due_at < now() + interval '16 min'", path
    )
