"""Manifests and ZIP files that are imported: damaged, hostile and split ones."""

import io
import json
import struct
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from batchgen.client import imports
from batchgen.client.imports import read_manifests
from batchgen.errors import InvalidRequest


def manifest(items: Sequence[Mapping[str, Any]], **more: Any) -> dict[str, Any]:
    batches = [{"id": "b", "name": "Foxes", "items": list(items)}]
    return {"format": "batchgen-export", "format_version": 1, "batches": batches, **more}


def zipped(content: bytes, name: str = "manifest.json", method: int = zipfile.ZIP_DEFLATED) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.writestr(name, content)
    return out.getvalue()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "given"


def refused(file: Path, content: bytes) -> InvalidRequest:
    file.write_bytes(content)
    with pytest.raises(InvalidRequest) as error:
        read_manifests([file])
    assert error.value.remedy
    return error.value


def test_a_manifest_is_read_alone_and_from_a_zip(file: Path) -> None:
    content = json.dumps(manifest([{"prompt": "a fox", "seed": "9007199254740993"}, {"prompt": "a cat"}])).encode()

    file.write_bytes(content)
    [alone] = read_manifests([file])
    file.write_bytes(zipped(content))
    [in_a_zip] = read_manifests([file])

    assert alone == in_a_zip
    assert alone.items[0].seed == 9007199254740993


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"{}", b"not JSON", b"[" * 100_000, b"\xff\xfe", b'{"format": "other"}', b"PK", b"PK\x03\x04" * 50],
)
def test_other_files_are_refused(file: Path, content: bytes) -> None:
    assert refused(file, content).code in ("not_a_manifest", "unknown_format_version")


def test_a_manifest_of_a_later_version_is_refused(file: Path) -> None:
    content = json.dumps({**manifest([{"prompt": "a"}]), "format_version": 2}).encode()

    assert refused(file, content).code == "unknown_format_version"


@pytest.mark.parametrize(
    ("item", "field"),
    [
        ({"prompt": 5}, "batches[0].items[0].prompt"),
        ({}, "batches[0].items[0].prompt"),
        ({"prompt": "a", "seed": "red"}, "batches[0].items[0].seed"),
        ({"prompt": "a", "seed": "9" * 5000}, "batches[0].items[0].seed"),
        ({"prompt": "a", "width": "wide"}, "batches[0].items[0].width"),
        ({"prompt": "a", "tags": 1}, "batches[0].items[0].tags"),
    ],
)
def test_a_wrong_value_is_named_by_its_path(file: Path, item: dict[str, Any], field: str) -> None:
    error = refused(file, json.dumps(manifest([item])).encode())

    assert (error.code, error.field) == ("wrong_type", field)


def test_a_bomb_is_refused_unread(file: Path) -> None:
    error = refused(file, zipped(b" " * (imports.MOST_MANIFEST_BYTES + 1)))

    assert error.code == "too_large"


def test_a_bomb_that_lies_about_its_size_is_refused(file: Path) -> None:
    content = bytearray(zipped(b" " * (imports.MOST_MANIFEST_BYTES * 2)))
    real = struct.pack("<L", imports.MOST_MANIFEST_BYTES * 2)
    while (place := content.find(real)) >= 0:
        content[place : place + 4] = struct.pack("<L", 100)

    assert refused(file, bytes(content)).code == "not_a_manifest"


def test_a_huge_manifest_is_refused(file: Path) -> None:
    with file.open("wb") as out:
        out.truncate(imports.MOST_MANIFEST_BYTES * 100)
    with pytest.raises(InvalidRequest) as error:
        read_manifests([file])

    assert error.value.code == "too_large"


def test_a_list_of_files_that_claims_to_be_huge_is_refused(file: Path) -> None:
    content = bytearray(zipped(b"{}"))
    end = content.rindex(b"PK\x05\x06")
    content[end + 12 : end + 16] = struct.pack("<L", len(content) - 22)
    padding = bytes(imports.MOST_DIRECTORY_BYTES + 1)
    big = bytes(content[:end]) + padding + bytes(content[end:])
    place = big.rindex(b"PK\x05\x06")
    big = big[: place + 12] + struct.pack("<LL", len(padding), len(content)) + big[place + 20 :]

    assert refused(file, big).code == "not_a_manifest"


def test_an_archive_without_a_manifest_or_with_one_elsewhere_is_refused(file: Path) -> None:
    assert refused(file, zipped(b"{}", "../manifest.json")).code == "not_a_manifest"
    assert refused(file, zipped(b"{}", method=zipfile.ZIP_LZMA)).code == "not_a_manifest"


def test_too_many_items_are_refused(file: Path) -> None:
    content = json.dumps(manifest([{"prompt": "a"}] * (imports.MOST_ITEMS + 1))).encode()

    assert (refused(file, content).code, refused(file, content).limit) == ("too_many_items", imports.MOST_ITEMS)


def test_folders_pipes_and_missing_files_are_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing"):
        with pytest.raises(InvalidRequest) as error:
            read_manifests([path])
        assert error.value.code == "unreadable"


def test_the_parts_of_an_export_are_joined_without_doubles(tmp_path: Path) -> None:
    first = manifest([{"id": "1", "prompt": "a"}, {"id": "2", "prompt": "b"}])
    second = manifest([{"id": "2", "prompt": "b"}, {"id": "3", "prompt": "c"}])
    for name, content in (("1.json", first), ("2.json", second)):
        (tmp_path / name).write_text(json.dumps(content))

    [batch] = read_manifests([tmp_path / "1.json", tmp_path / "2.json"])

    assert [item.prompt for item in batch.items] == ["a", "b", "c"]
