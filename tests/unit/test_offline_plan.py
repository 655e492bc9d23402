"""From a prompt's words to a plan."""

from typing import Any
from uuid import UUID

import pytest

from batchgen.providers.base import ImageRequest
from batchgen.providers.offline.drawing.colours import RGB, rgb
from batchgen.providers.offline.drawing.plan import Plan, make_plan

RED, TEAL, GOLD = rgb("c8342b"), rgb("22908c"), rgb("e2b13c")


def plan_of(prompt: str, **settings: Any) -> Plan:
    return make_plan(ImageRequest(UUID(int=1), prompt, seed=1, width=64, height=64, **settings), prompt)


@pytest.mark.parametrize(
    ("prompt", "time", "weather", "places", "subjects"),
    [
        ("a red fox in a snowy forest at dawn", "dawn", "snow", ("forest",), ("fox",)),
        ("ein Schloss am See bei Sonnenuntergang", "sunset", "clear", ("lake",), ("castle",)),
        ("a lighthouse in a storm", "day", "storm", ("sea",), ("lighthouse",)),
        ("Leuchtturm an der Küste im Nebel bei Nacht", "night", "fog", ("sea",), ("lighthouse",)),
        ("a cyberpunk city", "night", "clear", ("city",), ()),
        ("zwei Füchse und ein Bär im Wald am Morgen", "dawn", "clear", ("forest",), ("fox", "bear")),
    ],
)
def test_english_and_german_words_choose_the_scene(
    prompt: str, time: str, weather: str, places: tuple[str, ...], subjects: tuple[str, ...]
) -> None:
    plan = plan_of(prompt)

    assert (plan.time, plan.weather, plan.places, plan.subjects) == (time, weather, places, subjects)


@pytest.mark.parametrize(
    "prompt", ["see the catalog of cathedrals", "abstract fox", "teal and gold", "", "lorem ipsum"]
)
def test_a_prompt_without_a_scene_is_drawn_abstract(prompt: str) -> None:
    assert plan_of(prompt).abstract


@pytest.mark.parametrize(
    ("prompt", "tint", "paints"),
    [
        ("a red fox", None, {"fox": RED}),
        ("balloons over golden dunes", None, {"desert": GOLD}),
        ("mountains in teal", TEAL, {}),
        ("mountains at golden hour", None, {}),
    ],
)
def test_a_colour_applies_to_its_subject_or_to_the_whole_scene(
    prompt: str, tint: RGB | None, paints: dict[str, RGB]
) -> None:
    plan = plan_of(prompt)

    assert (plan.tint, dict(plan.paints)) == (tint, paints)


def test_subjects_of_the_negative_prompt_are_left_out() -> None:
    plan = plan_of("a fox and an owl in a forest", negative_prompt="owl, blurry")

    assert plan.subjects == ("fox",)


def test_steps_raise_detail_and_guidance_raises_colour() -> None:
    assert plan_of("a fox", steps=10).detail < plan_of("a fox").detail < plan_of("a fox", steps=45).detail
    assert plan_of("a fox", guidance_scale=2.0).vividness < plan_of("a fox", guidance_scale=15.0).vividness


def test_randomness_depends_only_on_prompt_seed_and_topic() -> None:
    one, same = plan_of("a fox", steps=10), plan_of("a fox", steps=50)

    assert one.rng("sky").random() == same.rng("sky").random()
    assert one.rng("sky").random() != one.rng("sea").random()
    assert one.rng("sky").random() != plan_of("a wolf").rng("sky").random()
