"""The colours of a picture: sky, distance, foreground and lamps."""

from dataclasses import dataclass, replace

from batchgen.providers.offline.drawing.colours import RGB, lighter, mix, ramp, rgb, tint, turn
from batchgen.providers.offline.drawing.plan import Plan


@dataclass(frozen=True, slots=True)
class Palette:
    """Colours that fit together; `sky` goes from top to horizon."""

    sky: tuple[RGB, ...]
    far: RGB
    near: RGB
    light: RGB
    accent: RGB

    def depth(self, share: float) -> RGB:
        """From the haze far away (0) to what stands in front (1)."""
        return mix(self.far, self.near, share)

    def land(self, local: RGB, share: float, own: float = 0.5) -> RGB:
        """A thing's own colour as it looks at this depth, in this light."""
        return mix(self.depth(share), local, own * (0.45 + 0.55 * share))


def _palette(sky: str, far: str, near: str, light: str, accent: str) -> Palette:
    return Palette(ramp(sky), rgb(far), rgb(near), rgb(light), rgb(accent))


_BY_TIME = {
    "day": (
        _palette("3c86c8 7fbde0 c4e4ea f4efdc", "a9c9d3", "1f4a4d", "fff6dc", "f0884e"),
        _palette("2f9bb5 7fcbc9 cdeada fdf3d3", "9fcdc8", "1d4c55", "fff4cf", "ee7b56"),
        _palette("5a8fd6 9fc3ec d9e6f3 fbe9d7", "b2c4de", "2b4066", "fff3df", "f2a154"),
    ),
    "dawn": (
        _palette("3f5299 a17fb8 f2a6a0 ffd9a8 fff0cc", "c79fb4", "2f2d58", "fff3d0", "ff8a66"),
        _palette("4d7ea8 8fb4c4 f0c9b0 ffdf9f fff2cf", "b9b7bd", "2a3f56", "fff1c9", "f59a5c"),
        _palette("5b4b8a a870a5 ee8f9c ffc3a0 ffe6bd", "c693ae", "33264f", "ffeecb", "ff7a78"),
    ),
    "sunset": (
        _palette("2a2659 7b3a7c d9576a ff9a5a ffd27a", "a8567c", "21183c", "ffeeb8", "ffb84d"),
        _palette("1f3763 5d5a93 c9718a ff9d6e ffd48a", "9a6488", "1c2042", "fff0c2", "ff7f50"),
        _palette("43204f 9c3258 e65a45 fb9a3c ffd768", "b04e58", "2a1230", "fff0b5", "ffcf57"),
    ),
    "night": (
        _palette("060a22 101d4a 25377a 4d5fa0", "2f4079", "070a1d", "f7f0d0", "ffc965"),
        _palette("04121f 0b2b40 175067 3f8390", "22596d", "051019", "f3f3da", "ffb85c"),
        _palette("0d0724 251250 4a2a80 8354a4", "43307a", "0c0720", "f6ecdc", "ff9e6d"),
    ),
}
_GREY = {
    "storm": _palette("161d29 2c3948 51626d 8a9592", "52636b", "10171f", "fff3c4", "ffd166"),
    "rain": _palette("2f3d4f 566a7c 8496a0 b3bdbd", "768899", "1b2733", "f6ecd0", "ffb85c"),
    "fog": _palette("8ea3ad b4c3c6 d3dbd6 ece8da", "b7c4c6", "2f4650", "fffaea", "f0a868"),
    "snow": _palette("7fa3c4 adc8dc d8e5ec f6f2ea", "b4cadb", "2c4763", "fff6e2", "e8704f"),
}
_NEON = (
    _palette("08051c 1f0d45 5a1a72 c32e83 ff7a93", "5a2a7c", "0a0619", "ffe9f4", "23e6e6"),
    _palette("04091e 0a1e4a 13507f 2497a8 7ce0c4", "1c4f7c", "050a1c", "f0fff6", "ff3d9a"),
)
_SPACE = (
    _palette("05040f 0e0a2a 1d1448 120b30", "3a2a78", "05040f", "fff3dc", "ff9e6d"),
    _palette("020811 061a2c 0c3350 06182c", "1b5a78", "030812", "f1fbff", "ffd37a"),
)
_DEEP = (
    _palette("7fe0d8 2fa8b8 12668f 0b3566 081c40", "2c8fa8", "071a38", "eafff4", "ff9155"),
    _palette("9be8e0 3f9fd0 1f5cae 16327c 0d174a", "3c7fc0", "0a1238", "f0ffff", "ffb84d"),
)


def choose_palette(plan: Plan) -> Palette:
    """The light that prompt and seed ask for."""
    rng = plan.rng("palette")
    chosen = rng.choice(_candidates(plan))
    shift, strength = rng.uniform(-0.018, 0.018), plan.vividness
    chosen = Palette(
        tuple(turn(colour, shift, strength) for colour in chosen.sky),
        turn(chosen.far, shift, strength),
        turn(chosen.near, shift, strength),
        chosen.light,
        turn(chosen.accent, shift, strength),
    )
    return _coloured(chosen, plan)


def _candidates(plan: Plan) -> tuple[Palette, ...]:
    if "space" in plan.places:
        return _SPACE
    if "underwater" in plan.places:
        return _DEEP
    if "city" in plan.places and plan.time == "night" and not plan.extras & {"stars", "moon"}:
        return _NEON
    if plan.weather in ("storm", "fog", "rain") and plan.time == "day":
        return (_GREY[plan.weather],)
    if plan.weather == "storm":
        return (_GREY["storm"],)
    if plan.weather == "snow" and plan.time == "day":
        return (_GREY["snow"],)
    return _BY_TIME[plan.time]


def _coloured(palette: Palette, plan: Plan) -> Palette:
    if plan.tint is not None:
        palette = replace(
            palette,
            sky=tuple(tint(colour, plan.tint, 0.62) for colour in palette.sky),
            far=tint(palette.far, plan.tint, 0.6),
            near=tint(palette.near, plan.tint, 0.45),
        )
    if "pastel" in plan.styles:
        palette = replace(
            palette,
            sky=tuple(lighter(colour, 0.35) for colour in palette.sky),
            far=lighter(palette.far, 0.3),
            near=lighter(palette.near, 0.3),
        )
    return palette
