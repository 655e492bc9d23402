"""Drawing by the offline provider: equal pictures for equal requests, different ones for different requests."""

import io
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from PIL import Image, ImageChops, ImageStat

from batchgen.providers.base import ImageRequest
from batchgen.providers.offline.drawing import draw
from batchgen.providers.offline.metadata import encode
from batchgen.providers.offline.provider import draw_file

FOX = ImageRequest(UUID(int=1), "a red fox in a snowy forest at dawn", seed=1, width=256, height=256)


def picture(**changes: Any) -> Image.Image:
    request = replace(FOX, **changes)
    return draw(request, request.prompt)


def difference(one: Image.Image, other: Image.Image) -> float:
    """The difference of two pictures above the caption, as the mean of all pixels (0 to 255)."""
    box = (0, 0, one.width, round(one.height * 0.8))
    return sum(ImageStat.Stat(ImageChops.difference(one.crop(box), other.crop(box))).mean) / 3


def mean_colour(image: Image.Image) -> tuple[float, ...]:
    return tuple(ImageStat.Stat(image).mean)


@pytest.mark.parametrize("image_format", ["png", "webp"])
def test_the_same_request_gives_the_same_bytes(image_format: Any) -> None:
    assert draw_file(FOX, FOX.prompt, image_format) == draw_file(FOX, FOX.prompt, image_format)


def test_item_id_and_retries_do_not_change_the_picture() -> None:
    assert difference(picture(), picture(generation_id=UUID(int=2), retry_count=3)) == 0


@pytest.mark.parametrize("prompt", ["a red fox in a snowy forest at dawn", "abstract colorful painting", "qwertz"])
def test_another_seed_gives_another_composition(prompt: str) -> None:
    pictures = [picture(prompt=prompt, seed=seed) for seed in (1, 2, 3)]

    assert difference(pictures[0], pictures[1]) > 6
    assert difference(pictures[1], pictures[2]) > 6


def test_another_prompt_gives_another_picture() -> None:
    prompts = ["a red fox in a forest", "a cyberpunk city at night", "abstract", "portrait of a robot", "nothing known"]
    pictures = [picture(prompt=prompt) for prompt in prompts]

    for i, one in enumerate(pictures):
        for other in pictures[i + 1 :]:
            assert difference(one, other) > 12


def test_settings_change_the_picture_slightly() -> None:
    usual = picture()

    assert 0 < difference(usual, picture(guidance_scale=18.0)) < 25
    assert 0 < difference(usual, picture(steps=8)) < 25


def test_a_night_scene_is_darker_than_a_day_scene() -> None:
    day, night = picture(prompt="mountains by day"), picture(prompt="mountains at night")

    assert sum(mean_colour(night)) < 0.6 * sum(mean_colour(day))


def test_a_colour_word_colours_the_whole_picture() -> None:
    red, _, blue_in_red = mean_colour(picture(prompt="abstract waves in red"))
    red_in_blue, _, blue = mean_colour(picture(prompt="abstract waves in blue"))

    assert red > blue_in_red
    assert blue > red_in_blue


def test_a_monochrome_picture_has_no_colour() -> None:
    image = picture(prompt="a castle by a lake, monochrome").crop((0, 0, 256, 180))

    red, green, blue = mean_colour(image)

    assert max(red, green, blue) - min(red, green, blue) < 12


@pytest.mark.parametrize(
    "size", [(16, 16), (64, 64), (2048, 64), (64, 2048), (16, 4096), (4096, 16), (640, 384), (333, 1001)]
)
@pytest.mark.parametrize("prompt", ["a whale under the stars", "portrait of a robot", "abstract"])
def test_a_picture_has_the_requested_size(size: tuple[int, int], prompt: str) -> None:
    assert picture(prompt=prompt, width=size[0], height=size[1]).size == size


def test_the_largest_picture_can_be_drawn() -> None:
    assert picture(width=4096, height=4096).size == (4096, 4096)


def test_a_typical_picture_file_has_a_reasonable_size() -> None:
    large = picture(prompt="a lighthouse in a storm", width=1024, height=1024)

    assert len(encode(large, "png", {"prompt": "", "generator": ""})) < 1_500_000
    assert len(encode(large, "webp", {"prompt": "", "generator": ""})) < 400_000


@pytest.mark.parametrize(
    "prompt",
    [
        "🦊 in a 🌲 at 🌙 👩‍👩‍👧‍👦",
        "ثعلب أحمر في غابة ثلجية",
        "שועל אדום ביער",
        "雪の森の赤い狐",
        "a\0b\x1b[31mc\u202e\u2066\ufffe",
        "\ud800 alone \udfff",
        "",
        "   \n\t ",
        "word " * 800,
        "x" * 4000,
        "-" * 4000,
        "\u0301" * 500,
    ],
)
@pytest.mark.parametrize("side", [64, 256])
def test_any_prompt_gives_a_picture(prompt: str, side: int) -> None:
    request = replace(FOX, prompt=prompt, width=side, height=side)

    with Image.open(io.BytesIO(draw_file(request, prompt, "png"))) as image:
        assert image.size == (side, side)


SUBJECTS = (
    "fox wolf cat dog bear rabbit lion owl bird fish whale horse deer robot woman astronaut house castle lighthouse "
    "boat balloon rocket tree flowers sea lake desert field city space underwater forest mountains aurora moon"
)


@pytest.mark.parametrize("subject", SUBJECTS.split())
def test_each_known_subject_can_be_drawn_in_every_style(subject: str) -> None:
    for prompt in (subject, f"portrait of a {subject} in snow", f"two {subject}s in a storm at night, pixel art"):
        assert picture(prompt=prompt, width=96, height=80).size == (96, 80)
    for style in ("watercolor", "minimalist", "low-poly", "vintage pastel"):
        assert picture(prompt=f"{subject} in fog, {style}", width=64, height=64).size == (64, 64)
