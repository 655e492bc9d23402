"""Open image files with Pillow: only listed formats, and only up to a number of pixels. Nothing else opens them.

Pillow by itself opens some forty formats, including EPS, for which it starts Ghostscript.
"""

import threading
import warnings
from typing import IO

from PIL import Image

STORED_FORMATS = ("PNG", "WEBP", "JPEG")
"""The formats that are stored, in Pillow's names."""
CONVERTED_FORMATS = ("GIF", "BMP", "TIFF", "AVIF", "JPEG2000", "QOI", "PPM", "ICO")
"""The formats that are converted before they are stored."""
MOST_PIXELS = 89_000_000
"""Just below the number from which Pillow itself warns of a decompression bomb."""

_one_at_a_time = threading.Lock()


class TooManyPixels(Exception):
    """The picture has more pixels than may be decoded."""


def opened(file: IO[bytes], formats: tuple[str, ...] = STORED_FORMATS, *, max_pixels: int = MOST_PIXELS) -> Image.Image:
    """The picture in `file`, not decoded yet.

    Raises `TooManyPixels`, and Pillow's errors for a file that has none of `formats`.
    """
    unknown = set(formats).difference(STORED_FORMATS, CONVERTED_FORMATS)
    if unknown:
        raise ValueError(f"{', '.join(sorted(unknown))}: not a format that is opened here")
    try:
        # Warning filters apply to the whole process.
        with _one_at_a_time, warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(file, formats=formats)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise TooManyPixels(str(error)) from error
    if image.width * image.height > max_pixels:
        image.close()
        raise TooManyPixels(f"The picture has {image.width} by {image.height} pixels.")
    return image
