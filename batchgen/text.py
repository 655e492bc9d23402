"""Make foreign text safe for terminals and file names."""

import json
import re
import unicodedata
from typing import Any

JOINERS = frozenset("\u200c\u200d")
"""Invisible and harmless; many emoji and scripts need them."""
UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
SLUG_CHARACTERS = 60
SLUG_BYTES = 150


def printable(text: str, limit: int | None = None) -> str:
    """One line without control characters: white space is merged, characters that a terminal may obey are escaped.

    `limit` is the maximum length in characters; a longer text is cut and ends with an ellipsis.
    """
    line = "".join(_visible(character) for character in re.sub(r"[\t\n\r\f\v ]+", " ", text).strip())
    return line if limit is None or len(line) <= limit else line[: limit - 1] + "…"


def slug(text: str) -> str:
    """A part of a file name: lower-case letters and digits of any script, and hyphens; never empty."""
    plain = unicodedata.normalize("NFC", text).lower()
    words = re.sub(r"[\W_]+", "-", plain).strip("-")[:SLUG_CHARACTERS]
    short = words.encode("utf-8", "ignore")[:SLUG_BYTES].decode("utf-8", "ignore")
    return short.strip("-") or "picture"


def json_text(data: Any, *, encoding: str | None = "utf-8") -> str:
    """JSON on one line, readable in any script. Escapes what a terminal may obey or `encoding` cannot represent."""
    is_unicode = (encoding or "").lower().replace("-", "").startswith("utf")
    text = json.dumps(data, ensure_ascii=not is_unicode)
    return text if text.isascii() and text.isprintable() else "".join(map(_json_character, text))


def _json_character(character: str) -> str:
    return character if _is_safe(character) else json.dumps(character)[1:-1] if character != "\x7f" else "\\u007f"


def _is_safe(character: str) -> bool:
    return character in JOINERS or unicodedata.category(character) not in UNSAFE_CATEGORIES


def _visible(character: str) -> str:
    if _is_safe(character):
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
