"""Draw the picture for a request: plan, paint, apply style and light, caption."""

import math

from PIL import Image

from batchgen.providers.base import ImageRequest
from batchgen.providers.offline.drawing.abstract import paint_abstract
from batchgen.providers.offline.drawing.canvas import Canvas
from batchgen.providers.offline.drawing.caption import draw_caption
from batchgen.providers.offline.drawing.effects import apply_light, apply_style
from batchgen.providers.offline.drawing.palette import choose_palette
from batchgen.providers.offline.drawing.pixels import HARD, SMOOTH, resized
from batchgen.providers.offline.drawing.plan import make_plan
from batchgen.providers.offline.drawing.scene_layers import paint_scene

_LARGEST = 1024 * 1024
_SMALLEST = 384 * 384


def draw(request: ImageRequest, prompt: str) -> Image.Image:
    """The picture for a request; the same request gives the same pixels."""
    plan = make_plan(request, prompt)
    canvas = Canvas(*_painted_size(request.width, request.height))
    if plan.abstract:
        paint_abstract(canvas, plan)
    else:
        paint_scene(canvas, plan, choose_palette(plan))
    image = apply_style(canvas.image, plan)
    if image.size != (request.width, request.height):
        way = HARD if "pixel" in plan.styles else SMOOTH
        image = resized(image, (request.width, request.height), way)
    image = apply_light(image, plan)
    draw_caption(image, prompt)
    return image


def _painted_size(width: int, height: int) -> tuple[int, int]:
    """The size to paint at: huge pictures are painted smaller, tiny ones larger, and then scaled."""
    area = width * height
    scale = math.sqrt(min(_LARGEST, max(_SMALLEST, area)) / area)
    return max(8, round(width * scale)), max(8, round(height * scale))
