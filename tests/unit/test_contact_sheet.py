"""The contact sheet with all pictures of a batch."""

import io

import pytest
from PIL import Image
from snapshots import a_failed_item, a_snapshot, an_item

from batchgen.client import lettering
from batchgen.client.contact_sheet import GAP, GREY, HEADER, TILE, contact_sheet


def a_picture(colour: str, size: tuple[int, int] = (64, 64), kind: str = "PNG", mode: str = "RGB") -> bytes:
    file = io.BytesIO()
    Image.new(mode, size, colour).save(file, kind)
    return file.getvalue()


def opened(content: bytes) -> Image.Image:
    sheet = Image.open(io.BytesIO(content))
    assert sheet.format == "PNG"
    return sheet.convert("RGB")


def corner_of(sheet: Image.Image, column: int) -> object:
    return sheet.getpixel((GAP + column * (TILE + GAP) + 5, HEADER + 5))


def test_every_picture_is_in_its_place() -> None:
    items = an_item(0), an_item(1)

    sheet = opened(contact_sheet(a_snapshot(*items), {items[0].id: a_picture("red"), items[1].id: a_picture("blue")}))

    assert corner_of(sheet, 0) == (255, 0, 0)
    assert corner_of(sheet, 1) == (0, 0, 255)


def test_a_failed_item_is_a_grey_tile_with_its_error() -> None:
    sheet = opened(contact_sheet(a_snapshot(a_failed_item(0, "blocked [bold]\x1b[31m by policy " * 9)), {}))

    grey = tuple(int(GREY[place : place + 2], 16) for place in (1, 3, 5))
    assert corner_of(sheet, 0) == grey
    tile = sheet.crop((GAP, HEADER, GAP + TILE, HEADER + TILE))
    assert len(tile.getcolors(10_000) or []) > 5


@pytest.mark.parametrize(
    "content", [b"", b"no picture", a_picture("red")[:60], b"<svg xmlns='http://www.w3.org/2000/svg'/>"]
)
def test_an_unreadable_picture_is_a_grey_tile(content: bytes) -> None:
    item = an_item(0)

    sheet = opened(contact_sheet(a_snapshot(item), {item.id: content}))

    assert corner_of(sheet, 0) != (255, 0, 0)


def test_transparent_pictures_get_a_paper_background() -> None:
    item = an_item(0)

    sheet = opened(contact_sheet(a_snapshot(item), {item.id: a_picture("#ff000000", mode="RGBA")}))

    assert corner_of(sheet, 0) == (251, 250, 247)


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (5, 3, 2), (10, 4, 3), (40, 4, 10)])
def test_the_sheet_grows_with_the_batch(count: int, columns: int, rows: int) -> None:
    sheet = opened(contact_sheet(a_snapshot(*(an_item(index) for index in range(count))), {}))

    assert sheet.width == GAP + columns * (TILE + GAP)
    assert sheet.height > HEADER + rows * TILE


@pytest.mark.parametrize("format", ["TIFF", "GIF", "BMP", "PPM", "ICO"])
def test_only_storable_formats_are_opened(format: str) -> None:
    item = an_item(0)

    sheet = opened(contact_sheet(a_snapshot(item), {item.id: a_picture("red", kind=format)}))

    assert corner_of(sheet, 0) != (255, 0, 0)


def test_a_postscript_file_is_not_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object, **__: object) -> None:
        raise AssertionError("nobody may start a program for a picture")

    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", run)
    item = an_item(0)

    sheet = opened(contact_sheet(a_snapshot(item), {item.id: a_picture("red", kind="EPS")}))

    assert corner_of(sheet, 0) != (255, 0, 0)


def test_a_decompression_bomb_is_not_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object, **__: object) -> None:
        raise AssertionError("nobody may decode this")

    item, content = an_item(0), a_picture("red", (13_000, 13_000), mode="1")
    with monkeypatch.context() as patched:
        patched.setattr("PIL.ImageFile.ImageFile.load", load)
        sheet = contact_sheet(a_snapshot(item), {item.id: content})

    assert corner_of(opened(sheet), 0) != (255, 0, 0)


@pytest.mark.parametrize("letter", ["W", "i", " ", "م", "ש", "中", "😀", "\u200d", "\u0301"])
def test_a_longer_prompt_costs_no_more_than_one_that_fills_its_tile(
    letter: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks = [0]
    real = lettering.get_width

    def counted(character: str, size: int) -> float:
        looks[0] += 1
        return real(character, size)

    monkeypatch.setattr(lettering, "get_width", counted)
    costs: list[int] = []
    for length in (600, 4000, 40_000):
        looks[0] = 0
        contact_sheet(a_snapshot(an_item(0, prompt=letter * length)), {})
        costs.append(looks[0])

    assert costs[0] == costs[1] == costs[2] < 5000


@pytest.mark.parametrize("word", ["ثعلب أحمر", "שועל אדום", "лиса", "αλεπού", "renard éclair ñ"])
def test_letters_of_the_bundled_fonts_are_drawn(word: str) -> None:
    (line,) = lettering.Lettering(15).lines(word, 300, 2)

    assert line.text
    assert "[" not in line.text
    assert not [character for character in line.text if lettering.font_with(character, 15) is None]


def test_arabic_letters_are_joined_from_right_to_left() -> None:
    (line,) = lettering.Lettering(15).lines("أحمر abc", 300, 2)

    assert line.text.startswith("abc ")
    assert [f"{ord(character):04x}" for character in line.text[4:]] == ["feae", "fee4", "fea3", "fe83"]


def test_characters_without_a_font_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lettering, "SYSTEM_FONTS", ())
    lettering.forget_fonts()
    (line,) = lettering.Lettering(15).lines("a 中国 \u2764\ufe0f \U0001f98a\U0001f98a", 600, 1)
    lettering.forget_fonts()

    assert line.text == "a [2 x CJK] [heavy black heart] [2 x fox face]"


def test_too_long_text_ends_with_an_ellipsis() -> None:
    first, second = lettering.Lettering(15).lines("a red fox in the snow " * 20, 300, 2)

    assert first.text == "a red fox in the snow a red fox in the"
    assert second.text.endswith("…")
    assert not second.is_whole
