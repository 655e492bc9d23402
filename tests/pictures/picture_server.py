"""A picture server that may be hostile: it sends raw bytes, including what no HTTP library would send."""

import asyncio
import ssl
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import cast

import httpcore

PUBLIC_ADDRESS = "93.184.215.14"
PRIVATE_ADDRESS = "10.0.0.7"

Answer = Callable[[asyncio.StreamWriter], Awaitable[None]]


@dataclass(frozen=True)
class Seen:
    """A received request."""

    path: str
    headers: Mapping[str, str]


@dataclass
class PictureServer:
    """Answers each path as the test says; `seen` holds the requests."""

    port: int = 0
    answers: dict[str, Answer] = field(default_factory=dict[str, Answer])
    seen: list[Seen] = field(default_factory=list[Seen])
    bytes_sent: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, ssl.SSLError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
            path = head[0].split(" ")[1]
            self.seen.append(Seen(path, headers))
            await self.answers[path.partition("?")[0]](writer)
        writer.close()
        with suppress(ConnectionError, ssl.SSLError):
            await writer.wait_closed()

    def gives(self, path: str, content: bytes, *, status: int = 200, headers: Mapping[str, str] | None = None) -> None:
        lines = {"content-length": str(len(content)), **(headers or {})}

        async def answer(writer: asyncio.StreamWriter) -> None:
            await self.send(writer, head_of(status, lines))
            await self.send(writer, content)

        self.answers[path] = answer

    def redirects(self, path: str, location: str, *, status: int = 302) -> None:
        self.gives(path, b"", status=status, headers={"location": location})

    def says(self, path: str, pieces: Iterable[bytes], *, pause_seconds: float = 0) -> None:
        """Send raw pieces with a pause between them, until the client closes."""

        async def answer(writer: asyncio.StreamWriter) -> None:
            for piece in pieces:
                await self.send(writer, piece)
                await asyncio.sleep(pause_seconds)

        self.answers[path] = answer

    async def send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        writer.write(data)
        await writer.drain()
        self.bytes_sent += len(data)


def head_of(status: int = 200, headers: Mapping[str, str] | None = None) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
    return f"HTTP/1.1 {status} Whatever\r\nconnection: close\r\n{lines}\r\n".encode("latin-1")


@asynccontextmanager
async def picture_server(certificate: ssl.SSLContext | None = None) -> AsyncGenerator[PictureServer]:
    server = PictureServer()
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0, ssl=certificate)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        await listening.wait_closed()


class FakeNetwork(httpcore.AsyncNetworkBackend):
    """A fake internet: a test gives names their addresses, and all public ones lead to one server.

    `connected` lists every connection that was tried, by the address that it went to.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.names: dict[str, list[Sequence[str]]] = {}
        self.looked_up: list[str] = []
        self.connected: list[tuple[str, int]] = []
        self.dead: set[str] = set()
        self._real = cast("httpcore.AsyncNetworkBackend", httpcore.AnyIOBackend())

    def knows(self, name: str, *answers: Sequence[str]) -> None:
        """Set the DNS answers for `name`, one after the other; the last one stays."""
        self.names[name] = list(answers)

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        self.looked_up.append(host)
        answers = self.names.get(host)
        if answers is None:
            raise OSError(f"nobody knows {host}")
        return answers.pop(0) if len(answers) > 1 else answers[0]

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: object = None,
    ) -> httpcore.AsyncNetworkStream:
        self.connected.append((host, port))
        if host in self.dead:
            raise httpcore.ConnectError("nobody there")
        return await self._real.connect_tcp("127.0.0.1", self.port, timeout)

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
