"""New batches from the items of an earlier one: similar pictures, and exact repetitions."""

from typing import Any
from uuid import UUID, uuid4

import pytest
from app_writes import everything, failed_batch
from database_harness import Database, Row, refused
from paid_orders import add_model
from psycopg.types.json import Jsonb
from test_batch_actions import finished_batch


def similar(
    db: Database, user: UUID | None, batch: Row, ids: list[str] | None = None, count: int | None = None, key: str = ""
) -> Row:
    sql = "select public.generate_similar(%s, %s::uuid[], %s, %s) as answer"
    return db.as_user(user, sql, batch["id"], ids, count, key or None)[0]["answer"]


def again(
    db: Database, user: UUID | None, batch: Row, ids: list[str] | None = None, changes: Any = None, key: str = ""
) -> Row:
    sql = "select public.run_again(%s, %s::uuid[], %s, %s) as answer"
    value = None if changes is None else Jsonb(changes)
    return db.as_user(user, sql, batch["id"], ids, value, key or None)[0]["answer"]


def ids_of(batch: Row, *indices: int) -> list[str]:
    return [batch["generations"][index]["id"] for index in indices]


def items(db: Database, batch_id: object) -> list[Row]:
    return db.run("select * from public.image_generations where batch_id = %s order by batch_index", batch_id)


def test_similar_pictures_have_the_same_prompts_and_settings_and_new_seeds(db: Database) -> None:
    user = db.new_user()
    batch = finished_batch(db, user, 3, pictures=2)
    db.run("update public.image_generations set negative_prompt = 'blur' where batch_index = 1")
    db.run("update public.batch_generations set name = 'Foxes' where id = %s", batch["id"])

    answer = similar(db, user, batch, count=2)

    new = items(db, answer["batch"]["id"])
    old = items(db, batch["id"])
    assert answer["batch"]["name"] == "Foxes"
    assert [item["prompt"] for item in new] == [old[0]["prompt"]] * 2 + [old[1]["prompt"]] * 2
    assert [item["negative_prompt"] for item in new] == [None, None, "blur", "blur"]
    assert len({item["seed"] for item in [*old, *new]}) == 7
    assert {(item["model_id"], item["width"], item["steps"]) for item in [*old, *new]} == {
        (old[0]["model_id"], old[0]["width"], old[0]["steps"])
    }
    sources = [(source["index"], source["generation_id"]) for source in answer["sources"]]
    assert sources == list(enumerate(ids_of(batch, 0, 0, 1, 1)))
    assert answer["differs"] == [{"field": "seed"}]
    assert answer.keys() == {"batch", "sources", "differs"}


def test_one_picture_makes_a_whole_batch_by_default(db: Database) -> None:
    user = db.new_user()
    batch = finished_batch(db, user, 3)

    one = similar(db, user, batch, ids_of(batch, 1, 1))
    all_of_them = similar(db, user, batch)

    assert one["batch"]["total_count"] == 2
    assert {source["generation_id"] for source in one["sources"]} == set(ids_of(batch, 1))
    assert all_of_them["batch"]["total_count"] == 3


@pytest.mark.parametrize(
    ("indices", "count", "code", "field"),
    [
        ([0], 1, "too_few_prompts", "p_count"),
        ([0, 1, 2], 4, "too_many_prompts", "p_count"),
        ([0], 0, "out_of_range", "p_count"),
        ([0], 11, "out_of_range", "p_count"),
        ([0, 3], 2, "no_image", "p_generation_ids"),
    ],
)
def test_the_size_of_a_similar_batch_is_checked(
    db: Database, indices: list[int], count: int, code: str, field: str
) -> None:
    user = db.new_user()
    batch = finished_batch(db, user, 4, pictures=3)
    before = everything(db)

    with refused("PT422") as refusal:
        similar(db, user, batch, ids_of(batch, *indices), count)

    assert (refusal.detail["code"], refusal.detail["field"]) == (code, field)
    assert refusal.detail["remedy"]
    assert everything(db) == before


def test_a_batch_without_pictures_has_nothing_similar(db: Database) -> None:
    user = db.new_user()
    batch = finished_batch(db, user, 2, pictures=0)

    with refused("PT422") as refusal:
        similar(db, user, batch)

    assert refusal.detail["code"] == "no_image"


def test_a_batch_runs_again_with_the_same_seeds_settings_and_tags(db: Database) -> None:
    user = db.new_user()
    first = db.create(
        user,
        {
            "prompts": [{"text": "a fox", "seed": 0, "tags": ["animals"]}, {"text": "{a|b}", "negative_prompt": "x"}],
            "shared_settings": {"width": 512, "height": 640, "steps": 5, "guidance_scale": 2.5, "model_version": "v1"},
        },
    )

    answer = again(db, user, first)

    old, new = items(db, first["id"]), items(db, answer["batch"]["id"])
    same = ("prompt", "negative_prompt", "seed", "model_id", "width", "height", "steps", "guidance_scale")
    assert [[item[name] for name in same] for item in new] == [[item[name] for name in same] for item in old]
    assert db.batch(answer["batch"]["id"])["model_version"] == "v1"
    tags = db.run("select name from batchgen.generation_tags where generation_id = %s", new[0]["id"])
    assert [tag["name"] for tag in tags] == ["animals"]
    assert answer["differs"] == []
    assert [source["generation_id"] for source in answer["sources"]] == ids_of(first, 0, 1)


def test_another_size_and_another_model_are_said_to_differ(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user, shared_settings={"steps": 5, "model_version": "v1"})
    model = add_model(db)

    size = again(db, user, batch, changes={"width": 768, "height": None})
    other = again(db, user, batch, changes={"model_id": str(model)})

    assert size["differs"] == [{"field": "width", "from": 1024, "to": 768}]
    differs = {change["field"]: change["to"] for change in other["differs"]}
    assert differs["model_id"] == str(model)
    assert differs["model_version"] is None
    assert differs.keys() == {"model_id", "model_version", "steps", "guidance_scale"}
    assert {item["model_id"] for item in items(db, other["batch"]["id"])} == {model}


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ([], "wrong_type", "p_shared_settings"),
        ("x", "wrong_type", "p_shared_settings"),
        ({"widht": 5}, "unknown_field", "shared_settings.widht"),
        ({"width": 1}, "out_of_range", "shared_settings.width"),
        ({"model_id": "nothing"}, "unknown_model", "shared_settings.model_id"),
        ({"model_id": 5}, "wrong_type", "shared_settings.model_id"),
    ],
)
def test_changes_follow_the_rules_of_a_request(db: Database, changes: Any, code: str, field: str) -> None:
    user = db.new_user()
    batch = db.submit(user)

    with refused("PT422") as refusal:
        again(db, user, batch, changes=changes)

    assert (refusal.detail["code"], refusal.detail["field"]) == (code, field)


def test_items_with_different_settings_do_not_run_in_one_batch(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user, prompts=3)
    model = add_model(db)
    db.run("update public.image_generations set model_id = %s where batch_index = 2", model)

    with refused("PT422") as refusal:
        again(db, user, batch)

    assert (refusal.detail["code"], refusal.detail["field"]) == ("mixed_settings", "p_generation_ids")
    assert again(db, user, batch, ids_of(batch, 0, 1))["batch"]["total_count"] == 2
    assert again(db, user, batch, changes={"model_id": str(model)})["batch"]["total_count"] == 3


def test_a_single_item_is_no_batch(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user)

    with refused("PT422") as refusal:
        again(db, user, batch, ids_of(batch, 0))

    assert (refusal.detail["code"], refusal.detail["field"]) == ("too_few_prompts", "p_generation_ids")


def test_a_repeated_call_with_a_client_key_returns_the_same_batch(db: Database) -> None:
    user = db.new_user()
    batch = finished_batch(db, user, 2)

    first = similar(db, user, batch, count=3, key="k1")
    second = similar(db, user, batch, count=3, key="k1")
    third = again(db, user, batch, key="k2")
    with refused("PT409") as refusal:
        again(db, user, batch, changes={"width": 512}, key="k2")

    assert second == first
    assert again(db, user, batch, key="k2") == third
    assert refusal.detail["code"] == "client_key_reused"
    assert db.value("select count(*) from public.batch_generations") == 3


def test_limits_count_the_new_items(db: Database) -> None:
    user = db.new_user()
    batch = failed_batch(db, user, "blocked_by_policy")
    db.run("update public.user_rate_limits set daily_generations_limit = daily_generations_count + 1")

    with refused("PT429") as refusal:
        again(db, user, batch)

    assert refusal.detail["code"] == "daily_limit"


def test_strangers_make_nothing_of_it(db: Database) -> None:
    user, stranger = db.new_user(), db.new_user()
    batch = finished_batch(db, user, 2)
    before = everything(db)

    for call in (similar, again):
        with refused("PT404") as theirs:
            call(db, stranger, batch)
        with refused("PT404") as unknown:
            call(db, stranger, {"id": uuid4()})
        with refused("PT401"):
            call(db, None, batch)
        with refused("PT404") as item:
            call(db, user, batch, [str(uuid4())])
        assert theirs.detail == unknown.detail
        assert item.detail["code"] == "item_not_found"
    with refused("PT404"):
        db.as_service("select public.run_again(%s)", uuid4())
    assert everything(db) == before


def test_an_operator_acts_for_the_owner(db: Database) -> None:
    user = db.new_user()
    batch = finished_batch(db, user, 2)

    [row] = db.as_service("select public.run_again(%s) as answer", batch["id"])

    assert db.batch(row["answer"]["batch"]["id"])["user_id"] == user
