"""The times that a cron expression names in a time zone.

APScheduler's `CronTrigger` finds them. It differs from cron in two ways, which are evened out here: it counts the days
of the week from Monday, and it combines day of month and day of week with "and"; cron with "or" if both are given.

Changes of the clocks: a time that is left out runs when the clock has jumped (02:30 runs at 03:30). A time that comes
twice runs the first time only, unless the hour is `*`: then each hour that passes counts.
"""

import re
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, cast
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from batchgen.errors import InvalidRequest

if TYPE_CHECKING:
    from apscheduler.triggers.cron import CronTrigger  # pyright: ignore[reportMissingTypeStubs]

FURTHEST = timedelta(days=9 * 366)
"""The longest wait between two runs: 29 February across a century that has none."""
MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
FIELDS: Sequence[tuple[str, int, int, Sequence[str]]] = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, MONTHS),
    ("day of week", 0, 7, WEEKDAYS),
)
_PART = re.compile(r"(?:(\*)|([a-z]{3}|[0-9]{1,2})(?:-([a-z]{3}|[0-9]{1,2}))?)(?:/([0-9]{1,2}))?")
_MICROSECOND = timedelta(microseconds=1)
_REMEDY = "Each field is *, values, ranges (1-5) and steps (*/15), separated by commas; names are jan-dec and sun-sat."


class CronTimes:
    """The times of an expression. Raises `InvalidRequest` for an invalid expression or an unknown time zone."""

    def __init__(self, expression: str, time_zone: str = "UTC") -> None:
        fields = expression.lower().split()
        if len(fields) != len(FIELDS):
            raise _refusal(
                "cron has not five fields.",
                "Give minute, hour, day of month, month and day of week, such as 0 9 * * mon-fri.",
            )
        self._zone = zone_of(time_zone)
        self.values: Sequence[Sequence[int]] = [
            _values_of(field, *about) for field, about in zip(fields, FIELDS, strict=True)
        ]
        """Of each field, ascending; days of the week from Sunday as 0."""
        self._is_either_day = not fields[2].startswith("*") and not fields[4].startswith("*")

    def after(self, moment: datetime) -> Iterator[datetime]:
        """The times after this one, in UTC, ascending, until the next one is more than nine years away."""
        triggers = self._triggers()
        times = [self._next(trigger, moment) for trigger in triggers]
        while found := [one for one in times if one is not None]:
            earliest = min(found)
            if not self._is_repeated(earliest):
                yield earliest
            times = [
                self._next(trigger, earliest) if one == earliest else one
                for trigger, one in zip(triggers, times, strict=True)
            ]

    def _triggers(self) -> "Sequence[CronTrigger]":
        from apscheduler.triggers.cron import CronTrigger  # pyright: ignore[reportMissingTypeStubs]

        minutes, hours, days, months, _ = (",".join(map(str, values)) for values in self.values)
        weekdays = ",".join(str((day - 1) % 7) for day in self.values[4])
        common = {"minute": minutes, "hour": hours, "month": months, "second": "0"}
        either = ({"day": days}, {"day_of_week": weekdays})
        both = ({"day": days, "day_of_week": weekdays},)
        ways = either if self._is_either_day else both
        return [CronTrigger(**common, **way, timezone=self._zone) for way in ways]

    def _next(self, trigger: "CronTrigger", moment: datetime) -> datetime | None:
        # Times of one zone are compared by their wall clock, so all sums are made in UTC.
        moment = moment.astimezone(UTC) + _MICROSECOND
        trigger.end_date = (moment + FURTHEST).astimezone(self._zone)
        found = cast("datetime | None", trigger.get_next_fire_time(None, moment.astimezone(self._zone)))  # pyright: ignore[reportUnknownMemberType]
        return found.astimezone(UTC) if found else None

    def _is_repeated(self, moment: datetime) -> bool:
        """Whether the clock shows this time again after it was set back, and the expression names single hours."""
        return moment.astimezone(self._zone).fold == 1 and len(self.values[1]) < 24


@lru_cache(maxsize=256)
def zone_of(name: str) -> ZoneInfo:
    """The IANA time zone of this name. Raises `InvalidRequest`."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InvalidRequest(
            f"time_zone is not a time zone: {name[:60]}.",
            code="unknown_time_zone",
            field="time_zone",
            remedy="Give a name of the IANA database, such as Europe/Berlin, or UTC.",
        ) from None


def _values_of(field: str, name: str, least: int, most: int, names: Sequence[str]) -> Sequence[int]:
    """The values of a field, ascending, as `batchgen.cron_values` reads them in SQL."""
    values: set[int] = set()
    for part in field.split(","):
        match = _PART.fullmatch(part)
        if match is None:
            raise _unreadable(name, field)
        every, first_word, last_word, step = match.groups()
        first = least if every else _number(first_word, least, names)
        if every:
            last = most
        elif last_word is None:
            last = first if step is None else most
        else:
            last = _number(last_word, least, names)
        if most == 7 and last == 0 and last_word is not None:
            last = 7  # fri-sun
        if first is None or last is None or not least <= first <= last <= most or step == "0" or step == "00":
            raise _unreadable(name, field)
        values.update(range(first, last + 1, int(step or 1)))
    return sorted({value % 7 for value in values} if most == 7 else values)


def _number(word: str, least: int, names: Sequence[str]) -> int | None:
    if word.isdigit():
        return int(word)
    return names.index(word) + least if word in names else None


def _unreadable(name: str, field: str) -> InvalidRequest:
    return _refusal(f"cron cannot be read: the {name} '{field[:60]}'.", _REMEDY)


def _refusal(message: str, remedy: str) -> InvalidRequest:
    return InvalidRequest(message, code="invalid_cron", field="cron", remedy=remedy)
