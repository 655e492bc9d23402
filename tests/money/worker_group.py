"""Workers as operators run them, killed with SIGKILL when a new one has started, and paused for a while."""

import asyncio
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from devstack import child
from tests.support import eventually

ROOT = Path(__file__).parents[2]
STOP = ((signal.SIGTERM, 30.0),)
START_SECONDS = 60.0
"""Time to import a worker's modules on a busy machine."""
UP = '"event": "worker starts"'


@dataclass
class RunningWorker:
    name: str
    process: asyncio.subprocess.Process
    log: Path
    is_paused: bool = False

    def signal(self, number: signal.Signals) -> None:
        if self.process.returncode is None:
            self.process.send_signal(number)

    async def is_up(self) -> None:
        await eventually(lambda: UP in self.log.read_text(), START_SECONDS, what=f"{self.name} is up")


@dataclass
class WorkerGroup:
    """`unexpected_exits`: exits of workers that this run did not cause, or with an exit code but 0."""

    environment: Mapping[str, str]
    folder: Path
    kills: int = 0
    pauses: int = 0
    unexpected_exits: list[str] = field(default_factory=list[str])
    _workers: list[RunningWorker] = field(default_factory=list[RunningWorker])
    _started: int = 0

    def logs(self) -> Sequence[Path]:
        return sorted(self.folder.glob("worker-*.log"))

    @property
    def names(self) -> Sequence[str]:
        """The names of the running workers."""
        return [worker.name for worker in self._workers]

    async def add(self) -> RunningWorker:
        """Start one more worker and wait until it runs."""
        self._started += 1
        worker = await self._spawn(f"worker-{self._started}")
        self._workers.append(worker)
        await worker.is_up()
        return worker

    async def replace(self, random: Random) -> None:
        """Start a worker, then kill one of the others."""
        before = list(self._workers)
        await self.add()
        killed = random.choice(before)
        self._workers.remove(killed)
        if killed.process.returncode is not None:
            self.unexpected_exits.append(f"{killed.name} ended by itself with exit code {killed.process.returncode}")
            return
        killed.process.kill()
        await killed.process.wait()
        self.kills += 1

    async def pause(self, random: Random, seconds: float) -> None:
        """Stop one of the workers for so long, without its notice."""
        worker = random.choice([worker for worker in self._workers if not worker.is_paused])
        worker.is_paused = True
        try:
            worker.signal(signal.SIGSTOP)
            self.pauses += 1
            await asyncio.sleep(seconds)
        finally:
            worker.signal(signal.SIGCONT)
            worker.is_paused = False

    async def stop(self) -> None:
        """Drain all workers and start no new ones."""
        workers, self._workers = self._workers, []
        await asyncio.gather(*(child.end(worker.process, STOP) for worker in workers))
        self.unexpected_exits += [
            f"{worker.name} ended with exit code {worker.process.returncode}"
            for worker in workers
            if worker.process.returncode
        ]

    async def _spawn(self, name: str) -> RunningWorker:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        file = self.folder / f"{name}.log"
        with file.open("ab") as log:
            process = await child.spawn(
                [sys.executable, "-m", "scheduler"],
                death_signal=signal.SIGKILL,
                env={**kept, **self.environment, "BATCHGEN_WORKER_NAME": name, "PYTHONPATH": str(ROOT)},
                cwd=self.folder,  # no .env of a developer is read there
                stdout=log,
                stderr=log,
            )
        return RunningWorker(name, process, file)
