"""The sky: air, sun or moon, stars, clouds, rain and snow."""

import math
import random

from PIL import Image, ImageChops, ImageFilter

from batchgen.providers.offline.drawing.colours import RGB, darker, lighter, mix, rgb
from batchgen.providers.offline.drawing.pixels import SMOOTH, mapped, resized
from batchgen.providers.offline.drawing.scene import Scene
from batchgen.providers.offline.drawing.shapes import Outline, Point, ellipse, star, stroke


def paint_sky(scene: Scene) -> None:
    scene.canvas.wash(scene.palette.sky, 0, scene.horizon)
    scene.canvas.wash([scene.palette.sky[-1]], scene.horizon)
    _drift(scene)
    if scene.night:
        paint_stars(scene, scene.horizon)
    if "aurora" in scene.plan.extras:
        _aurora(scene)
    if scene.plan.weather not in ("storm", "rain"):
        _sun_or_moon(scene)
    _clouds(scene)
    if scene.plan.weather == "storm":
        _lightning(scene)


def _drift(scene: Scene) -> None:
    """Wide soft patches of light and dark, so that no sky is a bare gradient."""
    rng, canvas = scene.plan.rng("drift"), scene.canvas
    for _ in range(5):
        colour = rng.choice((scene.palette.sky[0], scene.palette.sky[-1], scene.palette.sky[1]))
        canvas.glow(rng.uniform(0, canvas.w), rng.uniform(0, scene.horizon), canvas.u * rng.uniform(0.2, 0.4),
                    colour, 0.32, 2.0)  # fmt: skip


def paint_stars(scene: Scene, depth: float) -> None:
    """Stars down to `depth`: dust, points, and a few that sparkle."""
    rng, canvas = scene.plan.rng("stars"), scene.canvas
    milky = "stars" in scene.plan.extras or "space" in scene.plan.places
    if milky:
        _milky_way(scene, rng, depth)
    dust: list[Outline] = []
    points: list[Outline] = []
    for _ in range(scene.count(420 if milky else 230)):
        x, y = rng.uniform(0, canvas.w), depth * (1 - rng.random() ** 0.7)
        r = canvas.u * rng.uniform(0.0007, 0.0019)
        (dust if rng.random() < 0.72 else points).append([(x - r, y), (x, y - r), (x + r, y), (x, y + r)])
    canvas.fill(dust, scene.palette.light, 0.65)
    canvas.fill(points, (255, 255, 255), 0.95)
    for _ in range(scene.count(9)):
        x, y, r = rng.uniform(0, canvas.w), rng.uniform(0, depth * 0.8), canvas.u * rng.uniform(0.005, 0.011)
        canvas.glow(x, y, r * 2.4, scene.palette.light, 0.35)
        canvas.fill([star(x, y, r, r * 0.13, 4)], (255, 255, 255))


def _milky_way(scene: Scene, rng: random.Random, depth: float) -> None:
    canvas = scene.canvas
    tilt, middle = rng.choice((-1, 1)) * rng.uniform(0.35, 0.7), rng.uniform(0.35, 0.65)
    for _ in range(34):
        t, off = rng.uniform(-0.6, 0.6), rng.gauss(0, 0.07)
        x, y = canvas.w * (middle + t), depth * (0.45 + t * tilt * 1.6 + off)
        colour = rng.choice((scene.palette.light, scene.palette.sky[-1], lighter(scene.palette.sky[2], 0.4)))
        canvas.glow(x, y, canvas.u * rng.uniform(0.05, 0.15), colour, rng.uniform(0.08, 0.2), 1.5)


def _aurora(scene: Scene) -> None:
    rng, canvas = scene.plan.rng("aurora"), scene.canvas
    for colour in (rgb("3df5a6"), rgb("54d6ff"), rgb("b06bff")):
        x0, y0, phase = -0.1 * canvas.w, scene.horizon * rng.uniform(0.32, 0.6), rng.uniform(0, 6)
        for i in range(26):
            x = x0 + canvas.w * 1.2 * i / 25
            y = y0 + math.sin(phase + i * 0.33) * canvas.u * 0.07
            tall = canvas.u * rng.uniform(0.14, 0.3)
            ray: Outline = [(x, y - tall), (x + canvas.u * 0.06, y - tall), (x + canvas.u * 0.07, y), (x, y)]
            canvas.shine([ray], colour, 0.13, canvas.u * 0.014)


def _sun_or_moon(scene: Scene) -> None:
    canvas, (x, y), u = scene.canvas, scene.sun, scene.canvas.u
    light = scene.palette.light
    if scene.night:
        _moon(scene, x, y, u * 0.05)
        return
    low = scene.plan.time in ("dawn", "sunset")
    canvas.glow(x, y, u * (0.75 if low else 0.5), light, 0.55, 1.3)
    canvas.glow(x, y, u * 0.22, light, 0.7)
    radius = u * (0.075 if low else 0.052)
    canvas.fill([ellipse(x, y, radius, radius)], (lighter(light, 0.6), light), 0.97)


def _moon(scene: Scene, x: float, y: float, radius: float) -> None:
    canvas, light = scene.canvas, scene.palette.light
    if "moon" in scene.plan.extras:
        radius *= 1.7
    y = max(y, radius * 2.2)
    canvas.glow(x, y, radius * 7, light, 0.3)
    canvas.glow(x, y, radius * 2.4, light, 0.4)
    canvas.fill([ellipse(x, y, radius, radius)], (lighter(light, 0.5), mix(light, scene.palette.sky[-1], 0.12)))
    rng = scene.plan.rng("moon")
    craters: list[Outline] = []
    for _ in range(6):
        angle, far = rng.uniform(0, math.tau), radius * rng.uniform(0.1, 0.68)
        r = radius * rng.uniform(0.07, 0.2)
        craters.append(ellipse(x + math.cos(angle) * far, y + math.sin(angle) * far, r, r * 0.9))
    canvas.fill(craters, mix(light, scene.palette.sky[-1], 0.45), 0.4)


def _clouds(scene: Scene) -> None:
    rng, plan = scene.plan.rng("clouds"), scene.plan
    heavy = plan.weather in ("storm", "rain")
    count = scene.count(11) if heavy else scene.count(rng.choice((2, 4, 5)) * (0.6 if scene.night else 1))
    if plan.weather == "fog":
        count = 1
    for i in range(count):
        share = (i + rng.random()) / count
        x = scene.canvas.w * rng.uniform(-0.05, 1.05)
        y = scene.horizon * (0.04 + share * (0.5 if heavy else 0.62))
        _cloud(scene, rng, x, y, 1.25 - share * 0.7, heavy)
    _streaks(scene, rng)


def _cloud(scene: Scene, rng: random.Random, x: float, y: float, size: float, heavy: bool) -> None:
    """A flat-bottomed heap, lit from above by the sky's own light."""
    u = scene.canvas.u * size
    width = u * rng.uniform(0.14, 0.26) * (1.6 if heavy else 1)
    puffs: list[Outline] = [ellipse(x, y, width, u * 0.018)]
    for i in range(7):
        t = -0.78 + 1.56 * i / 6
        r = u * (0.055 if heavy else 0.04) * (1.25 - abs(t)) * rng.uniform(0.65, 1.25)
        puffs.append(ellipse(x + t * width, y - r * 0.55, r * 1.35, r))
    sky = scene.palette.sky
    top, bottom = _cloud_colours(scene, heavy)
    if heavy:
        scene.canvas.fill([[(px, py + u * 0.02) for px, py in puff] for puff in puffs], sky[0], 0.5, u * 0.02)
    scene.canvas.fill(puffs, (top, mix(top, bottom, 0.6), bottom), 0.62 if scene.night else 0.8)


def _cloud_colours(scene: Scene, heavy: bool) -> tuple[RGB, RGB]:
    sky = scene.palette.sky
    if heavy:
        return mix(sky[2], sky[1], 0.4), darker(sky[0], 0.2)
    if scene.night:
        return mix(sky[-1], sky[2], 0.3), mix(sky[1], sky[2], 0.5)
    return mix(lighter(sky[-1], 0.55), sky[-2], 0.15), mix(sky[-2], sky[1], 0.25)


def _streaks(scene: Scene, rng: random.Random) -> None:
    """Thin bands over the horizon, glowing where the sun is low."""
    canvas = scene.canvas
    for _ in range(scene.count(5)):
        x, y = rng.uniform(0, canvas.w), scene.horizon - canvas.u * rng.uniform(0.03, 0.26)
        length, tall = canvas.u * rng.uniform(0.12, 0.34), canvas.u * rng.uniform(0.003, 0.009)
        colour = rng.choice((lighter(scene.palette.sky[-1], 0.4), scene.palette.sky[1], scene.palette.sky[-2]))
        canvas.fill([ellipse(x, y, length, tall)], colour, 0.42, tall * 0.5)


def _lightning(scene: Scene) -> None:
    rng, canvas, u = scene.plan.rng("lightning"), scene.canvas, scene.canvas.u
    x = scene.sun[0]
    canvas.glow(x, scene.horizon * 0.35, u * 0.5, rgb("cfe0ff"), 0.4, 1.4)
    line: list[Point] = [(x, scene.horizon * 0.1)]
    while line[-1][1] < scene.horizon:
        line.append((line[-1][0] + u * rng.uniform(-0.055, 0.06), line[-1][1] + u * rng.uniform(0.03, 0.08)))
    fork: list[Point] = [line[len(line) // 3]]
    for _ in range(4):
        fork.append((fork[-1][0] + u * rng.uniform(0.015, 0.05), fork[-1][1] + u * rng.uniform(0.02, 0.05)))
    bolts = [stroke(line, (u * 0.012, u * 0.003), False), stroke(fork, (u * 0.006, u * 0.001), False)]
    canvas.fill(bolts, rgb("bcd4ff"), 0.6, u * 0.012)
    canvas.fill(bolts, rgb("fdfcff"))


def paint_weather(scene: Scene) -> None:
    """Rain, snow or fog in front of the scene."""
    weather = scene.plan.weather
    if weather == "snow":
        _flakes(scene)
    elif weather in ("storm", "rain"):
        _rain(scene)
    elif weather == "fog":
        paint_mist(scene, scene.horizon + scene.canvas.u * 0.1, 0.5)


def paint_mist(scene: Scene, y: float, alpha: float) -> None:
    """A bank of haze at this height."""
    rng, canvas = scene.plan.rng(f"mist{y:.0f}"), scene.canvas
    colour = lighter(scene.palette.sky[-1], 0.15)
    for _ in range(scene.count(4)):
        x, dy = rng.uniform(0, canvas.w), canvas.u * rng.uniform(-0.04, 0.04)
        canvas.glow(x, y + dy, canvas.u * rng.uniform(0.08, 0.16), colour, alpha, 4.0)


def _flakes(scene: Scene) -> None:
    rng, canvas = scene.plan.rng("flakes"), scene.canvas
    for size, count, alpha in ((0.0022, 150, 0.75), (0.0042, 60, 0.85), (0.0085, 16, 0.5)):
        flakes: list[Outline] = []
        for _ in range(scene.count(count)):
            r = canvas.u * size * rng.uniform(0.7, 1.3)
            x, y = rng.uniform(0, canvas.w), rng.uniform(0, canvas.h)
            flakes.append(ellipse(x, y, r, r)[::5])
        canvas.fill(flakes, (255, 255, 255), alpha, 0.0 if size < 0.005 else canvas.u * 0.002)


def _rain(scene: Scene) -> None:
    rng, canvas = scene.plan.rng("rain"), scene.canvas
    drops: list[Outline] = []
    for _ in range(scene.count(190)):
        x, y = rng.uniform(0, canvas.w * 1.1), rng.uniform(-0.05, 1) * canvas.h
        length, width = canvas.u * rng.uniform(0.02, 0.06), canvas.u * 0.0013
        drops.append([(x, y), (x + width, y), (x - length * 0.28 + width, y + length), (x - length * 0.28, y + length)])
    canvas.fill(drops, lighter(scene.palette.sky[-1], 0.5), 0.36)


def paint_nebula(scene: Scene) -> None:
    """Outer space: coloured clouds of light, made small and let flow large."""
    rng, canvas = scene.plan.rng("nebula"), scene.canvas
    canvas.wash(scene.palette.sky)
    hues = [rng.choice((rgb("d6368f"), rgb("ff7a4d"), rgb("7b3ff2"))), rgb("2f7bff"), rgb("1fd1c1")]
    for hue in hues[:2] if rng.random() < 0.5 else hues:
        cells = Image.frombytes("L", (7, 7), rng.randbytes(49))
        fine = resized(Image.frombytes("L", (14, 14), rng.randbytes(196)), (112, 112), SMOOTH)
        cloud = ImageChops.multiply(
            resized(cells, (112, 112), SMOOTH), mapped(fine, [128 + v // 2 for v in range(256)])
        )
        mask = mapped(cloud, [round(150 * max(0.0, (v - 55) / 165) ** 1.5) for v in range(256)])
        box = (0, 0, canvas.w, canvas.h)
        canvas.lay(resized(mask.filter(ImageFilter.GaussianBlur(3)), (canvas.w, canvas.h), SMOOTH), hue, box)
    paint_stars(scene, canvas.h)
