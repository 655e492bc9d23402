"""A scene's canvas, plan, colours and composition, which all its parts share."""

from dataclasses import dataclass

from batchgen.providers.offline.drawing.canvas import Canvas
from batchgen.providers.offline.drawing.palette import Palette
from batchgen.providers.offline.drawing.plan import Plan


@dataclass(frozen=True, slots=True)
class Scene:
    """A scene that is being painted."""

    canvas: Canvas
    plan: Plan
    palette: Palette
    horizon: float
    """Where sky and ground meet."""
    sun: tuple[float, float]
    """Where sun or moon stands."""
    subject_x: float
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


def compose_scene(canvas: Canvas, plan: Plan, palette: Palette) -> Scene:
    """Choose the composition."""
    rng = plan.rng("composition")
    horizon = canvas.h * rng.uniform(0.56, 0.66)
    left = rng.random() < 0.5
    subject_x = canvas.w * (rng.uniform(0.24, 0.42) if left else rng.uniform(0.58, 0.76))
    sun_x = canvas.w * (rng.uniform(0.60, 0.84) if left else rng.uniform(0.16, 0.40))
    low = plan.time in ("dawn", "sunset")
    sun_y = horizon - canvas.u * (rng.uniform(0.06, 0.17) if low else rng.uniform(0.28, 0.42))
    return Scene(canvas, plan, palette, horizon, (sun_x, sun_y), subject_x, rng.uniform(0.84, 1.2))
