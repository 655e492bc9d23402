"""Planets, with and without rings."""

import math
import random

from batchgen.providers.offline.drawing.colours import darker, lighter, mix, rgb
from batchgen.providers.offline.drawing.scene import Scene
from batchgen.providers.offline.drawing.shapes import Point, ellipse, stroke


def paint_planet(scene: Scene, x: float, y: float, radius: float, rng: random.Random, ring: bool) -> None:
    """A banded planet, lit from the sun's side."""
    canvas = scene.canvas
    base = rng.choice((rgb("e08a5b"), rgb("6fa8c9"), rgb("b07bc2"), rgb("e0b46c"), rgb("5fae9a")))
    base = scene.plan.paints.get("space", scene.plan.tint or base)
    tilt = rng.uniform(-22, 22)
    halo = [
        stroke([_on_ring(x, y, radius * r, tilt, a) for a in range(180, 361, 6)], (radius * w,), False)
        for r, w in ((1.62, 0.16), (1.9, 0.08))
    ]
    front = [
        stroke([_on_ring(x, y, radius * r, tilt, a) for a in range(0, 181, 6)], (radius * w,), False)
        for r, w in ((1.62, 0.16), (1.9, 0.08))
    ]
    canvas.glow(x, y, radius * 2.0, lighter(base, 0.2), 0.35)
    if ring:
        canvas.fill(halo, lighter(base, 0.35), 0.55)
    canvas.fill([ellipse(x, y, radius, radius)], (lighter(base, 0.25), base, darker(base, 0.2)))
    for _ in range(6):
        dy = rng.uniform(-0.75, 0.75)
        half = math.sqrt(1 - dy * dy)
        band = ellipse(x, y + dy * radius, radius * half * 0.98, radius * rng.uniform(0.03, 0.08))
        canvas.fill([band], rng.choice((lighter(base, 0.4), darker(base, 0.3), mix(base, (255, 255, 255), 0.2))), 0.38)
    away = 1 if scene.sun[0] < x else -1
    shade = [
        (x + math.sin(a / 30 * math.pi) * radius * 1.5 * away, y - math.cos(a / 30 * math.pi) * radius)
        for a in range(31)
    ]
    inner = [
        (x + math.sin(a / 30 * math.pi) * radius * 0.1 * away, y - math.cos(a / 30 * math.pi) * radius)
        for a in range(31)
    ]
    canvas.fill([[*shade, *inner[::-1]]], scene.palette.sky[0], 0.72, radius * 0.2, ellipse(x, y, radius, radius))
    if ring:
        canvas.fill(front, lighter(base, 0.5), 0.85)


def _on_ring(x: float, y: float, r: float, tilt: float, angle: float) -> Point:
    px, py = r * math.cos(math.radians(angle)), r * 0.24 * math.sin(math.radians(angle))
    cos, sin = math.cos(math.radians(tilt)), math.sin(math.radians(tilt))
    return (x + px * cos - py * sin, y + px * sin + py * cos)
