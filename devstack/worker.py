"""The worker beside the dev stack: a process of its own, started again whenever it dies."""

import asyncio
import logging
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from devstack import child

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
HEALTHY_SECONDS = 30.0
STOP = ((signal.SIGTERM, 20.0),)


class WorkerProcess:
    def __init__(self, env: Mapping[str, str]) -> None:
        self._env = env
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def run(self) -> None:
        """Until cancelled: then the worker hands back what it holds."""
        pause = FIRST_PAUSE_SECONDS
        try:
            while True:
                began = asyncio.get_running_loop().time()
                self._process = await self._spawn()
                code = await self._process.wait()
                if asyncio.get_running_loop().time() - began > HEALTHY_SECONDS:
                    pause = FIRST_PAUSE_SECONDS
                log.warning("The worker ended with code %s and is started again in %.0f s", code, pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        finally:
            if self._process:
                await child.end(self._process, STOP)

    async def _spawn(self) -> asyncio.subprocess.Process:
        return await child.spawn(
            [sys.executable, "-m", "scheduler"],
            death_signal=signal.SIGTERM,
            env=self._env,
            cwd=Path.cwd(),
            stdout=sys.stdout.fileno(),
            stderr=sys.stderr.fileno(),
        )


def worker_environment(inherited: Mapping[str, str], url: str, secret_key: str) -> dict[str, str]:
    return {
        **inherited,
        "SUPABASE_URL": url,
        "SUPABASE_SECRET_KEY": secret_key,
        "BATCHGEN_PROVIDER": inherited.get("BATCHGEN_PROVIDER", "offline"),
        "BATCHGEN_OFFLINE_COMMANDS": "1",
        "BATCHGEN_GRACE_SECONDS": inherited.get("BATCHGEN_GRACE_SECONDS", "10"),  # well below STOP
        "PYTHONUNBUFFERED": "1",
    }
