"""Thumbnails: small WebP files, drawn beside the check of a picture."""

import io
import os
from collections.abc import Callable, Generator
from typing import Any, cast

import pytest
from hostile_pictures import in_file, picture
from PIL import Image, ImageCms, ImageDraw

from batchgen.pictures.check import CheckedImage, CheckLimits, checked
from batchgen.pictures.thumbnail import MOST_BYTES, size_of

Check = Callable[[bytes], CheckedImage]


@pytest.fixture
def small() -> Generator[Callable[[bytes], Image.Image]]:
    """The thumbnail of a delivered file."""
    files: list[io.FileIO] = []

    def draw(content: bytes) -> Image.Image:
        files.append(in_file(content))
        image = checked(files[-1], CheckLimits())
        assert image.thumbnail is not None, image.no_thumbnail
        assert len(image.thumbnail) <= MOST_BYTES
        found = Image.open(io.BytesIO(image.thumbnail))
        assert found.format == "WEBP"
        assert found.info.keys() <= {"loop", "background", "timestamp", "duration"}
        return found

    yield draw
    for file in files:
        file.close()


Small = Callable[[bytes], Image.Image]


def encoded(image: Image.Image, format: str = "png", **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


def pixel(image: Image.Image, place: tuple[int, int]) -> tuple[int, ...]:
    return cast("tuple[int, ...]", image.getpixel(place))


def is_near(image: Image.Image, place: tuple[int, int], colour: tuple[int, ...], most: int = 24) -> bool:
    return all(abs(one - other) <= most for one, other in zip(pixel(image, place), colour, strict=False))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((1024, 768), (512, 384)),
        ((768, 1024), (384, 512)),
        ((1023, 1000), (512, 500)),
        ((513, 513), (512, 512)),
        ((512, 512), (512, 512)),
        ((40, 30), (40, 30)),
        ((5000, 3), (512, 1)),
    ],
)
def test_the_longer_side_has_512_pixels_and_nothing_is_enlarged(
    small: Small, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    assert size_of(*size) == expected
    assert small(encoded(Image.new("RGB", size, "teal"))).size == expected


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize("size", [(512, 512), (1600, 900)])
def test_even_noise_stays_small(small: Small, mode: str, size: tuple[int, int]) -> None:
    bands = len(Image.new(mode, (1, 1)).getbands())
    noise = Image.frombytes(mode, size, os.urandom(size[0] * size[1] * bands))

    assert max(small(encoded(noise)).size) == 512


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_that_lies_on_its_side_is_shown_upright(small: Small, orientation: int) -> None:
    upright = Image.new("RGB", (1200, 600), "white")
    ImageDraw.Draw(upright).rectangle((0, 0, 300, 300), fill="red")
    turned = {
        1: None,
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = upright if turned is None else upright.transpose(turned)

    shown = small(encoded(stored, "jpeg", exif=exif.tobytes()))

    assert shown.size == (512, 256)
    assert is_near(shown, (30, 30), (255, 0, 0), 40)
    assert is_near(shown, (400, 200), (255, 255, 255))


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparency_stays(small: Small, mode: str) -> None:
    image = Image.new("RGBA", (1024, 1024), (0, 0, 0, 0))
    ImageDraw.Draw(image).rectangle((512, 0, 1023, 1023), fill=(200, 200, 200, 255))
    delivered = image.quantize(16) if mode == "P" else image.convert(mode)

    shown = small(encoded(delivered))

    assert shown.mode == "RGBA"
    assert pixel(shown, (100, 100))[3] == 0
    assert is_near(shown, (400, 100), (200, 200, 200, 255))


def test_an_animation_shows_its_first_picture(small: Small) -> None:
    first, second = Image.new("RGB", (600, 600), "red"), Image.new("RGB", (600, 600), "blue")
    for format in ("gif", "webp", "png"):
        shown = small(encoded(first, format, save_all=True, append_images=[second], duration=100))
        assert is_near(shown, (256, 256), (255, 0, 0)), format


def test_sixteen_bits_cmyk_and_palettes_keep_their_colours(small: Small) -> None:
    deep = Image.frombytes("I;16", (600, 600), bytes([0, 128]) * 360_000)
    assert is_near(small(encoded(deep)), (256, 256), (128, 128, 128))
    print_ready = Image.new("CMYK", (600, 600), (0, 255, 255, 0))
    assert is_near(small(encoded(print_ready, "jpeg")), (256, 256), (255, 0, 0))
    palette = Image.new("RGB", (600, 600), (10, 200, 30)).quantize(8)
    assert is_near(small(encoded(palette)), (256, 256), (10, 200, 30))
    assert is_near(small(encoded(Image.new("1", (600, 600), 1))), (256, 256), (255, 255, 255))


def test_colours_are_converted_by_the_pictures_profile(small: Small) -> None:
    """A profile whose red and blue are exchanged shows whether it was used."""
    screen = cast("Any", ImageCms.createProfile("sRGB"))  # pyright: ignore[reportUnknownMemberType]
    plain = ImageCms.ImageCmsProfile(screen).tobytes()
    red, blue = plain.index(b"rXYZ"), plain.index(b"bXYZ")
    exchanged = bytearray(plain)
    exchanged[red + 4 : red + 12], exchanged[blue + 4 : blue + 12] = (
        plain[blue + 4 : blue + 12],
        plain[red + 4 : red + 12],
    )

    shown = small(encoded(Image.new("RGB", (600, 600), (255, 0, 0)), icc_profile=bytes(exchanged)))

    assert is_near(shown, (256, 256), (0, 0, 255), 40)


def test_a_broken_profile_is_ignored(small: Small) -> None:
    shown = small(encoded(Image.new("RGB", (600, 600), (255, 0, 0)), icc_profile=b"no profile" * 20))

    assert is_near(shown, (256, 256), (255, 0, 0))


@pytest.mark.parametrize("format", ["png", "webp", "jpeg", "gif", "bmp", "tiff", "avif", "jpeg2000", "ppm"])
def test_every_delivered_format_gets_one(small: Small, format: str) -> None:
    assert small(picture(format, (700, 500))).size == (512, 366)
