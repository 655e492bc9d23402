"""A process that checks pictures and misbehaves on some, as a hostile picture might make it.

A picture's first bytes say how: `hang`, `crash`, `once`, `eat`, `environment`, `pid`; `later-hang` and `later-crash`
misbehave only when their thumbnail is drawn. All others are checked.
"""

import io
import os
import signal
import sys
from dataclasses import replace
from itertools import repeat

from PIL import Image

from batchgen.pictures.check_child import main
from batchgen.pictures.check_file import CheckLimits, CheckResult, check_file

CHECKED = [0]


def misbehaving(file: io.FileIO, limits: CheckLimits) -> CheckResult:
    file.seek(0)
    word = file.read(32).partition(b" ")[0]
    CHECKED[0] += 1
    match word:
        case b"hang":
            for _ in repeat(None):
                pass
        case b"crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case b"once" if CHECKED[0] > 1:
            os.kill(os.getpid(), signal.SIGKILL)
        case b"eat":
            return result_with(str(len([bytearray(1 << 20) for _ in range(1 << 20)])))
        case b"environment":
            return result_with(" ".join(sorted(os.environ)))
        case b"pid" | b"once":
            return result_with(str(os.getpid()))
        case b"later-hang" | b"later-crash" | b"later-fail":
            return replace(result_with(""), pixels=Misbehaving(word))
        case _:
            pass
    return check_file(file, limits)


class Misbehaving(Image.Image):
    """A picture that cannot be made smaller."""

    def __init__(self, word: bytes) -> None:
        super().__init__()
        self._word = word

    @property
    def mode(self) -> str:
        match self._word:
            case b"later-hang":
                for _ in repeat(None):
                    pass
            case b"later-crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case _:
                raise MemoryError
        return "RGB"


def result_with(text: str) -> CheckResult:
    """A result with a text that the parent can read."""
    return CheckResult("png", 1, 1, 1, text, is_black=False)


if __name__ == "__main__":
    sys.exit(main(misbehaving))
