"""Memory of a worker's way of pictures: 1,000 of about 20 MB, 20 at once, fetched, checked and sent on.

Measured in a process of its own (`picture_way`), against a server in another one (`picture_server`). Taken once,
whatever the number of runs: memory, unlike speed, does not vary with what others do on the machine.
"""

import asyncio
import json
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from benchmarks.bench import Bench, Progress

AT_ONCE = 20
LONGEST_SECONDS = 900


async def measure(bench: Bench) -> None:
    count, first = bench.size(1000, 60), bench.size(100, 20)
    text = f"files: {count:,} pictures of about 20 MB, {AT_ONCE} at once"
    with bench.step(text) as progress, bench.measured() as load:
        async with _taking(count, first) as way, asyncio.timeout(LONGEST_SECONDS):
            found = await _followed(way, count, progress)
    noise = load.foreign_cores
    bench.results.add("files", "picture", "MB", found["megabytes"] / count, noise)
    bench.results.add("files", "pictures a second", "pictures/s", count / found["seconds"], noise)
    bench.results.add("files", "memory before", "MiB", found["before_mib"], noise)
    bench.results.add("files", f"peak after the first {first}", "MiB", found["first_peak_mib"], noise)
    bench.results.add("files", f"peak after all {count:,}", "MiB", found["peak_mib"], noise)
    bench.results.add("files", "the processes that check, together, at most", "MiB", found["check_mib"], noise)
    ratio = found["peak_mib"] / found["first_peak_mib"]
    # The peak of the few of a quick look has not settled yet.
    most = None if bench.is_quick else 1.1
    bench.goal(f"memory after {count:,} pictures over that after {first}", ratio, most, unit="times")


@asynccontextmanager
async def _taking(count: int, first: int) -> AsyncGenerator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.picture_way"),
        *("--count", str(count), "--first", str(first), "--at-once", str(AT_ONCE)),
        stdout=asyncio.subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is ours to hear
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _followed(way: asyncio.subprocess.Process, count: int, progress: Progress) -> dict[str, float]:
    """What it says last; what it says before that is how far it is."""
    assert way.stdout  # noqa: S101
    said: dict[str, float] = {}
    async for line in way.stdout:
        said = json.loads(line)
        if "done" in said:
            progress(int(said["done"]), count, f"peak {said['peak_mib']:.0f} MiB")
    if await way.wait() or "seconds" not in said:
        raise RuntimeError(f"it ended early (exit code {way.returncode})")
    return said
