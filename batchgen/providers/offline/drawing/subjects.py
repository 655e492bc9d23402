"""Puts what the prompt names into the scene, in the right place and size."""

from batchgen.providers.offline.drawing.beasts import SITTING, paint_sitting
from batchgen.providers.offline.drawing.birds import paint_bird, paint_owl
from batchgen.providers.offline.drawing.buildings import paint_castle, paint_house, paint_lighthouse
from batchgen.providers.offline.drawing.canvas import Sprite
from batchgen.providers.offline.drawing.colours import RGB, darker, lighter, mix, rgb
from batchgen.providers.offline.drawing.land import SAND, SNOW, below, ridge_line
from batchgen.providers.offline.drawing.people import paint_astronaut, paint_person, paint_robot
from batchgen.providers.offline.drawing.plan import Plan
from batchgen.providers.offline.drawing.stage import Stage
from batchgen.providers.offline.drawing.vehicles import paint_balloon, paint_boat, paint_rocket
from batchgen.providers.offline.drawing.wild import paint_fish, paint_splash, paint_standing, paint_whale

FAR_SHORE = frozenset({"castle", "house"})
_STANDING = frozenset({"horse", "deer"})
_SWIMMING = frozenset({"boat", "whale"})


def paint_subject(stage: Stage, name: str, index: int) -> None:
    canvas, plan = stage.canvas, stage.plan
    x = stage.hero if index == 0 else canvas.w - stage.hero
    flip = (x < canvas.w / 2) != (plan.chance("flip").random() < 0.2)
    if name in SITTING or name in _STANDING:
        _paint_beast(stage, name, x, flip)
    elif name in ("robot", "face", "astronaut"):
        paint_bust(stage, name, x, canvas.h * 0.99, canvas.u * 0.5)
    elif name in _SWIMMING or name in ("fish", "lighthouse"):
        _paint_at_sea(stage, name, x, flip)
    elif name in ("bird", "balloon", "rocket", "owl"):
        _paint_aloft(stage, name, x, flip)
    elif not ("lake" in plan.places and name in FAR_SHORE):
        _paint_building(stage, name, x)


def _paint_beast(stage: Stage, name: str, x: float, flip: bool) -> None:
    canvas, plan = stage.canvas, stage.plan
    ground = stage.horizon + (canvas.h - stage.horizon) * (0.46 + 0.14 * stage.near)
    if {"sea", "lake"} & set(plan.places):
        _bank(stage, ground)
    colour = _lit_coat(stage, plan.paints.get(name))
    spots = ((0.3 if x < canvas.w / 2 else -0.3, 0.72, -0.06), (0.0, 1.0, 0.0)) if plan.many else ((0.0, 1.0, 0.0),)
    for dx, scale, down in spots:
        size, turned = canvas.u * 0.43 * stage.near * scale, flip != (scale < 1)
        sprite = Sprite(canvas, x + dx * canvas.u, ground + down * canvas.u, size, turned)
        if name in SITTING:
            paint_sitting(sprite, name, colour, stage.palette.light)
        else:
            paint_standing(sprite, name, colour, stage.palette.light)


def _bank(stage: Stage, ground: float) -> None:
    """Land to stand on, in front of water."""
    canvas = stage.canvas
    line = ridge_line(stage.plan.chance("bank"), stage, ground - canvas.u * 0.07, 0.02, 0.2)
    local = SAND if "sea" in stage.plan.places else rgb("6f9a55")
    colour = stage.palette.land(SNOW if stage.plan.weather == "snow" else local, 0.95, 0.8)
    canvas.fill(
        [below(stage, line)], (lighter(mix(colour, stage.palette.light, 0.2), 0.05), colour, darker(colour, 0.2))
    )


def _lit_coat(stage: Stage, colour: RGB | None) -> RGB | None:
    return mix(colour, stage.palette.near, 0.2) if colour is not None and stage.night else colour


def _paint_building(stage: Stage, name: str, x: float) -> None:
    canvas = stage.canvas
    colour = stage.plan.paints.get(name)
    if name == "castle":
        paint_castle(stage, Sprite(canvas, x, stage.horizon + canvas.u * 0.09, canvas.u * 0.5), colour)
        return
    spots = ((0.3, 0.6, 0.15), (-0.3, 0.5, 0.13), (0.0, 1.0, 0.2)) if stage.plan.many else ((0.0, 1.0, 0.2),)
    for dx, scale, down in spots:
        sprite = Sprite(
            canvas, x + dx * canvas.u, stage.horizon + canvas.u * down, canvas.u * 0.27 * scale * stage.near
        )
        paint_house(stage, sprite, colour)


def _paint_at_sea(stage: Stage, name: str, x: float, flip: bool) -> None:
    canvas, chance = stage.canvas, stage.plan.chance(name)
    colour = stage.plan.paints.get(name)
    deep = canvas.h - stage.horizon
    if name == "lighthouse":
        paint_lighthouse(stage, Sprite(canvas, x, stage.horizon + deep * 0.26, canvas.u * 0.54 * stage.near), colour)
    elif name == "whale":
        _paint_whale(stage, x, flip)
    elif name == "fish":
        _paint_school(stage, x, flip)
    else:
        for i in range(4 if stage.plan.many else 1):
            near = 0.42 - 0.09 * i
            bx = x if i == 0 else chance.uniform(0.08, 0.92) * canvas.w
            size = canvas.u * (0.36 * stage.near if i == 0 else 0.3 * near)
            paint_boat(stage, Sprite(canvas, bx, stage.horizon + deep * near, size, flip), colour)


def _paint_whale(stage: Stage, x: float, flip: bool) -> None:
    canvas, chance = stage.canvas, stage.plan.chance("whale")
    colour = stage.plan.paints.get("whale")
    base = colour or rgb("3d6f9e")
    if "sea" not in stage.plan.places:
        paint_whale(Sprite(canvas, canvas.w / 2, canvas.h * 0.45, canvas.u * 0.62, flip, -8), base, stage.palette.light)
        return
    water = stage.horizon + (canvas.h - stage.horizon) * 0.4
    tilt = chance.uniform(14, 26)
    x = canvas.w * 0.5 + (x - canvas.w * 0.5) * 0.45
    paint_whale(Sprite(canvas, x, water - canvas.u * 0.16, canvas.u * 0.66, flip, tilt), base, stage.palette.light)
    _splash(stage, x, water, canvas.u * 0.9)


def _splash(stage: Stage, x: float, y: float, size: float) -> None:
    paint_splash(
        Sprite(stage.canvas, x, y, size), stage.plan.chance("splash"), mix(stage.palette.sky[-1], rgb("dff3f5"), 0.5)
    )


def _paint_school(stage: Stage, x: float, flip: bool) -> None:
    canvas, chance = stage.canvas, stage.plan.chance("fish")
    colour = stage.plan.paints.get("fish", stage.palette.accent)
    small = lighter(mix(stage.palette.sky[1], rgb("f7d774"), 0.5), 0.1)
    for _ in range(stage.count(12 if stage.plan.many else 7)):
        at = (chance.uniform(0.05, 0.95) * canvas.w, chance.uniform(0.15, 0.75) * canvas.h)
        paint_fish(
            Sprite(canvas, at[0], at[1], canvas.u * chance.uniform(0.04, 0.09), flip), chance.choice((small, colour))
        )
    paint_fish(
        Sprite(canvas, x, canvas.h * chance.uniform(0.4, 0.52), canvas.u * 0.38, flip, chance.uniform(-8, 8)), colour
    )


def _paint_aloft(stage: Stage, name: str, x: float, flip: bool) -> None:
    canvas, chance = stage.canvas, stage.plan.chance(name)
    colour = stage.plan.paints.get(name)
    if name == "owl":
        paint_owl(Sprite(canvas, x, canvas.h * 0.72, canvas.u * 0.48, flip), colour)
    elif name == "bird":
        spots = ((0.0, 0.36), (0.34, 0.17), (-0.3, 0.15)) if stage.plan.many else ((0.0, 0.38),)
        for dx, size in spots:
            at = (x + dx * canvas.u, stage.horizon * chance.uniform(0.5, 0.72))
            paint_bird(Sprite(canvas, at[0], at[1], canvas.u * size, flip, chance.uniform(-12, 6)), colour)
    elif name == "rocket":
        tilt = 24 if x < canvas.w / 2 else -24
        paint_rocket(stage, Sprite(canvas, x, canvas.h * 0.7, canvas.u * 0.46, False, tilt), colour)
    else:
        _paint_balloons(stage, x, colour)


def _paint_balloons(stage: Stage, x: float, colour: RGB | None) -> None:
    canvas, chance = stage.canvas, stage.plan.chance("balloons")
    spots = [(x, canvas.h * chance.uniform(0.56, 0.64), 0.42)]
    if stage.plan.many:
        count = stage.count(6)
        for i in range(count):
            at = canvas.w * (i + chance.uniform(0.15, 0.85)) / count
            if abs(at - x) > canvas.u * 0.16:
                spots.append((at, stage.horizon * chance.uniform(0.28, 0.92), chance.choice((0.09, 0.13, 0.2))))
    for bx, by, size in sorted(spots, key=lambda spot: spot[2]):
        paint_balloon(stage, Sprite(canvas, bx, by, canvas.u * size), colour, chance)


def has_beasts(plan: Plan) -> bool:
    return any(name in SITTING or name in _STANDING for name in plan.subjects)


def paint_bust(stage: Stage, name: str, x: float, y: float, size: float) -> None:
    sprite = Sprite(stage.canvas, x, y, size, False, stage.plan.chance("nod").uniform(-4, 4))
    paint = {"robot": paint_robot, "astronaut": paint_astronaut}.get(name, paint_person)
    paint(sprite, stage.palette, stage.plan.paints.get(name), stage.plan.chance("bust"))
