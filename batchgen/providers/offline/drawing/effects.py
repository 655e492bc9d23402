"""Apply the prompt's style, vignette and grain to a painted picture."""

import random

from PIL import Image, ImageChops, ImageEnhance, ImageFilter, ImageOps

from batchgen.providers.offline.drawing.pixels import HARD, LINEAR, SMOOTH, mapped, resized
from batchgen.providers.offline.drawing.plan import Plan

_TILE = 192


def apply_style(image: Image.Image, plan: Plan) -> Image.Image:
    """Apply the styles that the prompt names."""
    for style, change in _STYLES.items():
        if style in plan.styles:
            image = change(image)
    return image


def apply_light(image: Image.Image, plan: Plan) -> Image.Image:
    """Darker corners and a little grain, at the picture's final size."""
    if "pixel" in plan.styles:
        return image
    image = _vignette(image)
    return image if "minimal" in plan.styles else _grain(image, plan.rng("grain"))


def _vignette(image: Image.Image) -> Image.Image:
    lut = [255 - round(62 * max(0.0, (value - 110) / 145) ** 1.7) for value in range(256)]
    fall = resized(mapped(Image.radial_gradient("L"), lut), image.size, LINEAR, box=(26, 26, 230, 230))
    return ImageChops.multiply(image, Image.merge("RGB", (fall, fall, fall)))


def _grain(image: Image.Image, rng: random.Random) -> Image.Image:
    """Noise of a few steps of brightness: hides banding, looks like paper; the same for all colours."""
    noise = Image.frombytes("L", (_TILE, _TILE), rng.randbytes(_TILE * _TILE))
    noise = mapped(noise, [126 + (value * 5 >> 8) for value in range(256)])
    sheet = Image.new("L", image.size)
    for x in range(0, image.width, _TILE):
        for y in range(0, image.height, _TILE):
            sheet.paste(noise, (x, y))
    return ImageChops.add(image, Image.merge("RGB", (sheet, sheet, sheet)), 1, -128)


def _watercolor(image: Image.Image) -> Image.Image:
    """Colour in pools with darker rims, a little bleached, on warm paper."""
    half = image.reduce(2).filter(ImageFilter.MedianFilter(5))
    rims = half.convert("L").filter(ImageFilter.FIND_EDGES).filter(ImageFilter.GaussianBlur(1.2))
    rims = ImageOps.expand(ImageOps.crop(rims, 3), 3)
    rims = mapped(rims, [255 - min(110, value * 2) for value in range(256)])
    pools = ImageChops.multiply(half, Image.merge("RGB", (rims, rims, rims)))
    paper = Image.new("RGB", half.size, (252, 246, 234))
    return resized(Image.blend(ImageEnhance.Color(pools).enhance(1.15), paper, 0.16), image.size, SMOOTH)


def _pixel(image: Image.Image) -> Image.Image:
    scale = max(1, min(image.size) // 112)
    small = image.reduce(scale).quantize(32, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).convert("RGB")
    return resized(small, image.size, HARD)


def _mono(image: Image.Image) -> Image.Image:
    grey = ImageOps.autocontrast(image.convert("L"), cutoff=1)
    return ImageOps.colorize(grey, (12, 13, 18), (244, 241, 234), (118, 118, 122))


def _retro(image: Image.Image) -> Image.Image:
    warm = ImageOps.colorize(image.convert("L"), (38, 20, 28), (255, 240, 205), (178, 116, 84))
    return ImageOps.posterize(Image.blend(image, warm, 0.62), 5)


def _geometric(image: Image.Image) -> Image.Image:
    return ImageEnhance.Contrast(ImageOps.posterize(image.filter(ImageFilter.MedianFilter(5)), 4)).enhance(1.08)


def _minimal(image: Image.Image) -> Image.Image:
    return Image.blend(image, image.filter(ImageFilter.MedianFilter(3)), 0.8)


_STYLES = {
    "watercolor": _watercolor,
    "minimal": _minimal,
    "geometric": _geometric,
    "retro": _retro,
    "mono": _mono,
    "pixel": _pixel,
}
