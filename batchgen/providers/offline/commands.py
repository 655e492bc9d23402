"""The words by which a test tells the offline provider what to do."""

import re
from dataclasses import dataclass

MAX_SLOW_SECONDS = 3600.0
MAX_BUSY_SECONDS = 3600.0
_WORD = re.compile(
    r"(?<![^\s])#(?:(fail)(?::(\d{1,6}))?|(blocked)|(slow|busy):(\d{1,6}(?:\.\d{1,6})?))(?![\w:#-]|\.\d)", re.I
)


@dataclass(frozen=True, slots=True)
class Commands:
    """What a prompt asks for besides a picture."""

    prompt: str
    """The prompt without its command words: what is drawn and captioned."""
    blocked: bool = False
    fails: int | None = None
    """How often it fails before it works; -1 for always, None for never."""
    seconds: float | None = None
    busy_seconds: float = 0
    """How long after its start the job is told to wait, as by HTTP 429."""


def read_commands(prompt: str) -> Commands:
    """Take the command words out of a prompt; of two of a kind the last one counts."""
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
