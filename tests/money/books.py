"""A provider's own books, which no worker sees: what it sold, one JSON line for each thing that happened to a job."""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from io import BytesIO
from pathlib import Path
from random import Random
from typing import Any

from PIL import Image
from PIL.PngImagePlugin import PngInfo

DESCRIPTION = 0x010E
"""Exif's `ImageDescription`."""
SIDE = 48


@dataclass
class Books:
    """`price_usd`: what a charged job costs."""

    file: Path
    price_usd: Decimal
    _lines: list[Mapping[str, Any]] = field(default_factory=list[Mapping[str, Any]])

    def write(self, event: str, job: str, prompt: str, **more: object) -> None:
        line = {"at": round(time.time(), 3), "event": event, "job": job, "prompt": prompt, **more}
        self._lines.append(line)
        with self.file.open("a") as file:
            file.write(json.dumps(line) + "\n")

    def charge(self, job: str, prompt: str) -> None:
        self.write("charged", job, prompt, usd=str(self.price_usd))

    def of(self, prompt: str) -> Sequence[Mapping[str, Any]]:
        """What happened to all jobs of one prompt, in order."""
        return [line for line in self._lines if line["prompt"] == prompt]

    def total(self, prompt: str | None = None, job: str | None = None) -> Decimal:
        """What was charged: in all, for a prompt, or for a job."""
        return sum(
            (
                Decimal(line["usd"])
                for line in self._lines
                if line["event"] == "charged"
                and (prompt is None or line["prompt"] == prompt)
                and (job is None or line["job"] == job)
            ),
            Decimal(0),
        )

    def count(self, event: str) -> int:
        return sum(line["event"] == event for line in self._lines)


def picture_of(prompt: str) -> bytes:
    """A small picture that says for which prompt it was made: PNG for some, WebP for others."""
    random = Random(prompt)
    colour = (random.randrange(64, 256), random.randrange(64, 256), random.randrange(64, 256))
    image, file = Image.new("RGB", (SIDE, SIDE), colour), BytesIO()
    if random.random() < 0.5:
        notes = PngInfo()
        notes.add_text("prompt", prompt)
        image.save(file, "PNG", pnginfo=notes)
    else:
        exif = Image.Exif()
        exif[DESCRIPTION] = prompt
        image.save(file, "WEBP", lossless=True, exif=exif)
    return file.getvalue()


def prompt_in(content: bytes) -> str:
    """The prompt that a picture was made for. Raises what Pillow raises where it is none, or not whole."""
    with Image.open(BytesIO(content)) as image:
        image.load()
        return str(image.info.get("prompt") or image.getexif().get(DESCRIPTION))
