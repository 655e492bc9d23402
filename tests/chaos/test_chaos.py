"""A short chaos run for `make test`; `make chaos` runs for ten minutes."""

import asyncio
import signal
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ARGUMENTS = ("--seed", "2026", "--seconds", "30", "--batches", "20", "--users", "6", "--quiet-seconds", "120")


@pytest.mark.timeout(300)  # usually a minute; on a busy machine the end takes longer, and that is no failure
async def test_every_item_ends_and_none_is_charged_twice_under_all_faults() -> None:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "tests.chaos", *ARGUMENTS),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        told, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)  # its stack and workers end with it
            await process.wait()

    assert process.returncode == 0, told.decode(errors="replace")
