"""The trash: pictures and batches that can be taken back for some days."""

import json
from typing import Any
from uuid import UUID, uuid4

import pytest
from app_writes import RETRY, everything, failed_batch
from database_harness import Database, Row, connect, refused
from test_batch_actions import act as act_on_batch
from test_batch_actions import done, finished_batch, refusals
from test_batch_actions_races import BackgroundCall, at_once

TRASH = "select public.trash_batch_images(%s, %s::uuid[]) as answer"
RESTORE = "select public.restore_batch_images(%s, %s::uuid[]) as answer"


def ids_of(batch: Row, *indices: int) -> list[str]:
    return [batch["generations"][index]["id"] for index in indices]


def trash(db: Database, user: UUID | None, batch: Row, ids: list[str] | None = None) -> Row:
    return db.as_user(user, TRASH, batch["id"], ids)[0]["answer"]


def restore(db: Database, user: UUID | None, batch: Row, ids: list[str] | None = None) -> Row:
    return db.as_user(user, RESTORE, batch["id"], ids)[0]["answer"]


def get_trash(db: Database, user: UUID | None, before: str | None = None, limit: int | None = None) -> Row:
    sql = "select public.get_trash(%s, %s) as answer"
    return db.as_user(user, sql, before, limit)[0]["answer"]


def empty(db: Database, user: UUID | None, whose: UUID | None = None) -> Row:
    return db.as_user(user, "select public.empty_trash(%s) as answer", whose)[0]["answer"]


def expire(db: Database) -> int:
    return db.as_service("select public.remove_expired_images() as n")[0]["n"]


def age(db: Database, days: float) -> None:
    """Everything was thrown away that many days earlier."""
    interval = f"interval '{days} days'"
    db.run(
        f"update public.images i set archived_at = archived_at - {interval}"  # noqa: S608
        " where exists (select from batchgen.trashed_images t where t.image_id = i.id)"
    )
    db.run(f"update batchgen.trashed_batches set trashed_at = trashed_at - {interval}")  # noqa: S608


def archived(db: Database, batch: Row) -> list[bool]:
    rows = db.run(
        "select i.archived_at is not null as is_archived from public.images i"
        " join public.image_generations g on g.id = i.generation_id where g.batch_id = %s order by g.batch_index",
        batch["id"],
    )
    return [row["is_archived"] for row in rows]


def in_trash(db: Database) -> tuple[int, int]:
    """Numbers of pictures and batches in the trash."""
    row = db.one(
        "select (select count(*) from batchgen.trashed_images) as images,"
        " (select count(*) from batchgen.trashed_batches) as batches"
    )
    return row["images"], row["batches"]


def outbox(db: Database) -> set[str]:
    return {row["path"] for row in db.run("select path from batchgen.storage_deletions")}


def test_a_batch_goes_to_the_trash_with_its_pictures_and_comes_back(db: Database) -> None:
    user = db.new_user()
    batch = finished_batch(db, user, 3, pictures=2)
    before = db.totals(batch["id"])
    files = outbox(db)

    answer = trash(db, user, batch)
    again = trash(db, user, batch)

    assert done(answer) == dict.fromkeys(range(3), "trashed")
    assert [bool(entry.get("image_id")) for entry in answer["done"]] == [True, True, False]
    assert done(again) == {0: "already_trashed", 1: "already_trashed", 2: "trashed"}
    assert archived(db, batch) == [True, True]
    assert in_trash(db) == (2, 1)
    assert (db.totals(batch["id"]), outbox(db)) == (before, files)
    restored = restore(db, user, batch)
    assert done(restored) == {0: "restored", 1: "restored"}
    assert refusals(restored) == {2: "no_image"}
    assert archived(db, batch) == [False, False]
    assert in_trash(db) == (0, 0)
    assert done(restore(db, user, batch)) == {0: "not_in_trash", 1: "not_in_trash"}
    assert db.totals(batch["id"]) == before


def test_some_pictures_go_and_come_back_and_the_batch_stays(db: Database) -> None:
    user = db.new_user()
    batch = finished_batch(db, user, 3, pictures=2)

    answer = trash(db, user, batch, ids_of(batch, 1, 2))

    assert (done(answer), refusals(answer)) == ({1: "trashed"}, {2: "no_image"})
    assert archived(db, batch) == [False, True]
    assert in_trash(db) == (1, 0)
    assert done(restore(db, user, batch, ids_of(batch, 0, 1))) == {0: "not_in_trash", 1: "restored"}


def test_one_restored_picture_brings_its_batch_back(db: Database) -> None:
    user = db.new_user()
    batch = finished_batch(db, user, 2)
    trash(db, user, batch)

    restore(db, user, batch, ids_of(batch, 0))

    assert in_trash(db) == (1, 0)
    [entry] = get_trash(db, user)["entries"]
    assert (entry["kind"], entry["index"], entry["batch_id"]) == ("image", 1, batch["id"])


def test_a_batch_in_the_trash_is_on_no_page_and_in_no_list(db: Database) -> None:
    user = db.new_user()
    batch, kept = finished_batch(db, user, 2), finished_batch(db, user, 2)
    trash(db, user, batch)

    [page] = db.as_user(user, "select public.batches_page() as answer")
    listed = db.as_user(user, "select id::text from public.list_batches()")

    assert [one["batch"]["id"] for one in page["answer"]["batches"]] == [kept["id"]]
    assert [one["id"] for one in listed] == [kept["id"]]


def test_an_unfinished_batch_stays_in_the_list(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user, prompts=4)
    db.complete(db.claim(2)[0])

    answer = trash(db, user, batch)

    assert done(answer) == {0: "trashed"}
    assert refusals(answer) == {1: "still_running", 2: "still_waiting", 3: "still_waiting"}
    assert in_trash(db) == (1, 0)


@pytest.mark.parametrize("how", ["function", "direct", "admin"])
def test_a_batch_that_runs_again_leaves_the_trash(db: Database, how: str) -> None:
    user = db.new_user()
    batch = failed_batch(db, user, "timeout")
    trash(db, user, batch)

    if how == "function":
        act_on_batch(db, user, "retry", batch)
    elif how == "direct":
        db.as_user(user, RETRY, batch["id"])
    else:
        db.run("update public.image_generations set status = 'pending' where batch_index = 1")

    assert in_trash(db) == (1, 0)


def test_the_apps_archive_is_kept_apart_and_restored(db: Database) -> None:
    user = db.new_user()
    batch = finished_batch(db, user, 2)
    first = "generation_id in (select id from public.image_generations where batch_index = 0)"
    db.as_user(user, f"update public.images set archived_at = '2020-01-01' where {first}")  # noqa: S608
    assert expire(db) == 0

    trash(db, user, batch)
    assert db.value(f"select archived_at > now() - interval '1 hour' from public.images where {first}")  # noqa: S608
    restore(db, user, batch)

    assert archived(db, batch) == [True, False]
    assert db.value(f"select archived_at = '2020-01-01' from public.images where {first}")  # noqa: S608
    assert expire(db) == 0
    assert db.value("select count(*) from public.images") == 2


def test_a_picture_that_the_app_takes_out_of_its_archive_leaves_the_trash(db: Database) -> None:
    user = db.new_user()
    batch = finished_batch(db, user, 2)
    trash(db, user, batch, ids_of(batch, 0, 1))

    db.as_user(user, "update public.images set archived_at = null where generation_id = %s", ids_of(batch, 0)[0])

    assert in_trash(db) == (1, 0)
    age(db, 8)
    assert expire(db) == 1
    assert archived(db, batch) == [False]


def test_files_go_after_some_days_and_the_batch_with_them(db: Database) -> None:
    user = db.new_user()
    batch, kept = finished_batch(db, user, 2), finished_batch(db, user, 2)
    trash(db, user, batch)
    act_on_batch(db, user, "save", batch)
    paths = {f"{user}/{item['id']}.png" for item in batch["generations"]}

    age(db, 6.9)
    assert expire(db) == 0
    age(db, 0.2)
    assert expire(db) == 3

    assert expire(db) == 0
    assert paths <= outbox(db)
    assert db.run("select * from public.batch_generations where id = %s", batch["id"]) == []
    assert archived(db, kept) == [False, False]
    items = db.run("select batch_id, status from public.image_generations where user_id = %s order by id", user)
    assert len(items) == 4
    assert sum(item["batch_id"] is None for item in items) == 2
    assert get_trash(db, user) == {"entries": [], "next": None}


def test_the_days_are_a_setting(db: Database) -> None:
    user = db.new_user()
    batch = finished_batch(db, user, 2)
    trash(db, user, batch, ids_of(batch, 0))
    db.run("update batchgen.settings set trash_days = 30")
    age(db, 29)
    assert expire(db) == 0

    db.run("update batchgen.settings set trash_days = 0")

    assert expire(db) == 1
    for days in (-1, 3651):
        with refused("23514"):
            db.run("update batchgen.settings set trash_days = %s", days)


def test_emptying_deletes_the_callers_trash_alone(db: Database) -> None:
    user, other = db.new_user(), db.new_user()
    batch, single, theirs = finished_batch(db, user, 2), finished_batch(db, user, 2), finished_batch(db, other, 2)
    trash(db, user, batch)
    trash(db, user, single, ids_of(single, 1))
    trash(db, other, theirs)

    answer = empty(db, user)

    assert answer == {"images": 3, "batches": 1, "left": 0}
    assert empty(db, user, user) == {"images": 0, "batches": 0, "left": 0}
    assert in_trash(db) == (2, 1)
    assert archived(db, single) == [False]
    assert db.totals(single["id"]) == ("completed", 2, 0)
    assert refusals(restore(db, user, single, ids_of(single, 1))) == {1: "no_image"}


def test_emptying_is_bounded_and_says_what_is_left(db: Database) -> None:
    user = db.new_user()
    batch = finished_batch(db, user, 2)
    trash(db, user, batch)
    db.run(
        "with made as (insert into public.images (user_id, filename, storage_path, prompt, archived_at)"
        " select %s, 'x.png', %s || '/' || n || '.png', 'x', now() - interval '1 hour' from generate_series(1, 600) n"
        " returning id) insert into batchgen.trashed_images (image_id, user_id) select id, %s from made",
        user,
        str(user),
        user,
    )

    first, second = empty(db, user), empty(db, user)

    assert first == {"images": 500, "batches": 0, "left": 103}
    assert second == {"images": 102, "batches": 1, "left": 0}


def test_the_trash_is_listed_in_pages_newest_first(db: Database) -> None:
    user = db.new_user()
    batches = [finished_batch(db, user, 2) for _ in range(3)]
    db.run("update public.batch_generations set name = 'Foxes' where id = %s", batches[1]["id"])
    trash(db, user, batches[0])
    trash(db, user, batches[1], ids_of(batches[1], 0, 1))
    trash(db, user, batches[2])

    pages: list[Row] = []
    before: str | None = None
    while not pages or before:
        page = get_trash(db, user, before, 1)
        pages += page["entries"]
        before = page["next"]

    assert pages == get_trash(db, user)["entries"]
    assert [page["kind"] for page in pages] == ["batch", "image", "image", "batch"]
    first, single, _, last = pages
    assert (first["batch_id"], last["batch_id"]) == (batches[2]["id"], batches[0]["id"])
    assert [image["index"] for image in first["images"]] == [0, 1]
    assert (single["name"], single["batch_id"]) == ("Foxes", batches[1]["id"])
    assert single["storage_path"].startswith(f"{user}/")
    assert first["archived_at"] < first["deleted_at"]


@pytest.mark.parametrize(
    ("before", "limit", "code", "field"),
    [
        (None, 0, "out_of_range", "p_limit"),
        (None, 101, "out_of_range", "p_limit"),
        ("x", 1, "invalid_cursor", "p_before"),
        ("2026-01-01/x", 1, "invalid_cursor", "p_before"),
    ],
)
def test_invalid_pages_are_refused(db: Database, before: Any, limit: int, code: str, field: str) -> None:
    with refused("PT422") as refusal:
        get_trash(db, db.new_user(), before, limit)

    assert (refusal.detail["code"], refusal.detail["field"]) == (code, field)


def test_strangers_see_and_touch_nothing(db: Database) -> None:
    user, stranger = db.new_user(), db.new_user()
    batch = finished_batch(db, user, 2)
    trash(db, user, batch)
    before = everything(db)

    for call in (trash, restore):
        with refused("PT404") as theirs:
            call(db, stranger, batch)
        with refused("PT404") as unknown:
            call(db, stranger, {"id": uuid4()})
        with refused("PT401"):
            call(db, None, batch)
        assert theirs.detail == unknown.detail
    assert get_trash(db, stranger) == {"entries": [], "next": None}
    assert empty(db, stranger)["images"] == 0
    with refused("PT404") as whose:
        empty(db, stranger, user)
    with refused("PT404") as nobodys:
        empty(db, stranger, uuid4())
    with refused("PT401"):
        empty(db, None)
    with refused("PT401"):
        get_trash(db, None)

    assert whose.detail == nobodys.detail
    assert everything(db) == before


def test_an_operator_names_the_user(db: Database) -> None:
    user = db.new_user()
    batch = finished_batch(db, user, 2)
    db.as_service(TRASH, batch["id"], None)

    [listed] = db.as_service("select public.get_trash(p_user_id => %s) as answer", user)
    with refused("PT422") as refusal:
        db.as_service("select public.empty_trash()")
    [emptied] = db.as_service("select public.empty_trash(%s) as answer", user)

    assert len(listed["answer"]["entries"]) == 1
    assert refusal.detail["code"] == "user_missing"
    assert emptied["answer"] == {"images": 2, "batches": 1, "left": 0}


# at the same moment


def test_an_emptying_beside_a_restore_leaves_the_pictures(db: Database) -> None:
    """The restore is not committed yet when the emptying begins."""
    user = db.new_user()
    batch = finished_batch(db, user, 2)
    trash(db, user, batch)
    age(db, 8)
    with connect(db.dsn) as connection, connection.transaction():
        answer = restore(Database(db.dsn, connection), user, batch)
        assert empty(db, user)["images"] == 0
        assert expire(db) == 0

    assert done(answer) == {0: "restored", 1: "restored"}
    assert archived(db, batch) == [False, False]
    assert in_trash(db) == (0, 0)
    assert expire(db) == 0


def test_a_restore_beside_an_emptying_finds_the_pictures_gone(db: Database) -> None:
    user = db.new_user()
    batch = finished_batch(db, user, 2)
    trash(db, user, batch, ids_of(batch, 0, 1))
    with connect(db.dsn) as connection, connection.transaction():
        assert empty(Database(db.dsn, connection), user)["images"] == 2
        late = BackgroundCall(db, lambda other: restore(other, user, batch))

    assert refusals(late.answer()) == {0: "no_image", 1: "no_image"}
    assert db.value("select count(*) from public.images") == 0


def test_restores_and_emptyings_at_once_lose_no_restored_picture(db: Database) -> None:
    user = db.new_user()
    for _ in range(10):
        batch = finished_batch(db, user, 3)
        trash(db, user, batch, ids_of(batch, 0, 1, 2))

        answers = at_once(
            db,
            lambda other, batch=batch: restore(other, user, batch),  # pyright: ignore[reportUnknownLambdaType]
            lambda other: empty(other, user),
            lambda other: expire(other),
        )

        restored = sum(action == "restored" for action in done(answers[0]).values())
        assert db.value("select count(*) from public.images where archived_at is null") == restored
        assert in_trash(db) == (0, 0)
        db.run("delete from public.images")


def test_the_answer_is_json_of_the_usual_form(db: Database) -> None:
    user = db.new_user()
    batch = finished_batch(db, user, 2)

    answer = trash(db, user, batch)

    assert answer.keys() == {"batch", "done", "refused"}
    assert json.dumps(answer)
