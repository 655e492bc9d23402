"""Both serialisers: accepted frames, ignored frames, and the place of the refs."""

from __future__ import annotations

import json

import pytest

from devstack.realtime.frames import ClientFrame, FrameError, read, version_of, write


@pytest.mark.parametrize(
    ("vsn", "version"),
    [(None, "1.0.0"), ("1.0.0", "1.0.0"), ("2.0.0", "2.0.0"), ("9", None), ("2", None), ("", None)],
)
def test_the_version_parameter_chooses_the_serialiser(vsn: str | None, version: str | None) -> None:
    assert version_of(vsn) == version


def test_version_1_reads_an_object_with_or_without_join_ref() -> None:
    text = '{"topic":"phoenix","event":"heartbeat","payload":{},"ref":null}'
    assert read("1.0.0", text) == ClientFrame(None, None, "phoenix", "heartbeat", {})


def test_version_2_reads_an_array() -> None:
    assert read("2.0.0", '["1","2","realtime:a","x",{"k":1}]') == ClientFrame("1", "2", "realtime:a", "x", {"k": 1})


@pytest.mark.parametrize(
    "text",
    [
        "hello", "", "[]", "{}", "null", "5", '["1","2","t","e"]', '[1,2,3,4,{}]', '[[],"2","t","e",{}]',
        '{"topic":"t","event":"e","payload":{}}', '{"topic":1,"event":"e","payload":{},"ref":"1"}',
        '["1","2","t","e",{"n":NaN}]', '["1","2","t\\ud800","e",{}]', "[" * 100_000,
    ],
)  # fmt: skip
@pytest.mark.parametrize("version", ["1.0.0", "2.0.0"])
def test_malformed_frames_are_refused(version: str, text: str) -> None:
    with pytest.raises(FrameError):
        read("1.0.0" if version == "1.0.0" else "2.0.0", text)


def test_version_1_never_sends_the_join_ref() -> None:
    text = write("1.0.0", topic="t", event="e", payload='{"n": 1.50}', ref="2", join_ref="1")
    assert json.loads(text) == {"ref": "2", "payload": {"n": 1.5}, "event": "e", "topic": "t"}


def test_version_2_sends_both_refs_and_the_payload_unchanged() -> None:
    text = write("2.0.0", topic="tö", event="e", payload='{"n": 1.50}', ref=None, join_ref="1")
    assert text == '["1",null,"tö","e",{"n": 1.50}]'
