"""Draws the fault of a request from the seed, the prompt and the number of earlier requests of that kind for the
prompt.

Time and chance play no part, so that a seed gives the same faults to the same prompts. How often a worker asks depends
on time, and so do the faults of those requests.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random

Odds = Mapping[str, float]
"""Faults and the probability of each; the remaining probability is a good answer."""

BEFORE: Odds = {"429": 0.06, "503 with Retry-After": 0.03, "dropped before the work": 0.03, "500 before the work": 0.03}
AFTER: Odds = {
    "lost after the work": 0.05,
    "gateway error after the work": 0.03,
    "garbage after the work": 0.03,
    "truncated after the work": 0.03,
    "silent after the work": 0.02,
}
ORDER: Odds = {**BEFORE, **AFTER, "slow": 0.1}
QUESTION: Odds = {
    "429": 0.02,
    "500 before the work": 0.04,
    "dropped before the work": 0.03,
    "garbage after the work": 0.03,
    "truncated after the work": 0.02,
    "slow": 0.03,
}
CANCEL: Odds = {"500 before the work": 0.15, "dropped before the work": 0.1, "lost after the work": 0.1}
FILE: Odds = {
    "500 before the work": 0.04,
    "dropped before the work": 0.04,
    "truncated after the work": 0.06,
    "half a picture": 0.05,
    "expired": 0.06,
    "no picture": 0.03,
    "slow": 0.06,
}

SLOW_SECONDS = 1.2
"""The delay of a late answer that still arrives in time."""
QUICK_SECONDS = (0.3, 1.6)
LONG_SECONDS = (4.0, 10.0)
"""The duration of a job. The longest exceed an item's timeout."""


@dataclass
class FaultSource:
    """`is_over`: once set, there are no more faults."""

    seed: int
    is_over: asyncio.Event = field(default_factory=asyncio.Event)
    injected: Counter[str] = field(default_factory=Counter[str])
    _asked: Counter[tuple[str, str]] = field(default_factory=Counter[tuple[str, str]])

    def draw(self, kind: str, prompt: str, odds: Odds) -> str | None:
        number = self._asked[kind, prompt]
        self._asked[kind, prompt] += 1
        if self.is_over.is_set():
            return None
        left = Random(f"{self.seed}/{kind}/{prompt}/{number}").random()
        for fault, share in odds.items():
            left -= share
            if left < 0:
                self.injected[f"{kind}: {fault}"] += 1
                return fault
        return None

    def seconds(self, prompt: str, is_long: bool = False) -> float:
        """The duration of the prompt's next job."""
        self._asked["pace", prompt] += 1
        random = Random(f"{self.seed}/pace/{prompt}/{self._asked['pace', prompt]}")
        return random.uniform(*(LONG_SECONDS if is_long else QUICK_SECONDS))
