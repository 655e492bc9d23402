"""Paint a scene layer by layer, from the sky to the foreground."""

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
from batchgen.providers.offline.drawing.scene import Scene, compose_scene
from batchgen.providers.offline.drawing.shapes import ellipse
from batchgen.providers.offline.drawing.sitting_animals import SITTING, paint_sitting
from batchgen.providers.offline.drawing.sky import paint_mist, paint_nebula, paint_sky, paint_weather
from batchgen.providers.offline.drawing.subjects import FAR_SHORE, has_beasts, paint_bust, paint_subject
from batchgen.providers.offline.drawing.water import paint_deep, paint_lake, paint_reeds, paint_sea, paint_waves
from batchgen.providers.offline.drawing.woods import paint_forest, paint_frame, paint_shore_firs


def paint_scene(canvas: Canvas, plan: Plan, palette: Palette) -> None:
    """A whole landscape, or a portrait before a plain or blurred ground."""
    scene = compose_scene(canvas, plan, palette)
    if plan.portrait:
        _paint_portrait(scene)
        return
    _paint_background(scene)
    _paint_ground(scene)
    if _blooming(scene):
        paint_flowers(scene, close=False)
    for i, name in enumerate(plan.subjects):
        paint_subject(scene, name, i)
    _paint_foreground(scene)
    paint_weather(scene)


def _paint_background(scene: Scene) -> None:
    places = scene.plan.places
    if "underwater" in places:
        paint_deep(scene)
        return
    if "space" in places:
        paint_nebula(scene)
        _planets(scene)
        return
    paint_sky(scene)
    if "balloon" in scene.plan.subjects or "bird" in scene.plan.subjects or scene.plan.time != "night":
        _far_birds(scene)
    if "mountains" in places or ("lake" in places and "city" not in places):
        paint_mountains(scene)
    if scene.plan.weather == "fog":
        paint_mist(scene, scene.horizon - scene.canvas.u * 0.05, 0.6)


def _paint_ground(scene: Scene) -> None:
    places = scene.plan.places
    if "underwater" in places or "space" in places:
        return
    water = "lake" in places or "sea" in places
    if "forest" in places:
        paint_forest(scene, floor=not water)
    if "city" in places:
        paint_city(scene)
    if water:
        _paint_water(scene)
    elif "city" in places:
        paint_street(scene)
    elif "desert" in places:
        paint_desert(scene)
    elif "field" in places:
        paint_field(scene)
    elif "mountains" in places and "forest" not in places:
        paint_hills(scene, SNOW if scene.plan.weather == "snow" else rgb("5f9060"), 4)
        _foot_woods(scene)


def _paint_water(scene: Scene) -> None:
    lake = "lake" in scene.plan.places and "sea" not in scene.plan.places
    for name in scene.plan.subjects:
        if lake and name in FAR_SHORE:
            _far_shore(scene, name)
    if lake or "city" in scene.plan.places:
        paint_lake(scene)
    else:
        paint_sea(scene)


def _far_shore(scene: Scene, name: str) -> None:
    canvas = scene.canvas
    size = canvas.u * (0.36 if name == "castle" else 0.17) * scene.near
    sprite = Sprite(canvas, scene.subject_x, scene.horizon + canvas.u * 0.005, size)
    if name == "castle":
        paint_castle(scene, sprite, scene.plan.paints.get(name))
    else:
        paint_house(scene, sprite, scene.plan.paints.get(name))
    paint_shore_firs(scene)


def _foot_woods(scene: Scene) -> None:
    if scene.plan.detail >= 0.6:
        paint_shore_firs(scene)


def _far_birds(scene: Scene) -> None:
    rng, canvas = scene.plan.rng("birds"), scene.canvas
    count = rng.choice((0, 4, 6, 8))
    x, y = canvas.w * rng.uniform(0.2, 0.8), scene.horizon * rng.uniform(0.3, 0.6)
    colour = mix(scene.palette.near, scene.palette.sky[1], 0.3)
    paint_birds(canvas, rng, x, y, canvas.u * 0.018, colour, count)


def _planets(scene: Scene) -> None:
    rng, canvas = scene.plan.rng("planets"), scene.canvas
    away = canvas.w - scene.subject_x
    paint_planet(
        scene,
        away,
        canvas.h * rng.uniform(0.3, 0.6),
        canvas.u * rng.uniform(0.16, 0.26),
        rng,
        rng.random() < 0.65,
    )
    paint_planet(
        scene,
        scene.subject_x + canvas.u * rng.uniform(-0.1, 0.1),
        canvas.h * rng.uniform(0.12, 0.22),
        canvas.u * rng.uniform(0.03, 0.06),
        rng,
        False,
    )


def _paint_foreground(scene: Scene) -> None:
    plan = scene.plan
    if {"underwater", "space"} & set(plan.places):
        return
    if "tree" in plan.extras and "forest" not in plan.places:
        paint_tree(scene)
    if "sea" in plan.places and not has_beasts(plan):
        paint_waves(scene)
    elif "lake" in plan.places and not has_beasts(plan):
        paint_reeds(scene)
    if _blooming(scene):
        paint_flowers(scene, close=True)
    if "forest" in plan.places and "lake" not in plan.places and plan.rng("framed").random() < 0.75:
        paint_frame(scene)


def _blooming(scene: Scene) -> bool:
    barren = {"sea", "lake", "city", "underwater", "space"}
    return "flowers" in scene.plan.extras and not barren & set(scene.plan.places)


def _paint_portrait(scene: Scene) -> None:
    canvas, plan, palette = scene.canvas, scene.plan, scene.palette
    if plan.places:
        _paint_background(scene)
        _paint_ground(scene)
        canvas.soften(canvas.u * 0.008)
    else:
        _studio(scene)
    name = plan.subjects[0] if plan.subjects else "face"
    x, flip = canvas.w * plan.rng("seat").uniform(0.44, 0.56), plan.rng("flip").random() < 0.5
    if name in SITTING:
        paint_sitting(
            Sprite(canvas, x, canvas.h * 1.02, canvas.u * 0.9, flip), name, plan.paints.get(name), palette.light
        )
    elif name == "owl":
        paint_owl(Sprite(canvas, x, canvas.h * 0.84, canvas.u * 0.66, flip), plan.paints.get(name))
    elif name in ("robot", "face", "astronaut"):
        paint_bust(scene, name, x, canvas.h * 0.98, canvas.u * 0.78)
    else:
        paint_subject(scene, name, 0)
    paint_weather(scene)


def _studio(scene: Scene) -> None:
    """A plain ground with one great disc of light behind the head."""
    canvas, palette, rng = scene.canvas, scene.palette, scene.plan.rng("studio")
    canvas.wash((palette.sky[0], palette.sky[1], palette.sky[-2]))
    canvas.glow(canvas.w * 0.5, canvas.h * 0.45, canvas.u * 0.8, palette.sky[-1], 0.7, 1.3)
    r = canvas.u * rng.uniform(0.36, 0.42)
    canvas.fill([ellipse(canvas.w * 0.5, canvas.h * 0.45, r * 1.14, r * 1.14)], palette.light, 0.14)
    canvas.fill([ellipse(canvas.w * 0.5, canvas.h * 0.45, r, r)], (lighter(palette.sky[-1], 0.2), palette.accent), 0.85)
    for _ in range(scene.count(14)):
        x, y, s = rng.uniform(0, canvas.w), rng.uniform(0, canvas.h), canvas.u * rng.uniform(0.004, 0.016)
        canvas.fill([ellipse(x, y, s, s)], palette.light, rng.uniform(0.1, 0.4))
