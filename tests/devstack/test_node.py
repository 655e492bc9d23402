"""The npm packages: a broken installation is noticed, and concurrent installations do no harm."""

import json
import os
import time
from pathlib import Path

import pytest

from devstack import node
from devstack.errors import NodeInstallFailed


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Scripts without packages, so that no registry is needed."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "package.json").write_text(json.dumps({"name": "empty", "version": "0.0.0"}))
    lock = {"name": "empty", "version": "0.0.0", "lockfileVersion": 3, "packages": {"": {"name": "empty"}}}
    (folder / "package-lock.json").write_text(json.dumps(lock))
    for name in node.SCRIPTS:
        (folder / name).write_text("")
    monkeypatch.setattr(node, "SOURCE", folder)
    return folder


async def test_packages_are_installed_once(source: Path, tmp_path: Path) -> None:
    told: list[str] = []

    first = await node.install_packages(tmp_path / "cache", lambda: told.append("installing"))
    second = await node.install_packages(tmp_path / "cache", lambda: told.append("installing"))

    assert first == second
    assert (first / "lite.mjs").exists()
    assert told == ["installing"]


async def test_a_partial_installation_is_repeated(source: Path, tmp_path: Path) -> None:
    scripts = await node.install_packages(tmp_path / "cache", lambda: None)
    (scripts.parent / node.COMPLETE).unlink()

    again = await node.install_packages(tmp_path / "cache", lambda: None)

    assert (again.parent / node.COMPLETE).exists()


async def test_a_deno_left_out_by_npm_is_installed_at_the_next_start(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """npm silently leaves out an optional package that it cannot download."""
    deno = "node_modules/@deno/linux-x64-glibc"
    packages = {"": {"name": "empty"}, deno: {"optional": True}, "node_modules/@deno/darwin-x64": {"optional": True}}
    (source / "package-lock.json").write_text(json.dumps({"packages": packages}))
    monkeypatch.setattr(node, "_deno_package", lambda: deno)
    runs: list[Path] = []

    async def npm_ci(folder: Path, _cache: Path) -> None:
        runs.append(folder)
        if len(runs) > 1:
            (folder / deno).mkdir(parents=True)
            (folder / deno / "package.json").write_text("{}")

    monkeypatch.setattr(node, "_npm_ci", npm_ci)

    binaries = [node.deno_binary(await node.install_packages(tmp_path / "cache", lambda: None)) for _ in range(3)]

    assert len(runs) == 2
    assert len(set(binaries)) == 1
    assert str(binaries[0]).endswith(f"{deno}/deno")


async def test_the_rest_of_a_killed_installation_is_removed(source: Path, tmp_path: Path) -> None:
    scripts = await node.install_packages(tmp_path / "cache", lambda: None)
    left = tmp_path / "cache" / f".{scripts.parent.name}.left"
    left.mkdir()
    os.utime(left, (0, time.time() - 2 * node.ABANDONED_SECONDS))
    (scripts.parent / node.COMPLETE).unlink()

    await node.install_packages(tmp_path / "cache", lambda: None)

    assert not left.exists()


async def test_a_failed_installation_is_one_clear_line(source: Path, tmp_path: Path) -> None:
    (source / "package-lock.json").write_text("not json")

    with pytest.raises(NodeInstallFailed, match="npm could not install Supabase Lite"):
        await node.install_packages(tmp_path / "cache", lambda: None)

    assert [entry.name for entry in (tmp_path / "cache").iterdir() if entry.name.startswith(".node")] == []


def test_the_lock_file_names_no_registry() -> None:
    lock = json.loads((node.SOURCE / "package-lock.json").read_text())

    assert [name for name, package in lock["packages"].items() if "resolved" in package] == []
