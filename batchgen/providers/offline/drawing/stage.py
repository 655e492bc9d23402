"""What every part of a scene needs: the sheet, the plan, the light, and where things stand."""

from dataclasses import dataclass

from batchgen.providers.offline.drawing.canvas import Canvas
from batchgen.providers.offline.drawing.palette import Palette
from batchgen.providers.offline.drawing.plan import Plan


@dataclass(frozen=True, slots=True)
class Stage:
    """A scene in the making."""

    canvas: Canvas
    plan: Plan
    palette: Palette
    horizon: float
    """Where sky and ground meet."""
    sun: tuple[float, float]
    """Where sun or moon stands."""
    hero: float
    """Where the subject stands, from the left."""
    near: float
    """How close the subject is; 1 is usual."""

    @property
    def night(self) -> bool:
        return self.plan.time == "night"

    def count(self, usual: float) -> int:
        """How many of something: more on a wide sheet, more with more steps."""
        wide = max(1.0, self.canvas.w / max(1, self.canvas.h))
        return max(1, round(usual * self.plan.detail * min(6.0, wide)))


def set_stage(canvas: Canvas, plan: Plan, palette: Palette) -> Stage:
    """Choose the composition."""
    chance = plan.chance("composition")
    horizon = canvas.h * chance.uniform(0.56, 0.66)
    left = chance.random() < 0.5
    hero = canvas.w * (chance.uniform(0.24, 0.42) if left else chance.uniform(0.58, 0.76))
    sun_x = canvas.w * (chance.uniform(0.60, 0.84) if left else chance.uniform(0.16, 0.40))
    low = plan.time in ("dawn", "sunset")
    sun_y = horizon - canvas.u * (chance.uniform(0.06, 0.17) if low else chance.uniform(0.28, 0.42))
    return Stage(canvas, plan, palette, horizon, (sun_x, sun_y), hero, chance.uniform(0.84, 1.2))
