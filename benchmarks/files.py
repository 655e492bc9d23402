"""How much memory pictures take on their way from a provider to Storage: `python -m benchmarks.files --count 50`.

The pictures come from, and go to, a server in a process of its own; what is measured is the process that fetches,
checks and stores them, as a worker does, several at once.
"""

import argparse
import asyncio
import io
import json
import os
import resource
import sys
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from aiohttp import web
from PIL import Image

from batchgen.checking import Checker
from batchgen.connection import connect, disconnect
from batchgen.fetching import Fetcher
from batchgen.providers.base import RemoteImage
from batchgen.receiving import Receiver
from batchgen.settings import Settings
from batchgen.storage import ImageStorage

MEBIBYTE = 1024 * 1024


def noise(megabytes: float) -> bytes:
    """A PNG of about so many megabytes: noise does not compress."""
    side = int((megabytes * 1e6 / 3) ** 0.5)
    out = io.BytesIO()
    Image.frombytes("RGB", (side, side), os.urandom(3 * side * side)).save(out, "png", compress_level=1)
    return out.getvalue()


async def serve(megabytes: float) -> None:
    """Give one picture again and again, take uploads as Storage does, and tell how many bytes came."""
    content = noise(megabytes)
    stored = 0

    async def give(_: web.Request) -> web.Response:
        return web.Response(body=content, content_type="image/png")

    async def take(request: web.Request) -> web.Response:
        nonlocal stored
        async for piece in request.content.iter_chunked(MEBIBYTE):
            stored += len(piece)
        return web.json_response({"Key": "a/b", "Id": str(uuid.uuid4())})

    async def tell(_: web.Request) -> web.Response:
        return web.json_response({"stored": stored, "picture": len(content)})

    app = web.Application()
    app.add_routes([web.get("/picture.png", give), web.get("/stored", tell)])
    app.add_routes([web.post("/storage/v1/object/{path:.*}", take)])
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(runner.addresses[0][1], flush=True)  # noqa: T201 - the parent reads it
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await runner.cleanup()


@asynccontextmanager
async def server(megabytes: float) -> AsyncGenerator[str]:
    """The server's base URL, for as long as the block lasts."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.files", "--serve", "--megabytes", str(megabytes)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert process.stdin  # noqa: S101
    assert process.stdout  # noqa: S101
    try:
        yield f"http://127.0.0.1:{int(await process.stdout.readline())}"
    finally:
        process.stdin.close()
        await process.wait()


async def measure(count: int, megabytes: float, at_once: int) -> dict[str, float]:
    """Take `count` pictures from the provider to Storage, `at_once` at a time; seconds, and memory in MiB."""
    async with server(megabytes) as base:
        settings = Settings.model_validate({"supabase_url": base})
        client = await connect(settings, key="sb_secret_benchmark")
        receiver = Receiver(Fetcher(), Checker())
        storage = ImageStorage(client, bucket="generated-images")
        before, peaks, room = _resident_mib(), list[float](), asyncio.Semaphore(at_once)

        async def one() -> None:
            async with room:
                async with receiver.received(RemoteImage(f"{base}/picture.png"), local_server=base) as image:
                    await storage.put(image, user_id=uuid.uuid4(), generation_id=uuid.uuid4())
                peaks.append(_peak_mib())

        started = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(count)))
        seconds = time.perf_counter() - started
        told = await client.options.httpx_client.get(f"{base}/stored")  # pyright: ignore
        await receiver.aclose()
        await disconnect(client)
    answer = told.json()
    if answer["stored"] < count * answer["picture"]:
        raise AssertionError("not all of the pictures came to Storage")
    return {
        "pictures": count,
        "picture_mib": round(answer["picture"] / MEBIBYTE, 1),
        "at_once": at_once,
        "seconds": round(seconds, 1),
        "before_mib": round(before),
        "peak_after_first_tenth_mib": round(peaks[max(at_once, count // 10) - 1]),
        "peak_mib": round(peaks[-1]),
    }


def _peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _resident_mib() -> float:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / MEBIBYTE


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.files", description=__doc__)
    parser.add_argument("--count", type=int, default=50)
    parser.add_argument("--megabytes", type=float, default=20)
    parser.add_argument("--at-once", type=int, default=20)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve(given.megabytes))
    else:
        print(json.dumps(asyncio.run(measure(given.count, given.megabytes, min(given.at_once, given.count)))))  # noqa: T201


if __name__ == "__main__":
    main()
