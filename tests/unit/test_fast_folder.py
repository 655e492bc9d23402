"""Tests' databases are in memory if there is enough of it, and are removed at the end."""

import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests import fast_folder as module
from tests.fast_folder import fast_folder


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """The free memory in bytes, enough by default."""
    usage = SimpleNamespace(free=module.ENOUGH_BYTES)

    def disk_usage(_: Path) -> SimpleNamespace:
        return usage

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    return usage


def test_the_folder_is_in_memory_while_it_is_used(free: SimpleNamespace, tmp_path: Path) -> None:
    with fast_folder(tmp_path) as folder:
        assert folder.parent == tmp_path
        (folder / "data").touch()

    assert folders(tmp_path) == set()


def test_with_little_memory_the_folder_is_on_the_disk(free: SimpleNamespace, tmp_path: Path) -> None:
    free.free -= 1

    with fast_folder(tmp_path) as folder:
        assert folder.parent == Path(tempfile.gettempdir())


def test_without_a_memory_file_system_the_folder_is_on_the_disk(tmp_path: Path) -> None:
    with fast_folder(tmp_path / "none") as folder:
        assert folder.parent == Path(tempfile.gettempdir())


def test_folders_of_ended_runs_are_removed_and_others_stay(free: SimpleNamespace, tmp_path: Path) -> None:
    abandoned, foreign = tmp_path / f"{module.PREFIX}x", tmp_path / "somebody-elses"
    for folder in (abandoned, foreign):
        folder.mkdir()
        (folder / module.LOCK).touch()

    with fast_folder(tmp_path) as first, fast_folder(tmp_path) as second:
        assert folders(tmp_path) == {first, second, foreign}


def folders(memory: Path) -> set[Path]:
    return {path for path in memory.iterdir() if path.is_dir()}
