"""The loop that carries messages of the database to the topics, and keeps the partitions of `realtime.messages`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing

import psycopg

from devstack.database import keep_message_partitions
from devstack.realtime.hub import Hub
from devstack.realtime.message_stream import MessageStream

log = logging.getLogger(__name__)

_PARTITIONS_SECONDS = 3600.0
_PUBLICATION_SECONDS = 1.0
_RETRY_SECONDS = 0.5


class MessageFeed:
    def __init__(self, database_url: str, hub: Hub) -> None:
        self._database_url = database_url
        self._hub = hub
        self._stream = MessageStream(database_url)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Return when messages committed from then on are delivered, unless the database has none."""
        try:
            if await self._stream.open():
                self._hub.is_streaming.set()
        except (psycopg.Error, OSError) as error:
            log.warning("messages are not delivered yet: %s", error)
            await self._stream.close()
        self._tasks = [
            asyncio.create_task(self._run()),
            asyncio.create_task(self._repeat(self._stream.publish, _PUBLICATION_SECONDS)),
            asyncio.create_task(self._repeat(self._create_partitions, _PARTITIONS_SECONDS)),
        ]

    async def stop(self) -> None:
        tasks, self._tasks = self._tasks, []
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._hub.is_streaming.clear()
        await self._stream.close()

    async def _run(self) -> None:
        is_logged = False
        while True:
            try:
                if self._hub.is_streaming.is_set() or await self._stream.open():
                    self._hub.is_streaming.set()
                    is_logged = False
                    await self._deliver()
            except (psycopg.Error, OSError) as error:
                log.log(logging.DEBUG if is_logged else logging.WARNING, "messages are not delivered: %s", error)
                is_logged = True
            except Exception:
                log.exception("a message could not be delivered")
            self._hub.is_streaming.clear()
            await self._stream.close()
            await asyncio.sleep(_RETRY_SECONDS)

    async def _deliver(self) -> None:
        async with aclosing(self._stream.messages()) as messages:
            async for message in messages:
                self._hub.broadcast(f"realtime:{message.topic}", message.private, message.broadcast)

    async def _create_partitions(self) -> None:
        await keep_message_partitions(self._database_url)

    async def _repeat(self, work: Callable[[], Awaitable[object]], seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except (psycopg.Error, OSError) as error:
                log.debug("realtime.messages: %s", error)
