"""Memory of an export of 1,000 pictures of about 20 MB to a stream.

Measured in a separate process (`export_pipeline`), against a server in another one (`picture_server`). Measured once,
whatever the number of runs: unlike speed, memory does not depend on the load of the machine.
"""

import asyncio

from benchmarks.bench import Bench
from benchmarks.files import last_line, pipeline_process

LONGEST_SECONDS = 1800


async def measure(bench: Bench) -> None:
    count, first = bench.size(1000, 60), bench.size(100, 20)
    arguments = ("benchmarks.export_pipeline", "--count", str(count), "--first", str(first))
    with bench.step(f"export: {count:,} pictures of about 20 MB") as progress, bench.measured() as load:
        async with pipeline_process(*arguments) as process, asyncio.timeout(LONGEST_SECONDS):
            found = await last_line(process, count, progress)
    noise = load.foreign_cores
    bench.results.add("export", "ZIP file", "MB", found["megabytes"], noise)
    bench.results.add("export", "pictures a second", "pictures/s", count / found["seconds"], noise)
    bench.results.add("export", "memory before", "MiB", found["before_mib"], noise)
    bench.results.add("export", f"peak after the first {first}", "MiB", found["first_peak_mib"], noise)
    bench.results.add("export", f"peak after all {count:,}", "MiB", found["peak_mib"], noise)
    ratio = found["peak_mib"] / found["first_peak_mib"]
    most = None if bench.is_quick else 1.1
    bench.goal(f"memory after {count:,} exported pictures over that after {first}", ratio, most, unit="times")
