"""Waits demanded by an answer, in a header or in the body."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.providers.http.retry_after import LONGEST_SECONDS, SHORTEST_SECONDS, bounded_wait, retry_after_seconds

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
        ("Monday, 23-Nov-26 12:00:30 GMT", 30),
        ("Mon Nov 23 12:00:30 2026", 30),
        ("2026-11-23T12:00:30Z", 30),
        ("1795435230", 30),
        ("1m12s", 72),
        ("20s", 20),
        ("5, 8", 8),
        ("2147483647", LONGEST_SECONDS),
        ("1e400", LONGEST_SECONDS),
        ("1_000", None),
        ("٣", None),
        ("9" * 100_000, None),
        ("soon", None),
        ("", None),
    ],
)
def test_retry_after_headers_give_seconds_or_a_date(value: str, seconds: float | None) -> None:
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
        ('{"error": {"message": "Rate limit reached for gpt-image-1. Please try again in 6m0s."}}', 360),
        ("Please try again in 1m12s.", 72),
        ("Please try again in 1m2.64s. Visit https://example.test/limits to learn more.", 62.64),
        ("Please try again in 17m52.4s.", 1072.4),
        ("try again in 1h2m3s", 3723),
        ("Please wait 1 minute 30 seconds", 90),
        ("available in 1 hour, 2 minutes and 3 seconds", 3723),
        ("try again in 2 min", 120),
        ("retry in 500ms", 0.5),
        ("try again in 1d2h", LONGEST_SECONDS),
        ("You've exceeded the rate limit, please slow down and try again after 51.84 seconds.", 51.84),
        ("Please retry in 34.074824224s.", 34.074824224),
        ("retry 3 times, or try again in 9s", 9),
        ('[{"error": {"details": [{"@type": "google.rpc.RetryInfo", "retryDelay": "34.5s"}]}}]', 34.5),
        ('{"error": {"metadata": {"headers": {"X-RateLimit-Reset": "1795435240000"}}}}', 40),
        ('{"reset_at": "2026-11-23T12:00:30Z"}', 30),
        ('{"retry_after": 1' + "0" * 400 + "}", LONGEST_SECONDS),
        ('{"retry_after": -5}', 0),
        ('{"retry_after": NaN}', None),
        ('{"retry_after": Infinity}', LONGEST_SECONDS),
        ("try again in ٣ seconds", None),
        ("try again in 5 parts", None),
        ('{"note": "' + "x" * 50_000 + '", "retry_after": 8}', 8),
        ('{"detail": "Rate limit of 600 requests a minute."}', None),
        ('{"retry_after": true}', None),
        ('{"retry_after": null}', None),
        ("", None),
        ("[" * 10_000, None),
    ],
)
def test_bodies_give_the_wait_in_a_field_or_a_sentence(body: str, seconds: float | None) -> None:
    assert retry_after_seconds({}, body, now=NOW) == pytest.approx(seconds)
    assert retry_after_seconds({}, body.encode(), now=NOW) == pytest.approx(seconds)


def test_the_header_wins_over_the_body_in_any_case() -> None:
    assert retry_after_seconds({"retry-AFTER": "5"}, '{"retry_after": 8}', now=NOW) == 5
    assert retry_after_seconds({"retry-after-ms": "250", "retry-after": "1"}, now=NOW) == 0.25
    assert retry_after_seconds({"retry-after": "soon"}, '{"retry_after": 8}', now=NOW) == 8


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"x-ratelimit-reset-requests": "1m12s"}, 72),
        ({"x-ratelimit-reset-requests": "120ms", "x-ratelimit-reset-tokens": "6m0s"}, 360),
        (
            {
                "x-ratelimit-reset-requests": "20s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "6m0s",
                "x-ratelimit-remaining-tokens": "700",
            },
            20,
        ),
        ({"RateLimit-Reset": "7"}, 7),
        ({"ratelimit-reset": "1795435230"}, 30),
        ({"X-RateLimit-Reset": "1795435240000"}, 40),
        ({"RateLimit": "limit=10, remaining=0, reset=50"}, 50),
        ({"RateLimit": '"default";r=0;t=5'}, 5),
        ({"x-ratelimit-reset-requests": "", "x-ratelimit-reset-tokens": "soon"}, None),
    ],
)
def test_rate_limit_headers_tell_when_the_limit_resets(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after_seconds(headers, now=NOW) == seconds
    assert retry_after_seconds(headers, now=NOW, reads_limits=False) is None
    assert retry_after_seconds({**headers, "Retry-After": "3"}, now=NOW) == 3
    assert retry_after_seconds(headers, "Please try again in 2s", now=NOW) == 2


@pytest.mark.parametrize("asked", [0, 0.02, -1, float("nan")])
def test_a_wait_is_never_shorter_than_the_minimum(asked: float) -> None:
    assert bounded_wait(asked) == SHORTEST_SECONDS


def test_a_long_enough_wait_is_kept() -> None:
    assert bounded_wait(72) == 72
    assert bounded_wait(float("inf")) == LONGEST_SECONDS


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
def test_any_answer_gives_a_wait_of_at_most_a_day_or_none(header: str | None, body: str | bytes) -> None:
    headers = {} if header is None else {"Retry-After": header}

    assert acceptable(retry_after_seconds(headers, body, now=NOW))


@given(data=json_values)
def test_any_json_gives_a_wait_of_at_most_a_day_or_none(data: Any) -> None:
    assert acceptable(retry_after_seconds({}, json.dumps(data), now=NOW))


@given(away=st.integers(-(10**9), 10**9))
def test_any_date_gives_the_time_until_then_up_to_a_day(away: int) -> None:
    moment = NOW + timedelta(seconds=away)

    wait = retry_after_seconds({"Retry-After": f"{moment:%a, %d %b %Y %H:%M:%S} GMT"}, now=NOW)

    assert wait == min(max(away, 0), LONGEST_SECONDS)
