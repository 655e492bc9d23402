"""Inputs in a model's own terms: names, ranges and sizes come from its row."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.errors import InvalidRequest
from batchgen.providers.inputs import provider_inputs, read_spec

RATIOS = ["1:1", "16:9", "21:9", "3:2", "2:3", "4:5", "5:4", "3:4", "4:3", "9:16", "9:21"]
BOUNDS = {"multiple_of": 16, "min": 256, "max": 1440}


def inputs(spec: dict[str, Any], **request: Any) -> dict[str, Any]:
    asked: dict[str, Any] = {"prompt": "a red fox", "seed": 7, "width": 1024, "height": 1024, **request}
    return provider_inputs({"prompt": "prompt", **spec}, **asked)


def test_fields_are_sent_under_the_models_own_names() -> None:
    spec = {
        "prompt": "text",
        "negative_prompt": "avoid",
        "seed": {"name": "random_seed", "max": 2**31 - 1},
        "steps": {"name": "num_inference_steps", "min": 1, "max": 50},
        "guidance_scale": {"name": "cfg", "min": 0, "max": 20},
        "size": {"kind": "width_height", "width": "w", "height": "h", **BOUNDS},
        "fixed": {"output_format": "png", "num_outputs": 1},
    }

    made = inputs(spec, negative_prompt="blurry", steps=28, guidance_scale=3.5)

    assert made == {
        "text": "a red fox",
        "avoid": "blurry",
        "random_seed": 7,
        "num_inference_steps": 28,
        "cfg": 3.5,
        "w": 1024,
        "h": 1024,
        "output_format": "png",
        "num_outputs": 1,
    }


def test_fields_unknown_to_the_model_are_left_out() -> None:
    assert inputs({}, negative_prompt="blurry", steps=28, guidance_scale=3.5) == {"prompt": "a red fox"}


def test_unset_fields_are_left_to_the_model() -> None:
    spec = {"negative_prompt": "avoid", "steps": {"name": "steps"}, "guidance_scale": {"name": "cfg"}}

    assert inputs(spec, negative_prompt="") == {"prompt": "a red fox"}


@pytest.mark.parametrize(("asked", "sent"), [(0, 1), (3, 3), (40, 4)])
def test_steps_are_kept_within_the_models_range(asked: int, sent: int) -> None:
    assert inputs({"steps": {"name": "steps", "min": 1, "max": 4}}, steps=asked)["steps"] == sent


@pytest.mark.parametrize(("asked", "sent"), [(0, 1.5), (7.5, 7.5), (30, 10)])
def test_guidance_is_kept_within_the_models_range(asked: float, sent: float) -> None:
    assert inputs({"guidance_scale": {"name": "cfg", "min": 1.5, "max": 10}}, guidance_scale=asked)["cfg"] == sent


@pytest.mark.parametrize("asked", [None, 0, 20])
def test_a_fixed_value_overrides_the_request(asked: int | None) -> None:
    spec = {"steps": {"name": "steps", "fixed": 4}, "guidance_scale": {"name": "cfg", "fixed": 0}}

    made = inputs(spec, steps=asked, guidance_scale=asked)

    assert (made["steps"], made["cfg"]) == (4, 0)


@pytest.mark.parametrize(
    ("seed", "sent"), [(0, 0), (1, 1), (2**31 - 1, 2**31 - 1), (2**31, 0), (-1, 2**31 - 1), (2**63 - 1, 2**31 - 1)]
)
def test_a_seed_of_64_bits_is_folded_into_the_models_range(seed: int, sent: int) -> None:
    assert inputs({"seed": {"name": "seed", "max": 2**31 - 1}}, seed=seed)["seed"] == sent


@given(seed=st.integers(-(2**63), 2**63 - 1), low=st.integers(0, 5), span=st.integers(1, 2**32))
def test_a_seed_always_stays_within_the_range(seed: int, low: int, span: int) -> None:
    made = inputs({"seed": {"name": "seed", "min": low, "max": low + span}}, seed=seed)

    assert low <= made["seed"] <= low + span


@pytest.mark.parametrize(
    ("width", "height", "sent"),
    [
        (1024, 1024, (1024, 1024)),
        (1000, 1000, (992, 992)),
        (2048, 1024, (1440, 720)),
        (4096, 4096, (1440, 1440)),
        (64, 64, (256, 256)),
        (128, 256, (256, 512)),
        (64, 4096, (256, 1440)),
    ],
)
def test_a_size_keeps_its_shape_when_scaled(width: int, height: int, sent: tuple[int, int]) -> None:
    made = inputs({"size": {"kind": "width_height", "width": "w", "height": "h", **BOUNDS}}, width=width, height=height)

    assert (made["w"], made["h"]) == sent


def test_a_size_can_be_sent_as_one_object() -> None:
    made = inputs({"size": {"kind": "object", "name": "image_size", "multiple_of": 8}}, width=1001, height=500)

    assert made["image_size"] == {"width": 1000, "height": 496}


def test_a_size_is_kept_within_the_models_area() -> None:
    size = {"kind": "object", "name": "size", "min": 256, "max": 4096, "min_pixels": 921_600, "max_pixels": 2_097_152}

    small, large = inputs({"size": size}, width=512, height=512), inputs({"size": size}, width=4096, height=2048)

    assert small["size"] == {"width": 960, "height": 960}
    assert large["size"] == {"width": 2048, "height": 1024}


@given(
    width=st.integers(1, 20_000),
    height=st.integers(1, 20_000),
    multiple_of=st.sampled_from([1, 8, 16, 32, 64]),
    low=st.integers(64, 512),
    high=st.integers(640, 4096),
)
def test_every_size_is_brought_within_the_bounds(
    width: int, height: int, multiple_of: int, low: int, high: int
) -> None:
    bounds = {"multiple_of": multiple_of, "min": low, "max": high, "min_pixels": 600**2, "max_pixels": 600 * 1024}

    made = inputs({"size": {"kind": "object", "name": "size", **bounds}}, width=width, height=height)["size"]

    sides = made["width"], made["height"]
    assert all(side % multiple_of == 0 and low <= side <= high for side in sides)
    assert 600**2 <= sides[0] * sides[1] <= 600 * 1024


@pytest.mark.parametrize(
    ("width", "height", "ratio"),
    [
        (1024, 1024, "1:1"),
        (1920, 1080, "16:9"),
        (1080, 1920, "9:16"),
        (1280, 960, "4:3"),
        (1000, 1010, "1:1"),
        (4000, 1000, "21:9"),
        (1000, 9000, "9:21"),
    ],
)
def test_the_nearest_aspect_ratio_is_chosen(width: int, height: int, ratio: str) -> None:
    size = {"kind": "aspect_ratio", "name": "aspect_ratio", "choices": RATIOS}

    assert inputs({"size": size}, width=width, height=height)["aspect_ratio"] == ratio


@pytest.mark.parametrize(("side", "word"), [(512, "0.25"), (700, "0.25"), (768, "1"), (1024, "1"), (2048, "1")])
def test_an_aspect_ratio_can_be_sent_with_an_area(side: int, word: str) -> None:
    area = {"name": "megapixels", "choices": {"0.25": 512**2, "1": 1024**2}}
    size = {"kind": "aspect_ratio", "name": "aspect_ratio", "choices": RATIOS, "area": area}

    made = inputs({"size": size}, width=side, height=side)

    assert (made["aspect_ratio"], made["megapixels"]) == ("1:1", word)


@pytest.mark.parametrize(
    ("width", "height", "word"),
    [
        (1024, 1024, "1024x1024"),
        (600, 600, "512x512"),
        (1600, 1200, "1365x1024"),
        (900, 1600, "1024x1820"),
        (3000, 1000, "2048x1024"),
    ],
)
def test_the_nearest_listed_size_is_chosen_by_shape_then_area(width: int, height: int, word: str) -> None:
    choices = ["512x512", "1024x1024", "1365x1024", "1024x1365", "1820x1024", "1024x1820", "2048x1024"]
    size = {"kind": "choices", "name": "size", "choices": choices}

    assert inputs({"size": size}, width=width, height=height)["size"] == word


@pytest.mark.parametrize(
    ("spec", "field", "rule"),
    [
        ({"prompt": ""}, "prompt", "at least 1 character"),
        ({"promt": "x"}, "promt", "not permitted"),
        ({"seed": {"name": "seed", "max": 0}}, "seed.max", "greater than or equal to 1"),
        ({"seed": {"name": "seed", "min": 9, "max": 8}}, "seed", "minimum above its maximum"),
        ({"seed": {"max": 9}}, "seed.name", "required"),
        ({"steps": {"name": "steps", "fixed": 4, "max": 9}}, "steps", "either a fixed value or min and max"),
        ({"steps": {"name": "steps", "min": "1"}}, "steps.min", "valid integer"),
        ({"guidance_scale": {"name": "cfg", "max": float("inf")}}, "guidance_scale.max", "finite"),
        ({"size": {"kind": "round"}}, "size", "width_height"),
        ({"size": {"kind": "width_height", "width": "w"}}, "size.height", "required"),
        (
            {"size": {"kind": "object", "name": "size", "min": 9, "max": 15, "multiple_of": 8}},
            "size",
            "no multiple of 8",
        ),
        ({"size": {"kind": "object", "name": "size", "max": 10, "min_pixels": 200}}, "size", "leave no size"),
        ({"size": {"kind": "aspect_ratio", "name": "r", "choices": []}}, "size.choices", "at least 1 item"),
        (
            {"size": {"kind": "aspect_ratio", "name": "r", "choices": ["wide"]}},
            "size.choices",
            "'wide' is not an aspect",
        ),
        ({"size": {"kind": "aspect_ratio", "name": "r", "choices": ["0:1"]}}, "size.choices", "'0:1' is not an aspect"),
        ({"size": {"kind": "choices", "name": "s", "choices": ["big"]}}, "size.choices", "'big' is not a size"),
        ({"fixed": {"prompt": "a blue bird"}}, None, "called 'prompt'"),
        ({"seed": {"name": "n"}, "steps": {"name": "n"}}, None, "called 'n'"),
    ],
)
def test_an_invalid_spec_is_refused_with_field_and_rule(spec: dict[str, Any], field: str | None, rule: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        read_spec({"prompt": "prompt", **spec})

    assert refused.value.code == "invalid_inputs_spec"
    assert refused.value.field == field
    assert rule in refused.value.message


@pytest.mark.parametrize("wanted", ["heic", "MP4", "image/jxl", ".pdf", "svg", "image/svg+xml"])
def test_an_unstorable_format_is_refused_before_any_order(wanted: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        read_spec({"prompt": "prompt", "fixed": {"output_format": wanted}})

    assert caught.value.code == "invalid_inputs_spec"
    assert wanted in caught.value.message


@pytest.mark.parametrize("wanted", ["png", "webp", "jpg", "jpeg", "gif", "avif", None, 7])
def test_a_storable_or_convertible_format_is_accepted(wanted: object) -> None:
    assert read_spec({"prompt": "prompt", "fixed": {"output_format": wanted}}).fixed == {"output_format": wanted}
