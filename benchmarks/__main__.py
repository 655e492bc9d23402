"""`python -m benchmarks`: run the subjects, print tables, write the results."""

import argparse
import asyncio
import shutil
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from batchgen.exit_codes import DONE, INTERRUPTED, WORK_FAILED
from benchmarks import (
    claim,
    commands,
    details,
    drain,
    efficiency,
    export,
    files,
    latency,
    live,
    report,
    rest,
    results,
    submit,
)
from benchmarks.bench import Bench
from benchmarks.cluster import Cluster, running_cluster
from benchmarks.live_stack import LiveStack, running_stack
from benchmarks.machine import ROOT, machine_facts

IN_SQL: dict[str, Callable[[Bench, Cluster], Awaitable[None]]] = {
    "drain": drain.measure,
    "claim": claim.measure,
    "details": details.measure,
}
THROUGH_REST: dict[str, Callable[[Bench, LiveStack], Awaitable[None]]] = {
    "rest": rest.measure,
    "latency": latency.measure,
    "efficiency": efficiency.measure,
    "submit": submit.measure,
    "live": live.measure,
}
ALONE: dict[str, Callable[[Bench], Awaitable[None]]] = {
    "files": files.measure,
    "export": export.measure,
    "commands": commands.measure,
}
SUBJECTS = (*IN_SQL, *THROUGH_REST, *ALONE)


def main(argv: Sequence[str] | None = None) -> int:
    options = _parse(argv)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # take everything down, as for Ctrl-C
    console = Console(highlight=False, soft_wrap=True)
    folder = Path(tempfile.mkdtemp(prefix="batchgen-bench-"))
    folder.chmod(0o711)  # Postgres may run as another user
    bench = Bench(folder, options.runs, options.quick, options.quiet_seconds, console)
    try:
        facts = asyncio.run(_measure(bench, options.only))
    except KeyboardInterrupt:
        console.print("Stopped; nothing was written.")
        return INTERRUPTED
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report.show(console, bench.results)
    file = options.out or _new_file(quick=options.quick)
    results.write(file, bench.results, facts)
    console.print(f"Written to {file}", markup=False)
    return WORK_FAILED if bench.failed else DONE


async def _measure(bench: Bench, subjects: Sequence[str]) -> dict[str, Any]:
    facts = {**machine_facts(), "quick": bench.is_quick, "runs": bench.runs, "subjects": list(subjects)}
    in_sql = [name for name in IN_SQL if name in subjects]
    through_rest = [name for name in THROUGH_REST if name in subjects]
    if in_sql:
        async with running_cluster(bench.folder / "postgres") as cluster:
            facts["postgres"] = await cluster.facts()
            for name in in_sql:
                await _attempt(bench, name, IN_SQL[name](bench, cluster))
    if through_rest:
        bench.say("starting the dev stack")
        async with running_stack(bench.folder / "stack") as stack:
            for name in through_rest:
                await _attempt(bench, name, THROUGH_REST[name](bench, stack))
    for name in [name for name in ALONE if name in subjects]:
        await _attempt(bench, name, ALONE[name](bench))
    return facts


async def _attempt(bench: Bench, name: str, measuring: Awaitable[None]) -> None:
    """Measure one subject; a failure does not stop the others."""
    try:
        await measuring
    except Exception as error:  # noqa: BLE001 - no error may discard half an hour of other figures
        bench.failed.append(name)
        bench.note(f"{name} could not be measured: {type(error).__name__}: {error}")


def _new_file(*, quick: bool) -> Path:
    """A new file for the results; those of quick runs prove nothing and go to another folder."""
    folder = ROOT / (".batchgen/bench" if quick else "benchmarks/results")
    day = datetime.now(UTC).date().isoformat()
    names = [f"{day}.json", *(f"{day}-{number}.json" for number in range(2, 1000))]
    return next(folder / name for name in names if not (folder / name).exists())


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure batchgen beside other queues.")
    parser.add_argument("--only", type=_subjects, default=SUBJECTS, metavar="A,B", help=f"of {', '.join(SUBJECTS)}")
    parser.add_argument("--quick", action="store_true", help="small sizes, under three minutes, as a smoke test")
    parser.add_argument("--runs", type=int, help="number of runs for each figure (default: 3; quick: 1)")
    parser.add_argument("--quiet-seconds", type=float, help="longest wait for a quiet machine (default: 30; quick: 0)")
    parser.add_argument("--out", type=Path, help="JSON file for the results (default: benchmarks/results/<date>.json)")
    options = parser.parse_args(argv)
    options.runs = options.runs or (1 if options.quick else 3)
    if options.quiet_seconds is None:
        options.quiet_seconds = 0.0 if options.quick else 30.0
    return options


def _subjects(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    if unknown := [name for name in names if name not in SUBJECTS]:
        raise argparse.ArgumentTypeError(f"unknown subject: {', '.join(unknown)}")
    return names


if __name__ == "__main__":
    sys.exit(main())
