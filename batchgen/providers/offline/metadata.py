"""Metadata of offline pictures: text chunks in PNG, Exif in WebP, with the same keys."""

import io
import json
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal, cast

from PIL import Image, PngImagePlugin

from batchgen.imaging.open_image import opened
from batchgen.providers.base import ImageRequest

ImageFormat = Literal["png", "webp"]
KEYS = ("prompt", "negative_prompt", "seed", "model", "steps", "guidance_scale", "generator")
_SOFTWARE = 0x0131
_DESCRIPTION = 0x010E
_EXIF_PART = 0x8769
_USER_COMMENT = 0x9286
_ASCII = b"ASCII\0\0\0"


def generator() -> str:
    """The name of the offline provider, with its version and 'no model'."""
    try:
        number = version("batchgen")
    except PackageNotFoundError:
        number = "unknown"
    return f"batchgen offline provider {number} (no model)"


def describe(request: ImageRequest) -> dict[str, str]:
    """The picture's metadata; NUL and lone surrogates, which text formats do not take, become U+FFFD."""
    values = {
        "prompt": request.prompt,
        "negative_prompt": request.negative_prompt,
        "seed": request.seed,
        "model": request.model or "none",
        "steps": request.steps,
        "guidance_scale": request.guidance_scale,
        "generator": generator(),
    }
    return {key: _storable(str(value)) for key, value in values.items() if value not in (None, "") or key == "prompt"}


def _storable(text: str) -> str:
    whole = "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in text)
    return whole.replace("\0", "\ufffd")


def encode(image: Image.Image, image_format: ImageFormat, metadata: Mapping[str, str]) -> bytes:
    """Encode the picture with its metadata."""
    out = io.BytesIO()
    if image_format == "png":
        image.save(out, "PNG", compress_level=2, pnginfo=_png_text(metadata))
    else:
        image.save(out, "WEBP", quality=88, method=2, exif=_exif(metadata))
    return out.getvalue()


def _png_text(metadata: Mapping[str, str]) -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    for key, value in metadata.items():
        info.add_text(key, value)
    return info


def _exif(metadata: Mapping[str, str]) -> bytes:
    exif = Image.Exif()
    exif[_SOFTWARE] = metadata["generator"]
    exif[_DESCRIPTION] = metadata["prompt"].encode("ascii", "replace").decode("ascii")[:1000]
    exif.get_ifd(_EXIF_PART)[_USER_COMMENT] = _ASCII + json.dumps(dict(metadata)).encode("ascii")
    return exif.tobytes()


def read_metadata(content: bytes) -> dict[str, str]:
    """Read the metadata of an offline picture; empty for any other picture."""
    with opened(io.BytesIO(content)) as image:
        image.load()
        if image.format == "PNG":
            found: Mapping[str, Any] = cast("PngImagePlugin.PngImageFile", image).text
        else:
            found = _read_exif(image)
    return {key: str(found[key]) for key in KEYS if key in found} if "generator" in found else {}


def _read_exif(image: Image.Image) -> Mapping[str, Any]:
    comment: Any = image.getexif().get_ifd(_EXIF_PART).get(_USER_COMMENT, b"")
    if not isinstance(comment, bytes) or not comment.startswith(_ASCII):
        return {}
    try:
        found: Any = json.loads(comment[len(_ASCII) :])
    except ValueError:
        return {}
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}
