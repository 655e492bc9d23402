"""The loop that carries committed changes from the slot to the channels."""

from __future__ import annotations

import asyncio
import logging
import random
from contextlib import aclosing

import psycopg

from devstack.realtime.database import SharedConnection
from devstack.realtime.hub import Hub
from devstack.realtime.routing import route
from devstack.realtime.slot import Change, ChangeSlot

log = logging.getLogger(__name__)

_FIRST_BACKOFF_SECONDS = 0.05
_LAST_BACKOFF_SECONDS = 2.0
_PUBLICATION_SECONDS = 1.0


class Feed:
    def __init__(self, database_url: str, publication: str, hub: Hub, poll_seconds: float) -> None:
        self._hub = hub
        self._slot = ChangeSlot(database_url, publication)
        self._row_checks = SharedConnection(database_url, "row checks")
        self._poll_seconds = poll_seconds
        self._publication_due = 0.0
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Return when the slot exists: changes committed from then on are read."""
        await self._slot.open()
        self._hub.is_reading.set()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        await self._row_checks.close()
        try:
            await self._slot.drop()
        except (psycopg.Error, OSError) as error:
            log.warning("the replication slot could not be dropped; the next start will drop it: %s", error)

    async def _run(self) -> None:
        backoff = 0.0
        while True:
            try:
                if backoff:
                    await self._slot.open()
                    log.info("reading changes again")
                    backoff = 0.0
                await self._read_on()
            except psycopg.errors.UndefinedObject as error:
                await self._start_anew(error)
            except (psycopg.Error, OSError) as error:
                if not backoff:
                    log.warning("changes cannot be read, trying again: %s", error)
                backoff = min(_LAST_BACKOFF_SECONDS, max(_FIRST_BACKOFF_SECONDS, backoff * 2))
                await asyncio.sleep(backoff * random.uniform(0.8, 1.2))  # noqa: S311 - jitter
            except Exception:
                log.exception("a change could not be delivered")
                backoff = _LAST_BACKOFF_SECONDS
                await asyncio.sleep(backoff)

    async def _start_anew(self, error: psycopg.Error) -> None:
        """Skip the log up to now: before Postgres 18, pgoutput cannot read a log older than the publication, when
        nobody could subscribe anyway.
        """
        log.info("the log up to now is skipped: %s", error)
        try:
            await self._slot.skip_history()
        except (psycopg.Error, OSError) as again:
            log.warning("the slot could not be recreated: %s", again)
            await asyncio.sleep(_LAST_BACKOFF_SECONDS)

    async def _read_on(self) -> None:
        while True:
            delivered = False
            async with aclosing(self._slot.chunks()) as chunks:
                async for chunk in chunks:
                    await self._deliver(chunk)
                    delivered = True
            await self._follow_publication()
            await asyncio.sleep(0 if delivered else self._poll_seconds)

    async def _deliver(self, chunk: list[Change]) -> None:
        """Route the whole chunk, then queue its frames without awaiting: if it fails, none of the chunk was sent."""
        async with self._row_checks.use() as connection:
            frames = await route(connection, self._hub.registry, chunk)
        for frame in frames:
            frame.subscriber.push_change(frame.change_type, frame.ids, frame.data)
        self._slot.delivered(chunk[-1].place)
        await asyncio.sleep(0)

    async def _follow_publication(self) -> None:
        now = asyncio.get_running_loop().time()
        if now >= self._publication_due:
            self._publication_due = now + _PUBLICATION_SECONDS
            await self._hub.follow_publication()
