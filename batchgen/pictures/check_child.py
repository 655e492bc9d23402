"""The process that opens untrusted pictures: `python -m batchgen.pictures.check_child SOCKET PARENT MEMORY_BYTES`.

It gets open files over its socket, one at a time, and answers with the result and then with the thumbnail. It has no
secrets in its environment, its memory is limited, and it ends with its parent. `batchgen.pictures.check_process` starts
it and kills it.
"""

import base64
import contextlib
import ctypes
import io
import json
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any

from batchgen.errors import StorageError
from batchgen.imaging.containers import FileDamaged, FileRefused
from batchgen.pictures.check_file import CheckLimits, CheckResult, check_file
from batchgen.pictures.thumbnail import thumbnail

LONGEST_MESSAGE = 65_536
MOST_WRITTEN_BYTES = 256 * 1024 * 1024
PR_SET_PDEATHSIG = 1

NOT_SENT = frozenset({"pixels", "profile"})
"""Fields of a result that only the thumbnail needs."""

Check = Callable[[io.FileIO, CheckLimits], CheckResult]


def main(check: Check = check_file) -> int:
    """Check pictures until the parent closes its end."""
    number, parent, memory_bytes = (int(word) for word in sys.argv[1:4])
    confine(parent, memory_bytes)
    with socket.socket(fileno=number) as parent_side:
        parent_side.sendall(b'{"ready": true}\n')
        while asked := _next(parent_side):
            limits, fd = asked
            parent_side.sendall(b'{"begun": true}\n')
            with io.FileIO(fd, "r+") as file:
                answer, result = answer_for(file, limits, check)
            _send(parent_side, answer)
            if "out_of_memory" in answer:  # the process may be damaged
                return 0
            if result is not None:
                # In a message of its own: the picture is kept whatever its thumbnail does to this process.
                _send(parent_side, thumbnail_for(result))
                del result
    return 0


def answer_for(
    file: io.FileIO, limits: CheckLimits, check: Check = check_file
) -> tuple[Mapping[str, Any], CheckResult | None]:
    """The answer to the parent about one picture, and the result if the picture is accepted."""
    try:
        result = check(file, limits)
    except FileRefused as error:
        return {"refused": str(error), "code": error.code}, None
    except FileDamaged as error:
        return {"damaged": str(error)}, None
    except StorageError as error:
        return {"no_room": str(error)}, None
    except (MemoryError, RecursionError):
        return {"out_of_memory": True}, None
    sent = {field.name: getattr(result, field.name) for field in fields(result) if field.name not in NOT_SENT}
    return {"picture": sent}, result


def thumbnail_for(result: CheckResult) -> Mapping[str, Any]:
    """The second answer about an accepted picture: its thumbnail, or why there is none."""
    if result.pixels is None:
        return {"no_thumbnail": "the picture was not decoded"}
    try:
        content = thumbnail(result.pixels, result.profile)
    except Exception as error:  # noqa: BLE001 - whatever it is, the picture was accepted
        return {"no_thumbnail": f"drawing it failed ({type(error).__name__})"}
    return {"thumbnail": base64.b64encode(content).decode()}


def confine(parent: int, memory_bytes: int) -> None:
    """Limit this process as far as the system supports it.

    It ignores signals of a terminal or a service manager: the parent handles them and may still need its pictures.
    """
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, MOST_WRITTEN_BYTES)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
        file.write("1000")  # if memory runs out, the system kills this process first
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)


def _send(parent_side: socket.socket, answer: Mapping[str, Any]) -> None:
    parent_side.sendall(json.dumps(answer).encode() + b"\n")


def _limit(kind: int, most: int) -> None:
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(kind)
        lowest = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (lowest, lowest))


def _next(parent_side: socket.socket) -> tuple[CheckLimits, int] | None:
    """The next picture's limits and file, or None if there are no more."""
    text, files = bytearray(), list[int]()
    while not text.endswith(b"\n"):
        piece, more, _, _ = socket.recv_fds(parent_side, LONGEST_MESSAGE, 1)
        files += more
        if not piece:
            return None
        text += piece
    return CheckLimits.of(json.loads(text)), files[0]


if __name__ == "__main__":
    sys.exit(main())
