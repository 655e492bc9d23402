"""`make readme`: runs every command of README.md, in order, on a machine with nothing installed."""

import sys
import tempfile
from pathlib import Path

from tests.readme.machine import ReadmeError, fresh_machine


def main() -> int:
    with tempfile.TemporaryDirectory(prefix="batchgen-readme-") as name:
        Path(name).chmod(0o711)  # Postgres may run as another user
        try:
            ran = fresh_machine(Path(name), lambda line: print(line, flush=True)).run_commands()  # noqa: T201
        except ReadmeError as error:
            print(error, file=sys.stderr)  # noqa: T201
            return 1
    print(f"{len(ran)} commands of README.md do what it says.")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
