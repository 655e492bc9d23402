"""The process that opens foreign pictures: `python -m batchgen.pictures.check_child SOCKET PARENT MEMORY_BYTES`.

It knows nothing but the files that it is handed, one at a time, over its socket. It has no secrets in its environment,
its memory is limited, and it ends with its parent. `batchgen.pictures.check_process` starts it and kills it.
"""

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
from dataclasses import asdict
from typing import Any

from batchgen.errors import StorageError
from batchgen.imaging.containers import NotAPicture, Truncated
from batchgen.pictures.check_file import CheckLimits, Judgement, judged

LONGEST_MESSAGE = 65_536
MOST_WRITTEN_BYTES = 256 * 1024 * 1024
PR_SET_PDEATHSIG = 1

Judge = Callable[[io.FileIO, CheckLimits], Judgement]


def main(judge: Judge = judged) -> int:
    """Judge pictures until the parent closes its end."""
    number, parent, memory_bytes = (int(word) for word in sys.argv[1:4])
    confine(parent, memory_bytes)
    with socket.socket(fileno=number) as parent_side:
        parent_side.sendall(b'{"ready": true}\n')
        while asked := _next(parent_side):
            limits, fd = asked
            parent_side.sendall(b'{"begun": true}\n')
            with io.FileIO(fd, "r+") as file:
                answer = answer_for(file, limits, judge)
            parent_side.sendall(json.dumps(answer).encode() + b"\n")
            if "out_of_memory" in answer:  # what is left of it is in pieces
                return 0
    return 0


def answer_for(file: io.FileIO, limits: CheckLimits, judge: Judge = judged) -> Mapping[str, Any]:
    """What the parent is told of a picture."""
    try:
        return {"picture": asdict(judge(file, limits))}
    except NotAPicture as error:
        return {"refused": str(error), "code": error.code}
    except Truncated as error:
        return {"damaged": str(error)}
    except StorageError as error:
        return {"no_room": str(error)}
    except (MemoryError, RecursionError):
        return {"out_of_memory": True}


def confine(parent: int, memory_bytes: int) -> None:
    """Limits of this process, as far as the system knows them. Signals of a terminal or a service manager are the
    parent's to answer: it may still want its pictures.
    """
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, signal.SIG_IGN)
    _limit(resource.RLIMIT_AS, memory_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    _limit(resource.RLIMIT_FSIZE, MOST_WRITTEN_BYTES)
    with contextlib.suppress(OSError), open("/proc/self/oom_score_adj", "w") as file:  # noqa: PTH123
        file.write("1000")  # where memory runs out, this process is the one to go
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(0)


def _limit(kind: int, most: int) -> None:
    with contextlib.suppress(OSError, ValueError):
        _, hard = resource.getrlimit(kind)
        lowest = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (lowest, lowest))


def _next(parent_side: socket.socket) -> tuple[CheckLimits, int] | None:
    """The next picture's limits and file; None when there are no more."""
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
