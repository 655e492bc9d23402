"""End the Postgres that a killed run left on a cluster, and nothing else."""

import asyncio
import contextlib
import signal
from pathlib import Path

import psutil

from devstack.errors import PostgresFailed

STEPS = ((signal.SIGINT, 15.0), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0))


def pid_file_lines(cluster: Path) -> list[str]:
    """The lines of `postmaster.pid`: the server's pid is in the first, its state in the eighth."""
    try:
        return (cluster / "postmaster.pid").read_text().splitlines()
    except OSError:
        return []


async def end_orphans(cluster: Path) -> None:
    """End all Postgres processes of this cluster, then remove the stale `postmaster.pid`."""
    orphans = await asyncio.to_thread(_postgres_of, cluster)
    for number, seconds in STEPS:
        if not orphans:
            break
        for process in _processes_to_signal(orphans, cluster, number):
            with contextlib.suppress(psutil.Error):
                process.send_signal(number)
        _, orphans = await asyncio.to_thread(psutil.wait_procs, orphans, seconds)
    if orphans:
        raise PostgresFailed(
            f"An old Postgres (pid {orphans[0].pid}) still runs on {cluster} and does not stop: end it by hand."
        )
    (cluster / "postmaster.pid").unlink(missing_ok=True)  # the pid may belong to a zombie or to another process by now


def _processes_to_signal(orphans: list[psutil.Process], cluster: Path, number: signal.Signals) -> list[psutil.Process]:
    """The postmaster, which stops its children; all processes if it is gone or at the last step."""
    leader = next(iter(pid_file_lines(cluster)), "")
    postmaster = [process for process in orphans if str(process.pid) == leader]
    return orphans if number == signal.SIGKILL or not postmaster else postmaster


def _postgres_of(cluster: Path) -> list[psutil.Process]:
    """The Postgres processes of this cluster: its folder is their working directory."""
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.name().startswith("postgres") and Path(process.cwd()) == cluster:
                found.append(process)
    return found
