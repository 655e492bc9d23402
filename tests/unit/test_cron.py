"""Times of cron expressions: what cron means by them, and what happens when the clocks change."""

import random
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest

from batchgen import next_runs
from batchgen.cron import CronTimes
from batchgen.errors import InvalidRequest


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def days(cron: str, start: str = "2026-06-01 00:00", count: int = 5) -> list[str]:
    """The first times as `Mon 1 09:00`."""
    times = next_runs(cron, after=at(start) - timedelta(seconds=1), count=count)
    return [f"{time:%a} {time.day} {time:%H:%M}" for time in times]


def test_days_of_the_week_count_from_sunday_as_cron_does() -> None:
    assert days("0 9 * * 1", count=2) == ["Mon 1 09:00", "Mon 8 09:00"]
    assert days("0 9 * * 0", count=2) == days("0 9 * * 7", count=2) == days("0 9 * * sun", count=2)
    assert days("0 9 * * 5-7") == days("0 9 * * fri-sun") == days("0 9 * * FRI-SUN")
    assert days("0 9 * * 0", count=1) == ["Sun 7 09:00"]


def test_a_day_of_the_month_and_one_of_the_week_are_alternatives() -> None:
    assert days("0 9 13 * fri") == ["Fri 5 09:00", "Fri 12 09:00", "Sat 13 09:00", "Fri 19 09:00", "Fri 26 09:00"]


def test_steps_names_and_lists_are_read() -> None:
    assert days("*/20 8-9/1 1,2 jun-aug/2 *", count=7)[-1] == "Tue 2 08:00"
    assert [time.month for time in next_runs("0 0 1 jan-dec/5 *", after=at("2026-01-02 00:00"), count=3)] == [6, 11, 1]
    assert [time.minute for time in next_runs("50/5 * * * *", after=at("2026-01-02 00:00"), count=3)] == [50, 55, 50]


def test_leap_days_are_found_across_a_century_without_one() -> None:
    times = next_runs("0 0 29 2 *", after=at("2096-03-01 00:00"), count=1)
    assert times == (at("2104-02-29 00:00"),)


def test_days_that_no_month_has_end_the_search() -> None:
    assert next_runs("0 0 31 2 *", after=at("2026-01-01 00:00")) == ()


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "Africa/Casablanca"])
def test_times_rise_and_fit_the_clock_across_every_change(zone: str) -> None:
    chance = random.Random(zone)
    for _ in range(6):
        hours = chance.choice(["*", "2", "1-3", "*/2", "0,23"])
        times = list(
            islice(
                CronTimes(f"{chance.choice(['0', '30', '*/15'])} {hours} * * *", zone).after(at("2026-01-01 00:00")),
                1500,
            )
        )
        assert all(first < second for first, second in pairwise(times))
        if hours != "*":  # no time of the clock comes twice
            shown = [time.astimezone(ZoneInfo(zone)).replace(tzinfo=None, fold=0) for time in times]
            assert len(set(shown)) == len(shown)


@pytest.mark.parametrize(
    ("cron", "zone", "code"),
    [
        ("", "UTC", "invalid_cron"),
        ("0 9 * * * *", "UTC", "invalid_cron"),
        ("0 24 * * *", "UTC", "invalid_cron"),
        ("0 9 * * mon/x", "UTC", "invalid_cron"),
        ("0 9 * * *", "../../etc/passwd", "unknown_time_zone"),
        ("0 9 * * *", "Nowhere", "unknown_time_zone"),
        ("0 9 * * *", "", "unknown_time_zone"),
    ],
)
def test_other_input_is_refused(cron: str, zone: str, code: str) -> None:
    with pytest.raises(InvalidRequest) as refusal:
        next_runs(cron, zone, after=at("2026-01-01 00:00"))
    assert refusal.value.code == code
    assert refusal.value.remedy
