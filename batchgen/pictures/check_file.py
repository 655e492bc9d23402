"""Check that a delivered file is a picture, and leave only the picture in it.

This opens untrusted bytes, so it runs in a separate process (`batchgen.pictures.check_child`). A file that holds only a
picture stays as it is. Metadata and bytes after the picture's end are cut. A picture that browsers do not show, that
lies on its side, or that is larger than Storage accepts is encoded again. An SVG is refused unread.
"""

import io
import re
import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from mmap import ACCESS_READ, mmap
from typing import IO, Any, Self, cast

from PIL import Image

from batchgen.imaging.containers import (
    FileDamaged,
    FileRefused,
    Layout,
    Span,
    UnknownLayout,
    format_of,
    is_whole,
    joined,
    layout_of,
    webp_file,
)
from batchgen.imaging.limits import LARGEST_DELIVERY_BYTES, LARGEST_PICTURE_BYTES, MEBIBYTE
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
"""The first bytes of formats that are converted, and Pillow's names for them."""
BYTE_ORDER_MARKS = b"\xef\xbb\xbf\xfe\xff"
SVG_STARTS = (b"<svg", b"<?xml", b"<!--", b"<!doctype svg")
SVG_ELEMENT = re.compile(rb"<(?:svg:)?svg[\s/>]")
AVIF_BRANDS = frozenset({b"avif", b"avis", b"mif1", b"msf1"})


@dataclass(frozen=True, slots=True)
class CheckLimits:
    max_bytes: int = LARGEST_DELIVERY_BYTES
    """Of the delivered file."""
    max_pixels: int = MOST_PIXELS
    """Larger pictures are not decoded. A decoded pixel takes up to 4 bytes, and up to 12 during a conversion."""
    max_side: int = 65_535
    """Pixels; the longest that a JPEG can have."""
    max_stored_bytes: int = LARGEST_PICTURE_BYTES
    """The limit of the bucket."""
    max_stored_pixels: int = 40_000_000
    """Larger pictures are scaled down."""
    max_stored_side: int = 16_383
    """Pixels; the longest that a WebP can have."""
    keeps_metadata: bool = False
    """For a file that the worker itself wrote: nothing is cut."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        return cls(**values)


@dataclass(frozen=True, slots=True)
class CheckResult:
    """A picture that may be stored, as it is in its file now."""

    format: str
    """`png`, `webp` or `jpeg`; also the file's extension in Storage."""
    width: int
    height: int
    file_size: int
    """Bytes."""
    blurhash: str
    is_black: bool
    """All black or fully transparent: some safety filters deliver this instead of a picture."""
    changes: tuple[str, ...] = ()
    """Changes to the file: `cut`, `turned`, `scaled`, `converted`, `rewritten`."""
    pixels: Image.Image | None = field(default=None, repr=False, compare=False)
    """The decoded picture, upright, for its thumbnail."""
    profile: bytes = field(default=b"", repr=False, compare=False)
    """The colour profile of `pixels`."""


def check_file(file: io.FileIO, limits: CheckLimits) -> CheckResult:
    """Check the picture in `file`, and replace the content by what is kept of it.

    Raises `FileRefused`, `FileDamaged`, `TooManyPixels`, `MemoryError`, or `StorageError` if there is no room.
    """
    size = file.seek(0, io.SEEK_END)
    if size == 0:
        raise FileDamaged("The picture is an empty file.")
    if size > limits.max_bytes:
        most = limits.max_bytes / MEBIBYTE
        raise FileRefused(f"The picture has {size} bytes; at most {most:g} MiB are read.", code=TOO_LARGE)
    file.seek(0)
    head = file.read(1024)
    if _is_svg(head):
        raise FileRefused(
            "The file is an SVG, which is not stored. Use a model, or an output format of the model, that makes"
            " PNG, WebP or JPEG.",
            code="svg_not_supported",
        )
    return _check_pixels(file, head, limits, size)


def _is_svg(head: bytes) -> bool:
    """Whether a file with these first bytes is an SVG. In UTF-16 each letter has a zero byte beside it."""
    text = head.translate(None, b"\0").lstrip(BYTE_ORDER_MARKS + b" \t\r\n").lower()
    return text.startswith(SVG_STARTS) and SVG_ELEMENT.search(text) is not None


def _check_pixels(file: io.FileIO, head: bytes, limits: CheckLimits, size: int) -> CheckResult:
    with mmap(file.fileno(), 0, access=ACCESS_READ) as data:
        try:
            layout = layout_of(data) if format_of(head) else None
        except UnknownLayout:
            layout = None
        if layout is not None:
            return _keep_or_encode(file, data, layout, limits, size)
        kind = _kind_of(head)
        if kind == "GIF":
            _refuse_false_gif(data)
    file.seek(0)
    name = WRITTEN_AS.get(kind.lower(), "png")
    change = "rewritten" if kind in ("PNG", "JPEG", "WEBP") else "converted"
    return _encode_again(file, file, kind, name, limits, change=change, opens_first=True)


def _kind_of(head: bytes) -> str:
    if own := format_of(head):
        return own.upper()
    if head[4:8] == b"ftyp":
        length = min(int.from_bytes(head[:4], "big"), len(head))
        if AVIF_BRANDS.intersection(head[place : place + 4] for place in (8, *range(16, length, 4))):
            return "AVIF"
    kind = next((kind for start, kind in HEADS.items() if head.startswith(start)), None)
    if kind is None:
        raise FileRefused("The file is not a picture of a format that can be stored or converted.")
    return kind


def _refuse_false_gif(data: mmap) -> None:
    """Refuse a file whose first bytes are a GIF's and whose next block is not."""
    colours = 3 * 2 ** ((data[10] & 7) + 1) if len(data) > 13 and data[10] & 0x80 else 0
    if data[13 + colours : 14 + colours] not in (b"\x21", b"\x2c"):
        raise FileRefused("The file begins like a GIF and is not one.")


def _keep_or_encode(file: io.FileIO, data: mmap, layout: Layout, limits: CheckLimits, size: int) -> CheckResult:
    """Cut a file whose layout is known, and encode it again only where necessary."""
    _refuse_too_many_pixels(layout.width, layout.height, limits)
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
        return _encode_again(
            *(file, source, layout.format.upper(), layout.format, limits),
            change="converted" if mode == "CMYK" else change,
            orientation=orientation,
        )
    file.seek(0)
    with _decoded(source, layout.format.upper(), limits) as image:
        if image.size != (layout.width, layout.height):
            raise FileRefused("The file's header and its picture differ in size.", code="two_sizes")
        hash_, is_black = _hash_and_black(image)
        profile = _profile_of(image)
    if kept is not None:
        _replace(file, kept)
    changes = () if kept is None else ("cut",)
    shown = (image, profile)
    return CheckResult(layout.format, layout.width, layout.height, kept_size, hash_, is_black, changes, *shown)


def _picture_alone(data: mmap, layout: Layout, mode: str) -> list[Span | bytes]:
    """The parts of the file that are the picture, with its colour profile if it has one."""
    has_profile = is_profile(layout.profile, mode)
    parts = layout.with_profile() if has_profile else layout.parts
    return webp_file(data, parts, keeps_profile=has_profile) if layout.format == "webp" else parts


def _mode_of(data: mmap, layout: Layout) -> str:
    """Pillow's mode by the file's header: for JPEG and PNG, by the number of channels."""
    if layout.format == "png":
        return "L" if data[25] in (0, 4) else "RGB"
    if layout.format == "webp":
        return "RGB"
    return {1: "L", 4: "CMYK"}.get(layout.channels, "RGB")


def _encode_again(
    file: io.FileIO,
    source: IO[bytes],
    kind: str,
    format: str,
    limits: CheckLimits,
    *,
    change: str,
    orientation: int | None = None,
    opens_first: bool = False,
) -> CheckResult:
    with _decoded(source, kind, limits, opens_first=opens_first) as image:
        profile = _profile_of(image)
        turned = upright(in_rgb(image), orientation)
        size = fitting_size(*turned.size, limits.max_stored_pixels, limits.max_stored_side)
        plain = scaled(turned, size)
        hash_, is_black = _hash_and_black(plain)
        content, format, stored = encoded(plain, format, profile, limits.max_stored_bytes)
    if len(content) > limits.max_stored_bytes:
        raise FileRefused(f"The picture still has {len(content)} bytes after it was made smaller.", code=TOO_LARGE)
    _replace(file, content)
    changes = (change, *(("scaled",) if stored != turned.size and change != "scaled" else ()))
    return CheckResult(format, *stored, len(content), hash_, is_black, changes, plain, profile)


def _decoded(source: IO[bytes], kind: str, limits: CheckLimits, *, opens_first: bool = False) -> Image.Image:
    """Decode the first picture in the file."""
    source.seek(0)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about the file's metadata
            image = _opened(source, kind, limits, is_sure=not opens_first)
            _refuse_too_many_pixels(*image.size, limits)
            if image.width * image.height > limits.max_stored_pixels and kind == "JPEG":
                image.draft(None, fitting_size(*image.size, limits.max_stored_pixels, limits.max_stored_side))
            image.load()
    except (FileRefused, TooManyPixels, MemoryError, FileDamaged):
        raise
    except Exception as error:  # Pillow's decoders raise all kinds of errors on a damaged file
        raise FileDamaged(f"The picture cannot be decoded ({type(error).__name__}).") from error
    return image


def _opened(source: IO[bytes], kind: str, limits: CheckLimits, *, is_sure: bool) -> Image.Image:
    try:
        return opened(source, (kind,), max_pixels=limits.max_pixels)
    except TooManyPixels as error:
        raise FileRefused(f"{error} Pictures as large as that are not decoded.", code=TOO_LARGE) from error
    except MemoryError:
        raise
    except Exception as error:
        if is_sure:
            raise
        raise FileRefused(f"The file begins like a {kind} and is not one.") from error


def _refuse_too_many_pixels(width: int, height: int, limits: CheckLimits) -> None:
    if width * height > limits.max_pixels or max(width, height) > limits.max_side:
        raise FileRefused(
            f"The picture has {width} by {height} pixels; at most {limits.max_pixels} in all, and {limits.max_side} on"
            " a side, are decoded.",
            code=TOO_LARGE,
        )


def _profile_of(image: Image.Image) -> bytes:
    """The colour profile of a decoded picture; none of a CMYK picture, which is converted by it."""
    profile = image.info.get("icc_profile")
    return profile if isinstance(profile, bytes) and image.mode != "CMYK" else b""


def _hash_and_black(image: Image.Image) -> tuple[str, bool]:
    """The picture's BlurHash, and whether it is all black."""
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
