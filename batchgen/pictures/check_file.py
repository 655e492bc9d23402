"""Look whether a delivered file is a picture, and leave in it what is the picture itself.

Everything here opens foreign bytes, so it runs in a process of its own (`batchgen.pictures.check_child`). A file that
holds nothing else is left as it is. What is not the picture is cut: metadata, and what follows after its end. A picture
that browsers do not show, that lies on its side, or that is larger than Storage takes is written anew. An SVG is
refused unread.
"""

import io
import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from mmap import ACCESS_READ, mmap
from typing import IO, Any, Self, cast

from PIL import Image

from batchgen.imaging.containers import (
    Layout,
    NotAPicture,
    Span,
    Truncated,
    Unfamiliar,
    format_of,
    is_whole,
    joined,
    layout_of,
    webp_file,
)
from batchgen.imaging.limits import LARGEST_PICTURE_BYTES
from batchgen.imaging.open_image import MOST_PIXELS, TooManyPixels, opened
from batchgen.pictures.blurhash import blurhash
from batchgen.pictures.convert import (
    WRITTEN_AS,
    encoded,
    fitting_size,
    in_eight_bits,
    in_rgb,
    is_profile,
    orientation_of,
    scaled,
    upright,
)
from batchgen.pictures.temporary_files import write

TOO_LARGE = "picture_too_large"
DARKEST = 8
"""Brightness, of 255, that all-black pictures keep below: JPEG does not store black exactly."""
MEBIBYTE = 1024 * 1024
HEADS = {
    b"GIF87a": "GIF",
    b"GIF89a": "GIF",
    b"BM": "BMP",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"\0\0\0\x0cjP  \r\n\x87\n": "JPEG2000",
    b"\xff\x4f\xff\x51": "JPEG2000",
    b"qoif": "QOI",
    b"P5": "PPM",
    b"P6": "PPM",
    b"\0\0\x01\0": "ICO",
}
"""How the files of formats begin that are stored as another one, and the names that Pillow has for them."""
BYTE_ORDER_MARKS = b"\xef\xbb\xbf\xfe\xff"
SVG_STARTS = (b"<svg", b"<?xml", b"<!--", b"<!doctype svg")
SVG_ELEMENT = re.compile(rb"<(?:svg:)?svg[\s/>]")
AVIF_BRANDS = frozenset({b"avif", b"avis", b"mif1", b"msf1"})


@dataclass(frozen=True, slots=True)
class CheckLimits:
    max_bytes: int = 128 * MEBIBYTE
    """Of what is delivered."""
    max_pixels: int = MOST_PIXELS
    """To be decoded. A decoded pixel takes up to 4 bytes, and twice to three times that while it is converted."""
    max_side: int = 65_535
    """Pixels; the longest that a JPEG can have."""
    max_stored_bytes: int = LARGEST_PICTURE_BYTES
    """The bucket takes no more."""
    max_stored_pixels: int = 40_000_000
    """Larger pictures are scaled down."""
    max_stored_side: int = 16_383
    """Pixels; the longest that a WebP can have."""
    keeps_metadata: bool = False
    """Whether nothing is cut: of a file that the worker itself wrote."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        return cls(**values)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What is in a file now: a picture that may be stored."""

    format: str
    """`png`, `webp` or `jpeg`; also the file's extension in Storage."""
    width: int
    height: int
    file_size: int
    """Bytes."""
    blurhash: str
    is_black: bool
    """All black or wholly transparent: what safety filters leave in place of a picture."""
    changes: tuple[str, ...] = ()
    """What was done to the file: `cut`, `turned`, `scaled`, `converted`, `rewritten`."""


def judged(file: io.FileIO, limits: CheckLimits) -> Judgement:
    """Look at the picture in `file`, and write what is kept of it in its place.

    Raises `NotAPicture`, `Truncated`, `TooManyPixels`, `MemoryError`, or `StorageError` where there is no room.
    """
    size = file.seek(0, io.SEEK_END)
    if size == 0:
        raise Truncated("The picture is an empty file.")
    if size > limits.max_bytes:
        most = limits.max_bytes / MEBIBYTE
        raise NotAPicture(f"The picture has {size} bytes; at most {most:g} MiB are read.", code=TOO_LARGE)
    file.seek(0)
    head = file.read(1024)
    if _is_svg(head):
        raise NotAPicture(
            "The file is an SVG, and none is stored: use a model, or an output format of it, that makes PNG, WebP or"
            " JPEG.",
            code="svg_not_supported",
        )
    return _pixels(file, head, limits, size)


def _is_svg(head: bytes) -> bool:
    """Whether a file that begins so is an SVG, whole or broken. In UTF-16 a zero byte stands beside each letter."""
    text = head.translate(None, b"\0").lstrip(BYTE_ORDER_MARKS + b" \t\r\n").lower()
    return text.startswith(SVG_STARTS) and SVG_ELEMENT.search(text) is not None


def _pixels(file: io.FileIO, head: bytes, limits: CheckLimits, size: int) -> Judgement:
    with mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        try:
            layout = layout_of(data) if format_of(head) else None
        except Unfamiliar:
            layout = None
        if layout is not None:
            return _familiar(file, data, layout, limits, size)
        kind = _kind_of(head)
        if kind == "GIF":
            _is_gif(data)
    file.seek(0)
    name = WRITTEN_AS.get(kind.lower(), "png")
    change = "rewritten" if kind in ("PNG", "JPEG", "WEBP") else "converted"
    return _written_anew(file, file, kind, name, limits, change=change, opens_first=True)


def _kind_of(head: bytes) -> str:
    if own := format_of(head):
        return own.upper()
    if head[4:8] == b"ftyp":
        length = min(int.from_bytes(head[:4], "big"), len(head))
        if AVIF_BRANDS.intersection(head[place : place + 4] for place in (8, *range(16, length, 4))):
            return "AVIF"
    kind = next((kind for start, kind in HEADS.items() if head.startswith(start)), None)
    if kind is None:
        raise NotAPicture("The file is no picture of a format that can be stored or converted.")
    return kind


def _is_gif(data: mmap) -> None:
    """GIF's head is short: what follows it has to be a GIF's, too."""
    colours = 3 * 2 ** ((data[10] & 7) + 1) if len(data) > 13 and data[10] & 0x80 else 0
    if data[13 + colours : 14 + colours] not in (b"\x21", b"\x2c"):
        raise NotAPicture("The file begins like a GIF and is none.")


def _familiar(file: io.FileIO, data: mmap, layout: Layout, limits: CheckLimits, size: int) -> Judgement:
    """A picture whose file was understood: cut, and written anew only where it has to be."""
    _bounded(layout.width, layout.height, limits)
    mode = _mode_of(data, layout)
    parts: list[Span | bytes] = [(0, size)] if limits.keeps_metadata else _picture_alone(data, layout, mode)
    orientation = orientation_of(layout.exif) if layout.exif else 1
    kept: bytes | None = None if is_whole(parts, size) else joined(data, parts)
    kept_size = size if kept is None else len(kept)
    source: IO[bytes] = file if kept is None else io.BytesIO(kept)
    is_too_large = kept_size > limits.max_stored_bytes or (layout.width, layout.height) != fitting_size(
        layout.width, layout.height, limits.max_stored_pixels, limits.max_stored_side
    )
    if orientation != 1 or is_too_large or mode == "CMYK":
        change = "turned" if orientation != 1 else "scaled"
        return _written_anew(
            *(file, source, layout.format.upper(), layout.format, limits),
            change="converted" if mode == "CMYK" else change,
            orientation=orientation,
        )
    file.seek(0)
    with _decoded(source, layout.format.upper(), limits) as image:
        if image.size != (layout.width, layout.height):
            raise NotAPicture("The picture has two sizes.", code="two_sizes")
        hash_, is_black = _seen(image)
    if kept is not None:
        _replace(file, kept)
    changes = () if kept is None else ("cut",)
    return Judgement(layout.format, layout.width, layout.height, kept_size, hash_, is_black, changes)


def _picture_alone(data: mmap, layout: Layout, mode: str) -> list[Span | bytes]:
    """The parts of the file that are the picture, with its colour profile where it has one."""
    has_profile = is_profile(layout.profile, mode)
    parts = layout.with_profile() if has_profile else layout.parts
    return webp_file(data, parts, keeps_profile=has_profile) if layout.format == "webp" else parts


def _mode_of(data: mmap, layout: Layout) -> str:
    """Pillow's mode, by the head alone: of a JPEG and a PNG by the number of their channels."""
    if layout.format == "png":
        return "L" if data[25] in (0, 4) else "RGB"
    if layout.format == "webp":
        return "RGB"
    return {1: "L", 4: "CMYK"}.get(layout.channels, "RGB")


def _written_anew(
    file: io.FileIO,
    source: IO[bytes],
    kind: str,
    format: str,
    limits: CheckLimits,
    *,
    change: str,
    orientation: int | None = None,
    opens_first: bool = False,
) -> Judgement:
    with _decoded(source, kind, limits, opens_first=opens_first) as image:
        profile = image.info.get("icc_profile")
        turned = upright(in_rgb(image), orientation)
        size = fitting_size(*turned.size, limits.max_stored_pixels, limits.max_stored_side)
        plain = scaled(turned, size)
        hash_, is_black = _seen(plain)
        profile = profile if isinstance(profile, bytes) and image.mode != "CMYK" else b""
        content, format, stored = encoded(plain, format, profile, limits.max_stored_bytes)
    if len(content) > limits.max_stored_bytes:
        raise NotAPicture(f"The picture has {len(content)} bytes even when it is made smaller.", code=TOO_LARGE)
    _replace(file, content)
    changes = (change, *(("scaled",) if stored != turned.size and change != "scaled" else ()))
    return Judgement(format, *stored, len(content), hash_, is_black, changes)


def _decoded(source: IO[bytes], kind: str, limits: CheckLimits, *, opens_first: bool = False) -> Image.Image:
    """The first picture in the file, decoded whole."""
    source.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what pillow thinks of a file's metadata
            image = _opened(source, kind, limits, is_sure=not opens_first)
            _bounded(*image.size, limits)
            if image.width * image.height > limits.max_stored_pixels and kind == "JPEG":
                image.draft(None, fitting_size(*image.size, limits.max_stored_pixels, limits.max_stored_side))
            image.load()
    except (NotAPicture, TooManyPixels, MemoryError, Truncated):
        raise
    except Exception as error:  # pillow's decoders raise all sorts of things over a damaged file
        raise Truncated(f"The picture cannot be decoded ({type(error).__name__}).") from error
    return image


def _opened(source: IO[bytes], kind: str, limits: CheckLimits, *, is_sure: bool) -> Image.Image:
    try:
        return opened(source, (kind,), max_pixels=limits.max_pixels)
    except TooManyPixels as error:
        raise NotAPicture(f"{error} That is more than is decoded.", code=TOO_LARGE) from error
    except MemoryError:
        raise
    except Exception as error:
        if is_sure:
            raise
        raise NotAPicture(f"The file begins like a {kind} and is none.") from error


def _bounded(width: int, height: int, limits: CheckLimits) -> None:
    if width * height > limits.max_pixels or max(width, height) > limits.max_side:
        raise NotAPicture(
            f"The picture has {width} by {height} pixels; at most {limits.max_pixels} in all, and {limits.max_side} on"
            " a side, are decoded.",
            code=TOO_LARGE,
        )


def _seen(image: Image.Image) -> tuple[str, bool]:
    """The BlurHash of a picture, and whether it is black."""
    plain = in_eight_bits(in_rgb(image))
    return blurhash(_small(plain)), _is_black(plain)


def _small(image: Image.Image) -> Image.Image:
    side = (min(64, image.width), min(64, image.height))
    return image.resize(side, Image.Resampling.BOX).convert("RGB")  # pyright: ignore[reportUnknownMemberType]


def _is_black(image: Image.Image) -> bool:
    bands = image.getextrema()
    ranges = cast("list[tuple[float, float]]", list(bands) if isinstance(bands[0], tuple) else [bands])
    if image.mode in ("LA", "RGBA") and ranges.pop()[1] == 0:
        return True
    return all(highest <= DARKEST for _, highest in ranges)


def _replace(file: io.FileIO, content: bytes) -> None:
    file.seek(0)
    file.truncate()
    write(file, content)
