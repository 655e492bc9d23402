"""`python -m tests.money --seed 7 --items 200 --kills 40 --provider fal`; exits with 1 if a promise was broken."""

import argparse
import asyncio
import logging
import secrets
import shutil
import signal
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

import structlog
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from devstack import Stack, StackConfig
from tests.money.ledger_checks import CheckReport
from tests.money.provider_setups import PROVIDER_SETUPS
from tests.money.run import Options, run

console = Console(soft_wrap=True, highlight=False)


def main() -> int:
    given = _parse()
    seed = secrets.randbelow(1_000_000) if given.seed is None else given.seed
    _say(f"seed {seed}")
    options = [Options(provider, seed, given.items, given.kills, given.quiet_seconds) for provider in given.provider]
    try:
        reports = asyncio.run(_until_signalled(options))
    except (asyncio.CancelledError, KeyboardInterrupt):
        _say("stopped before the end")
        return 2
    for provider, report in reports.items():
        _show(provider, report)
    if any(report.violations for report in reports.values()):
        _say(f"Again: python -m tests.money --seed {seed} --items {given.items} --kills {given.kills}")
        return 1
    _say(f"✓ nothing was ordered twice, and the ledgers agree (seed {seed})")
    return 0


async def _until_signalled(options: list[Options]) -> Mapping[str, CheckReport]:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await _run_all(options)


async def _run_all(options: list[Options]) -> Mapping[str, CheckReport]:
    """Test each provider in turn on one dev stack. Keep the folder with all logs if a promise was broken."""
    folder = _new_folder()
    logging.basicConfig(filename=folder / "stack.log", format="%(asctime)s %(name)s %(message)s", force=True)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    reports: dict[str, CheckReport] = {}
    try:
        async with Stack(StackConfig(data_dir=folder / "stack", port=0, durable=False)) as info:
            for one in options:
                _say(f"• {one.provider}")
                logs = folder / one.provider
                logs.mkdir()
                reports[one.provider] = await run(one, info, logs, lambda text: _say(f"  {text}"))
    finally:
        if len(reports) == len(options) and not any(report.violations for report in reports.values()):
            shutil.rmtree(folder, ignore_errors=True)
        else:
            _say(f"logs and data: {folder}")
    return reports


def _new_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="batchgen-money-"))
    folder.chmod(0o711)  # Postgres may run as another user
    return folder


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.money", description=__doc__)
    parser.add_argument(
        "--provider", choices=list(PROVIDER_SETUPS), action="append", help="default: all, one after the other"
    )
    parser.add_argument("--seed", type=int, default=None, help="seed of the faults; default: a new one")
    parser.add_argument("--items", type=int, default=200, help="for each provider")
    parser.add_argument("--kills", type=int, default=30, help="kills of workers, for each provider")
    parser.add_argument(
        "--quiet-seconds", type=float, default=120, help="time for everything to end after the last fault"
    )
    given = parser.parse_args()
    given.provider = given.provider or list(PROVIDER_SETUPS)
    return given


def _show(provider: str, report: CheckReport) -> None:
    table = Table(provider, "figure", "value")
    for group, rows in report.figures.items():
        for number, (name, value) in enumerate(rows.items()):
            table.add_row("" if number else group, escape(name), str(value), end_section=number == len(rows) - 1)
    console.print(table)
    for violation in report.violations:
        _say(f"✗ {violation}")
    for line in report.details:
        _say(f"    {line}")


def _say(text: str) -> None:
    console.print(escape(text))


if __name__ == "__main__":
    sys.exit(main())
