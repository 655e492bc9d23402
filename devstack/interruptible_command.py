"""Run `batchgen`, started with SIGINT blocked: Ctrl-C is handled once it cannot cause a traceback."""

import runpy
import signal
import sys

from batchgen.exit_codes import INTERRUPTED


def main() -> int:
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        runpy.run_module("batchgen", run_name="__main__")  # exits with the command's code
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
