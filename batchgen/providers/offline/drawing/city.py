"""A skyline by day or night and the street before it."""

import random

from batchgen.providers.offline.drawing.colours import darker, lighter, mix, rgb
from batchgen.providers.offline.drawing.land import paint_ripples
from batchgen.providers.offline.drawing.shapes import Outline, rect
from batchgen.providers.offline.drawing.sky import paint_mist
from batchgen.providers.offline.drawing.stage import Stage


def paint_city(stage: Stage) -> None:
    """Three rows of towers, lit by night."""
    chance = stage.plan.chance("city")
    neon = stage.night
    for row, share in enumerate((0.08, 0.36, 0.75)):
        _towers(stage, chance, row, share, neon)
        if row < 2:
            paint_mist(stage, stage.horizon, 0.4)


def _towers(stage: Stage, chance: random.Random, row: int, share: float, lit: bool) -> None:
    canvas, base = stage.canvas, stage.horizon + 3
    colour = mix(stage.palette.depth(share), stage.palette.sky[1], 0.2 - share * 0.2)
    x, gap = -0.02 * canvas.w, canvas.u * 0.012
    bodies: list[Outline] = []
    windows: list[list[Outline]] = [[], [], []]
    while x < canvas.w:
        wide = canvas.u * chance.uniform(0.05, 0.12) * (0.8 + 0.25 * row)
        tall = canvas.u * chance.uniform(0.14, 0.48) * (1.05 - 0.2 * row)
        middle = 1 - abs(x / canvas.w - 0.5)
        bodies += _tower(chance, x, base, wide, tall * (0.55 + 0.6 * middle))
        if row:
            _windows(stage, chance, windows, (x, base - tall * (0.55 + 0.6 * middle), x + wide, base), lit)
        x += wide + gap * chance.uniform(0, 1.6 if row == 2 else 0.4)
    canvas.fill(bodies, (colour, mix(colour, stage.palette.sky[-1], 0.45 - 0.3 * share)))
    for outlines, paint in zip(windows, (stage.palette.accent, rgb("ffe7a8"), stage.palette.sky[-2]), strict=True):
        canvas.fill(
            outlines,
            paint if lit else mix(colour, stage.palette.light, 0.5),
            (0.9 if lit else 0.6) * (0.6 + 0.15 * row),
        )
    if row == 2 and lit:
        _signs(stage, chance)


def _tower(chance: random.Random, x: float, base: float, wide: float, tall: float) -> list[Outline]:
    top = base - tall
    out: list[Outline] = [rect(x, top, x + wide, base)]
    kind = chance.randrange(5)
    if kind == 0:
        out.append(rect(x + wide * 0.2, top - wide * 0.3, x + wide * 0.8, top + 1))
    elif kind == 1:
        out.append([(x, top + 1), (x + wide, top + 1), (x + wide, top - wide * 0.45)])
    elif kind == 2:
        out += [
            rect(x + wide * 0.3, top - wide * 0.25, x + wide * 0.7, top + 1),
            rect(x + wide * 0.48, top - wide, x + wide * 0.52, top),
        ]
    elif kind == 3:
        out.append([(x + wide * 0.1, top + 1), (x + wide * 0.9, top + 1), (x + wide * 0.5, top - wide * 0.9)])
    return out


def _windows(
    stage: Stage, chance: random.Random, windows: list[list[Outline]], box: tuple[float, float, float, float], lit: bool
) -> None:
    u = stage.canvas.u
    x0, y0, x1, y1 = box
    step_x, step_y = u * 0.0125, u * 0.019
    columns, rows = int((x1 - x0 - step_x * 0.6) / step_x), int((y1 - y0) / step_y)
    margin = (x1 - x0 - columns * step_x) / 2
    chosen = chance.randrange(3)
    for column in range(columns):
        for row in range(rows):
            if chance.random() < (0.46 if lit else 0.62):
                x, y = x0 + margin + (column + 0.22) * step_x, y0 + (row + 0.5) * step_y
                which = chosen if chance.random() < 0.7 else 1
                windows[which].append(rect(x, y, x + step_x * 0.55, y + step_y * 0.5))


def _signs(stage: Stage, chance: random.Random) -> None:
    """Upright neon signs with a halo."""
    canvas, u = stage.canvas, stage.canvas.u
    for _ in range(stage.count(6)):
        x, y = chance.uniform(0.04, 0.96) * canvas.w, stage.horizon - u * chance.uniform(0.06, 0.26)
        wide, tall = u * chance.uniform(0.012, 0.022), u * chance.uniform(0.05, 0.12)
        colour = chance.choice((stage.palette.accent, rgb("ff3d9a"), rgb("ffd23f"), stage.palette.sky[-2]))
        canvas.glow(x + wide / 2, y + tall / 2, tall * 1.3, colour, 0.5)
        canvas.fill([rect(x, y, x + wide, y + tall)], darker(colour, 0.65))
        canvas.fill([rect(x + wide * 0.25, y + tall * (0.08 + 0.23 * i), x + wide * 0.75, y + tall * (0.22 + 0.23 * i))
                     for i in range(4)], lighter(colour, 0.25))  # fmt: skip


def paint_street(stage: Stage) -> None:
    """A wet street in front of the city that takes up its lights."""
    canvas = stage.canvas
    deep = canvas.h - stage.horizon
    dark = mix(stage.palette.near, stage.palette.sky[1], 0.15)
    canvas.reflect(stage.horizon, deep, (mix(dark, stage.palette.sky[-2], 0.25), dark, darker(dark, 0.3)), 0.5)
    chance = stage.plan.chance("street")
    paint_ripples(stage, chance, stage.palette.accent, 0.25)
    vanish = (canvas.w * 0.5, stage.horizon)
    marks: list[Outline] = []
    for i in range(7):
        near, far = (0.12 + 0.16 * i) ** 1.5, (0.12 + 0.16 * (i + 0.5)) ** 1.5
        marks.append([(vanish[0] - near * canvas.u * 0.012, stage.horizon + deep * near),
                      (vanish[0] + near * canvas.u * 0.012, stage.horizon + deep * near),
                      (vanish[0] + far * canvas.u * 0.012, stage.horizon + deep * far),
                      (vanish[0] - far * canvas.u * 0.012, stage.horizon + deep * far)])  # fmt: skip
    canvas.fill(marks, stage.palette.light, 0.55)
