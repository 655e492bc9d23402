"""Busts for portraits: a robot, a person, an astronaut. Foot of the bust at (0, 0), crown near -1."""

import random

from batchgen.providers.offline.drawing.canvas import Sprite
from batchgen.providers.offline.drawing.colours import RGB, darker, lighter, mix, rgb
from batchgen.providers.offline.drawing.palette import Palette
from batchgen.providers.offline.drawing.shapes import ellipse, mirrored, rect, rounded, spline, stroke

_METALS = (rgb("7fa6b8"), rgb("d98a5b"), rgb("8f8fc0"), rgb("6fb39a"), rgb("c9b26a"), rgb("a9b4c0"))
_SKINS = (rgb("f1c9a5"), rgb("d9a077"), rgb("b0744e"), rgb("7a4a32"), rgb("e8b58f"))
_HAIRS = (rgb("2b2029"), rgb("5a3423"), rgb("a8552f"), rgb("d8a24a"), rgb("3a3f5a"), rgb("8a2f4a"))


def paint_robot(sprite: Sprite, palette: Palette, colour: RGB | None, rng: random.Random) -> None:
    """A friendly robot with lamps for eyes."""
    metal = colour or rng.choice(_METALS)
    lit, dark = lighter(metal, 0.3), darker(metal, 0.4)
    lamp = rng.choice((rgb("5ff2e0"), rgb("ffd45a"), rgb("ff7a6b"), rgb("9be564")))
    _robot_body(sprite, metal, dark, lamp)
    sprite.parts([rect(-0.011, -1.0, 0.011, -0.88)], dark)
    sprite.glow(0, -1.02, 0.16, lamp, 0.7)
    sprite.part(ellipse(0, -1.02, 0.04, 0.04), (lighter(lamp, 0.5), lamp))
    for side in (-1, 1):
        sprite.part(rounded(*sorted_box(side * 0.3, side * 0.375), 0.03), (metal, dark))
        sprite.part(rounded(*sorted_box(side * 0.365, side * 0.4, -0.7, -0.56), 0.015), palette.accent)
    sprite.part(rounded(-0.32, -0.9, 0.32, -0.4, 0.13), (lit, metal, metal, dark))
    sprite.part(rounded(-0.29, -0.885, 0.1, -0.8, 0.04), (255, 255, 255), 0.22)
    sprite.part(rounded(-0.26, -0.8, 0.26, -0.53, 0.11), (rgb("1a2130"), rgb("2c3850")))
    _robot_eyes(sprite, lamp, rng)
    sprite.part(rounded(-0.13, -0.49, 0.13, -0.435, 0.025), dark)
    sprite.parts([rect(-0.1 + 0.05 * i, -0.482, -0.085 + 0.05 * i, -0.443) for i in range(5)], lit)
    sprite.parts([ellipse(x, y, 0.012, 0.012) for x in (-0.275, 0.275) for y in (-0.84, -0.46)], dark)
    sprite.part([(0.15, -0.895), (0.24, -0.89), (0.14, -0.42), (0.06, -0.41)], (255, 255, 255), 0.08)


def sorted_box(a: float, b: float, y0: float = -0.76, y1: float = -0.5) -> tuple[float, float, float, float]:
    return (min(a, b), y0, max(a, b), y1)


def _robot_body(sprite: Sprite, metal: RGB, dark: RGB, lamp: RGB) -> None:
    sprite.parts([rounded(-0.1, -0.42 + 0.035 * i, 0.1, -0.392 + 0.035 * i, 0.013) for i in range(4)], (metal, dark))
    sprite.part(spline([(-0.56, 0.06), (-0.53, -0.12), (-0.42, -0.235), (-0.2, -0.28), (0.2, -0.28),
        (0.42, -0.235), (0.53, -0.12), (0.56, 0.06)], 6),
                (lighter(metal, 0.2), metal, dark))  # fmt: skip
    for side in (-1, 1):
        sprite.part(ellipse(side * 0.45, -0.1, 0.12, 0.13), (lighter(metal, 0.3), mix(metal, dark, 0.6)))
    sprite.part(rounded(-0.2, -0.2, 0.2, 0.08, 0.05), (mix(metal, dark, 0.5), dark))
    sprite.glow(0, -0.09, 0.2, lamp, 0.5)
    sprite.part(ellipse(0, -0.09, 0.066, 0.066), rgb("1a2130"))
    sprite.part(ellipse(0, -0.09, 0.046, 0.046), (lighter(lamp, 0.5), lamp))


def _robot_eyes(sprite: Sprite, lamp: RGB, rng: random.Random) -> None:
    big = rng.uniform(0.07, 0.09)
    for side in (-1, 1):
        x = side * 0.125
        sprite.glow(x, -0.665, 0.2, lamp, 0.65)
        sprite.part(ellipse(x, -0.665, big, big), (lighter(lamp, 0.35), lamp))
        sprite.part(ellipse(x, -0.665, big * 0.52, big * 0.52), rgb("1a2130"))
        sprite.part(ellipse(x + big * 0.22, -0.665 - big * 0.26, big * 0.2, big * 0.2), (255, 255, 255))


def paint_person(sprite: Sprite, palette: Palette, colour: RGB | None, rng: random.Random) -> None:
    """A person with few, calm features."""
    skin, hair = rng.choice(_SKINS), rng.choice(_HAIRS)
    shade = darker(mix(skin, rgb("a03a3a"), 0.25), 0.12)
    cloth = colour or palette.accent
    long_hair = rng.random() < 0.6
    if long_hair:
        sprite.part(spline([(-0.3, -0.7), (-0.22, -0.94), (0.0, -1.02), (0.22, -0.94), (0.3, -0.7),
            (0.34, -0.3), (0.26, -0.1), (-0.26, -0.1), (-0.34, -0.3)]),
                    (hair, darker(hair, 0.25)))  # fmt: skip
    sprite.part(
        spline(
            [
                (-0.55, 0.08),
                (-0.5, -0.12),
                (-0.3, -0.22),
                (-0.09, -0.27),
                (0.09, -0.27),
                (0.3, -0.22),
                (0.5, -0.12),
                (0.55, 0.08),
            ],
            6,
        ),
        (lighter(cloth, 0.12), darker(cloth, 0.25)),
    )
    sprite.part(spline([(-0.1, -0.48), (0.1, -0.48), (0.105, -0.27), (0.0, -0.17), (-0.105, -0.27)], 6), (shade, skin))
    sprite.parts([ellipse(x, -0.63, 0.045, 0.065) for x in (-0.225, 0.225)], shade)
    sprite.part(
        spline(
            [
                (0.0, -0.93),
                (0.17, -0.87),
                (0.225, -0.7),
                (0.2, -0.53),
                (0.1, -0.41),
                (0.0, -0.385),
                (-0.1, -0.41),
                (-0.2, -0.53),
                (-0.225, -0.7),
                (-0.17, -0.87),
            ]
        ),
        (lighter(skin, 0.1), skin),
    )
    side = spline(
        [
            (0.0, -0.93),
            (0.17, -0.87),
            (0.225, -0.7),
            (0.2, -0.53),
            (0.1, -0.41),
            (0.0, -0.385),
            (0.06, -0.5),
            (0.09, -0.7),
        ]
    )
    sprite.part(side, shade, 0.3)
    _features(sprite, skin, shade, hair)
    fringe = spline(
        [
            (-0.25, -0.63),
            (-0.265, -0.82),
            (-0.15, -0.985),
            (0.03, -1.01),
            (0.2, -0.95),
            (0.265, -0.8),
            (0.25, -0.63),
            (0.205, -0.73),
            (0.16, -0.82),
            (0.0, -0.8),
            (-0.12, -0.84),
            (-0.2, -0.76),
        ]
    )
    sprite.part(fringe, (lighter(hair, 0.14), hair))


def _features(sprite: Sprite, skin: RGB, shade: RGB, hair: RGB) -> None:
    for side in (-1, 1):
        eye = spline([(side * 0.05, -0.645), (side * 0.095, -0.672), (side * 0.145, -0.645), (side * 0.095, -0.627)])
        sprite.part(eye, (252, 250, 246))
        sprite.part(ellipse(side * 0.097, -0.65, 0.021, 0.022), rgb("2e4a4f"))
        sprite.part(ellipse(side * 0.097 + 0.007, -0.656, 0.006, 0.006), (255, 255, 255))
        sprite.part(
            stroke([(side * 0.045, -0.65), (side * 0.095, -0.675), (side * 0.15, -0.648)], (0.006, 0.012, 0.004)),
            darker(hair, 0.3),
        )
        sprite.part(
            stroke([(side * 0.04, -0.715), (side * 0.1, -0.735), (side * 0.16, -0.71)], (0.014, 0.018, 0.005)), hair
        )
        sprite.part(ellipse(side * 0.13, -0.545, 0.05, 0.032), rgb("e8705f"), 0.28, 0.014)
    sprite.part(spline([(0.0, -0.66), (0.034, -0.55), (0.0, -0.535), (-0.012, -0.55)]), shade, 0.75)
    sprite.part(
        spline([(-0.06, -0.47), (-0.02, -0.482), (0.0, -0.477), (0.02, -0.482), (0.06, -0.47), (0.0, -0.445)]),
        mix(rgb("b8434a"), skin, 0.25),
    )


def paint_astronaut(sprite: Sprite, palette: Palette, colour: RGB | None, rng: random.Random) -> None:
    """An astronaut whose visor mirrors a sky."""
    suit = colour or rgb("eef0f2")
    dark = darker(suit, 0.3)
    sprite.part(
        spline(
            [(-0.6, 0.08), (-0.56, -0.16), (-0.4, -0.28), (0.0, -0.33), (0.4, -0.28), (0.56, -0.16), (0.6, 0.08)], 6
        ),
        (lighter(suit, 0.2), suit, dark),
    )
    sprite.parts([stroke([(x, -0.26), (x * 1.15, 0.08)], (0.04,), False) for x in (-0.33, 0.33)], palette.accent)
    sprite.part(rounded(-0.17, -0.17, 0.17, 0.04, 0.03), mix(suit, dark, 0.7))
    sprite.parts([ellipse(-0.1 + 0.1 * i, -0.1, 0.024, 0.024) for i in range(3)], rgb("d8433b"))
    sprite.part(rounded(-0.27, -0.36, 0.27, -0.27, 0.04), (suit, dark))
    sprite.part(ellipse(0, -0.65, 0.365, 0.36), (lighter(suit, 0.4), suit, dark))
    sprite.part(rounded(-0.295, -0.86, 0.295, -0.45, 0.19), darker(dark, 0.3))
    visor = rounded(-0.27, -0.84, 0.27, -0.47, 0.17)
    sprite.part(visor, (rgb("12123a"), rgb("46307f"), rgb("d9576a"), rgb("ffc067")))
    for _ in range(14):
        x, y = rng.uniform(-0.2, 0.2), rng.uniform(-0.81, -0.66)
        sprite.part(ellipse(x, y, 0.005, 0.005), (255, 255, 255), 0.9)
    sprite.part(
        spline([(-0.245, -0.66), (-0.22, -0.77), (-0.12, -0.82), (-0.15, -0.76), (-0.2, -0.68)]), (255, 255, 255), 0.6
    )
    lamp = rounded(-0.41, -0.72, -0.34, -0.58, 0.02)
    sprite.parts([lamp, mirrored(lamp)], (suit, dark))
