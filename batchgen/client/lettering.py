"""Draw text of any script with fonts that have its characters.

Fonts for Latin, Greek, Cyrillic, Arabic and Hebrew are dependencies of batchgen; other scripts use the system's fonts.
Characters that no font has are replaced by their names, such as `[red heart]`, instead of empty boxes.
"""

import re
import unicodedata
from collections.abc import Generator
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from itertools import groupby

import arabic_reshaper  # pyright: ignore[reportMissingTypeStubs]
from bidi.algorithm import get_display  # pyright: ignore[reportMissingTypeStubs]
from PIL import ImageDraw, ImageFont

OWN_FONTS = (
    ("fontpkg_noto_sans", "NotoSans["),
    ("fontpkg_noto_sans_arabic", "NotoSansArabic["),
    ("fontpkg_rubik", "Rubik["),
)
SYSTEM_FONTS = (
    *("NotoSansCJK-Regular.ttc", "NotoSansCJKsc-Regular.otf", "SourceHanSans-Regular.ttc", "wqy-microhei.ttc"),
    *("wqy-zenhei.ttc", "DroidSansFallbackFull.ttf", "PingFang.ttc", "Hiragino Sans GB.ttc", "AppleSDGothicNeo.ttc"),
    *("msyh.ttc", "msgothic.ttc", "malgun.ttf", "Arial Unicode.ttf", "NotoSansThai-Regular.ttf", "Nirmala.ttf"),
    *("NotoSansDevanagari-Regular.ttf", "NotoEmoji-Regular.ttf", "seguisym.ttf", "DejaVuSans.ttf", "unifont.otf"),
)
"""Names that Pillow looks for in the system's font folders."""
NO_CHARACTER = "\U0010fffe"
INVISIBLE = re.compile("[\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\U000e0000-\U000e0fff]")
"""Joiners, direction marks and variation selectors: nothing is drawn for them."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line in visual order, left to right."""

    text: str
    is_whole: bool
    """Whether the text ends with this line."""


class Lettering:
    """Lays out and draws text of one size, in time linear in the text's length."""

    def __init__(self, size: int) -> None:
        self._size = size

    def lines(self, text: str, width: int, most: int) -> list[Line]:
        """At most `most` lines of `width` pixels; if the text does not fit, the last one ends with an ellipsis."""
        # Skip characters that cannot fit into that many lines: each is some pixels wide.
        shaped = arabic_reshaper.reshape(INVISIBLE.sub("", text[: 4 * most * width // self._size]))
        rest = _named(shaped, self._size)
        direction = "R" if _is_right_to_left(rest) else "L"
        lines: list[Line] = []
        while rest and len(lines) < most:
            is_last = len(lines) == most - 1
            end, space = self._fitting(rest, width)
            if end < len(rest) and is_last:
                end, _ = self._fitting(rest, width - self._width("…"))
                shown, rest = rest[:end].rstrip() + "…", ""
                lines.append(Line(_from_left_to_right(shown, direction), is_whole=False))
                break
            cut = space if end < len(rest) and space > 0 else max(1, end)
            lines.append(Line(_from_left_to_right(rest[:cut].rstrip(), direction), is_whole=cut == len(rest)))
            rest = rest[cut:].lstrip()
        return lines

    def draw(self, draw: ImageDraw.ImageDraw, at: tuple[int, int], line: Line, ink: str) -> None:
        left = float(at[0])
        for font, run in self._runs(line.text):
            draw.text((left, at[1] + self._size), run, font=font, fill=ink, anchor="ls")
            left += font.getlength(run)

    def _fitting(self, text: str, width: float) -> tuple[int, int]:
        """How many characters fit, and the position of the last space among or directly after them."""
        used, space = 0.0, 0
        for place, character in enumerate(text):
            if character == " ":
                space = place
            used += self._width(character)
            if used > width:
                return place, space
        return len(text), len(text)

    def _width(self, character: str) -> float:
        return get_width(character, self._size)

    def _runs(self, text: str) -> Generator[tuple[ImageFont.FreeTypeFont, str]]:
        for number, run in groupby(text, key=lambda character: font_with(character, self._size) or 0):
            yield _fonts(self._size)[number], "".join(run)


@lru_cache(maxsize=8)
def _fonts(size: int) -> list[ImageFont.FreeTypeFont]:
    fonts = [_own_font(package, start, size) for package, start in OWN_FONTS]
    for name in SYSTEM_FONTS:
        try:
            fonts.append(ImageFont.truetype(name, size, layout_engine=ImageFont.Layout.BASIC))
        except OSError:
            continue
    return fonts


def _own_font(package: str, start: str, size: int) -> ImageFont.FreeTypeFont:
    folder = files(package) / "files"
    file = next(file for file in folder.iterdir() if file.name.startswith(start))
    with as_file(file) as path:
        return ImageFont.truetype(path, size, layout_engine=ImageFont.Layout.BASIC)


@lru_cache(maxsize=4096)
def font_with(character: str, size: int) -> int | None:
    """The index of the first font that has the character."""
    if character == " ":
        return 0
    return next(
        (number for number, font in enumerate(_fonts(size)) if _drawn(font, character) != _box(number, size)), None
    )


@lru_cache(maxsize=4096)
def get_width(character: str, size: int) -> float:
    """In pixels."""
    return _fonts(size)[font_with(character, size) or 0].getlength(character)


@lru_cache(maxsize=256)
def _box(number: int, size: int) -> bytes:
    """The glyph that a font draws for characters that it does not have."""
    return _drawn(_fonts(size)[number], NO_CHARACTER)


def _drawn(font: ImageFont.FreeTypeFont, character: str) -> bytes:
    mask = font.getmask(character)
    return repr(mask.size).encode() + bytes(mask)  # pyright: ignore[reportArgumentType] - it is a sequence of bytes


def forget_fonts() -> None:
    """Clear the caches, so that fonts are searched again."""
    for known in (_fonts, font_with, get_width, _box):
        known.cache_clear()


def _named(text: str, size: int) -> str:
    """The text with characters that no font has replaced by their names."""
    parts: list[str] = []
    for name, run in groupby(text, key=lambda character: _missing_name(character, size)):
        characters = "".join(run)
        if name is None:
            parts.append(characters)
        else:
            parts.append(f"[{name}]" if len(characters) == 1 else f"[{len(characters)} x {name}]")
    return "".join(parts)


def _missing_name(character: str, size: int) -> str | None:
    """The script of a letter or the full name of a symbol; None if a font has the character."""
    if font_with(character, size) is not None:
        return None
    name = unicodedata.name(character, f"U+{ord(character):04X}")
    if unicodedata.category(character)[0] not in "LMN" or name.startswith("U+"):
        return name.lower() if not name.startswith("U+") else name
    word = name.split(" ")[0]
    return "CJK" if word in ("CJK", "HIRAGANA", "KATAKANA", "HANGUL") else word.capitalize()


def _from_left_to_right(text: str, direction: str) -> str:
    return str(get_display(text, base_dir=direction))


def _is_right_to_left(text: str) -> bool:
    """Whether the first character that has a direction is written right to left."""
    kinds = (unicodedata.bidirectional(character) for character in text)
    return next((kind in ("R", "AL") for kind in kinds if kind in ("L", "R", "AL")), False)
