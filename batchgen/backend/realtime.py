"""What every client of Realtime needs: why a subscription ended, and a close that leaves nothing behind."""

import asyncio
import contextlib

from realtime import AsyncRealtimeChannel, AsyncRealtimeClient

from batchgen.text import printable

LONGEST_REASON = 300
STEADY_SECONDS = 30
"""A subscription that ends earlier counts as a failure, however often the server confirms it."""


def reason_of(error: Exception | None) -> str | None:
    return None if error is None else printable(str(error), LONGEST_REASON)


async def close_client(client: AsyncRealtimeClient, channel: AsyncRealtimeChannel | None) -> None:
    """Close the socket and leave no task behind, even where the wait for that is cancelled."""
    closing = asyncio.create_task(_close(client, channel))
    try:
        await asyncio.shield(closing)
    except asyncio.CancelledError:
        await asyncio.wait([closing])
        raise


async def _close(client: AsyncRealtimeClient, channel: AsyncRealtimeChannel | None) -> None:
    with contextlib.suppress(Exception):
        await client.close()
    if channel:  # messages that came until now may have started its timers, which `close` leaves running
        channel.rejoin_timer.reset()
        channel.join_push.destroy()
    await asyncio.sleep(0)  # cancelled tasks end here
