"""Child processes that end with their parent, whatever ends the parent.

`spawn` starts a program through this very file, run by the interpreter alone: on Linux it asks the kernel to signal the
program when the parent dies, and where a user is named it gives up root for it first. The one right it keeps is to pass
through folders that only root may enter, since both the data and the interpreter may lie below one.
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
class Account:
    uid: int
    gid: int


async def spawn(
    command: Sequence[str],
    *,
    death_signal: signal.Signals,
    account: Account | None = None,
    env: Mapping[str, str],
    cwd: Path,
    stdin: int | IO[bytes] = asyncio.subprocess.DEVNULL,
    stdout: int | IO[bytes] = asyncio.subprocess.DEVNULL,
    stderr: int | IO[bytes] = asyncio.subprocess.DEVNULL,
) -> asyncio.subprocess.Process:
    """Start a program in a session of its own, so that Ctrl-C reaches only the one that stops it in order."""
    return await asyncio.create_subprocess_exec(
        *launcher(death_signal=death_signal, account=account),
        *command,
        env=env,
        cwd=cwd,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )


async def end(process: asyncio.subprocess.Process, steps: Sequence[tuple[signal.Signals, float]]) -> None:
    """Signal a process, ever harder, until it is gone; each step is a signal and the seconds that it gets."""
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


def launcher(*, death_signal: signal.Signals, account: Account | None = None) -> list[str]:
    """What goes before a command so that it ends with this process, for those who start it themselves."""
    who = f"{account.uid}:{account.gid}" if account else "-"
    own_file = str(Path(__file__).resolve())
    return [sys.executable, "-I", "-S", own_file, str(os.getpid()), str(int(death_signal)), who]


def _main(argv: Sequence[str]) -> None:
    parent, death_signal, who, command = int(argv[0]), int(argv[1]), argv[2], argv[3:]
    if who != "-":
        uid, gid = (int(part) for part in who.split(":"))
        _become(uid, gid)
    if sys.platform == "linux":
        _prctl(PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:  # it died before the kernel was asked
            sys.exit(1)
    os.execve(command[0], list(command), os.environ)  # noqa: S606


def _become(uid: int, gid: int) -> None:
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    if sys.platform == "linux":
        # capabilities outlive the change of user, and count for access(2) as well, which initdb asks
        with contextlib.suppress(OSError):
            _prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)
    os.setresuid(uid, uid, uid)
    if sys.platform == "linux":
        _keep_passing_through_folders()


def _keep_passing_through_folders() -> None:
    """Every other right goes. A container may withhold even this one: it is only needed below closed folders."""
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
