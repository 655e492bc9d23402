"""Forests of firs: distant rows, a shore, and trees in the foreground."""

import random

from batchgen.providers.offline.drawing.colours import RGB, darker, lighter, mix
from batchgen.providers.offline.drawing.land import LEAF, SNOW, Line, below, ridge_line
from batchgen.providers.offline.drawing.scene import Scene
from batchgen.providers.offline.drawing.shapes import Outline, rect
from batchgen.providers.offline.drawing.sky import paint_mist


def paint_forest(scene: Scene, floor: bool = True) -> None:
    """Rows of firs that come out of the haze; snow lies where it snows."""
    rng, canvas = scene.plan.rng("forest"), scene.canvas
    local = scene.plan.paints.get("forest", LEAF)
    for row, share in enumerate((0.12, 0.34, 0.62)):
        y = scene.horizon + canvas.u * (0.0 + 0.035 * row)
        line = ridge_line(rng, scene, y, 0.018, 0.2)
        colour = scene.palette.land(local, share, 0.5)
        tall = canvas.u * (0.15, 0.21, 0.30)[row]
        _tree_row(scene, rng, line, tall, colour, (46, 34, 15)[row], gap=row == 2)
        ground = _ground(scene, colour, share)
        canvas.fill([below(scene, line)], (mix(ground, scene.palette.sky[-1], 0.25), ground))
        if row < 2:
            paint_mist(scene, y, 0.34)
    if floor:
        _forest_floor(scene, rng)


def _ground(scene: Scene, colour: RGB, share: float) -> RGB:
    if scene.plan.weather == "snow":
        return mix(mix(SNOW, scene.palette.sky[-1], 0.35), scene.palette.far, 0.3 - 0.15 * share)
    return colour


def _tree_row(scene: Scene, rng: random.Random, line: Line, tall: float, colour: RGB, count: int, gap: bool) -> None:
    canvas = scene.canvas
    trees: list[Outline] = []
    caps: list[Outline] = []
    for _ in range(scene.count(count)):
        x = rng.uniform(-0.02, 1.02) * canvas.w
        if gap and abs(x - scene.subject_x) < canvas.u * 0.24:
            continue
        height = tall * rng.uniform(0.6, 1.15)
        trees += fir(x, line(x) + tall * 0.05, height)
        if scene.plan.weather == "snow":
            caps += fir_snow(x, line(x) + tall * 0.05, height)
    canvas.fill(trees, (lighter(colour, 0.08), colour, darker(colour, 0.12)))
    canvas.fill(caps, mix(SNOW, scene.palette.sky[-1], 0.3), 0.8)


def fir(x: float, y: float, tall: float) -> list[Outline]:
    """A fir with its foot at (x, y)."""
    out: list[Outline] = [rect(x - tall * 0.025, y - tall * 0.16, x + tall * 0.025, y)]
    for i in range(4):
        top, half = y - tall * (1 - 0.21 * i), tall * (0.11 + 0.055 * i)
        foot = top + tall * (0.3 if i else 0.27)
        out.append([(x, top), (x + half, foot), (x + half * 0.45, foot - tall * 0.025), (x, foot + tall * 0.012),
                    (x - half * 0.45, foot - tall * 0.025), (x - half, foot)])  # fmt: skip
    return out


def fir_snow(x: float, y: float, tall: float) -> list[Outline]:
    out: list[Outline] = []
    for i in range(4):
        top, half = y - tall * (1 - 0.21 * i), tall * (0.11 + 0.055 * i)
        foot = top + tall * (0.3 if i else 0.27)
        out.append([(x - half * 0.1, top + tall * 0.08), (x - half * 0.35, foot - tall * 0.07), (x - half, foot),
                    (x - half * 0.62, foot - tall * 0.12)])  # fmt: skip
        if i == 0:
            out.append(
                [
                    (x, top),
                    (x + half * 0.36, top + tall * 0.1),
                    (x, top + tall * 0.075),
                    (x - half * 0.36, top + tall * 0.1),
                ]
            )
    return out


def _forest_floor(scene: Scene, rng: random.Random) -> None:
    canvas = scene.canvas
    y = scene.horizon + (canvas.h - scene.horizon) * 0.42
    for row, share in enumerate((0.75, 0.95)):
        line = ridge_line(rng, scene, y + canvas.u * 0.13 * row, 0.02, 0.3)
        colour = scene.palette.land(scene.plan.paints.get("forest", LEAF), share, 0.45)
        ground = _ground(scene, colour, share)
        canvas.fill(
            [below(scene, line)], (lighter(mix(ground, scene.palette.light, 0.18), 0.06), ground, darker(ground, 0.16))
        )
        if row == 0 and scene.plan.weather == "snow":
            canvas.glow(
                scene.subject_x, line(scene.subject_x) + canvas.u * 0.1, canvas.u * 0.14, scene.palette.light, 0.35, 3.0
            )


def paint_frame(scene: Scene) -> None:
    """Dark firs at one edge, in the foreground, that lead into the picture."""
    rng, canvas = scene.plan.rng("frame"), scene.canvas
    side = 1 if scene.subject_x < canvas.w / 2 else 0
    colour = darker(scene.palette.near, 0.2)
    trees: list[Outline] = []
    caps: list[Outline] = []
    for i in range(3):
        x = canvas.w * side + (1 - 2 * side) * canvas.u * (0.0 + 0.1 * i) * rng.uniform(0.6, 1.1)
        tall = canvas.u * (0.85 - 0.2 * i) * rng.uniform(0.85, 1.1)
        trees += fir(x, canvas.h + canvas.u * 0.02, tall)
        caps += fir_snow(x, canvas.h + canvas.u * 0.02, tall)
    canvas.fill(trees, (colour, darker(colour, 0.3)))
    if scene.plan.weather == "snow":
        canvas.fill(caps, mix(SNOW, scene.palette.sky[1], 0.35), 0.75)


def paint_shore_firs(scene: Scene) -> None:
    rng, canvas = scene.plan.rng("shore"), scene.canvas
    colour = scene.palette.land(LEAF, 0.6, 0.4)
    trees = [
        part
        for _ in range(scene.count(44))
        for part in fir(rng.uniform(0, 1) * canvas.w, scene.horizon + 2, canvas.u * rng.uniform(0.03, 0.085))
    ]
    canvas.fill(trees, (colour, darker(colour, 0.2)))
