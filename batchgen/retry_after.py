"""How long a provider asks to wait: what an HTTP 429 (or 503) says in its headers or its body."""

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast

LONGEST_SECONDS = 86_400.0
"""The database waits no longer either."""
LONGEST_TEXT = 20_000
DEEPEST = 4
"""How far into a body's objects a field is looked for."""

_MILLISECONDS = frozenset({"retry_after_ms", "retryafterms", "retry-after-ms"})
_SECONDS = frozenset({"retry_after", "retryafter", "retry-after", "retry_after_seconds", "retryafterseconds"})
_SENTENCE = re.compile(
    r"\b(?:resets?|retry|try again|available|wait)\b[^.\d]{0,40}?(\d{1,9}(?:\.\d{1,9})?)\s*"
    r"(ms|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|h|hours?)\b",
    re.IGNORECASE,
)
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def retry_after_seconds(headers: Mapping[str, str], body: str | bytes = b"", *, now: datetime) -> float | None:
    """The seconds that an answer asks to wait, from 0 to a day; None where it does not say.

    Looks at `Retry-After` (seconds or a date) and `Retry-After-Ms`, then at the body: a field such as `retry_after`,
    at any depth within reason, or a sentence such as "resets in ~8s". Never raises, whatever the answer holds.
    `now` is aware; a date is taken as it is, so a clock that is wrong makes the wait wrong by as much.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    wait = _seconds(lower.get("retry-after-ms"), 0.001)
    if wait is None:
        wait = _from_header(lower.get("retry-after"), now)
    return _from_body(body, now) if wait is None else wait


def _from_header(value: str | None, now: datetime) -> float | None:
    if value is None:
        return None
    seconds = _seconds(value)
    return _until(value, now) if seconds is None else seconds


def _until(value: str, now: datetime) -> float | None:
    try:
        moment = parsedate_to_datetime(value.strip())
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return _bounded((moment - now).total_seconds())


def _from_body(body: str | bytes, now: datetime) -> float | None:
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    text = text[:LONGEST_TEXT]
    try:
        data: Any = json.loads(text)
    except (ValueError, RecursionError):
        return _from_sentence(text)
    return _from_data(data, now, DEEPEST)


def _from_data(data: Any, now: datetime, depth: int) -> float | None:
    """A field that says so, in this object or one inside it; else a sentence in one of its texts."""
    if isinstance(data, str):
        return _from_sentence(data)
    if depth == 0:
        return None
    inside: list[Any] = []
    if isinstance(data, dict):
        fields = cast("dict[str, Any]", data)
        for name, value in fields.items():
            if (wait := _from_field(name.lower(), value, now)) is not None:
                return wait
        inside = list(fields.values())
    elif isinstance(data, list):
        inside = cast("list[Any]", data)
    waits = (_from_data(value, now, depth - 1) for value in inside)
    return next((wait for wait in waits if wait is not None), None)


def _from_field(name: str, value: Any, now: datetime) -> float | None:
    if name in _MILLISECONDS:
        return _seconds(value, 0.001)
    if name not in _SECONDS:
        return None
    return _from_header(value, now) if isinstance(value, str) else _seconds(value)


def _from_sentence(text: str) -> float | None:
    match = _SENTENCE.search(text)
    if match is None:
        return None
    unit = match[2].lower()
    factor = 0.001 if unit.startswith(("ms", "milli")) else _UNITS[unit[0]]
    return _seconds(match[1], factor)


def _seconds(value: Any, factor: float = 1.0) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        return _bounded(float(value) * factor)
    except (ValueError, OverflowError):
        return None


def _bounded(seconds: float) -> float | None:
    """Within 0 and a day; infinity is a day, and what is no number says nothing."""
    return None if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_SECONDS)
