"""Everything above the horizon: air, sun or moon, stars, clouds, and what falls out of them."""

import math
import random

from PIL import Image, ImageChops, ImageFilter

from batchgen.providers.offline.drawing.colours import RGB, darker, lighter, mix, rgb
from batchgen.providers.offline.drawing.pixels import SMOOTH, mapped, resized
from batchgen.providers.offline.drawing.shapes import Outline, Point, ellipse, star, stroke
from batchgen.providers.offline.drawing.stage import Stage


def paint_sky(stage: Stage) -> None:
    stage.canvas.wash(stage.palette.sky, 0, stage.horizon)
    stage.canvas.wash([stage.palette.sky[-1]], stage.horizon)
    _drift(stage)
    if stage.night:
        paint_stars(stage, stage.horizon)
    if "aurora" in stage.plan.extras:
        _aurora(stage)
    if stage.plan.weather not in ("storm", "rain"):
        _sun_or_moon(stage)
    _clouds(stage)
    if stage.plan.weather == "storm":
        _lightning(stage)


def _drift(stage: Stage) -> None:
    """Wide soft patches of light and dark, so that no sky is a bare gradient."""
    chance, canvas = stage.plan.chance("drift"), stage.canvas
    for _ in range(5):
        colour = chance.choice((stage.palette.sky[0], stage.palette.sky[-1], stage.palette.sky[1]))
        canvas.glow(chance.uniform(0, canvas.w), chance.uniform(0, stage.horizon), canvas.u * chance.uniform(0.2, 0.4),
                    colour, 0.32, 2.0)  # fmt: skip


def paint_stars(stage: Stage, depth: float) -> None:
    """Stars down to `depth`: dust, points, and a few that sparkle."""
    chance, canvas = stage.plan.chance("stars"), stage.canvas
    milky = "stars" in stage.plan.extras or "space" in stage.plan.places
    if milky:
        _milky_way(stage, chance, depth)
    dust: list[Outline] = []
    points: list[Outline] = []
    for _ in range(stage.count(420 if milky else 230)):
        x, y = chance.uniform(0, canvas.w), depth * (1 - chance.random() ** 0.7)
        r = canvas.u * chance.uniform(0.0007, 0.0019)
        (dust if chance.random() < 0.72 else points).append([(x - r, y), (x, y - r), (x + r, y), (x, y + r)])
    canvas.fill(dust, stage.palette.light, 0.65)
    canvas.fill(points, (255, 255, 255), 0.95)
    for _ in range(stage.count(9)):
        x, y, r = chance.uniform(0, canvas.w), chance.uniform(0, depth * 0.8), canvas.u * chance.uniform(0.005, 0.011)
        canvas.glow(x, y, r * 2.4, stage.palette.light, 0.35)
        canvas.fill([star(x, y, r, r * 0.13, 4)], (255, 255, 255))


def _milky_way(stage: Stage, chance: random.Random, depth: float) -> None:
    canvas = stage.canvas
    tilt, middle = chance.choice((-1, 1)) * chance.uniform(0.35, 0.7), chance.uniform(0.35, 0.65)
    for _ in range(34):
        t, off = chance.uniform(-0.6, 0.6), chance.gauss(0, 0.07)
        x, y = canvas.w * (middle + t), depth * (0.45 + t * tilt * 1.6 + off)
        colour = chance.choice((stage.palette.light, stage.palette.sky[-1], lighter(stage.palette.sky[2], 0.4)))
        canvas.glow(x, y, canvas.u * chance.uniform(0.05, 0.15), colour, chance.uniform(0.08, 0.2), 1.5)


def _aurora(stage: Stage) -> None:
    chance, canvas = stage.plan.chance("aurora"), stage.canvas
    for colour in (rgb("3df5a6"), rgb("54d6ff"), rgb("b06bff")):
        x0, y0, phase = -0.1 * canvas.w, stage.horizon * chance.uniform(0.32, 0.6), chance.uniform(0, 6)
        for i in range(26):
            x = x0 + canvas.w * 1.2 * i / 25
            y = y0 + math.sin(phase + i * 0.33) * canvas.u * 0.07
            tall = canvas.u * chance.uniform(0.14, 0.3)
            ray: Outline = [(x, y - tall), (x + canvas.u * 0.06, y - tall), (x + canvas.u * 0.07, y), (x, y)]
            canvas.shine([ray], colour, 0.13, canvas.u * 0.014)


def _sun_or_moon(stage: Stage) -> None:
    canvas, (x, y), u = stage.canvas, stage.sun, stage.canvas.u
    light = stage.palette.light
    if stage.night:
        _moon(stage, x, y, u * 0.05)
        return
    low = stage.plan.time in ("dawn", "sunset")
    canvas.glow(x, y, u * (0.75 if low else 0.5), light, 0.55, 1.3)
    canvas.glow(x, y, u * 0.22, light, 0.7)
    radius = u * (0.075 if low else 0.052)
    canvas.fill([ellipse(x, y, radius, radius)], (lighter(light, 0.6), light), 0.97)


def _moon(stage: Stage, x: float, y: float, radius: float) -> None:
    canvas, light = stage.canvas, stage.palette.light
    if "moon" in stage.plan.extras:
        radius *= 1.7
    y = max(y, radius * 2.2)
    canvas.glow(x, y, radius * 7, light, 0.3)
    canvas.glow(x, y, radius * 2.4, light, 0.4)
    canvas.fill([ellipse(x, y, radius, radius)], (lighter(light, 0.5), mix(light, stage.palette.sky[-1], 0.12)))
    chance = stage.plan.chance("moon")
    craters: list[Outline] = []
    for _ in range(6):
        angle, far = chance.uniform(0, math.tau), radius * chance.uniform(0.1, 0.68)
        r = radius * chance.uniform(0.07, 0.2)
        craters.append(ellipse(x + math.cos(angle) * far, y + math.sin(angle) * far, r, r * 0.9))
    canvas.fill(craters, mix(light, stage.palette.sky[-1], 0.45), 0.4)


def _clouds(stage: Stage) -> None:
    chance, plan = stage.plan.chance("clouds"), stage.plan
    heavy = plan.weather in ("storm", "rain")
    count = stage.count(11) if heavy else stage.count(chance.choice((2, 4, 5)) * (0.6 if stage.night else 1))
    if plan.weather == "fog":
        count = 1
    for i in range(count):
        share = (i + chance.random()) / count
        x = stage.canvas.w * chance.uniform(-0.05, 1.05)
        y = stage.horizon * (0.04 + share * (0.5 if heavy else 0.62))
        _cloud(stage, chance, x, y, 1.25 - share * 0.7, heavy)
    _streaks(stage, chance)


def _cloud(stage: Stage, chance: random.Random, x: float, y: float, size: float, heavy: bool) -> None:
    """A flat-bottomed heap, lit from above by the sky's own light."""
    u = stage.canvas.u * size
    width = u * chance.uniform(0.14, 0.26) * (1.6 if heavy else 1)
    puffs: list[Outline] = [ellipse(x, y, width, u * 0.018)]
    for i in range(7):
        t = -0.78 + 1.56 * i / 6
        r = u * (0.055 if heavy else 0.04) * (1.25 - abs(t)) * chance.uniform(0.65, 1.25)
        puffs.append(ellipse(x + t * width, y - r * 0.55, r * 1.35, r))
    sky = stage.palette.sky
    top, bottom = _cloud_colours(stage, heavy)
    if heavy:
        stage.canvas.fill([[(px, py + u * 0.02) for px, py in puff] for puff in puffs], sky[0], 0.5, u * 0.02)
    stage.canvas.fill(puffs, (top, mix(top, bottom, 0.6), bottom), 0.62 if stage.night else 0.8)


def _cloud_colours(stage: Stage, heavy: bool) -> tuple[RGB, RGB]:
    sky = stage.palette.sky
    if heavy:
        return mix(sky[2], sky[1], 0.4), darker(sky[0], 0.2)
    if stage.night:
        return mix(sky[-1], sky[2], 0.3), mix(sky[1], sky[2], 0.5)
    return mix(lighter(sky[-1], 0.55), sky[-2], 0.15), mix(sky[-2], sky[1], 0.25)


def _streaks(stage: Stage, chance: random.Random) -> None:
    """Thin bands over the horizon, glowing where the sun is low."""
    canvas = stage.canvas
    for _ in range(stage.count(5)):
        x, y = chance.uniform(0, canvas.w), stage.horizon - canvas.u * chance.uniform(0.03, 0.26)
        length, tall = canvas.u * chance.uniform(0.12, 0.34), canvas.u * chance.uniform(0.003, 0.009)
        colour = chance.choice((lighter(stage.palette.sky[-1], 0.4), stage.palette.sky[1], stage.palette.sky[-2]))
        canvas.fill([ellipse(x, y, length, tall)], colour, 0.42, tall * 0.5)


def _lightning(stage: Stage) -> None:
    chance, canvas, u = stage.plan.chance("lightning"), stage.canvas, stage.canvas.u
    x = stage.sun[0]
    canvas.glow(x, stage.horizon * 0.35, u * 0.5, rgb("cfe0ff"), 0.4, 1.4)
    line: list[Point] = [(x, stage.horizon * 0.1)]
    while line[-1][1] < stage.horizon:
        line.append((line[-1][0] + u * chance.uniform(-0.055, 0.06), line[-1][1] + u * chance.uniform(0.03, 0.08)))
    fork: list[Point] = [line[len(line) // 3]]
    for _ in range(4):
        fork.append((fork[-1][0] + u * chance.uniform(0.015, 0.05), fork[-1][1] + u * chance.uniform(0.02, 0.05)))
    bolts = [stroke(line, (u * 0.012, u * 0.003), False), stroke(fork, (u * 0.006, u * 0.001), False)]
    canvas.fill(bolts, rgb("bcd4ff"), 0.6, u * 0.012)
    canvas.fill(bolts, rgb("fdfcff"))


def paint_weather(stage: Stage) -> None:
    """What is in the air between the eye and the scene."""
    weather = stage.plan.weather
    if weather == "snow":
        _flakes(stage)
    elif weather in ("storm", "rain"):
        _rain(stage)
    elif weather == "fog":
        paint_mist(stage, stage.horizon + stage.canvas.u * 0.1, 0.5)


def paint_mist(stage: Stage, y: float, alpha: float) -> None:
    """A bank of haze at this height."""
    chance, canvas = stage.plan.chance(f"mist{y:.0f}"), stage.canvas
    colour = lighter(stage.palette.sky[-1], 0.15)
    for _ in range(stage.count(4)):
        x, dy = chance.uniform(0, canvas.w), canvas.u * chance.uniform(-0.04, 0.04)
        canvas.glow(x, y + dy, canvas.u * chance.uniform(0.08, 0.16), colour, alpha, 4.0)


def _flakes(stage: Stage) -> None:
    chance, canvas = stage.plan.chance("flakes"), stage.canvas
    for size, count, alpha in ((0.0022, 150, 0.75), (0.0042, 60, 0.85), (0.0085, 16, 0.5)):
        flakes: list[Outline] = []
        for _ in range(stage.count(count)):
            r = canvas.u * size * chance.uniform(0.7, 1.3)
            x, y = chance.uniform(0, canvas.w), chance.uniform(0, canvas.h)
            flakes.append(ellipse(x, y, r, r)[::5])
        canvas.fill(flakes, (255, 255, 255), alpha, 0.0 if size < 0.005 else canvas.u * 0.002)


def _rain(stage: Stage) -> None:
    chance, canvas = stage.plan.chance("rain"), stage.canvas
    drops: list[Outline] = []
    for _ in range(stage.count(190)):
        x, y = chance.uniform(0, canvas.w * 1.1), chance.uniform(-0.05, 1) * canvas.h
        length, width = canvas.u * chance.uniform(0.02, 0.06), canvas.u * 0.0013
        drops.append([(x, y), (x + width, y), (x - length * 0.28 + width, y + length), (x - length * 0.28, y + length)])
    canvas.fill(drops, lighter(stage.palette.sky[-1], 0.5), 0.36)


def paint_nebula(stage: Stage) -> None:
    """Outer space: coloured clouds of light, made small and let flow large."""
    chance, canvas = stage.plan.chance("nebula"), stage.canvas
    canvas.wash(stage.palette.sky)
    hues = [chance.choice((rgb("d6368f"), rgb("ff7a4d"), rgb("7b3ff2"))), rgb("2f7bff"), rgb("1fd1c1")]
    for hue in hues[:2] if chance.random() < 0.5 else hues:
        cells = Image.frombytes("L", (7, 7), chance.randbytes(49))
        fine = resized(Image.frombytes("L", (14, 14), chance.randbytes(196)), (112, 112), SMOOTH)
        cloud = ImageChops.multiply(
            resized(cells, (112, 112), SMOOTH), mapped(fine, [128 + v // 2 for v in range(256)])
        )
        mask = mapped(cloud, [round(150 * max(0.0, (v - 55) / 165) ** 1.5) for v in range(256)])
        box = (0, 0, canvas.w, canvas.h)
        canvas.lay(resized(mask.filter(ImageFilter.GaussianBlur(3)), (canvas.w, canvas.h), SMOOTH), hue, box)
    paint_stars(stage, canvas.h)
