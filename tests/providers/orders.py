"""Parts of all providers' tests: orders, results of orders, and pauses that take no time."""

import asyncio
from collections.abc import Awaitable
from typing import Any
from uuid import uuid4

import httpx
import pytest

from batchgen.errors import ModelUnusable, ProviderBusy, ProviderError
from batchgen.providers.base import ImageRequest

MEASURED: Any = pytest.approx(30, abs=30)
"""Equals every number of seconds that a test may take, but not None."""


def order(prompt: str = "a red fox", *, seed: int = 7, **other: Any) -> ImageRequest:
    """A request for one picture; its inputs are prompt and seed unless they are given."""
    fields: dict[str, Any] = {"key": uuid4().hex, "inputs": {"prompt": prompt, "seed": seed}, **other}
    return ImageRequest(generation_id=uuid4(), prompt=prompt, seed=seed, width=1024, height=1024, **fields)


async def outcome(work: Awaitable[object]) -> ProviderError:
    """The error of a call that must fail."""
    with pytest.raises(ProviderError) as raised:
        await work
    return raised.value


def charge_after(error: ProviderError) -> bool | None:
    """Whether an order is charged after this error, as the worker takes it: one that has to wait was refused."""
    charged = error.order.charged
    return False if charged is None and isinstance(error, ProviderBusy | ModelUnusable) else charged


async def fetch(url: str) -> tuple[int, bytes]:
    """The content at an address."""
    async with httpx.AsyncClient() as client:
        answer = await client.get(url)
    return answer.status_code, answer.content


class Pauses:
    """Replaces `asyncio.sleep`: records the pauses and advances its own clock."""

    def __init__(self) -> None:
        self.taken: list[float] = []
        self._awaited: dict[int, asyncio.Event] = {}

    async def __call__(self, seconds: float) -> None:
        self.taken.append(seconds)
        if event := self._awaited.get(len(self.taken)):
            event.set()
        await asyncio.sleep(0)

    def after(self, count: int) -> asyncio.Event:
        """Set with the pause of this number, counted from 1."""
        return self._awaited.setdefault(count, asyncio.Event())

    def clock(self) -> float:
        return sum(self.taken)
