"""Foreign text made safe for a terminal and for file names."""

import json
import re
import unicodedata
from typing import Any

JOINERS = frozenset("\u200c\u200d")
"""Invisible, harmless, and part of many emoji and scripts."""
UNSAFE_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
SLUG_CHARACTERS = 60
SLUG_BYTES = 150


def printable(text: str, limit: int | None = None) -> str:
    """One line without control characters: blanks are merged, anything a terminal might obey is shown as its code.

    `limit` is the longest result in characters; what is cut off ends with an ellipsis.
    """
    line = "".join(_visible(character) for character in re.sub(r"[\t\n\r\f\v ]+", " ", text).strip())
    return line if limit is None or len(line) <= limit else line[: limit - 1] + "…"


def slug(text: str) -> str:
    """A part of a file name: lower-case letters, digits and hyphens of any script; never empty."""
    plain = unicodedata.normalize("NFC", text).lower()
    words = re.sub(r"[\W_]+", "-", plain).strip("-")[:SLUG_CHARACTERS]
    short = words.encode("utf-8", "ignore")[:SLUG_BYTES].decode("utf-8", "ignore")
    return short.strip("-") or "picture"


def json_text(data: Any, *, encoding: str | None = "utf-8") -> str:
    """JSON on one line, readable in any script; what a terminal might obey, or `encoding` cannot hold, is escaped."""
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
