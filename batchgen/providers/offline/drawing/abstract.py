"""Abstract pictures, for prompts that name nothing that can be drawn."""

import math
import random

from PIL import Image

from batchgen.providers.offline.drawing.canvas import Canvas
from batchgen.providers.offline.drawing.colours import RGB, darker, lighter, mix, ramp, tint, turn
from batchgen.providers.offline.drawing.pixels import SMOOTH, resized
from batchgen.providers.offline.drawing.plan import Plan
from batchgen.providers.offline.drawing.shapes import Outline, Point, ellipse, stroke

_SETS = (
    ramp("12183a 2f4b9b 8a4fb5 f0609a ff9e64 ffe0a3"),
    ramp("0f2e3d 16697a 489fb5 82c0cc f4e9cd ffa62b"),
    ramp("2d1436 6a2c70 b83b5e f08a5d f9ed69 fff6d6"),
    ramp("132a13 31572c 6a994e a7c957 f2e8cf bc4749"),
    ramp("1b1b3a 693668 a74482 f84aa7 ff3562 ffd9c0"),
    ramp("03254c 1167b1 2a9df4 9ad8f5 fdf6e3 ff8c61"),
    ramp("2b2d42 5c677d 8d99ae edf2f4 ef8354 d90429"),
)


def paint_abstract(canvas: Canvas, plan: Plan) -> None:
    """A soft field of colour under ribbons, discs or arcs."""
    rng = plan.rng("abstract")
    colours = _choose(plan, rng)
    _field(canvas, rng, colours)
    kinds = (_paint_ribbons, _paint_discs, _paint_arcs)
    if "geometric" in plan.styles:
        kinds = (_paint_arcs, _paint_discs)
    rng.choice(kinds)(canvas, rng, colours, plan.detail)
    _specks(canvas, rng, colours, plan.detail)


def _choose(plan: Plan, rng: random.Random) -> list[RGB]:
    colours = [turn(colour, rng.uniform(-0.02, 0.02), plan.vividness) for colour in rng.choice(_SETS)]
    if plan.tint is not None:
        colours = [tint(colour, plan.tint, 0.72) for colour in colours]
    if "pastel" in plan.styles:
        colours = [lighter(colour, 0.4) for colour in colours]
    return colours


def _field(canvas: Canvas, rng: random.Random, colours: list[RGB]) -> None:
    """A few cells of colour, let flow into each other."""
    cells = Image.new("RGB", (4, 4))
    for x in range(4):
        for y in range(4):
            cells.putpixel((x, y), mix(rng.choice(colours[:4]), colours[min(5, y + rng.randrange(2))], 0.35))
    canvas.image = resized(resized(cells, (64, 64), SMOOTH), (canvas.w, canvas.h), SMOOTH)


def _paint_ribbons(canvas: Canvas, rng: random.Random, colours: list[RGB], detail: float) -> None:
    """Bands that lie over each other like silk, each with an edge of light."""
    count = max(5, round(11 * detail))
    tilt, phase, pace = rng.uniform(-0.35, 0.35), rng.uniform(0, 6), rng.uniform(2.6, 4.2)
    for i in range(count):
        t = i / count
        colour = mix(colours[int(t * 5)], colours[min(5, int(t * 5) + 1)], t * 5 % 1)
        edge: list[Point] = []
        for step in range(61):
            s = step / 60
            swell = 0.11 * math.sin(s * pace + phase + t * 2.4) + 0.045 * math.sin(
                s * pace * 2.3 + phase * 1.7 + t * 4.1
            )
            edge.append((canvas.w * s, canvas.h * (0.04 + 0.98 * t + swell + tilt * (s - 0.5))))
        band: Outline = [*edge, (canvas.w, canvas.h), (0, canvas.h)]
        canvas.fill([[(x, y - canvas.u * 0.012) for x, y in band]], colours[0], 0.35, canvas.u * 0.022)
        canvas.fill([band], (lighter(colour, 0.22), colour, darker(colour, 0.3)), 0.94)
        canvas.fill(
            [stroke(edge, (canvas.u * 0.001, canvas.u * 0.005, canvas.u * 0.001), False)], lighter(colour, 0.6), 0.7
        )


def _paint_discs(canvas: Canvas, rng: random.Random, colours: list[RGB], detail: float) -> None:
    """Discs with light in them, large ones first."""
    count = round(26 * detail)
    for i in range(count):
        r = canvas.u * (0.3 * (1 - i / count) ** 1.6 + 0.015)
        x, y = rng.uniform(0, canvas.w), rng.uniform(0, canvas.h)
        colour = rng.choice(colours)
        canvas.fill([ellipse(x, y + r * 0.08, r, r)], darker(colours[0], 0.4), 0.28, r * 0.12)
        canvas.fill([ellipse(x, y, r, r)], (lighter(colour, 0.3), colour, rng.choice(colours)), rng.uniform(0.72, 0.95))
        if rng.random() < 0.4:
            ring = [
                (x + math.cos(a / 40 * math.tau) * r * 1.14, y + math.sin(a / 40 * math.tau) * r * 1.14)
                for a in range(41)
            ]
            canvas.fill([stroke(ring, (canvas.u * 0.0035,), False)], lighter(colour, 0.5), 0.7)


def _paint_arcs(canvas: Canvas, rng: random.Random, colours: list[RGB], detail: float) -> None:
    """Quarter circles in a grid, each one turned its own way."""
    rows = 5 if detail < 0.8 else 6
    cell = canvas.u / rows
    for row in range(math.ceil(canvas.h / cell)):
        for column in range(math.ceil(canvas.w / cell)):
            if rng.random() < 0.82:
                _arc_cell(canvas, rng, colours, (column * cell, row * cell), cell)


def _arc_cell(canvas: Canvas, rng: random.Random, colours: list[RGB], at: Point, cell: float) -> None:
    turned = rng.randrange(4)
    cx, cy = at[0] + cell * (turned in (1, 2)), at[1] + cell * (turned in (2, 3))
    if rng.random() < 0.5:
        box = [at, (at[0] + cell, at[1]), (at[0] + cell, at[1] + cell), (at[0], at[1] + cell)]
        canvas.fill([box], rng.choice(colours), 0.85)
    for share in (1.0, 0.66, 0.33)[: rng.choice((1, 2, 3))]:
        start = turned * 90
        arc = [
            (
                cx + math.cos(math.radians(start + a)) * cell * share,
                cy + math.sin(math.radians(start + a)) * cell * share,
            )
            for a in range(0, 91, 6)
        ]
        colour = rng.choice(colours)
        canvas.fill([[*arc, (cx, cy)]], (lighter(colour, 0.12), colour))


def _specks(canvas: Canvas, rng: random.Random, colours: list[RGB], detail: float) -> None:
    specks: list[Outline] = []
    for _ in range(round(40 * detail)):
        r = canvas.u * rng.uniform(0.001, 0.0045)
        specks.append(ellipse(rng.uniform(0, canvas.w), rng.uniform(0, canvas.h), r, r)[::5])
    canvas.fill(specks, lighter(colours[-1], 0.6), 0.7)
