"""Pages of batches: every batch once, in order, whatever is filtered; bounded work."""

from itertools import chain, pairwise
from typing import Any
from uuid import UUID

import pytest
from database_harness import Database, Row, a_request, refused

PAGE = "select public.batches_page(p_before => %s, p_limit => %s, p_state => %s, p_tag => %s, p_search => %s) as answer"


def page(
    db: Database,
    user: UUID,
    before: str | None = None,
    limit: int | None = 20,
    state: str | None = None,
    tag: str | None = None,
    search: str | None = None,
) -> Row:
    [row] = db.as_user(user, PAGE, before, limit, state, tag, search)
    return row["answer"]


def ids(answer: Row) -> list[str]:
    return [one["batch"]["id"] for one in answer["batches"]]


def all_pages(db: Database, user: UUID, limit: int, **filters: str) -> list[list[str]]:
    pages = list[list[str]]()
    before = None
    while True:
        answer = page(db, user, before, limit, **filters)
        pages.append(ids(answer))
        before = answer["next"]
        if before is None:
            return pages


def plant(db: Database, user: UUID, batches: int, **columns: Any) -> None:
    """Many ended batches with an item each, without the triggers."""
    db.run("set session_replication_role = replica")
    db.run(
        "with b as (insert into public.batch_generations (user_id, name, total_count, completed_count, status,"
        " created_at) select %s, %s || n, 1, 1, %s, now() - n * interval '1 minute' from generate_series(1, %s) n"
        " returning id, user_id) insert into public.image_generations (user_id, batch_id, batch_index, prompt, status)"
        " select user_id, id, 0, 'a tree', 'completed' from b",
        user,
        columns.get("name", "old "),
        columns.get("status", "completed"),
        batches,
    )
    db.run("reset session_replication_role")


def test_pages_have_every_batch_once_newest_first(db: Database) -> None:
    user = db.new_user()
    made = [db.create(user, a_request())["id"] for _ in range(7)]
    db.submit()

    pages = all_pages(db, user, 3)

    assert pages == [made[:3:-1], made[3:0:-1], made[:1]]


def test_batches_of_the_same_moment_are_ordered_by_id(db: Database) -> None:
    user = db.new_user()
    made = [db.create(user, a_request())["id"] for _ in range(5)]
    db.run("update public.batch_generations set created_at = '2026-01-01'")

    pages = all_pages(db, user, 2)

    assert list(chain(*pages)) == sorted(made, reverse=True)


def test_a_page_goes_on_behind_a_batch_that_was_deleted(db: Database) -> None:
    user = db.new_user()
    made = [db.create(user, a_request())["id"] for _ in range(4)]
    first = page(db, user, limit=2)
    db.as_user(user, "delete from public.batch_generations where id = %s", made[2])

    second = page(db, user, first["next"], 2)

    assert ids(second) == [made[1], made[0]]
    assert second["next"] is None


def test_each_batch_has_the_shape_of_its_details(db: Database) -> None:
    batch = db.submit()
    owner: UUID = db.batch(batch["id"])["user_id"]

    [shown] = page(db, owner)["batches"]

    [row] = db.as_user(owner, "select public.batch_details(%s) as answer", batch["id"])
    assert {"now", *shown} == set(row["answer"])
    assert set(shown["batch"]) == set(row["answer"]["batch"])
    assert shown["items"][0]["prompt"] == row["answer"]["items"][0]["prompt"]


def test_states_are_filtered(db: Database) -> None:
    user = db.new_user()
    made = [db.create(user, a_request())["id"] for _ in range(3)]
    claims = db.claim(2)
    db.complete_all(claims)
    ended = str(claims[0]["batch_id"])

    assert ids(page(db, user, state="completed")) == [ended]
    assert ids(page(db, user, state="ended")) == [ended]
    assert set(ids(page(db, user, state="active"))) == set(made) - {ended}
    assert ids(page(db, user, state="failed")) == []
    assert len(ids(page(db, user, state=""))) == 3


def test_a_tag_finds_tagged_pictures_and_requested_tags(db: Database) -> None:
    user = db.new_user()
    tagged = db.create(user, {"prompts": [{"text": "a", "tags": ["Forest"]}, {"text": "b"}]})
    later = db.create(user, a_request())
    db.create(user, a_request())
    assert ids(page(db, user, tag=" FOREST ")) == [tagged["id"]]
    db.complete_all(db.claim(3))
    db.complete_all(db.claim(3))
    db.as_user(user, "select public.tag_batch_images(%s, '{forest}')", later["id"])

    found = page(db, user, tag="forest")

    assert ids(found) == [later["id"], tagged["id"]]
    assert ids(page(db, user, tag="sea")) == []


def test_a_tag_that_was_taken_off_finds_nothing(db: Database) -> None:
    user = db.new_user()
    db.create(user, {"prompts": [{"text": "a", "tags": ["forest"]}, {"text": "b"}]})
    db.complete_all(db.claim())
    db.as_user(user, "delete from public.image_tags")

    assert ids(page(db, user, tag="forest")) == []


@pytest.mark.parametrize(
    ("search", "is_found"),
    [
        ("RED FOX x", True),
        ("x_y", True),
        ("100%", True),
        ("Ärger", True),
        ("x%y", False),
        ("a fox in", False),
        ("my", True),
    ],
)
def test_a_search_finds_text_as_it_is_in_names_and_prompts(db: Database, search: str, is_found: bool) -> None:
    user = db.new_user()
    prompts = [{"text": "a red fox x_y 100%"}, {"text": "ÄRGER"}]
    batch = db.create(user, {"prompts": prompts, "batch_name": "My batch"})
    db.create(user, a_request())

    assert ids(page(db, user, search=search)) == ([batch["id"]] if is_found else [])


def test_a_rare_search_reads_a_thousand_batches_and_goes_on(db: Database) -> None:
    user = db.new_user()
    plant(db, user, 1500)
    plant(db, user, 1, name="the rare one ")
    db.run("update public.batch_generations set created_at = '2020-01-01' where name like 'the rare%%'")
    db.run("analyze")

    first = page(db, user, search="rare")
    second = page(db, user, first["next"], search="rare")

    assert first["batches"] == []
    assert first["next"] is not None
    assert [one["batch"]["name"] for one in second["batches"]] == ["the rare one 1"]
    assert second["next"] is None


def test_pages_of_a_search_have_every_match_once(db: Database) -> None:
    user = db.new_user()
    plant(db, user, 1100)
    plant(db, user, 7, name="rare ")

    pages = all_pages(db, user, 3, search="rare")

    found = list(chain(*pages))
    assert len(found) == len(set(found)) == 7


@pytest.mark.parametrize(
    ("arguments", "field", "code"),
    [
        ({"limit": 0}, "p_limit", "out_of_range"),
        ({"limit": 101}, "p_limit", "out_of_range"),
        ({"before": "x"}, "p_before", "invalid_cursor"),
        ({"before": "2026-01-01/x"}, "p_before", "invalid_cursor"),
        ({"before": ""}, "p_before", "invalid_cursor"),
        ({"before": "99999999-01-01/00000000-0000-4000-8000-000000000001"}, "p_before", "invalid_cursor"),
        ({"state": "done"}, "p_state", "unknown_state"),
        ({"tag": "x" * 51}, "p_tag", "too_long"),
        ({"tag": "a\u200bb"}, "p_tag", "not_allowed"),
        ({"search": "x" * 201}, "p_search", "too_long"),
    ],
)
def test_a_wrong_argument_is_named(db: Database, arguments: dict[str, Any], field: str, code: str) -> None:
    with refused("PT422") as refusal:
        page(db, db.new_user(), **arguments)

    assert (refusal.detail["field"], refusal.detail["code"]) == (field, code)
    assert refusal.detail["remedy"]


def test_blank_filters_filter_nothing(db: Database) -> None:
    user = db.new_user()
    db.create(user, a_request())

    assert len(ids(page(db, user, limit=None, state="", tag=" ", search=" "))) == 1


def pages_read(db: Database, user: UUID, **filters: str) -> int:
    with db.acting("authenticated", user) as connection:
        call = f"explain (analyze, buffers, format json) {PAGE}"
        arguments = (None, 20, filters.get("state"), None, filters.get("search"))
        connection.execute(call.encode(), arguments)  # the first call in a session reads the catalog
        [row] = connection.execute(call.encode(), arguments).fetchall()
    plan: Row = row["QUERY PLAN"][0]["Plan"]
    return plan["Shared Hit Blocks"] + plan["Shared Read Blocks"]


@pytest.mark.parametrize("filters", [{}, {"state": "active"}, {"state": "failed"}, {"search": "tree"}])
def test_a_page_reads_no_more_with_sixteen_times_the_batches(db: Database, filters: dict[str, str]) -> None:
    user, other = db.new_user(), db.new_user()
    for _ in range(3):
        db.create(user, a_request())
    plant(db, user, 500)
    plant(db, other, 500)
    db.run("vacuum analyze")
    few = pages_read(db, user, **filters)
    for one in (user, other):
        plant(db, one, 7500)
    db.run("vacuum analyze")

    many = pages_read(db, user, **filters)

    assert many <= 1.5 * few + 40, f"{few} pages with 1,000 batches, {many} with 16,000"


def test_cursors_go_down(db: Database) -> None:
    user = db.new_user()
    plant(db, user, 10)

    answers = [page(db, user, limit=2)]
    while answers[-1]["next"]:
        answers.append(page(db, user, answers[-1]["next"], 2))

    moments = [one["batch"]["created_at"] for answer in answers for one in answer["batches"]]
    assert len(moments) == 10
    assert all(newer > older for newer, older in pairwise(moments))


def test_batches_in_the_trash_are_left_out_unless_asked_for(db: Database) -> None:
    user = db.new_user()
    kept, gone = (db.create(user, a_request())["id"] for _ in range(2))
    db.complete_all(db.claim(3))
    db.complete_all(db.claim(3))
    db.as_user(user, "select public.trash_batch_images(%s)", gone)

    trashed = page(db, user, state="trashed")

    assert ids(page(db, user)) == [kept]
    assert ids(trashed) == [gone]
    assert trashed["batches"][0]["batch"]["trashed_at"] is not None
    assert all(item["picture"]["is_trashed"] for item in trashed["batches"][0]["items"])
