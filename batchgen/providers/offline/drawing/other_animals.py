"""Animals that swim, fly and stand."""

import math
import random

from batchgen.providers.offline.drawing.canvas import Sprite
from batchgen.providers.offline.drawing.colours import RGB, darker, lighter, mix, rgb
from batchgen.providers.offline.drawing.shapes import Outline, Point, ellipse, spline, stroke

INK = rgb("1d1a24")


def paint_fish(sprite: Sprite, colour: RGB) -> None:
    """A fish in profile, middle at (0, 0), with a light belly and two bands."""
    dark, pale = darker(colour, 0.3), lighter(colour, 0.75)
    sprite.part(
        spline([(0.4, 0.0), (0.56, -0.2), (0.72, -0.28), (0.66, 0.0), (0.72, 0.28), (0.56, 0.2)]), (dark, colour, dark)
    )
    sprite.part(spline([(-0.22, -0.22), (-0.02, -0.44), (0.26, -0.36), (0.36, -0.14), (0.1, -0.2)]), (dark, colour))
    sprite.part(spline([(-0.05, 0.22), (0.1, 0.4), (0.26, 0.32), (0.2, 0.16)]), (colour, dark))
    sprite.part(spline([(-0.56, 0.02), (-0.4, -0.18), (-0.08, -0.285), (0.22, -0.2), (0.47, -0.04),
        (0.47, 0.05), (0.2, 0.21), (-0.1, 0.275), (-0.4, 0.18)]),
                (lighter(colour, 0.12), colour, mix(colour, pale, 0.55)))  # fmt: skip
    for x, tall in ((-0.2, 0.26), (0.16, 0.215)):
        sprite.part(
            spline(
                [
                    (x - 0.05, -tall),
                    (x + 0.055, -tall),
                    (x + 0.085, 0.0),
                    (x + 0.045, tall),
                    (x - 0.055, tall),
                    (x - 0.01, 0.0),
                ]
            ),
            pale,
            0.92,
        )
    sprite.part(spline([(-0.08, 0.02), (0.1, -0.02), (0.16, 0.1), (0.06, 0.15)]), (dark, colour), 0.85)
    sprite.part(ellipse(-0.39, -0.045, 0.055, 0.055), (255, 255, 255))
    sprite.part(ellipse(-0.4, -0.045, 0.034, 0.034), INK)
    sprite.part(ellipse(-0.41, -0.06, 0.012, 0.012), (255, 255, 255))
    sprite.part(stroke([(-0.545, 0.05), (-0.48, 0.075), (-0.44, 0.06)], (0.012,)), dark)


def paint_whale(sprite: Sprite, colour: RGB | None, light: RGB) -> None:
    """A whale in a leap, middle at (0, 0), about one wide."""
    base = colour or rgb("2f5c86")
    dark, pale = darker(base, 0.35), mix(rgb("e6eef0"), base, 0.15)
    sprite.part(
        spline(
            [
                (0.46, 0.08),
                (0.55, -0.04),
                (0.53, -0.2),
                (0.62, -0.12),
                (0.66, -0.05),
                (0.76, -0.12),
                (0.85, -0.12),
                (0.76, 0.03),
                (0.62, 0.07),
                (0.52, 0.14),
            ]
        ),
        (base, dark),
    )
    body: list[Point] = [(-0.52, 0.02), (-0.5, -0.1), (-0.38, -0.2), (-0.16, -0.235), (0.08, -0.19),
        (0.3, -0.07), (0.48, 0.03), (0.58, 0.03),
                         (0.55, 0.09), (0.42, 0.15), (0.2, 0.2), (-0.08, 0.22), (-0.34, 0.18),
                         (-0.48, 0.1)]  # fmt: skip
    sprite.part(spline(body), (lighter(mix(base, light, 0.2), 0.06), base, dark))
    sprite.part(spline([(-0.525, 0.03), (-0.4, 0.06), (-0.2, 0.045), (0.0, 0.09), (0.2, 0.16), (0.16, 0.205),
        (-0.08, 0.218), (-0.34, 0.178), (-0.48, 0.1)]),
                (pale, mix(pale, base, 0.35)))  # fmt: skip
    for i in range(5):
        y = 0.085 + 0.026 * i
        sprite.part(
            stroke([(-0.46 + 0.045 * i, y), (-0.2, y + 0.012), (0.0 + 0.01 * i, y + 0.025)], (0.002, 0.008, 0.002)),
            mix(base, pale, 0.35),
            0.7,
        )
    sprite.part(
        spline([(-0.22, 0.08), (-0.1, 0.12), (-0.02, 0.3), (-0.07, 0.36), (-0.17, 0.27), (-0.25, 0.14)]), (base, dark)
    )
    sprite.part(spline([(0.12, -0.17), (0.22, -0.24), (0.27, -0.21), (0.24, -0.1)]), dark)
    sprite.part(ellipse(-0.335, 0.015, 0.021, 0.021), INK)
    sprite.part(ellipse(-0.342, 0.008, 0.007, 0.007), (255, 255, 255))
    sprite.part(stroke([(-0.52, 0.045), (-0.4, 0.062), (-0.31, 0.05)], (0.008,)), dark)


def paint_standing(sprite: Sprite, name: str, colour: RGB | None, light: RGB) -> None:
    """A horse or a stag in profile, looking left."""
    stag = name == "deer"
    base = colour or (rgb("9a5f38") if stag else rgb("7d4a2e"))
    dark = darker(base, 0.42)
    fur = (lighter(mix(base, light, 0.18), 0.05), base, darker(base, 0.25))
    sprite.part(ellipse(0.05, 0.0, 0.42, 0.03), (10, 10, 30), 0.28, 0.012)
    if not stag:
        sprite.part(
            stroke([(0.3, -0.53), (0.42, -0.5), (0.46, -0.3), (0.43, -0.12)], (0.05, 0.1, 0.1, 0.01)),
            (dark, darker(dark, 0.3)),
        )
    for x, bend in ((-0.13, -0.02), (0.31, 0.035)):
        _leg(sprite, x, bend, dark, darker(dark, 0.35), 0.9)
    neck: list[Point] = [
        (-0.26, -0.4),
        (-0.27, -0.55),
        (-0.36, -0.78),
        (-0.33, -0.86),
        (-0.25, -0.88),
        (-0.12, -0.72),
        (0.0, -0.565),
        (-0.02, -0.42),
    ]
    sprite.part(spline(neck), fur)
    sprite.part(spline([(-0.26, -0.45), (-0.2, -0.555), (0.0, -0.575), (0.16, -0.555), (0.3, -0.565),
        (0.365, -0.47), (0.35, -0.34),
                        (0.22, -0.3), (0.02, -0.275), (-0.16, -0.29), (-0.25, -0.34)]), fur)  # fmt: skip
    for x, bend in ((-0.19, 0.015), (0.25, 0.05)):
        _leg(sprite, x, bend, base, dark, 1.0)
    sprite.part(spline([(-0.27, -0.9), (-0.24, -0.82), (-0.3, -0.755), (-0.4, -0.7), (-0.5, -0.655),
        (-0.545, -0.67), (-0.545, -0.725), (-0.46, -0.79),
                        (-0.37, -0.89), (-0.31, -0.915)]), fur)  # fmt: skip
    sprite.part(ellipse(-0.515, -0.69, 0.034, 0.032), dark)
    sprite.part([(-0.295, -0.88), (-0.265, -0.985), (-0.235, -0.87)], (dark, base))
    sprite.part(ellipse(-0.375, -0.815, 0.014, 0.016), INK)
    if stag:
        _antlers(sprite)
        sprite.part(spline([(0.33, -0.56), (0.41, -0.52), (0.37, -0.44)]), rgb("f4e8d6"))
        sprite.parts(
            [ellipse(-0.05 + 0.08 * i, -0.49 + 0.035 * (i % 2), 0.012, 0.01) for i in range(5)],
            lighter(base, 0.55),
            0.8,
        )
    else:
        sprite.part(spline([(-0.31, -0.92), (-0.23, -0.93), (-0.1, -0.76), (0.03, -0.56), (-0.06, -0.55),
            (-0.12, -0.6), (-0.13, -0.68), (-0.2, -0.7),
                            (-0.2, -0.79), (-0.26, -0.8), (-0.34, -0.82)], 5), (dark, darker(dark, 0.3)))  # fmt: skip


def _leg(sprite: Sprite, x: float, bend: float, colour: RGB, foot: RGB, width: float) -> None:
    line: list[Point] = [(x, -0.4), (x + bend, -0.19), (x - bend * 0.2, -0.05), (x - bend * 0.2 - 0.005, 0.0)]
    sprite.part(
        stroke(line, (0.13 * width, 0.062 * width, 0.045 * width, 0.05)), (colour, colour, mix(colour, foot, 0.6))
    )
    sprite.part(
        [
            (x - bend * 0.2 - 0.032, -0.032),
            (x - bend * 0.2 + 0.024, -0.032),
            (x - bend * 0.2 + 0.032, 0.004),
            (x - bend * 0.2 - 0.046, 0.004),
        ],
        foot,
    )


def _antlers(sprite: Sprite) -> None:
    bone = (rgb("efe0c2"), rgb("b4946a"))
    for side, paint in ((0.05, rgb("a58a66")), (0.0, bone)):
        line: list[Point] = [(-0.3 + side, -0.9), (-0.24 + side, -1.02), (-0.29 + side, -1.15), (-0.4 + side, -1.24)]
        arms = [stroke(line, (0.026, 0.022, 0.016, 0.006))]
        for i, (dx, dy) in enumerate(((-0.14, -0.05), (-0.13, -0.09), (0.1, -0.12))):
            x, y = line[min(2, i + 1)]
            arms.append(stroke([(x, y), (x + dx * 0.7, y + dy * 0.3), (x + dx, y + dy)], (0.018, 0.014, 0.004)))
        sprite.parts(arms, paint)


def paint_splash(sprite: Sprite, rng: random.Random, colour: RGB) -> None:
    """Water thrown up around (0, 0), about one wide."""
    drops: list[Outline] = []
    for _ in range(44):
        angle, far = rng.uniform(math.pi * 1.08, math.pi * 1.92), rng.random() ** 0.8
        x, y = math.cos(angle) * (0.34 + 0.16 * far), math.sin(angle) * 0.4 * far
        r = 0.011 * (1 - far) + 0.002
        drops.append(ellipse(x, y, r, r)[::2])
    drops += [ellipse(rng.uniform(-0.36, 0.36), 0.005, rng.uniform(0.05, 0.11), 0.028) for _ in range(9)]
    sprite.parts(drops, lighter(colour, 0.6), 0.85)
