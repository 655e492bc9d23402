"""Command words in prompts, by which tests steer the offline provider."""

import re
from dataclasses import dataclass

MAX_SLOW_SECONDS = 3600.0
MAX_BUSY_SECONDS = 3600.0
_WORD = re.compile(
    r"(?<![^\s])#(?:(fail)(?::(\d{1,6}))?|(blocked)|(slow|busy):(\d{1,6}(?:\.\d{1,6})?))(?![\w:#-]|\.\d)", re.I
)


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands in a prompt."""

    prompt: str
    """The prompt without its command words: it is drawn and captioned."""
    blocked: bool = False
    fails: int | None = None
    """How often the job fails before it works; -1 for always, None for never."""
    seconds: float | None = None
    busy_seconds: float = 0
    """For so long after its start the job answers with `ProviderBusy`, like HTTP 429."""


def read_commands(prompt: str) -> Commands:
    """Take the command words out of a prompt; if one occurs twice, the last counts."""
    blocked, fails, seconds, busy_seconds = False, None, None, 0.0
    for match in _WORD.finditer(prompt):
        fail, times, block, timed, duration = match.groups()
        if fail:
            fails = int(times) if times is not None else -1
        if block:
            blocked = True
        if timed and timed.lower() == "slow":
            seconds = min(MAX_SLOW_SECONDS, float(duration))
        elif timed:
            busy_seconds = min(MAX_BUSY_SECONDS, float(duration))
    rest = re.sub(r"[ \t]{2,}", " ", _WORD.sub("", prompt)).strip() if _WORD.search(prompt) else prompt
    return Commands(rest, blocked, fails, seconds, busy_seconds)
