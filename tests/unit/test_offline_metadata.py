"""The metadata in an offline picture's file."""

import io
from typing import Any
from uuid import UUID

import pytest
from PIL import Image

from batchgen.providers.base import ImageRequest
from batchgen.providers.offline import read_metadata
from batchgen.providers.offline.provider import draw_file


def a_picture(image_format: Any, prompt: str = "a fox", **settings: Any) -> bytes:
    request = ImageRequest(UUID(int=1), prompt, seed=42, width=64, height=64, **settings)
    return draw_file(request, prompt, image_format)


@pytest.mark.parametrize("image_format", ["png", "webp"])
@pytest.mark.parametrize(
    "prompt", ["a fox", "Füchsin, 狐 und 🦊", "two\nlines\x01 & <tags>", "שועל", "long " * 800, "a]]>\"'\\u0000"]
)
def test_metadata_is_read_back_from_the_file(image_format: str, prompt: str) -> None:
    content = a_picture(
        image_format, prompt, negative_prompt="blurry ✗", model="black/flux", steps=28, guidance_scale=7.5
    )

    found = read_metadata(content)

    assert found.pop("generator").startswith("batchgen offline provider ")
    assert found == {
        "prompt": prompt,
        "negative_prompt": "blurry ✗",
        "seed": "42",
        "model": "black/flux",
        "steps": "28",
        "guidance_scale": "7.5",
    }


@pytest.mark.parametrize("image_format", ["png", "webp"])
def test_unset_fields_are_not_in_the_metadata(image_format: str) -> None:
    found = read_metadata(a_picture(image_format))

    assert set(found) == {"prompt", "seed", "model", "generator"}
    assert found["model"] == "none"
    assert found["generator"].endswith("(no model)")


@pytest.mark.parametrize("image_format", ["png", "webp"])
def test_unwritable_characters_are_replaced(image_format: str) -> None:
    assert read_metadata(a_picture(image_format, "a\0b\ud800c"))["prompt"] == "a\ufffdb\ufffdc"


@pytest.mark.parametrize("image_format", ["PNG", "WEBP", "JPEG"])
def test_a_foreign_picture_has_no_metadata(image_format: str) -> None:
    out = io.BytesIO()
    Image.new("RGB", (8, 8)).save(out, image_format)

    assert read_metadata(out.getvalue()) == {}
