"""Templates: values stay what they are, sizes are bounded in advance, names and limits hold in races."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from uuid import UUID

import psycopg
import pytest
from database_harness import Database, Row, connect, refused
from hypothesis import example, given
from hypothesis import strategies as st

from tests.fuzzing import fuzzed

SAVE = "select public.save_batch_template(%s::jsonb) as answer"
ALL = {"choices": {"mode": "all"}}


def a_template(name: str, *prompts: str, **request: object) -> str:
    return json.dumps({"name": name, "request": {"prompts": [{"text": text} for text in prompts], **request}})


def save(db: Database, user: UUID, template: str) -> Row:
    return db.as_user(user, SAVE, template)[0]["answer"]["template"]


def prompts_of(db: Database, user: UUID, template: Row, values: Row, **more: object) -> list[str]:
    """The prompts that the template makes, without a batch."""
    request = {"template": {"id": template["id"], "values": values}, **more}
    read = "select (unnest(r.items)).prompt from batchgen.read_batch(%s, %s::jsonb) r"
    return [row["prompt"] for row in db.run(read, user, json.dumps(request))]


tricky = st.text(st.sampled_from("{}|\\$:~!@%-2ab \n🦊"), min_size=1, max_size=12)


def test_a_value_is_never_read_as_a_choice_or_a_placeholder(db: Database) -> None:
    user = db.new_user()
    template = save(db, user, a_template("t", r"x{{a}}{{b}}x\{{a}}$x", "x{y{{b}}|z{{a}}-}%{{b}}", **ALL))

    @fuzzed(300)
    @given(tricky, tricky)
    @example("{red|blue}", "{{a}}")
    @example("{", "::")
    def check(a: str, b: str) -> None:
        made = prompts_of(db, user, template, {"a": a, "b": b})
        assert made == list(dict.fromkeys([f"x{a}{b}x\\{a}$x", f"xy{b}%{b}", f"xz{a}-%{b}"]))

    check()


def test_without_choices_a_text_is_filled_as_it_stands(db: Database) -> None:
    user = db.new_user()
    template = save(db, user, a_template("t", r"\{{ a }} {{{a}}} {{a|b}} {a}", "{{b c}}"))

    assert prompts_of(db, user, template, {"a": r"\{x}", "b c": 1.5}) == [r"\\{x} {\{x}} {{a|b}} {a}", "1.5"]


def test_choices_in_values_are_expanded_where_the_request_says_so(db: Database) -> None:
    user = db.new_user()
    template = save(db, user, a_template("t", "{{a}} fox", **ALL))
    use = {"template": {"id": template["id"], "values": {"a": "{red|blue}"}, "values_have_choices": True}}

    assert [item["prompt"] for item in db.create(user, use)["generations"]] == ["red fox", "blue fox"]


def test_a_request_overrides_the_fields_of_its_template(db: Database) -> None:
    user = db.new_user()
    settings = {"width": 512, "steps": 5}
    template = save(db, user, a_template("t", "{{a}}", "b", shared_settings=settings, batch_name="of {{a}}"))
    use = {"template": {"id": template["id"], "values": {"a": "fox"}}}

    own = db.batch(db.create(user, use)["id"])
    other = db.create(user, use | {"shared_settings": {"width": 256}, "batch_name": "x", "variations": {"count": 2}})

    assert (own["width"], own["steps"], own["name"]) == (512, 5, "of fox")
    batch = db.batch(other["id"])
    assert (batch["width"], batch["steps"], batch["name"], batch["total_count"]) == (256, 5, "x", 4)


def test_a_repeated_request_returns_its_batch_though_the_template_has_changed(db: Database) -> None:
    user = db.new_user()
    template = save(db, user, a_template("t", "{{a}}", "b"))
    use = {"template": {"id": template["id"], "values": {"a": "fox"}}, "client_key": "k"}

    first = db.create(user, use)
    db.as_user(user, "select public.delete_batch_template(%s)", template["id"])

    assert db.create(user, use) == first
    with refused("PT409"):
        db.create(user, use | {"template": {"id": template["id"], "values": {"a": "owl"}}})


@pytest.mark.timeout(60)
def test_a_value_that_is_repeated_too_often_is_refused_before_it_is_put_in(db: Database) -> None:
    db.run("set statement_timeout = '8s'")
    user = db.new_user()
    template = save(db, user, a_template("t", *["{{a}}" * 800] * 10))

    with pytest.raises(psycopg.Error) as caught:
        prompts_of(db, user, template, {"a": "x" * 4000})
    assert caught.value.sqlstate == "PT422"
    detail = json.loads(caught.value.diag.message_detail or "")
    assert (detail["code"], detail["field"]) == ("too_long", "prompts[0].text")
    assert "3200000 characters" in detail["message"]


def at_once(db: Database, user: UUID, number: int, template: Callable[[int], str]) -> list[str]:
    """Save as many templates in as many sessions; the SQLSTATE of each, or its id."""

    def one(nth: int) -> str:
        with connect(db.dsn) as connection:
            try:
                return save(Database(db.dsn, connection), user, template(nth))["id"]
            except psycopg.Error as error:
                return error.sqlstate or ""

    with ThreadPoolExecutor(number) as threads:
        return list(threads.map(one, range(number)))


def test_the_same_template_saved_at_once_is_one(db: Database) -> None:
    user = db.new_user()

    assert len(set(at_once(db, user, 8, lambda _: a_template("t", "a")))) == 1
    assert db.value("select count(*) from batchgen.batch_templates") == 1


def test_of_other_requests_under_one_name_at_once_one_is_kept(db: Database) -> None:
    results = at_once(db, db.new_user(), 8, lambda nth: a_template("t", f"a {nth}"))

    assert results.count("PT409") == 7


def test_templates_saved_at_once_do_not_exceed_the_limit(db: Database) -> None:
    user = db.new_user()
    db.run(
        "insert into batchgen.batch_templates (user_id, name, request)"
        " select %s, 'n' || n, '{\"prompts\": [{}]}' from generate_series(1, 197) n",
        user,
    )

    results = at_once(db, user, 8, lambda nth: a_template(f"t{nth}", "a"))

    assert results.count("PT429") == 5
    assert db.value("select count(*) from batchgen.batch_templates") == 200


def test_two_templates_renamed_to_one_name_at_once_keep_their_own(db: Database) -> None:
    user = db.new_user()
    ids = [save(db, user, a_template(name, "a"))["id"] for name in ("one", "two")]

    def rename(template_id: str) -> str:
        with connect(db.dsn) as connection:
            try:
                Database(db.dsn, connection).as_user(
                    user, "select public.rename_batch_template(%s, 'same')", template_id
                )
            except psycopg.Error as error:
                return error.sqlstate or ""
            return "renamed"

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(rename, ids)) == ["PT409", "renamed"]


def test_the_templates_of_a_deleted_user_go(db: Database) -> None:
    user = db.new_user()
    save(db, user, a_template("t", "a"))

    db.run("delete from auth.users where id = %s", user)

    assert db.value("select count(*) from batchgen.batch_templates") == 0
