"""Answers drawn by hypothesis that replace a fake server's: new ones, or its own with something changed."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.fuzzing import BROKEN, CASES, STRINGS, Raw, places_in, render, values

Framing = Literal["whole", "cut", "reset", "silent", "endless", "drip", "wire"]
"""`wire`: the only bytes that are sent, instead of an HTTP answer."""

STATUSES = (
    *(200, 201, 202, 203, 204, 205, 206, 226, 300, 301, 302, 303, 304, 305, 307, 308),
    *(400, 401, 402, 403, 404, 405, 406, 408, 409, 410, 411, 413, 414, 415, 418, 421, 422, 423, 424, 425, 426),
    *(428, 429, 431, 451, 499, 500, 501, 502, 503, 504, 505, 507, 508, 511, 520, 521, 522, 524, 529, 530, 598, 999),
)
WAITS = (
    *("0", "-1", "1", "0.02", "1e9", "1e400", "nan", "inf", "-inf", "", " ", "soon", "1, 2", "٣", "9" * 400),
    *("Wed, 21 Oct 2015 07:28:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"),
    *("1m12s", "6m0s", "500ms", "1d"),
)
WAIT_HEADERS = (
    *("Retry-After", "Retry-After-Ms", "X-RateLimit-Reset", "X-RateLimit-Reset-Requests", "RateLimit-Reset"),
    "X-RateLimit-Reset-Tokens",
)
TYPES = ("text/html", "text/event-stream", "image/png", "application/json; charset=utf-16", "x", "image/svg+xml")
PACKINGS = ("gzip", "br", "deflate", "zstd", "identity", "gzip, gzip", "x")
ADDRESSES = (
    *("", "/", "//", "x", "http://", "https://", "file:///etc/passwd", "ftp://127.0.0.1/a", "javascript:alert(1)"),
    *("http://127.0.0.1:1/a.png", "https://127.0.0.1:1/a.png", "http://169.254.169.254/latest/meta-data/"),
    *(
        "https://[::1]/",
        "https://[::ffff:127.0.0.1]/",
        "https://0x7f.1/",
        "https://2130706433/",
        "http://[fe80::1%25lo]/",
    ),
    *("https://user:password@127.0.0.1/", "https://127.0.0.1:0/", "https://127.0.0.1:99999/", "https://198.18.0.5/"),
    *("data:", "data:,", "data:image/png;base64,", "data:image/png;base64,AAAA", "data:image/png;base64,!!!!"),
    *("data:text/html;base64,PGh0bWw+", "data:image/png," + "A" * 2000, "https://" + "a" * 300 + "/", "https://a\nb/"),
    *("https://\u202e/", "https://xn--a/", "https://a..b/", "https://-/", "http://127.0.0.1:1/" + "a" * 100_000),
)
WORDS = (
    *(
        "succeeded",
        "failed",
        "canceled",
        "cancelled",
        "aborted",
        "processing",
        "starting",
        "queued",
        "error",
        "success",
    ),
    *("COMPLETED", "IN_QUEUE", "IN_PROGRESS", "FAILED", "ERROR", "OK", "completed", "unknown_parameter", "billing"),
    *("content_policy_violation", "moderation_blocked", "insufficient_quota", "invalid_api_key", "rate_limit_exceeded"),
)
BYTES = (
    *(
        b"",
        b"\x00",
        b"\xff\xfe{",
        b"\xef\xbb\xbf{}",
        b"\x89PNG\r\n\x1a\n",
        b"\xff\xd8\xff\xe0",
        b"RIFF\x00\x00\x00\x00WEBP",
    ),
    *(b"GIF89a", b"BM", b"II*\x00", b"%PDF-1.7", b"%!PS-Adobe-3.0", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
    *(
        b"<svg>" * 5000,
        b"<svg fill='url(" + b" " * 5000 + b"'/>",
        b"\xff\xd8" + b"\xff" * 40_000,
        b"\x1f\x8b\x08" + b"\x00" * 64,
    ),
    *(
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"a": ' + b"9" * 10_000 + b"}",
        b"x" * 6_000_000,
        b'"\\ud800"',
        b'{"status": NaN}',
    ),
    *(b"<html>It works!</html>", b"error code: 1015", b'{"error": null}', b'{"error": "no"}', b'{"detail": [[[]]]}'),
)


WIRE = (
    *(
        b"",
        b"\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/0.9 999 \r\n\r\n",
    ),
    b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 9999999999\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{}",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n{}",
    b"HTTP/1.1 200 OK\r\nX: " + b"a" * 200_000 + b"\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\n\xff\xfe: \x00\r\n\r\n{}",
    b"HTTP/1.1 302 Found\r\nLocation: https://[\xd9\xa3\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: //\xd9\xa3:\xd9\xa3/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 20 + b"HTTP/1.1 204 No Content\r\n\r\n",
)


@dataclass(frozen=True)
class Changed:
    """The server's own JSON with some places changed: the n-th place gets this JSON text; None removes it."""

    edits: tuple[tuple[int, str | None], ...]

    def of(self, body: bytes) -> bytes:
        try:
            changed: Any = json.loads(body)
        except ValueError:
            return body
        for number, text in self.edits:
            found = list(places_in(changed))
            if not found:
                break
            inside, key = found[number % len(found)]
            if text is None:
                del inside[key]
            else:
                inside[key] = Raw(text)
        return render(changed).encode(errors="replace")


@dataclass(frozen=True)
class ReplacedAnswer:
    """One answer. `status` and `body` None: the server's own. `after`: the request is still carried out."""

    status: int | None = None
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | Changed | None = None
    framing: Framing = "whole"
    after: bool = True


@dataclass(frozen=True)
class Case:
    """The replaced answers of one item: to the first requests of each kind; later requests get the server's own."""

    answers: tuple[tuple[str, ReplacedAnswer], ...] = field(default=())


json_texts = st.one_of(
    values.map(render),
    st.sampled_from(WORDS).map(json.dumps),
    st.sampled_from(ADDRESSES).map(json.dumps),
    st.sampled_from(BROKEN),
)
bodies: st.SearchStrategy[bytes | Changed | None] = st.one_of(
    st.lists(st.tuples(st.integers(0, 60), st.none() | json_texts), min_size=1, max_size=3).map(
        lambda edits: Changed(tuple(edits))
    ),
    st.lists(st.tuples(st.integers(0, 60), st.none() | json_texts), min_size=1, max_size=2).map(
        lambda edits: Changed(tuple(edits))
    ),
    st.none(),
    st.sampled_from(BYTES),
    st.binary(max_size=80),
    values.map(lambda value: render(value).encode(errors="replace")),
    st.sampled_from(STRINGS).map(
        lambda text: json.dumps({"error": {"message": text, "code": text, "type": text}, "detail": text}).encode()
    ),
)
headers = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(WAIT_HEADERS), st.sampled_from(WAITS)),
        st.tuples(st.just("Content-Type"), st.sampled_from(TYPES)),
        st.tuples(st.just("Content-Encoding"), st.sampled_from(PACKINGS)),
        st.tuples(
            st.just("Location"), st.sampled_from([text for text in ADDRESSES if "\n" not in text and len(text) < 5000])
        ),
        st.tuples(st.just("Date"), st.sampled_from(WAITS)),
        st.tuples(st.just("X-Fal-Error-Type"), st.sampled_from(WORDS)),
        st.tuples(st.just("X-Long"), st.just("x" * 7000)),
    ),
    max_size=2,
).map(tuple)
off_the_wire = st.builds(
    ReplacedAnswer,
    body=st.sampled_from(WIRE) | st.binary(max_size=60),
    framing=cast("st.SearchStrategy[Any]", st.just("wire")),
    after=st.booleans(),
)
in_http = st.builds(
    ReplacedAnswer,
    status=st.one_of(st.none(), st.none(), st.sampled_from(STATUSES)),
    headers=headers,
    body=bodies,
    framing=st.sampled_from([*["whole"] * 16, "cut", "reset", "reset", "silent", "endless", "drip"]),
    after=st.sampled_from([True, True, False]),
)
replaced_answers = st.integers(0, 9).flatmap(lambda number: in_http if number else off_the_wire)


def cases_of(kinds: Sequence[str]) -> st.SearchStrategy[Case]:
    """Up to three replaced answers to requests of these kinds."""
    return st.lists(st.tuples(st.sampled_from(list(kinds)), replaced_answers), min_size=1, max_size=3).map(
        lambda answers: Case(tuple(answers))
    )


def drawn(kinds: Sequence[str], usual: int) -> list[Case]:
    """`BATCHGEN_FUZZ_CASES` new cases; or so many, which are always the same."""
    found: list[Case] = []

    @settings(
        max_examples=CASES or usual,
        derandomize=not CASES,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )
    @given(cases_of(kinds))
    def draw(case: Case) -> None:
        found.append(case)

    cast("Callable[[], None]", draw)()
    return found


def in_groups(cases: Sequence[Case], size: int) -> Iterator[Sequence[Case]]:
    for start in range(0, len(cases), size):
        yield cases[start : start + size]
