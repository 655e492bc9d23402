"""One sheet with all pictures of a batch."""

import io

import pytest
from PIL import Image
from snapshots import a_failed_item, a_snapshot, an_item

from batchgen.contact_sheet import GAP, GREY, HEADER, TILE, contact_sheet


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


def test_a_failed_item_is_a_grey_tile_with_words_on_it() -> None:
    sheet = opened(contact_sheet(a_snapshot(a_failed_item(0, "blocked [bold]\x1b[31m by policy " * 9)), {}))

    grey = tuple(int(GREY[place : place + 2], 16) for place in (1, 3, 5))
    assert corner_of(sheet, 0) == grey
    tile = sheet.crop((GAP, HEADER, GAP + TILE, HEADER + TILE))
    assert len(tile.getcolors(10_000) or []) > 5


@pytest.mark.parametrize(
    "content", [b"", b"no picture", a_picture("red")[:60], b"<svg xmlns='http://www.w3.org/2000/svg'/>"]
)
def test_what_cannot_be_opened_is_a_grey_tile(content: bytes) -> None:
    item = an_item(0)

    sheet = opened(contact_sheet(a_snapshot(item), {item.id: content}))

    assert corner_of(sheet, 0) != (255, 0, 0)


def test_transparent_pictures_lie_on_paper() -> None:
    item = an_item(0)

    sheet = opened(contact_sheet(a_snapshot(item), {item.id: a_picture("#ff000000", mode="RGBA")}))

    assert corner_of(sheet, 0) == (251, 250, 247)


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (2, 2, 1), (5, 3, 2), (10, 4, 3), (40, 4, 10)])
def test_the_sheet_grows_with_the_batch(count: int, columns: int, rows: int) -> None:
    sheet = opened(contact_sheet(a_snapshot(*(an_item(index) for index in range(count))), {}))

    assert sheet.width == GAP + columns * (TILE + GAP)
    assert sheet.height > HEADER + rows * TILE
