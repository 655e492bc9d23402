"""Sea, lake and the world under water."""

import math
import random

from batchgen.providers.offline.drawing.colours import RGB, darker, lighter, mix, rgb
from batchgen.providers.offline.drawing.land import below, paint_ripples, ridge_line
from batchgen.providers.offline.drawing.scene import Scene
from batchgen.providers.offline.drawing.shapes import Outline, ellipse, stroke

SEA = rgb("1f6f8f")


def _water(scene: Scene) -> tuple[RGB, RGB, RGB]:
    palette = scene.palette
    local = scene.plan.paints.get("sea", scene.plan.paints.get("lake", SEA))
    deep = palette.land(local, 0.8, 0.7)
    return (mix(palette.sky[-1], deep, 0.22), mix(palette.sky[-2], deep, 0.55), darker(deep, 0.15))


def paint_sea(scene: Scene) -> None:
    """Open water to the horizon with the sun's path on it."""
    canvas = scene.canvas
    rng = scene.plan.rng("sea")
    canvas.wash(_water(scene), scene.horizon)
    canvas.reflect(scene.horizon, (canvas.h - scene.horizon) * 0.9, _water(scene), 0.3)
    paint_ripples(scene, rng, lighter(scene.palette.sky[-1], 0.35), 0.4)
    if scene.plan.weather not in ("storm", "rain"):
        _glitter(scene, rng)


def _glitter(scene: Scene, rng: random.Random) -> None:
    canvas = scene.canvas
    strokes: list[Outline] = []
    deep = canvas.h - scene.horizon
    for i in range(48):
        t = (i / 48) ** 1.3
        half = canvas.u * (0.018 + 0.07 * t) * rng.uniform(0.4, 1.1)
        x = scene.sun[0] + canvas.u * rng.gauss(0, 0.022 + 0.035 * t)
        strokes.append(ellipse(x, scene.horizon + 2 + deep * t, half, canvas.u * 0.0024 * (0.6 + 1.3 * t)))
    canvas.glow(scene.sun[0], scene.horizon, canvas.u * 0.3, scene.palette.light, 0.35, 1.2)
    canvas.fill(strokes, scene.palette.light, 0.6)


def paint_waves(scene: Scene) -> None:
    """Waves in the foreground, in front of what swims."""
    canvas, rng = scene.canvas, scene.plan.rng("waves")
    rough = 2.4 if scene.plan.weather == "storm" else 1.0
    _, middle, deep = _water(scene)
    for row in range(4):
        t = 0.42 + 0.16 * row
        y = scene.horizon + (canvas.h - scene.horizon) * t
        line = ridge_line(rng, scene, y, 0.007 * rough * (1 + 0.4 * row), 0.6)
        colour = mix(middle, deep, 0.3 + 0.22 * row)
        canvas.fill([below(scene, line)], (lighter(colour, 0.14), colour, darker(colour, 0.12)), 0.88)
        crest = [(canvas.w * i / 60, line(canvas.w * i / 60)) for i in range(61)]
        canvas.fill([stroke(crest,
            [canvas.u * 0.0035 * (1 + math.sin(i * 2.1)) * rough**0.5 for i in range(23)], False)],
                    lighter(scene.palette.sky[-1], 0.55), 0.6)  # fmt: skip


def paint_lake(scene: Scene) -> None:
    """Still water that mirrors all that stands behind it."""
    canvas, rng = scene.canvas, scene.plan.rng("lake")
    canvas.reflect(scene.horizon, canvas.h - scene.horizon, _water(scene), 0.62)
    shore = [(canvas.w * i / 40, scene.horizon + canvas.u * 0.003 * math.sin(i * 1.7)) for i in range(41)]
    canvas.fill([stroke(shore, (canvas.u * 0.004,), False)], lighter(scene.palette.sky[-1], 0.4), 0.6)
    paint_ripples(scene, rng, lighter(scene.palette.sky[-1], 0.35), 0.35)
    if scene.plan.weather not in ("storm", "rain", "fog"):
        _glitter(scene, rng)


def paint_reeds(scene: Scene) -> None:
    """A dark near bank with reeds, at the side away from the subject."""
    canvas, rng = scene.canvas, scene.plan.rng("reeds")
    side = 1.0 if scene.subject_x < canvas.w / 2 else 0.0
    near = darker(scene.palette.near, 0.1)
    x0 = canvas.w * side
    inward = 1 - 2 * side
    bank = [(x0, canvas.h - canvas.u * 0.2), (x0 + inward * canvas.u * 0.16, canvas.h - canvas.u * 0.16),
            (x0 + inward * canvas.u * 0.42, canvas.h - canvas.u * 0.03),
            (x0 + inward * canvas.u * 0.5, canvas.h), (x0, canvas.h)]  # fmt: skip
    blades: list[Outline] = []
    for _ in range(34):
        t = rng.random()
        x = x0 + inward * canvas.u * 0.44 * t
        foot, tall = canvas.h - canvas.u * 0.15 * (1 - t), canvas.u * rng.uniform(0.08, 0.24)
        lean = canvas.u * rng.uniform(-0.03, 0.05) * inward
        blades.append(
            stroke(
                [(x, foot), (x + lean * 0.3, foot - tall * 0.6), (x + lean, foot - tall)],
                (canvas.u * 0.006, canvas.u * 0.0012),
            )
        )
        if rng.random() < 0.25:
            blades.append(ellipse(x + lean, foot - tall, canvas.u * 0.005, canvas.u * 0.022, lean / canvas.u * 400))
    canvas.fill([bank, *blades], (near, darker(near, 0.3)))


def paint_deep(scene: Scene) -> None:
    """Under water: light from above, rocks, weeds and bubbles."""
    canvas, rng, palette = scene.canvas, scene.plan.rng("deep"), scene.palette
    canvas.wash(palette.sky)
    canvas.glow(scene.sun[0], 0, canvas.u * 0.8, palette.light, 0.6, 1.4)
    for _ in range(scene.count(7)):
        x, wide = scene.sun[0] + canvas.u * rng.uniform(-0.5, 0.5), canvas.u * rng.uniform(0.02, 0.07)
        lean = (x - scene.sun[0]) * 0.9
        ray: Outline = [(x, -5), (x + wide, -5), (x + lean + wide * 3, canvas.h * 0.85), (x + lean, canvas.h * 0.85)]
        canvas.shine([ray], palette.light, 0.09, canvas.u * 0.012)
    for row, share in enumerate((0.1, 0.45, 0.9)):
        y = canvas.h * (0.74 + 0.09 * row)
        line = ridge_line(rng, scene, y, 0.045, 0.8)
        colour = mix(palette.sky[2], palette.near, share)
        _weeds(scene, rng, line(0), colour, row)
        canvas.fill([below(scene, line)], (lighter(colour, 0.1), colour, darker(colour, 0.2)))
    _corals(scene, rng)
    _bubbles(scene, rng)


def _weeds(scene: Scene, rng: random.Random, y: float, colour: RGB, row: int) -> None:
    canvas = scene.canvas
    weeds: list[Outline] = []
    for _ in range(scene.count(9)):
        x, tall = rng.uniform(0, canvas.w), canvas.u * rng.uniform(0.1, 0.24) * (0.7 + 0.25 * row)
        bend = canvas.u * rng.uniform(0.01, 0.03)
        line = [(x + bend * (-1) ** i, y + canvas.u * 0.08 - tall * i / 4 * 1.3) for i in range(5)]
        weeds.append(stroke(line, (canvas.u * 0.016, canvas.u * 0.013, canvas.u * 0.002)))
    canvas.fill(weeds, (lighter(mix(colour, rgb("3aa86b"), 0.35), 0.1), colour))


def _corals(scene: Scene, rng: random.Random) -> None:
    canvas = scene.canvas
    for _ in range(scene.count(5)):
        x, y = rng.uniform(0.03, 0.97) * canvas.w, canvas.h * rng.uniform(0.86, 0.95)
        colour = mix(rng.choice((rgb("ff6f61"), rgb("ff9e5e"), rgb("d65db1"), rgb("ffc75f"))), scene.palette.near, 0.25)
        arms: list[Outline] = []
        for i in range(5):
            lean, tall = canvas.u * (i - 2) * 0.028, canvas.u * rng.uniform(0.06, 0.12)
            tip = (x + lean * 1.6, y - tall)
            arms.append(
                stroke(
                    [(x, y + canvas.u * 0.02), (x + lean, y - tall * 0.5), tip], (canvas.u * 0.018, canvas.u * 0.014)
                )
            )
            arms.append(ellipse(tip[0], tip[1], canvas.u * 0.009, canvas.u * 0.009))
        canvas.fill(arms, (lighter(colour, 0.15), colour, darker(colour, 0.2)))


def _bubbles(scene: Scene, rng: random.Random) -> None:
    canvas = scene.canvas
    for _ in range(scene.count(22)):
        x, y, r = (
            rng.uniform(0, canvas.w),
            rng.uniform(0.05, 0.9) * canvas.h,
            canvas.u * rng.uniform(0.003, 0.012),
        )
        canvas.fill([ellipse(x, y, r, r)], scene.palette.light, 0.22)
        canvas.fill([ellipse(x - r * 0.35, y - r * 0.35, r * 0.28, r * 0.28)], scene.palette.light, 0.8)
