"""Locked npm packages for tests, installed by the wheel's own node."""

import fcntl
import os
import subprocess
from pathlib import Path

from devstack.node import node_binary, npm_environment

OPTIONS = ("--no-save", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error")
SECONDS = 300


def npm_install(folder: Path) -> Path:
    """Return `folder/node_modules`; install the packages of `package-lock.json` if it changed since the last time.

    Not `npm ci`, which refuses a lock file without the binaries of all platforms. Concurrent test processes take turns.
    """
    modules, lock = folder / "node_modules", folder / "package-lock.json"
    done = modules / ".package-lock.json"
    modules.mkdir(exist_ok=True)
    with (modules / ".installing").open("w") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        if not done.exists() or done.stat().st_mtime < lock.stat().st_mtime:
            npm = node_binary().parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
            env = {**npm_environment(), "PATH": f"{node_binary().parent}:{os.environ.get('PATH', os.defpath)}"}
            command = [str(node_binary()), str(npm), "install", *OPTIONS]
            ran = subprocess.run(
                command, cwd=folder, env=env, capture_output=True, text=True, timeout=SECONDS, check=False
            )
            assert ran.returncode == 0, ran.stdout + ran.stderr
            done.touch()
    return modules
