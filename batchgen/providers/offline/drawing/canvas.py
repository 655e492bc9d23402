"""The RGB picture that is painted on, with soft-edged areas, gradients and glows.

An area is drawn as a mask inside its own bounding box only, larger than needed and then reduced, so edges are
smooth and a small shape costs little on a large sheet.
"""

import math
from collections.abc import Iterable, Sequence
from functools import cache

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from batchgen.providers.offline.drawing.colours import RGB
from batchgen.providers.offline.drawing.pixels import BOX, HARD, LINEAR, SMOOTH, mapped, resized
from batchgen.providers.offline.drawing.shapes import Outline, Point

Paint = RGB | tuple[RGB, ...]
"""One colour, or several from top to bottom."""


def vertical(size: tuple[int, int], colours: Sequence[RGB]) -> Image.Image:
    """A picture with these colours from top to bottom."""
    column = Image.new("RGB", (1, len(colours)))
    for y, colour in enumerate(colours):
        column.putpixel((0, y), colour)
    tall = resized(column, (1, size[1]), SMOOTH, box=(0, 0.4, 1, len(colours) - 0.4))
    return resized(tall, size, HARD)


# Pillow's radial gradient has 255 in its corners and about this much at its rim.
_RIM = 178


@cache
def _falloff() -> Image.Image:
    return Image.radial_gradient("L")


class Canvas:
    """A picture that is being painted. Lengths are pixels; `u` is the shorter side, for sizes that fit any shape."""

    def __init__(self, width: int, height: int) -> None:
        self.w = width
        self.h = height
        self.u = min(width, height)
        self.image = Image.new("RGB", (width, height))

    def wash(self, colours: Sequence[RGB], top: float = 0.0, bottom: float | None = None) -> None:
        """Fill from side to side with colours from top to bottom."""
        y0, y1 = int(top), math.ceil(self.h if bottom is None else bottom)
        if y1 > y0:
            self.image.paste(vertical((self.w, y1 - y0), colours), (0, y0))

    def fill(
        self,
        outlines: Iterable[Sequence[Point]],
        paint: Paint,
        alpha: float = 1.0,
        blur: float = 0.0,
        within: Sequence[Point] | None = None,
    ) -> None:
        """Paint the union of some areas, or what of it lies `within` another one."""
        drawn = [outline for outline in outlines if len(outline) > 2]
        box = self._box(drawn, blur)
        if box is None:
            return
        mask = _mask(drawn, box)
        if blur > 0:
            mask = _blurred(mask, blur)
        if within is not None:
            mask = ImageChops.multiply(mask, _mask([within], box))
        self.lay(mask, paint, box, alpha)

    def lay(self, mask: Image.Image, paint: Paint, box: tuple[int, int, int, int], alpha: float = 1.0) -> None:
        """Paint through a mask that lies at `box`."""
        if alpha < 1:
            mask = mapped(mask, [round(value * max(0.0, alpha)) for value in range(256)])
        if isinstance(paint[0], tuple):
            colours = [colour for colour in paint if isinstance(colour, tuple)]
            self.image.paste(vertical(mask.size, colours), box[:2], mask)
        else:
            self.image.paste(paint, box, mask)  # pyright: ignore[reportArgumentType]

    def glow(self, x: float, y: float, radius: float, colour: RGB, alpha: float = 1.0, stretch: float = 1.0) -> None:
        """A soft light that fades from its centre; `stretch` makes it wider than high."""
        rx, ry = max(1, round(radius * stretch * 1.3)), max(1, round(radius * 1.3))
        left, top = round(x) - rx, round(y) - ry
        box = (max(0, left), max(0, top), min(self.w, left + 2 * rx), min(self.h, top + 2 * ry))
        if box[0] >= box[2] or box[1] >= box[3]:
            return
        lut = [round(255 * alpha * max(0.0, 1 - value / _RIM) ** 2) for value in range(256)]
        part = tuple((box[i] - (left, top)[i % 2]) * 128 / (rx, ry)[i % 2] for i in range(4))
        size = (box[2] - box[0], box[3] - box[1])
        mask = resized(_falloff(), size, LINEAR, box=(part[0], part[1], part[2], part[3]))
        self.lay(mapped(mask, lut), colour, box)

    def shine(self, outlines: Iterable[Sequence[Point]], colour: RGB, alpha: float, blur: float = 0.0) -> None:
        """Add light (instead of paint) to areas: beams, rays, windows in the dark."""
        drawn = [outline for outline in outlines if len(outline) > 2]
        box = self._box(drawn, blur)
        if box is None:
            return
        mask = _mask(drawn, box)
        if blur > 0:
            mask = _blurred(mask, blur)
        bands = [mapped(mask, [round(value * alpha * part / 255) for value in range(256)]) for part in colour]
        lit = ImageChops.screen(self.image.crop(box), Image.merge("RGB", bands))
        self.image.paste(lit, box)

    def reflect(self, line: float, depth: float, colours: Sequence[RGB], strength: float) -> None:
        """Mirror what stands above `line` into the water below it."""
        y = int(line)
        depth_px = min(int(depth), self.h - y)
        if y < 2 or depth_px < 1:
            return
        source = self.image.crop((0, max(0, y - depth_px), self.w, y)).transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        small = resized(source, (max(1, self.w // 3), max(1, depth_px // 12)), BOX)
        source = resized(small, (self.w, depth_px), SMOOTH)
        water = vertical((self.w, depth_px), colours)
        self.image.paste(Image.blend(water, source, strength), (0, y))

    def soften(self, radius: float) -> None:
        """Put all that was painted so far out of focus."""
        self.image = _blurred(self.image, radius)

    def _box(self, outlines: list[Sequence[Point]], margin: float) -> tuple[int, int, int, int] | None:
        if not outlines:
            return None
        xs = [x for outline in outlines for x, _ in outline]
        ys = [y for outline in outlines for _, y in outline]
        pad = margin * 2.5 + 1
        left, top = max(0, math.floor(min(xs) - pad)), max(0, math.floor(min(ys) - pad))
        right, bottom = min(self.w, math.ceil(max(xs) + pad)), min(self.h, math.ceil(max(ys) + pad))
        return (left, top, right, bottom) if right > left and bottom > top else None


def _mask(outlines: list[Sequence[Point]], box: tuple[int, int, int, int]) -> Image.Image:
    width, height = box[2] - box[0], box[3] - box[1]
    area = width * height
    factor = 4 if area < 60_000 else 3 if area < 300_000 else 2
    mask = Image.new("L", (width * factor, height * factor))
    draw = ImageDraw.Draw(mask)
    for outline in outlines:
        draw.polygon([((x - box[0]) * factor, (y - box[1]) * factor) for x, y in outline], fill=255)
    return mask.reduce(factor)


def _blurred(image: Image.Image, radius: float) -> Image.Image:
    shrink = max(1, int(radius // 3))
    small = image.reduce(shrink) if shrink > 1 else image
    return resized(small.filter(ImageFilter.GaussianBlur(radius / shrink)), image.size, SMOOTH)


class Sprite:
    """A place on the canvas with its own axes: the figure's foot is (0, 0), up is negative, 1 is its height."""

    def __init__(self, canvas: Canvas, x: float, y: float, size: float, flip: bool = False, tilt: float = 0.0) -> None:
        self.canvas = canvas
        self._x = x
        self._y = y
        self.size = size
        self._side = -1.0 if flip else 1.0
        self._cos = math.cos(math.radians(tilt))
        self._sin = math.sin(math.radians(tilt))

    def at(self, x: float, y: float) -> Point:
        """A point of the figure on the canvas."""
        x, y = x * self._cos - y * self._sin, x * self._sin + y * self._cos
        return (self._x + x * self._side * self.size, self._y + y * self.size)

    def place(self, outline: Sequence[Point]) -> Outline:
        return [self.at(x, y) for x, y in outline]

    def part(
        self,
        outline: Sequence[Point],
        paint: Paint,
        alpha: float = 1.0,
        blur: float = 0.0,
        within: Sequence[Point] | None = None,
    ) -> None:
        inside = None if within is None else self.place(within)
        self.canvas.fill([self.place(outline)], paint, alpha, blur * self.size, inside)

    def parts(self, outlines: Iterable[Sequence[Point]], paint: Paint, alpha: float = 1.0) -> None:
        self.canvas.fill([self.place(outline) for outline in outlines], paint, alpha)

    def glow(self, x: float, y: float, radius: float, colour: RGB, alpha: float) -> None:
        at = self.at(x, y)
        self.canvas.glow(at[0], at[1], radius * self.size, colour, alpha)
