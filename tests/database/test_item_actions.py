"""Actions on some items of a batch, named by their ids."""

from uuid import UUID, uuid4

import pytest
from app_writes import everything, failed_batch, requested, statuses
from database_harness import Database, Row, connect, refused
from test_batch_actions import done, finished_batch, refusals
from test_batch_actions_races import BackgroundCall, until_somebody_waits

ACTIONS = {
    "cancel": "select public.cancel_batch(%s, p_generation_ids => %s::uuid[]) as answer",
    "retry": "select public.retry_failed(%s, p_generation_ids => %s::uuid[]) as answer",
    "save": "select public.save_batch_images(%s, p_generation_ids => %s::uuid[]) as answer",
    "tag": "select public.tag_batch_images(%s, '{fox}', p_generation_ids => %s::uuid[]) as answer",
    "untag": "select public.untag_batch_images(%s, '{fox}', p_generation_ids => %s::uuid[]) as answer",
    "delete": "select public.delete_batch_images(%s, p_generation_ids => %s::uuid[]) as answer",
}
CANCEL_WAITING = "select public.cancel_batch(%s, p_waiting_only => true) as answer"


def act(db: Database, user: UUID | None, action: str, batch: Row, ids: object) -> Row:
    return db.as_user(user, ACTIONS[action], batch["id"], ids)[0]["answer"]


def cancel_waiting(db: Database, user: UUID, batch: Row) -> Row:
    return db.as_user(user, CANCEL_WAITING, batch["id"])[0]["answer"]


def ids_of(batch: Row, *indices: int) -> list[str]:
    return [batch["generations"][index]["id"] for index in indices]


@pytest.mark.parametrize("action", ACTIONS)
def test_only_the_named_items_are_answered_each_once(db: Database, action: str) -> None:
    user = db.new_user()
    batch = finished_batch(db, user, 4)
    others = everything(db)

    answer = act(db, user, action, batch, ids_of(batch, 3, 1, 3, 3))

    entries = [*answer["done"], *answer["refused"]]
    assert sorted(entry["index"] for entry in entries) == [1, 3]
    rows = everything(db)
    for table in ("public.images", "public.image_generations"):
        untouched = [row for row in others[table] if str(row.get("generation_id") or row["id"]) in ids_of(batch, 0, 2)]
        assert untouched
        assert all(row in rows[table] for row in untouched)


@pytest.mark.parametrize("action", ACTIONS)
def test_an_empty_list_acts_on_nothing(db: Database, action: str) -> None:
    user = db.new_user()
    batch = failed_batch(db, user, "timeout")
    before = everything(db)

    answer = act(db, user, action, batch, [])

    assert (answer["done"], answer["refused"]) == ([], [])
    rows = everything(db)
    assert {name: rows[name] for name in rows.keys() - {"public.tags"}} == {
        name: before[name] for name in before.keys() - {"public.tags"}
    }


@pytest.mark.parametrize("action", ACTIONS)
def test_an_item_of_another_batch_is_refused_like_one_that_does_not_exist(db: Database, action: str) -> None:
    user, stranger = db.new_user(), db.new_user()
    batch, other, theirs = (failed_batch(db, who, "timeout") for who in (user, user, stranger))
    before = everything(db)
    own = ids_of(batch, 0)
    answers: list[Row] = []
    for foreign in (ids_of(other, 0)[0], ids_of(theirs, 0)[0], str(uuid4()), None):
        with refused("PT404") as refusal:
            act(db, user, action, batch, [*own, foreign])
        answers.append(refusal.detail)
        assert everything(db) == before

    assert all(detail == answers[0] for detail in answers)
    assert (answers[0]["code"], answers[0]["field"]) == ("item_not_found", "p_generation_ids[1]")
    assert answers[0]["remedy"]


@pytest.mark.parametrize("action", ACTIONS)
def test_a_strangers_batch_is_not_found_whatever_items_are_named(db: Database, action: str) -> None:
    user, stranger = db.new_user(), db.new_user()
    batch = failed_batch(db, user, "timeout")
    for ids in (ids_of(batch, 0), [str(uuid4())], [], [str(uuid4())] * 1001):
        with refused("PT404") as refusal:
            act(db, stranger, action, batch, ids)
        assert refusal.detail["code"] == "batch_not_found"
        with refused("PT401"):
            act(db, None, action, batch, ids)


@pytest.mark.parametrize("action", ACTIONS)
def test_a_long_list_is_refused_with_its_limit(db: Database, action: str) -> None:
    user = db.new_user()
    batch = failed_batch(db, user, "timeout")

    with refused("PT422") as refusal:
        act(db, user, action, batch, ids_of(batch, 0) * 1001)

    detail = refusal.detail
    assert (detail["code"], detail["field"], detail["limit"]) == ("too_many_items", "p_generation_ids", 1000)
    act(db, user, action, batch, ids_of(batch, 0) * 1000)


@pytest.mark.parametrize("action", ACTIONS)
def test_an_operator_acts_on_items_of_any_batch(db: Database, action: str) -> None:
    batch = failed_batch(db, db.new_user(), "timeout")

    [row] = db.as_service(ACTIONS[action], batch["id"], ids_of(batch, 1))

    assert [entry["index"] for entry in [*row["answer"]["done"], *row["answer"]["refused"]]] == [1]


def test_cancel_of_some_items_leaves_the_others_waiting_and_running(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user, prompts=5)
    db.claim(2)

    answer = act(db, user, "cancel", batch, ids_of(batch, 1, 3))

    assert done(answer) == {1: "cancel_requested", 3: "cancelled"}
    assert statuses(db, batch) == ["processing", "processing", "pending", "failed", "pending"]
    assert requested(db) == [1]
    assert answer["batch"]["failed_count"] == 1


def test_retry_of_some_items_asks_the_limits_for_those_alone(db: Database) -> None:
    user = db.new_user()
    batch = failed_batch(db, user, "timeout", "timeout", "timeout")
    before = db.value("select daily_generations_count from public.user_rate_limits where user_id = %s", user)

    answer = act(db, user, "retry", batch, ids_of(batch, 2))

    assert done(answer) == {2: "requeued"}
    assert statuses(db, batch) == ["completed", "failed", "pending", "failed"]
    after = db.value("select daily_generations_count from public.user_rate_limits where user_id = %s", user)
    assert after == before + 1


def test_delete_of_some_items_keeps_the_other_pictures(db: Database) -> None:
    user = db.new_user()
    batch = finished_batch(db, user, 3)

    answer = act(db, user, "delete", batch, ids_of(batch, 1))

    assert done(answer) == {1: "deleted"}
    kept = db.run("select generation_id::text as id from public.images where user_id = %s", user)
    assert sorted(row["id"] for row in kept) == sorted(ids_of(batch, 0, 2))
    assert db.totals(batch["id"]) == ("completed", 3, 0)


# untag


def test_untag_removes_the_tags_from_the_pictures_and_keeps_the_tags(db: Database) -> None:
    user = db.new_user()
    batch = finished_batch(db, user, 3, pictures=2)
    for tag in ("fox", "red"):
        db.as_user(user, "select public.tag_batch_images(%s, %s)", batch["id"], [tag])
    act(db, user, "untag", batch, ids_of(batch, 0))
    untag = "select public.untag_batch_images(%s, %s::text[]) as answer"

    [row] = db.as_user(user, untag, batch["id"], [" Fox", "FOX", "unknown"])
    [again] = db.as_user(user, untag, batch["id"], ["fox", "unknown"])

    assert done(row["answer"]) == {0: "already_untagged", 1: "untagged"}
    assert refusals(row["answer"]) == {2: "no_image"}
    assert [entry["tags"] for entry in row["answer"]["done"]] == [["fox", "unknown"]] * 2
    assert done(again["answer"]) == {0: "already_untagged", 1: "already_untagged"}
    left = db.run("select t.name from public.image_tags x join public.tags t on t.id = x.tag_id")
    assert [tag["name"] for tag in left] == ["red", "red"]
    assert db.value("select count(*) from public.tags where name in ('fox', 'red')") == 2
    assert db.value("select count(*) from public.tags where name = 'unknown'") == 0


@pytest.mark.parametrize(
    ("tags", "code"),
    [(None, "tags_missing"), ([], "tags_missing"), (["x"] * 21, "too_many_tags"), (["fox", None], "blank_tag")],
)
def test_invalid_tags_are_refused_by_untag(db: Database, tags: object, code: str) -> None:
    user = db.new_user()
    batch = finished_batch(db, user)

    with refused("PT422") as refusal:
        db.as_user(user, "select public.untag_batch_images(%s, %s::text[])", batch["id"], tags)

    assert (refusal.detail["code"], refusal.detail["field"]) == (code, "p_tags")


# cancel what waits


def test_a_cancel_of_waiting_items_lets_running_ones_finish(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user, prompts=5)
    first, running, _ = db.claim(3)
    db.complete(first)

    answer = cancel_waiting(db, user, batch)

    assert done(answer) == {1: "left_running", 2: "left_running", 3: "cancelled", 4: "cancelled"}
    assert refusals(answer) == {0: "already_completed"}
    assert requested(db) == []
    db.complete(running)
    assert statuses(db, batch) == ["completed", "completed", "processing", "failed", "failed"]


def test_a_cancel_of_waiting_items_keeps_an_earlier_cancel_request(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user, prompts=3)
    db.claim(2)
    act(db, user, "cancel", batch, ids_of(batch, 0))

    answer = cancel_waiting(db, user, batch)

    assert done(answer) == {0: "cancel_requested", 1: "left_running", 2: "cancelled"}
    assert done(cancel_waiting(db, user, batch)) == {0: "cancel_requested", 1: "left_running", 2: "already_cancelled"}


def test_an_item_that_waits_for_its_retry_is_waiting(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user, prompts=2)
    db.fail(db.claim_one(), retryable=True)

    assert done(cancel_waiting(db, user, batch)) == {0: "cancelled", 1: "cancelled"}
    assert db.claim() == []


def test_only_waiting_items_may_also_be_named(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user, prompts=4)
    db.claim(1)

    [row] = db.as_user(
        user,
        "select public.cancel_batch(%s, %s::uuid[], true) as answer",
        batch["id"],
        ids_of(batch, 0, 2),
    )

    assert done(row["answer"]) == {0: "left_running", 2: "cancelled"}
    assert statuses(db, batch) == ["processing", "pending", "failed", "pending"]


def test_a_null_for_waiting_only_means_false(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user)
    db.claim(1)

    [row] = db.as_user(user, "select public.cancel_batch(%s, null, null) as answer", batch["id"])

    assert done(row["answer"]) == {0: "cancel_requested", 1: "cancelled"}


def test_items_running_before_the_queue_existed_outlive_a_cancel_of_waiting_ones(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user)
    first = ids_of(batch, 0)[0]
    db.claim(1)
    db.run("delete from batchgen.queue where generation_id = %s", first)

    assert done(cancel_waiting(db, user, batch)) == {0: "left_running", 1: "cancelled"}
    assert statuses(db, batch) == ["processing", "failed"]


def test_a_cancel_of_waiting_items_leaves_what_a_claim_is_just_taking(db: Database) -> None:
    """The claim is not committed yet when the cancel begins."""
    user = db.new_user()
    batch = db.submit(user, prompts=4)
    with connect(db.dsn) as connection, connection.transaction():
        claims = Database(db.dsn, connection).claim(2)
        cancel = BackgroundCall(db, lambda other: cancel_waiting(other, user, batch))
        until_somebody_waits(db)
    answer = cancel.answer()

    assert done(answer) == {0: "left_running", 1: "left_running", 2: "cancelled", 3: "cancelled"}
    assert requested(db) == []
    for claim in claims:
        db.complete(claim)
    assert db.totals(batch["id"]) == ("partial", 2, 2)


def test_a_claim_beside_a_cancel_of_waiting_items_takes_none_of_them(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user, prompts=3)
    with connect(db.dsn) as connection, connection.transaction():
        cancel_waiting(Database(db.dsn, connection), user, batch)
        db.run("set lock_timeout = '2s'")
        assert db.claim() == []

    assert statuses(db, batch) == ["failed"] * 3
    assert db.claim() == []
