"""Users' actions on a whole batch: cancel, retry, save, tag, delete; and the answer of each, per item."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from app_writes import COUNT_UPDATES, LIMIT, codes, everything, failed_batch, requested, statuses, updates
from database_harness import Database, Row, refused

from batchgen.backend.bucket import CONTENT_TYPES

ACTIONS = {
    "cancel": "select public.cancel_batch(%s) as answer",
    "retry": "select public.retry_failed(%s) as answer",
    "save": "select public.save_batch_images(%s) as answer",
    "tag": "select public.tag_batch_images(%s, '{fox}') as answer",
    "delete": "select public.delete_batch_images(%s) as answer",
}


def act(db: Database, user: UUID | None, action: str, batch: Row) -> Row:
    return db.as_user(user, ACTIONS[action], batch["id"])[0]["answer"]


def tag(db: Database, user: UUID, batch: Row, tags: object) -> Row:
    sql = "select public.tag_batch_images(%s, %s::text[]) as answer"
    return db.as_user(user, sql, batch["id"], tags)[0]["answer"]


def done(answer: Row) -> dict[int, str]:
    return {entry["index"]: entry["action"] for entry in answer["done"]}


def refusals(answer: Row) -> dict[int, str]:
    for entry in answer["refused"]:
        assert entry.keys() == {"generation_id", "index", "code", "message"}
        assert entry["message"].endswith(".")
    return {entry["index"]: entry["code"] for entry in answer["refused"]}


def finished_batch(db: Database, user: UUID, prompts: int = 3, *, pictures: int | None = None) -> Row:
    """All items final; the first so many have a picture."""
    db.run("update batchgen.settings set max_parallel_per_user = 10")
    batch = db.submit(user, prompts=prompts)
    for claim in db.claim():
        if pictures is None or claim["batch_index"] < pictures:
            db.complete(claim)
        else:
            db.fail(claim)
    return batch


# all of them


@pytest.mark.parametrize("action", ACTIONS)
def test_strangers_learn_nothing_of_a_batch(db: Database, action: str) -> None:
    batch = finished_batch(db, db.new_user())
    before = everything(db)

    with refused("PT404") as theirs:
        act(db, db.new_user(), action, batch)
    with refused("PT404") as nothing:
        act(db, db.new_user(), action, {"id": uuid4()})
    with refused("PT404"):
        act(db, db.new_user(), action, {"id": None})
    with refused("PT401") as nobody:
        act(db, None, action, batch)

    assert theirs.detail == nothing.detail
    assert (theirs.detail["code"], nobody.detail["code"]) == ("batch_not_found", "not_signed_in")
    assert everything(db) == before


@pytest.mark.parametrize("action", ACTIONS)
def test_anon_is_refused(db: Database, action: str) -> None:
    batch = db.submit()

    with refused("42501"), db.acting("anon") as connection:
        connection.execute(ACTIONS[action].encode(), [batch["id"]])


@pytest.mark.parametrize("action", ACTIONS)
def test_an_operator_acts_on_any_batch(db: Database, action: str) -> None:
    batch = failed_batch(db, db.new_user(), "timeout")

    [row] = db.as_service(ACTIONS[action], batch["id"])

    entries = [*row["answer"]["done"], *row["answer"]["refused"]]
    assert {entry["index"] for entry in entries} == {0, 1}
    with refused("PT404"):
        db.as_service(ACTIONS[action], uuid4())


@pytest.mark.parametrize("action", ACTIONS)
def test_each_item_is_answered_once_in_the_batchs_order(db: Database, action: str) -> None:
    user = db.new_user()
    batch = db.submit(user, prompts=9)
    first, second, _ = db.claim()
    db.complete(first)
    db.fail(second)
    before = {str(item["id"]): index for index, item in enumerate(batch["generations"])}

    answer = act(db, user, action, batch)

    for entries in (answer["done"], answer["refused"]):
        assert [entry["index"] for entry in entries] == sorted(entry["index"] for entry in entries)
    entries = [*answer["done"], *answer["refused"]]
    assert {entry["generation_id"]: entry["index"] for entry in entries} == before
    assert len(entries) == 9


@pytest.mark.parametrize("action", ACTIONS)
def test_the_answer_has_the_batch_as_it_is_afterwards(db: Database, action: str) -> None:
    user = db.new_user()
    batch = failed_batch(db, user, "timeout")
    db.run("update public.batch_generations set name = 'Foxes' where id = %s", batch["id"])

    answer = act(db, user, action, batch)

    row = db.batch(batch["id"])
    names = ("name", "status", "total_count", "completed_count", "failed_count")
    assert answer["batch"] == {"id": batch["id"]} | {name: row[name] for name in names}
    assert answer.keys() == {"batch", "done", "refused"}


@pytest.mark.parametrize("action", ACTIONS)
def test_a_batch_without_items_has_nothing_done(db: Database, action: str) -> None:
    user = db.new_user()
    batch = db.one("insert into public.batch_generations (user_id, total_count) values (%s, 1) returning *", user)

    answer = act(db, user, action, batch)

    assert (answer["done"], answer["refused"]) == ([], [])


# cancel


def test_cancel_ends_waiting_items_and_asks_running_ones_to_stop(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user, prompts=6)
    first, second, running = db.claim()
    db.complete(first)
    db.fail(second)

    answer = act(db, user, "cancel", batch)

    assert done(answer) == {2: "cancel_requested", 3: "cancelled", 4: "cancelled", 5: "cancelled"}
    assert refusals(answer) == {0: "already_completed", 1: "already_failed"}
    assert statuses(db, batch) == ["completed", "failed", "processing", "failed", "failed", "failed"]
    assert requested(db) == [2]
    assert answer["batch"]["status"] == "processing"
    db.fail(running, code="cancelled", message="Stopped.")
    assert db.totals(batch["id"]) == ("partial", 1, 5)


def test_a_second_cancel_changes_nothing(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user, prompts=4)
    db.claim(1)
    act(db, user, "cancel", batch)
    before = everything(db)

    answer = act(db, user, "cancel", batch)

    assert done(answer) == {0: "cancel_requested"} | dict.fromkeys((1, 2, 3), "already_cancelled")
    rows = everything(db)
    for name in before.keys() - {"batchgen.queue"}:
        assert rows[name] == before[name]


def test_a_picture_that_was_finished_before_the_worker_heard_of_the_cancel_is_kept(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user)
    running = db.claim_one()
    act(db, user, "cancel", batch)

    db.complete(running)

    assert statuses(db, batch) == ["completed", "failed"]
    assert db.totals(batch["id"]) == ("partial", 1, 1)
    assert db.value("select count(*) from made.images") == 1
    assert db.value("select count(*) from batchgen.queue") == 0


@pytest.mark.parametrize("end", ["fails for good", "fails for now", "told to wait", "released", "lease expires"])
def test_an_item_that_is_asked_to_stop_ends_as_cancelled_and_never_runs_again(db: Database, end: str) -> None:
    user = db.new_user()
    batch = db.submit(user)
    running, _ = db.claim()
    db.run("update batchgen.settings set max_crashes = 1")
    act(db, user, "cancel", batch)

    match end:
        case "fails for good":
            db.fail(running, code="cancelled", message="Stopped.")
        case "fails for now":
            db.fail(running, retryable=True)
        case "told to wait":
            db.fail(running, retryable=True, retry_after_seconds=1)
        case "released":
            db.release(running)
        case _:
            db.expire(running)
            assert db.return_expired() == 1

    assert statuses(db, batch)[0] == "failed"
    assert codes(db)[0] == "cancelled"
    assert db.queued(running["generation_id"]) is None
    assert done(act(db, user, "cancel", batch)) == {0: "already_cancelled", 1: "cancel_requested"}


def test_an_item_that_an_admin_sets_back_after_a_cancel_runs_again(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user)
    running, other = db.claim()
    act(db, user, "cancel", batch)

    db.run("update public.image_generations set status = 'pending' where id = %s", running["generation_id"])

    assert [claim["generation_id"] for claim in db.claim()] == [running["generation_id"]]
    assert requested(db) == [other["batch_index"]]


def test_cancel_updates_each_waiting_item_once_and_no_running_one(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user, prompts=4)
    db.claim(2)
    db.run(COUNT_UPDATES)

    act(db, user, "cancel", batch)

    assert updates(db) == {2: 1, 3: 1}


# retry


def test_retry_makes_the_failed_items_due_again(db: Database) -> None:
    user = db.new_user()
    batch = failed_batch(db, user, "timeout", "blocked_by_policy", "cancelled", "", "outcome_unknown")
    db.run("update public.image_generations set retry_count = 3 where batch_index = 1")

    answer = act(db, user, "retry", batch)

    assert done(answer) == {1: "requeued", 4: "requeued"}
    assert refusals(answer) == {0: "already_completed", 2: "blocked_by_policy", 3: "cancelled", 5: "outcome_unknown"}
    assert answer["batch"]["status"] == "processing"
    assert db.totals(batch["id"]) == ("processing", 1, 3)
    for claim in db.claim():
        assert (claim["attempt"], db.item(claim["generation_id"])["error_message"]) == (1, None)
        db.complete(claim)
    assert db.totals(batch["id"]) == ("partial", 3, 3)


def test_a_second_retry_changes_nothing(db: Database) -> None:
    user = db.new_user()
    batch = failed_batch(db, user, "timeout", "timeout", "timeout")
    act(db, user, "retry", batch)
    db.claim(1)
    before = everything(db)

    answer = act(db, user, "retry", batch)

    assert done(answer) == dict.fromkeys((1, 2, 3), "already_waiting")
    assert everything(db) == before


def test_retry_asks_the_limits_once_and_changes_nothing_where_they_refuse(db: Database) -> None:
    user = db.new_user()
    few = failed_batch(db, user, "timeout", "timeout", "cancelled")
    many = failed_batch(db, user, "timeout", "timeout", "timeout")
    db.run(LIMIT)

    act(db, user, "retry", few)
    before = everything(db)
    with refused("PT429") as refusal:
        act(db, user, "retry", many)

    assert refusal.detail["code"] == "daily_limit"
    assert everything(db) == before
    assert db.run("select * from public.asked") == [{"user_id": user, "items": 2, "queued": 0}]


def test_an_operators_retry_counts_for_the_owner(db: Database) -> None:
    user = db.new_user()
    batch = failed_batch(db, user, "timeout")
    db.run(LIMIT)

    db.as_service(ACTIONS["retry"], batch["id"])

    assert db.value("select user_id from public.asked") == user


def test_a_retry_of_what_cannot_be_retried_asks_no_limit(db: Database) -> None:
    user = db.new_user()
    batch = failed_batch(db, user, "cancelled")
    db.run(LIMIT)

    assert refusals(act(db, user, "retry", batch)) == {0: "already_completed", 1: "cancelled"}

    assert db.run("select * from public.asked") == []


# save


def test_save_marks_the_pictures_that_are_there(db: Database) -> None:
    user = db.new_user()
    batch = finished_batch(db, user, 3, pictures=2)
    other = finished_batch(db, user)

    answer = act(db, user, "save", batch)

    assert done(answer) == {0: "saved", 1: "saved"}
    assert refusals(answer) == {2: "no_image"}
    saved = db.run(
        "select i.id, g.batch_id from public.images i join public.image_generations g"
        " on g.id = i.generation_id where saved_at is not null"
    )
    assert {str(row["id"]) for row in saved} == {entry["image_id"] for entry in answer["done"]}
    assert {str(row["batch_id"]) for row in saved} == {batch["id"]} != {other["id"]}


def test_a_second_save_keeps_the_time_of_the_first(db: Database) -> None:
    user = db.new_user()
    batch = finished_batch(db, user)
    first = act(db, user, "save", batch)
    before = everything(db)

    answer = act(db, user, "save", batch)

    assert done(answer) == dict.fromkeys(range(3), "already_saved")
    assert [entry["image_id"] for entry in answer["done"]] == [entry["image_id"] for entry in first["done"]]
    assert everything(db) == before


def test_a_saved_picture_stays_saved_when_its_item_runs_again(db: Database) -> None:
    user = db.new_user()
    batch = finished_batch(db, user)
    act(db, user, "save", batch)

    db.run("update made.image_generations set status = 'pending' where batch_index = 0")
    db.complete(db.claim_one())

    assert done(act(db, user, "save", batch)) == dict.fromkeys(range(3), "already_saved")


# tag


def tags_of(db: Database) -> list[tuple[int, str]]:
    rows = db.run(
        "select g.batch_index, t.name from public.image_tags it join public.tags t on t.id = it.tag_id"
        " join made.images i on i.id = it.image_id join public.image_generations g on g.id = i.generation_id"
    )
    return sorted((row["batch_index"], row["name"]) for row in rows)


def test_tag_puts_clean_tags_on_the_pictures_and_makes_those_that_are_missing(db: Database) -> None:
    user = db.new_user()
    batch = finished_batch(db, user, 3, pictures=2)
    db.run("insert into public.tags (name) values ('fox')")

    answer = tag(db, user, batch, [" Fox ", "FOX", "Ünïcode 🦊", "fox"])

    assert done(answer) == {0: "tagged", 1: "tagged"}
    assert refusals(answer) == {2: "no_image"}
    assert {tuple(entry["tags"]) for entry in answer["done"]} == {("fox", "ünïcode 🦊")}
    assert all(entry["image_id"] for entry in answer["done"])
    assert tags_of(db) == [(0, "fox"), (0, "ünïcode 🦊"), (1, "fox"), (1, "ünïcode 🦊")]


def test_tags_that_are_there_already_stay_once(db: Database) -> None:
    user = db.new_user()
    batch = finished_batch(db, user, 2)
    tag(db, user, batch, ["fox"])
    db.run("delete from public.image_tags where image_id = (select id from made.images limit 1)")

    answer = tag(db, user, batch, ["fox"])
    again = tag(db, user, batch, ["fox"])

    assert sorted(done(answer).values()) == ["already_tagged", "tagged"]
    assert done(again) == dict.fromkeys(range(2), "already_tagged")
    assert tags_of(db) == [(0, "fox"), (1, "fox")]


@pytest.mark.parametrize(
    ("tags", "code"),
    [
        (None, "tags_missing"),
        ([], "tags_missing"),
        (["x"] * 21, "too_many_tags"),
        (["x" * 51], "too_long"),
        ([" "], "blank_tag"),
        (["\u2003"], "blank_tag"),
        (["fox", None], "blank_tag"),
    ],
    ids=["null", "none", "21", "51 characters", "a space", "an em space", "a null"],
)
def test_tags_that_are_none_are_refused_and_nothing_is_tagged(db: Database, tags: Any, code: str) -> None:
    user = db.new_user()
    batch = finished_batch(db, user)
    before = everything(db)

    with refused("PT422") as refusal:
        tag(db, user, batch, tags)

    assert (refusal.detail["code"], refusal.detail["field"]) == (code, "p_tags")
    assert refusal.detail["remedy"]
    assert everything(db) == before


def test_a_huge_list_of_tags_is_refused_quickly(db: Database) -> None:
    user = db.new_user()
    batch = finished_batch(db, user)
    db.run("set statement_timeout = '2s'")

    with refused("PT422"):
        tag(db, user, batch, ["x" * 100] * 10_000)
    with refused("PT422"):
        tag(db, user, batch, ["x" * 1_000_000])


# delete


def test_delete_takes_rows_at_once_and_files_by_the_outbox(db: Database) -> None:
    user = db.new_user()
    batch = finished_batch(db, user, 3, pictures=2)
    other = finished_batch(db, user, 2)
    paths = {f"{user}/{item['id']}.png" for item in batch["generations"][:2]}
    paths |= {f"{user}/{batch['generations'][2]['id']}.{kind}" for kind in (*CONTENT_TYPES, "thumb.webp")}

    answer = act(db, user, "delete", batch)

    assert done(answer) == {0: "deleted", 1: "deleted", 2: "already_deleted"}
    assert [bool(entry.get("image_id")) for entry in answer["done"]] == [True, True, False]
    left = db.run("select g.batch_id from made.images i join public.image_generations g on g.id = i.generation_id")
    assert {str(row["batch_id"]) for row in left} == {other["id"]}
    outbox = db.as_service("select * from public.take_storage_deletions('w', 100, 60)")
    assert {row["path"] for row in outbox} == paths
    assert {row["bucket_id"] for row in outbox} == {"generated-images"}
    assert statuses(db, batch) == ["completed", "completed", "failed"]
    assert db.totals(batch["id"]) == ("partial", 2, 1)


def test_a_second_delete_changes_nothing(db: Database) -> None:
    user = db.new_user()
    batch = finished_batch(db, user)
    act(db, user, "delete", batch)
    before = everything(db)

    answer = act(db, user, "delete", batch)

    assert done(answer) == dict.fromkeys(range(3), "already_deleted")
    assert everything(db) == before


def test_waiting_and_running_items_are_not_deleted(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user, prompts=4)
    db.complete(db.claim(2)[0])

    answer = act(db, user, "delete", batch)

    assert done(answer) == {0: "deleted"}
    assert refusals(answer) == {1: "still_running", 2: "still_waiting", 3: "still_waiting"}


def test_saved_and_tagged_pictures_and_sources_of_others_are_deleted_too(db: Database) -> None:
    user = db.new_user()
    batch, later = finished_batch(db, user, 2), finished_batch(db, user, 2)
    act(db, user, "save", batch)
    act(db, user, "tag", batch)
    db.run(
        "update public.images set source_image_id = (select i.id from public.images i join public.image_generations g"
        " on g.id = i.generation_id where g.batch_id = %s limit 1) where generation_id in"
        " (select id from public.image_generations where batch_id = %s)",
        batch["id"],
        later["id"],
    )

    answer = act(db, user, "delete", batch)

    assert done(answer) == {0: "deleted", 1: "deleted"}
    assert db.run("select source_image_id from made.images") == [{"source_image_id": None}] * 2
    assert db.value("select count(*) from public.image_tags t join made.images i on i.id = t.image_id") == 0


def test_a_deleted_picture_can_be_made_again(db: Database) -> None:
    """An admin sets the item to pending: its path must not be deleted under the new picture."""
    user = db.new_user()
    batch = finished_batch(db, user, 2)
    act(db, user, "delete", batch)

    db.run("update made.image_generations set status = 'pending' where batch_index = 0")
    db.complete(db.claim_one())

    taken = db.as_service("select * from public.take_storage_deletions('w', 100, 60)")
    assert [row["path"] for row in taken] == [f"{user}/{batch['generations'][1]['id']}.png"]
    assert act(db, user, "delete", batch)["done"][0]["action"] == "deleted"
