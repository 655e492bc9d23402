"""Downloads of pictures into files."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from snapshots import a_failed_item, a_snapshot, an_image, an_item

from batchgen.backend.bucket import ImageStorage
from batchgen.client.downloads import check_folder, check_room, picture_name, save_images
from batchgen.errors import InvalidRequest, StorageError


class FakeStorage:
    """A Storage with the given files."""

    def __init__(self, **files: bytes) -> None:
        self.files = files

    async def get(self, path: str) -> bytes:
        if (name := path.rpartition("/")[2].partition(".")[0][-1]) in self.files:
            return self.files[name]
        raise StorageError(f"{path} is not there")


def storage(**files: bytes) -> ImageStorage:
    return cast("ImageStorage", FakeStorage(**files))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("prompt", "kind", "name"),
    [
        ("A red fox!", "png", "4-a-red-fox.png"),
        ("../../../etc/passwd", "png", "4-etc-passwd.png"),
        ("\x1b[2J\r\nCON", "webp", "4-2j-con.webp"),
        ("ein Fuchs im Grünen", "jpeg", "4-ein-fuchs-im-grünen.jpeg"),
        ("…", "../x", "4-picture.x"),
        ("x" * 500, None, f"4-{'x' * 60}.png"),
    ],
)
def test_file_names_are_readable_and_short_and_stay_in_the_folder(prompt: str, kind: Any, name: str) -> None:
    item = an_item(3, prompt=prompt)

    assert picture_name(item, an_image(item, format=kind)) == name


async def test_only_finished_pictures_are_written(tmp_path: Path) -> None:
    snapshot = a_snapshot(an_item(0), a_failed_item(1, "no"), an_item(2))

    saved = await save_images(storage(**{"1": b"one", "3": b"three"}), snapshot, tmp_path / "new" / "folder")

    assert [(image.index, image.path.read_bytes()) for image in saved] == [(0, b"one"), (2, b"three")]
    assert names(tmp_path / "new" / "folder") == ["1-prompt-0.png", "3-prompt-2.png"]
    assert stat.S_IMODE(saved[0].path.stat().st_mode) == 0o644


async def test_an_existing_file_of_the_same_name_is_kept(tmp_path: Path) -> None:
    (tmp_path / "1-prompt-0.png").write_bytes(b"mine")

    saved = await save_images(storage(**{"1": b"new"}), a_snapshot(an_item(0)), tmp_path)

    assert (tmp_path / "1-prompt-0.png").read_bytes() == b"mine"
    assert saved[0].path.name == "1-prompt-0-00000000.png"


async def test_saving_twice_writes_each_file_once(tmp_path: Path) -> None:
    first, second = [await save_images(storage(**{"1": b"same"}), a_snapshot(an_item(0)), tmp_path) for _ in range(2)]

    assert names(tmp_path) == ["1-prompt-0.png"]
    assert first == second


async def test_one_missing_file_does_not_stop_the_others(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        await save_images(storage(**{"2": b"two"}), a_snapshot(an_item(0), an_item(1)), tmp_path)

    assert names(tmp_path) == ["2-prompt-1.png"]


async def test_a_file_given_as_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(InvalidRequest) as refused:
        await save_images(storage(), a_snapshot(an_item(0)), tmp_path / "file")

    assert refused.value.code == "folder_unusable"


def test_file_names_of_ten_pictures_sort_in_batch_order() -> None:
    names = [picture_name(an_item(index), an_image(an_item(index)), 10) for index in (0, 8, 9)]

    assert names == ["01-prompt-0.png", "09-prompt-8.png", "10-prompt-9.png"]


def a_pipe(path: Path) -> Path:
    os.mkfifo(path)
    return path


def a_file(path: Path) -> Path:
    path.write_text("somebody's")
    return path


def below_a_file(path: Path) -> Path:
    return a_file(path) / "below"


@pytest.mark.parametrize("make", [a_file, a_pipe, below_a_file])
def test_an_unusable_folder_is_refused_before_anything_is_written(tmp_path: Path, make: Callable[[Path], Path]) -> None:
    with pytest.raises(InvalidRequest) as refused:
        check_folder(make(tmp_path / "there"))

    assert (refused.value.code, refused.value.field) == ("folder_unusable", "save_to")
    assert refused.value.remedy


def test_a_full_disk_is_refused_before_anything_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_: object) -> SimpleNamespace:
        return SimpleNamespace(free=100)

    monkeypatch.setattr("shutil.disk_usage", full)

    with pytest.raises(InvalidRequest, match="the disk is full"):
        check_folder(tmp_path)
    with pytest.raises(InvalidRequest, match=r"need 0\.0 MB"):
        check_room(tmp_path / "new", a_snapshot(an_item(0)))


def test_a_read_only_folder_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> bool:
        return False

    monkeypatch.setattr("os.access", refuse)

    with pytest.raises(InvalidRequest, match="is not writable"):
        check_folder(tmp_path / "a" / "b")
    assert list(tmp_path.iterdir()) == []


async def test_an_existing_pipe_is_not_opened(tmp_path: Path) -> None:
    a_pipe(tmp_path / "1-prompt-0.png")
    item = an_item(0)

    [saved] = await save_images(storage(**{"1": b"one"}), a_snapshot(item), tmp_path)

    assert saved.path.name == f"1-prompt-0-{str(item.id)[:8]}.png"
