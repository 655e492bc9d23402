"""Wakes the worker when a batch arrives, through Realtime. Only a hint: whatever is missed here, polling finds."""

import asyncio
from collections.abc import Callable
from typing import Any

import structlog
from realtime import AsyncRealtimeClient, RealtimeSubscribeStates

from scheduler.chance import RANDOM

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

JITTER_SECONDS = 0.05
"""Many workers hear of a batch at once; they ask for it one after the other."""


class Wakeup:
    """Calls `wake` soon after batches are inserted. `pause` tells how long to wait after the n-th failure in a row."""

    def __init__(
        self,
        *,
        url: str,
        key: str,
        wake: Callable[[], None],
        pause: Callable[[int], float],
        random: Callable[[], float] = RANDOM,
    ) -> None:
        self._url = url
        self._key = key
        self._wake = wake
        self._pause = pause
        self._random = random
        self.is_listening = asyncio.Event()
        self._failures = 0

    async def run(self) -> None:
        """Listen until cancelled, with a new connection whenever one ends."""
        while True:
            try:
                await self.listen_once()
            except Exception as error:  # noqa: BLE001 - polling does the work anyway
                self._note_failure(type(error).__name__)
            else:
                self._note_failure("the subscription ended")
            await asyncio.sleep(self._pause(self._failures))

    async def listen_once(self) -> None:
        """Connect, subscribe, and return when the subscription ends."""
        ended = asyncio.Event()
        client = AsyncRealtimeClient(f"{self._url}/realtime/v1", token=self._key, auto_reconnect=False, max_retries=1)

        def on_state(state: RealtimeSubscribeStates, _error: Exception | None) -> None:
            if state is not RealtimeSubscribeStates.SUBSCRIBED:
                ended.set()

        channel = client.channel("batchgen-worker")
        channel.on_postgres_changes("INSERT", self.on_batch, table="batch_generations", schema="public")  # pyright: ignore[reportArgumentType]
        try:
            await channel.subscribe(on_state)
            if not ended.is_set():
                self._note_success()
            await ended.wait()
        finally:
            self.is_listening.clear()
            await _close(client)

    def on_batch(self, _change: Any) -> None:
        asyncio.get_running_loop().call_later(JITTER_SECONDS * self._random(), self._wake)

    def _note_success(self) -> None:
        log.info("listening for new batches", failures=self._failures)
        self._failures = 0
        self.is_listening.set()
        self._wake()

    def _note_failure(self, reason: str) -> None:
        self._failures += 1
        if self._failures == 1:
            log.info("Realtime is not reachable, polling goes on", reason=reason)


async def _close(client: AsyncRealtimeClient) -> None:
    """Close the socket and leave no task behind."""
    for channel in client.get_channels():
        channel.rejoin_timer.reset()
        channel.join_push.destroy()
    await client.close()
