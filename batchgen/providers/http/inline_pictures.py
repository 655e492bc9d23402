"""Pictures inside an answer, as base64 or `data:` URLs, in the forms that providers really send."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from typing import Any, cast
from urllib.parse import unquote_to_bytes

from batchgen.errors import ProviderRejected
from batchgen.imaging.limits import LARGEST_PICTURE_BYTES
from batchgen.order_state import CHARGED

LARGEST_ANSWER_BYTES = 96 * 2**20
"""The largest picture in base64, with some room."""
LONGEST_HEAD = 200
SHORTEST_BASE64 = 100
"""A shorter text in a picture's place is not a picture."""
DEEPEST = 5
PICTURE_FIELDS = (
    *("images", "image", "output", "outputs", "result", "results", "data", "files", "file"),
    *("url", "uri", "image_url", "b64_json", "base64", "file_data", "content"),
)
"""The fields that may hold a picture. Other texts of a result may be the user's own words."""
PACKED_FIELDS = frozenset({"b64_json", "base64", "file_data", "content", "image", "images"})
"""The fields in which a bare text may be base64."""

_BLANKS = b" \t\r\n\f\v"
_URL_SAFE = bytes.maketrans(b"-_", b"+/")
_BASE64 = re.compile(r"[A-Za-z0-9+/_=\s-]{100}")


def is_data_url(text: str) -> bool:
    return text[:5].lower() == "data:" and "," in text[:LONGEST_HEAD]


def is_address(text: str) -> bool:
    return text[:8].lower().startswith(("https://", "http://"))


def is_packed(text: str) -> bool:
    """Whether a text may be a picture in base64, by its beginning."""
    return len(text) >= SHORTEST_BASE64 and _BASE64.match(text) is not None


def places(value: Any, *, name: str = "", depth: int = DEEPEST) -> Iterator[str]:
    """The pictures in a result, as addresses, `data:` URLs or base64, the likeliest first."""
    if isinstance(value, str):
        text = value.strip() if len(value) < LONGEST_HEAD else value
        if is_address(text) or is_data_url(text) or (name in PACKED_FIELDS and is_packed(text)):
            yield text
    elif isinstance(value, list) and depth:
        for part in cast("list[Any]", value)[:LONGEST_HEAD]:
            yield from places(part, name=name, depth=depth - 1)
    elif isinstance(value, Mapping) and depth:
        fields = cast("Mapping[str, Any]", value)
        for field in PICTURE_FIELDS:
            if field in fields:
                yield from places(fields[field], name=field, depth=depth - 1)


def unpacked(text: str, *, service: str) -> bytes | None:
    """The bytes in base64 or a `data:` URL; None if there are none. The text may be long: call this in a thread.

    Accepts blanks, the URL alphabet, missing padding and any content type, since the file itself is checked later.
    Raises `ProviderRejected` if the picture is too large.
    """
    head, comma, rest = text.partition(",") if is_data_url(text) else ("", "", text)
    if len(rest) * 3 // 4 > LARGEST_PICTURE_BYTES * 2:
        raise _too_large(service)
    if comma and not head.lower().rstrip().endswith("base64"):
        content: bytes | None = unquote_to_bytes(rest)
    else:
        content = _from_base64(unquote_to_bytes(rest) if "%" in rest else rest.encode("ascii", "replace"))
    if content is not None and len(content) > LARGEST_PICTURE_BYTES:
        raise _too_large(service)
    return content or None


def _from_base64(packed: bytes) -> bytes | None:
    plain = packed.translate(_URL_SAFE, _BLANKS).rstrip(b"=")
    try:
        return base64.b64decode(plain + b"=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def _too_large(service: str) -> ProviderRejected:
    most = LARGEST_PICTURE_BYTES // 2**20
    return ProviderRejected(
        f"The picture from {service} is larger than {most} MiB.", code="picture_too_large", order=CHARGED
    )
