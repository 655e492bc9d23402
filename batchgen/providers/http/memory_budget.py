"""Limit the memory that long answers of one provider take together."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

MOST_BYTES = 128 * 2**20
"""One answer of the largest size, or about twenty pictures of 5 MB as base64. While they are read and decoded they take
two to three times as much."""


class MemoryBudget:
    """Bytes that may be taken at the same time. A caller that needs more waits until others return theirs."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self._most = most_bytes
        self.left = most_bytes
        self._given_back = asyncio.Condition()

    @asynccontextmanager
    async def taken(self, size: int) -> AsyncGenerator[None]:
        """Hold `size` bytes. More than the whole budget counts as the whole budget, so that it can be granted."""
        size = min(size, self._most)
        async with self._given_back:
            await self._given_back.wait_for(lambda: self.left >= size)
            self.left -= size
        try:
            yield
        finally:
            self.left += size
            async with self._given_back:
                self._given_back.notify_all()
