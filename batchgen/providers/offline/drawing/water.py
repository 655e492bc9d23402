"""Sea, lake and the world under water."""

import math
import random

from batchgen.providers.offline.drawing.colours import RGB, darker, lighter, mix, rgb
from batchgen.providers.offline.drawing.land import below, paint_ripples, ridge_line
from batchgen.providers.offline.drawing.shapes import Outline, ellipse, stroke
from batchgen.providers.offline.drawing.stage import Stage

SEA = rgb("1f6f8f")


def _water(stage: Stage) -> tuple[RGB, RGB, RGB]:
    palette = stage.palette
    local = stage.plan.paints.get("sea", stage.plan.paints.get("lake", SEA))
    deep = palette.land(local, 0.8, 0.7)
    return (mix(palette.sky[-1], deep, 0.22), mix(palette.sky[-2], deep, 0.55), darker(deep, 0.15))


def paint_sea(stage: Stage) -> None:
    """Open water to the horizon with the sun's path on it."""
    canvas = stage.canvas
    chance = stage.plan.chance("sea")
    canvas.wash(_water(stage), stage.horizon)
    canvas.reflect(stage.horizon, (canvas.h - stage.horizon) * 0.9, _water(stage), 0.3)
    paint_ripples(stage, chance, lighter(stage.palette.sky[-1], 0.35), 0.4)
    if stage.plan.weather not in ("storm", "rain"):
        _glitter(stage, chance)


def _glitter(stage: Stage, chance: random.Random) -> None:
    canvas = stage.canvas
    strokes: list[Outline] = []
    deep = canvas.h - stage.horizon
    for i in range(48):
        t = (i / 48) ** 1.3
        half = canvas.u * (0.018 + 0.07 * t) * chance.uniform(0.4, 1.1)
        x = stage.sun[0] + canvas.u * chance.gauss(0, 0.022 + 0.035 * t)
        strokes.append(ellipse(x, stage.horizon + 2 + deep * t, half, canvas.u * 0.0024 * (0.6 + 1.3 * t)))
    canvas.glow(stage.sun[0], stage.horizon, canvas.u * 0.3, stage.palette.light, 0.35, 1.2)
    canvas.fill(strokes, stage.palette.light, 0.6)


def paint_waves(stage: Stage) -> None:
    """Waves close to the eye, in front of what swims."""
    canvas, chance = stage.canvas, stage.plan.chance("waves")
    rough = 2.4 if stage.plan.weather == "storm" else 1.0
    _, middle, deep = _water(stage)
    for row in range(4):
        t = 0.42 + 0.16 * row
        y = stage.horizon + (canvas.h - stage.horizon) * t
        line = ridge_line(chance, stage, y, 0.007 * rough * (1 + 0.4 * row), 0.6)
        colour = mix(middle, deep, 0.3 + 0.22 * row)
        canvas.fill([below(stage, line)], (lighter(colour, 0.14), colour, darker(colour, 0.12)), 0.88)
        crest = [(canvas.w * i / 60, line(canvas.w * i / 60)) for i in range(61)]
        canvas.fill([stroke(crest,
            [canvas.u * 0.0035 * (1 + math.sin(i * 2.1)) * rough**0.5 for i in range(23)], False)],
                    lighter(stage.palette.sky[-1], 0.55), 0.6)  # fmt: skip


def paint_lake(stage: Stage) -> None:
    """Still water that mirrors all that stands behind it."""
    canvas, chance = stage.canvas, stage.plan.chance("lake")
    canvas.reflect(stage.horizon, canvas.h - stage.horizon, _water(stage), 0.62)
    shore = [(canvas.w * i / 40, stage.horizon + canvas.u * 0.003 * math.sin(i * 1.7)) for i in range(41)]
    canvas.fill([stroke(shore, (canvas.u * 0.004,), False)], lighter(stage.palette.sky[-1], 0.4), 0.6)
    paint_ripples(stage, chance, lighter(stage.palette.sky[-1], 0.35), 0.35)
    if stage.plan.weather not in ("storm", "rain", "fog"):
        _glitter(stage, chance)


def paint_reeds(stage: Stage) -> None:
    """A dark near bank with reeds, at the side away from the subject."""
    canvas, chance = stage.canvas, stage.plan.chance("reeds")
    side = 1.0 if stage.hero < canvas.w / 2 else 0.0
    near = darker(stage.palette.near, 0.1)
    x0 = canvas.w * side
    inward = 1 - 2 * side
    bank = [(x0, canvas.h - canvas.u * 0.2), (x0 + inward * canvas.u * 0.16, canvas.h - canvas.u * 0.16),
            (x0 + inward * canvas.u * 0.42, canvas.h - canvas.u * 0.03),
            (x0 + inward * canvas.u * 0.5, canvas.h), (x0, canvas.h)]  # fmt: skip
    blades: list[Outline] = []
    for _ in range(34):
        t = chance.random()
        x = x0 + inward * canvas.u * 0.44 * t
        foot, tall = canvas.h - canvas.u * 0.15 * (1 - t), canvas.u * chance.uniform(0.08, 0.24)
        lean = canvas.u * chance.uniform(-0.03, 0.05) * inward
        blades.append(
            stroke(
                [(x, foot), (x + lean * 0.3, foot - tall * 0.6), (x + lean, foot - tall)],
                (canvas.u * 0.006, canvas.u * 0.0012),
            )
        )
        if chance.random() < 0.25:
            blades.append(ellipse(x + lean, foot - tall, canvas.u * 0.005, canvas.u * 0.022, lean / canvas.u * 400))
    canvas.fill([bank, *blades], (near, darker(near, 0.3)))


def paint_deep(stage: Stage) -> None:
    """Under water: light from above, rocks, weeds and bubbles."""
    canvas, chance, palette = stage.canvas, stage.plan.chance("deep"), stage.palette
    canvas.wash(palette.sky)
    canvas.glow(stage.sun[0], 0, canvas.u * 0.8, palette.light, 0.6, 1.4)
    for _ in range(stage.count(7)):
        x, wide = stage.sun[0] + canvas.u * chance.uniform(-0.5, 0.5), canvas.u * chance.uniform(0.02, 0.07)
        lean = (x - stage.sun[0]) * 0.9
        ray: Outline = [(x, -5), (x + wide, -5), (x + lean + wide * 3, canvas.h * 0.85), (x + lean, canvas.h * 0.85)]
        canvas.shine([ray], palette.light, 0.09, canvas.u * 0.012)
    for row, share in enumerate((0.1, 0.45, 0.9)):
        y = canvas.h * (0.74 + 0.09 * row)
        line = ridge_line(chance, stage, y, 0.045, 0.8)
        colour = mix(palette.sky[2], palette.near, share)
        _weeds(stage, chance, line(0), colour, row)
        canvas.fill([below(stage, line)], (lighter(colour, 0.1), colour, darker(colour, 0.2)))
    _corals(stage, chance)
    _bubbles(stage, chance)


def _weeds(stage: Stage, chance: random.Random, y: float, colour: RGB, row: int) -> None:
    canvas = stage.canvas
    weeds: list[Outline] = []
    for _ in range(stage.count(9)):
        x, tall = chance.uniform(0, canvas.w), canvas.u * chance.uniform(0.1, 0.24) * (0.7 + 0.25 * row)
        bend = canvas.u * chance.uniform(0.01, 0.03)
        line = [(x + bend * (-1) ** i, y + canvas.u * 0.08 - tall * i / 4 * 1.3) for i in range(5)]
        weeds.append(stroke(line, (canvas.u * 0.016, canvas.u * 0.013, canvas.u * 0.002)))
    canvas.fill(weeds, (lighter(mix(colour, rgb("3aa86b"), 0.35), 0.1), colour))


def _corals(stage: Stage, chance: random.Random) -> None:
    canvas = stage.canvas
    for _ in range(stage.count(5)):
        x, y = chance.uniform(0.03, 0.97) * canvas.w, canvas.h * chance.uniform(0.86, 0.95)
        colour = mix(
            chance.choice((rgb("ff6f61"), rgb("ff9e5e"), rgb("d65db1"), rgb("ffc75f"))), stage.palette.near, 0.25
        )
        arms: list[Outline] = []
        for i in range(5):
            lean, tall = canvas.u * (i - 2) * 0.028, canvas.u * chance.uniform(0.06, 0.12)
            tip = (x + lean * 1.6, y - tall)
            arms.append(
                stroke(
                    [(x, y + canvas.u * 0.02), (x + lean, y - tall * 0.5), tip], (canvas.u * 0.018, canvas.u * 0.014)
                )
            )
            arms.append(ellipse(tip[0], tip[1], canvas.u * 0.009, canvas.u * 0.009))
        canvas.fill(arms, (lighter(colour, 0.15), colour, darker(colour, 0.2)))


def _bubbles(stage: Stage, chance: random.Random) -> None:
    canvas = stage.canvas
    for _ in range(stage.count(22)):
        x, y, r = (
            chance.uniform(0, canvas.w),
            chance.uniform(0.05, 0.9) * canvas.h,
            canvas.u * chance.uniform(0.003, 0.012),
        )
        canvas.fill([ellipse(x, y, r, r)], stage.palette.light, 0.22)
        canvas.fill([ellipse(x - r * 0.35, y - r * 0.35, r * 0.28, r * 0.28)], stage.palette.light, 0.8)
