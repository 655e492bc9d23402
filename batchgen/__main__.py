"""The command `batchgen` and `python -m batchgen`. Ctrl-C is handled from the first import on."""

import sys

from batchgen.exit_codes import INTERRUPTED


def main() -> int:
    """Run the command line and return its exit code."""
    try:
        from batchgen.cli.app import main as run

        return run()
    except KeyboardInterrupt:
        return INTERRUPTED


if __name__ == "__main__":
    sys.exit(main())
