"""`batchgen`, started with SIGINT blocked: Ctrl-C is heard once it can be answered without a traceback."""

import runpy
import signal
import sys

INTERRUPTED = 130


def main() -> int:
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        runpy.run_module("batchgen", run_name="__main__")  # exits with the command's code
    except KeyboardInterrupt:
        return INTERRUPTED
    return 0


if __name__ == "__main__":
    sys.exit(main())
