"""`make demo`: show the main task on this machine, with the commands that a user would type.

Starts `batchgen dev` or uses the one that runs, signs in, submits five prompts, shows their progress, saves the
pictures and a contact sheet, and leaves the stack running until Ctrl-C (`--once` stops it).
"""

import signal

if __name__ == "__main__":  # until main handles it, Ctrl-C just ends the process: nothing was started yet
    signal.signal(signal.SIGINT, signal.SIG_DFL)

import argparse
import contextlib
import fcntl
import os
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from batchgen.exit_codes import DONE, INTERRUPTED, WORK_FAILED
from devstack import child
from devstack.files import display_path
from devstack.keys import DEV_EMAIL, DEV_PASSWORD

PROMPTS = (
    "a red fox in a snowy forest at dawn",
    "a cyberpunk city at night, neon rain",
    "a lighthouse in a storm",
    "hot air balloons over golden dunes",
    "a whale under the stars",
)
START_SECONDS = 600  # the first start downloads Supabase Lite from npm
STOP_SECONDS = 60
LAST_SECONDS = 10
# Left out of the environment, which overrides settings files: the shell may be set up for another project.
FOREIGN = ("SUPABASE_", "BATCHGEN_ENV_FILE", "BATCHGEN_USER", "BATCHGEN_OPERATOR")

StackProcess = subprocess.Popen[bytes]


class DemoError(Exception):
    """The demo cannot continue; the message says why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo. Returns 0 if the batch completed, 1 if not, 130 if it was interrupted before."""
    options = _parse(argv)
    data_dir: Path = options.data_dir.resolve()
    env_file = data_dir / "dev.env"
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    done = False
    try:
        with _stack(options.port, data_dir, env_file) as stack:
            _main_job(stack, env_file, options.save_to)
            done = True
            if not options.once:
                _leave_running(stack, env_file)
    except KeyboardInterrupt:
        return DONE if done else INTERRUPTED
    except DemoError as error:
        _say(f"The demo failed: {error}")
        return WORK_FAILED
    return DONE


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m devstack.demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="stop the stack at the end instead of leaving it running")
    parser.add_argument("--port", type=int, default=54321, help="used if it is free; otherwise any free port")
    parser.add_argument("--data-dir", type=Path, default=Path(".batchgen/dev"), help="folder of the stack's data")
    parser.add_argument("--save-to", type=Path, default=Path("demo-output"), help="folder for the pictures")
    return parser.parse_args(argv)


def _main_job(stack: StackProcess | None, env_file: Path, save_to: Path) -> None:
    signing_in = ("login", "--email", DEV_EMAIL, "--password-stdin")
    _command(stack, env_file, *signing_in, answer=DEV_PASSWORD)
    _command(stack, env_file, "submit", *PROMPTS, "--name", "Demo", "--save-to", str(save_to), "--contact-sheet")
    _say(f"\nFive pictures and a contact sheet are in {display_path(save_to.resolve())}/")


def _command(stack: StackProcess | None, env_file: Path, *arguments: str, answer: str | None = None) -> None:
    """Show a command as a user would type it, and run it."""
    _say(f"\n$ {f'echo {answer} | ' if answer else ''}batchgen {shlex.join(arguments)}")
    command = [sys.executable, "-m", "devstack.interruptible_command", "--env-file", str(env_file), *arguments]
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # the command inherits it
    process = subprocess.Popen(command, env=_environment(), stdin=subprocess.PIPE if answer else None)
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})  # a pending one is raised here
        if answer and process.stdin:
            with contextlib.suppress(BrokenPipeError), process.stdin:
                process.stdin.write(answer.encode())
        while process.poll() is None:
            _check(stack)
            time.sleep(0.1)
    except DemoError:
        process.send_signal(signal.SIGINT)
        raise
    finally:  # Ctrl-C reaches the command as well
        _end(process)
    if process.returncode:
        raise DemoError(f"batchgen {arguments[0]} ended with exit code {process.returncode}.")


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
        process.wait(timeout=LAST_SECONDS)
    if process.poll() is None:
        process.kill()
        process.wait()


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}


def _check(stack: StackProcess | None) -> None:
    if stack and stack.poll() is not None:
        raise DemoError(f"the stack has ended (batchgen dev: {_exit_text(stack.returncode)}).")


def _exit_text(code: int) -> str:
    return f"exit code {code}" if code >= 0 else signal.Signals(-code).name


@contextmanager
def _stack(port: int, data_dir: Path, env_file: Path) -> Generator[StackProcess | None]:
    """Start the stack of this folder and stop it afterwards. Yields None if it already runs; then it stays running."""
    data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)
    if _is_running(data_dir):
        if not env_file.exists():
            raise DemoError(f"another stack on {display_path(data_dir)} is starting or stopping: try again.")
        _say(f"The stack in {display_path(data_dir)} is already running and is used.")
        yield None
        return
    env_file.unlink(missing_ok=True)
    log = data_dir / "logs" / "worker.log"
    stack = _start(port, data_dir, env_file, log)
    try:
        _wait_until_ready(stack, env_file)
        yield stack
    finally:
        _stop(stack)


def _is_running(data_dir: Path) -> bool:
    """Whether a process holds the folder's lock (`DataDirLock`)."""
    with (data_dir / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _start(port: int, data_dir: Path, env_file: Path, log: Path) -> StackProcess:
    """Start the stack in its own session, so that Ctrl-C does not reach it. It ends with this process in any case."""
    port = _free_port(port)
    command = [sys.executable, "-m", "batchgen", "dev", "--port", str(port), "--data-dir", str(data_dir)]
    command += ["--env-file", str(env_file), "--worker-log", str(log), "--brief"]
    _say(f"$ batchgen dev --port {port}    (the worker's log: {display_path(log)})")
    launcher = child.launcher(death_signal=signal.SIGTERM)
    return subprocess.Popen([*launcher, *command], env=_environment(), stdin=subprocess.DEVNULL, start_new_session=True)


def _wait_until_ready(stack: StackProcess, env_file: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not env_file.exists():
        _check(stack)
        if time.monotonic() > deadline:
            raise DemoError(f"batchgen dev was not ready after {START_SECONDS} s.")
        time.sleep(0.1)


def _leave_running(stack: StackProcess | None, env_file: Path) -> None:
    if stack is None:
        return
    _say("\nThe stack goes on running until Ctrl-C.\nNext, in another terminal, in this folder:\n")
    _say(f"  . .venv/bin/activate; export BATCHGEN_ENV_FILE={shlex.quote(display_path(env_file))}")
    _say("  batchgen list")
    _say('  batchgen submit "a red fox" "a blue bird" --wait\n')
    while True:
        _check(stack)
        time.sleep(0.2)


def _stop(stack: StackProcess) -> None:
    """Stop the stack in order, or at a second interruption at once. Neither leaves a process behind."""
    for seconds in (STOP_SECONDS, LAST_SECONDS):
        if stack.poll() is not None:
            return
        stack.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            stack.wait(timeout=seconds)
    if stack.poll() is None:
        os.killpg(stack.pid, signal.SIGKILL)
        stack.wait()


def _free_port(wanted: int) -> int:
    """The wanted port, or 0 (any) if it is in use."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            _say(
                f"Port {wanted} is in use, so any free one is taken. PORT=N chooses another; the settings file has it."
            )
            return 0
    return wanted


def _interrupt(_number: int, _frame: Any) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
