"""A file is the picture that it claims to be, or it is not stored."""

import io
import random
from collections.abc import Callable, Generator
from typing import Any

import pytest
from hostile import (
    HTML,
    in_file,
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
from PIL import Image

from batchgen.checking import CheckedImage, Checker, CheckLimits, PictureDamaged, PictureRefused, checked

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
def test_a_picture_is_known_by_its_content_and_left_as_it_is(check: Check, format: str) -> None:
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
def test_every_kind_of_pixel_and_the_usual_notes_beside_them_pass(
    check: Check, format: str, mode: str, options: dict[str, Any]
) -> None:
    image = check(picture(format, mode=mode, **options))

    assert (image.format, image.width, image.height) == (format, 96, 64)
    assert not image.is_black


def test_provenance_and_prompts_inside_a_png_pass(check: Check) -> None:
    content = with_png_block(picture(), b"caBX", b"\0\0\0\x1fjumbc2pa")
    content = with_png_block(content, b"tEXt", b"parameters\0a red fox, steps: 20 < 30 & bold")

    assert check(content).file_size == len(content)


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("colour", ["#000000", "#050505"])
def test_black_pictures_are_flagged(check: Check, format: str, colour: str) -> None:
    assert check(plain(colour, format)).is_black


def test_a_wholly_transparent_picture_counts_as_black(check: Check) -> None:
    assert check(plain("#ff000000", mode="RGBA")).is_black
    assert not check(plain("#ff000080", mode="RGBA")).is_black


@pytest.mark.parametrize("colour", ["#0a0a0a", "#100000", "#ffffff"])
def test_dark_pictures_and_plain_ones_are_not(check: Check, colour: str) -> None:
    assert not check(plain(colour)).is_black


@pytest.mark.parametrize(
    "content",
    [
        HTML,
        b"\n  " + HTML,
        b'{"error": "no such file"}',
        b"%PDF-1.7\n",
        zip_end(),
        picture("gif", mode="P"),
        picture("bmp"),
        picture("tiff"),
        b"GIF89a/*" + picture(),
        b"\n" + picture(),
        HTML + picture("jpeg"),
        b"\x89PNG\r\n\x1a\x0b" + picture()[8:],
        b"RIFF\x04\0\0\0WAVE",
        bytes(1000),
    ],
)
def test_what_is_no_picture_is_refused(refused: Refused, content: bytes) -> None:
    error = refused(content)

    assert error.code == "not_a_picture"
    assert error.is_charged


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("more", [b"\0", b"\n", HTML, zip_end(), picture("png"), b"\xff\xd9", b"x" * 3_000_000])
def test_what_follows_after_the_end_is_refused(refused: Refused, format: str, more: bytes) -> None:
    assert refused(picture(format) + more).code == "not_a_picture"


@pytest.mark.parametrize(
    "inside", [HTML, b"<sCript>", b"<?php system(1);", b"%PDF-1.4", zip_end(b"x" * 20), b"<iframe src=x>", b"\x7fELF"]
)
def test_files_of_another_kind_inside_a_picture_are_refused(refused: Refused, inside: bytes) -> None:
    polyglots = [
        with_png_block(picture("png"), b"tEXt", b"Comment\0" + inside),
        with_png_block(picture("png"), b"prVt", inside),
        with_jpeg_segment(picture("jpeg"), 0xFE, inside),
        with_jpeg_segment(picture("jpeg"), 0xE5, inside),
        with_webp_block(picture("webp"), b"NOTE", inside),
    ]

    assert {refused(content).code for content in polyglots} == {"not_a_picture"}


def test_a_script_inside_the_compressed_pixels_is_refused(refused: Refused) -> None:
    assert refused(stored_png(b"<script src=//x.test></script>")).code == "not_a_picture"


def test_a_jpeg_that_is_a_script_too_is_refused(refused: Refused) -> None:
    head = b"JFIF\0" + bytes(9) + b"*/=alert(1);/*" + bytes(0x2F2A - 30)

    assert refused(with_jpeg_segment(picture("jpeg"), 0xE0, head)).code == "not_a_picture"


def test_pictures_that_move_are_refused(refused: Refused) -> None:
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    for format in ("png", "webp"):
        out = io.BytesIO()
        frames[0].save(out, format, save_all=True, append_images=frames[1:])
        assert refused(out.getvalue()).code == "not_a_picture"


@pytest.mark.parametrize("size", [(50_000, 50_000), (1_000_000, 60), (6_400, 6_400), (2**31 - 1, 2**31 - 1)])
def test_a_bomb_is_known_by_its_head(refused: Refused, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_an_empty_file_did_not_arrive(check: Check) -> None:
    with pytest.raises(PictureDamaged):
        check(b"")


@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_picture_that_was_cut_short_may_arrive_next_time(check: Check, format: str, share: float) -> None:
    content = picture(format, (200, 200))

    with pytest.raises(PictureDamaged) as caught:
        check(content[: int(len(content) * share)])
    assert not caught.value.is_provider_fault


@given(seed=st.integers(0, 2**32), format=st.sampled_from(FORMATS), flips=st.integers(1, 8))
def test_damage_is_never_anything_but_refused_or_harmless(seed: int, format: str, flips: int) -> None:
    rng = random.Random(seed)
    content = bytearray(picture(format))
    for _ in range(flips):
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)

    with in_file(bytes(content)) as file:
        try:
            image = checked(file, LIMITS)
        except (PictureRefused, PictureDamaged):
            return
        assert (image.format, image.file_size) == (format, len(content))


def test_a_drawing_is_written_anew(check: Check) -> None:
    image = check(svg('<script>alert(1)</script><rect width="9" height="9" onclick="x()"/>'))

    content = image.file.read()
    assert (image.format, image.width, image.height, image.file_size) == ("svg", 64, 48, len(content))
    assert b"script" not in content
    assert b"onclick" not in content
    assert image.blurhash is None
    assert not image.is_black


async def test_a_checker_works_beside_the_loop() -> None:
    checker = Checker()
    with in_file(picture()) as file:
        image = await checker.check(file)
        assert image.format == "png"
        assert file.tell() == 0
    checker.close()
