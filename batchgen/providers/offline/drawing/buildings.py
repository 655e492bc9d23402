"""Houses, castles and lighthouses."""

from batchgen.providers.offline.drawing.canvas import Sprite
from batchgen.providers.offline.drawing.colours import RGB, darker, lighter, mix, rgb
from batchgen.providers.offline.drawing.scene import Scene
from batchgen.providers.offline.drawing.shapes import Point, ellipse, rect, rounded, spline

LAMP = rgb("ffd98a")


def wall_colours(scene: Scene, colour: RGB) -> tuple[RGB, RGB]:
    """A wall's lit and shaded colour in the scene's light."""
    local = scene.palette.land(colour, 1.0, 0.85 if not scene.night else 0.45)
    return lighter(mix(local, scene.palette.light, 0.2), 0.05), mix(darker(local, 0.2), scene.palette.near, 0.25)


def is_lit(scene: Scene) -> bool:
    return scene.plan.time != "day" or scene.plan.weather in ("storm", "snow", "rain")


def paint_house(scene: Scene, sprite: Sprite, colour: RGB | None) -> None:
    """A cabin with a steep roof, a chimney and light in its windows."""
    lit, shade = wall_colours(scene, colour or rgb("b06a42"))
    roof = SNOWY if scene.plan.weather == "snow" else wall_colours(scene, rgb("6a3b3a"))[1]
    sprite.part(ellipse(0, 0, 0.75, 0.04), (10, 10, 30), 0.25, 0.015)
    sprite.part(rect(0.2, -0.98, 0.31, -0.6), (shade, darker(shade, 0.3)))
    _smoke(scene, sprite)
    sprite.part(rect(-0.5, -0.46, 0.5, 0.0), (lit, shade))
    sprite.parts([rect(-0.5, -0.4 + 0.09 * i, 0.5, -0.392 + 0.09 * i) for i in range(5)], darker(shade, 0.25), 0.45)
    sprite.part([(-0.34, -0.44), (0.0, -0.9), (0.34, -0.44)], (lit, shade))
    sprite.part([(-0.62, -0.42), (-0.3, -0.86), (0.36, -0.86), (0.62, -0.42)], (lighter(roof, 0.06), roof))
    sprite.part(
        [(-0.4, -0.36), (0.0, -0.92), (0.4, -0.36), (0.33, -0.33), (0.0, -0.8), (-0.33, -0.33)], lighter(roof, 0.14)
    )
    sprite.part([(-0.33, -0.34), (0.0, -0.8), (0.33, -0.34)], (lit, shade))
    glow = LAMP if is_lit(scene) else mix(scene.palette.sky[1], (255, 255, 255), 0.3)
    _window(scene, sprite, (0.0, -0.5), 0.075, glow, shade)
    for x in (-0.33, 0.33):
        _window(scene, sprite, (x, -0.2), 0.095, glow, shade)
    sprite.part(rounded(-0.09, -0.28, 0.09, 0.0, 0.05), darker(shade, 0.45))
    sprite.part(ellipse(0.055, -0.13, 0.012, 0.012), LAMP)


SNOWY = rgb("e6edf5")


def _window(scene: Scene, sprite: Sprite, at: Point, half: float, glow: RGB, frame: RGB) -> None:
    x, y = at
    if is_lit(scene):
        sprite.glow(x, y, half * 4.2, glow, 0.5)
    sprite.part(rect(x - half * 1.16, y - half * 1.16, x + half * 1.16, y + half * 1.16), darker(frame, 0.4))
    sprite.part(rect(x - half, y - half, x + half, y + half), (lighter(glow, 0.3), glow))
    bars = [
        rect(x - half * 0.07, y - half, x + half * 0.07, y + half),
        rect(x - half, y - half * 0.07, x + half, y + half * 0.07),
    ]
    sprite.parts(bars, darker(frame, 0.4))


def _smoke(scene: Scene, sprite: Sprite) -> None:
    rng = scene.plan.rng("smoke")
    x, y = 0.255, -1.02
    for i in range(6):
        sprite.part(
            ellipse(x, y, 0.05 + 0.022 * i, 0.04 + 0.016 * i), lighter(scene.palette.sky[-1], 0.4), 0.4 - 0.05 * i, 0.02
        )
        x, y = x + rng.uniform(0.01, 0.07), y - 0.085


def paint_castle(scene: Scene, sprite: Sprite, colour: RGB | None) -> None:
    """Towers with pointed roofs on a rock."""
    lit, shade = wall_colours(scene, colour or rgb("d9cbb4"))
    rock = scene.palette.land(rgb("5d6a5c"), 0.75, 0.5)
    sprite.part(
        spline([(-0.75, 0.05), (-0.6, -0.1), (-0.4, -0.17), (0.0, -0.2), (0.4, -0.16), (0.58, -0.08), (0.75, 0.05)], 4),
        (lighter(rock, 0.1), darker(rock, 0.2)),
    )
    roof = wall_colours(scene, scene.plan.paints.get("roof", rgb("3f6a8f")))
    rng = scene.plan.rng("castle")
    towers = [(-0.14, 0.11, 0.74), (0.14, 0.12, 0.66), (-0.36, 0.1, 0.5), (0.35, 0.1, 0.54), (0.01, 0.1, 0.98)]
    for x, wide, tall in towers:
        _castle_tower(scene, sprite, (x, wide, tall * rng.uniform(0.88, 1.06)), (lit, shade), roof)
    sprite.part([*_battlements(-0.36, 0.36, -0.4), (0.36, -0.1), (-0.36, -0.1)], (lit, shade))
    sprite.part(
        [*_battlements(-0.2, 0.2, -0.5), (0.2, -0.12), (-0.2, -0.12)], (lighter(lit, 0.08), mix(lit, shade, 0.6))
    )
    sprite.part([*rounded(-0.07, -0.3, 0.07, -0.04, 0.068)], darker(shade, 0.6))
    for x, y in ((-0.28, -0.25), (0.28, -0.25), (-0.13, -0.4), (0.13, -0.4)):
        _slit(scene, sprite, x, y)


def _battlements(x0: float, x1: float, y: float) -> list[Point]:
    count = round((x1 - x0) / 0.052)
    out: list[Point] = []
    for i in range(count):
        a, b = x0 + (x1 - x0) * i / count, x0 + (x1 - x0) * (i + 1) / count
        top = y - (0.032 if i % 2 == 0 else 0)
        out += [(a, top), (b, top)]
    return out


def _castle_tower(
    scene: Scene, sprite: Sprite, tower: tuple[float, float, float], wall: tuple[RGB, RGB], roof: tuple[RGB, RGB]
) -> None:
    x, wide, tall = tower
    half = wide / 2
    left = (sprite.at(0, 0)[0] > scene.sun[0]) == (sprite.at(1, 0)[0] > sprite.at(0, 0)[0])
    sprite.part(rect(x - half, -tall, x + half, -0.12), wall)
    dark = rect(x + half * 0.15, -tall, x + half, -0.12) if left else rect(x - half, -tall, x - half * 0.15, -0.12)
    sprite.part(dark, wall[1], 0.5)
    sprite.part(
        [
            *_battlements(x - half * 1.25, x + half * 1.25, -tall),
            (x + half * 1.25, -tall + 0.035),
            (x - half * 1.25, -tall + 0.035),
        ],
        wall[0],
    )
    top = -tall - wide * 1.75
    sprite.part([(x - half * 1.15, -tall - 0.02), (x, top), (x + half * 1.15, -tall - 0.02)], roof)
    sprite.part([(x, top), (x + half * (1.15 if left else -1.15), -tall - 0.02), (x, -tall - 0.02)], roof[1], 0.6)
    sprite.part(rect(x - 0.004, top - 0.07, x + 0.004, top), wall[1])
    sprite.part([(x, top - 0.07), (x + 0.085, top - 0.05), (x, top - 0.03)], scene.palette.accent)
    for y in (0.09, 0.24):
        if tall > y + 0.3:
            _slit(scene, sprite, x, -tall + y)


def _slit(scene: Scene, sprite: Sprite, x: float, y: float) -> None:
    glow = LAMP if is_lit(scene) else darker(scene.palette.near, 0.1)
    if is_lit(scene):
        sprite.glow(x, y, 0.06, LAMP, 0.5)
    sprite.part(rounded(x - 0.014, y - 0.03, x + 0.014, y + 0.03, 0.013), glow)


def paint_lighthouse(scene: Scene, sprite: Sprite, colour: RGB | None) -> None:
    """A banded tower on a rock whose light cuts the dark."""
    lit, shade = wall_colours(scene, rgb("f2efe8"))
    band = wall_colours(scene, colour or rgb("cc3f35"))
    if is_lit(scene):
        _beam(scene, sprite)
    rock = scene.palette.land(rgb("4a4d55"), 0.95, 0.5)
    _rock(scene, sprite, rock)
    edge = [(-0.13, 0.0), (-0.085, -0.74), (0.085, -0.74), (0.13, 0.0)]
    sprite.part(edge, (lit, mix(lit, shade, 0.4)))
    for i in (0, 2, 4):
        y0, y1 = -0.02 - 0.145 * i, -0.02 - 0.145 * (i + 1)
        w0, w1 = 0.13 + 0.061 * y0, 0.13 + 0.061 * y1
        sprite.part([(-w0, y0), (w0, y0), (w1, y1), (-w1, y1)], band)
    side = 1 if scene.sun[0] < sprite.at(0, 0)[0] else -1
    sprite.part(
        [(side * 0.03, 0.0), (side * 0.13, 0.0), (side * 0.085, -0.74), (side * 0.02, -0.74)], scene.palette.near, 0.3
    )
    sprite.parts(
        [rounded(-0.02, y, 0.02, y + 0.07, 0.018) for y in (-0.62, -0.38, -0.14)],
        LAMP if is_lit(scene) else darker(shade, 0.4),
    )
    sprite.part(rect(-0.125, -0.77, 0.125, -0.735), darker(band[1], 0.4))
    sprite.parts([rect(-0.125 + 0.0405 * i, -0.82, -0.119 + 0.0405 * i, -0.77) for i in range(7)], darker(band[1], 0.4))
    sprite.part(
        rect(-0.065, -0.87, 0.065, -0.77),
        (255, 246, 214) if is_lit(scene) else mix(scene.palette.sky[1], (255, 255, 255), 0.4),
    )
    sprite.parts([rect(x - 0.004, -0.87, x + 0.004, -0.77) for x in (-0.062, -0.02, 0.02, 0.062)], darker(band[1], 0.5))
    sprite.part([*spline([(-0.095, -0.865), (-0.05, -0.94), (0.0, -0.97), (0.05, -0.94), (0.095, -0.865)], 4)], band)
    sprite.part(rect(-0.005, -1.03, 0.005, -0.95), darker(band[1], 0.4))
    if is_lit(scene):
        sprite.glow(0, -0.82, 0.24, rgb("fff3c9"), 0.85)


def _beam(scene: Scene, sprite: Sprite) -> None:
    rng = scene.plan.rng("beam")
    tilt = rng.uniform(-0.14, 0.14)
    for side, strength in ((1, 0.5), (-1, 0.3)):
        for wide in (0.34, 0.17):
            beam = [
                (0.03 * side, -0.845),
                (0.03 * side, -0.795),
                (2.2 * side, -0.82 + tilt * side + wide),
                (2.2 * side, -0.82 + tilt * side - wide),
            ]
            scene.canvas.shine([sprite.place(beam)], rgb("fff0bd"), strength * 0.6, sprite.size * 0.014)


def _rock(scene: Scene, sprite: Sprite, rock: RGB) -> None:
    rng = scene.plan.rng("rock")
    top: list[Point] = [
        (-0.62, 0.16),
        (-0.46, 0.05),
        (-0.3, 0.03),
        (-0.2, -0.03),
        (0.2, -0.035),
        (0.33, 0.02),
        (0.44, 0.09),
        (0.66, 0.16),
    ]
    sprite.part([*top, (0.7, 0.24), (-0.68, 0.24)], (lighter(rock, 0.12), rock, darker(rock, 0.35)))
    for _ in range(6):
        x, y = rng.uniform(-0.4, 0.35), rng.uniform(0.03, 0.14)
        sprite.part(
            [(x, y), (x + 0.12, y + 0.015), (x + 0.07, y + 0.08), (x - 0.03, y + 0.06)],
            rng.choice((lighter(rock, 0.16), darker(rock, 0.25))),
            0.6,
        )
    sprite.parts(
        [ellipse(rng.uniform(-0.66, 0.66), 0.2, rng.uniform(0.05, 0.12), 0.02) for _ in range(9)],
        lighter(scene.palette.sky[-1], 0.5),
        0.7,
    )
