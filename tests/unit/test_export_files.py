"""ZIP files of exports: names, manifest, table, missing pictures, parts."""

import asyncio
import csv
import hashlib
import io
import json
import os
import shutil
import unicodedata
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from batchgen.client.exports import export_batches
from batchgen.errors import FileMissing, StorageError
from batchgen.exports import build
from batchgen.exports.build import ExportBuilder
from batchgen.exports.spreadsheet import cell
from batchgen.exports.types import ExportBatch, ExportItem, ExportPicture

AWKWARD = {
    "con": "CON",
    "dots": "..",
    "path": "../../etc/passwd",
    "slash": "/",
    "backslash": "C:\\Windows\\nul",
    "emoji": "🦊🔥",
    "right to left": "\u202eثعلب أحمر gnp.exe",
    "composed": "caf\u00e9",
    "decomposed": "cafe\u0301",
    "upper": "FOX",
    "lower": "fox",
    "long": "狐" * 4000,
    "blank": "\n\t",
    "trailing": "aux. ",
}


def item(prompt: str, index: int, *paths: str, **more: Any) -> ExportItem:
    pictures = tuple(ExportPicture(id=uuid4(), storage_path=path, format="png", file_size=4) for path in paths)
    return ExportItem(id=uuid4(), index=index, status="completed", prompt=prompt, seed="7", pictures=pictures, **more)


def batch(*items: ExportItem, name: str | None = "Foxes") -> ExportBatch:
    return ExportBatch(id=uuid4(), name=name, status="completed", items=items)


def from_files(files: Mapping[str, bytes]) -> build.Download:
    async def download(path: str, write: Callable[[bytes], object]) -> None:
        if path not in files:
            raise FileMissing(path)
        await asyncio.sleep(0)
        for start in range(0, len(files[path]), 1000):
            write(files[path][start : start + 1000])

    return download


async def exported(*batches: ExportBatch, files: Mapping[str, bytes] | None = None, **more: Any) -> zipfile.ZipFile:
    paths = [picture.storage_path for one in batches for of in one.items for picture in of.pictures]
    download = from_files(files if files is not None else {path: path.encode() for path in paths})
    out = io.BytesIO()
    await ExportBuilder(batches, download, **more).write(out)
    return zipfile.ZipFile(out)


def manifest_of(archive: zipfile.ZipFile) -> dict[str, Any]:
    return json.loads(archive.read("manifest.json"))


async def test_awkward_prompts_become_names_that_every_file_system_takes(tmp_path: Path) -> None:
    batches = [batch(*(item(text, 0, key) for key, text in AWKWARD.items()), name="CON"), batch(item("x", 0, "x"))]

    archive = await exported(*batches)

    names = archive.namelist()
    assert archive.testzip() is None
    for name in names:
        for part in name.split("/"):
            assert part not in ("", ".", "..")
            assert part.strip(" .") == part
            assert part.split(".")[0].upper() not in ("CON", "NUL", "AUX", "PRN")
            assert len(part.encode()) <= 255
            assert not set(part) & set('<>:"\\|?*')
            assert all(unicodedata.category(character)[0] != "C" for character in part)
    assert len({unicodedata.normalize("NFC", name).casefold() for name in names}) == len(names)
    archive.extractall(tmp_path)
    assert sum(len(files) for _, _, files in os.walk(tmp_path)) == len(names)


@pytest.mark.skipif(shutil.which("unzip") is None, reason="unzip is not installed")
async def test_unzip_finds_no_fault_in_an_export_written_to_a_pipe(tmp_path: Path) -> None:
    class Pipe:
        def __init__(self, file: Any) -> None:
            self.file = file

        def write(self, data: bytes) -> int:
            return self.file.write(data)

        def flush(self) -> None:
            self.file.flush()

    one = batch(*(item(text, place, key) for place, (key, text) in enumerate(AWKWARD.items())))
    download = from_files({key: key.encode() * 5000 for key in AWKWARD})
    with (tmp_path / "export.zip").open("wb") as file:
        await ExportBuilder([one], download).write(Pipe(file))

    tested = await asyncio.create_subprocess_exec("unzip", "-t", "-q", "export.zip", cwd=tmp_path)

    assert await tested.wait() == 0
    assert zipfile.ZipFile(tmp_path / "export.zip").testzip() is None


async def test_the_manifest_says_what_each_picture_was_made_from() -> None:
    one = batch(
        item("a red fox", 0, "fox", model="flux", model_id="m-1", width=64, tags=("animals",), cost_usd="0.003"),
    )

    archive = await exported(one)

    manifest = manifest_of(archive)
    [told] = manifest["batches"][0]["items"]
    [picture] = told["pictures"]
    assert (manifest["format"], manifest["format_version"]) == ("batchgen-export", 1)
    assert manifest["batchgen_version"]
    assert (told["prompt"], told["seed"], told["model"], told["width"]) == ("a red fox", "7", "flux", 64)
    assert (told["tags"], told["cost_usd"]) == (["animals"], "0.003")
    assert archive.read(picture["file"]) == b"fox"
    assert picture["sha256"] == hashlib.sha256(b"fox").hexdigest()
    assert archive.getinfo(picture["file"]).compress_type == zipfile.ZIP_STORED


async def test_the_seed_and_version_that_the_provider_used_are_told() -> None:
    made = ExportPicture(id=uuid4(), storage_path="x", seed="18014398509481985", model_version="v2")
    asked = item("a fox", 0).model_copy(update={"pictures": (made,)})

    [told] = manifest_of(await exported(batch(asked)))["batches"][0]["items"]

    assert (told["seed"], told["model_version"], told["requested_model_version"]) == ("18014398509481985", "v2", None)


async def test_missing_pictures_are_listed_with_the_reason() -> None:
    archived = ExportPicture(id=uuid4(), storage_path="old", is_archived=True)
    one = batch(
        item("a", 0, "there"),
        item("b", 1, "lost"),
        item("c", 2),
        item("d", 3).model_copy(update={"status": "failed", "error_code": "timeout", "error_message": "Too slow."}),
        item("e", 4).model_copy(update={"status": "processing"}),
        item("f", 5).model_copy(update={"pictures": (archived,)}),
    )

    archive = await exported(one, files={"there": b"1"})

    missing = manifest_of(archive)["missing"]
    assert [(each["index"], each["code"]) for each in missing] == [
        (1, "file_missing"),
        (2, "deleted"),
        (3, "timeout"),
        (4, "not_finished"),
        (5, "archived"),
    ]
    rows = list(csv.DictReader(io.StringIO(archive.read("pictures.csv").decode())))
    assert [bool(row["missing"]) for row in rows] == [False, True, True, True, True, True]


async def test_the_table_holds_no_formula_and_keeps_every_script() -> None:
    texts = ["=1+1", "+1|cmd", "-2+3", "@SUM(A1)", "\t=1", "\uff1d1+1", " =1", 'a "fox"\nand =1', "狐 ثعلب 🦊"]

    archive = await exported(batch(*(item(text, place, text) for place, text in enumerate(texts))))

    rows = list(csv.DictReader(io.StringIO(archive.read("pictures.csv").decode("utf-8"))))
    assert [row["prompt"].removeprefix("'") for row in rows] == texts
    assert all(row["prompt"].startswith("'") for row in rows[:7])
    assert [row["prompt"] for row in rows[7:]] == texts[7:]
    assert cell("-5") == "-5"
    assert cell("-5-5") == "'-5-5"


async def test_parts_stay_below_their_limit_and_open_alone() -> None:
    one = batch(*(item(f"a fox {place}", place, f"p{place}") for place in range(20)))
    files = {f"p{place}": bytes([place]) * 30_000 for place in range(20)}
    parts = [io.BytesIO()]

    async def next_part() -> io.BytesIO:
        parts.append(io.BytesIO())
        return parts[-1]

    summary = await ExportBuilder([one], from_files(files), max_part_bytes=150_000).write(parts[0], next_part)

    archives = [zipfile.ZipFile(part) for part in parts]
    assert len(parts) > 3
    assert all(len(part.getvalue()) <= 150_000 for part in parts)
    assert [manifest_of(archive)["part"] for archive in archives] == [*range(1, len(parts) + 1)]
    told = [told for archive in archives for told in manifest_of(archive)["batches"][0]["items"]]
    assert [one["index"] for one in told] == [*range(20)]
    assert summary.pictures == 20
    for archive in archives:
        for each in manifest_of(archive)["batches"][0]["items"]:
            assert archive.read(each["pictures"][0]["file"]) == files[f"p{each['index']}"]


async def test_a_picture_larger_than_a_part_is_missing() -> None:
    one = batch(item("a", 0, "small"), item("b", 1, "huge"))

    archive = await exported(one, files={"small": b"1", "huge": b"2" * 200_000}, max_part_bytes=150_000)

    assert [each["code"] for each in manifest_of(archive)["missing"]] == ["too_large"]


async def test_a_broken_download_is_repeated_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "PAUSE_SECONDS", 0)
    tries = 0

    async def download(_path: str, write: Callable[[bytes], object]) -> None:
        nonlocal tries
        tries += 1
        write(b"half")
        if tries < 3:
            raise StorageError("cut off")
        write(b"-whole")

    out = io.BytesIO()
    await ExportBuilder([batch(item("a", 0, "x"))], download).write(out)

    assert zipfile.ZipFile(out).read("1-a.png") == b"half-whole"


async def test_an_outage_ends_the_export_and_closes_nothing_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "PAUSE_SECONDS", 0)

    async def download(path: str, write: Callable[[bytes], object]) -> None:
        write(b"x")
        if path == "p3":
            raise StorageError("no answer")

    out = io.BytesIO()
    one = batch(*(item("a", place, f"p{place}") for place in range(9)))
    with pytest.raises(StorageError):
        await ExportBuilder([one], download).write(out)

    assert not zipfile.is_zipfile(out)


async def test_cancelling_stops_all_downloads() -> None:
    running: set[str] = set()
    begun = asyncio.Event()

    async def download(path: str, write: Callable[[bytes], object]) -> None:
        running.add(path)
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            running.discard(path)

    one = batch(*(item("a", place, f"p{place}") for place in range(9)))
    export = asyncio.create_task(ExportBuilder([one], download).write(io.BytesIO()))
    await begun.wait()
    export.cancel()
    with pytest.raises(asyncio.CancelledError):
        await export

    assert running == set()


class _Caller:
    """Answers `batch_manifest` with one batch."""

    user_id = None

    def __init__(self, one: ExportBatch) -> None:
        self._one = one

    async def rpc(self, _function: str, _arguments: Mapping[str, Any]) -> Any:
        return self._one.model_dump(mode="json")

    async def renew_if_needed(self) -> None: ...


class _Storage:
    """Downloads one picture and keeps the second one open."""

    def __init__(self, error: Exception | None = None) -> None:
        self.reached = asyncio.Event()
        self._error = error

    async def get_pieces(self, path: str, write: Callable[[bytes], object]) -> None:
        write(b"content")
        if path == "p1":
            self.reached.set()
            if self._error:
                raise self._error
            await asyncio.Event().wait()


@pytest.mark.parametrize("how", ["cancelled", "failed"])
async def test_an_export_that_does_not_end_leaves_the_earlier_file_alone(
    tmp_path: Path, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "PAUSE_SECONDS", 0)
    target = tmp_path / "export.zip"
    target.write_bytes(b"an earlier export")
    one = batch(item("a", 0, "p0"), item("b", 1, "p1"))
    storage = _Storage(StorageError("no answer") if how == "failed" else None)

    export = asyncio.create_task(export_batches(cast("Any", _Caller(one)), cast("Any", storage), [one.id], target))
    await storage.reached.wait()
    if how == "cancelled":
        export.cancel()
    with pytest.raises((asyncio.CancelledError, StorageError)):
        await export

    assert target.read_bytes() == b"an earlier export"
    assert [file for _, _, files in os.walk(tmp_path) for file in files] == ["export.zip"]


async def test_batches_of_one_name_have_folders_of_their_own() -> None:
    first, second = batch(item("a", 0, "p1"), name="Foxes"), batch(item("a", 0, "p2"), name="foxes")
    second = second.model_copy(update={"id": UUID(int=first.id.int ^ 1)})

    names = (await exported(first, second)).namelist()

    assert len({name.casefold() for name in names}) == 4
