"""The worker's side of a process that checks pictures: one picture at a time, each within a time limit.

Not pebble or loky: their children share pipes and inherit the environment with its secrets. Here each child has its own
socket, over which it gets open files.
"""

import contextlib
import json
import os
import selectors
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from batchgen.pictures.check_file import CheckLimits

PROGRAM = ("-m", "batchgen.pictures.check_child")
START_SECONDS = 60.0
"""The time for Python to start and load Pillow on a busy machine."""
KEPT_VARIABLES = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR", "PYTHONHOME")
PIECE_BYTES = 65_536
LONGEST_ANSWER = 1024 * 1024


class ChildTimedOut(Exception):
    """The child took too long for a picture and was killed."""


class ChildCrashed(Exception):
    """The child ended while it checked a picture. `exit_code` is negative for a signal."""

    def __init__(self, exit_code: int | None) -> None:
        super().__init__(f"exit code {exit_code}")
        self.exit_code = exit_code


class ChildUnavailable(Exception):
    """No child could be started, or it ended before it opened the picture: the picture is not to blame."""


class CheckProcess:
    """One child. Only `close` may be called from several threads."""

    def __init__(self, *, memory_bytes: int, program: Sequence[str] = PROGRAM) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = subprocess.Popen(
                    [
                        *(sys.executable, "-P", *program),
                        *(str(theirs.fileno()), str(os.getpid()), str(memory_bytes)),
                    ],
                    env=environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                raise ChildUnavailable(str(error)) from error
        self._socket = ours
        self._read = bytearray()
        self.checked = 0
        """The number of pictures so far."""
        try:
            self._answer(START_SECONDS)
        except (ChildTimedOut, ChildCrashed) as error:
            raise ChildUnavailable(f"The process that checks pictures did not start ({error}).") from error

    @property
    def pid(self) -> int:
        return self._process.pid

    def check(self, fd: int, limits: CheckLimits, seconds: float) -> Mapping[str, Any]:
        """Return the child's answer about the open file `fd`.

        Raises `ChildTimedOut`, `ChildCrashed` or `ChildUnavailable`, after which the child is gone.
        """
        try:
            socket.send_fds(self._socket, [json.dumps(limits.as_dict()).encode() + b"\n"], [fd])
            self._answer(START_SECONDS)  # it has begun: from now on the picture is to blame
        except (OSError, ChildCrashed, ChildTimedOut) as error:
            self.close()
            raise ChildUnavailable(f"The process that checks pictures has gone ({error}).") from error
        self.checked += 1
        return self._answer(seconds)

    def thumbnail(self, seconds: float) -> Mapping[str, Any]:
        """Return the child's second answer about the picture that it has just accepted.

        Raises `ChildTimedOut` or `ChildCrashed`, after which the child is gone.
        """
        return self._answer(seconds)

    def close(self) -> None:
        """Kill the child and wait for its end. May be called from any thread, and twice."""
        with contextlib.suppress(OSError):
            self._process.kill()
        self._process.wait()
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _answer(self, seconds: float) -> Mapping[str, Any]:
        deadline = time.monotonic() + seconds
        try:
            while b"\n" not in self._read:
                self._wait_for_bytes(deadline)
                piece = self._socket.recv(PIECE_BYTES)
                if not piece or len(self._read) > LONGEST_ANSWER:
                    raise ChildCrashed(self._ended())
                self._read += piece
            line, _, rest = bytes(self._read).partition(b"\n")
            self._read = bytearray(rest)
            return json.loads(line)
        except (OSError, ValueError) as error:
            raise ChildCrashed(self._ended()) from error

    def _wait_for_bytes(self, deadline: float) -> None:
        """An answer that has arrived counts, even if this process slept beyond the deadline."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._socket, selectors.EVENT_READ)
            if not selector.select(max(0.0, deadline - time.monotonic())):
                self.close()
                raise ChildTimedOut

    def _ended(self) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1)
        self.close()
        return self._process.returncode


def environment() -> Mapping[str, str]:
    """The variables that a child needs to start. The worker's other variables hold secrets."""
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "MALLOC_ARENA_MAX": "2"}
