"""BlurHash: about thirty characters that draw a blurred picture while the real one loads."""

import blurhash as waves  # pyright: ignore[reportMissingTypeStubs]
from PIL import Image

SIDE = 32
"""Pixels per side of the copy that is hashed: much more than the few waves need."""


def blurhash(image: Image.Image) -> str:
    """The BlurHash of an RGB image: four waves along its longer side, three along the shorter one."""
    waves_x, waves_y = (4, 3) if image.width >= image.height else (3, 4)
    small = image.resize((SIDE, SIDE), Image.Resampling.BOX)  # pyright: ignore[reportUnknownMemberType]
    values = small.tobytes()
    rows = [[values[3 * place : 3 * place + 3] for place in range(row, row + SIDE)] for row in range(0, SIDE**2, SIDE)]
    return waves.encode(rows, waves_x, waves_y)  # pyright: ignore[reportUnknownMemberType]
