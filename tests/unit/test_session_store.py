"""The command line's store of tokens."""

import json
import os
import stat
import time
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import SecretStr

from batchgen.client.atomic_write import write_atomically
from batchgen.client.session import Session, SessionStore

URL = "http://127.0.0.1:54321"


def a_session(**changes: object) -> Session:
    return Session(
        access_token=SecretStr("access-1"),
        refresh_token=SecretStr("refresh-1"),
        expires_at=2_000_000_000,
        user_id=UUID(int=1),
        email="a@example.test",
    ).model_copy(update=changes)


def test_a_saved_session_is_loaded_unchanged(tmp_path: Path) -> None:
    store = SessionStore(URL, tmp_path / "sessions.json")

    store.save(a_session())

    assert store.load() == a_session()


def test_the_session_file_is_readable_by_its_owner_only(tmp_path: Path) -> None:
    store = SessionStore(URL, tmp_path / "new" / "sessions.json")

    store.save(a_session())

    assert stat.S_IMODE(store.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(store.path.parent.stat().st_mode) == 0o700


def test_each_project_has_its_own_session(tmp_path: Path) -> None:
    here, there = (SessionStore(url, tmp_path / "sessions.json") for url in (URL, "https://x.example"))

    here.save(a_session())
    there.save(a_session(email="b@example.test"))
    here.forget()

    assert here.load() is None
    kept = there.load()
    assert kept
    assert kept.email == "b@example.test"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"http://127.0.0.1:54321": {"access_token": 1}}'])
def test_a_damaged_file_means_signed_out(tmp_path: Path, content: str) -> None:
    path = tmp_path / "sessions.json"
    path.write_text(content)

    assert SessionStore(URL, path).load() is None


def test_tokens_are_not_shown() -> None:
    assert "access-1" not in repr(a_session())
    assert "refresh-1" not in str(a_session().model_dump(mode="json"))


def test_a_session_expiring_within_a_minute_ends_soon() -> None:
    assert a_session(expires_at=int(time.time()) + 30).ends_soon
    assert not a_session(expires_at=int(time.time()) + 300).ends_soon


async def test_the_session_lock_is_released_after_use(tmp_path: Path) -> None:
    store = SessionStore(URL, tmp_path / "sessions.json")

    async with store.locked():
        assert os.listdir(tmp_path) == ["sessions.lock"]  # noqa: PTH208

    assert os.listdir(tmp_path) == []  # noqa: PTH208


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    path.mkdir()

    with pytest.raises(OSError):  # noqa: PT011 - which one depends on the system
        write_atomically(path, json.dumps({}).encode())

    assert [entry.name for entry in tmp_path.iterdir()] == ["file.json"]
