"""Draws faults and their times from the seed, and injects them."""

import asyncio
import contextlib
import os
import signal
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random

import psutil

from devstack import Stack
from tests.chaos.paid_provider_server import PaidProviderServer
from tests.chaos.worker_group import WorkerGroup

KINDS = (
    "kill -9 of a worker",
    "kill -9 of a worker",
    "worker paused past its lease",
    "worker paused past its lease",
    "kill -9 of the API",
    "Postgres stopped at once",
    "kill -9 of Postgres",
    "kill -9 of a Postgres backend",
    "Realtime sockets dropped",
    "provider out",
)
GAP_SECONDS = (1.5, 5.0)
FIRST_FAULT_SECONDS = 2.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class PlannedFault:
    at: float
    kind: str
    which: int
    seconds: float


def plan(seed: int, seconds: float, lease_seconds: float) -> Sequence[PlannedFault]:
    """The faults of a run. No kind is repeated before all kinds were drawn, so that a short run has all of them."""
    random = Random(f"{seed}/injector")
    # Faults follow each other faster in a short run, so that all kinds fit in.
    longest_gap = min(GAP_SECONDS[1], max(GAP_SECONDS[0], 2 * (seconds - FIRST_FAULT_SECONDS) / len(KINDS) - 1.7))
    planned: list[PlannedFault] = []
    bag: list[str] = []
    at = FIRST_FAULT_SECONDS
    while at < seconds:
        if not bag:
            bag = random.sample(KINDS, len(KINDS))
        kind = bag.pop()
        lasting = random.uniform(1.5, 4) if kind == "provider out" else lease_seconds + random.uniform(0.5, 4)
        planned.append(PlannedFault(at, kind, random.randrange(1_000_000), lasting))
        at += random.uniform(GAP_SECONDS[0], longest_gap)
    return planned


@dataclass
class FaultInjector:
    stack: Stack
    workers: WorkerGroup
    provider: PaidProviderServer
    say: Say
    injected: Counter[str] = field(default_factory=Counter[str])
    _postgres: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def run(self, faults: Sequence[PlannedFault]) -> None:
        """Inject each fault at its time, even while an earlier one lasts; return when all are over."""
        clock = asyncio.get_running_loop().time
        began = clock()
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                await asyncio.sleep(max(0.0, began + fault.at - clock()))
                group.create_task(self._inject(fault))

    async def _inject(self, fault: PlannedFault) -> None:
        self.say(f"{fault.at:6.1f} s  {fault.kind}")
        if await self._apply(fault):
            self.injected[fault.kind] += 1

    async def _apply(self, fault: PlannedFault) -> bool:
        match fault.kind:
            case "kill -9 of a worker":
                return self.workers.kill(fault.which)
            case "worker paused past its lease":
                return await self.workers.pause(fault.which, fault.seconds)
            case "kill -9 of the API":
                return _kill(self.stack.lite_pid)
            case "Postgres stopped at once":
                return await self._restart_postgres(signal.SIGQUIT, fault.which)
            case "kill -9 of Postgres":
                return await self._restart_postgres(signal.SIGKILL, fault.which)
            case "kill -9 of a Postgres backend":
                return await self._kill_backend(fault.which)
            case "Realtime sockets dropped":
                return self.stack.realtime is not None and self.stack.realtime.drop_sockets() > 0
            case _:
                return await self._provider_out(fault.seconds)

    async def _restart_postgres(self, number: signal.Signals, which: int) -> bool:
        postgres = self.stack.postgres
        async with self._postgres:
            if postgres.pid is None:
                return False
            os.kill(postgres.pid, number)
            await postgres.wait()
            await asyncio.sleep(which % 1500 / 1000)
            await postgres.start()
        return True

    async def _kill_backend(self, which: int) -> bool:
        """Kill one Postgres backend. Postgres then ends all sessions and recovers by itself."""
        async with self._postgres:
            if self.stack.postgres.pid is None:
                return False
            victims: list[int] = []
            with contextlib.suppress(psutil.Error):
                victims = sorted(child.pid for child in psutil.Process(self.stack.postgres.pid).children())
            return bool(victims) and _kill(victims[which % len(victims)])

    async def _provider_out(self, seconds: float) -> bool:
        self.provider.is_down = True
        try:
            await asyncio.sleep(seconds)
        finally:
            self.provider.is_down = False
        return True


def _kill(pid: int | None) -> bool:
    if pid is None:
        return False
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
        return True
    return False
