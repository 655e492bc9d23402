"""Owls and flying birds."""

import random

from batchgen.providers.offline.drawing.canvas import Canvas, Sprite
from batchgen.providers.offline.drawing.colours import RGB, darker, lighter, mix, rgb
from batchgen.providers.offline.drawing.shapes import Outline, Point, ellipse, spline, stroke

INK = rgb("1d1a24")


def paint_owl(sprite: Sprite, colour: RGB | None) -> None:
    """An owl on a branch."""
    base = colour or rgb("8a6544")
    pale, dark = lighter(mix(base, rgb("f1dcb8"), 0.6), 0.2), darker(base, 0.3)
    sprite.part(
        stroke([(-1.1, 0.03), (-0.4, -0.02), (0.3, 0.02), (0.9, -0.1)], (0.07, 0.06, 0.05, 0.02)),
        (rgb("4a3328"), rgb("2a1c1a")),
    )
    sprite.part(stroke([(0.3, 0.01), (0.55, -0.14), (0.68, -0.16)], (0.03, 0.01)), rgb("3a2822"))
    sprite.part(spline([(-0.1, -0.05), (-0.06, 0.22), (0.0, 0.25), (0.06, 0.22), (0.1, -0.05)]), dark)
    sprite.part(spline([(-0.22, -0.98), (-0.12, -0.9), (0.0, -0.88), (0.12, -0.9), (0.22, -0.98),
        (0.27, -0.75), (0.29, -0.4), (0.2, -0.08),
                        (0.0, 0.0), (-0.2, -0.08), (-0.29, -0.4), (-0.27, -0.75)]), (base, base, dark))  # fmt: skip
    sprite.part(spline([(-0.16, -0.5), (0.0, -0.56), (0.16, -0.5), (0.15, -0.2), (0.0, -0.05), (-0.15, -0.2)]), pale)
    rows = ((-0.43, (-0.075, 0.0, 0.075)), (-0.33, (-0.038, 0.038)), (-0.23, (-0.075, 0.0, 0.075)))
    spots = [(x, y) for y, xs in rows for x in xs]
    sprite.parts([spline([(x - 0.024, y), (x, y - 0.012), (x + 0.024, y), (x, y + 0.035)], 4) for x, y in spots], base)
    for side in (-1, 1):
        sprite.part(
            spline(
                [
                    (side * 0.27, -0.62),
                    (side * 0.32, -0.36),
                    (side * 0.24, -0.04),
                    (side * 0.15, -0.2),
                    (side * 0.17, -0.48),
                ]
            ),
            (darker(base, 0.12), dark),
        )
        sprite.part(ellipse(side * 0.118, -0.72, 0.135, 0.135), pale)
        sprite.part(ellipse(side * 0.108, -0.72, 0.088, 0.088), (rgb("ffd35a"), rgb("f29f2e")))
        sprite.part(ellipse(side * 0.1, -0.72, 0.05, 0.05), INK)
        sprite.part(ellipse(side * 0.1 + 0.02, -0.74, 0.017, 0.017), (255, 255, 255))
        sprite.part([(side * 0.02, -0.84), (side * 0.23, -0.97), (side * 0.24, -0.83), (side * 0.1, -0.83)], dark)
        sprite.parts([ellipse(side * (0.06 + 0.035 * i), 0.0, 0.017, 0.035) for i in range(3)], rgb("e39a35"))
    sprite.part([(-0.035, -0.7), (0.035, -0.7), (0.0, -0.6)], (rgb("f6b042"), rgb("c97a1e")))


def paint_birds(canvas: Canvas, rng: random.Random, x: float, y: float, size: float, colour: RGB, count: int) -> None:
    """Birds on the wing, far off."""
    birds: list[Outline] = []
    for _ in range(count):
        s, bx, by = size * rng.uniform(0.5, 1.1), x + rng.gauss(0, size * 3.2), y + rng.gauss(0, size * 1.4)
        lift = s * rng.uniform(0.2, 0.55)
        birds.append([*_arc((bx - s, by - lift * 0.3), (bx - s * 0.5, by - lift), (bx, by)), *_arc((bx, by),
            (bx + s * 0.5, by - lift), (bx + s, by - lift * 0.3)),
                      *_arc((bx + s, by - lift * 0.3), (bx + s * 0.5, by - lift * 0.62), (bx, by + s * 0.13)),
                      *_arc((bx, by + s * 0.13), (bx - s * 0.5, by - lift * 0.62),
                      (bx - s, by - lift * 0.3))])  # fmt: skip
    canvas.fill(birds, colour, 0.85)


def _arc(a: Point, b: Point, c: Point) -> Outline:
    out: Outline = []
    for i in range(7):
        t = i / 6
        out.append(
            (
                (1 - t) ** 2 * a[0] + 2 * t * (1 - t) * b[0] + t * t * c[0],
                (1 - t) ** 2 * a[1] + 2 * t * (1 - t) * b[1] + t * t * c[1],
            )
        )
    return out


def paint_bird(sprite: Sprite, colour: RGB | None) -> None:
    """A bird on the wing, close; its middle is (0, 0)."""
    base = colour or rgb("e8ecf2")
    dark = darker(base, 0.35)
    sprite.part(
        spline([(0.05, -0.02), (0.2, -0.4), (0.5, -0.66), (0.62, -0.62), (0.46, -0.34), (0.28, -0.04)]),
        (dark, mix(base, dark, 0.5)),
    )
    sprite.part([(0.28, -0.02), (0.66, 0.0), (0.58, 0.05), (0.68, 0.1), (0.3, 0.1)], (base, dark))
    sprite.part(
        spline(
            [
                (-0.46, -0.04),
                (-0.36, -0.12),
                (-0.1, -0.13),
                (0.2, -0.06),
                (0.42, 0.05),
                (0.2, 0.12),
                (-0.12, 0.12),
                (-0.36, 0.05),
            ]
        ),
        (lighter(base, 0.2), base, dark),
    )
    sprite.part(
        spline([(-0.12, -0.04), (-0.06, -0.42), (0.12, -0.78), (0.26, -0.84), (0.22, -0.5), (0.2, -0.1), (0.06, 0.03)]),
        (dark, base, lighter(base, 0.15)),
    )
    sprite.part([(-0.45, -0.06), (-0.6, 0.0), (-0.44, 0.015)], rgb("f0a63a"))
    sprite.part(ellipse(-0.37, -0.055, 0.02, 0.02), INK)
