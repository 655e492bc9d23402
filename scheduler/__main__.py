"""Parse the arguments of `batchgen worker`; `scheduler.wiring` does the work."""

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scheduler.options import Options

if TYPE_CHECKING:
    from scheduler.wiring import ProviderMaker


def main(argv: list[str] | None = None, provider_for: "ProviderMaker | None" = None) -> int:
    """Run the worker and return its exit code: 0 done, 1 work failed, 2 wrong settings, 3 no backend.

    `provider_for` makes one provider for all models; without it each model has its own.
    """
    options = _parse(sys.argv[1:] if argv is None else argv)
    from scheduler.wiring import work  # only now: --help and wrong usage must not wait for the worker's libraries

    return work(options, provider_for)


def _parse(argv: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(prog="batchgen worker", description="Run waiting items until SIGTERM.")
    parser.add_argument(
        "--once", action="store_true", help="end when nothing is due soon; exit with 1 if an item failed for good"
    )
    parser.add_argument(
        "--max-seconds", type=_seconds, metavar="N", help="with --once: claim nothing more after N seconds, and end"
    )
    parser.add_argument("--env-file", type=_file, metavar="FILE", help="read settings from FILE instead of .env")
    given = parser.parse_args(argv)
    if given.max_seconds is not None and not given.once:
        parser.error("--max-seconds needs --once")
    return Options(once=given.once, max_seconds=given.max_seconds, env_file=given.env_file)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= 86_400:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a number above 0 and at most 86400; give seconds, such as 55"
        )
    return seconds


def _file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise argparse.ArgumentTypeError(f"{text} is not a file")
    return path


if __name__ == "__main__":
    sys.exit(main())
