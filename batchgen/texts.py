"""Foreign text made safe for a terminal and for file names."""

import re
import unicodedata

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


def _visible(character: str) -> str:
    if character in JOINERS or unicodedata.category(character) not in UNSAFE_CATEGORIES:
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
