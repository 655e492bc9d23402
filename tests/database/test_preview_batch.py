"""A preview says what create_batch would do, and writes nothing."""

import json
from collections.abc import Mapping
from typing import Any
from uuid import UUID

import pytest
from database_harness import Database, Row, a_request, refused

PREVIEW = "select public.preview_batch(%s::jsonb) as answer"
COUNTS = """
  select (select count(*) from public.batch_generations) + (select count(*) from public.image_generations)
    + (select count(*) from batchgen.requests) + (select count(*) from public.user_rate_limits)
    + (select count(*) from batchgen.queue) + (select count(*) from public.tags) as n
"""


def preview(db: Database, user: UUID | None, request: object) -> Row:
    [row] = db.as_user(user, PREVIEW, json.dumps(request))
    return row["answer"]


def test_nothing_is_written_not_even_in_a_read_only_transaction(db: Database) -> None:
    user = db.new_user()
    request = {"prompts": [{"text": "a", "tags": ["new"]}, {"text": "b"}], "client_key": "k"}
    with db.admin.transaction():
        db.run("set transaction read only")
        shown = preview(db, user, request)

    assert shown["count"] == 2
    assert db.value(COUNTS) == 0


def test_the_preview_shows_what_is_then_made(db: Database) -> None:
    user = db.new_user()
    request = {
        "prompts": [
            {"text": "a fox", "negative_prompt": "blurry", "seed": -9223372036854775808, "tags": ["B", "a"]},
            {"text": "a bird"},
        ],
        "shared_settings": {"width": 512, "steps": 7},
        "batch_name": "Both",
    }

    shown = preview(db, user, request)
    made = db.create(user, request)

    batch = db.batch(made["id"])
    for key in ("name", "model_id", "model_version", "width", "height", "steps", "guidance_scale"):
        assert shown["batch"][key] == batch[key]
    assert shown["items"] == [
        {
            "index": 0,
            "prompt": "a fox",
            "negative_prompt": "blurry",
            "seed": "-9223372036854775808",
            "tags": ["b", "a"],
        },
        {"index": 1, "prompt": "a bird", "negative_prompt": None, "seed": None, "tags": []},
    ]
    assert [item["prompt"] for item in made["generations"]] == ["a fox", "a bird"]


def test_the_price_is_of_all_pictures(db: Database) -> None:
    db.run("update batchgen.models set price_usd = 0.02 where is_default")

    shown = preview(db, db.new_user(), a_request(5))

    assert (shown["price_usd"], shown["total_usd"]) == (0.02, 0.1)


def test_an_unknown_price_is_null(db: Database) -> None:
    db.run("update batchgen.models set price_usd = null where is_default")

    shown = preview(db, db.new_user(), a_request(5))

    assert (shown["price_usd"], shown["total_usd"]) == (None, None)


def test_the_time_counts_the_users_queue_in_rounds(db: Database) -> None:
    db.run("update batchgen.models set estimated_seconds = 10 where is_default")
    user = db.new_user()

    alone = preview(db, user, a_request(6))["expected_seconds"]
    db.create(user, a_request(5))
    db.claim(3)
    behind_five = preview(db, user, a_request(6))["expected_seconds"]

    assert alone == {"least": 20, "most": 20, "is_measured": False}
    assert behind_five == {"least": 40, "most": 40, "is_measured": False}


def test_what_is_left_of_each_limit(db: Database) -> None:
    db.run(
        "update batchgen.settings set default_daily_limit = 50, default_hourly_limit = 40, max_waiting_per_user = 30"
    )
    user = db.new_user()
    db.create(user, a_request(4))

    limits = {limit["code"]: limit for limit in preview(db, user, a_request())["limits"]}

    assert {code: (one["used"], one["limit"], one["left"]) for code, one in limits.items()} == {
        "daily_limit": (4, 50, 46),
        "hourly_limit": (4, 40, 36),
        "too_many_waiting": (4, 30, 26),
    }
    assert limits["daily_limit"]["resets_at"] is not None
    assert limits["too_many_waiting"]["resets_at"] is None


@pytest.mark.parametrize(
    ("setting", "code"),
    [
        ("default_daily_limit", "daily_limit"),
        ("default_hourly_limit", "hourly_limit"),
        ("max_waiting_per_user", "too_many_waiting"),
    ],
)
def test_a_limit_in_the_way_is_reported_as_create_batch_raises_it(db: Database, setting: str, code: str) -> None:
    db.run(f"update batchgen.settings set {setting} = 3")  # noqa: S608 - a name from the list above
    user = db.new_user()
    db.create(user, a_request(2))

    shown = preview(db, user, a_request(2))
    with refused("PT429") as refusal:
        db.create(user, a_request(2))

    assert shown["refusal"]["code"] == code
    told = {key: value for key, value in shown["refusal"].items() if key != "retry_after_seconds"}
    raised = {key: value for key, value in refusal.detail.items() if key != "retry_after_seconds"}
    assert told == raised
    assert shown["count"] == 2


def test_too_many_new_tags_are_reported(db: Database) -> None:
    user = db.new_user()
    db.run("insert into public.tags (name, created_by) select 'tag ' || n, %s from generate_series(1, 1000) n", user)
    request = {"prompts": [{"text": "a", "tags": ["another"]}, {"text": "b"}]}

    shown = preview(db, user, request)

    assert shown["refusal"]["code"] == "too_many_tags"


def test_no_limit_refuses_an_operator(db: Database) -> None:
    db.run("update batchgen.settings set default_daily_limit = 0")
    user = db.new_user()

    [row] = db.as_service("select public.preview_batch_as(%s, %s::jsonb) as answer", user, json.dumps(a_request()))

    assert row["answer"]["refusal"] is None
    assert row["answer"]["limits"][0]["left"] == 0


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"prompts": [{"text": "a"}]},
        {"prompts": [{"text": "a"}, {"text": ""}]},
        {"prompts": [{"text": "a"}, {"txt": "b"}]},
        {"prompts": [{"text": "a"}, {"text": "b"}], "shared_settings": {"model_id": "none"}},
        {"prompts": [{"text": "a"}, {"text": "b"}], "client_key": " "},
        [],
    ],
)
def test_what_breaks_a_rule_is_refused_as_by_create_batch(db: Database, request_: Mapping[str, Any]) -> None:
    user = db.new_user()

    with refused("PT422") as told:
        preview(db, user, request_)
    with refused("PT422") as raised:
        db.create(user, request_)

    assert (told.message, told.detail) == (raised.message, raised.detail)


def test_a_repeated_request_shows_its_batch(db: Database) -> None:
    user = db.new_user()
    request = a_request(2) | {"client_key": "again"}
    made = db.create(user, request)
    db.run("update batchgen.settings set default_daily_limit = 0")

    shown = preview(db, user, request)

    assert shown["batch_id"] == made["id"]
    assert shown["refusal"] is None
    assert shown["total_usd"] == 0
    assert [item["seed"] for item in shown["items"]] == [str(item["seed"]) for item in made["generations"]]
    with refused("PT409") as refusal:
        preview(db, user, a_request(3) | {"client_key": "again"})
    assert refusal.detail["code"] == "client_key_reused"


def test_a_deleted_user_is_told_so(db: Database) -> None:
    user = db.new_user()
    db.run("delete from auth.users where id = %s", user)

    with refused("PT401") as told:
        preview(db, user, a_request())
    with refused("PT401") as raised:
        db.create(user, a_request())

    assert told.detail == raised.detail


def test_credits_are_shown_and_a_lack_of_them_is_reported_as_create_batch_raises_it(db: Database) -> None:
    user = db.new_user()
    without = preview(db, user, a_request(3))
    db.run("update batchgen.settings set credits = true")
    db.run("update public.models set cost_per_generation = 2 where is_default")
    db.as_service("select public.grant_credits(%s, 5)", user)

    enough = preview(db, user, a_request(2))
    short = preview(db, user, a_request(3))
    with refused("PT402") as refusal:
        db.create(user, a_request(3))

    assert without["credits"] is None
    assert enough["credits"] == {"each": 2, "total": 4, "available": 5}
    assert enough["refusal"] is None
    assert short["refusal"] == refusal.detail


def test_an_operator_is_told_that_the_user_lacks_credits(db: Database) -> None:
    user = db.new_user()
    db.run("update batchgen.settings set credits = true")
    db.run("update public.models set cost_per_generation = 2 where is_default")

    [row] = db.as_service("select public.preview_batch_as(%s, %s::jsonb) as answer", user, json.dumps(a_request()))

    assert row["answer"]["refusal"]["code"] == "credits_short"


def test_a_previewed_sample_of_choices_can_be_submitted(db: Database) -> None:
    user = db.new_user()
    request = {"prompts": [{"text": "{a|b|c|d|e|f|g|h} {1|2|3|4|5|6|7|8}"}], "choices": {"mode": "sample", "count": 5}}

    shown = preview(db, user, request)
    seed = int(shown["sample_seed"])
    made = db.create(user, request | {"choices": {"mode": "sample", "count": 5, "seed": seed}})

    assert [item["prompt"] for item in made["generations"]] == [item["prompt"] for item in shown["items"]]


def test_variations_are_expanded(db: Database) -> None:
    request = {"prompts": [{"text": "a fox"}], "variations": {"seeds": [7, 0, 12]}}

    shown = preview(db, db.new_user(), request)

    assert [item["seed"] for item in shown["items"]] == ["7", "0", "12"]
    assert shown["count"] == 3
