"""Sitting animals seen from the front: one figure with different heads, ears and tails."""

from collections.abc import Callable
from dataclasses import dataclass

from batchgen.providers.offline.drawing.canvas import Sprite
from batchgen.providers.offline.drawing.colours import RGB, darker, lighter, mix, rgb
from batchgen.providers.offline.drawing.shapes import Outline, Point, ellipse, mirrored, spline, star, stroke

INK = rgb("1d1a24")


@dataclass(frozen=True, slots=True)
class Coat:
    """The parts in which sitting animals differ."""

    colour: RGB
    pale: RGB
    socks: RGB
    head: Callable[[Sprite, "Coat"], None]
    tail: str = "bushy"
    stout: float = 1.0


def paint_sitting(sprite: Sprite, name: str, colour: RGB | None, light: RGB) -> None:
    """Tail, body, legs and head of a sitting animal; `light` is what falls on its one side."""
    coat = _COATS[name]
    if colour is not None:
        coat = Coat(
            mix(colour, coat.colour, 0.2),
            mix(coat.pale, colour, 0.12),
            darker(colour, 0.6),
            coat.head,
            coat.tail,
            coat.stout,
        )
    _shadow(sprite)
    _tail(sprite, coat)
    _body(sprite, coat, light)
    coat.head(sprite, coat)


def _shadow(sprite: Sprite) -> None:
    sprite.part(ellipse(0.08, 0.0, 0.42, 0.035), (10, 10, 30), 0.28, 0.012)


def _tail(sprite: Sprite, coat: Coat) -> None:
    fur = (lighter(coat.colour, 0.08), coat.colour, darker(coat.colour, 0.25))
    if coat.tail == "bushy":
        sprite.part(spline([(0.12, -0.02), (0.36, -0.015), (0.53, -0.1), (0.6, -0.27), (0.52, -0.5), (0.46, -0.52),
                            (0.45, -0.36), (0.38, -0.2), (0.24, -0.13)]), fur)  # fmt: skip
        sprite.part(spline([(0.46, -0.52), (0.52, -0.5), (0.585, -0.36), (0.54, -0.37), (0.51, -0.31), (0.475, -0.37),
                            (0.45, -0.36)]), coat.pale)  # fmt: skip
    elif coat.tail == "curl":
        sprite.part(stroke([(0.15, -0.04), (0.4, -0.03), (0.52, -0.14), (0.5, -0.32), (0.42, -0.36)],
                           (0.09, 0.075, 0.07, 0.06, 0.045)), fur)  # fmt: skip
        sprite.part(ellipse(0.42, -0.36, 0.024, 0.022), fur)
    elif coat.tail == "wag":
        sprite.part(stroke([(0.16, -0.08), (0.34, -0.16), (0.42, -0.34)], (0.09, 0.07, 0.02)), fur)
    elif coat.tail == "tuft":
        sprite.part(stroke([(0.15, -0.04), (0.42, -0.05), (0.5, -0.28)], (0.06, 0.045, 0.035)), fur)
        sprite.part(spline([(0.47, -0.25), (0.45, -0.33), (0.52, -0.42), (0.56, -0.32), (0.53, -0.25)]), coat.socks)
    else:
        sprite.part(ellipse(0.27, -0.08, 0.075, 0.07), coat.pale)


def _body(sprite: Sprite, coat: Coat, light: RGB) -> None:
    s = coat.stout
    fur = (coat.colour, coat.colour, darker(coat.colour, 0.22))
    body = spline([(-0.15 * s, 0.0), (-0.2 * s, -0.2), (-0.155 * s, -0.45), (-0.05, -0.6), (0.1 * s, -0.5),
                        (0.22 * s, -0.3), (0.27 * s, -0.1), (0.24 * s, 0.0), (0.05, 0.01)])  # fmt: skip
    sprite.part(body, fur)
    sprite.part(spline([(0.08, 0.005), (0.06, -0.16), (0.16 * s, -0.24), (0.26 * s, -0.14), (0.27 * s, 0.0)]),
                (lighter(coat.colour, 0.07), darker(coat.colour, 0.08)))  # fmt: skip
    sprite.part([(-0.16 * s, -0.52), (0.07 * s, -0.52), (0.055 * s, -0.34), (0.02, -0.27), (-0.005, -0.33),
        (-0.04, -0.21),
                 (-0.08, -0.32), (-0.12 * s, -0.28),
                 (-0.15 * s, -0.38)], (coat.pale, mix(coat.pale, coat.colour, 0.2)), within=body)  # fmt: skip
    for x in (-0.11, 0.03):
        sprite.part(spline([(x - 0.055, -0.28), (x + 0.055, -0.28), (x + 0.045, -0.08), (x + 0.058, 0.005),
            (x - 0.065, 0.005),
                            (x - 0.045, -0.08)]), (coat.colour, coat.colour, darker(coat.colour, 0.12)))  # fmt: skip
        sprite.part(
            spline([(x - 0.044, -0.1), (x, -0.125), (x + 0.044, -0.1), (x + 0.06, 0.005), (x - 0.068, 0.005)]),
            coat.socks,
        )
    sprite.part(ellipse(0.2 * s, 0.0, 0.08, 0.022), coat.socks)
    rim = spline([(0.08 * s, -0.52), (0.24 * s, -0.3), (0.3 * s, -0.1), (0.25 * s, -0.1), (0.195 * s, -0.29)])
    sprite.part(rim, lighter(light, 0.3), 0.35, 0.004, body)


def _both(sprite: Sprite, outline: Outline, paint: RGB | tuple[RGB, ...], alpha: float = 1.0) -> None:
    """The same on both sides of the face."""
    sprite.parts([outline, mirrored(outline, -0.04)], paint, alpha)


def _eyes(sprite: Sprite, y: float, apart: float, r: float, iris: RGB | None = None) -> None:
    if iris is not None:
        _both(sprite, ellipse(-0.04 - apart, y, r * 1.5, r * 1.25), iris)
        _both(sprite, ellipse(-0.04 - apart, y, r * 0.6, r * 1.2), INK)
    else:
        _both(sprite, ellipse(-0.04 - apart, y, r, r * 1.15), INK)
    sprite.parts(
        [ellipse(-0.04 + x + r * 0.3, y - r * 0.4, r * 0.3, r * 0.3) for x in (-apart, apart)], (255, 255, 255)
    )


def _nose(sprite: Sprite, y: float, size: float, colour: RGB = INK) -> None:
    x = -0.04
    sprite.part(
        spline([(x - size, y - size * 0.6), (x, y - size * 0.8), (x + size, y - size * 0.6), (x, y + size * 0.7)]),
        colour,
    )


def _ears(sprite: Sprite, ear: list[Point], inner: list[Point], coat: Coat, inside: RGB) -> None:
    _both(sprite, ear, (darker(coat.colour, 0.25), coat.colour))
    _both(sprite, inner, inside)


def _fox_head(sprite: Sprite, coat: Coat) -> None:
    _ears(
        sprite,
        [(-0.28, -1.0), (-0.11, -0.87), (-0.25, -0.72)],
        [(-0.255, -0.95), (-0.15, -0.865), (-0.23, -0.77)],
        coat,
        darker(coat.colour, 0.62),
    )
    sprite.part(
        [*spline([(-0.04, -0.885), (0.09, -0.86), (0.16, -0.77), (0.21, -0.66), (0.1, -0.585), (0.02, -0.515),
        (-0.04, -0.49),
                  (-0.1, -0.515), (-0.18, -0.585), (-0.29, -0.66), (-0.24, -0.77), (-0.17, -0.86)])],
        (lighter(coat.colour, 0.1), coat.colour, darker(coat.colour, 0.06)),
    )  # fmt: skip
    _both(
        sprite,
        spline(
            [
                (-0.29, -0.66),
                (-0.2, -0.675),
                (-0.11, -0.64),
                (-0.055, -0.58),
                (-0.042, -0.492),
                (-0.1, -0.515),
                (-0.18, -0.585),
            ]
        ),
        coat.pale,
    )
    _eyes(sprite, -0.7, 0.095, 0.021)
    _nose(sprite, -0.515, 0.03)


def _cat_head(sprite: Sprite, coat: Coat) -> None:
    _ears(
        sprite,
        [(-0.225, -0.97), (-0.07, -0.86), (-0.235, -0.74)],
        [(-0.205, -0.925), (-0.11, -0.85), (-0.21, -0.79)],
        coat,
        rgb("e8a0a0"),
    )
    sprite.part(ellipse(-0.04, -0.72, 0.205, 0.165), (lighter(coat.colour, 0.1), coat.colour, darker(coat.colour, 0.1)))
    sprite.parts([[(-0.04 + x - 0.011, -0.885), (-0.04 + x + 0.011, -0.885),
        (-0.04 + x * 0.8, -0.81)] for x in (-0.05, 0.0, 0.05)],
                 darker(coat.colour, 0.35))  # fmt: skip
    sprite.parts([ellipse(-0.085, -0.645, 0.06, 0.045), ellipse(0.005, -0.645, 0.06, 0.045)], coat.pale)
    _eyes(sprite, -0.73, 0.085, 0.026, rgb("e9c84a"))
    _nose(sprite, -0.672, 0.019, rgb("d97c7c"))
    for dy in (-0.018, 0.0, 0.018):
        _both(
            sprite,
            stroke([(-0.11, -0.645 + dy * 0.5), (-0.29, -0.65 + dy * 2.2)], (0.005, 0.002)),
            (255, 255, 255),
            0.75,
        )


def _dog_head(sprite: Sprite, coat: Coat) -> None:
    sprite.part(spline([(-0.04, -0.93), (0.12, -0.87), (0.165, -0.72), (0.11, -0.58), (-0.04, -0.5),
        (-0.19, -0.58), (-0.245, -0.72),
                        (-0.2, -0.87)]), (lighter(coat.colour, 0.1), coat.colour, coat.colour))  # fmt: skip
    sprite.part(spline([(-0.04, -0.92), (-0.015, -0.78), (0.055, -0.66), (0.05, -0.55), (-0.04, -0.505),
        (-0.13, -0.55), (-0.135, -0.66),
                        (-0.065, -0.78)]), coat.pale)  # fmt: skip
    sprite.part(
        spline([(-0.075, -0.56), (-0.005, -0.56), (-0.01, -0.485), (-0.04, -0.465), (-0.07, -0.485)]), rgb("e5737f")
    )
    sprite.part(
        spline([(-0.11, -0.585), (-0.04, -0.6), (0.03, -0.585), (0.0, -0.545), (-0.04, -0.56), (-0.08, -0.545)]),
        coat.pale,
    )
    _both(sprite, spline([(-0.13, -0.915), (-0.24, -0.88), (-0.31, -0.72), (-0.3, -0.58), (-0.245, -0.56),
        (-0.2, -0.7)]),
          (darker(coat.colour, 0.32), darker(coat.colour, 0.45)))  # fmt: skip
    _eyes(sprite, -0.735, 0.09, 0.023)
    _nose(sprite, -0.63, 0.042)


def _bear_head(sprite: Sprite, coat: Coat) -> None:
    _ears(
        sprite,
        ellipse(-0.2, -0.88, 0.068, 0.068),
        ellipse(-0.2, -0.875, 0.04, 0.04),
        coat,
        mix(coat.colour, coat.pale, 0.4),
    )
    sprite.part(ellipse(-0.04, -0.73, 0.225, 0.19), (lighter(coat.colour, 0.1), coat.colour, darker(coat.colour, 0.12)))
    sprite.part(ellipse(-0.04, -0.655, 0.1, 0.082), coat.pale)
    _eyes(sprite, -0.755, 0.09, 0.019)
    _nose(sprite, -0.685, 0.036)
    sprite.part(stroke([(-0.04, -0.67), (-0.04, -0.625)], (0.008,), False), INK)


def _rabbit_head(sprite: Sprite, coat: Coat) -> None:
    _ears(sprite, spline([(-0.16, -0.8), (-0.2, -1.02), (-0.16, -1.19), (-0.09, -1.08), (-0.06, -0.84)]),
          spline([(-0.14, -0.84), (-0.165, -1.02), (-0.15, -1.12), (-0.11, -1.04),
              (-0.09, -0.86)]), coat, rgb("eeb0ac"))  # fmt: skip
    sprite.part(ellipse(-0.04, -0.7, 0.175, 0.16), (lighter(coat.colour, 0.1), coat.colour, darker(coat.colour, 0.08)))
    sprite.parts([ellipse(-0.085, -0.63, 0.06, 0.05), ellipse(0.005, -0.63, 0.06, 0.05)], coat.pale)
    _eyes(sprite, -0.72, 0.1, 0.024)
    _nose(sprite, -0.665, 0.022, rgb("d98080"))


def _lion_head(sprite: Sprite, coat: Coat) -> None:
    mane = [(-0.04 + x, -0.7 + y) for x, y in _rays(0.34, 0.285, 15)]
    sprite.part(spline(mane, 5), (rgb("b8622b"), rgb("8f4520")))
    sprite.part(spline([(-0.04 + x * 0.78, -0.7 + y * 0.78) for x, y in _rays(0.34, 0.29, 13)], 5), rgb("cf7a34"))
    _ears(sprite, ellipse(-0.19, -0.84, 0.05, 0.05), ellipse(-0.19, -0.835, 0.028, 0.028), coat, rgb("8f4520"))
    _bear_face(sprite, coat)


def _rays(outer: float, inner: float, count: int) -> list[Point]:
    return star(0, 0, outer, inner, count)


def _bear_face(sprite: Sprite, coat: Coat) -> None:
    sprite.part(spline([(-0.04, -0.88), (0.1, -0.84), (0.14, -0.7), (0.06, -0.56), (-0.04, -0.52),
        (-0.14, -0.56), (-0.22, -0.7),
                        (-0.18, -0.84)]), (lighter(coat.colour, 0.12), coat.colour))  # fmt: skip
    sprite.parts([ellipse(-0.085, -0.595, 0.06, 0.05), ellipse(0.005, -0.595, 0.06, 0.05)], coat.pale)
    _eyes(sprite, -0.72, 0.085, 0.02)
    sprite.part([(-0.075, -0.665), (-0.005, -0.665), (-0.025, -0.63), (-0.04, -0.615), (-0.055, -0.63)], rgb("5a2c22"))


_COATS = {
    "fox": Coat(rgb("d9622b"), rgb("fbf1e4"), rgb("2f2127"), _fox_head),
    "wolf": Coat(rgb("7d8696"), rgb("eef1f4"), rgb("5a6270"), _fox_head),
    "cat": Coat(rgb("6f6a78"), rgb("f4efe8"), rgb("f4efe8"), _cat_head, "curl", 0.95),
    "dog": Coat(rgb("c08a4e"), rgb("fbf1e2"), rgb("fbf1e2"), _dog_head, "wag", 1.05),
    "bear": Coat(rgb("7a5236"), rgb("d8b48a"), rgb("5a3b28"), _bear_head, "stub", 1.35),
    "rabbit": Coat(rgb("b59a84"), rgb("fbf3ea"), rgb("e9dccd"), _rabbit_head, "stub", 1.0),
    "lion": Coat(rgb("e0a54e"), rgb("fbe9c8"), rgb("b8772f"), _lion_head, "tuft", 1.15),
}
SITTING = frozenset(_COATS)
