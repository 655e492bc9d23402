"""The arguments of `batchgen worker`."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Options:
    once: bool = False
    max_seconds: float | None = None
    env_file: Path | None = None
