"""The dev stack's worker: a process that is restarted whenever it dies."""

import asyncio
import logging
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from batchgen.exit_codes import INVALID
from devstack import child
from devstack.errors import PartEnded
from devstack.files import display_path

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS = 1.0
LONGEST_PAUSE_SECONDS = 30.0
HEALTHY_SECONDS = 30.0
STOP = ((signal.SIGTERM, 20.0),)


class WorkerProcess:
    """Runs the worker. Its log goes to stderr, or is appended to `log_file`."""

    def __init__(self, env: Mapping[str, str], log_file: Path | None = None) -> None:
        self._env = env
        self._log_file = log_file
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    async def run(self) -> None:
        """Run the worker until cancelled, then let it release its items. Raises `PartEnded` for invalid settings."""
        pause = FIRST_PAUSE_SECONDS
        try:
            while True:
                began = asyncio.get_running_loop().time()
                self._process = await self._spawn()
                code = await self._process.wait()
                if code == INVALID:
                    raise PartEnded(
                        f"The worker ended with exit code {code}: its settings are invalid{self._see_log()}."
                    )
                if asyncio.get_running_loop().time() - began > HEALTHY_SECONDS:
                    pause = FIRST_PAUSE_SECONDS
                log.warning("The worker %s and is restarted in %.0f s%s", exit_text(code), pause, self._see_log())
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
        finally:
            if self._process:
                await child.end(self._process, STOP)

    def _see_log(self) -> str:
        return f", see {display_path(self._log_file)}" if self._log_file else ""

    async def _spawn(self) -> asyncio.subprocess.Process:
        with ExitStack() as opened:
            log_file = opened.enter_context(self._log_file.open("ab")) if self._log_file else None
            return await child.spawn(
                [sys.executable, "-m", "scheduler"],
                death_signal=signal.SIGTERM,
                env=self._env,
                cwd=Path.cwd(),
                stdout=log_file or sys.stdout.fileno(),
                stderr=log_file or sys.stderr.fileno(),
            )


def exit_text(code: int) -> str:
    """How a process ended, in words."""
    return f"ended with exit code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"


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
