"""Worker processes that are killed and paused, and started again after every exit."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from batchgen.exit_codes import WORK_FAILED
from devstack import child

ROOT = Path(__file__).parents[2]
PAUSE_BEFORE_RESTART_SECONDS = 0.3
STOP = ((signal.SIGTERM, 30.0),)


@dataclass
class WorkerSlot:
    """One worker of the group: a new process after each exit."""

    number: int
    process: asyncio.subprocess.Process | None = None
    is_paused: bool = False
    is_killed: bool = False
    """This run killed the process."""
    starts: int = 0

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.returncode is None


@dataclass
class WorkerGroup:
    """`unexpected_exits`: workers that ended although nothing stopped them."""

    size: int
    environment: Mapping[str, str]
    folder: Path
    unexpected_exits: list[str] = field(default_factory=list[str])
    gave_up: int = 0
    _slots: list[WorkerSlot] = field(default_factory=list[WorkerSlot])
    _keepers: list[asyncio.Task[None]] = field(default_factory=list[asyncio.Task[None]])

    @property
    def starts(self) -> int:
        return sum(slot.starts for slot in self._slots)

    def logs(self) -> Sequence[Path]:
        return sorted(self.folder.glob("worker-*.log"))

    def start(self) -> None:
        self._slots = [WorkerSlot(number) for number in range(self.size)]
        self._keepers = [asyncio.create_task(self._keep(slot)) for slot in self._slots]

    async def stop(self) -> None:
        """Drain all workers and start no new ones; record every exit code but 0 as unexpected."""
        for keeper in self._keepers:
            keeper.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await asyncio.gather(*(self._stop(slot) for slot in self._slots))

    def kill(self, which: int) -> bool:
        """Send SIGKILL to one running worker, paused or not; False if none runs."""
        running = [slot for slot in self._slots if slot.is_running]
        if not running:
            return False
        slot = running[which % len(running)]
        assert slot.process is not None
        slot.is_killed = True
        slot.process.kill()
        return True

    async def pause(self, which: int, seconds: float) -> bool:
        """Send SIGSTOP to one worker, and SIGCONT after `seconds`; False if all are paused already."""
        awake = [slot for slot in self._slots if slot.is_running and not slot.is_paused]
        if not awake:
            return False
        slot = awake[which % len(awake)]
        process = slot.process
        assert process is not None
        slot.is_paused = True
        try:
            process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(seconds)
        finally:
            slot.is_paused = False
            if process.returncode is None:
                process.send_signal(signal.SIGCONT)
        return True

    async def _keep(self, slot: WorkerSlot) -> None:
        while True:
            slot.is_killed = False
            slot.starts += 1
            slot.process = await self._spawn(slot)
            code = await slot.process.wait()
            if code == WORK_FAILED:  # its ticks failed; any other exit with 1 leaves a traceback in the log
                self.gave_up += 1
            elif not slot.is_killed:
                self.unexpected_exits.append(f"worker {slot.number}, start {slot.starts}: exit code {code}")
            await asyncio.sleep(PAUSE_BEFORE_RESTART_SECONDS)

    async def _stop(self, slot: WorkerSlot) -> None:
        if slot.process is None or slot.process.returncode is not None:
            return
        await child.end(slot.process, STOP)
        if code := await slot.process.wait():
            self.unexpected_exits.append(f"worker {slot.number} after SIGTERM: exit code {code}")

    async def _spawn(self, slot: WorkerSlot) -> asyncio.subprocess.Process:
        name = f"worker-{slot.number}-{slot.starts}"
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        with (self.folder / f"{name}.log").open("ab") as log:
            return await child.spawn(
                [sys.executable, "-m", "tests.chaos.chaos_worker"],
                death_signal=signal.SIGKILL,
                env={**kept, **self.environment, "BATCHGEN_WORKER_NAME": name, "PYTHONPATH": str(ROOT)},
                cwd=self.folder,  # no .env of a developer is read there
                stdout=log,
                stderr=log,
            )
