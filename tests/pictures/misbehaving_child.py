"""A process that checks pictures, and does with some of them what hostile pictures might make it do.

A picture's first bytes say what: `hang`, `crash`, `eat`, `grow`, `leave`, `environment`. All others are judged.
"""

import io
import os
import signal
import sys
from itertools import repeat

from batchgen.pictures.check_child import main
from batchgen.pictures.check_file import CheckLimits, Judgement, judged

JUDGED = [0]


def misbehaving(file: io.FileIO, limits: CheckLimits) -> Judgement:
    file.seek(0)
    word = file.read(32).partition(b" ")[0]
    JUDGED[0] += 1
    match word:
        case b"hang":
            for _ in repeat(None):
                pass
        case b"crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        case b"once" if JUDGED[0] > 1:
            os.kill(os.getpid(), signal.SIGKILL)
        case b"eat":
            return told(str(len([bytearray(1 << 20) for _ in range(1 << 20)])))
        case b"environment":
            return told(" ".join(sorted(os.environ)))
        case b"pid" | b"once":
            return told(str(os.getpid()))
        case _:
            pass
    return judged(file, limits)


def told(text: str) -> Judgement:
    """Something that the parent can read."""
    return Judgement("png", 1, 1, 1, text, is_black=False)


if __name__ == "__main__":
    sys.exit(main(misbehaving))
