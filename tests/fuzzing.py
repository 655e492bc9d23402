"""Requests to fuzz `create_batch`: JSON texts, from a corpus and from hypothesis.

They are texts, not values, because Python's json cannot write numbers beyond floats, repeated keys and invalid escapes.

`BATCHGEN_FUZZ_CASES` is the number of cases per test; without it they are few, and always the same.
"""

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

CASES = int(os.environ.get("BATCHGEN_FUZZ_CASES", "0"))
MILLION, MANY = 1_000_000, 100_000
Test = Callable[..., Any]


def fuzzed(usual_cases: int) -> Callable[[Test], Test]:
    """Hypothesis' settings for a fuzz test."""
    return settings(
        max_examples=CASES or usual_cases,
        derandomize=not CASES,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )


@dataclass(frozen=True)
class Raw:
    """JSON text that is used as it is."""

    text: str


@dataclass(frozen=True)
class Pairs:
    """An object whose keys may be repeated."""

    items: tuple[tuple[str, Any], ...]


def render(value: Any) -> str:
    """JSON of a value that may contain `Raw` and `Pairs`."""
    match value:
        case Raw(text):
            return text
        case Pairs(items):
            return "{" + ",".join(f"{json.dumps(key)}:{render(item)}" for key, item in items) + "}"
        case dict():
            return render(Pairs(tuple(cast("dict[str, Any]", value).items())))
        case list() | tuple():
            return "[" + ",".join(render(item) for item in cast("list[Any]", value)) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False)


STRINGS = [
    "",
    " ",
    "\u00a0\u200b",
    "a red fox",
    "🦊👩‍👩‍👧‍👦🏳️‍🌈",
    "שועל אדום \u202eيمين",
    "z̷̢̛a̸l̵g̶o̷" * 20,
    "İI\u0131iSSßẞ",
    "'; drop table image_generations; --",
    "$$ %s %I {0} \\",
    "<script>alert(1)</script>",
    "../../etc/passwd",
    "\x1b[31m\x07\x7f\x01",
    "x" * 51,
    "x" * 201,
    "x" * 4001,
    "\U0010ffff\ufffe\uffff",
    "00000000-0000-0000-0000-000000000000",
    "batchgen/offline-sketch",
    "null",
]
RAW_STRINGS = [
    r'"\u0000"',
    r'"a\u0000b"',
    r'"\ud800"',
    r'"\udc00\ud800"',
    r'"\ud83e\udd8a"',
    r'"\u202e"',
    '"\\x"',
    '"\t"',
    '"a',
]
NUMBERS = [
    *("0", "-0", "-0.0", "1", "-1", "0.1", "1.0", "1e2", "1E+2", "7.5", "30.000000000000000001", "2147483647"),
    *("2147483648", "9223372036854775807", "9223372036854775808", "-9223372036854775808", "-9223372036854775809"),
    *("1e-5", "1e-400", "1e-16383", "1e-99999", "1e308", "1e309", "1e1000", "1e131071", "1e400000", "-1e400000"),
    *("1e99999999999999999999", "0." + "0" * 400 + "1", "9" * 5000, "01", "+1", ".5", "1.", "0x10"),
    *("NaN", "Infinity", "-Infinity", "nan", "1_000"),
]
BROKEN = ["", "{", "}", "[", "undefined", "{'a': 1}", '{"a": 1,}', "[1,]", "{} {}", "/**/{}", "tru", "\ufeff{}"]

numbers = st.sampled_from(NUMBERS).map(Raw) | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
strings = (
    st.sampled_from(STRINGS)
    | st.sampled_from(RAW_STRINGS).map(Raw)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
)
scalars = st.none() | st.booleans() | numbers | strings
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=8,
)


texts = st.sampled_from(["a red fox", "eine Füchsin", "🦊", "ثعلب", "x" * 4000]) | st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Zs"]), min_size=1, max_size=40
).map("fox ".__add__)
words = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=45).map("fox ".__add__)
prompts = st.fixed_dictionaries(
    {"text": texts},
    optional={
        "negative_prompt": texts,
        "seed": st.integers(-(2**63), 2**63 - 1),
        "tags": st.lists(words, max_size=4),
    },
)
shared_settings = st.fixed_dictionaries(
    {},
    optional={
        "model_id": st.sampled_from(["", "batchgen/offline-sketch"]),
        "model_version": st.sampled_from(["", "v1"]),
        "width": st.integers(64, 2048),
        "height": st.integers(64, 2048),
        "steps": st.integers(1, 100),
        "guidance_scale": st.floats(0, 30) | st.sampled_from(["7.5", "1e-400", "0.00000000000001"]).map(Raw),
    },
)
others = {
    "shared_settings": shared_settings,
    "batch_name": texts,
    "client_key": st.sampled_from(["a", "b", "🔑"]) | words,
}
seeds = st.integers(-(2**63), 2**63 - 1)
choices = st.fixed_dictionaries({"mode": st.just("all")}) | st.fixed_dictionaries(
    {"mode": st.just("sample")}, optional={"count": st.integers(1, 3), "seed": seeds}
)
variations = st.fixed_dictionaries({"count": st.integers(1, 3)}) | st.fixed_dictionaries(
    {"seeds": st.lists(seeds, min_size=1, max_size=3, unique=True)}
)
texts_with_choices = st.sampled_from(
    ["{red|2::blue} fox", "{2$$ and $$a|b|{c|d}}", r"a \{fox\} {at night|}", "{a", "b"]
)
valid_requests = st.fixed_dictionaries(
    {"prompts": st.lists(prompts, min_size=2, max_size=10)}, optional=others
) | st.fixed_dictionaries(
    {
        "prompts": st.lists(st.fixed_dictionaries({"text": texts_with_choices}), min_size=2, max_size=3),
    },
    optional={**others, "choices": choices, "variations": variations},
)


@st.composite
def requests(draw: st.DrawFn) -> dict[str, Any]:
    """A valid request with up to two values replaced or removed."""
    request = draw(valid_requests)
    if draw(st.integers(0, 9)) == 0:
        objects = cast("list[dict[str, Any]]", [request, *request["prompts"]])
        draw(st.sampled_from(objects))[draw(st.text(max_size=8))] = draw(values)
    for _ in range(draw(st.sampled_from([0, 0, 0, 1, 1, 2]))):
        places = list(places_in(request))
        if not places:
            break
        inside, key = draw(st.sampled_from(places))
        if draw(st.integers(0, 4)):
            inside[key] = draw(values)
        else:
            del inside[key]
    return request


def places_in(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every container in a value with each of its keys."""
    container = cast("dict[str, Any] | list[Any]", value)
    for key, inner in list(container.items() if isinstance(container, dict) else enumerate(container)):
        yield container, key
        if isinstance(inner, dict | list):
            yield from places_in(inner)


@st.composite
def with_a_key_twice(draw: st.DrawFn) -> Pairs:
    request = draw(requests().filter(bool))
    again = draw(st.sampled_from(sorted(request)))
    return Pairs((*request.items(), (again, draw(values))))


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """The text of a request with a piece cut out or inserted."""
    text = render(draw(requests()))
    at = draw(st.integers(0, len(text)))
    piece = draw(st.sampled_from([*NUMBERS, *RAW_STRINGS, *BROKEN, "[" * 50, ",", ":", '"', "\\"]))
    return text[:at] + piece + text[at + draw(st.integers(0, 3)) :]


json_texts: st.SearchStrategy[str] = st.one_of(
    requests().map(render), requests().map(render), with_a_key_twice().map(render), values.map(render), damaged()
)


def corpus() -> dict[str, Callable[[], str]]:
    """Texts by name that are too large or too unusual to be drawn; built when called."""
    return (
        {name: partial(render, request) for name, request in _odd_requests().items()}
        | {f"broken {text!r}": partial(str, text) for text in BROKEN}
        | dict(_large_texts())
    )


def _odd_requests() -> dict[str, Any]:
    odd: dict[str, Any] = {f"the text {text[:24]!r}": _request(text=text) for text in STRINGS}
    odd |= {f"the raw text {raw}": _request(text=Raw(raw)) for raw in RAW_STRINGS}
    for number in NUMBERS:
        odd[f"seed {number[:24]}"] = _request(seed=Raw(number))
        for key in ("width", "guidance_scale"):
            odd[f"{key} {number[:24]}"] = _request() | {"shared_settings": {key: Raw(number)}}
    return odd


def _large_texts() -> Iterator[tuple[str, Callable[[], str]]]:
    letters, levels = "x" * MILLION, Raw("[" * 100_000 + "]" * 100_000)
    yield "a million letters", lambda: render(_request(text=letters))
    yield "a million foxes", lambda: render(_request(text="🦊" * MILLION))
    yield "many tags", lambda: render(_request(tags=["t"] * MANY))
    yield "a million letters as a key", lambda: render(_request() | {letters: 1})
    yield "a million letters as a name", lambda: render(_request() | {"batch_name": letters})
    yield "a million letters as a client_key", lambda: render(_request() | {"client_key": letters})
    yield "a million letters as a model", lambda: render(_request() | {"shared_settings": {"model_id": letters}})
    yield "many prompts", lambda: render({"prompts": [Raw("{}")] * MANY})
    yield "many unknown keys", lambda: render(_request() | {f"k{n}": n for n in range(MANY)})
    yield "300 levels beside", lambda: render(_request() | {"deep": Raw("[" * 300 + "]" * 300)})
    yield "100,000 levels beside", lambda: render(_request() | {"deep": levels})
    yield "100,000 levels in a text's place", lambda: render(_request(text=levels))
    yield "100,000 levels of objects", lambda: '{"a":' * 100_000 + "1" + "}" * 100_000


def _request(**first_prompt: Any) -> dict[str, Any]:
    """A valid request but for the first prompt's values."""
    return {"prompts": [{"text": "one", **first_prompt}, {"text": "two"}]}
