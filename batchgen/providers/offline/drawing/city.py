"""A skyline by day or night, and the street in front of it."""

import random

from batchgen.providers.offline.drawing.colours import darker, lighter, mix, rgb
from batchgen.providers.offline.drawing.land import paint_ripples
from batchgen.providers.offline.drawing.scene import Scene
from batchgen.providers.offline.drawing.shapes import Outline, rect
from batchgen.providers.offline.drawing.sky import paint_mist


def paint_city(scene: Scene) -> None:
    """Three rows of towers, lit by night."""
    rng = scene.plan.rng("city")
    neon = scene.night
    for row, share in enumerate((0.08, 0.36, 0.75)):
        _towers(scene, rng, row, share, neon)
        if row < 2:
            paint_mist(scene, scene.horizon, 0.4)


def _towers(scene: Scene, rng: random.Random, row: int, share: float, lit: bool) -> None:
    canvas, base = scene.canvas, scene.horizon + 3
    colour = mix(scene.palette.depth(share), scene.palette.sky[1], 0.2 - share * 0.2)
    x, gap = -0.02 * canvas.w, canvas.u * 0.012
    bodies: list[Outline] = []
    windows: list[list[Outline]] = [[], [], []]
    while x < canvas.w:
        wide = canvas.u * rng.uniform(0.05, 0.12) * (0.8 + 0.25 * row)
        tall = canvas.u * rng.uniform(0.14, 0.48) * (1.05 - 0.2 * row)
        middle = 1 - abs(x / canvas.w - 0.5)
        bodies += _tower(rng, x, base, wide, tall * (0.55 + 0.6 * middle))
        if row:
            _windows(scene, rng, windows, (x, base - tall * (0.55 + 0.6 * middle), x + wide, base), lit)
        x += wide + gap * rng.uniform(0, 1.6 if row == 2 else 0.4)
    canvas.fill(bodies, (colour, mix(colour, scene.palette.sky[-1], 0.45 - 0.3 * share)))
    for outlines, paint in zip(windows, (scene.palette.accent, rgb("ffe7a8"), scene.palette.sky[-2]), strict=True):
        canvas.fill(
            outlines,
            paint if lit else mix(colour, scene.palette.light, 0.5),
            (0.9 if lit else 0.6) * (0.6 + 0.15 * row),
        )
    if row == 2 and lit:
        _signs(scene, rng)


def _tower(rng: random.Random, x: float, base: float, wide: float, tall: float) -> list[Outline]:
    top = base - tall
    out: list[Outline] = [rect(x, top, x + wide, base)]
    kind = rng.randrange(5)
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
    scene: Scene, rng: random.Random, windows: list[list[Outline]], box: tuple[float, float, float, float], lit: bool
) -> None:
    u = scene.canvas.u
    x0, y0, x1, y1 = box
    step_x, step_y = u * 0.0125, u * 0.019
    columns, rows = int((x1 - x0 - step_x * 0.6) / step_x), int((y1 - y0) / step_y)
    margin = (x1 - x0 - columns * step_x) / 2
    chosen = rng.randrange(3)
    for column in range(columns):
        for row in range(rows):
            if rng.random() < (0.46 if lit else 0.62):
                x, y = x0 + margin + (column + 0.22) * step_x, y0 + (row + 0.5) * step_y
                which = chosen if rng.random() < 0.7 else 1
                windows[which].append(rect(x, y, x + step_x * 0.55, y + step_y * 0.5))


def _signs(scene: Scene, rng: random.Random) -> None:
    """Upright neon signs with a halo."""
    canvas, u = scene.canvas, scene.canvas.u
    for _ in range(scene.count(6)):
        x, y = rng.uniform(0.04, 0.96) * canvas.w, scene.horizon - u * rng.uniform(0.06, 0.26)
        wide, tall = u * rng.uniform(0.012, 0.022), u * rng.uniform(0.05, 0.12)
        colour = rng.choice((scene.palette.accent, rgb("ff3d9a"), rgb("ffd23f"), scene.palette.sky[-2]))
        canvas.glow(x + wide / 2, y + tall / 2, tall * 1.3, colour, 0.5)
        canvas.fill([rect(x, y, x + wide, y + tall)], darker(colour, 0.65))
        canvas.fill([rect(x + wide * 0.25, y + tall * (0.08 + 0.23 * i), x + wide * 0.75, y + tall * (0.22 + 0.23 * i))
                     for i in range(4)], lighter(colour, 0.25))  # fmt: skip


def paint_street(scene: Scene) -> None:
    """A wet street in front of the city that takes up its lights."""
    canvas = scene.canvas
    deep = canvas.h - scene.horizon
    dark = mix(scene.palette.near, scene.palette.sky[1], 0.15)
    canvas.reflect(scene.horizon, deep, (mix(dark, scene.palette.sky[-2], 0.25), dark, darker(dark, 0.3)), 0.5)
    rng = scene.plan.rng("street")
    paint_ripples(scene, rng, scene.palette.accent, 0.25)
    vanish = (canvas.w * 0.5, scene.horizon)
    marks: list[Outline] = []
    for i in range(7):
        near, far = (0.12 + 0.16 * i) ** 1.5, (0.12 + 0.16 * (i + 0.5)) ** 1.5
        marks.append([(vanish[0] - near * canvas.u * 0.012, scene.horizon + deep * near),
                      (vanish[0] + near * canvas.u * 0.012, scene.horizon + deep * near),
                      (vanish[0] + far * canvas.u * 0.012, scene.horizon + deep * far),
                      (vanish[0] - far * canvas.u * 0.012, scene.horizon + deep * far)])  # fmt: skip
    canvas.fill(marks, scene.palette.light, 0.55)
