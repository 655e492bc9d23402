"""Only pictures are stored: how files are checked, cut, converted and refused."""

import io
import random
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any, cast
from uuid import UUID

import pytest
from hostile_pictures import (
    HTML,
    in_file,
    nested_patterns,
    picture,
    plain,
    png_block,
    png_bomb,
    stored_png,
    svg,
    with_jpeg_segment,
    with_png_block,
    with_webp_block,
    zip_end,
)
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageChops, ImageCms, ImageOps, ImageStat

from batchgen.pictures.check import CheckedImage, CheckLimits, PictureDamaged, PictureRefused, checked
from batchgen.providers.base import ImageRequest
from batchgen.providers.offline import read_metadata
from batchgen.providers.offline.metadata import ImageFormat
from batchgen.providers.offline.provider import draw_file

LIMITS = CheckLimits()
FORMATS = ["png", "webp", "jpeg"]


@pytest.fixture
def check() -> Generator[Callable[[bytes], CheckedImage]]:
    files: list[io.FileIO] = []

    def run(content: bytes, limits: CheckLimits = LIMITS) -> CheckedImage:
        files.append(in_file(content))
        return checked(files[-1], limits)

    yield run
    for file in files:
        file.close()


@pytest.fixture
def refused(check: Callable[..., CheckedImage]) -> Callable[..., PictureRefused]:
    def run(content: bytes, limits: CheckLimits = LIMITS) -> PictureRefused:
        with pytest.raises(PictureRefused) as caught:
            check(content, limits)
        return caught.value

    return run


Check = Callable[..., CheckedImage]
Refused = Callable[..., PictureRefused]


@pytest.mark.parametrize("format", FORMATS)
def test_a_picture_is_recognized_by_its_content_and_unchanged(check: Check, format: str) -> None:
    content = picture(format, (120, 80))

    image = check(content)

    assert (image.format, image.width, image.height, image.file_size) == (format, 120, 80, len(content))
    assert image.file.read() == content
    assert image.blurhash
    assert len(image.blurhash) == 28
    assert not image.is_black


@pytest.mark.parametrize(
    ("format", "mode", "options"),
    [
        ("png", "L", {}),
        ("png", "LA", {}),
        ("png", "RGBA", {}),
        ("png", "P", {}),
        ("png", "1", {}),
        ("png", "I;16", {}),
        ("png", "RGB", {"icc_profile": bytes(500)}),
        ("jpeg", "L", {}),
        ("jpeg", "CMYK", {}),
        ("jpeg", "RGB", {"progressive": True, "comment": b"a fox"}),
        ("jpeg", "RGB", {"exif": Image.Exif()}),
        ("webp", "RGBA", {"lossless": True}),
        ("webp", "RGB", {"lossless": True}),
        ("webp", "RGB", {"xmp": b"<?xpacket begin=''?><x:xmpmeta xmlns:x='adobe:ns:meta/'/>", "icc_profile": bytes(9)}),
    ],
)
def test_every_pixel_format_and_common_metadata_pass(
    check: Check, format: str, mode: str, options: dict[str, Any]
) -> None:
    image = check(picture(format, mode=mode, **options))

    assert (image.format, image.width, image.height) == (format, 96, 64)
    assert not image.is_black


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "note",
    [
        b"a red fox, steps: 20 < 30 & bold",
        b"logo for an <html> course",
        b"<!DOCTYPE html> neon text",
        b"<script>alert(1)</script>",
        b"<?php system(1);",
        b"%PDF-1.4",
        zip_end(b"x" * 20),
        b"\x7fELF",
        HTML,
    ],
)
def test_metadata_is_removed_whatever_it_contains(check: Check, format: str, note: bytes) -> None:
    plain = picture(format)
    with_notes = {
        "png": [
            with_png_block(plain, b"tEXt", b"parameters\0" + note),
            with_png_block(plain, b"iTXt", b"prompt\0\0\0\0\0" + note),
            with_png_block(plain, b"zTXt", b"workflow\0\0" + note),
            with_png_block(plain, b"eXIf", note),
            with_png_block(plain, b"caBX", note),
            with_png_block(plain, b"prVt", note),
            with_png_block(plain, b"iCCP", b"icc\0\0" + note),
        ],
        "jpeg": [with_jpeg_segment(plain, marker, note) for marker in (0xFE, 0xE0, 0xE1, 0xE2, 0xE5, 0xED, 0xEE)],
        "webp": [with_webp_block(plain, kind, note) for kind in (b"EXIF", b"XMP ", b"NOTE", b"ICCP")],
    }[format]

    for content in with_notes:
        image = check(content)
        assert (image.format, image.width, image.height, image.file_size) == (format, 96, 64, len(plain))
        assert image.file.read() == plain
        assert list(image.changes) == ["cut"]


@pytest.mark.parametrize("image_format", ["png", "webp"])
def test_a_picture_that_the_worker_wrote_keeps_its_metadata(check: Check, image_format: ImageFormat) -> None:
    request = ImageRequest(UUID(int=1), "a <script> and a %PDF- fox", seed=42, width=64, height=48)
    content = draw_file(request, request.prompt, image_format)

    image = check(content, CheckLimits(keeps_metadata=True))

    assert (image.format, image.width, image.height, list(image.changes)) == (image_format, 64, 48, [])
    assert image.blurhash
    assert image.file.read() == content
    assert read_metadata(content)["prompt"] == request.prompt
    assert check(content).file_size < len(content)


def test_a_picture_that_the_worker_wrote_must_be_whole(check: Check) -> None:
    with pytest.raises(PictureDamaged):
        check(picture()[:-20], CheckLimits(keeps_metadata=True))


def test_metadata_in_several_places_is_removed(check: Check) -> None:
    see_through = plain("#ff000080", "webp", "RGBA")
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x010E] = "<script>"
    with Image.open(io.BytesIO(see_through)) as image:
        image.save(out, "webp", lossless=True, exif=exif, xmp=b"<html>")

    content = check(out.getvalue()).file.read()

    assert b"<script>" not in content
    assert b"<html>" not in content
    with Image.open(io.BytesIO(content)) as image:
        image.load()
        assert (image.mode, image.size) == ("RGBA", (48, 48))
        assert not image.getexif()


@pytest.mark.parametrize("format", FORMATS)
def test_a_valid_colour_profile_is_kept(check: Check, format: str) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()  # pyright: ignore
    content = picture(format, icc_profile=profile)

    stored = check(content).file.read()

    assert stored == content
    with Image.open(io.BytesIO(stored)) as image:
        assert image.info["icc_profile"] == profile


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(("orientation", "size"), [(1, (96, 64)), (3, (96, 64)), (6, (64, 96)), (8, (64, 96))])
def test_a_picture_is_turned_by_its_orientation(
    check: Check, format: str, orientation: int, size: tuple[int, int]
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = picture(format, exif=exif)

    image = check(content)

    with Image.open(image.file) as stored, Image.open(io.BytesIO(content)) as delivered:
        assert (image.width, image.height) == stored.size == size
        assert not stored.getexif()
        difference = ImageChops.difference(ImageOps.exif_transpose(delivered).convert("L"), stored.convert("L"))
        assert ImageStat.Stat(difference).mean[0] < 2


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("colour", ["#000000", "#050505"])
def test_black_pictures_are_flagged(check: Check, format: str, colour: str) -> None:
    assert check(plain(colour, format)).is_black


def test_a_fully_transparent_picture_counts_as_black(check: Check) -> None:
    assert check(plain("#ff000000", mode="RGBA")).is_black
    assert not check(plain("#ff000080", mode="RGBA")).is_black


@pytest.mark.parametrize("colour", ["#0a0a0a", "#100000", "#ffffff"])
def test_dark_and_plain_pictures_are_not_flagged_as_black(check: Check, colour: str) -> None:
    assert not check(plain(colour)).is_black


@pytest.mark.parametrize(
    "content",
    [
        HTML,
        b"\n  " + HTML,
        b'{"error": "no such file"}',
        b"%PDF-1.7\n",
        zip_end(),
        b"GIF89a/*" + picture(),
        b"\n" + picture(),
        HTML + picture("jpeg"),
        b"\x89PNG\r\n\x1a\x0b" + picture()[8:],
        b"RIFF\x04\0\0\0WAVE",
        bytes(1000),
    ],
)
def test_a_file_that_is_no_picture_is_refused(refused: Refused, content: bytes) -> None:
    error = refused(content)

    assert error.code == "not_a_picture"
    assert error.order.charged


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize(
    "more", [b"\0\0\0", b"\r\n", HTML, zip_end(), picture("png"), picture("jpeg"), b"\xff\xd9", b"x" * 3_000_000]
)
def test_bytes_after_the_picture_are_removed(check: Check, format: str, more: bytes) -> None:
    plain = picture(format)

    image = check(plain + more)

    assert image.file_size == len(plain)
    assert image.file.read() == plain


def test_the_first_picture_of_a_multi_picture_jpeg_is_kept(check: Check) -> None:
    out = io.BytesIO()
    frames = [Image.new("RGB", (32, 16), colour) for colour in ("red", "blue")]
    frames[0].save(out, "MPO", save_all=True, append_images=frames[1:])

    image = check(out.getvalue())

    assert (image.format, image.width, image.height) == ("jpeg", 32, 16)
    with Image.open(image.file) as stored:
        assert stored.format == "JPEG"
        assert stored.convert("RGB").getpixel((5, 5)) == (254, 0, 0)


def test_extra_bytes_in_a_jpeg_header_are_removed(check: Check) -> None:
    plain = picture("jpeg")
    head = plain[6:18] + b"\0\0*/=alert(1);/*" + bytes(0x2F2A - 40)
    rest = plain[20:]

    image = check(plain[:2] + b"\xff\xe0" + (len(head) + 2).to_bytes(2, "big") + head + rest)

    assert image.file.read() == plain


def test_fill_bytes_before_jpeg_segments_are_accepted(check: Check) -> None:
    plain = picture("jpeg")

    assert check(plain[:-2] + b"\xff\xff\xff" + plain[-2:]).format == "jpeg"


@pytest.mark.parametrize(
    ("format", "options", "stored"),
    [
        ("gif", {"mode": "P"}, "png"),
        ("bmp", {}, "png"),
        ("tiff", {}, "png"),
        ("tiff", {"mode": "I;16"}, "png"),
        ("tiff", {"mode": "CMYK"}, "png"),
        ("tiff", {"mode": "F"}, "png"),
        ("tiff", {"mode": "RGBA", "compression": "tiff_lzw"}, "png"),
        ("jpeg2000", {}, "png"),
        ("qoi", {}, "png"),
        ("ppm", {}, "png"),
        ("ico", {"mode": "RGBA"}, "png"),
        ("avif", {}, "webp"),
        ("avif", {"mode": "RGBA"}, "webp"),
    ],
)
def test_other_formats_are_converted(check: Check, format: str, options: dict[str, Any], stored: str) -> None:
    content = picture(format, **options)

    image = check(content)

    assert (image.format, list(image.changes)) == (stored, ["converted"])
    with Image.open(image.file) as found, Image.open(io.BytesIO(content)) as delivered:
        assert found.format == stored.upper()
        assert found.size == (image.width, image.height) == delivered.size
        assert found.mode in ("L", "P", "RGB", "RGBA", "I;16")
        if options.get("mode") not in ("I;16", "F", "CMYK"):
            difference = ImageChops.difference(delivered.convert("RGB"), found.convert("RGB"))
            assert max(ImageStat.Stat(difference).mean) < 3


@pytest.mark.parametrize(("format", "stored"), [("png", "png"), ("gif", "png"), ("webp", "webp"), ("avif", "webp")])
def test_the_first_frame_of_an_animation_is_kept(check: Check, format: str, stored: str) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    out = io.BytesIO()
    frames[0].save(out, format, save_all=True, append_images=frames[1:])

    image = check(out.getvalue())

    assert image.format == stored
    with Image.open(image.file) as found:
        assert getattr(found, "n_frames", 1) == 1
        red, green, blue = cast("tuple[int, int, int]", found.convert("RGB").getpixel((5, 5)))
        assert red > 240
        assert green < 15
        assert blue < 15


def test_cmyk_is_converted_to_rgb(check: Check) -> None:
    image = check(picture("jpeg", mode="CMYK"))

    assert (image.format, list(image.changes)) == ("jpeg", ["converted"])
    with Image.open(image.file) as stored:
        assert stored.mode == "RGB"


def test_markup_in_pixels_is_stored_unchanged(check: Check) -> None:
    """Storage serves it as image/png, which no browser runs or shows as a page."""
    row = b"<script src=//x.test></script>"
    content = stored_png(row)

    image = check(content)

    assert (image.format, list(image.changes)) == ("png", [])
    assert image.file.read() == content
    with Image.open(io.BytesIO(content)) as stored:
        assert stored.tobytes() == row


def test_a_large_picture_is_scaled_down(check: Check) -> None:
    limits = CheckLimits(max_stored_pixels=10_000, max_stored_side=120)
    for format in (*FORMATS, "gif", "bmp", "avif"):
        image = check(picture(format, (400, 100)), limits)

        assert (image.width, image.height) == (120, 30)
        assert "scaled" in image.changes
        with Image.open(image.file) as stored:
            assert stored.size == (120, 30)


@pytest.mark.parametrize(("mode", "noise"), [("RGB", 3), ("RGBA", 4), ("L", 1)])
def test_a_picture_with_too_many_bytes_is_made_smaller(check: Check, mode: str, noise: int) -> None:
    out = io.BytesIO()
    Image.frombytes(mode, (300, 200), random.Random(7).randbytes(300 * 200 * noise)).save(out, "png")
    limits = CheckLimits(max_stored_bytes=30_000)

    image = check(out.getvalue(), limits)

    assert image.format == "webp"
    assert image.file_size == len(image.file.read()) <= 30_000
    assert (image.width, image.height) < (300, 200)


@pytest.mark.parametrize("size", [(50_000, 50_000), (1_000_000, 60), (13_000, 13_000), (2**31 - 1, 2**31 - 1)])
def test_a_decompression_bomb_is_recognized_by_its_header(
    refused: Refused, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    bomb = (
        png_bomb(*size)
        if size[0] < 100_000
        else png_bomb(16, 16)[:16] + b"".join(side.to_bytes(4, "big") for side in size) + png_bomb(16, 16)[24:]
    )
    if size[0] >= 100_000:
        head = bomb[16:29]
        bomb = bomb[:8] + png_block(b"IHDR", head) + bomb[33:]

    def opened(*_: object, **__: object) -> None:
        raise AssertionError("nobody may decode this")

    monkeypatch.setattr(Image, "open", opened)

    assert refused(bomb).code == "picture_too_large"
    assert len(bomb) < 200_000


def test_more_bytes_than_allowed_are_refused(refused: Refused) -> None:
    assert refused(picture(), CheckLimits(max_bytes=100)).code == "picture_too_large"


def test_an_empty_file_counts_as_damaged(check: Check) -> None:
    with pytest.raises(PictureDamaged):
        check(b"")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_truncated_picture_counts_as_damaged(check: Check, format: str, share: float) -> None:
    content = picture(format, (200, 200))

    with pytest.raises(PictureDamaged) as caught:
        check(content[: int(len(content) * share)])
    assert not caught.value.is_provider_fault


@given(seed=st.integers(0, 2**32), format=st.sampled_from(FORMATS), flips=st.integers(1, 8))
def test_a_damaged_picture_is_refused_or_harmless(seed: int, format: str, flips: int) -> None:
    rng = random.Random(seed)
    content = bytearray(picture(format))
    for _ in range(flips):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)

    with in_file(bytes(content)) as file:
        try:
            image = checked(file, LIMITS)
        except (PictureRefused, PictureDamaged):
            return
        assert image.format == format
        with Image.open(image.file) as stored:
            stored.load()
            assert stored.size == (image.width, image.height)


@pytest.mark.parametrize(
    "content",
    [
        svg('<rect width="9" height="9"/>'),
        svg('<script>alert(1)</script><rect width="9" height="9" onclick="x()"/>'),
        svg("<g>")[:-6],
        svg(""),
        b"<svg/>",
        b"<SVG><rect/></SVG>",
        b"\xef\xbb\xbf\n " + svg(""),
        svg("").decode().encode("utf-16"),
        svg("").decode().encode("utf-16-be"),
        b"<?xml version='1.0' encoding='nonsense'?>" + svg(""),
        b"<!-- drawn by x -->" + svg(""),
        b'<svg:svg xmlns:svg="http://www.w3.org/2000/svg"/>',
        b'<!DOCTYPE svg PUBLIC "-//W3C//DTD SVG 1.1//EN" "http://www.w3.org/Graphics/SVG/1.1/DTD/svg11.dtd">' + svg(""),
        b'<!DOCTYPE svg [<!ENTITY a SYSTEM "file:///etc/passwd">]>' + svg("<text>&a;</text>"),
        svg(nested_patterns(12, 10)),
        svg("<g>" * 500_000 + "</g>" * 500_000),
        svg(f'<rect fill="url({" " * 5_000_000}"/>'),
    ],
    ids=range(17),
)
def test_an_svg_is_refused_unread(refused: Refused, content: bytes) -> None:
    error = refused(content)

    assert error.code == "svg_not_supported"
    assert error.order.charged
    assert "Use a model" in str(error)
    assert "PNG, WebP or JPEG" in str(error)


@pytest.mark.parametrize("content", [b"<html>", b"<!DOCTYPE html>", b"svg", b"<svgx>", b"<?xml version='1.0'?><rss/>"])
def test_other_markup_is_not_refused_as_svg(refused: Refused, content: bytes) -> None:
    assert refused(content).code == "not_a_picture"


@pytest.mark.parametrize("part", [b"\xff", b"\xff\x00", b"\xff\xd0", b"<", b"\x00"])
def test_the_check_of_a_jpeg_scan_takes_linear_time(check: Check, part: bytes) -> None:
    """The size is one that a backtracking expression would never finish."""
    content = picture("jpeg")[:-2] + part * 3_000_000

    with pytest.raises(PictureDamaged):
        check(content)


def test_image_files_are_opened_in_one_place() -> None:
    root = Path(__file__).parents[2]
    opening = [
        path.name
        for folder in ("batchgen", "scheduler", "devstack")
        for path in (root / folder).rglob("*.py")
        if "Image.open(" in path.read_text()
    ]

    assert opening == ["open_image.py"]


def test_only_files_that_we_wrote_keep_their_metadata() -> None:
    root = Path(__file__).parents[2]
    keeping = [
        path.relative_to(root).as_posix()
        for folder in ("batchgen/providers", "scheduler")
        for path in (root / folder).rglob("*.py")
        if "keeps_metadata" in path.read_text()
    ]

    assert sorted(keeping) == [
        "batchgen/providers/base.py",
        "batchgen/providers/offline/provider.py",
        "scheduler/thumbnails.py",  # reads stored pictures, and stores only thumbnails
    ]
