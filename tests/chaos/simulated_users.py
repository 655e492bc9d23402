"""Users that sign up, submit batches over time, and submit again when they got no answer."""

import asyncio
import uuid
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from random import Random
from typing import Any

from supabase import AsyncClient

from batchgen.backend.connection import connect, disconnect
from batchgen.backend.rpc import rpc
from batchgen.errors import BackendUnavailable, BatchgenError
from batchgen.settings import Settings

SUBJECTS = ("a red boat", "a small owl", "a city at night", "an old tree", "a glass bird", "a snowy pass")
PATIENCE_SECONDS = 120.0
PAUSE_SECONDS = 0.4


@dataclass(frozen=True)
class PlannedBatch:
    at: float
    user: int
    request: dict[str, Any]


def plan_batches(seed: int, count: int, users: int, seconds: float) -> Sequence[PlannedBatch]:
    """Batches of 2 to 10 prompts in the first three quarters of the run; a few users send most of them."""
    random = Random(f"{seed}/users")
    planned: list[PlannedBatch] = []
    for number in range(count):
        prompts = [
            {"text": f"{random.choice(SUBJECTS)}, number {number}/{index}"} for index in range(random.randint(2, 10))
        ]
        request = {
            "prompts": prompts,
            "shared_settings": {"width": 64, "height": 64},
            "client_key": f"chaos-{number}",
        }
        user = min(random.randrange(users), random.randrange(users))
        planned.append(PlannedBatch(random.uniform(0, seconds * 0.75), user, request))
    return sorted(planned, key=lambda batch: batch.at)


@dataclass
class SimulatedUsers:
    """`problems`: answers that no user may ever get. `submitted`: number of prompts by batch id."""

    settings: Settings
    key: str
    problems: list[str] = field(default_factory=list[str])
    submitted: dict[str, int] = field(default_factory=dict[str, int])
    resent: int = 0
    _users: list[AsyncClient] = field(default_factory=list[AsyncClient])
    _clients: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def sign_up(self, count: int) -> None:
        for _ in range(count):
            client = await connect(self.settings, key=self.key)
            self._clients.push_async_callback(disconnect, client)
            await client.auth.sign_up({"email": f"{uuid.uuid4().hex}@example.test", "password": uuid.uuid4().hex})
            self._users.append(client)

    async def submit_all(self, batches: Sequence[PlannedBatch]) -> None:
        clock = asyncio.get_running_loop().time
        began = clock()
        async with asyncio.TaskGroup() as group:
            for batch in batches:
                await asyncio.sleep(max(0.0, began + batch.at - clock()))
                group.create_task(self.submit(batch))

    async def submit(self, batch: PlannedBatch) -> None:
        """Send the batch until an answer comes; its client_key makes that safe."""
        client = self._users[batch.user]
        answer = await self._call_until_answered(client, "create_batch", {"p_request": batch.request})
        if answer is None:
            self.problems.append(f"{batch.request['client_key']}: not submitted within {PATIENCE_SECONDS:.0f} s")
            return
        self.submitted[str(answer["batch"]["id"])] = len(batch.request["prompts"])

    async def leave(self) -> None:
        await self._clients.aclose()

    async def _call_until_answered(self, client: AsyncClient, name: str, arguments: dict[str, Any]) -> Any:
        clock = asyncio.get_running_loop().time
        deadline = clock() + PATIENCE_SECONDS
        while clock() < deadline:
            try:
                return await rpc(client, name, arguments)
            except BackendUnavailable:
                self.resent += 1
            except BatchgenError as error:
                self.resent += 1
                self.problems.append(f"{name}: {type(error).__name__}: {error}")
            await asyncio.sleep(PAUSE_SECONDS)
        return None
