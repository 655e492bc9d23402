"""Follow a batch until its end: snapshots, hinted by Realtime, with a slow poll underneath."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass
from uuid import UUID

from batchgen.client.batch_queries import read_snapshot
from batchgen.client.caller import Caller
from batchgen.client.realtime import LiveChanges
from batchgen.errors import BackendUnavailable, NotSignedIn
from batchgen.models import BatchSnapshot, GenerationStatus

MAY_PASS = frozenset({"not_signed_in", "key_refused"})
"""What the API says of a token or key. All other codes are Auth's own word that the session has ended."""
LONGEST_RETRY = 10
"""Times `retry_seconds`."""

Trouble = Callable[[BackendUnavailable | None], None]
"""Told of an outage when it begins, and None when it is over."""


@dataclass(frozen=True)
class WatchTiming:
    poll_seconds: float = 10
    """Longest pause between two looks."""
    undelivered_seconds: float = 2
    """The same while Realtime delivers nothing."""
    silence_seconds: float = 30
    """Without any event for so long, while items run, the subscription is made anew."""
    settle_seconds: float = 0.05
    """After a hint; events that come meanwhile need no look of their own."""
    outage_seconds: float = 300
    """An outage that lasts longer ends the watch with `BackendUnavailable`."""
    retry_seconds: float = 1


async def watch(
    caller: Caller, batch_id: UUID, timing: WatchTiming | None = None, on_trouble: Trouble | None = None
) -> AsyncGenerator[BatchSnapshot]:
    """Yield the batch as it is now, then whenever it has changed; end after its final state.

    Close it (`contextlib.aclosing`) where it is left early. Raises `NotFound`, and `NotSignedIn` and
    `BackendUnavailable` at the first look or after a long outage; shorter ones are waited out. A session that Auth has
    ended raises `NotSignedIn` at once.
    """
    reader = _Reader(caller, batch_id, timing or WatchTiming(), on_trouble or (lambda _error: None))
    snapshot = await read_snapshot(caller, batch_id)
    yield snapshot
    if snapshot.batch.status.is_final:
        return
    async with reader.live:
        while not snapshot.batch.status.is_final:
            last, snapshot = snapshot, await reader.next_look(snapshot)
            if snapshot != last:
                yield snapshot


class _Reader:
    """Decides when to look again, and looks."""

    def __init__(self, caller: Caller, batch_id: UUID, timing: WatchTiming, on_trouble: Trouble) -> None:
        self._caller = caller
        self._batch_id = batch_id
        self._timing = timing
        self._on_trouble = on_trouble
        self._changed = asyncio.Event()
        self.live = LiveChanges(
            url=str(caller.supabase.realtime_url),
            key=caller.supabase.supabase_key,
            token=lambda: caller.token,
            batch_id=batch_id,
            changed=self._changed,
        )

    async def next_look(self, last: BatchSnapshot) -> BatchSnapshot:
        await self._wait(last)
        snapshot = await self._look()
        await self.live.pass_token_on()
        return snapshot

    async def _wait(self, last: BatchSnapshot) -> None:
        try:
            async with asyncio.timeout(self._longest_pause()):
                await self._changed.wait()
        except TimeoutError:
            running = any(item.status is GenerationStatus.PROCESSING for item in last.generations)
            if running and self.live.silent_seconds >= self._timing.silence_seconds:
                self.live.subscribe_again()
        else:
            await asyncio.sleep(self._timing.settle_seconds)
        self._changed.clear()

    def _longest_pause(self) -> float:
        timing = self._timing
        return timing.poll_seconds if self.live.is_delivering else min(timing.poll_seconds, timing.undelivered_seconds)

    async def _look(self) -> BatchSnapshot:
        """Once a look was answered, a refusal of the key or token may pass as well: gateways refuse good ones."""
        began = time.monotonic()
        pause = self._timing.retry_seconds
        while True:
            try:
                snapshot = await read_snapshot(self._caller, self._batch_id)
            except (BackendUnavailable, NotSignedIn) as error:
                is_final = isinstance(error, NotSignedIn) and error.code not in MAY_PASS
                if is_final or time.monotonic() - began >= self._timing.outage_seconds:
                    raise
                self._on_trouble(_as_outage(error))
                await asyncio.sleep(pause)
                if isinstance(error, NotSignedIn):  # each try renews a user's token: not more often than needed
                    pause = min(2 * pause, LONGEST_RETRY * self._timing.retry_seconds)
            else:
                self._on_trouble(None)
                return snapshot


def _as_outage(error: BackendUnavailable | NotSignedIn) -> BackendUnavailable:
    return error if isinstance(error, BackendUnavailable) else BackendUnavailable(str(error), code=error.code)
