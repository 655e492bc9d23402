"""Start-up cost of `batchgen`: CPU time of a process that shows help or refuses wrong usage."""

import resource
import subprocess
import sys
from statistics import median

from benchmarks.bench import Bench

MOST_CPU_SECONDS = 0.35
COMMANDS = (
    ("--version",),
    ("--help",),
    ("submit", "--help"),
    ("list", "--limit", "many"),
    ("show", "no-id"),
    ("submit",),
    ("worker", "--help"),
)


async def measure(bench: Bench) -> None:
    found: list[float] = []
    for command in COMMANDS:
        with bench.step(f"commands: batchgen {' '.join(command)}"), bench.measured() as load:
            seconds = median([_cpu_seconds(command) for _ in range(bench.size(9, 3))])
        bench.results.add("commands", f"batchgen {' '.join(command)}", "CPU s", seconds, load.foreign_cores)
        found.append(seconds)
    bench.goal("commands: CPU of help and of wrong usage", max(found), MOST_CPU_SECONDS, unit="s")


def _cpu_seconds(arguments: tuple[str, ...]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "batchgen", *arguments], capture_output=True, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
