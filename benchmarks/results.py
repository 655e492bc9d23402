"""The results of a run: figures with all their values, goals, and facts about the machine; written as JSON."""

import json
import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

MAX_FOREIGN_CORES = 0.3
"""A run during which other processes used more is noisy."""


@dataclass(frozen=True)
class Run:
    value: float
    foreign_cores: float

    @property
    def is_noisy(self) -> bool:
        return self.foreign_cores > MAX_FOREIGN_CORES


@dataclass
class Figure:
    """One measured quantity with its runs. The median is that of the quiet runs if there are at least two."""

    subject: str
    name: str
    unit: str
    runs: list[Run] = field(default_factory=list[Run])

    @property
    def counted(self) -> list[float]:
        quiet = [run.value for run in self.runs if not run.is_noisy]
        return quiet if len(quiet) >= 2 else [run.value for run in self.runs]

    @property
    def is_noisy(self) -> bool:
        return sum(not run.is_noisy for run in self.runs) < min(2, len(self.runs))

    @property
    def median(self) -> float:
        return statistics.median(self.counted)

    def as_json(self) -> dict[str, Any]:
        return {
            "subject": self.subject,
            "name": self.name,
            "unit": self.unit,
            "median": round(self.median, 3),
            "min": round(min(self.counted), 3),
            "max": round(max(self.counted), 3),
            "noisy": self.is_noisy,
            "runs": [asdict(run) for run in self.runs],
        }


@dataclass(frozen=True)
class Goal:
    """The limit for a figure or for the ratio of two."""

    text: str
    value: float
    limit: float | None = None
    at_most: bool = True
    unit: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the limit is kept; None if there is no limit."""
        if self.limit is None:
            return None
        return self.value <= self.limit if self.at_most else self.value >= self.limit

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "value": round(self.value, 3), "met": self.is_met}


class Results:
    def __init__(self) -> None:
        self.figures: dict[tuple[str, str], Figure] = {}
        self.goals: list[Goal] = []
        self.notes: list[str] = []

    def add(self, subject: str, name: str, unit: str, value: float, foreign_cores: float) -> None:
        figure = self.figures.setdefault((subject, name), Figure(subject, name, unit))
        figure.runs.append(Run(round(value, 4), round(foreign_cores, 2)))

    def median(self, subject: str, name: str) -> float | None:
        figure = self.figures.get((subject, name))
        return figure.median if figure else None

    def ratio(self, over: tuple[str, str], under: tuple[str, str]) -> float | None:
        """The ratio of two medians; None if one of them was not measured."""
        above, below = self.median(*over), self.median(*under)
        return above / below if above is not None and below else None

    def as_json(self, facts: dict[str, Any]) -> dict[str, Any]:
        return {
            "facts": facts,
            "goals": [goal.as_json() for goal in self.goals],
            "figures": [figure.as_json() for figure in self.figures.values()],
            "notes": self.notes,
        }


def percentile(values: Sequence[float], share: float) -> float:
    """The percentile by nearest rank, which is one of the values."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def write(file: Path, results: Results, facts: dict[str, Any]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results.as_json(facts), indent=1) + "\n")
