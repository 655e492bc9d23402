"""A server of pictures and a Storage that serves them and discards uploads: `python -m benchmarks.picture_server`.

All pictures differ. Each upload is compared with the picture served, by its checksum. Prints its port and ends when
stdin closes.
"""

import asyncio
import os
import random
import struct
import sys
import uuid
import zlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from aiohttp import StreamReader, web

WIDTH = 2581
LEAST_ROWS, MOST_ROWS = 2400, 2760
"""Pictures between 18.6 and 21.4 MB, since noise does not compress."""
SIGNATURE = b"\x89PNG\r\n\x1a\n"
ROW_BYTES = 1 + 3 * WIDTH
PIECE_BYTES = 1 << 20


class Pictures:
    """PNGs of noise with a random number of rows, taken from a pool except for one new row."""

    def __init__(self) -> None:
        self._pool = b"".join(b"\0" + os.urandom(ROW_BYTES - 1) for _ in range(2 * MOST_ROWS))
        self._random = random.Random(20)  # noqa: S311 - the same sizes in every run

    def next(self) -> bytes:
        rows = self._random.randint(LEAST_ROWS, MOST_ROWS)
        start = self._random.randrange(2 * MOST_ROWS - rows) * ROW_BYTES
        fresh = b"\0" + os.urandom(ROW_BYTES - 1)
        pixels = zlib.compress(fresh + self._pool[start : start + (rows - 1) * ROW_BYTES], 0)
        head = struct.pack(">IIBBBBB", WIDTH, rows, 8, 2, 0, 0, 0)
        return b"".join((SIGNATURE, *_block(b"IHDR", head), *_block(b"IDAT", pixels), *_block(b"IEND", b"")))


class PictureServer:
    def __init__(self) -> None:
        self._pictures = Pictures()
        self._given: dict[int, tuple[int, int]] = {}
        self._bytes = self._whole = 0

    async def serve_picture(self, request: web.Request) -> web.Response:
        content = await asyncio.to_thread(self._pictures.next)
        self._given[int(request.match_info["number"])] = (len(content), zlib.crc32(content))
        return web.Response(body=content, content_type="image/png")

    async def accept_upload(self, request: web.Request) -> web.Response:
        """Accept an upload like Storage; the item's id is the number of the picture."""
        size, checksum = self._given.pop(uuid.UUID(request.match_info["id"]).int)
        try:
            is_whole = await _checksum(request.content, size) == checksum
        except ConnectionError:  # the sender was stopped
            raise web.HTTPBadRequest from None
        self._whole += is_whole
        self._bytes += size
        return web.json_response({"Key": "a/b", "Id": str(uuid.uuid4())})

    async def totals(self, _: web.Request) -> web.Response:
        return web.json_response({"bytes": self._bytes, "whole": self._whole})

    async def serve(self) -> None:
        app = web.Application()
        app.add_routes([web.get("/{number:\\d+}.png", self.serve_picture), web.get("/taken", self.totals)])
        app.add_routes([web.get("/storage/v1/object/{bucket}/{number:\\d+}.png", self.serve_picture)])
        app.add_routes([web.post("/storage/v1/object/{bucket}/{user}/{id}.png", self.accept_upload)])
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        print(runner.addresses[0][1], flush=True)  # noqa: T201 - the parent reads it
        await asyncio.to_thread(sys.stdin.read)
        await runner.cleanup()


async def _checksum(body: StreamReader, size: int) -> int:
    """The checksum of the picture in a form: `size` bytes from the PNG signature on. Reads the whole body."""
    await body.readuntil(SIGNATURE)
    checksum, left = zlib.crc32(SIGNATURE), size - len(SIGNATURE)
    while left and (piece := await body.read(min(left, PIECE_BYTES))):
        checksum, left = zlib.crc32(piece, checksum), left - len(piece)
    await body.read()
    return checksum


def _block(kind: bytes, content: bytes) -> tuple[bytes, bytes, bytes, bytes]:
    return struct.pack(">I", len(content)), kind, content, struct.pack(">I", zlib.crc32(content, zlib.crc32(kind)))


@asynccontextmanager
async def picture_server() -> AsyncGenerator[str]:
    """Run the server during the block; yield its base URL."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.picture_server"),
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


if __name__ == "__main__":
    asyncio.run(PictureServer().serve())
