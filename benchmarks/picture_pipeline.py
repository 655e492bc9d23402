"""The worker's way of pictures from a provider to Storage: `python -m benchmarks.picture_pipeline --count 50`.

Uses the worker's code: each picture is fetched over HTTP into a file, decoded and checked, and uploaded from that file,
several at once. This process and its checking processes do nothing else, so that their memory can be measured. Prints
a line of JSON every ten pictures and one at the end; memory in MiB.
"""

import argparse
import asyncio
import contextlib
import json
import resource
import sys
import time
import uuid
from collections.abc import Iterator

import psutil

from batchgen.backend.connection import connect, disconnect
from batchgen.pictures.check import Checker
from batchgen.pictures.check_process import PROGRAM
from batchgen.pictures.fetch import Fetcher
from batchgen.pictures.receive import Receiver
from batchgen.providers.base import RemoteImage
from batchgen.queue.picture_store import PictureStore
from batchgen.settings import Settings
from benchmarks.picture_server import picture_server

MEBIBYTE = 1024 * 1024
CHECK_PROGRAM = PROGRAM[-1]
USER = uuid.UUID(int=1)


class Pipeline:
    """Processes pictures by number, one after the other in each slot, and records this process's memory."""

    def __init__(self, base: str, receiver: Receiver, storage: PictureStore) -> None:
        self._base = base
        self._receiver = receiver
        self._storage = storage
        self.peaks: list[float] = []
        """Peak memory of this process so far, after each picture."""
        self.check_peaks: list[float] = []
        """Peak memory so far of all checking processes together, sampled after each picture."""

    async def take_all(self, count: int, at_once: int) -> None:
        numbers = iter(range(count))
        async with asyncio.TaskGroup() as slots:
            for _ in range(at_once):
                slots.create_task(self._slot(numbers))

    async def _slot(self, numbers: Iterator[int]) -> None:
        for number in numbers:
            picture = RemoteImage(f"{self._base}/{number}.png")
            async with self._receiver.receive(picture, local_server=self._base) as image:
                await self._storage.put(image, user_id=USER, generation_id=uuid.UUID(int=number))
            self.peaks.append(_peak_mib())
            self.check_peaks.append(max([_checks_mib(), *self.check_peaks[-1:]]))
            if len(self.peaks) % 10 == 0:
                _say(done=len(self.peaks), peak_mib=self.peaks[-1])


async def measure(count: int, first: int, at_once: int) -> dict[str, float]:
    """Process `count` pictures, `at_once` at a time; return the peaks after the `first` ones and after all."""
    async with picture_server() as base:
        client = await connect(Settings.model_validate({"supabase_url": base}), key="sb_secret_benchmark")
        receiver = Receiver(Fetcher(), Checker())
        pipeline = Pipeline(base, receiver, PictureStore(client, bucket="generated-images"))
        before, started = _resident_mib(), time.perf_counter()
        await pipeline.take_all(count, at_once)
        seconds = time.perf_counter() - started
        response = await client.options.httpx_client.get(f"{base}/taken")  # pyright: ignore
        await receiver.aclose()
        await disconnect(client)
    taken = response.json()
    if taken["whole"] != count:
        raise AssertionError(f"only {taken['whole']} of {count} pictures arrived at Storage unchanged")
    return {
        "pictures": count,
        "megabytes": taken["bytes"] / 1e6,
        "seconds": seconds,
        "before_mib": before,
        "first_peak_mib": pipeline.peaks[first - 1],
        "peak_mib": pipeline.peaks[-1],
        "check_mib": pipeline.check_peaks[-1],
    }


def _say(**values: float) -> None:
    print(json.dumps(values), flush=True)  # noqa: T201 - the bench reads it


def _peak_mib() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / MEBIBYTE


def _checks_mib() -> float:
    """Resident memory of the child processes that check pictures (the picture server is a child as well)."""
    total = 0.0
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            if CHECK_PROGRAM in " ".join(child.cmdline()):
                total += child.memory_info().rss / MEBIBYTE
    return total


def _resident_mib() -> float:
    return psutil.Process().memory_info().rss / MEBIBYTE


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.picture_pipeline", description=__doc__)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--first", type=int, default=20, help="number of pictures before the first peak is recorded")
    parser.add_argument("--at-once", type=int, default=20)
    given = parser.parse_args()
    _say(**asyncio.run(measure(given.count, min(given.first, given.count), given.at_once)))


if __name__ == "__main__":
    main()
