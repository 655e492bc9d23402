"""Runs the commands of README.md in order, as a user does who has just cloned the repository."""

import os
import re
import shutil
import signal
import subprocess
import sys
import sysconfig
import threading
import venv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.readme.commands import EXPECTED, README, Block, Expected, blocks, sets_the_shell_up

ROOT = README.parent
SECONDS = 600
LONGEST_STOP_SECONDS = 60


class ReadmeError(AssertionError):
    """A command did not do what the README says."""


@dataclass
class Machine:
    """A copy of the checkout and its own home; calls `say` for each command."""

    folder: Path
    environment: Mapping[str, str]
    fresh: bool
    say: Callable[[str], None] = lambda _: None
    _setup: list[str] = field(default_factory=list[str])
    _running: list["Background"] = field(default_factory=list["Background"])

    def run_commands(self) -> list[str]:
        """Run all blocks; returns the commands that were run."""
        ran: list[str] = []
        try:
            for block in blocks((self.folder / "README.md").read_text()):
                if block.needs:
                    self.say(f"  (not run, since it needs {block.needs}: {block.commands[0]})")
                elif block.language == "python":
                    (self.folder / "example.py").write_text(block.text)
                else:
                    ran += self._run_block(block)
        finally:
            self._stop_all()
        return ran

    def _run_block(self, block: Block) -> tuple[str, ...]:
        before = list(self._setup)
        if "pip install ." in block.commands:
            self._setup.append(f". {self._server()}/bin/activate")
        for command in block.commands:
            self._run(command)
        if "pip install ." in block.commands:
            self._setup = before
        return block.commands

    def _run(self, command: str) -> None:
        expected = EXPECTED[command]
        self.say(f"$ {command}")
        if expected.background:
            self._running.append(background := Background(self._shell(command)))
            background.wait_until(expected, command)
            if command == "batchgen worker":
                background.stop(signal.SIGTERM)
        else:
            ran = self._shell(self._shown_form(command, expected)).communicate(timeout=SECONDS)[0]
            self._check(command, expected, ran)
        if sets_the_shell_up(command):
            self._setup.append(command)
        self._check_files(command, expected)

    def _shown_form(self, command: str, expected: Expected) -> str:
        if command == "pip install ." and not self.fresh:
            return "pip install --quiet --no-deps ."  # its dependencies are those of these tests
        return expected.shorter or command

    def _shell(self, command: str) -> "subprocess.Popen[str]":
        """As if typed into the shell of all earlier commands."""
        self._process = subprocess.Popen(
            ["bash", "-c", "\n".join([*self._setup, command])],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        return self._process

    def _check(self, command: str, expected: Expected, output: str) -> None:
        code = self._process.returncode
        if code != expected.code:
            raise ReadmeError(f"{command}: exit code {code}, not {expected.code}:\n{output}")
        for text in expected.says:
            if not re.search(text, output):
                raise ReadmeError(f"{command}: does not print {text!r}:\n{output}")

    def _check_files(self, command: str, expected: Expected) -> None:
        for pattern, count in (expected.leaves or {}).items():
            if len(found := list(self.folder.glob(pattern))) != count:
                raise ReadmeError(f"{command}: {len(found)} files are {pattern}, not {count}: {found}")

    def _server(self) -> Path:
        """The Python of a server without our packages."""
        server = self.folder / "server"
        venv.create(server, with_pip=True)
        if not self.fresh:
            [packages] = server.glob("lib/python*/site-packages")
            (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
        return server

    def _stop_all(self) -> None:
        """As with Ctrl-C; no process may remain."""
        for background in reversed(self._running):
            background.stop(signal.SIGINT)


class Background:
    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process
        self._lines: list[str] = []
        self._news = threading.Condition()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def wait_until(self, expected: Expected, command: str) -> None:
        def is_complete() -> bool:
            return all(re.search(part, "".join(self._lines)) for part in expected.says)

        with self._news:
            self._news.wait_for(lambda: is_complete() or not self._reading.is_alive(), SECONDS)
        if not is_complete():
            raise ReadmeError(f"{command}: does not print {expected.says}:\n{''.join(self._lines)}")

    def stop(self, number: signal.Signals) -> None:
        """Send it a signal as a terminal would, and wait until all its processes ended; it may have been stopped
        before.
        """
        if self._process.poll() is None:
            self._end(number)
        self._reading.join(LONGEST_STOP_SECONDS)
        if self._process.stdout:
            self._process.stdout.close()

    def _end(self, number: signal.Signals) -> None:
        family = psutil.Process(self._process.pid).children(recursive=True)
        os.killpg(self._process.pid, number)
        self._process.wait(LONGEST_STOP_SECONDS)
        _, alive = psutil.wait_procs(family, LONGEST_STOP_SECONDS)
        if alive:
            raise ReadmeError(f"these are left after {number.name}: {alive}")

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with self._news:
                self._lines.append(line)
                self._news.notify_all()
        with self._news:
            self._news.notify_all()


def copy_checkout(folder: Path) -> None:
    """The files of a clone, with uncommitted changes."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    for name in subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0"):
        if name and (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)


def fresh_machine(folder: Path, say: Callable[[str], None]) -> Machine:
    """Nothing is installed, and the home is empty."""
    environment = _environment(folder)
    return Machine(_checkout(folder), environment, fresh=True, say=say)


def machine_of_these_tests(folder: Path) -> Machine:
    """With the packages of these tests, so that it takes a minute and no download."""
    checkout = _checkout(folder)
    (checkout / ".venv").mkdir()
    for part in Path(sys.prefix).iterdir():
        if not part.name.startswith(".installed"):
            (checkout / ".venv" / part.name).symlink_to(part)
    for mark in (".installed-devstack", ".installed-dev"):  # newer than its prerequisites
        (checkout / ".venv" / mark).touch()
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Machine(checkout, {**_environment(folder), "XDG_CACHE_HOME": cache}, fresh=False)


def _checkout(folder: Path) -> Path:
    checkout = folder / "batchgen"
    copy_checkout(checkout)
    (folder / "home").mkdir()
    return checkout


def _environment(folder: Path) -> dict[str, str]:
    """Its own home, and no variables of a developer's shell."""
    foreign = ("BATCHGEN_", "SUPABASE_", "VIRTUAL_ENV", "XDG_", "PYTEST_", "DATABASE_URL", "MAKE", "MFLAGS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return {**kept, "HOME": str(folder / "home"), "BATCHGEN_OFFLINE_SECONDS": "0.2"}
