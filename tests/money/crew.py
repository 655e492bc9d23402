"""Workers as operators run them: killed with SIGKILL whenever a new one has come up, and stopped for a while."""

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
"""A busy machine takes that long to import what a worker needs."""
UP = '"event": "worker starts"'


@dataclass
class Hand:
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
class Crew:
    """`odd_ends`: workers that ended, or did so in another way, though nobody made them."""

    environment: Mapping[str, str]
    folder: Path
    kills: int = 0
    pauses: int = 0
    odd_ends: list[str] = field(default_factory=list[str])
    _hands: list[Hand] = field(default_factory=list[Hand])
    _hired: int = 0

    def logs(self) -> Sequence[Path]:
        return sorted(self.folder.glob("worker-*.log"))

    @property
    def names(self) -> Sequence[str]:
        """Of those that run."""
        return [hand.name for hand in self._hands]

    async def hire(self) -> Hand:
        """One worker more, that is up and running."""
        self._hired += 1
        hand = await self._spawn(f"worker-{self._hired}")
        self._hands.append(hand)
        await hand.is_up()
        return hand

    async def replace(self, random: Random) -> None:
        """A new worker comes, and one of those before it is killed."""
        before = list(self._hands)
        await self.hire()
        victim = random.choice(before)
        self._hands.remove(victim)
        if victim.process.returncode is not None:
            self.odd_ends.append(f"{victim.name} ended by itself with exit code {victim.process.returncode}")
            return
        victim.process.kill()
        await victim.process.wait()
        self.kills += 1

    async def pause(self, random: Random, seconds: float) -> None:
        """One of the workers stands still for so long, and does not know it."""
        hand = random.choice([hand for hand in self._hands if not hand.is_paused])
        hand.is_paused = True
        try:
            hand.signal(signal.SIGSTOP)
            self.pauses += 1
            await asyncio.sleep(seconds)
        finally:
            hand.signal(signal.SIGCONT)
            hand.is_paused = False

    async def stop(self) -> None:
        """Let all of them drain, and give back no process."""
        hands, self._hands = self._hands, []
        await asyncio.gather(*(child.end(hand.process, STOP) for hand in hands))
        self.odd_ends += [
            f"{hand.name} ended with exit code {hand.process.returncode}" for hand in hands if hand.process.returncode
        ]

    async def _spawn(self, name: str) -> Hand:
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
        file = self.folder / f"{name}.log"
        with file.open("ab") as log:
            process = await child.spawn(
                [sys.executable, "-m", "scheduler"],
                death_signal=signal.SIGKILL,
                env={**kept, **self.environment, "BATCHGEN_WORKER_NAME": name, "PYTHONPATH": str(ROOT)},
                cwd=self.folder,  # away from a developer's .env
                stdout=log,
                stderr=log,
            )
        return Hand(name, process, file)
