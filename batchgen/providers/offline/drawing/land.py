"""The land: mountains, hills, dunes and fields."""

import math
import random
from collections.abc import Callable

from batchgen.providers.offline.drawing.colours import RGB, darker, lighter, mix, rgb
from batchgen.providers.offline.drawing.scene import Scene
from batchgen.providers.offline.drawing.shapes import Outline, Point, curve, ellipse
from batchgen.providers.offline.drawing.sky import paint_mist

Line = Callable[[float], float]
SNOW = rgb("eef3fa")
LEAF = rgb("3f7d58")
SAND = rgb("e0a35c")


def ridge_line(rng: random.Random, scene: Scene, y: float, swing: float, rough: float = 0.35) -> Line:
    """A rolling line across the sheet around height `y`."""
    u = scene.canvas.u
    waves = [
        (swing * u * share, rng.uniform(0.8, 1.2) * pace / u, rng.uniform(0, math.tau))
        for share, pace in ((1.0, 2.6), (0.5, 6.1), (0.5 * rough, 14.0), (0.25 * rough, 31.0))
    ]

    def height(x: float) -> float:
        return y + sum(tall * math.sin(x * pace + phase) for tall, pace, phase in waves)

    return height


def below(scene: Scene, line: Line, floor: float | None = None) -> Outline:
    """All that lies under a line."""
    canvas, floor = scene.canvas, scene.canvas.h if floor is None else floor
    steps = 90
    top = [(canvas.w * i / steps, line(canvas.w * i / steps)) for i in range(steps + 1)]
    return [*top, (canvas.w, floor), (0, floor)]


def paint_mountains(scene: Scene, tall: float = 1.0) -> None:
    """Three ranges, the last ones with light and shadow sides and snow."""
    rng, canvas = scene.plan.rng("mountains"), scene.canvas
    back = ridge_line(rng, scene, scene.horizon - canvas.u * 0.16 * tall, 0.05, 1.2)
    colour = mix(scene.palette.far, scene.palette.sky[-1], 0.45)
    canvas.fill([below(scene, back, scene.horizon + 2)], (colour, mix(colour, scene.palette.sky[-1], 0.7)))
    for row, share in ((0, 0.12), (1, 0.34)):
        _peaks(scene, rng, share, canvas.u * (0.36 - 0.13 * row) * tall)
        paint_mist(scene, scene.horizon, 0.28 if scene.plan.weather != "fog" else 0.7)


def _peaks(scene: Scene, rng: random.Random, share: float, height: float) -> None:
    canvas, base = scene.canvas, scene.horizon + 2
    count = max(2, round(canvas.w / canvas.u * 3.2))
    order = list(range(count))
    rng.shuffle(order)
    for i in order:
        x = canvas.w * (i + rng.uniform(0.2, 0.8)) / count
        _peak(scene, rng, (x, base - height * rng.uniform(0.55, 1.0)), base, share)


def _peak(scene: Scene, rng: random.Random, top: Point, base: float, share: float) -> None:
    canvas, palette = scene.canvas, scene.palette
    tall = base - top[1]
    wide = tall * rng.uniform(0.95, 1.35)
    rock = palette.land(scene.plan.paints.get("mountains", rgb("6d7488")), share, 0.5)
    haze = mix(rock, palette.sky[-1], 0.5)
    left = _flank(rng, top, (top[0] - wide, base))
    right = _flank(rng, top, (top[0] + wide, base))
    spine = _flank(rng, top, (top[0] + wide * rng.uniform(-0.12, 0.16), base), 0.1)
    lit, dark = lighter(mix(rock, palette.light, 0.3), 0.06), darker(rock, 0.2)
    sun_left = scene.sun[0] < top[0]
    canvas.fill([[*left, *spine[::-1]]], (lit if sun_left else dark, rock, haze))
    canvas.fill([[*right, *spine[::-1]]], (dark if sun_left else lit, rock, haze))
    snow = 0.62 if scene.plan.weather == "snow" else 0.32
    cap = mix(SNOW, palette.sky[-1], 0.25 if not scene.night else 0.6)
    for flank, bright in ((left, sun_left), (right, not sun_left)):
        edge = _snow_edge(rng, flank, spine, snow)
        canvas.fill([edge], cap if bright else mix(cap, rock, 0.38), 0.93)


def _flank(rng: random.Random, top: Point, foot: Point, rough: float = 0.05) -> list[Point]:
    wide = foot[1] - top[1]
    out = [top]
    for i in range(1, 9):
        t = i / 9
        out.append((top[0] + (foot[0] - top[0]) * t + wide * rng.uniform(-rough, rough) * 0.7,
                    top[1] + (foot[1] - top[1]) * (t + rng.uniform(-0.02, 0.02))))  # fmt: skip
    return [*out, foot]


def _snow_edge(rng: random.Random, flank: list[Point], spine: list[Point], share: float) -> Outline:
    count = max(2, round(share * 9))
    a, b = flank[count], spine[count]
    drop = (a[1] - flank[0][1]) * 0.3
    teeth: list[Point] = []
    for i in range(1, 5):
        t = i / 5
        teeth.append((a[0] + (b[0] - a[0]) * t, a[1] + (b[1] - a[1]) * t + drop * (0.45 if i % 2 else -0.55)
                      * rng.uniform(0.6, 1.2)))  # fmt: skip
    return [*flank[: count + 1], *teeth, *spine[: count + 1][::-1]]


def paint_hills(scene: Scene, colour: RGB, rows: int = 3, start: float = 0.0, drop: float = 0.1) -> None:
    """Rolling ground from the horizon to the foreground."""
    rng, canvas = scene.plan.rng("hills"), scene.canvas
    for row in range(rows):
        share = 0.3 + 0.62 * row / max(1, rows - 1)
        y = scene.horizon + canvas.u * start + (canvas.h - scene.horizon) * (row / rows) * 0.85 + canvas.u * drop * 0.1
        line = ridge_line(rng, scene, y, 0.025 + 0.01 * row, 0.2)
        base = scene.palette.land(colour, share, 0.85)
        canvas.fill(
            [below(scene, line)], (lighter(mix(base, scene.palette.light, 0.16), 0.05), base, darker(base, 0.22))
        )


def paint_desert(scene: Scene) -> None:
    """Dunes with a lit and a shaded side, and ripples in the foreground."""
    rng, canvas = scene.plan.rng("desert"), scene.canvas
    sand = scene.plan.paints.get("desert", SAND)
    for row in range(4):
        share = 0.18 + row * 0.2
        y = scene.horizon + (canvas.h - scene.horizon) * row * 0.22
        base = mix(scene.palette.land(sand, share, 0.95), sand, 0.3 if not scene.night else 0.0)
        lit = lighter(mix(base, scene.palette.light, 0.35), 0.04)
        line = ridge_line(rng, scene, y, 0.008, 0.1)
        canvas.fill([below(scene, line)], (lit, base, base))
        count = max(1, round(canvas.w / canvas.u * (2.4 - 0.4 * row)))
        for i in range(count):
            x = canvas.w * (i + rng.uniform(0.1, 0.9)) / count
            _dune(
                scene,
                rng,
                (x, y - canvas.u * rng.uniform(0.035, 0.075 + 0.02 * row)),
                line,
                (lit, base, mix(base, scene.palette.near, 0.4)),
            )


def _dune(scene: Scene, rng: random.Random, top: Point, line: Line, colours: tuple[RGB, RGB, RGB]) -> None:
    canvas, (x, y) = scene.canvas, top
    away = 1 if scene.sun[0] < canvas.w / 2 else -1
    foot = line(x) + canvas.u * rng.uniform(0.06, 0.12)
    near, far = canvas.u * rng.uniform(0.45, 0.65), canvas.u * rng.uniform(0.25, 0.4)
    tall = foot - y
    front = curve(
        [
            (x - away * near, foot),
            (x - away * near * 0.6, foot - tall * 0.16),
            (x - away * near * 0.22, foot - tall * 0.72),
            top,
        ]
    )
    back = curve(
        [
            top,
            (x + away * far * 0.35, foot - tall * 0.62),
            (x + away * far * 0.72, foot - tall * 0.14),
            (x + away * far, foot),
        ]
    )
    bend = away * tall * rng.uniform(0.25, 0.5)
    spine = curve([top, (x - bend * 0.7, y + tall * 0.32), (x + bend * 0.3, y + tall * 0.64), (x - bend * 0.9, foot)])
    lit, base, shade = colours
    canvas.fill([[*front, *spine]], (lit, base, base))
    canvas.fill([[*spine[::-1], *back]], (shade, mix(shade, base, 0.45), base))


def paint_field(scene: Scene) -> None:
    """Meadows, a few round trees far off, and flowers in the foreground where the prompt has some."""
    plan = scene.plan
    green = plan.paints.get("field", rgb("7fae52") if plan.weather != "snow" else SNOW)
    rng, canvas = plan.rng("field"), scene.canvas
    line = ridge_line(rng, scene, scene.horizon, 0.012, 0.2)
    trees: list[Outline] = []
    for _ in range(scene.count(9)):
        x, r = rng.uniform(0, canvas.w), canvas.u * rng.uniform(0.018, 0.045)
        trees += [
            ellipse(x, line(x) - r * 0.6, r, r * rng.uniform(0.9, 1.3)),
            ellipse(x + r, line(x) - r * 0.3, r * 0.8, r * 0.8),
        ]
    wood = scene.palette.land(LEAF, 0.35, 0.6)
    canvas.fill(trees, (lighter(wood, 0.1), darker(wood, 0.1)))
    paint_hills(scene, green, 4)
    _grass(scene, rng, green)


def _grass(scene: Scene, rng: random.Random, green: RGB) -> None:
    canvas = scene.canvas
    for share, count, tall in ((0.7, 130, 0.03), (0.95, 120, 0.055)):
        blades: list[Outline] = []
        for _ in range(scene.count(count)):
            x, y = (
                rng.uniform(0, canvas.w),
                scene.horizon + (canvas.h - scene.horizon) * rng.uniform(share - 0.35, share + 0.1),
            )
            height, lean = canvas.u * tall * rng.uniform(0.5, 1.0), canvas.u * rng.uniform(-0.012, 0.012)
            blades.append([(x, y), (x + lean, y - height), (x + canvas.u * 0.004, y)])
        canvas.fill(blades, scene.palette.land(lighter(green, 0.12), share, 0.9), 0.7)


def paint_ripples(scene: Scene, rng: random.Random, colour: RGB, alpha: float) -> None:
    """Short level strokes on water, longer in the foreground."""
    canvas = scene.canvas
    ripples: list[Outline] = []
    for _ in range(scene.count(60)):
        t = rng.random() ** 1.4
        x, y = rng.uniform(0, canvas.w), scene.horizon + (canvas.h - scene.horizon) * (0.02 + t)
        ripples.append(
            ellipse(x, y, canvas.u * rng.uniform(0.02, 0.05) * (0.5 + 1.8 * t), canvas.u * 0.0016 * (1 + 2 * t))
        )
    canvas.fill(ripples, colour, alpha)
