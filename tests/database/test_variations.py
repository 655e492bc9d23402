"""create_batch with choices and variations: which items a request makes, and what is refused."""

import json
from typing import Any
from uuid import UUID

import pytest
from database_harness import Database, Row, refused

COLORS = "{red|blue} fox"
DAYS = "{red|blue|green} fox, {day|night}"


def request(*prompts: str | Row, **more: object) -> Row:
    return {"prompts": [{"text": one} if isinstance(one, str) else one for one in prompts], **more}


def made(db: Database, body: Row, user: UUID | None = None) -> list[Row]:
    batch = db.create(user or db.new_user(), body)
    assert batch["total_count"] == len(batch["generations"])
    assert [item["index"] for item in batch["generations"]] == list(range(batch["total_count"]))
    return batch["generations"]


def prompts(items: list[Row]) -> list[str]:
    return [item["prompt"] for item in items]


def seeds(items: list[Row]) -> list[int]:
    return [item["seed"] for item in items]


def refusal(db: Database, body: Row, sqlstate: str = "PT422") -> Row:
    user, before = db.new_user(), db.run("select id from public.batch_generations")
    with refused(sqlstate) as found:
        db.create(user, body)
    assert db.run("select id from public.batch_generations") == before
    assert found.detail["remedy"]
    return found.detail


def test_braces_mean_nothing_unless_the_request_asks(shared_db: Database) -> None:
    texts = ["{red|blue} fox", "a } b { \\{ ${x} {{y}}"]

    assert prompts(made(shared_db, request(*texts))) == texts
    assert prompts(made(shared_db, request(*texts, choices=None, variations=None))) == texts


def test_all_combinations_become_items_in_order(shared_db: Database) -> None:
    items = made(shared_db, request(DAYS, choices={"mode": "all"}))

    assert prompts(items) == [f"{color} fox, {time}" for color in ("red", "blue", "green") for time in ("day", "night")]
    assert len(set(seeds(items))) == 6


def test_items_keep_what_their_prompt_has_and_share_its_seed(db: Database) -> None:
    fox = {"text": COLORS, "negative_prompt": "{blurry|grey}", "seed": 0, "tags": ["animals"]}
    items = made(db, request(fox, "a bird", choices={"mode": "all"}))

    rows = [db.item(item["id"]) for item in items]
    assert prompts(items) == ["red fox", "blue fox", "a bird"]
    assert [row["negative_prompt"] for row in rows] == ["{blurry|grey}", "{blurry|grey}", None]
    assert seeds(items)[:2] == [0, 0]
    tagged = db.run("select generation_id, name from batchgen.generation_tags")
    assert {str(row["generation_id"]) for row in tagged} == {items[0]["id"], items[1]["id"]}


def test_a_sample_draws_from_each_prompt_with_choices(shared_db: Database) -> None:
    body = request(DAYS, "a bird", choices={"mode": "sample", "count": 3, "seed": 5})

    first, second = made(shared_db, body), made(shared_db, body)

    assert prompts(first) == prompts(second)
    assert len(first) == 4
    assert len(set(prompts(first)[:3])) == 3
    assert prompts(first)[3] == "a bird"
    other = body | {"choices": {"mode": "sample", "count": 3, "seed": 6}}
    assert prompts(made(shared_db, other)) != prompts(first)


def test_a_repeated_request_with_a_random_sample_returns_the_same_batch(shared_db: Database) -> None:
    user = shared_db.new_user()
    body = request("{a|b|c|d|e|f|g|h}{a|b|c|d|e|f|g|h}", choices={"mode": "sample", "count": 5}, client_key="k")

    assert shared_db.create(user, body) == shared_db.create(user, body)
    assert refusal_of_reuse(shared_db, user, body)["code"] == "client_key_reused"


def refusal_of_reuse(db: Database, user: UUID, body: Row) -> Row:
    with refused("PT409") as found:
        db.create(user, body | {"choices": {"mode": "sample", "count": 4}})
    return found.detail


def test_a_sample_without_a_seed_differs_from_the_next(shared_db: Database) -> None:
    body = request("{a|b|c|d|e|f|g|h}{a|b|c|d|e|f|g|h}", choices={"mode": "sample", "count": 5})

    assert prompts(made(shared_db, body)) != prompts(made(shared_db, body))


def test_one_prompt_is_made_with_as_many_random_seeds_as_asked(shared_db: Database) -> None:
    items = made(shared_db, request("a fox", variations={"count": 4}))

    assert prompts(items) == ["a fox"] * 4
    assert len(set(seeds(items))) == 4


def test_one_prompt_is_made_with_the_given_seeds(shared_db: Database) -> None:
    given = [7, 0, -1, 2**63 - 1]

    assert seeds(made(shared_db, request("a fox", variations={"seeds": given}))) == given


def test_a_prompts_own_seed_is_that_of_its_first_variation(shared_db: Database) -> None:
    items = made(shared_db, request({"text": "a fox", "seed": 0}, "a bird", variations={"count": 2}))

    assert prompts(items) == ["a fox", "a fox", "a bird", "a bird"]
    assert seeds(items)[0] == 0
    assert len(set(seeds(items))) == 4


def test_variations_multiply_choices(shared_db: Database) -> None:
    items = made(shared_db, request(COLORS, choices={"mode": "all"}, variations={"seeds": [1, 2]}))

    assert [(item["prompt"], item["seed"]) for item in items] == [
        ("red fox", 1), ("red fox", 2), ("blue fox", 1), ("blue fox", 2)
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        (request("a", variations={"count": 1}), "too_few_prompts", "prompts"),
        (request("a", choices={"mode": "all"}), "too_few_prompts", "prompts"),
        (request("{a|a}", choices={"mode": "all"}), "too_few_prompts", "prompts"),
        (request(choices={"mode": "all"}), "too_few_prompts", "prompts"),
        (request("a", "b", "c", variations={"count": 4}), "too_many_prompts", "prompts"),
        (request(DAYS, DAYS, choices={"mode": "all"}), "too_many_prompts", "prompts"),
        (request(DAYS, choices={"mode": "all"}, variations={"count": 2}), "too_many_prompts", "prompts"),
        (request(*["a"] * 11, variations={"count": 1}), "too_many_prompts", "prompts"),
        (request("a", "b", choices=[]), "wrong_type", "choices"),
        (request("a", "b", choices="all"), "wrong_type", "choices"),
        (request("a", "b", choices={}), "unknown_mode", "choices.mode"),
        (request("a", "b", choices={"mode": "some"}), "unknown_mode", "choices.mode"),
        (request("a", "b", choices={"mode": 1}), "wrong_type", "choices.mode"),
        (request("a", "b", choices={"mode": "all", "count": 2}), "not_allowed", "choices.count"),
        (request("a", "b", choices={"mode": "all", "seed": 2}), "not_allowed", "choices.seed"),
        (request("a", "b", choices={"mode": "sample", "count": 0}), "out_of_range", "choices.count"),
        (request("a", "b", choices={"mode": "sample", "count": 11}), "out_of_range", "choices.count"),
        (request("a", "b", choices={"mode": "sample", "seed": "x"}), "wrong_type", "choices.seed"),
        (request("a", "b", choices={"mode": "sample", "seed": 2**63}), "out_of_range", "choices.seed"),
        (request("a", "b", choices={"mod": "all"}), "unknown_field", "choices.mod"),
        (request("a", "{b", choices={"mode": "all"}), "choices_syntax", "prompts[1].text"),
        (request("a", "{b|}", choices={"mode": "all"}), "blank_prompt", "prompts[1].text"),
        (request("a", variations=4), "wrong_type", "variations"),
        (request("a", variations={}), "not_allowed", "variations"),
        (request("a", variations={"count": 2, "seeds": [1]}), "not_allowed", "variations"),
        (request("a", variations={"count": 0}), "out_of_range", "variations.count"),
        (request("a", variations={"count": 1000000000000}), "out_of_range", "variations.count"),
        (request("a", variations={"count": 1.5}), "wrong_type", "variations.count"),
        (request("a", variations={"seeds": []}), "out_of_range", "variations.seeds"),
        (request("a", variations={"seeds": 7}), "wrong_type", "variations.seeds"),
        (request("a", variations={"seeds": [1, "2"]}), "wrong_type", "variations.seeds[1]"),
        (request("a", variations={"seeds": [1, 2, 1]}), "repeated_seed", "variations.seeds[2]"),
        (request("a", variations={"seed": [1, 2]}), "unknown_field", "variations.seed"),
        (request({"text": "a", "seed": 1}, variations={"seeds": [1, 2]}), "not_allowed", "prompts[0].seed"),
    ],
)
def test_a_wrong_request_is_refused_and_writes_nothing(shared_db: Database, body: Row, code: str, field: str) -> None:
    detail = refusal(shared_db, body)

    assert (detail["code"], detail["field"]) == (code, field)


def test_the_refusal_of_too_many_says_how_many_they_would_be(shared_db: Database) -> None:
    detail = refusal(shared_db, request(DAYS, choices={"mode": "all"}, variations={"count": 3}))

    assert detail["message"] == "A batch has at most 10 prompts; this one makes 18 in 3 variations of each."
    assert detail["limit"] == 10
    digits = "{" + "|".join("0123456789") + "}"
    detail = refusal(shared_db, request(digits * 20, choices={"mode": "all"}))
    assert detail["message"] == "A batch has at most 10 prompts; this one makes more than 10^15."


def test_a_users_own_batch_size_holds_after_the_expansion(db: Database) -> None:
    user = db.new_user()
    db.run("insert into public.user_rate_limits (user_id, max_batch_size) values (%s, 3)", user)

    assert len(made(db, request("a fox", variations={"count": 3}), user)) == 3
    with refused("PT422") as found:
        db.create(user, request("a fox", variations={"count": 4}))
    assert (found.detail["code"], found.detail["limit"]) == ("too_many_prompts", 3)


def test_every_expanded_item_counts_against_the_limits(db: Database) -> None:
    user = db.new_user()
    db.run("update batchgen.settings set max_waiting_per_user = 5")

    made(db, request("a fox", variations={"count": 4}), user)

    with refused("PT429") as found:
        db.create(user, request(COLORS, choices={"mode": "all"}))
    assert found.detail["code"] == "too_many_waiting"


def test_a_size_of_batches_raised_by_the_settings_holds_for_expansions(db: Database) -> None:
    db.run("update batchgen.settings set max_batch_size = 100")
    body: dict[str, Any] = request("{a|b|c|d|e|f|g|h|i|j} {a|b|c|d|e|f|g|h|i|j}", choices={"mode": "all"})

    assert len(made(db, body)) == 100


def test_the_client_key_decides_a_sample_without_a_seed(shared_db: Database) -> None:
    body = request("{a|b|c|d|e|f|g|h}{a|b|c|d|e|f|g|h}", choices={"mode": "sample", "count": 5})

    first, second, third = (made(shared_db, body | {"client_key": key}) for key in ("one", "one", "two"))

    assert prompts(first) == prompts(second)
    assert prompts(first) != prompts(third)


def test_a_preview_shows_the_items_that_the_same_request_makes(shared_db: Database) -> None:
    user = shared_db.new_user()
    sample = {"choices": {"mode": "sample", "count": 3}, "variations": {"seeds": [7, 0]}, "client_key": "preview"}
    bodies = [
        request(DAYS, choices={"mode": "all"}),
        request(COLORS, "a bird", choices={"mode": "all"}, variations={"seeds": [1, 2]}),
        request(DAYS, **sample),
        request(DAYS, choices={"mode": "sample", "count": 5, "seed": -3}),
    ]
    for body in bodies:
        preview = "select public.preview_batch(%s::jsonb) as answer"
        shown = shared_db.as_user(user, preview, json.dumps(body))[0]["answer"]
        items = made(shared_db, body, user)

        assert [item["prompt"] for item in shown["items"]] == prompts(items)
        assert [item["seed"] or str(seed) for item, seed in zip(shown["items"], seeds(items), strict=True)] == [
            str(seed) for seed in seeds(items)
        ]
        assert (shown["sample_seed"] is None) == (body["choices"]["mode"] == "all")
