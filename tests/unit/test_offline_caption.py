"""The caption: readable in a font with few characters, and inside the picture."""

import pytest
from PIL import Image, ImageChops

from batchgen.providers.offline.drawing.caption import UNSPELLABLE, draw_caption, spell


@pytest.mark.parametrize(
    ("text", "spelled"),
    [
        ("Schloß bei Nacht, schön", "Schloss bei Nacht, schoen"),
        ("café naïve", "cafe naive"),
        ("Привет", "Privet"),
        ("ひらがな", "hiragana"),
        ("a 🦊 sleeps", "a [fox face] sleeps"),
        ("山 and 海", "· and ·"),
        ("a\0b\x1b[0m\u202ec", "a b [0mc"),
        ("雪の", "·no"),
        ("", ""),
    ],
)
def test_a_prompt_is_spelled_in_characters_of_the_font(text: str, spelled: str) -> None:
    assert spell(text) == spelled


@pytest.mark.parametrize("text", ["山海", "שלום", "مرحبا"])
def test_an_unspellable_prompt_is_replaced_by_a_note(text: str) -> None:
    assert spell(text) == UNSPELLABLE


def test_a_long_prompt_is_cut() -> None:
    assert len(spell("word " * 800)) <= 401


def touched(size: tuple[int, int], prompt: str) -> tuple[int, int, int, int] | None:
    before = Image.new("RGB", size, (120, 160, 200))
    after = before.copy()
    draw_caption(after, prompt)
    return ImageChops.difference(before, after).getbbox()


def test_the_caption_stays_at_the_bottom_of_the_picture() -> None:
    box = touched((512, 512), "a fox " * 200)

    assert box is not None
    assert box[1] > 400


@pytest.mark.parametrize("size", [(16, 16), (16, 512), (512, 16)])
def test_a_picture_without_room_has_no_caption(size: tuple[int, int]) -> None:
    assert touched(size, "a fox") is None


def bright_pixels(size: tuple[int, int], prompt: str) -> int:
    image = Image.new("RGB", size, (20, 20, 20))
    draw_caption(image, prompt)
    return sum(image.convert("L").histogram()[120:])


def test_the_caption_says_that_no_model_made_the_picture() -> None:
    assert bright_pixels((256, 256), "") > 50
    assert bright_pixels((256, 256), "a red fox") > bright_pixels((256, 256), "") + 50
