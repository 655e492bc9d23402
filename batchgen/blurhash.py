"""BlurHash: some thirty characters that draw a blurred picture while the real one loads.

Written from the algorithm's description (github.com/woltapp/blurhash, Algorithm.md). Our own, because it is short and
the packages are either unmaintained or need a compiler.
"""

import math
from collections.abc import Sequence

from PIL import Image

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz#$%*+,-.:;=?@[]^_{|}~"
SIDE = 32
"""Pixels per side of the small copy that is looked at: much more than the few waves need."""

Colour = tuple[float, float, float]


def blurhash(image: Image.Image) -> str:
    """The BlurHash of an RGB image: four waves along its longer side, three along the shorter one."""
    waves_x, waves_y = (4, 3) if image.width >= image.height else (3, 4)
    small = image.resize((SIDE, SIDE), Image.Resampling.BOX)  # pyright: ignore[reportUnknownMemberType]
    pixels = small.tobytes()
    linear = [_to_linear(value) for value in pixels]
    factors = [_factor(linear, x, y) for y in range(waves_y) for x in range(waves_x)]
    return _encoded(factors, waves_x, waves_y)


def _factor(linear: Sequence[float], wave_x: int, wave_y: int) -> Colour:
    across, down = ([math.cos(math.pi * wave * place / SIDE) for place in range(SIDE)] for wave in (wave_x, wave_y))
    total = [0.0, 0.0, 0.0]
    for y, weight_y in enumerate(down):
        row = linear[y * SIDE * 3 : (y + 1) * SIDE * 3]
        for channel in range(3):
            total[channel] += weight_y * sum(map(float.__mul__, across, row[channel::3]))
    scale = (1 if wave_x == wave_y == 0 else 2) / (SIDE * SIDE)
    return total[0] * scale, total[1] * scale, total[2] * scale


def _encoded(factors: Sequence[Colour], waves_x: int, waves_y: int) -> str:
    first, *others = factors
    largest = max(abs(value) for factor in others for value in factor)
    steps = max(0, min(82, math.floor(largest * 166 - 0.5)))
    head = _base83(waves_x - 1 + (waves_y - 1) * 9, 1) + _base83(steps, 1)
    average = (_to_srgb(first[0]) << 16) + (_to_srgb(first[1]) << 8) + _to_srgb(first[2])
    scale = (steps + 1) / 166
    return head + _base83(average, 4) + "".join(_base83(_wave(factor, scale), 2) for factor in others)


def _wave(factor: Colour, scale: float) -> int:
    red, green, blue = (max(0, min(18, math.floor(_signed_root(value / scale) * 9 + 9.5))) for value in factor)
    return (red * 19 + green) * 19 + blue


def _signed_root(value: float) -> float:
    return math.copysign(math.sqrt(abs(value)), value)


def _to_linear(value: int) -> float:
    share = value / 255
    return share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4


def _to_srgb(value: float) -> int:
    share = max(0.0, min(1.0, value))
    return int((share * 12.92 if share <= 0.0031308 else 1.055 * share ** (1 / 2.4) - 0.055) * 255 + 0.5)


def _base83(value: int, length: int) -> str:
    return "".join(ALPHABET[value // 83 ** (length - place) % 83] for place in range(1, length + 1))
