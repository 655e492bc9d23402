"""create_batch: accepted requests and their rows, refusals, and safe resends."""

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from database_harness import Database, Row, a_request, query, refused

LARGEST = 2**63 - 1
SMALLEST = -(2**63)
BLANKS = ["", "   ", "\t\n", "\u00a0", "\u2003\u3000", "\u200b", "\ufeff\u2060", "\u0085\u1680\u205f"]


def a_prompt(**more: object) -> Row:
    return {"prompts": [{"text": "one"} | more, {"text": "two"}]}


def settings(**more: object) -> Row:
    return a_request() | {"shared_settings": more}


def written(db: Database) -> int:
    """Rows in all tables that a request writes."""
    tables = ("public.batch_generations", "public.image_generations", "batchgen.queue", "batchgen.touched")
    more = ("batchgen.requests", "batchgen.generation_tags", "public.tags")
    return sum(len(db.run(f"table {table}")) for table in tables + more)


def refuse(db: Database, request: object, code: str, field: str, sqlstate: str = "PT422") -> Row:
    """The request is refused for this reason, and nothing is written."""
    user, before = db.new_user(), written(db)
    with refused(sqlstate) as refusal:
        db.create(user, request)
    assert set(refusal.detail) == {"code", "message", "index", "field", "limit", "remedy"}
    assert (refusal.detail["code"], refusal.detail["field"]) == (code, field)
    assert refusal.detail["message"] == refusal.message
    assert refusal.detail["remedy"]
    assert written(db) == before
    return refusal.detail


def test_a_batch_is_answered_in_the_shape_that_the_app_reads(db: Database) -> None:
    user = db.new_user()

    batch = db.create(user, a_request(3, batch_name="Foxes"))

    assert set(batch) == {"id", "name", "total_count", "status", "generations"}
    assert (batch["name"], batch["total_count"], batch["status"]) == ("Foxes", 3, "pending")
    assert [item["index"] for item in batch["generations"]] == [0, 1, 2]
    assert [item["prompt"] for item in batch["generations"]] == [f"a red fox, number {n}" for n in range(3)]
    assert all(set(item) == {"id", "index", "prompt", "status", "seed"} for item in batch["generations"])
    assert {item["status"] for item in batch["generations"]} == {"pending"}


def test_a_batch_is_written_with_its_items_and_their_places_in_the_queue(db: Database) -> None:
    user = db.new_user()

    batch = db.create(user, a_request(2))

    row = db.batch(batch["id"])
    assert (row["user_id"], row["status"], row["total_count"]) == (user, "pending", 2)
    assert (row["completed_count"], row["failed_count"], row["completed_at"]) == (0, 0, None)
    model = db.one("select * from public.models where name = 'offline-sketch'")
    assert (row["model_id"], row["width"], row["height"]) == (str(model["id"]), 1024, 1024)
    for answered in batch["generations"]:
        item = db.item(answered["id"])
        assert (item["user_id"], str(item["batch_id"]), item["batch_index"]) == (user, batch["id"], answered["index"])
        assert (item["model"], item["model_id"]) == (model["name"], model["id"])
        assert (item["status"], item["retry_count"], item["priority"]) == ("pending", 0, 0)
        assert db.waiting_row(answered["id"])["state"] == "waiting"


@pytest.mark.parametrize(("smallest", "largest"), [(2, 10), (3, 4)])
def test_the_settings_say_how_many_prompts_a_batch_has(db: Database, smallest: int, largest: int) -> None:
    db.run("update batchgen.settings set min_batch_size = %s, max_batch_size = %s", smallest, largest)

    few = refuse(db, a_request(smallest - 1), "too_few_prompts", "prompts")
    many = refuse(db, a_request(largest + 1), "too_many_prompts", "prompts")

    assert (few["limit"], many["limit"]) == (smallest, largest)
    assert db.submit(prompts=smallest)["total_count"] == smallest
    assert db.submit(prompts=largest)["total_count"] == largest


@pytest.mark.parametrize("blank", BLANKS)
def test_a_blank_prompt_is_refused_whatever_the_blank(shared_db: Database, blank: str) -> None:
    detail = refuse(shared_db, {"prompts": [{"text": "one"}, {"text": blank}]}, "blank_prompt", "prompts[1].text")

    assert detail["index"] == 1


def test_a_missing_text_is_refused_as_blank(shared_db: Database) -> None:
    refuse(shared_db, {"prompts": [{}, {"text": "two"}]}, "blank_prompt", "prompts[0].text")
    refuse(shared_db, {"prompts": [{"text": None}, {"text": "two"}]}, "blank_prompt", "prompts[0].text")


@pytest.mark.parametrize("letter", ["x", "ü", "🦊"])
@pytest.mark.parametrize("key", ["text", "negative_prompt"])
def test_a_text_has_at_most_4000_characters_not_bytes(shared_db: Database, letter: str, key: str) -> None:
    accepted = shared_db.create(shared_db.new_user(), a_prompt(**{key: letter * 4000}))
    detail = refuse(shared_db, a_prompt(**{key: letter * 4001}), "too_long", f"prompts[0].{key}")

    item = shared_db.item(accepted["generations"][0]["id"])
    assert item["prompt" if key == "text" else key] == letter * 4000
    assert (detail["limit"], detail["index"]) == (4000, 0)


def test_the_settings_say_how_long_a_prompt_may_be(db: Database) -> None:
    db.run("update batchgen.settings set max_prompt_characters = 5")

    detail = refuse(db, a_prompt(text="123456"), "too_long", "prompts[0].text")

    assert detail["limit"] == 5


@pytest.mark.parametrize(
    ("request_body", "code", "field"),
    [
        ([], "wrong_type", "request"),
        ("text", "wrong_type", "request"),
        (None, "wrong_type", "request"),
        ({}, "prompts_missing", "prompts"),
        ({"prompts": None}, "prompts_missing", "prompts"),
        ({"prompts": "one, two"}, "wrong_type", "prompts"),
        ({"prompts": {"0": "one"}}, "wrong_type", "prompts"),
        ({"prompts": []}, "too_few_prompts", "prompts"),
        ({"prompts": ["one", "two"]}, "wrong_type", "prompts[0]"),
        ({"prompts": [{"text": "one"}, None]}, "wrong_type", "prompts[1]"),
        (a_prompt(text=7), "wrong_type", "prompts[0].text"),
        (a_prompt(text=["one"]), "wrong_type", "prompts[0].text"),
        (a_prompt(negative_prompt=False), "wrong_type", "prompts[0].negative_prompt"),
        (a_prompt(seed="7"), "wrong_type", "prompts[0].seed"),
        (a_prompt(seed=1.5), "wrong_type", "prompts[0].seed"),
        (a_prompt(seed=True), "wrong_type", "prompts[0].seed"),
        (a_prompt(seed=LARGEST + 1), "out_of_range", "prompts[0].seed"),
        (a_prompt(seed=SMALLEST - 1), "out_of_range", "prompts[0].seed"),
        (a_prompt(tags="fox"), "wrong_type", "prompts[0].tags"),
        (a_prompt(tags=[1]), "wrong_type", "prompts[0].tags"),
        (a_prompt(tags=[""]), "blank_tag", "prompts[0].tags"),
        (a_prompt(tags=["\u00a0"]), "blank_tag", "prompts[0].tags"),
        (a_prompt(tags=[None]), "blank_tag", "prompts[0].tags"),
        (a_prompt(tags=["x" * 51]), "too_long", "prompts[0].tags"),
        (a_prompt(tags=["x"] * 21), "too_many_tags", "prompts[0].tags"),
        (a_request(batch_name=7), "wrong_type", "batch_name"),
        (a_request(batch_name="x" * 201), "too_long", "batch_name"),
        (a_request(client_key=7), "wrong_type", "client_key"),
        (a_request(client_key=" "), "blank_client_key", "client_key"),
        (a_request(client_key="x" * 201), "too_long", "client_key"),
        (a_request(shared_settings=[]), "wrong_type", "shared_settings"),
        (settings(model_id=7), "wrong_type", "shared_settings.model_id"),
        (settings(model_id="no/such-model"), "unknown_model", "shared_settings.model_id"),
        (settings(model_id=str(uuid4())), "unknown_model", "shared_settings.model_id"),
        (settings(model_version=7), "wrong_type", "shared_settings.model_version"),
        (settings(width=63), "out_of_range", "shared_settings.width"),
        (settings(width=2049), "out_of_range", "shared_settings.width"),
        (settings(width=64.5), "wrong_type", "shared_settings.width"),
        (settings(width="512"), "wrong_type", "shared_settings.width"),
        (settings(height=63), "out_of_range", "shared_settings.height"),
        (settings(height=2049), "out_of_range", "shared_settings.height"),
        (settings(steps=0), "out_of_range", "shared_settings.steps"),
        (settings(steps=101), "out_of_range", "shared_settings.steps"),
        (settings(guidance_scale=-0.1), "out_of_range", "shared_settings.guidance_scale"),
        (settings(guidance_scale=30.1), "out_of_range", "shared_settings.guidance_scale"),
        (settings(guidance_scale=[]), "wrong_type", "shared_settings.guidance_scale"),
    ],
)
def test_a_request_that_breaks_a_rule_is_refused_and_writes_nothing(
    shared_db: Database, request_body: object, code: str, field: str
) -> None:
    refuse(shared_db, request_body, code, field)


def test_a_fault_in_the_last_prompt_writes_nothing_of_the_others(shared_db: Database) -> None:
    request = {"prompts": [{"text": "one", "tags": ["new"]}, {"text": "two", "seed": "x"}], "client_key": "k"}

    detail = refuse(shared_db, request, "wrong_type", "prompts[1].seed")

    assert detail["index"] == 1


@pytest.mark.parametrize(
    ("key", "lowest", "highest"),
    [("width", 64, 2048), ("height", 64, 2048), ("steps", 1, 100), ("guidance_scale", 0, 30)],
)
def test_both_ends_of_a_range_are_accepted(shared_db: Database, key: str, lowest: int, highest: int) -> None:
    for value in (lowest, highest):
        batch = shared_db.create(shared_db.new_user(), settings(**{key: value}))
        assert shared_db.batch(batch["id"])[key] == value
        assert shared_db.item(batch["generations"][0]["id"])[key] == value


@pytest.mark.parametrize("missing", [{}, {"model_id": ""}, {"model_id": None}])
def test_without_a_model_the_default_one_is_used(shared_db: Database, missing: Row) -> None:
    batch = shared_db.create(shared_db.new_user(), settings(**missing))

    assert shared_db.item(batch["generations"][0]["id"])["model"] == "offline-sketch"


def test_a_model_is_found_by_its_id_and_by_its_id_at_the_provider(db: Database) -> None:
    model = db.value(
        "insert into public.models (name, display_name, replicate_id, is_active, default_width, max_width)"
        " values ('flux', 'Flux', 'bfl/flux', true, 768, 4000) returning id"
    )

    for name in (str(model), str(model).upper(), "bfl/flux"):
        batch = db.create(db.new_user(), settings(model_id=name, height=100))
        row = db.batch(batch["id"])
        assert (row["model_id"], row["width"], row["height"]) == (str(model), 768, 100)


def test_an_inactive_model_is_refused(db: Database) -> None:
    db.run("update public.models set is_active = false")
    model = db.value("select id from public.models where name = 'offline-sketch'")

    refuse(db, settings(model_id=str(model)), "inactive_model", "shared_settings.model_id")
    refuse(db, settings(model_id="batchgen/offline-sketch"), "inactive_model", "shared_settings.model_id")
    refuse(db, settings(model_id=""), "no_default_model", "shared_settings.model_id")


@pytest.mark.parametrize("version", [None, ""])
def test_an_empty_model_version_is_the_official_one(shared_db: Database, version: str | None) -> None:
    batch = shared_db.create(shared_db.new_user(), settings(model_version=version))

    assert shared_db.batch(batch["id"])["model_version"] is None


@pytest.mark.parametrize("seed", [0, 1, -1, LARGEST, SMALLEST])
def test_a_seed_is_kept_as_it_was_sent(shared_db: Database, seed: int) -> None:
    batch = shared_db.create(shared_db.new_user(), a_prompt(seed=seed))

    assert shared_db.item(batch["generations"][0]["id"])["seed"] == seed
    assert batch["generations"][0]["seed"] == seed


def test_copies_of_a_prompt_get_different_seeds_that_are_stored(db: Database) -> None:
    batch = db.create(db.new_user(), {"prompts": [{"text": "the same"}] * 10, "batch_name": "Quick: the same (10x)"})

    seeds = [db.item(item["id"])["seed"] for item in batch["generations"]]
    assert len(set(seeds)) == 10
    assert all(0 <= seed < 2**31 for seed in seeds)
    assert [item["seed"] for item in batch["generations"]] == seeds


def test_tags_are_trimmed_lower_case_and_once_each(db: Database) -> None:
    batch = db.create(db.new_user(), a_prompt(tags=[" Fox", "fox\n", "ÄRGER", "x" * 50]))

    rows = db.run("select * from batchgen.generation_tags order by name")
    assert {row["name"] for row in rows} == {"fox", "ärger", "x" * 50}
    assert {str(row["generation_id"]) for row in rows} == {batch["generations"][0]["id"]}


def test_twenty_tags_are_allowed(shared_db: Database) -> None:
    assert shared_db.create(shared_db.new_user(), a_prompt(tags=[f"tag {n}" for n in range(20)]))


@pytest.mark.parametrize("name", [None, "", "  \u00a0"])
def test_a_blank_name_is_no_name(shared_db: Database, name: str | None) -> None:
    assert shared_db.submit(batch_name=name)["name"] is None


def test_a_caller_who_is_not_signed_in_is_refused(shared_db: Database) -> None:
    with refused("PT401") as refusal:
        shared_db.create(None, a_request())

    assert refusal.detail["code"] == "not_signed_in"


def test_an_anonymous_caller_is_refused_as_not_signed_in(shared_db: Database) -> None:
    with refused("PT401") as refusal, shared_db.acting("anon") as connection:
        query(connection, "select public.create_batch('{}')")

    assert refusal.detail["code"] == "not_signed_in"


@pytest.mark.parametrize(
    ("request_", "field", "remedy"),
    [
        (a_request() | {"prompt": ["a fox"]}, "prompt", "Did you mean prompts?"),
        (a_request() | {"clientKey": "a"}, "clientKey", "Did you mean client_key?"),
        (settings(widht=3), "shared_settings.widht", "Did you mean width?"),
        (settings(Guidance=3), "shared_settings.Guidance", "Did you mean guidance_scale?"),
        (settings(sampler="x"), "shared_settings.sampler", "The fields here are model_id, model_version, width"),
        (a_prompt(negative="x"), "prompts[0].negative", "Did you mean negative_prompt?"),
        (a_prompt(x=1), "prompts[0].x", "The fields here are text, negative_prompt, seed, tags."),
        (a_request() | {"": 1}, "", "The fields here are"),
        (a_request() | {"k" * 100000: 1}, "k" * 100, "The fields here are"),
    ],
)
def test_a_field_that_would_be_ignored_is_refused_with_the_nearest_one(
    shared_db: Database, request_: Row, field: str, remedy: str
) -> None:
    with refused("PT422") as refusal:
        shared_db.create(shared_db.new_user(), request_)

    assert (refusal.detail["code"], refusal.detail["field"]) == ("unknown_field", field)
    assert remedy in refusal.detail["remedy"]


def test_a_hidden_model_is_not_named(db: Database) -> None:
    db.run("update public.models set is_active = false, display_name = 'Secret' where name = 'offline-sketch'")

    with refused("PT422") as refusal:
        db.create(db.new_user(), settings(model_id="batchgen/offline-sketch"))

    assert refusal.detail["code"] == "inactive_model"
    assert "Secret" not in str(refusal.detail)


def test_a_resend_gives_the_same_batch_even_after_it_started(db: Database) -> None:
    user = db.new_user()
    request = a_request(client_key="a-key")
    first = db.create(user, request)
    db.claim(1)

    second = db.create(user, dict(reversed(request.items())))

    assert second["id"] == first["id"]
    assert [item["status"] for item in second["generations"]] == ["processing", "pending"]
    assert db.value("select count(*) from made.batch_generations") == 1


def test_a_client_key_with_another_body_is_refused(db: Database) -> None:
    user = db.new_user()
    db.create(user, a_request(2, client_key="a-key"))

    with refused("PT409") as refusal:
        db.create(user, a_request(3, client_key="a-key"))

    assert refusal.detail["code"] == "client_key_reused"
    assert db.value("select count(*) from made.batch_generations") == 1


def test_a_client_key_belongs_to_one_user(db: Database) -> None:
    first = db.submit(client_key="a-key")
    second = db.submit(client_key="a-key")

    assert first["id"] != second["id"]


def test_a_refused_request_does_not_use_up_its_client_key(db: Database) -> None:
    user = db.new_user()
    with refused("PT422"):
        db.create(user, a_request(1, client_key="a-key"))

    assert db.create(user, a_request(2, client_key="a-key"))["total_count"] == 2


async def test_two_resends_at_once_give_one_batch(db: Database) -> None:
    user = db.new_user()

    answers = await asyncio.gather(*(_send(db.dsn, user, a_request(client_key="a-key")) for _ in range(6)))

    assert len({answer["batch"]["id"] for answer in answers}) == 1
    assert all(len(answer["batch"]["generations"]) == 2 for answer in answers)
    assert db.value("select count(*) from made.image_generations") == 2


async def test_a_resend_takes_over_when_the_first_one_is_rolled_back(db: Database) -> None:
    user = db.new_user()
    request = a_request(client_key="a-key")
    async with await psycopg.AsyncConnection.connect(db.dsn) as first:
        await _create_batch(first, user, request)
        resend = asyncio.create_task(_send(db.dsn, user, request))
        await _until_waiting(db)
        await first.rollback()
        answer = await resend

    assert db.value("select id::text from made.batch_generations") == answer["batch"]["id"]


def test_an_operator_submits_for_a_user(db: Database) -> None:
    user = db.new_user()

    rows = db.as_service("select public.create_batch_as(%s, %s::jsonb) as answer", user, json.dumps(a_request()))

    assert db.batch(rows[0]["answer"]["batch"]["id"])["user_id"] == user


def test_an_operator_cannot_submit_for_somebody_who_does_not_exist(shared_db: Database) -> None:
    with refused("PT422") as refusal:
        shared_db.as_service("select public.create_batch_as(%s, %s::jsonb)", uuid4(), json.dumps(a_request()))

    assert refusal.detail["code"] == "unknown_user"


def test_a_request_larger_than_any_valid_one_is_refused_before_it_is_looked_into(shared_db: Database) -> None:
    key, padding = {"client_key": 7}, {"unknown": "x" * 500_000}
    refuse(shared_db, a_request() | key, "wrong_type", "client_key")

    detail = refuse(shared_db, a_request() | key | padding, "too_large", "request")

    assert detail["limit"] == 65536 + 10 * (8 * 4000 + 8192)


@pytest.mark.parametrize(("batch", "characters"), [(10, 4000), (100, 10_000)])
def test_the_largest_valid_request_is_accepted(db: Database, batch: int, characters: int) -> None:
    db.run("update batchgen.settings set max_batch_size = %s, max_prompt_characters = %s", batch, characters)
    fox = "🦊"
    tags = [fox * 48 + f"{n:02}" for n in range(20)]
    prompt = {"text": fox * characters, "negative_prompt": fox * characters, "seed": SMALLEST, "tags": tags}
    request = {"prompts": [prompt] * batch, "batch_name": fox * 200, "client_key": fox * 200}

    assert db.create(db.new_user(), request)["total_count"] == batch


@pytest.mark.parametrize(("sent", "kept"), [("1e-400", 0), ("7.5000000000001", 7.5000000000001), ("30.0", 30)])
def test_a_guidance_scale_of_any_precision_is_kept_as_near_as_a_double_comes(
    shared_db: Database, sent: str, kept: float
) -> None:
    request = f'{{"prompts": [{{"text": "a"}}, {{"text": "b"}}], "shared_settings": {{"guidance_scale": {sent}}}}}'

    [row] = shared_db.as_user(shared_db.new_user(), "select public.create_batch(%s::jsonb) as answer", request)

    assert shared_db.batch(row["answer"]["batch"]["id"])["guidance_scale"] == kept


async def _send(dsn: str, user: UUID, request: Row) -> Row:
    async with await psycopg.AsyncConnection.connect(dsn) as connection:
        return await _create_batch(connection, user, request)


async def _create_batch(connection: psycopg.AsyncConnection[Any], user: UUID, request: Row) -> Row:
    await connection.execute("select set_config('request.jwt.claims', %s, true)", [json.dumps({"sub": str(user)})])
    await connection.execute("set local role authenticated")
    cursor = await connection.execute("select public.create_batch(%s::jsonb)", [json.dumps(request)])
    row = await cursor.fetchone()
    assert row is not None
    return row[0]


async def _until_waiting(db: Database) -> None:
    """Until a connection to this database waits for another one's lock."""
    for _ in range(500):
        if db.value(
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
        ):
            return
        await asyncio.sleep(0.01)
    raise AssertionError("nobody waits")


def test_numbers_that_are_short_in_jsonb_and_endless_as_text_cost_nothing(db: Database) -> None:
    """Each is ten bytes here and 131,072 characters there: together more text than Postgres can hold."""
    user = db.new_user()
    body = '{"client_key": "k", "prompts": [], "junk": [' + "1e131071," * 8300 + "0]}"

    with refused("PT422") as refusal, db.acting("authenticated", user) as connection:
        query(connection, "select public.create_batch(%s::jsonb)", body)

    assert refusal.detail["code"] == "too_few_prompts"


def test_a_search_path_of_the_caller_changes_nothing(db: Database) -> None:
    """A table of the same name in front of ours is not read."""
    user = db.new_user()
    db.run("create schema evil; grant usage on schema evil to authenticated; create table evil.models (id uuid)")
    with db.acting("authenticated", user) as connection:
        connection.execute("set local search_path = evil, pg_temp, public")
        cursor = connection.execute("""select public.create_batch('{"prompts": [{"text": "a"}, {"text": "b"}]}')""")
        assert cursor.fetchone() is not None
