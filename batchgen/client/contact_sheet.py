"""Draw all pictures of a batch on one sheet."""

import io
import math
from collections.abc import Mapping
from uuid import UUID

from PIL import Image, ImageDraw, ImageOps

from batchgen.client.lettering import Lettering
from batchgen.imaging.containers import FileDamaged, FileRefused, UnknownLayout, layout_of
from batchgen.imaging.open_image import TooManyPixels, opened
from batchgen.models import BatchSnapshot, Generation, GenerationStatus
from batchgen.text import printable

TILE = 320
GAP = 20
CAPTION = 46
HEADER = 64
MOST_COLUMNS = 4
PAPER, INK, FAINT, GREY, ALARM = "#fbfaf7", "#22252a", "#6b7078", "#d9dadd", "#a3352b"

LONGEST_TEXT = 600
"""Characters of a prompt or reason that are laid out: no tile shows more."""
LINE = 19


def contact_sheet(snapshot: BatchSnapshot, pictures: Mapping[UUID, bytes]) -> bytes:
    """A PNG: each item's picture above its prompt. An item without a picture is a grey tile with the reason."""
    items = snapshot.generations
    columns = min(MOST_COLUMNS, math.ceil(math.sqrt(max(len(items), 1))), max(len(items), 1))
    rows = math.ceil(max(len(items), 1) / columns)
    size = (GAP + columns * (TILE + GAP), HEADER + rows * (TILE + CAPTION + GAP))
    sheet = Image.new("RGB", size, PAPER)
    draw = ImageDraw.Draw(sheet)
    _header(draw, snapshot, size[0])
    for place, item in enumerate(items):
        left = GAP + place % columns * (TILE + GAP)
        top = HEADER + place // columns * (TILE + CAPTION + GAP)
        sheet.paste(_tile(item, pictures.get(item.id)), (left, top))
        _lines(draw, (left, top + TILE + 6), f"{item.index + 1}  {item.prompt}", 15, INK, most=2)
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()


def _header(draw: ImageDraw.ImageDraw, snapshot: BatchSnapshot, width: int) -> None:
    batch = snapshot.batch
    title = batch.name or f"Batch {str(batch.id)[:8]}"
    _lines(draw, (GAP, 12), title, 20, INK, most=1, width=width - 2 * GAP)
    counts = f"{batch.completed_count} of {batch.total_count} pictures · {batch.created_at:%Y-%m-%d %H:%M} UTC"
    _lines(draw, (GAP, 38), counts, 14, FAINT, most=1, width=width - 2 * GAP)


def _tile(item: Generation, content: bytes | None) -> Image.Image:
    picture = _open(content) if content is not None else None
    if picture is not None:
        tile = Image.new("RGB", (TILE, TILE), PAPER)
        tile.paste(picture, ((TILE - picture.width) // 2, (TILE - picture.height) // 2))
        return tile
    tile = Image.new("RGB", (TILE, TILE), GREY)
    draw = ImageDraw.Draw(tile)
    failed = item.status is GenerationStatus.FAILED
    label = "picture cannot be shown" if content is not None else str(item.status)
    _lines(draw, (GAP, TILE // 3), label, 22, ALARM if failed else FAINT, most=1, width=TILE - 2 * GAP)
    if failed and item.error_message:
        _lines(draw, (GAP, TILE // 3 + 36), item.error_message, 15, INK, most=6, width=TILE - 2 * GAP)
    return tile


def _open(content: bytes) -> Image.Image | None:
    """The picture, scaled to the tile; None if the file is not a picture, damaged, or too large."""
    try:
        layout_of(content)  # users can put files there themselves: decode only complete pictures
        with opened(io.BytesIO(content)) as picture:
            picture.draft("RGB", (TILE, TILE))
            picture.thumbnail((4 * TILE, 4 * TILE), Image.Resampling.BOX)
            small = ImageOps.contain(ImageOps.exif_transpose(picture).convert("RGBA"), (TILE, TILE))
    except (OSError, ValueError, SyntaxError, TooManyPixels, FileRefused, FileDamaged, UnknownLayout, MemoryError):
        return None
    paper = Image.new("RGBA", small.size, PAPER)
    return Image.alpha_composite(paper, small).convert("RGB")


def _lines(
    draw: ImageDraw.ImageDraw, at: tuple[int, int], text: str, size: int, ink: str, *, most: int, width: int = TILE
) -> None:
    """Write `text` in at most `most` lines; if it does not fit, the last one ends with an ellipsis."""
    left, top = at
    lettering = Lettering(size)
    for number, line in enumerate(lettering.lines(printable(text[:LONGEST_TEXT]), width, most)):
        lettering.draw(draw, (left, top + number * LINE), line, ink)
