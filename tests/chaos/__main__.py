"""`python -m tests.chaos --seconds 600 --batches 200 --workers 3 --seed 7`; exits with 1 if a promise was broken."""

import argparse
import asyncio
import secrets
import signal
import sys
from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tests.chaos.checks import CheckReport
from tests.chaos.run import Options, run

console = Console(soft_wrap=True, highlight=False)


def main() -> int:
    options = _parse()
    _say(f"seed {options.seed}")
    try:
        report = asyncio.run(_until_signalled(options))
    except (asyncio.CancelledError, KeyboardInterrupt):
        _say("stopped before the end")
        return 2
    _show(report.figures)
    for violation in report.violations:
        _say(f"✗ {violation}")
    for line in report.details:
        _say(f"    {line}")
    if report.violations:
        _say(f"{len(report.violations)} promises broken. Again: {_again(options)}")
        return 1
    _say(f"✓ every promise was kept (seed {options.seed})")
    return 0


async def _until_signalled(options: Options) -> CheckReport:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await run(options, _say)


def _parse() -> Options:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seconds", type=float, default=600, help="time in which faults are injected")
    parser.add_argument("--batches", type=int, default=200)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--users", type=int, default=25)
    parser.add_argument("--seed", type=int, default=None, help="seed of the faults; default: a new one")
    parser.add_argument("--keys", choices=("chain", "attempt", "none"), default="chain", help="see chaos_provider.py")
    parser.add_argument(
        "--quiet-seconds", type=float, default=180, help="time for everything to end after the last fault"
    )
    given = parser.parse_args()
    return Options(
        seed=secrets.randbelow(1_000_000) if given.seed is None else given.seed,
        seconds=given.seconds,
        batches=given.batches,
        workers=given.workers,
        users=given.users,
        keys=given.keys,
        quiet_seconds=given.quiet_seconds,
    )


def _again(options: Options) -> str:
    return (
        f"python -m tests.chaos --seed {options.seed} --seconds {options.seconds:g} --batches {options.batches}"
        f" --workers {options.workers} --users {options.users} --keys {options.keys}"
    )


def _show(figures: Mapping[str, Mapping[str, object]]) -> None:
    table = Table("", "figure", "value")
    for group, rows in figures.items():
        for number, (name, value) in enumerate(rows.items()):
            table.add_row("" if number else group, escape(name), str(value), end_section=number == len(rows) - 1)
    console.print(table)


def _say(text: str) -> None:
    console.print(escape(text))


if __name__ == "__main__":
    sys.exit(main())
