"""Outlines as lists of points, without colours or pixels."""

import math
from collections.abc import Sequence

Point = tuple[float, float]
Outline = list[Point]


def spline(points: Sequence[Point], steps: int = 7) -> Outline:
    """A smooth closed outline through the points (Catmull-Rom)."""
    n = len(points)
    out: Outline = []
    for i in range(n):
        p0, p1, p2, p3 = points[i - 1], points[i], points[(i + 1) % n], points[(i + 2) % n]
        out += [_between(p0, p1, p2, p3, step / steps) for step in range(steps)]
    return out


def _between(p0: Point, p1: Point, p2: Point, p3: Point, t: float) -> Point:
    t2, t3 = t * t, t * t * t
    a, b, c, d = -t3 + 2 * t2 - t, 3 * t3 - 5 * t2 + 2, -3 * t3 + 4 * t2 + t, t3 - t2
    return (
        (a * p0[0] + b * p1[0] + c * p2[0] + d * p3[0]) / 2,
        (a * p0[1] + b * p1[1] + c * p2[1] + d * p3[1]) / 2,
    )


def curve(points: Sequence[Point], steps: int = 8) -> Outline:
    """A smooth open line through the points."""
    line = [points[0], *points, points[-1]]
    out: Outline = []
    for i in range(1, len(line) - 2):
        out += [_between(line[i - 1], line[i], line[i + 1], line[i + 2], s / steps) for s in range(steps)]
    return [*out, points[-1]]


def ellipse(cx: float, cy: float, rx: float, ry: float, tilt: float = 0.0) -> Outline:
    """An ellipse; `tilt` in degrees, clockwise on the screen."""
    cos, sin = math.cos(math.radians(tilt)), math.sin(math.radians(tilt))
    out: Outline = []
    for i in range(60):
        angle = math.tau * i / 60
        x, y = rx * math.cos(angle), ry * math.sin(angle)
        out.append((cx + x * cos - y * sin, cy + x * sin + y * cos))
    return out


def rect(x0: float, y0: float, x1: float, y1: float) -> Outline:
    return [(x0, y0), (x1, y0), (x1, y1), (x0, y1)]


def rounded(x0: float, y0: float, x1: float, y1: float, r: float) -> Outline:
    """A rectangle with round corners."""
    corners = [(x1 - r, y0 + r, -90), (x1 - r, y1 - r, 0), (x0 + r, y1 - r, 90), (x0 + r, y0 + r, 180)]
    out: Outline = []
    for cx, cy, start in corners:
        for step in range(7):
            angle = math.radians(start + step * 15)
            out.append((cx + r * math.cos(angle), cy + r * math.sin(angle)))
    return out


def stroke(points: Sequence[Point], widths: Sequence[float], smooth: bool = True) -> Outline:
    """A line as an area; widths are spread evenly along it and may differ (tails, trunks, ribbons)."""
    line = curve(points) if smooth and len(points) > 2 else list(points)
    left: Outline = []
    right: Outline = []
    for i, (x, y) in enumerate(line):
        before, after = line[max(0, i - 1)], line[min(len(line) - 1, i + 1)]
        dx, dy = after[0] - before[0], after[1] - before[1]
        length = math.hypot(dx, dy) or 1.0
        half = _along(widths, i / max(1, len(line) - 1)) / 2
        left.append((x - dy / length * half, y + dx / length * half))
        right.append((x + dy / length * half, y - dx / length * half))
    return left + right[::-1]


def _along(values: Sequence[float], share: float) -> float:
    place = share * (len(values) - 1)
    i = min(len(values) - 2, int(place)) if len(values) > 1 else 0
    if len(values) == 1:
        return values[0]
    return values[i] + (values[i + 1] - values[i]) * (place - i)


def star(cx: float, cy: float, outer: float, inner: float, points: int, tilt: float = -90.0) -> Outline:
    out: Outline = []
    for i in range(points * 2):
        angle, r = math.radians(tilt + 180 * i / points), outer if i % 2 == 0 else inner
        out.append((cx + r * math.cos(angle), cy + r * math.sin(angle)))
    return out


def mirrored(outline: Sequence[Point], around: float = 0.0) -> Outline:
    return [(2 * around - x, y) for x, y in outline]
