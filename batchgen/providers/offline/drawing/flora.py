"""Flowers and trees in the foreground."""

import math
import random

from batchgen.providers.offline.drawing.canvas import Canvas
from batchgen.providers.offline.drawing.colours import RGB, darker, lighter, mix, rgb
from batchgen.providers.offline.drawing.scene import Scene
from batchgen.providers.offline.drawing.shapes import Outline, ellipse, spline, stroke

_BLOOMS = ("e8503f", "f2a33a", "f4d35e", "e2729f", "9b6bd0", "fbf3ea", "5a7fd8")


def paint_flowers(scene: Scene, close: bool) -> None:
    """A bed of flowers: many small ones far off, or the few large ones in the foreground."""
    canvas, rng = scene.canvas, scene.plan.rng("flowers")
    blooms = [rgb(code) for code in rng.sample(_BLOOMS, 3)]
    named = scene.plan.paints.get("flowers") or scene.plan.tint
    if named is not None:
        blooms = [named, lighter(named, 0.3), darker(named, 0.15)]
    deep = canvas.h - scene.horizon
    kind = rng.randrange(3)
    if not close:
        _dots(scene, rng, blooms)
    for row in (1, 2) if close else (0,):
        count = scene.count((13, 9, 6)[row])
        for i in range(count):
            x = canvas.w * (i + rng.uniform(0.1, 0.9)) / count
            y = scene.horizon + deep * (0.52 + 0.26 * row) + canvas.u * rng.uniform(-0.02, 0.05)
            size = canvas.u * (0.055, 0.085, 0.13)[row] * rng.uniform(0.8, 1.2)
            colour = mix(
                scene.palette.depth(0.7 + 0.1 * row),
                rng.choice(blooms),
                0.62 + 0.14 * row if not scene.night else 0.5,
            )
            _flower(scene, rng, (x, y), size, colour, (kind + (rng.random() < 0.25)) % 3)


def _dots(scene: Scene, rng: random.Random, blooms: list[RGB]) -> None:
    canvas, deep = scene.canvas, scene.canvas.h - scene.horizon
    for colour in blooms:
        dots: list[Outline] = []
        for _ in range(scene.count(130)):
            t = rng.random()
            r = canvas.u * (0.0025 + 0.007 * t)
            dots.append(ellipse(rng.uniform(0, canvas.w), scene.horizon + deep * (0.08 + 0.55 * t), r, r * 0.7)[::5])
        canvas.fill(dots, mix(scene.palette.depth(0.4), colour, 0.75), 0.9)


def _flower(scene: Scene, rng: random.Random, at: tuple[float, float], size: float, colour: RGB, kind: int) -> None:
    canvas, (x, y) = scene.canvas, at
    green = scene.palette.land(rgb("4f8a4a"), 0.9, 0.8)
    lean, tall = size * rng.uniform(-0.4, 0.4), size * rng.uniform(1.8, 2.6)
    foot = (x - lean, y + tall)
    canvas.fill([stroke([foot, (x - lean * 0.3, y + tall * 0.5), (x, y)], (size * 0.1, size * 0.06))], green)
    leaf_y = y + tall * 0.6
    canvas.fill([ellipse(x - lean * 0.5 + size * 0.4, leaf_y, size * 0.42, size * 0.12, -35),
                 ellipse(x - lean * 0.5 - size * 0.4, leaf_y + size * 0.3, size * 0.42, size * 0.12, 35)],
                     (lighter(green, 0.1), darker(green, 0.1)))  # fmt: skip
    (_daisy, _tulip, _poppy)[kind](canvas, x, y, size, colour)


def _daisy(canvas: Canvas, x: float, y: float, size: float, colour: RGB) -> None:
    petals: list[Outline] = []
    for i in range(13):
        angle = math.tau * i / 13
        petals.append(
            ellipse(
                x + math.cos(angle) * size * 0.38,
                y + math.sin(angle) * size * 0.34,
                size * 0.24,
                size * 0.085,
                math.degrees(angle),
            )
        )
    canvas.fill(petals, (lighter(colour, 0.25), colour, darker(colour, 0.12)))
    canvas.fill([ellipse(x, y, size * 0.19, size * 0.17)], (rgb("f7c948"), rgb("c9822b")))


def _tulip(canvas: Canvas, x: float, y: float, size: float, colour: RGB) -> None:
    back = [
        (x - size * 0.2, y - size * 0.5),
        (x + size * 0.2, y - size * 0.5),
        (x + size * 0.2, y),
        (x - size * 0.2, y),
    ]
    canvas.fill([spline(back)], darker(colour, 0.25))
    for side in (-1, 1):
        petal = [
            (x, y + size * 0.24),
            (x + side * size * 0.34, y + size * 0.02),
            (x + side * size * 0.33, y - size * 0.55),
            (x + side * size * 0.02, y - size * 0.1),
        ]
        canvas.fill([spline(petal)], (lighter(colour, 0.2), colour, darker(colour, 0.1)))


def _poppy(canvas: Canvas, x: float, y: float, size: float, colour: RGB) -> None:
    canvas.fill(
        [
            ellipse(x - size * 0.2, y - size * 0.12, size * 0.33, size * 0.28),
            ellipse(x + size * 0.2, y - size * 0.12, size * 0.33, size * 0.28),
        ],
        darker(colour, 0.15),
    )
    canvas.fill([ellipse(x, y + size * 0.08, size * 0.42, size * 0.27)], (lighter(colour, 0.22), colour))
    canvas.fill([ellipse(x, y - size * 0.02, size * 0.1, size * 0.08)], rgb("2a2130"))


def paint_tree(scene: Scene) -> None:
    """One great tree on the ground."""
    canvas, rng, u = scene.canvas, scene.plan.rng("tree"), scene.canvas.u
    x, y = scene.subject_x, scene.horizon + u * 0.14
    bark = scene.palette.land(rgb("5a3f33"), 0.95, 0.6)
    leaf = scene.plan.paints.get("tree", rgb("f0a3b8") if "blossom" in scene.plan.extras else rgb("4f8f52"))
    leaf = scene.palette.land(leaf, 1.0, 0.85)
    canvas.fill([ellipse(x, y, u * 0.24, u * 0.02)], (10, 10, 30), 0.3, u * 0.008)
    limbs = [
        stroke(
            [(x, y + u * 0.01), (x - u * 0.008, y - u * 0.12), (x + u * 0.005, y - u * 0.3)],
            (u * 0.06, u * 0.034, u * 0.024),
        )
    ]
    for dx, dy in ((-0.12, -0.27), (0.13, -0.28), (-0.05, -0.36), (0.07, -0.38)):
        limbs.append(
            stroke(
                [(x, y - u * 0.14), (x + u * dx * 0.5, y + u * dy * 0.78), (x + u * dx, y + u * dy)],
                (u * 0.024, u * 0.008),
            )
        )
    canvas.fill(limbs, (bark, darker(bark, 0.3)))
    for shade, offset in (
        (darker(leaf, 0.28), 0.02),
        (leaf, 0.0),
        (lighter(mix(leaf, scene.palette.light, 0.25), 0.06), -0.03),
    ):
        blobs: list[Outline] = []
        for _ in range(26 if offset >= 0 else 14):
            angle, far = rng.uniform(0, math.tau), rng.random() ** 0.6
            bx = x + math.cos(angle) * far * u * 0.19 + u * offset * (1 if scene.sun[0] < x else -1)
            by = y - u * 0.36 + math.sin(angle) * far * u * 0.12 + u * offset * 1.4
            r = u * rng.uniform(0.03, 0.065)
            blobs.append(ellipse(bx, by, r, r * 0.86))
        canvas.fill(blobs, shade, 0.97)
