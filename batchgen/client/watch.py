"""Follow a batch until its end: read snapshots when Realtime hints at a change, and poll slowly besides."""

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
"""Codes of refusals by the API, which may pass. With other codes, Auth has ended the session."""
LONGEST_RETRY = 10
"""In units of `retry_seconds`."""

OnOutage = Callable[[BackendUnavailable | None], None]
"""Called with the error when an outage begins, and with None when it is over."""


@dataclass(frozen=True)
class WatchTiming:
    """Pauses and limits of a watch."""

    poll_seconds: float = 10
    """Longest pause between two reads."""
    undelivered_seconds: float = 2
    """The same while Realtime delivers nothing."""
    silence_seconds: float = 30
    """After this time without an event while items run, the watch subscribes again."""
    settle_seconds: float = 0.05
    """Pause after a hint, so that one read serves several events."""
    outage_seconds: float = 300
    """An outage that lasts longer ends the watch with `BackendUnavailable`."""
    retry_seconds: float = 1
    """Pause between two tries during an outage."""


async def watch(
    caller: Caller, batch_id: UUID, timing: WatchTiming | None = None, on_outage: OnOutage | None = None
) -> AsyncGenerator[BatchSnapshot]:
    """Yield the batch now and after every change, until its final state.

    Wrap it in `contextlib.aclosing` if you may leave it early. Raises `NotFound`, and `NotSignedIn` and
    `BackendUnavailable` at the first read or after a long outage; shorter ones are waited out. A session that Auth has
    ended raises `NotSignedIn` at once.
    """
    watcher = _Watcher(caller, batch_id, timing or WatchTiming(), on_outage or (lambda _error: None))
    snapshot = await read_snapshot(caller, batch_id)
    yield snapshot
    if snapshot.batch.status.is_final:
        return
    watcher.live.owner_id = snapshot.batch.user_id
    async with watcher.live:
        while not snapshot.batch.status.is_final:
            last, snapshot = snapshot, await watcher.next_snapshot(snapshot)
            if snapshot != last:
                yield snapshot


class _Watcher:
    """Decides when to read the batch again, and reads it."""

    def __init__(self, caller: Caller, batch_id: UUID, timing: WatchTiming, on_outage: OnOutage) -> None:
        self._caller = caller
        self._batch_id = batch_id
        self._timing = timing
        self._on_outage = on_outage
        self._changed = asyncio.Event()
        self.live = LiveChanges(
            url=str(caller.supabase.realtime_url),
            key=caller.supabase.supabase_key,
            token=lambda: caller.token,
            batch_id=batch_id,
            changed=self._changed,
        )

    async def next_snapshot(self, last: BatchSnapshot) -> BatchSnapshot:
        await self._wait(last)
        snapshot = await self._read()
        await self.live.renew_token()
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

    async def _read(self) -> BatchSnapshot:
        """Read the batch and wait out outages. After the first read, refusals of the key or token are outages as well:
        gateways sometimes refuse valid ones.
        """
        began = time.monotonic()
        pause = self._timing.retry_seconds
        while True:
            try:
                snapshot = await read_snapshot(self._caller, self._batch_id)
            except (BackendUnavailable, NotSignedIn) as error:
                is_final = isinstance(error, NotSignedIn) and error.code not in MAY_PASS
                if is_final or time.monotonic() - began >= self._timing.outage_seconds:
                    raise
                self._on_outage(_as_outage(error))
                await asyncio.sleep(pause)
                if isinstance(error, NotSignedIn):  # each try renews the user's token, so try less and less often
                    pause = min(2 * pause, LONGEST_RETRY * self._timing.retry_seconds)
            else:
                self._on_outage(None)
                return snapshot


def _as_outage(error: BackendUnavailable | NotSignedIn) -> BackendUnavailable:
    return error if isinstance(error, BackendUnavailable) else BackendUnavailable(str(error), code=error.code)
