"""A provider's own log, which no worker sees: one JSON line for each event of a job."""

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

SIDE = 48


@dataclass
class ProviderLog:
    """`price_usd`: the price of a charged job."""

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
        """Events of all jobs of a prompt, in order."""
        return [line for line in self._lines if line["prompt"] == prompt]

    def total(self, prompt: str | None = None, job: str | None = None) -> Decimal:
        """The sum of all charges, or those of a prompt, or of a job."""
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
    """A small picture with pixels unique to the prompt, as metadata is not kept; PNG or WebP, by the prompt."""
    image, file = Image.frombytes("RGB", (SIDE, SIDE), _pixels(prompt)), BytesIO()
    if Random(prompt).random() < 0.5:
        image.save(file, "PNG")
    else:
        image.save(file, "WEBP", lossless=True)
    return file.getvalue()


def is_picture_of(content: bytes, prompt: str) -> bool:
    """Compare the pixels. Raises Pillow's errors if the content is not a complete picture."""
    with Image.open(BytesIO(content)) as image:
        return image.convert("RGB").tobytes() == _pixels(prompt)


def _pixels(prompt: str) -> bytes:
    return Random(prompt).randbytes(3 * SIDE * SIDE)
