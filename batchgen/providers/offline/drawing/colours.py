"""Colours and how they mix; a colour is an RGB triple."""

import colorsys

RGB = tuple[int, int, int]


def rgb(code: str) -> RGB:
    """`rrggbb` as a colour."""
    return (int(code[0:2], 16), int(code[2:4], 16), int(code[4:6], 16))


def ramp(codes: str) -> tuple[RGB, ...]:
    """Several colours from one line of `rrggbb` words."""
    return tuple(rgb(code) for code in codes.split())


def mix(a: RGB, b: RGB, share: float) -> RGB:
    """`a` with this share of `b`."""
    share = min(1.0, max(0.0, share))
    return (
        round(a[0] + (b[0] - a[0]) * share),
        round(a[1] + (b[1] - a[1]) * share),
        round(a[2] + (b[2] - a[2]) * share),
    )


def lighter(colour: RGB, share: float) -> RGB:
    return mix(colour, (255, 250, 240), share)


def darker(colour: RGB, share: float) -> RGB:
    return mix(colour, (10, 10, 30), share)


def turn(colour: RGB, hue: float = 0.0, saturation: float = 1.0) -> RGB:
    """The colour with its hue moved (1 is once around) and its saturation scaled."""
    h, lightness, s = colorsys.rgb_to_hls(*(part / 255 for part in colour))
    r, g, b = colorsys.hls_to_rgb((h + hue) % 1, lightness, min(1.0, s * saturation))
    return (round(r * 255), round(g * 255), round(b * 255))


def tint(colour: RGB, towards: RGB, share: float) -> RGB:
    """The colour moved to another's hue and saturation; its lightness stays, so light and depth do."""
    _, lightness, _ = colorsys.rgb_to_hls(*(part / 255 for part in colour))
    hue, target, saturation = colorsys.rgb_to_hls(*(part / 255 for part in towards))
    r, g, b = colorsys.hls_to_rgb(hue, lightness * 0.82 + target * 0.18, saturation * 0.85)
    return mix(colour, (round(r * 255), round(g * 255), round(b * 255)), share)
