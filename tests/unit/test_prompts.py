"""Requests from lines, JSON and options."""

from collections.abc import Callable
from typing import Any

import pytest

from batchgen.cli.prompts import choices_from, from_json, from_lines, from_texts, variations_from, with_options
from batchgen.errors import InvalidRequest
from batchgen.models import BatchRequest, Choices, Prompt, SharedSettings, Variations

NO_OPTIONS: dict[str, Any] = {
    "shared": {},
    "name": None,
    "client_key": None,
    "negative_prompt": None,
    "seed": None,
    "tags": (),
}


def filled_with(request: BatchRequest, **options: Any) -> BatchRequest:
    return with_options(request, **{**NO_OPTIONS, **options})


def texts(request: BatchRequest) -> list[str]:
    return [prompt.text for prompt in request.prompts]


def test_each_non_empty_line_is_a_prompt() -> None:
    assert texts(from_lines("a fox\r\n\n  \n a bird \n#fail is no comment")) == [
        "a fox",
        "a bird",
        "#fail is no comment",
    ]


def test_json_prompts_may_be_texts_or_objects() -> None:
    request = from_json('["a fox", {"text": "a bird", "seed": 0, "tags": ["x"]}]')

    assert texts(request) == ["a fox", "a bird"]
    assert request.prompts[1].seed == 0
    assert request.prompts[1].tags == ("x",)


def test_json_may_be_a_whole_request() -> None:
    request = from_json(
        '{"prompts": [{"text": "a"}], "shared_settings": {"width": 64}, "batch_name": "n", "client_key": null}'
    )

    assert request.shared_settings.width == 64
    assert request.batch_name == "n"


@pytest.mark.parametrize(
    ("text", "code", "field"),
    [
        ("{", "invalid_json", None),
        ("[NaN]", "invalid_json", None),
        ("7", "wrong_type", "prompts"),
        ("{}", "wrong_type", "prompts"),
        ("[7]", "wrong_type", "prompts[0]"),
        ('[{"text": "a"}, {"seed": 1}]', "wrong_type", "prompts[1].text"),
        ('[{"text": "a", "sed": 1}]', "unknown_field", "prompts[0].sed"),
        ('{"prompts": ["a"], "shared_settings": {"widht": 1}}', "unknown_field", "shared_settings.widht"),
        ('{"prompts": ["a"], "name": "x"}', "unknown_field", "name"),
    ],
)
def test_invalid_json_requests_are_refused_with_code_and_field(text: str, code: str, field: str | None) -> None:
    with pytest.raises(InvalidRequest) as refused:
        from_json(text)

    assert (refused.value.code, refused.value.field) == (code, field)
    assert refused.value.remedy


def test_a_refused_prompt_is_named_by_its_index() -> None:
    with pytest.raises(InvalidRequest) as refused:
        from_json('["a", {"text": "b", "seed": "many"}]')

    assert refused.value.index == 1


def test_the_seed_option_counts_up_and_leaves_given_seeds() -> None:
    request = from_json('["a", {"text": "b", "seed": 0}, "c"]')

    filled = filled_with(request, seed=7)

    assert [prompt.seed for prompt in filled.prompts] == [7, 0, 9]


def test_options_win_over_shared_settings_but_not_over_prompts() -> None:
    request = from_json(
        '{"prompts": [{"text": "a", "negative_prompt": "own"}, "b"], "shared_settings": {"width": 1, "height": 2}}'
    )

    filled = filled_with(request, shared={"width": 64, "height": None}, negative_prompt="blurry", tags=["t"], name="n")

    assert (filled.shared_settings.width, filled.shared_settings.height) == (64, 2)
    assert [prompt.negative_prompt for prompt in filled.prompts] == ["own", "blurry"]
    assert [prompt.tags for prompt in filled.prompts] == [("t",), ("t",)]
    assert filled.batch_name == "n"


def test_prompts_given_as_arguments_are_not_changed() -> None:
    assert texts(from_texts([" a "])) == [" a "]


@pytest.mark.parametrize(
    ("field", "message", "shown"),
    [
        ("prompts[2]", "prompts[2] is not an object.", "Prompt 3 is not an object."),
        (
            "prompts[2].text",
            "prompts[2].text is 4210 characters long.",
            "The text of prompt 3 is 4210 characters long.",
        ),
        ("prompts[0].tags", "prompts[0].tags has 30 tags.", "Prompt 1 has 30 tags."),
        ("prompts[9].tags[1]", "prompts[9].tags[1] is too long.", "Tag 2 of prompt 10 is too long."),
        ("prompts[0].a.b[c", "prompts[0].a.b[c is no field.", "The a.b[c of prompt 1 is no field."),
        ("shared_settings.width", "shared_settings.width is prompts[0].", "shared_settings.width is prompts[0]."),
        ("prompts", "prompts is not a list.", "prompts is not a list."),
        (None, "prompts[0] is gone.", "prompts[0] is gone."),
    ],
)
def test_messages_count_prompts_from_1_and_fields_from_0(field: str | None, message: str, shown: str) -> None:
    error = InvalidRequest(message, code="any", field=field, remedy=f"Look at {field}.")

    assert (error.message, str(error), error.field) == (shown, shown, field)
    assert error.remedy is not None
    assert (error.remedy == f"Look at {field}.") == (shown == message)


@pytest.mark.parametrize(
    ("make", "message", "field", "remedy"),
    [
        (lambda: SharedSettings(widht=3), "widht is not a field of a request.", "widht", "Did you mean width?"),  # pyright: ignore[reportCallIssue]
        (
            lambda: Prompt(text="x", negative="y"),  # pyright: ignore[reportCallIssue]
            "negative is not a field of a request.",
            "negative",
            "negative_prompt?",
        ),
        (
            lambda: from_json('[{"text": "a", "sed": 1}]'),
            "sed of prompt 1 is not a field of a request.",
            "prompts[0].sed",
            "seed?",
        ),
        (
            lambda: from_json('["a", {"text": "b", "seed": "many"}]'),
            'The seed of prompt 2 must be a whole number, not the text "many".',
            "prompts[1].seed",
            "a whole number",
        ),
        (
            lambda: from_json('{"prompts": ["a"], "shared_settings": {"steps": 1.5}}'),
            "shared_settings.steps must be a whole number, not the number 1.5.",
            "shared_settings.steps",
            "a whole number",
        ),
        (lambda: from_json("[{}]"), "The text of prompt 1 is missing.", "prompts[0].text", "Give"),
        (lambda: from_json("[[]]"), "Prompt 1 must be an object, not a list.", "prompts[0]", "object"),
        (lambda: from_json('{"prompt": []}'), "The input has no list of prompts.", "prompts", "Write"),
    ],
)
def test_an_invalid_field_is_named_with_what_is_needed_and_found(
    make: Callable[[], object], message: str, field: str, remedy: str
) -> None:
    with pytest.raises(InvalidRequest) as refused:
        make()

    assert (str(refused.value), refused.value.field) == (message, field)
    assert refused.value.remedy
    assert remedy in refused.value.remedy


def test_a_json_number_with_too_many_digits_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="too many digits"):
        from_json('[{"text": "a", "seed": 1' + "0" * 200_000 + "}]")


def test_a_count_of_variations_with_a_seed_counts_up_from_it() -> None:
    request = filled_with(from_texts(["a fox"]), variations=Variations(count=3), seed=7)

    assert request.variations == Variations(seeds=(7, 8, 9))
    assert request.prompts[0].seed is None
    huge = filled_with(from_texts(["a fox"]), variations=Variations(count=10**12), seed=7)
    assert huge.variations == Variations(count=10**12)


def test_choices_and_variations_of_the_json_stay_unless_an_option_replaces_them() -> None:
    given = from_json('{"prompts": ["{a|b}"], "choices": {"mode": "all"}, "variations": {"count": 2}}')

    assert filled_with(given).choices == Choices(mode="all")
    assert filled_with(given, variations=Variations(seeds=(0,))).variations == Variations(seeds=(0,))


def test_options_name_choices_and_seeds() -> None:
    assert choices_from("all", None) == Choices(mode="all")
    assert choices_from("sample:4", 7) == Choices(mode="sample", count=4, seed=7)
    assert choices_from(None, None) is None
    assert variations_from(4, None) == Variations(count=4)
    assert variations_from(None, "7, 0,-1") == Variations(seeds=(7, 0, -1))


@pytest.mark.parametrize(
    ("read", "code", "field"),
    [
        (lambda: choices_from("some", None), "unknown_mode", "choices"),
        (lambda: choices_from("all:2", None), "unknown_mode", "choices"),
        (lambda: choices_from("sample:", None), "unknown_mode", "choices"),
        (lambda: variations_from(None, "7,x"), "wrong_type", "variations.seeds"),
        (lambda: BatchRequest.model_validate({}), "wrong_type", "prompts"),
        (lambda: from_json('{"prompts": ["a"], "variations": 4}'), "wrong_type", "variations"),
        (lambda: from_json('{"prompts": ["a"], "choices": {"mod": "all"}}'), "unknown_field", "choices.mod"),
    ],
)
def test_wrong_choices_and_variations_are_refused_by_name(read: Callable[[], Any], code: str, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read()
    assert (refused.value.code, refused.value.field) == (code, field)


def test_a_request_with_a_template_needs_no_prompts() -> None:
    request = from_json('{"template": {"id": "9e156168-c7dc-499e-a0a6-07385c76c4eb", "values": {"animal": "fox"}}}')

    assert "prompts" not in filled_with(request).body()
