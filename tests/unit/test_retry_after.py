"""What an answer says about how long to wait, in the header or in the body."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.retry_after import LONGEST_SECONDS, retry_after_seconds

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("8", 8),
        (" 1.5 ", 1.5),
        ("0", 0),
        ("-3", 0),
        ("999999999", LONGEST_SECONDS),
        ("inf", LONGEST_SECONDS),
        ("nan", None),
        ("Mon, 23 Nov 2026 12:00:30 GMT", 30),
        ("Mon, 23 Nov 2026 13:00:30 +0100", 30),
        ("Mon, 23 Nov 2026 11:00:00 GMT", 0),
        ("Mon, 23 Nov 2026 12:00:30 -0000", 30),
        ("soon", None),
        ("", None),
    ],
)
def test_the_header_gives_seconds_or_a_date(value: str, seconds: float | None) -> None:
    assert retry_after_seconds({"Retry-After": value}, now=NOW) == seconds


@pytest.mark.parametrize(
    ("body", "seconds"),
    [
        ('{"retry_after": 8}', 8),
        ('{"retry_after": "8"}', 8),
        ('{"retryAfter": 2.5}', 2.5),
        ('{"retry_after_seconds": 4}', 4),
        ('{"error": {"retry_after_ms": 1500}}', 1.5),
        ('{"error": [{"retry_after": 3}]}', 3),
        ('{"detail": "Request was throttled. Your rate limit resets in ~8s."}', 8),
        ('{"detail": "Expected available in 12 seconds."}', 12),
        ('{"error": {"message": "Rate limit reached. Please try again in 20ms."}}', 0.02),
        ("Please try again in 2 minutes", 120),
        ("retry after 1h", 3600),
        ('{"detail": "Rate limit of 600 requests a minute."}', None),
        ('{"retry_after": true}', None),
        ('{"retry_after": null}', None),
        ("", None),
        ("[" * 10_000, None),
    ],
)
def test_the_body_gives_a_field_or_a_sentence(body: str, seconds: float | None) -> None:
    assert retry_after_seconds({}, body, now=NOW) == pytest.approx(seconds)
    assert retry_after_seconds({}, body.encode(), now=NOW) == pytest.approx(seconds)


def test_the_header_goes_before_the_body_whatever_its_case() -> None:
    assert retry_after_seconds({"retry-AFTER": "5"}, '{"retry_after": 8}', now=NOW) == 5
    assert retry_after_seconds({"retry-after-ms": "250", "retry-after": "1"}, now=NOW) == 0.25
    assert retry_after_seconds({"retry-after": "soon"}, '{"retry_after": 8}', now=NOW) == 8


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["retry_after", "retry_after_ms", "detail", "x"]) | st.text(), inner, max_size=3
        )
    ),
)


def acceptable(wait: float | None) -> bool:
    return wait is None or 0 <= wait <= LONGEST_SECONDS


@given(
    header=st.none() | st.text() | st.floats().map(str) | st.integers().map(str),
    body=st.text() | st.binary() | st.from_regex(r"(resets|try again) in ~?[0-9.]{1,12} ?(ms|s|m|h)"),
)
def test_any_answer_gives_a_wait_within_a_day_or_none(header: str | None, body: str | bytes) -> None:
    headers = {} if header is None else {"Retry-After": header}

    assert acceptable(retry_after_seconds(headers, body, now=NOW))


@given(data=json_values)
def test_any_json_gives_a_wait_within_a_day_or_none(data: Any) -> None:
    assert acceptable(retry_after_seconds({}, json.dumps(data), now=NOW))


@given(away=st.integers(-(10**9), 10**9))
def test_any_date_gives_the_time_until_then_within_a_day(away: int) -> None:
    moment = NOW + timedelta(seconds=away)

    wait = retry_after_seconds({"Retry-After": f"{moment:%a, %d %b %Y %H:%M:%S} GMT"}, now=NOW)

    assert wait == min(max(away, 0), LONGEST_SECONDS)
