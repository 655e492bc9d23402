"""Pictures become files."""

import stat
from pathlib import Path
from typing import Any, cast

import pytest
from snapshots import a_failed_item, a_snapshot, an_image, an_item

from batchgen.download import picture_name, save_images
from batchgen.errors import InvalidRequest, StorageError
from batchgen.storage import ImageStorage


class Shelf:
    """Storage that has what it was given."""

    def __init__(self, **files: bytes) -> None:
        self.files = files

    async def get(self, path: str) -> bytes:
        if (name := path.rpartition("/")[2].partition(".")[0][-1]) in self.files:
            return self.files[name]
        raise StorageError(f"{path} is not there")


def shelf(**files: bytes) -> ImageStorage:
    return cast("ImageStorage", Shelf(**files))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize(
    ("prompt", "kind", "name"),
    [
        ("A red fox!", "png", "3-a-red-fox.png"),
        ("../../../etc/passwd", "png", "3-etc-passwd.png"),
        ("\x1b[2J\r\nCON", "webp", "3-2j-con.webp"),
        ("ein Fuchs im Grünen", "jpeg", "3-ein-fuchs-im-grünen.jpeg"),
        ("…", "../x", "3-picture.x"),
        ("x" * 500, None, f"3-{'x' * 60}.png"),
    ],
)
def test_names_are_readable_short_and_stay_in_the_folder(prompt: str, kind: Any, name: str) -> None:
    item = an_item(3, prompt=prompt)

    assert picture_name(item, an_image(item, format=kind)) == name


async def test_every_finished_picture_is_written_and_failed_items_are_not(tmp_path: Path) -> None:
    snapshot = a_snapshot(an_item(0), a_failed_item(1, "no"), an_item(2))

    saved = await save_images(shelf(**{"1": b"one", "3": b"three"}), snapshot, tmp_path / "new" / "folder")

    assert [(image.index, image.path.read_bytes()) for image in saved] == [(0, b"one"), (2, b"three")]
    assert names(tmp_path / "new" / "folder") == ["0-prompt-0.png", "2-prompt-2.png"]
    assert stat.S_IMODE(saved[0].path.stat().st_mode) == 0o644


async def test_somebody_elses_file_of_the_same_name_stays(tmp_path: Path) -> None:
    (tmp_path / "0-prompt-0.png").write_bytes(b"mine")

    saved = await save_images(shelf(**{"1": b"new"}), a_snapshot(an_item(0)), tmp_path)

    assert (tmp_path / "0-prompt-0.png").read_bytes() == b"mine"
    assert saved[0].path.name == "0-prompt-0-00000000.png"


async def test_saving_again_writes_no_second_file(tmp_path: Path) -> None:
    first, second = [await save_images(shelf(**{"1": b"same"}), a_snapshot(an_item(0)), tmp_path) for _ in range(2)]

    assert names(tmp_path) == ["0-prompt-0.png"]
    assert first == second


async def test_one_missing_file_does_not_keep_the_others_away(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        await save_images(shelf(**{"2": b"two"}), a_snapshot(an_item(0), an_item(1)), tmp_path)

    assert names(tmp_path) == ["1-prompt-1.png"]


async def test_a_folder_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(InvalidRequest) as refused:
        await save_images(shelf(), a_snapshot(an_item(0)), tmp_path / "file")

    assert refused.value.code == "folder_unusable"
