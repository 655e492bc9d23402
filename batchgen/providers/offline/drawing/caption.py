"""The caption at the bottom of the picture: the prompt, and that no model drew it.

Pillow's built-in font knows little more than ASCII, so other writing is spelled out where that is easy (umlauts,
accents, Greek, Cyrillic, kana, hangul, emoji by name) and left to the metadata where it is not.
"""

import unicodedata
from functools import lru_cache

from PIL import Image, ImageDraw, ImageFont

from batchgen.providers.offline.drawing.canvas import vertical

NOTE = "offline sketch · no model"
SHORT_NOTE = "offline"
UNSPELLABLE = "(prompt in another script: see metadata)"
_READ_AT_MOST = 400
_GAP = "·"


def _pairs(text: str) -> dict[str, str]:
    return {word[0]: word[1:] for word in text.split()}


_SPELLED = {
    **_pairs("äae öoe üue ÄAe ÖOe ÜUe ßss øo æae åa łl đd ðd þth \u0131i"),
    **_pairs("\u2010- \u2011- \u2013- \u2212- \u2192-> \u2190<- \u200b \u200d \ufe0f"),
    **_pairs("аa бb вv гg дd еe ёyo жzh зz иi йy кk лl мm нn оo пp рr сs тt уu фf хkh цts чch шsh щshch ъ ыy ь"),  # noqa: RUF001
    **_pairs("эe юyu яya єye іi їyi ґg"),  # noqa: RUF001
    **_pairs("αa βv γg δd εe ζz ηi θth ιi κk λl μm νn ξx οo πp ρr σs τt υy φf χch ψps ωo ςs άa"),  # noqa: RUF001
}
_SYLLABLES = ("HIRAGANA LETTER ", "KATAKANA LETTER ", "HANGUL SYLLABLE ")
Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def spell(text: str) -> str:
    """The text in characters of the font, on one line."""
    words = " ".join(_printable(text[:_READ_AT_MOST]).split())
    spelled = "".join(_spell_char(char) for char in unicodedata.normalize("NFC", words))
    while _GAP * 2 in spelled or f"{_GAP} {_GAP}" in spelled:
        spelled = spelled.replace(_GAP * 2, _GAP).replace(f"{_GAP} {_GAP}", _GAP)
    spelled = " ".join(spelled.split())
    if words and not any(char.isalnum() for char in spelled):
        return UNSPELLABLE
    return spelled + ("…" if len(text) > _READ_AT_MOST else "")


def _printable(text: str) -> str:
    return "".join(" " if unicodedata.category(char) in ("Cc", "Zl", "Zp", "Zs") else char for char in text)


def _spell_char(char: str) -> str:
    if _has_glyph(char):
        return char
    if char in _SPELLED:
        return _SPELLED[char]
    if char.lower() in _SPELLED:
        return _SPELLED[char.lower()].capitalize()
    if unicodedata.category(char) in ("Mn", "Me", "Cf", "Cs", "Cn", "Sk"):
        return ""
    plain = unicodedata.normalize("NFKD", char)
    if plain != char and all(_has_glyph(part) or unicodedata.combining(part) for part in plain):
        return "".join(part for part in plain if not unicodedata.combining(part))
    return _spell_name(char, unicodedata.name(char, ""))


def _spell_name(char: str, name: str) -> str:
    if name.startswith(_SYLLABLES):
        return name.rsplit(" ", 1)[-1].lower()
    if unicodedata.category(char) == "So" and len(name) < 40:
        return f" [{name.lower()}] "
    return _GAP


@lru_cache(maxsize=4096)
def _has_glyph(char: str) -> bool:
    if char.isascii():
        return char.isprintable()
    return _shape(char) != _shape("\uffff")


def _shape(char: str) -> bytes:
    """The pixels of a character; all that the font lacks look like its box."""
    sheet = Image.new("L", (40, 40))
    ImageDraw.Draw(sheet).text((4, 4), char, fill=255, font=_font(20))
    return sheet.tobytes()


@lru_cache(maxsize=64)
def _font(size: int) -> Font:
    return ImageFont.load_default(size)


def draw_caption(image: Image.Image, prompt: str) -> None:
    """Write prompt and note at the bottom of the picture, as much of them as fits."""
    width, height = image.size
    size = max(9, round(min(width, height) * 0.0235))
    margin = round(size * 0.9)
    room = width - 2 * margin
    if height < 3 * size or room < 4 * size:
        return
    note, note_size = _note(room, max(8, round(size * 0.72)))
    lines = _wrap(spell(prompt), size, room, 2 if height >= 9 * size else 1)
    foot = height - margin - (round(note_size * 1.7) if note else 0)
    top = foot - round(len(lines) * size * 1.3)
    _shade(image, max(0, top - 2 * size))
    _write(image, lines, size, (margin, top), note, note_size)


def _note(room: int, size: int) -> tuple[str, int]:
    for note in (NOTE, SHORT_NOTE):
        if _length(note, size) <= room:
            return note, size
    return "", size


def _length(text: str, size: int) -> float:
    return _font(size).getlength(text)


def _wrap(text: str, size: int, room: int, most: int) -> list[str]:
    """At most so many lines; what does not fit ends in an ellipsis."""
    words = text.split()
    lines: list[str] = []
    while words and len(lines) < most:
        count = len(words)
        while count > 1 and _length(" ".join(words[:count]), size) > room:
            count -= 1
        lines.append(" ".join(words[:count]))
        words = words[count:]
    if words:
        lines[-1] += " …"
    return [_cut(line, size, room) for line in lines]


def _cut(line: str, size: int, room: int) -> str:
    if _length(line, size) <= room:
        return line
    while line and _length(line.rstrip(" …") + "…", size) > room:
        line = line.rstrip(" …")[:-1]
    return line.rstrip(" …") + "…"


def _shade(image: Image.Image, top: int) -> None:
    """Darken towards the bottom, so that light letters can be read on any picture."""
    size = (image.width, image.height - top)
    mask = vertical(size, [(0, 0, 0), (95, 95, 95), (140, 140, 140), (160, 160, 160)]).getchannel(0)
    image.paste((8, 9, 20), (0, top, image.width, image.height), mask)


def _write(image: Image.Image, lines: list[str], size: int, at: tuple[int, int], note: str, note_size: int) -> None:
    draw = ImageDraw.Draw(image)
    for i, line in enumerate(lines):
        draw.text((at[0], at[1] + round(i * size * 1.3)), line, fill=(250, 247, 240), font=_font(size))
    if note:
        y = image.height - at[0] - note_size
        draw.text((at[0], y), note, fill=(205, 203, 208), font=_font(note_size))
