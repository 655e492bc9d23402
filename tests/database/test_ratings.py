"""Ratings of batches and of their pictures."""

from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from database_harness import Database, Row, refused
from test_batch_actions import done, finished_batch, refusals
from test_batch_actions_races import Call, at_once


def rate(db: Database, user: UUID | None, batch: Row, stars: int | None, comment: str | None = None) -> Row:
    return db.as_user(user, "select public.rate_batch(%s, %s, %s) as answer", batch["id"], stars, comment)[0]["answer"]


def rating(db: Database, user: UUID | None, batch: Row) -> Row | None:
    return db.as_user(user, "select public.get_batch_rating(%s) as answer", batch["id"])[0]["answer"]


def rate_images(db: Database, user: UUID, batch: Row, stars: int | None, ids: list[str] | None = None) -> Row:
    sql = "select public.rate_batch_images(%s, %s, %s::uuid[]) as answer"
    return db.as_user(user, sql, batch["id"], stars, ids)[0]["answer"]


def test_a_batch_is_rated_once_and_the_rating_can_be_changed(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user)

    assert rating(db, user, batch) is None
    first = rate(db, user, batch, 4, " Quick and pretty. ")
    same = rate(db, user, batch, 4, "Quick and pretty.")
    changed = rate(db, user, batch, 2)

    assert first.keys() == {"stars", "comment", "rated_at", "changed_at"}
    assert (first["stars"], first["comment"]) == (4, "Quick and pretty.")
    assert same == first
    assert (changed["stars"], changed["comment"], changed["rated_at"]) == (2, None, first["rated_at"])
    assert changed["changed_at"] > first["changed_at"]
    assert rating(db, user, batch) == changed
    assert db.value("select count(*) from batchgen.batch_ratings") == 1


@pytest.mark.parametrize(
    ("stars", "comment", "code", "field"),
    [
        (0, None, "out_of_range", "p_stars"),
        (6, None, "out_of_range", "p_stars"),
        (None, None, "out_of_range", "p_stars"),
        (5, "x" * 501, "too_long", "p_comment"),
    ],
)
def test_an_invalid_rating_is_refused(db: Database, stars: int | None, comment: Any, code: str, field: str) -> None:
    user = db.new_user()
    batch = db.submit(user)

    with refused("PT422") as refusal:
        rate(db, user, batch, stars, comment)

    assert (refusal.detail["code"], refusal.detail["field"]) == (code, field)
    assert refusal.detail["limit"]
    assert rating(db, user, batch) is None


def test_strangers_rate_nothing_and_learn_nothing(db: Database) -> None:
    user, stranger = db.new_user(), db.new_user()
    batch = db.submit(user)
    rate(db, user, batch, 5)

    def rate_as(who: UUID | None, one: Row) -> object:
        return rate(db, who, one, 1)

    def read_as(who: UUID | None, one: Row) -> object:
        return rating(db, who, one)

    for call in (rate_as, read_as):
        with refused("PT404") as theirs:
            call(stranger, batch)
        with refused("PT404") as unknown:
            call(stranger, {"id": uuid4()})
        with refused("PT401"):
            call(None, batch)
        assert theirs.detail == unknown.detail
    assert (rating(db, user, batch) or {})["stars"] == 5


def test_ratings_at_once_leave_one(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user)

    def rating_with(stars: int) -> Call:
        return lambda other: rate(other, user, batch, stars)

    at_once(db, *[rating_with(stars) for stars in (1, 2, 3, 4)])

    assert db.value("select count(*) from batchgen.batch_ratings") == 1


def test_a_rating_goes_with_its_batch(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user)
    rate(db, user, batch, 5)

    db.run("delete from public.batch_generations where id = %s", batch["id"])

    assert db.value("select count(*) from batchgen.batch_ratings") == 0


def test_admins_see_the_average(db: Database) -> None:
    user = db.new_user()
    for stars in (5, 4, 1):
        rate(db, user, db.submit(user), stars)

    in_all, month = db.run("select * from batchgen.satisfaction")

    assert in_all["month"] is None
    assert (in_all["ratings"], in_all["average_stars"], in_all["satisfied"]) == (3, Decimal("3.33"), 2)
    assert (month["ratings"], month["month"].day) == (3, 1)


def test_pictures_are_rated_and_the_rating_removed(db: Database) -> None:
    user = db.new_user()
    batch = finished_batch(db, user, 3, pictures=2)
    second = batch["generations"][1]["id"]

    first = rate_images(db, user, batch, 4)
    again = rate_images(db, user, batch, 5, [second])
    same = rate_images(db, user, batch, 4)
    removed = rate_images(db, user, batch, None, [second])

    assert done(first) == {0: "rated", 1: "rated"}
    assert refusals(first) == {2: "no_image"}
    assert [entry["rating"] for entry in first["done"]] == [4, 4]
    assert done(again) == {1: "rated"}
    assert done(same) == {0: "already_rated", 1: "rated"}
    assert (done(removed), removed["done"][0]["rating"]) == ({1: "rated"}, None)
    rows = db.run(
        "select i.rating from public.images i join public.image_generations g on g.id = i.generation_id"
        " where g.batch_id = %s order by g.batch_index",
        batch["id"],
    )
    assert [row["rating"] for row in rows] == [4, None]


@pytest.mark.parametrize("stars", [0, 6, -1])
def test_a_picture_gets_one_to_five_stars(db: Database, stars: int) -> None:
    user = db.new_user()
    batch = finished_batch(db, user)

    with refused("PT422") as refusal:
        rate_images(db, user, batch, stars)

    assert (refusal.detail["code"], refusal.detail["field"]) == ("out_of_range", "p_rating")


def test_strangers_rate_no_pictures(db: Database) -> None:
    batch = finished_batch(db, db.new_user())

    with refused("PT404") as refusal:
        rate_images(db, db.new_user(), batch, 1)

    assert refusal.detail["code"] == "batch_not_found"
    assert db.value("select count(*) from public.images where rating is not null") == 0
