"""Draw the thumbnail of a decoded picture: a small WebP for lists."""

import contextlib
import io
from typing import Any, cast

from PIL import Image, ImageCms, ImageFilter

from batchgen.pictures.convert import in_eight_bits, in_rgb, is_profile

SIDE = 512
"""Pixels of the longer side, at most."""
MOST_BYTES = 30_000
"""A list of a hundred pictures then moves at most 3 MB. Few pictures need a lower quality for it."""
QUALITIES = ((80, 0), (60, 0), (40, 0), (20, 0), (20, 1), (20, 2), (20, 4), (5, 8))
"""WebP's quality and the radius of a blur before it, tried in order: only noise needs the blur."""


def thumbnail(image: Image.Image, profile: bytes = b"") -> bytes:
    """The picture as a WebP of at most `SIDE` pixels a side, in sRGB, with its transparency and without metadata.

    `image` is upright; it is never enlarged. `profile` is its colour profile, if it has one.
    """
    plain = in_eight_bits(in_rgb(image))
    small = plain.resize(  # pyright: ignore[reportUnknownMemberType]
        size_of(*plain.size), Image.Resampling.LANCZOS, reducing_gap=3.0
    )
    drawn = _in_srgb(small, profile)
    content = b""
    for quality, radius in QUALITIES:
        content = _webp(drawn.filter(ImageFilter.GaussianBlur(radius)) if radius else drawn, quality)
        if len(content) <= MOST_BYTES:
            break
    return content


def size_of(width: int, height: int) -> tuple[int, int]:
    """The thumbnail's size for a picture of this size."""
    longest = max(width, height)
    if longest <= SIDE:
        return width, height
    return max(1, round(width * SIDE / longest)), max(1, round(height * SIDE / longest))


def _in_srgb(image: Image.Image, profile: bytes) -> Image.Image:
    """The picture in RGB or RGBA, converted by its profile. One that cannot be used is ignored, as browsers do."""
    has_alpha = image.mode in ("LA", "RGBA")
    alpha = image.getchannel("A") if has_alpha else None
    colours = image.convert("L" if image.mode in ("L", "LA") else "RGB")
    if is_profile(profile, colours.mode):
        screen = cast("ImageCms.ImageCmsProfile", ImageCms.createProfile("sRGB"))  # pyright: ignore[reportUnknownMemberType]
        with contextlib.suppress(ImageCms.PyCMSError, ValueError):
            colours = ImageCms.profileToProfile(colours, io.BytesIO(profile), screen, outputMode="RGB") or colours
    drawn = colours.convert("RGB")
    if alpha is not None:
        drawn.putalpha(alpha)
    return drawn


def _webp(image: Image.Image, quality: int) -> bytes:
    image.info = {}  # Pillow writes metadata that it finds in here into the file
    options: dict[str, Any] = {"quality": quality, "alpha_quality": quality, "method": 4}
    out = io.BytesIO()
    image.save(out, "webp", **options)
    return out.getvalue()
