"""Choices in a prompt: the SQL makes and refuses the same as a small model in Python, in bounded time."""

import json
import re
from typing import Any

import psycopg
import pytest
from database_harness import Database, Row
from hypothesis import example, given
from hypothesis import strategies as st

from tests import choices_model as model
from tests.fuzzing import fuzzed

PIECES = [
    *("{", "}", "|", "a", "b", "cd", " ", "fox ", "2$$", "1-2$$", "-2$$", "1-$$", "0-1$$", "$$", " and $$", "::"),
    *(
        "2::",
        "0::",
        ".5::",
        "1.25 ::",
        "-1::",
        "\\",
        "\\{",
        "\\|",
        "\\}",
        "\\$",
        "\\:",
        "$",
        "%",
        "~",
        "-",
        "0",
        "ü🦊",
        "\n",
    ),
]
texts = st.text(st.sampled_from("ab c🦊"), max_size=4)
escaped = st.sampled_from(["\\{", "\\}", "\\|", "\\\\", "\\$", "(x\\)", "::", "5$", "#"])
weights = st.sampled_from(["", "", "", "2::", "0.5 ::", " 10::"])
counts = st.sampled_from(["", "", "", "2$$", "1-2$$", "0-1$$", "-2$$", "2-$$", "2$$ and $$", "1-3$$|$$", "9$$\\{$$"])


def prompts(levels: int = 3) -> st.SearchStrategy[str]:
    """Well-formed prompts with choices."""
    plain = texts | escaped
    inner = st.one_of(plain, choices(levels)) if levels else plain
    return st.lists(inner, max_size=3).map("".join)


def choices(levels: int) -> st.SearchStrategy[str]:
    options = st.lists(st.builds(str.__add__, weights, prompts(levels - 1)), min_size=1, max_size=4).map("|".join)
    return st.tuples(st.just("{"), counts, options, st.just("}")).map("".join)


def expand(db: Database, text: str, how: Row, most: int = 10) -> Row:
    return db.one(
        "select number, texts from batchgen.expand_choices(%s, %s::jsonb, %s, 4000, 'prompts[0].text', 0)",
        *(text, json.dumps(how), most),
    )


def every(db: Database, text: str) -> list[str]:
    answer = expand(db, text, {"mode": "all"}, 100)
    assert answer["number"] == len(answer["texts"])
    return answer["texts"]


def refusal(db: Database, text: str, how: Row | None = None) -> Row:
    with pytest.raises(psycopg.Error) as caught:
        expand(db, text, how or {"mode": "all"})
    assert caught.value.sqlstate == "PT422", caught.value
    return json.loads(caught.value.diag.message_detail or "")


def place(detail: Row) -> int:
    found = re.search(r"at character (\d+)", detail["message"])
    assert found, detail
    return int(found[1])


def same_as_the_model(db: Database, text: str) -> None:
    """`text` begins with a letter, so that no prompt is empty."""
    try:
        parts = model.parse(text)
    except model.Malformed as malformed:
        check_refusal(db, text, *malformed.args)
        return
    number = model.number(parts)
    if number <= 100:
        assert every(db, text) == list(dict.fromkeys(model.combinations(parts)))
    else:
        assert expand(db, text, {"mode": "all"}) == {"number": min(number, 1e15), "texts": None}
    count = 1 + len(text) % 7
    has_choices = any(isinstance(part, model.Choice) for part in parts)
    answer = expand(db, text, {"mode": "sample", "count": count, "seed": 7})
    assert answer["texts"] == model.sample(parts, count if has_choices else 1, "7/0")


def check_refusal(db: Database, text: str, code: str, character: int) -> None:
    detail = refusal(db, text)
    assert (detail["code"], place(detail), detail["index"]) == (code, character, 0)
    assert detail["field"] == "prompts[0].text"
    assert detail["remedy"]


@pytest.mark.timeout(600)
def test_well_formed_prompts_make_what_the_model_makes(shared_db: Database) -> None:
    @fuzzed(400)
    @given(prompts().map("x".__add__))
    def check(text: str) -> None:
        same_as_the_model(shared_db, text)

    check()


@pytest.mark.timeout(600)
def test_any_prompt_is_expanded_or_refused_as_the_model_says(shared_db: Database) -> None:
    @fuzzed(600)
    @given(st.lists(st.sampled_from(PIECES), max_size=14).map("".join).map("x".__add__))
    @example("x{2$$a|b$$c|d}")
    def check(text: str) -> None:
        same_as_the_model(shared_db, text)

    check()


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a fox", ["a fox"]),
        ("{red|blue} fox, {day|night}", ["red fox, day", "red fox, night", "blue fox, day", "blue fox, night"]),
        ("a {small |}fox", ["a small fox", "a fox"]),
        ("{a|{b|c}}", ["a", "b", "c"]),
        ("{2::a|0.5::b|c}", ["a", "b", "c"]),
        ("{a|0::b}", ["a"]),
        ("{a|a|b}", ["a", "b"]),
        ("{ red | blue }.", ["red .", "blue ."]),
        ("{2$$a|b|c}", ["a,b", "a,c", "b,a", "b,c", "c,a", "c,b"]),
        ("{2$$ and $$a|b}", ["a and b", "b and a"]),
        ("{1-2$$ $$a|b}", ["a", "b", "a b", "b a"]),
        ("x{0-1$$a|b}", ["x", "xa", "xb"]),
        ("{9$$a|b}", ["a,b", "b,a"]),
        ("{2-1$$a|b}", ["a", "b", "a,b", "b,a"]),
        ("x{0$$a|b}", ["x"]),
        ("{2$$|$$a|b}", ["a|b", "b|a"]),
        (r"\{red|blue\} {a\|b|c}", ["{red|blue} a|b", "{red|blue} c"]),
        (r"(fox:1.2) \(x\) {a|b\\}", [r"(fox:1.2) \(x\) a", "(fox:1.2) \\(x\\) b\\"]),
        ("[cat|dog] {a}", ["[cat|dog] a"]),
        ("{a|ab}{b|}", ["ab", "a", "abb"]),
    ],
)
def test_choices_are_written_as_in_dynamic_prompts(shared_db: Database, text: str, wanted: list[str]) -> None:
    assert every(shared_db, text) == wanted


@pytest.mark.parametrize(
    ("text", "code", "character"),
    [
        ("a {red|blue fox", "choices_syntax", 3),
        ("a {red|{blue} fox", "choices_syntax", 3),
        ("a red|blue} fox", "choices_syntax", 11),
        ("{a|b}}", "choices_syntax", 6),
        ("${color}", "choices_syntax", 1),
        ("a %{b}", "choices_syntax", 3),
        ("{~a|b}", "choices_syntax", 1),
        ("{$$a|b}", "choices_syntax", 1),
        ("{-$$a|b}", "choices_syntax", 1),
        ("{-1::a|b}", "choices_syntax", 1),
        ("{a|2000000::b}", "choices_syntax", 3),
        ("{0::a|0::b}", "choices_syntax", 1),
        ("{" * 11 + "a" + "}" * 11, "too_many_choices", 11),
        ("{a}" * 101, "too_many_choices", 301),
        ("{" + "|".join(["a"] * 1001) + "}", "too_many_choices", 2001),
        ("{51$$" + "|".join(f"a{n}" for n in range(60)) + "}", "too_many_choices", 1),
    ],
)
def test_a_refusal_names_the_character_and_the_remedy(
    shared_db: Database, text: str, code: str, character: int
) -> None:
    check_refusal(shared_db, text, code, character)


def test_a_prompt_that_could_become_too_long_is_refused_before_it_is_made(shared_db: Database) -> None:
    joiner = "x" * 600
    detail = refusal(shared_db, "{20$$" + joiner + "$$" + "|".join(f"a{n}" for n in range(20)) + "}")

    assert (detail["code"], detail["limit"]) == ("too_long", 4000)


def test_an_empty_prompt_is_refused(shared_db: Database) -> None:
    assert refusal(shared_db, "{a|}")["code"] == "blank_prompt"
    assert refusal(shared_db, "{ | }")["code"] == "blank_prompt"


def bombs() -> dict[str, str]:
    digits = "|".join("0123456789")
    nested = "a"
    for _ in range(10):
        nested = "{" + "|".join(f"{n}{nested if n == 0 else ''}" for n in range(10)) + "}"
    everything = "{50$$" + "|".join(f"{n}" for n in range(900)) + "}"
    return {
        "a hundred choices of ten": "{" + digits + "}" + ("{" + digits + "}") * 98,
        "ten levels of ten": nested,
        "fifty of nine hundred": everything,
        "all orders of fifty": "{1-$$" + "|".join(f"{n}" for n in range(50)) + "}",
        "nested orders": "{1-$$"
        + "|".join("{1-$$" + "|".join(f"{m}{n}" for n in range(30)) + "}" for m in range(30))
        + "}",
        "a thousand escapes": "\\{" * 1900 + "{a|b}" * 50,
        "open braces": "{" * 4000,
        "dollars": "{1$$" + "$" * 3900,
        "one heavy option": "{1000000::a|" + "|".join(f"0.000001::{n}" for n in range(900)) + "}",
        "digits": "{" + "9" * 3900 + "$$a|b}",
        "a weight of many digits": "{" + "9" * 3900 + "::a|b}",
        "a tiny weight": "{0." + "0" * 3900 + "1::a|b}",
    }


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", bombs())
@pytest.mark.parametrize("mode", ["all", "sample"])
def test_a_bomb_is_counted_but_never_made(db: Database, name: str, mode: str) -> None:
    """The statement's timeout is what tests the time: `authenticated` has 8 seconds on hosted Supabase."""
    db.run("set statement_timeout = '8s'")
    how: dict[str, Any] = {"mode": mode} | ({"count": 10, "seed": 1} if mode == "sample" else {})
    try:
        answer = expand(db, bombs()[name], how)
    except psycopg.errors.QueryCanceled:
        raise
    except psycopg.Error:
        refusal(db, bombs()[name], how)
        return
    if mode == "all" and answer["number"] > 10:
        assert answer["texts"] is None
    else:
        assert len(answer["texts"]) == answer["number"] <= 10


def test_a_sample_is_repeatable_and_of_different_prompts(shared_db: Database) -> None:
    text = "{red|blue|green} fox, {day|night}"

    def sample(count: int, seed: int) -> list[str]:
        return expand(shared_db, text, {"mode": "sample", "count": count, "seed": seed})["texts"]

    first = sample(4, 1)

    assert sample(4, 1) == first
    assert len(set(first)) == 4
    assert set(first) < set(every(shared_db, text))
    assert len({tuple(sample(4, seed)) for seed in range(20)}) > 10
    assert set(sample(6, 1)) == set(every(shared_db, text))
    assert len(sample(9, 1)) == 9


def test_weights_are_the_odds_of_a_sample(shared_db: Database) -> None:
    drawn = [
        expand(shared_db, "{9::red|blue}", {"mode": "sample", "count": 1, "seed": seed})["texts"][0]
        for seed in range(400)
    ]

    assert 320 < drawn.count("red") < 395
