"""Child processes that end with their parent, even if it is killed.

`spawn` starts a program through this file, run as a script: on Linux the script asks the kernel to signal the program
when the parent dies, and drops root for the given user first. It keeps only the capability to pass through folders
that only root may enter, since the data and the interpreter may be below one.
"""

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS = 28
SECBIT_NO_SETUID_FIXUP = 1 << 2
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAP_DAC_OVERRIDE = 1
LINUX_CAPABILITY_VERSION_3 = 0x20080522


@dataclass(frozen=True)
class OsUser:
    uid: int
    gid: int


async def spawn(
    command: Sequence[str],
    *,
    death_signal: signal.Signals,
    user: OsUser | None = None,
    env: Mapping[str, str],
    cwd: Path,
    stdin: int | IO[bytes] = asyncio.subprocess.DEVNULL,
    stdout: int | IO[bytes] = asyncio.subprocess.DEVNULL,
    stderr: int | IO[bytes] = asyncio.subprocess.DEVNULL,
) -> asyncio.subprocess.Process:
    """Start a program in its own session, so that Ctrl-C reaches only the parent, which stops it in order."""
    return await asyncio.create_subprocess_exec(
        *launcher(death_signal=death_signal, user=user),
        *command,
        env=env,
        cwd=cwd,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )


async def end(process: asyncio.subprocess.Process, steps: Sequence[tuple[signal.Signals, float]]) -> None:
    """Send signals until the process ends, and kill it after the last. A step is a signal and its seconds to work."""
    for number, seconds in steps:
        if process.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.shield(process.wait()), seconds)
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def launcher(*, death_signal: signal.Signals, user: OsUser | None = None) -> list[str]:
    """The prefix of a command that must end with this process, for callers that start it themselves."""
    who = f"{user.uid}:{user.gid}" if user else "-"
    own_file = str(Path(__file__).resolve())
    return [sys.executable, "-I", "-S", own_file, str(os.getpid()), str(int(death_signal)), who]


def _main(argv: Sequence[str]) -> None:
    parent, death_signal, who, command = int(argv[0]), int(argv[1]), argv[2], argv[3:]
    if who != "-":
        uid, gid = (int(part) for part in who.split(":"))
        _switch_user(uid, gid)
    if sys.platform == "linux":
        _prctl(PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:  # the parent died before the kernel was asked
            sys.exit(1)
    os.execve(command[0], list(command), os.environ)  # noqa: S606


def _switch_user(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    if sys.platform == "linux":
        # keep capabilities through the change of user, also for access(2), which initdb calls
        with contextlib.suppress(OSError):
            _prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)
    os.setresuid(uid, uid, uid)
    if sys.platform == "linux":
        _keep_passing_through_folders()


def _keep_passing_through_folders() -> None:
    """Drop all capabilities but this one. A container may not grant it: only folders closed to others need it."""
    try:
        _set_capabilities(1 << CAP_DAC_OVERRIDE)
        _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE)
    except OSError:
        with contextlib.suppress(OSError):
            _set_capabilities(0)


def _set_capabilities(mask: int) -> None:
    header = (ctypes.c_uint32 * 2)(LINUX_CAPABILITY_VERSION_3, 0)
    data = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)  # effective, permitted, inheritable; then their high halves
    if _libc().capset(ctypes.byref(header), ctypes.byref(data)) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def _prctl(option: int, first: int, second: int = 0) -> None:
    arguments = (ctypes.c_ulong(value) for value in (first, second, 0, 0))
    if _libc().prctl(option, *arguments) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


if __name__ == "__main__":
    _main(sys.argv[1:])
