"""A fake Realtime server that accepts every subscription and then sends the frames that a test chooses."""

import contextlib
import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

SUBSCRIBED = {"status": "ok", "message": "Subscribed to PostgreSQL"}
NOT_PUBLISHED = {"status": "error", "message": "Unable to subscribe to changes with given parameters"}


@dataclass
class RealtimeServer:
    """`says` are the `system` messages that follow each subscription; `joins` counts subscriptions."""

    says: Sequence[dict[str, str]]
    url: str = ""
    joins: int = 0
    _ids: "count[int]" = field(default_factory=lambda: count(1))

    async def talk(self, connection: ServerConnection) -> None:
        with contextlib.suppress(ConnectionClosed):  # a client that is cut off closes without a close frame
            async for text in connection:
                await self._answer(connection, json.loads(text))

    async def _answer(self, connection: ServerConnection, frame: dict[str, Any]) -> None:
        reply: dict[str, Any] = {"status": "ok", "response": {}}
        if frame["event"] == "phx_join":
            wanted = frame["payload"]["config"]["postgres_changes"]
            reply["response"]["postgres_changes"] = [{**one, "id": next(self._ids)} for one in wanted]
        await connection.send(json.dumps({**frame, "event": "phx_reply", "payload": reply}))
        if frame["event"] == "phx_join":
            for words in self.says:
                told = {"channel": frame["topic"], "extension": "postgres_changes", **words}
                system = {"event": "system", "topic": frame["topic"], "payload": told, "ref": None}
                await connection.send(json.dumps(system))
            self.joins += 1


@asynccontextmanager
async def realtime_server(*says: dict[str, str]) -> AsyncGenerator[RealtimeServer]:
    server = RealtimeServer(says)
    async with serve(server.talk, "127.0.0.1", 0) as listener:
        server.url = f"http://127.0.0.1:{next(iter(listener.sockets)).getsockname()[1]}"
        yield server
