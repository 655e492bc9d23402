"""Foreign text on terminals and in file names."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.text import json_text, printable, slug


@given(st.text())
def test_printable_text_has_no_control_characters(text: str) -> None:
    shown = printable(text)

    assert all(ord(character) >= 0x20 and not 0x7F <= ord(character) <= 0x9F for character in shown)


def test_escape_sequences_and_direction_overrides_are_shown_as_codes() -> None:
    assert printable("a\x1b[31m\u202eb\x9bc") == "a\\x1b[31m\\u202eb\\x9bc"


def test_line_ends_and_tabs_become_one_blank() -> None:
    assert printable(" a\r\n\tb ") == "a b"


def test_long_text_is_cut_with_an_ellipsis() -> None:
    assert printable("abcdef", limit=4) == "abc…"


def test_joined_emoji_are_kept_together() -> None:
    assert printable("👩\u200d🚀") == "👩\u200d🚀"


@given(st.text())
def test_a_slug_is_a_safe_file_name(text: str) -> None:
    made = slug(text)

    assert made
    assert len(made.encode()) <= 150
    assert not set(made) & set("/\\:.\x00 \n")
    assert not made.startswith("-")


def test_a_slug_cannot_leave_the_folder() -> None:
    assert slug("../../etc/passwd") == "etc-passwd"


def test_a_slug_of_punctuation_gets_a_default_name() -> None:
    assert slug("!!! ///") == "picture"


def test_json_keeps_every_script_and_escapes_control_characters() -> None:
    data = {"prompt": "ein Füchslein 狐 🦊", "evil": "\x1b[31m\x7f\x85\u202e\u2028\ud800\U000e0001"}

    text = json_text(data)

    assert "ein Füchslein 狐 🦊" in text
    assert printable(text) == text
    assert json.loads(text) == data


@pytest.mark.parametrize("encoding", ["latin-1", "ascii", None])
def test_json_is_ascii_for_limited_encodings(encoding: str | None) -> None:
    text = json_text({"prompt": "狐"}, encoding=encoding)

    assert text.isascii()
    assert json.loads(text) == {"prompt": "狐"}
