"""Read from an HTTP 429 (or 503) how long a provider asks to wait, in its headers or its body."""

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, cast

LONGEST_SECONDS = 86_400.0
"""The database does not wait longer either."""
SHORTEST_SECONDS = 1.0
"""A client that returns at once is refused again, and banned in the end."""
LONGEST_TEXT = 20_000
LONGEST_JSON = 256 * 2**10
LONGEST_VALUE = 200
"""Of one header or field; a longer value is not a wait."""
DEEPEST = 6
"""How deep in a body's objects a field is searched for."""
NEAR_SECONDS = 366 * 86_400.0
"""A number that is an epoch time within this distance is a time; any other is a number of seconds."""

_MILLISECONDS = frozenset({"retryafterms", "retryaftermilliseconds"})
_SECONDS = frozenset(
    {"retryafter", "retryafterseconds", "retryaftersecs", "retrydelay", "resetafter", "resetsinseconds"}
)
_RESETS = frozenset({"xratelimitreset", "ratelimitreset", "resetat", "resetsat", "retryat"})
_LIMITS = ("requests", "tokens", "images")
_OPENAI_RESET = re.compile(r"x-ratelimit-reset-([a-z_-]{1,40})")
_STRUCTURED_RESET = re.compile(r"(?:\breset=|;\s{0,3}t=)([0-9]{1,12}(?:\.[0-9]{1,9})?)\b", re.ASCII)
"""`RateLimit: limit=10, remaining=0, reset=5` and `RateLimit: "default";r=0;t=5`."""
_NUMBER = re.compile(r"[+-]?(?:[0-9]{1,400}(?:\.[0-9]{0,400})?|\.[0-9]{1,400})(?:e[+-]?[0-9]{1,9})?", re.IGNORECASE)
_WORDS = {"inf": math.inf, "+inf": math.inf, "infinity": math.inf, "-inf": 0.0}
_PART = re.compile(
    r"([0-9]{1,9}(?:\.[0-9]{1,9})?)\s{0,3}"
    r"(milliseconds?|msecs?|ms|seconds?|secs?|s|minutes?|mins?|m|hours?|hrs?|h|days?|d)(?![a-z])",
    re.IGNORECASE | re.ASCII,
)
"""One part of a duration; `1h2m3s` has three. A unit is followed by a digit, a blank or a sign, never by a letter."""
_BETWEEN = re.compile(r"[\s,]{0,3}(?:and\s{1,3})?(?=[0-9])", re.IGNORECASE | re.ASCII)
_SENTENCE = re.compile(
    r"\b(?:resets?|retry|retrying|again|available|wait|back off|cool ?down|delay)\b[^.0-9]{0,40}(?=[0-9])",
    re.IGNORECASE | re.ASCII,
)
_MILLI = ("ms", "milli")
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


def retry_after_seconds(
    headers: Mapping[str, str], body: str | bytes = b"", *, now: datetime, reads_limits: bool = True
) -> float | None:
    """The seconds that an answer asks to wait, from 0 to a day; None if it does not say.

    Reads `Retry-After-Ms` and `Retry-After` (seconds, a duration or a date), then the body: a field such as
    `retry_after`, down to a limited depth, or a sentence such as "try again in 1m12s"; then the headers that say when a
    limit resets, unless `reads_limits` is False: some services send those with every answer.
    Never raises, whatever the answer contains. `now` is aware; dates are compared with it as they are.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    wait = _seconds(lower.get("retry-after-ms"), 0.001)
    if wait is None:
        wait = _from_header(lower.get("retry-after"), now)
    if wait is None:
        wait = _from_body(body, now)
    return _from_limits(lower, now) if wait is None and reads_limits else wait


def bounded_wait(seconds: float) -> float:
    """The wait within its limits of a second and a day; a second if it is not a number."""
    return SHORTEST_SECONDS if math.isnan(seconds) else min(max(seconds, SHORTEST_SECONDS), LONGEST_SECONDS)


def _from_header(value: str | None, now: datetime) -> float | None:
    """Seconds, an epoch time, a duration or a date; the longest of several in one header."""
    if value is None or len(value) > LONGEST_VALUE:
        return None
    readers = (_point(value, now), _duration(value), _until(value, now))
    wait = next((wait for wait in readers if wait is not None), None)
    if wait is None and "," in value:
        waits = [_point(part, now) for part in value.split(",")]
        wait = max((wait for wait in waits if wait is not None), default=None)
    return wait


def _until(value: str, now: datetime) -> float | None:
    """The seconds until an HTTP or ISO 8601 date."""
    moment = _http_date(value.strip()) or _iso_date(value.strip())
    if moment is None:
        return None
    try:
        return _bounded(((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds())
    except OverflowError:
        return None


def _http_date(value: str) -> datetime | None:
    try:
        return parsedate_to_datetime(value)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _iso_date(value: str) -> datetime | None:
    """An ISO 8601 date with a time of day: a bare `20260101` is a number."""
    try:
        return datetime.fromisoformat(value) if ":" in value else None
    except (ValueError, OverflowError):
        return None


def _from_limits(lower: Mapping[str, str], now: datetime) -> float | None:
    """When the limits reset: those that are used up, or all if none says that it is."""
    resets = {match[1]: name for name in lower if (match := _OPENAI_RESET.fullmatch(name))}
    used_up = [kind for kind in resets if lower.get(f"x-ratelimit-remaining-{kind}", "").strip() == "0"]
    waits = [_from_header(lower[resets[kind]], now) for kind in used_up or resets]
    waits += [_from_header(lower.get(name), now) for name in ("x-ratelimit-reset-after", "x-ratelimit-reset")]
    waits += [_from_header(lower.get(name), now) for name in ("ratelimit-reset", "x-rate-limit-reset")]
    structured = _STRUCTURED_RESET.search(lower.get("ratelimit", "")[:LONGEST_VALUE])
    waits.append(_seconds(structured[1]) if structured else None)
    return max((wait for wait in waits if wait is not None), default=None)


def _from_body(body: str | bytes, now: datetime) -> float | None:
    if len(body) <= LONGEST_JSON:
        try:
            data: Any = json.loads(body)
        except (ValueError, RecursionError):
            pass
        else:
            return _from_data(data, now, DEEPEST)
    head = body[:LONGEST_TEXT]
    return _from_sentence(head.decode("utf-8", "replace") if isinstance(head, bytes) else head)


def _from_data(data: Any, now: datetime, depth: int) -> float | None:
    """The wait in a field of this object or of one inside it; else in a sentence in one of its texts."""
    if isinstance(data, str):
        return _from_sentence(data[:LONGEST_TEXT])
    if depth == 0:
        return None
    inside: list[Any] = []
    if isinstance(data, dict):
        fields = cast("dict[str, Any]", data)
        for name, value in fields.items():
            if (wait := _from_field(_plain(name), value, now)) is not None:
                return wait
        inside = list(fields.values())
    elif isinstance(data, list):
        inside = cast("list[Any]", data)
    waits = (_from_data(value, now, depth - 1) for value in inside)
    return next((wait for wait in waits if wait is not None), None)


def _plain(name: str) -> str:
    """One name for `Retry-After`, `retry_after` and `retryAfter`."""
    return name[:LONGEST_VALUE].lower().replace("_", "").replace("-", "")


def _from_field(name: str, value: Any, now: datetime) -> float | None:
    if name in _MILLISECONDS:
        return _seconds(value, 0.001)
    if name in _SECONDS:
        return _from_header(value, now) if isinstance(value, str) else _seconds(value)
    if name in _RESETS:
        return _from_header(value, now) if isinstance(value, str) else _point(value, now)
    return None


def _from_sentence(text: str) -> float | None:
    waits = (_duration_at(text, match.end()) for match in _SENTENCE.finditer(text))
    return next((wait for wait in waits if wait is not None), None)


def _duration(value: str) -> float | None:
    """The duration, if the text is one and nothing else."""
    text = value.strip()
    end = max((match.end() for match in _parts(text, 0)), default=0)
    return _duration_at(text, 0) if end and end == len(text) else None


def _duration_at(text: str, start: int) -> float | None:
    """The sum of the consecutive parts from here on."""
    parts = list(_parts(text, start))
    return _bounded(sum(float(part[1]) * _factor(part[2].lower()) for part in parts)) if parts else None


def _parts(text: str, start: int) -> Iterator[re.Match[str]]:
    while (part := _PART.match(text, start)) is not None:
        yield part
        between = _BETWEEN.match(text, part.end())
        if between is None:
            return
        start = between.end()


def _factor(unit: str) -> float:
    return 0.001 if unit.startswith(_MILLI) else _UNITS[unit[0]]


def _point(value: Any, now: datetime) -> float | None:
    """A number of seconds, or the time until a moment given as seconds or milliseconds of the epoch."""
    number = _number(value)
    if number is None:
        return None
    away = min((number / unit - now.timestamp() for unit in (1.0, 1000.0)), key=abs)
    return _bounded(away if abs(away) < NEAR_SECONDS else number)


def _seconds(value: Any, factor: float = 1.0) -> float | None:
    number = _number(value)
    return None if number is None else _bounded(number * factor)


def _number(value: Any) -> float | None:
    """A JSON number, or an ASCII text of one."""
    if isinstance(value, str):
        text = value.strip().lower()
        return float(text) if _NUMBER.fullmatch(text) else _WORDS.get(text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(min(max(value, -1), 10**15)) if isinstance(value, int) else value


def _bounded(seconds: float) -> float | None:
    """The wait between 0 and a day; infinity is a day, and not-a-number is None."""
    return None if math.isnan(seconds) else min(max(seconds, 0.0), LONGEST_SECONDS)
