"""A virtual environment for the peers below .batchgen, so that they are not installed with the project."""

import hashlib
import shutil
import subprocess
from pathlib import Path

REQUIREMENTS = Path(__file__).parent / "requirements.txt"
PYTHONS = ("python3.13", "python3.12", "python3.14", "python3", "python3.11")
OBAN_NEEDS = (3, 12)


class PeersMissing(Exception):
    """The environment could not be created; the message says why."""


def peers_python(root: Path) -> Path:
    """Create the environment, or recreate it if the pinned versions changed; return its interpreter."""
    folder = root / ".batchgen" / "bench-venv"
    python = folder / "bin" / "python"
    stamp = folder / "requirements.sha256"
    wanted = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()
    if not (python.exists() and stamp.exists() and stamp.read_text() == wanted):
        shutil.rmtree(folder, ignore_errors=True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        _run([str(_newest_python()), "-m", "venv", str(folder)])
        _run([str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", str(REQUIREMENTS)])
        stamp.write_text(wanted)
    return python


def has_oban(python: Path) -> bool:
    """Whether the interpreter is new enough for oban, which needs Python 3.12."""
    return _version(str(python)) >= OBAN_NEEDS


def _newest_python() -> str:
    """An interpreter for oban if there is one, else another usable one; also searches pyenv's versions."""
    found = [path for name in PYTHONS if (path := shutil.which(name))]
    found += [str(path) for path in sorted(Path.home().glob(".pyenv/versions/3.1[2-4]*/bin/python3"))]
    usable = [path for path in found if _version(path) >= (3, 11)]
    if not usable:
        raise PeersMissing("no Python 3.11 or newer on the PATH")
    return next((path for path in usable if _version(path) >= OBAN_NEEDS), usable[0])


def _version(python: str) -> tuple[int, int]:
    """The interpreter's version; (0, 0) for a broken shim."""
    command = [python, "-c", "import sys; print(*sys.version_info[:2])"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    except (OSError, subprocess.CalledProcessError):
        return 0, 0
    return int(output[0]), int(output[1])


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or done.stdout.strip()).splitlines()[-1:]
        raise PeersMissing(f"{' '.join(command[1:4])} failed: {' '.join(last)}")
