"""Turn, scale and encode pictures, in colours and formats that browsers show."""

import io
from typing import Any, cast

from PIL import Image, ImageCms, ImageOps

from batchgen.imaging.containers import MOST_PROFILE_BYTES

EXIF_ORIENTATION = 0x0112
TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
WRITTEN_AS = {"jpeg": "jpeg", "mpo": "jpeg", "webp": "webp", "avif": "webp"}
"""The stored format by the delivered one; all others become PNG, which is lossless."""
QUALITY = 95
SMALLER_QUALITY = 90
MOST_TRIES = 4
PNG_MODES = frozenset({"1", "L", "LA", "P", "RGB", "RGBA", "I;16"})


def orientation_of(exif: bytes) -> int:
    """The EXIF orientation, from 1 (upright) to 8."""
    found = Image.Exif()
    try:
        found.load(exif)
        value = found.get(EXIF_ORIENTATION)
    except Exception:  # noqa: BLE001 - whatever Pillow raises on untrusted bytes: the orientation is optional
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def is_profile(profile: bytes, mode: str) -> bool:
    """Whether the bytes are exactly one colour profile for pictures of this mode."""
    spaces = {"L": b"GRAY", "LA": b"GRAY", "1": b"GRAY", "I;16": b"GRAY", "CMYK": b"CMYK"}
    if not 128 <= len(profile) < MOST_PROFILE_BYTES or profile[16:20] != spaces.get(mode, b"RGB "):
        return False
    if profile[36:40] != b"acsp" or int.from_bytes(profile[:4], "big") != len(profile):
        return False
    try:
        ImageCms.ImageCmsProfile(io.BytesIO(profile))
    except (OSError, ValueError, TypeError):
        return False
    return True


def upright(image: Image.Image, orientation: int | None) -> Image.Image:
    """The picture turned upright; None: by its own EXIF orientation."""
    if orientation is None:
        return ImageOps.exif_transpose(image)
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def in_eight_bits(image: Image.Image) -> Image.Image:
    """The picture in greys or RGB, with or without transparency; unchanged if it is so already."""
    if image.mode in ("L", "LA", "RGB", "RGBA"):
        return image.convert("RGBA") if "transparency" in image.info else image
    if image.mode == "F" or image.mode.startswith("I"):
        return _reduce_greys(image)
    if image.mode in ("P", "PA"):
        has_alpha = image.mode == "PA" or "transparency" in image.info
        return image.convert("RGBA" if has_alpha else "RGB")
    if image.mode == "1":
        return image.convert("L")
    return image.convert("RGBA" if image.mode in ("RGBa", "La") else "RGB")


def _reduce_greys(image: Image.Image) -> Image.Image:
    """Reduce greys of more than eight bits: 16 bits are divided, fractions from 0 to 1 multiplied."""
    plain = image.convert("F" if image.mode == "F" else "I")
    factor = 1 / 256
    if not image.mode.startswith("I;16"):
        highest = cast("tuple[float, float]", plain.getextrema())[1]
        factor = 255.0 if image.mode == "F" and highest <= 1 else 1.0 if highest <= 255 else 1 / 256

    def scale(value: Any) -> Any:
        return value * factor + 0

    return plain.point(scale).convert("L")  # pyright: ignore[reportUnknownMemberType]


def in_rgb(image: Image.Image) -> Image.Image:
    """A CMYK picture in RGB, by its own profile if it has one; others unchanged."""
    if image.mode != "CMYK":
        return image
    profile = image.info.get("icc_profile")
    if isinstance(profile, bytes) and is_profile(profile, "CMYK"):
        try:
            screen = cast("ImageCms.ImageCmsProfile", ImageCms.createProfile("sRGB"))  # pyright: ignore[reportUnknownMemberType]
            found = ImageCms.profileToProfile(image, io.BytesIO(profile), screen, outputMode="RGB")
        except (ImageCms.PyCMSError, ValueError):
            found = None
        if found is not None:
            return found
    return image.convert("RGB")


def fitting_size(width: int, height: int, max_pixels: int, max_side: int) -> tuple[int, int]:
    """The largest size of the same shape within both limits."""
    share = min(1.0, max_side / max(width, height), (max_pixels / (width * height)) ** 0.5)
    return max(1, int(width * share)), max(1, int(height * share))


def scaled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.size == size:
        return image
    plain = in_eight_bits(image)
    return plain.resize(size, Image.Resampling.BICUBIC, reducing_gap=2.0)  # pyright: ignore[reportUnknownMemberType]


def encoded(image: Image.Image, format: str, profile: bytes, max_bytes: int) -> tuple[bytes, str, tuple[int, int]]:
    """Encode the picture; return the file, its format and its size in pixels.

    A PNG that is too large becomes WebP; then the picture is scaled down, up to `MOST_TRIES` times in all. After that
    the file may still be larger than `max_bytes`.
    """
    content = _written(image, format, profile, QUALITY)
    for _ in range(MOST_TRIES):
        if len(content) <= max_bytes:
            break
        if format == "png":
            format = "webp"
        else:
            image = scaled(image, (max(1, image.width * 2 // 3), max(1, image.height * 2 // 3)))
        content = _written(image, format, profile, SMALLER_QUALITY)
    return content, format, image.size


def _written(image: Image.Image, format: str, profile: bytes, quality: int) -> bytes:
    plain = image if format == "png" and image.mode in PNG_MODES else in_eight_bits(image)
    if format == "jpeg" and plain.mode not in ("L", "RGB"):
        plain = plain.convert("RGB")
    if format == "webp" and plain.mode not in ("RGB", "RGBA"):
        plain = plain.convert("RGBA" if plain.mode == "LA" else "RGB")
    # Pillow writes metadata that it finds in here into the file.
    plain.info = {key: value for key, value in plain.info.items() if key == "transparency" and format == "png"}
    options: dict[str, Any] = {"icc_profile": profile if is_profile(profile, plain.mode) else None}
    if format == "jpeg":
        options |= {"quality": quality, "subsampling": 0}
    elif format == "webp":
        options |= {"quality": quality, "method": 2 if plain.width * plain.height > 4_000_000 else 4}
    out = io.BytesIO()
    plain.save(out, format, **options)
    return out.getvalue()
