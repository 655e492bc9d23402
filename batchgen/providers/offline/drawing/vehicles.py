"""Boats, balloons and rockets."""

import math
import random

from batchgen.providers.offline.drawing.buildings import wall_colours
from batchgen.providers.offline.drawing.canvas import Sprite
from batchgen.providers.offline.drawing.colours import RGB, darker, lighter, mix, rgb
from batchgen.providers.offline.drawing.scene import Scene
from batchgen.providers.offline.drawing.shapes import Outline, Point, ellipse, rect, rounded, spline, stroke


def paint_boat(scene: Scene, sprite: Sprite, colour: RGB | None) -> None:
    """A boat under sail."""
    lit = wall_colours(scene, colour or rgb("fbf4e6"))
    sail = (lighter(lit[0], 0.35), mix(lit[0], lit[1], 0.5))
    hull = wall_colours(scene, rgb("8a3f34") if colour is None else darker(colour, 0.45))
    sprite.part(ellipse(0, 0.03, 0.45, 0.03), scene.palette.near, 0.35, 0.01)
    sprite.part(rect(-0.012, -0.98, 0.012, -0.1), darker(hull[1], 0.4))
    sprite.part(
        spline([(0.025, -0.95), (0.03, -0.16), (0.4, -0.16), (0.28, -0.5)], 8),
        (lighter(sail[0], 0.2), sail[0], sail[1]),
    )
    sprite.part(
        spline([(-0.03, -0.82), (-0.03, -0.2), (-0.3, -0.18), (-0.17, -0.5)], 8), (sail[0], mix(sail[0], sail[1], 0.8))
    )
    sprite.part([(0.0, -0.98), (0.13, -0.95), (0.0, -0.92)], scene.palette.accent)
    sprite.part(
        [
            *spline(
                [
                    (-0.47, -0.14),
                    (-0.3, -0.125),
                    (0.3, -0.125),
                    (0.5, -0.16),
                    (0.4, -0.02),
                    (0.28, 0.03),
                    (-0.28, 0.03),
                    (-0.4, -0.03),
                ],
                4,
            )
        ],
        hull,
    )
    sprite.part([(-0.44, -0.105), (0.46, -0.115), (0.45, -0.085), (-0.42, -0.08)], lighter(sail[0], 0.1), 0.85)
    sprite.parts(
        [ellipse(-0.3 + 0.15 * i, 0.03, 0.1, 0.012) for i in range(5)], lighter(scene.palette.sky[-1], 0.6), 0.75
    )


_SILKS = (
    ("d8433b", "f6e7c8"), ("e2873a", "fdf0d2"), ("2a8c8c", "f4d35e"), ("5b4b9a", "f08a8a"),
    ("e0b23c", "b23a48"), ("2f6fb0", "f4f1e6"),
)  # fmt: skip


def paint_balloon(scene: Scene, sprite: Sprite, colour: RGB | None, rng: random.Random) -> None:
    """A hot air balloon, foot of the basket at (0, 0)."""
    first, second = (rgb(code) for code in rng.choice(_SILKS))
    first = colour or first
    first, second = mix(first, scene.palette.sky[-1], 0.08), mix(second, scene.palette.sky[-1], 0.08)
    if scene.night:
        sprite.glow(0, -0.5, 0.6, scene.palette.accent, 0.4)
    _gores(sprite, first, second)
    side = 1 if scene.sun[0] < sprite.at(0, 0)[0] else -1
    sprite.part(_envelope(0.985, 0.35 * side), scene.palette.near, 0.26)
    sprite.part(ellipse(-0.13 * side, -0.78, 0.07, 0.12, 20 * side), (255, 255, 255), 0.3, 0.025)
    sprite.part([(-0.085, -0.245), (0.085, -0.245), (0.06, -0.2), (-0.06, -0.2)], darker(first, 0.3))
    sprite.parts(
        [stroke([(x, -0.22), (x * 0.75, -0.09)], (0.006,), False) for x in (-0.075, -0.025, 0.025, 0.075)],
        rgb("4a3428"),
    )
    sprite.part(rounded(-0.062, -0.1, 0.062, 0.0, 0.02), (rgb("a9713c"), rgb("6b4226")))
    sprite.part(rect(-0.068, -0.105, 0.068, -0.087), rgb("5a3620"))


def _envelope(width: float, cut: float = 0.0) -> Outline:
    """The balloon's outline; a `cut` leaves only its one side."""
    half: list[Point] = []
    for i in range(33):
        t = i / 32
        y = -1.0 + 0.77 * t
        wide = math.sin(math.acos(max(-1.0, 1 - t / 0.38))) if t < 0.38 else 1 - ((t - 0.38) / 0.62) ** 1.75 * 0.74
        half.append((0.345 * wide * width, y))
    if cut:
        side = 1 if cut > 0 else -1
        return [*((x * side, y) for x, y in half), *((x * abs(cut) * side, y) for x, y in half[::-1])]
    return [*half, *((-x, y) for x, y in half[::-1])]


def _gores(sprite: Sprite, first: RGB, second: RGB) -> None:
    sprite.part(_envelope(1.0), (lighter(first, 0.12), first, darker(first, 0.15)))
    edges = [math.sin(math.radians(angle)) for angle in range(-90, 91, 20)]
    for i in range(1, len(edges) - 1, 2):
        left, right = _envelope(edges[i]), _envelope(edges[i + 1])
        strip = [*left[:33], *right[:33][::-1]]
        sprite.part(strip, (lighter(second, 0.15), second, darker(second, 0.12)))


def paint_rocket(scene: Scene, sprite: Sprite, colour: RGB | None) -> None:
    """A rocket on its flame; tilt comes with the sprite."""
    hull, trim = rgb("f3efe6"), colour or rgb("d8433b")
    sprite.glow(0, 0.12, 0.55, rgb("ffb347"), 0.6)
    sprite.part(
        spline([(-0.1, 0.0), (-0.12, 0.14), (0.0, 0.52), (0.12, 0.14), (0.1, 0.0)]),
        (rgb("ffcf5a"), rgb("ff7a3c"), rgb("e0433a")),
        0.95,
    )
    sprite.part(
        spline([(-0.055, 0.0), (-0.06, 0.1), (0.0, 0.28), (0.06, 0.1), (0.055, 0.0)]), (rgb("fffbe0"), rgb("ffe27a"))
    )
    for side in (-1, 1):
        sprite.part(
            spline([(side * 0.12, -0.36), (side * 0.29, -0.13), (side * 0.29, 0.06), (side * 0.11, -0.06)], 5),
            (trim, darker(trim, 0.35)),
        )
    sprite.part(rounded(-0.09, -0.06, 0.09, 0.02, 0.02), rgb("4a4f63"))
    body = [
        (0.0, -1.0),
        (0.12, -0.78),
        (0.175, -0.5),
        (0.16, -0.2),
        (0.105, -0.03),
        (-0.105, -0.03),
        (-0.16, -0.2),
        (-0.175, -0.5),
        (-0.12, -0.78),
    ]
    sprite.part(spline(body), (hull, hull, mix(hull, scene.palette.far, 0.3)))
    sprite.part(
        spline(
            [
                (0.0, -0.99),
                (0.12, -0.78),
                (0.175, -0.5),
                (0.16, -0.2),
                (0.105, -0.03),
                (0.04, -0.03),
                (0.085, -0.3),
                (0.085, -0.62),
            ]
        ),
        scene.palette.sky[0],
        0.25,
    )
    sprite.part(
        spline([(0.0, -1.01), (0.08, -0.86), (0.115, -0.745), (0.0, -0.715), (-0.115, -0.745), (-0.08, -0.86)]),
        (lighter(trim, 0.15), trim),
    )
    sprite.part(ellipse(0, -0.53, 0.085, 0.085), rgb("4a4f63"))
    sprite.part(ellipse(0, -0.53, 0.062, 0.062), (rgb("9fe3ff"), rgb("2f7bc0")))
    sprite.part(ellipse(-0.022, -0.555, 0.016, 0.012, -30), (255, 255, 255), 0.9)
    sprite.part(
        spline([(-0.012, -0.33), (0.012, -0.33), (0.02, -0.1), (0.012, 0.06), (-0.012, 0.06), (-0.02, -0.1)]), trim
    )
