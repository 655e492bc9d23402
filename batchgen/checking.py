"""Look whether a delivered file is the picture that it claims to be, before anybody stores it.

The format is what the content says. A file is taken as it is, byte for byte, or refused; only an SVG, which is a
program for drawing, is written anew from what is known to be harmless.
"""

import asyncio
import io
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from mmap import ACCESS_READ, mmap
from typing import cast

from PIL import Image

from batchgen.blurhash import blurhash
from batchgen.containers import Layout, NotAPicture, Truncated, layout_of
from batchgen.errors import ProviderRejected, ProviderUnavailable
from batchgen.svg import SvgLimits, looks_like_svg, sanitised
from batchgen.temporary import write

TOO_LARGE = "picture_too_large"
DARKEST = 8
"""Brightness, of 255, that all-black pictures keep below: JPEG does not store black exactly."""


class PictureRefused(ProviderRejected):
    """The file is no picture that may be stored: `not_a_picture` or `picture_too_large`."""

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message, code=code, is_charged=True)


class PictureDamaged(ProviderUnavailable):
    """The file is a picture that did not arrive whole; fetching it again may help."""

    def __init__(self, message: str) -> None:
        super().__init__(message, code="picture_damaged", is_provider_fault=False, is_charged=True, is_job_over=False)


@dataclass(frozen=True, slots=True)
class CheckLimits:
    max_bytes: int = 50 * 1024 * 1024
    max_pixels: int = 40_000_000
    """A decoded pixel takes up to 4 bytes, or 8 while its colours are converted."""
    max_side: int = 16_383
    """Pixels; the longest that a WebP can have."""
    svg: SvgLimits = field(default_factory=SvgLimits)


@dataclass(frozen=True, slots=True)
class CheckedImage:
    """A picture that may be stored, in an open file that belongs to whoever opened it."""

    file: io.FileIO
    format: str
    """`png`, `webp`, `jpeg` or `svg`; also the file's extension in Storage."""
    width: int
    height: int
    """Of an SVG: its own unit, rounded."""
    file_size: int
    """Bytes."""
    blurhash: str | None
    """None for an SVG."""
    is_black: bool
    """All black or wholly transparent: what safety filters leave in place of a picture. Never said of an SVG."""


class Checker:
    """Checks pictures in threads of its own, a few at once, so that decoded ones do not fill the memory."""

    def __init__(self, limits: CheckLimits | None = None, *, at_once: int = 2) -> None:
        self._limits = limits or CheckLimits()
        self._threads = ThreadPoolExecutor(at_once, thread_name_prefix="check")

    async def check(self, file: io.FileIO) -> CheckedImage:
        """The picture in `file`, which is then at its start. Raises `PictureRefused` or `PictureDamaged`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, checked, file, self._limits)

    def close(self) -> None:
        self._threads.shutdown(cancel_futures=True)


def checked(file: io.FileIO, limits: CheckLimits) -> CheckedImage:
    """What `Checker.check` does, in this thread."""
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    if size == 0:
        raise PictureDamaged("The picture is an empty file.")
    if size > limits.max_bytes:
        raise PictureRefused(f"The picture has {size} bytes; at most {limits.max_bytes} are taken.", code=TOO_LARGE)
    try:
        image = _as_svg(file, limits) if looks_like_svg(file.read(1024)) else _as_pixels(file, limits, size)
    except NotAPicture as error:
        raise PictureRefused(str(error), code="not_a_picture") from error
    except Truncated as error:
        raise PictureDamaged(str(error)) from error
    file.seek(0)
    return image


def _as_pixels(file: io.FileIO, limits: CheckLimits, size: int) -> CheckedImage:
    with mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        layout = layout_of(data)
    if layout.width * layout.height > limits.max_pixels or max(layout.width, layout.height) > limits.max_side:
        raise PictureRefused(
            f"The picture has {layout.width} by {layout.height} pixels; that is more than is taken.", code=TOO_LARGE
        )
    try:
        hash_, is_black = _seen(file, layout)
    except NotAPicture:
        raise
    except Exception as error:  # pillow's decoders raise all sorts of things over a damaged file
        raise Truncated(f"The picture cannot be decoded ({type(error).__name__}).") from error
    return CheckedImage(file, layout.format, layout.width, layout.height, size, hash_, is_black)


def _seen(file: io.FileIO, layout: Layout) -> tuple[str, bool]:
    """Decode the whole picture; its BlurHash, and whether it is black."""
    formats = [layout.format.upper()]
    file.seek(0)
    with Image.open(file, formats=formats) as image:
        image.verify()
    file.seek(0)
    with Image.open(file, formats=formats) as image:
        if image.size != (layout.width, layout.height):
            raise NotAPicture("The picture has two sizes.")
        image.load()
        plain = _in_eight_bits(image)
        return blurhash(_small(plain)), _is_black(plain)


def _in_eight_bits(image: Image.Image) -> Image.Image:
    """The picture in greys or RGB, with or without transparency; itself where it is so already."""
    if image.mode.startswith("I"):
        return image.convert("I").point(_highest_byte).convert("L")  # pyright: ignore[reportUnknownMemberType]
    if image.mode == "P":
        return image.convert("RGBA" if "transparency" in image.info else "RGB")
    return image if image.mode in ("L", "LA", "RGB", "RGBA") else image.convert("RGB")


def _highest_byte(value: float) -> float:
    return value / 256


def _small(image: Image.Image) -> Image.Image:
    side = (min(64, image.width), min(64, image.height))
    return image.resize(side, Image.Resampling.BOX).convert("RGB")  # pyright: ignore[reportUnknownMemberType]


def _is_black(image: Image.Image) -> bool:
    bands = image.getextrema()
    ranges = cast("list[tuple[float, float]]", list(bands) if isinstance(bands[0], tuple) else [bands])
    if image.mode in ("LA", "RGBA") and ranges.pop()[1] == 0:
        return True
    return all(highest <= DARKEST for _, highest in ranges)


def _as_svg(file: io.FileIO, limits: CheckLimits) -> CheckedImage:
    """The drawing without what could do harm, written in place of what came."""
    file.seek(0)
    drawing = sanitised(file.read(limits.svg.max_bytes + 1), limits.svg)
    file.seek(0)
    file.truncate()
    write(file, drawing.content)
    return CheckedImage(file, "svg", drawing.width, drawing.height, len(drawing.content), None, is_black=False)
