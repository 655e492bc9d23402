"""Memory of a worker that fetches, checks and uploads 1,000 pictures of about 20 MB, 20 at once.

Measured in a separate process (`picture_pipeline`), against a server in another one (`picture_server`). Measured once,
whatever the number of runs: unlike speed, memory does not depend on the load of the machine.
"""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from benchmarks.bench import Bench, ReportProgress

AT_ONCE = 20
LONGEST_SECONDS = 900


async def measure(bench: Bench) -> None:
    count, first = bench.size(1000, 60), bench.size(100, 20)
    text = f"files: {count:,} pictures of about 20 MB, {AT_ONCE} at once"
    with bench.step(text) as progress, bench.measured() as load:
        arguments = ("--count", str(count), "--first", str(first), "--at-once", str(AT_ONCE))
        async with (
            pipeline_process("benchmarks.picture_pipeline", *arguments) as process,
            asyncio.timeout(LONGEST_SECONDS),
        ):
            found = await last_line(process, count, progress)
    noise = load.foreign_cores
    bench.results.add("files", "picture", "MB", found["megabytes"] / count, noise)
    bench.results.add("files", "pictures a second", "pictures/s", count / found["seconds"], noise)
    bench.results.add("files", "memory before", "MiB", found["before_mib"], noise)
    bench.results.add("files", f"peak after the first {first}", "MiB", found["first_peak_mib"], noise)
    bench.results.add("files", f"peak after all {count:,}", "MiB", found["peak_mib"], noise)
    bench.results.add("files", "the processes that check, together, at most", "MiB", found["check_mib"], noise)
    ratio = found["peak_mib"] / found["first_peak_mib"]
    # With the few pictures of a quick run, the peak has not settled yet.
    most = None if bench.is_quick else 1.1
    bench.goal(f"memory after {count:,} pictures over that after {first}", ratio, most, unit="times")


@asynccontextmanager
async def pipeline_process(module: str, *arguments: str) -> AsyncGenerator[asyncio.subprocess.Process]:
    """A module that prints lines of JSON about its progress, as a process."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", module, *arguments),
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # only this process handles Ctrl-C
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def last_line(process: asyncio.subprocess.Process, count: int, progress: ReportProgress) -> dict[str, float]:
    """The last line of the process; show the progress from the lines before it."""
    assert process.stdout  # noqa: S101
    line_values: dict[str, float] = {}
    async for line in process.stdout:
        line_values = json.loads(line)
        if "done" in line_values:
            progress(int(line_values["done"]), count, f"peak {line_values['peak_mib']:.0f} MiB")
    if await process.wait() or "seconds" not in line_values:
        raise RuntimeError(f"the process ended early (exit code {process.returncode})")
    return line_values
