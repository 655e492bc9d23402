"""The one place that opens image files with Pillow: formats from a list, and a bound on pixels before any is decoded.

Pillow by itself opens some forty formats, EPS among them, for which it starts Ghostscript.
"""

import threading
import warnings
from typing import IO

from PIL import Image

STORED_FORMATS = ("PNG", "WEBP", "JPEG")
"""What the bucket holds, in Pillow's names."""
CONVERTED_FORMATS = ("GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "QOI", "PPM", "ICO")
"""What is stored as another format."""
MOST_PIXELS = 89_000_000
"""To be decoded; just below the number from which Pillow itself warns of a decompression bomb."""

_one_at_a_time = threading.Lock()


class TooManyPixels(Exception):
    """The picture has more pixels than may be decoded."""


def opened(file: IO[bytes], formats: tuple[str, ...] = STORED_FORMATS, *, max_pixels: int = MOST_PIXELS) -> Image.Image:
    """The picture in `file`, not decoded yet.

    Raises `TooManyPixels`, and what Pillow raises of a file that is none of `formats`.
    """
    unknown = set(formats).difference(STORED_FORMATS, CONVERTED_FORMATS)
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: no format that is opened here")
    try:
        # Filters of warnings belong to the whole process.
        with _one_at_a_time, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(file, formats=formats)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise TooManyPixels(str(error)) from error
    if image.width * image.height > max_pixels:
        image.close()
        raise TooManyPixels(f"The picture has {image.width} by {image.height} pixels.")
    return image
