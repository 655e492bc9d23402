"""Puts a scene together, from the sky to what is close to the eye."""

from batchgen.providers.offline.drawing.beasts import SITTING, paint_sitting
from batchgen.providers.offline.drawing.birds import paint_birds, paint_owl
from batchgen.providers.offline.drawing.buildings import paint_castle, paint_house
from batchgen.providers.offline.drawing.canvas import Canvas, Sprite
from batchgen.providers.offline.drawing.city import paint_city, paint_street
from batchgen.providers.offline.drawing.colours import lighter, mix, rgb
from batchgen.providers.offline.drawing.flora import paint_flowers, paint_tree
from batchgen.providers.offline.drawing.land import SNOW, paint_desert, paint_field, paint_hills, paint_mountains
from batchgen.providers.offline.drawing.palette import Palette
from batchgen.providers.offline.drawing.plan import Plan
from batchgen.providers.offline.drawing.planets import paint_planet
from batchgen.providers.offline.drawing.shapes import ellipse
from batchgen.providers.offline.drawing.sky import paint_mist, paint_nebula, paint_sky, paint_weather
from batchgen.providers.offline.drawing.stage import Stage, set_stage
from batchgen.providers.offline.drawing.subjects import FAR_SHORE, has_beasts, paint_bust, paint_subject
from batchgen.providers.offline.drawing.water import paint_deep, paint_lake, paint_reeds, paint_sea, paint_waves
from batchgen.providers.offline.drawing.woods import paint_forest, paint_frame, paint_shore_firs


def paint_scene(canvas: Canvas, plan: Plan, palette: Palette) -> None:
    """A whole landscape, or a portrait before a plain or blurred ground."""
    stage = set_stage(canvas, plan, palette)
    if plan.portrait:
        _paint_portrait(stage)
        return
    _paint_background(stage)
    _paint_ground(stage)
    if _blooming(stage):
        paint_flowers(stage, close=False)
    for i, name in enumerate(plan.subjects):
        paint_subject(stage, name, i)
    _paint_foreground(stage)
    paint_weather(stage)


def _paint_background(stage: Stage) -> None:
    places = stage.plan.places
    if "underwater" in places:
        paint_deep(stage)
        return
    if "space" in places:
        paint_nebula(stage)
        _planets(stage)
        return
    paint_sky(stage)
    if "balloon" in stage.plan.subjects or "bird" in stage.plan.subjects or stage.plan.time != "night":
        _far_birds(stage)
    if "mountains" in places or ("lake" in places and "city" not in places):
        paint_mountains(stage)
    if stage.plan.weather == "fog":
        paint_mist(stage, stage.horizon - stage.canvas.u * 0.05, 0.6)


def _paint_ground(stage: Stage) -> None:
    places = stage.plan.places
    if "underwater" in places or "space" in places:
        return
    water = "lake" in places or "sea" in places
    if "forest" in places:
        paint_forest(stage, floor=not water)
    if "city" in places:
        paint_city(stage)
    if water:
        _paint_water(stage)
    elif "city" in places:
        paint_street(stage)
    elif "desert" in places:
        paint_desert(stage)
    elif "field" in places:
        paint_field(stage)
    elif "mountains" in places and "forest" not in places:
        paint_hills(stage, SNOW if stage.plan.weather == "snow" else rgb("5f9060"), 4)
        _foot_woods(stage)


def _paint_water(stage: Stage) -> None:
    lake = "lake" in stage.plan.places and "sea" not in stage.plan.places
    for name in stage.plan.subjects:
        if lake and name in FAR_SHORE:
            _far_shore(stage, name)
    if lake or "city" in stage.plan.places:
        paint_lake(stage)
    else:
        paint_sea(stage)


def _far_shore(stage: Stage, name: str) -> None:
    canvas = stage.canvas
    size = canvas.u * (0.36 if name == "castle" else 0.17) * stage.near
    sprite = Sprite(canvas, stage.hero, stage.horizon + canvas.u * 0.005, size)
    if name == "castle":
        paint_castle(stage, sprite, stage.plan.paints.get(name))
    else:
        paint_house(stage, sprite, stage.plan.paints.get(name))
    paint_shore_firs(stage)


def _foot_woods(stage: Stage) -> None:
    if stage.plan.detail >= 0.6:
        paint_shore_firs(stage)


def _far_birds(stage: Stage) -> None:
    chance, canvas = stage.plan.chance("birds"), stage.canvas
    count = chance.choice((0, 4, 6, 8))
    x, y = canvas.w * chance.uniform(0.2, 0.8), stage.horizon * chance.uniform(0.3, 0.6)
    colour = mix(stage.palette.near, stage.palette.sky[1], 0.3)
    paint_birds(canvas, chance, x, y, canvas.u * 0.018, colour, count)


def _planets(stage: Stage) -> None:
    chance, canvas = stage.plan.chance("planets"), stage.canvas
    away = canvas.w - stage.hero
    paint_planet(
        stage,
        away,
        canvas.h * chance.uniform(0.3, 0.6),
        canvas.u * chance.uniform(0.16, 0.26),
        chance,
        chance.random() < 0.65,
    )
    paint_planet(
        stage,
        stage.hero + canvas.u * chance.uniform(-0.1, 0.1),
        canvas.h * chance.uniform(0.12, 0.22),
        canvas.u * chance.uniform(0.03, 0.06),
        chance,
        False,
    )


def _paint_foreground(stage: Stage) -> None:
    plan = stage.plan
    if {"underwater", "space"} & set(plan.places):
        return
    if "tree" in plan.extras and "forest" not in plan.places:
        paint_tree(stage)
    if "sea" in plan.places and not has_beasts(plan):
        paint_waves(stage)
    elif "lake" in plan.places and not has_beasts(plan):
        paint_reeds(stage)
    if _blooming(stage):
        paint_flowers(stage, close=True)
    if "forest" in plan.places and "lake" not in plan.places and plan.chance("framed").random() < 0.75:
        paint_frame(stage)


def _blooming(stage: Stage) -> bool:
    barren = {"sea", "lake", "city", "underwater", "space"}
    return "flowers" in stage.plan.extras and not barren & set(stage.plan.places)


def _paint_portrait(stage: Stage) -> None:
    canvas, plan, palette = stage.canvas, stage.plan, stage.palette
    if plan.places:
        _paint_background(stage)
        _paint_ground(stage)
        canvas.soften(canvas.u * 0.008)
    else:
        _studio(stage)
    name = plan.subjects[0] if plan.subjects else "face"
    x, flip = canvas.w * plan.chance("seat").uniform(0.44, 0.56), plan.chance("flip").random() < 0.5
    if name in SITTING:
        paint_sitting(
            Sprite(canvas, x, canvas.h * 1.02, canvas.u * 0.9, flip), name, plan.paints.get(name), palette.light
        )
    elif name == "owl":
        paint_owl(Sprite(canvas, x, canvas.h * 0.84, canvas.u * 0.66, flip), plan.paints.get(name))
    elif name in ("robot", "face", "astronaut"):
        paint_bust(stage, name, x, canvas.h * 0.98, canvas.u * 0.78)
    else:
        paint_subject(stage, name, 0)
    paint_weather(stage)


def _studio(stage: Stage) -> None:
    """A plain ground with one great disc of light behind the head."""
    canvas, palette, chance = stage.canvas, stage.palette, stage.plan.chance("studio")
    canvas.wash((palette.sky[0], palette.sky[1], palette.sky[-2]))
    canvas.glow(canvas.w * 0.5, canvas.h * 0.45, canvas.u * 0.8, palette.sky[-1], 0.7, 1.3)
    r = canvas.u * chance.uniform(0.36, 0.42)
    canvas.fill([ellipse(canvas.w * 0.5, canvas.h * 0.45, r * 1.14, r * 1.14)], palette.light, 0.14)
    canvas.fill([ellipse(canvas.w * 0.5, canvas.h * 0.45, r, r)], (lighter(palette.sky[-1], 0.2), palette.accent), 0.85)
    for _ in range(stage.count(14)):
        x, y, s = chance.uniform(0, canvas.w), chance.uniform(0, canvas.h), canvas.u * chance.uniform(0.004, 0.016)
        canvas.fill([ellipse(x, y, s, s)], palette.light, chance.uniform(0.1, 0.4))
