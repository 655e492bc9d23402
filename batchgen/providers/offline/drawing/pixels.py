"""Typed wrappers of Pillow calls whose types are incomplete without NumPy."""

from collections.abc import Sequence
from typing import Any, cast

from PIL import Image

Size = tuple[int, int]
Box = tuple[float, float, float, float]

BOX = Image.Resampling.BOX
SMOOTH = Image.Resampling.BICUBIC
LINEAR = Image.Resampling.BILINEAR
HARD = Image.Resampling.NEAREST


def resized(image: Image.Image, size: Size, way: Image.Resampling = SMOOTH, box: Box | None = None) -> Image.Image:
    """The picture, or a part of it, in another size."""
    return cast("Any", image).resize(size, way, box=box)


def mapped(image: Image.Image, values: Sequence[int]) -> Image.Image:
    """The picture with each value replaced by the one in the table."""
    return cast("Any", image).point(values)
