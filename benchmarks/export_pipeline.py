"""An export of many large pictures to a stream: `python -m benchmarks.export_pipeline --count 50`.

Uses the library's code: pictures are downloaded from Storage into temporary files and written into one ZIP, which is
discarded. This process does nothing else, so that its memory can be measured. Prints a line of JSON every ten pictures
and one at the end; memory in MiB.
"""

import argparse
import asyncio
import json
import resource
import sys
import time
import uuid

from batchgen.backend.bucket import ImageStorage
from batchgen.backend.connection import connect, disconnect
from batchgen.exports.build import ExportBuilder, ExportProgress
from batchgen.exports.types import ExportBatch, ExportItem, ExportPicture
from batchgen.settings import Settings
from benchmarks.picture_server import picture_server

MEBIBYTE = 1024 * 1024
ITEMS_PER_BATCH = 10


class Discarded:
    """A stream that is not seekable, as a pipe."""

    def __init__(self) -> None:
        self.bytes = 0

    def write(self, data: bytes) -> int:
        self.bytes += len(data)
        return len(data)

    def flush(self) -> None: ...


def batches(count: int) -> list[ExportBatch]:
    """Batches of ten items with a picture each."""
    return [
        ExportBatch(
            id=uuid.uuid4(),
            status="completed",
            items=tuple(_item(number) for number in range(start, min(start + ITEMS_PER_BATCH, count))),
        )
        for start in range(0, count, ITEMS_PER_BATCH)
    ]


def _item(number: int) -> ExportItem:
    picture = ExportPicture(id=uuid.uuid4(), storage_path=f"{number}.png", format="png")
    return ExportItem(
        id=uuid.uuid4(), index=number % ITEMS_PER_BATCH, status="completed", prompt=f"fox {number}", pictures=(picture,)
    )


async def measure(count: int, first: int) -> dict[str, float]:
    """Export `count` pictures; return the peaks after the `first` ones and after all."""
    peaks: list[float] = []

    def note(progress: ExportProgress) -> None:
        peaks.append(_peak_mib())
        if progress.done % 10 == 0:
            print(json.dumps({"done": progress.done, "peak_mib": peaks[-1]}), flush=True)  # noqa: T201

    async with picture_server() as base:
        client = await connect(Settings.model_validate({"supabase_url": base}), key="sb_secret_benchmark")
        storage, out, before = ImageStorage(client, bucket="generated-images"), Discarded(), _peak_mib()
        started = time.perf_counter()
        summary = await ExportBuilder(batches(count), storage.get_pieces, on_progress=note).write(out)
        seconds = time.perf_counter() - started
        await disconnect(client)
    if summary.pictures != count or summary.missing:
        raise AssertionError(f"only {summary.pictures} of {count} pictures were exported")
    return {
        "megabytes": out.bytes / 1e6,
        "seconds": seconds,
        "before_mib": before,
        "first_peak_mib": peaks[first - 1],
        "peak_mib": peaks[-1],
    }


def _peak_mib() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEBIBYTE


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.export_pipeline", description=__doc__)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--first", type=int, default=20)
    options = parser.parse_args()
    found = asyncio.run(measure(options.count, options.first))
    print(json.dumps(found), flush=True)  # noqa: T201 - the bench reads it


if __name__ == "__main__":
    main()
