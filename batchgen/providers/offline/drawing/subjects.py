"""Paint the prompt's subjects into the scene, at the right place and size."""

from batchgen.providers.offline.drawing.birds import paint_bird, paint_owl
from batchgen.providers.offline.drawing.buildings import paint_castle, paint_house, paint_lighthouse
from batchgen.providers.offline.drawing.canvas import Sprite
from batchgen.providers.offline.drawing.colours import RGB, darker, lighter, mix, rgb
from batchgen.providers.offline.drawing.land import SAND, SNOW, below, ridge_line
from batchgen.providers.offline.drawing.other_animals import paint_fish, paint_splash, paint_standing, paint_whale
from batchgen.providers.offline.drawing.people import paint_astronaut, paint_person, paint_robot
from batchgen.providers.offline.drawing.plan import Plan
from batchgen.providers.offline.drawing.scene import Scene
from batchgen.providers.offline.drawing.sitting_animals import SITTING, paint_sitting
from batchgen.providers.offline.drawing.vehicles import paint_balloon, paint_boat, paint_rocket

FAR_SHORE = frozenset({"castle", "house"})
_STANDING = frozenset({"horse", "deer"})
_SWIMMING = frozenset({"boat", "whale"})


def paint_subject(scene: Scene, name: str, index: int) -> None:
    canvas, plan = scene.canvas, scene.plan
    x = scene.subject_x if index == 0 else canvas.w - scene.subject_x
    flip = (x < canvas.w / 2) != (plan.rng("flip").random() < 0.2)
    if name in SITTING or name in _STANDING:
        _paint_beast(scene, name, x, flip)
    elif name in ("robot", "face", "astronaut"):
        paint_bust(scene, name, x, canvas.h * 0.99, canvas.u * 0.5)
    elif name in _SWIMMING or name in ("fish", "lighthouse"):
        _paint_at_sea(scene, name, x, flip)
    elif name in ("bird", "balloon", "rocket", "owl"):
        _paint_aloft(scene, name, x, flip)
    elif not ("lake" in plan.places and name in FAR_SHORE):
        _paint_building(scene, name, x)


def _paint_beast(scene: Scene, name: str, x: float, flip: bool) -> None:
    canvas, plan = scene.canvas, scene.plan
    ground = scene.horizon + (canvas.h - scene.horizon) * (0.46 + 0.14 * scene.near)
    if {"sea", "lake"} & set(plan.places):
        _bank(scene, ground)
    colour = _lit_coat(scene, plan.paints.get(name))
    spots = ((0.3 if x < canvas.w / 2 else -0.3, 0.72, -0.06), (0.0, 1.0, 0.0)) if plan.many else ((0.0, 1.0, 0.0),)
    for dx, scale, down in spots:
        size, turned = canvas.u * 0.43 * scene.near * scale, flip != (scale < 1)
        sprite = Sprite(canvas, x + dx * canvas.u, ground + down * canvas.u, size, turned)
        if name in SITTING:
            paint_sitting(sprite, name, colour, scene.palette.light)
        else:
            paint_standing(sprite, name, colour, scene.palette.light)


def _bank(scene: Scene, ground: float) -> None:
    """Land to stand on, in front of water."""
    canvas = scene.canvas
    line = ridge_line(scene.plan.rng("bank"), scene, ground - canvas.u * 0.07, 0.02, 0.2)
    local = SAND if "sea" in scene.plan.places else rgb("6f9a55")
    colour = scene.palette.land(SNOW if scene.plan.weather == "snow" else local, 0.95, 0.8)
    canvas.fill(
        [below(scene, line)], (lighter(mix(colour, scene.palette.light, 0.2), 0.05), colour, darker(colour, 0.2))
    )


def _lit_coat(scene: Scene, colour: RGB | None) -> RGB | None:
    return mix(colour, scene.palette.near, 0.2) if colour is not None and scene.night else colour


def _paint_building(scene: Scene, name: str, x: float) -> None:
    canvas = scene.canvas
    colour = scene.plan.paints.get(name)
    if name == "castle":
        paint_castle(scene, Sprite(canvas, x, scene.horizon + canvas.u * 0.09, canvas.u * 0.5), colour)
        return
    spots = ((0.3, 0.6, 0.15), (-0.3, 0.5, 0.13), (0.0, 1.0, 0.2)) if scene.plan.many else ((0.0, 1.0, 0.2),)
    for dx, scale, down in spots:
        sprite = Sprite(
            canvas, x + dx * canvas.u, scene.horizon + canvas.u * down, canvas.u * 0.27 * scale * scene.near
        )
        paint_house(scene, sprite, colour)


def _paint_at_sea(scene: Scene, name: str, x: float, flip: bool) -> None:
    canvas, rng = scene.canvas, scene.plan.rng(name)
    colour = scene.plan.paints.get(name)
    deep = canvas.h - scene.horizon
    if name == "lighthouse":
        paint_lighthouse(scene, Sprite(canvas, x, scene.horizon + deep * 0.26, canvas.u * 0.54 * scene.near), colour)
    elif name == "whale":
        _paint_whale(scene, x, flip)
    elif name == "fish":
        _paint_school(scene, x, flip)
    else:
        for i in range(4 if scene.plan.many else 1):
            near = 0.42 - 0.09 * i
            bx = x if i == 0 else rng.uniform(0.08, 0.92) * canvas.w
            size = canvas.u * (0.36 * scene.near if i == 0 else 0.3 * near)
            paint_boat(scene, Sprite(canvas, bx, scene.horizon + deep * near, size, flip), colour)


def _paint_whale(scene: Scene, x: float, flip: bool) -> None:
    canvas, rng = scene.canvas, scene.plan.rng("whale")
    colour = scene.plan.paints.get("whale")
    base = colour or rgb("3d6f9e")
    if "sea" not in scene.plan.places:
        paint_whale(Sprite(canvas, canvas.w / 2, canvas.h * 0.45, canvas.u * 0.62, flip, -8), base, scene.palette.light)
        return
    water = scene.horizon + (canvas.h - scene.horizon) * 0.4
    tilt = rng.uniform(14, 26)
    x = canvas.w * 0.5 + (x - canvas.w * 0.5) * 0.45
    paint_whale(Sprite(canvas, x, water - canvas.u * 0.16, canvas.u * 0.66, flip, tilt), base, scene.palette.light)
    _splash(scene, x, water, canvas.u * 0.9)


def _splash(scene: Scene, x: float, y: float, size: float) -> None:
    paint_splash(
        Sprite(scene.canvas, x, y, size), scene.plan.rng("splash"), mix(scene.palette.sky[-1], rgb("dff3f5"), 0.5)
    )


def _paint_school(scene: Scene, x: float, flip: bool) -> None:
    canvas, rng = scene.canvas, scene.plan.rng("fish")
    colour = scene.plan.paints.get("fish", scene.palette.accent)
    small = lighter(mix(scene.palette.sky[1], rgb("f7d774"), 0.5), 0.1)
    for _ in range(scene.count(12 if scene.plan.many else 7)):
        at = (rng.uniform(0.05, 0.95) * canvas.w, rng.uniform(0.15, 0.75) * canvas.h)
        paint_fish(Sprite(canvas, at[0], at[1], canvas.u * rng.uniform(0.04, 0.09), flip), rng.choice((small, colour)))
    paint_fish(Sprite(canvas, x, canvas.h * rng.uniform(0.4, 0.52), canvas.u * 0.38, flip, rng.uniform(-8, 8)), colour)


def _paint_aloft(scene: Scene, name: str, x: float, flip: bool) -> None:
    canvas, rng = scene.canvas, scene.plan.rng(name)
    colour = scene.plan.paints.get(name)
    if name == "owl":
        paint_owl(Sprite(canvas, x, canvas.h * 0.72, canvas.u * 0.48, flip), colour)
    elif name == "bird":
        spots = ((0.0, 0.36), (0.34, 0.17), (-0.3, 0.15)) if scene.plan.many else ((0.0, 0.38),)
        for dx, size in spots:
            at = (x + dx * canvas.u, scene.horizon * rng.uniform(0.5, 0.72))
            paint_bird(Sprite(canvas, at[0], at[1], canvas.u * size, flip, rng.uniform(-12, 6)), colour)
    elif name == "rocket":
        tilt = 24 if x < canvas.w / 2 else -24
        paint_rocket(scene, Sprite(canvas, x, canvas.h * 0.7, canvas.u * 0.46, False, tilt), colour)
    else:
        _paint_balloons(scene, x, colour)


def _paint_balloons(scene: Scene, x: float, colour: RGB | None) -> None:
    canvas, rng = scene.canvas, scene.plan.rng("balloons")
    spots = [(x, canvas.h * rng.uniform(0.56, 0.64), 0.42)]
    if scene.plan.many:
        count = scene.count(6)
        for i in range(count):
            at = canvas.w * (i + rng.uniform(0.15, 0.85)) / count
            if abs(at - x) > canvas.u * 0.16:
                spots.append((at, scene.horizon * rng.uniform(0.28, 0.92), rng.choice((0.09, 0.13, 0.2))))
    for bx, by, size in sorted(spots, key=lambda spot: spot[2]):
        paint_balloon(scene, Sprite(canvas, bx, by, canvas.u * size), colour, rng)


def has_beasts(plan: Plan) -> bool:
    return any(name in SITTING or name in _STANDING for name in plan.subjects)


def paint_bust(scene: Scene, name: str, x: float, y: float, size: float) -> None:
    sprite = Sprite(scene.canvas, x, y, size, False, scene.plan.rng("nod").uniform(-4, 4))
    paint = {"robot": paint_robot, "astronaut": paint_astronaut}.get(name, paint_person)
    paint(sprite, scene.palette, scene.plan.paints.get(name), scene.plan.rng("bust"))
