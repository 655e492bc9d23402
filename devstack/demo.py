"""`make demo`: the whole main job on this machine, by the same commands that a user would type.

Starts `batchgen dev`, signs up a user, submits five prompts, shows them live, saves the pictures and a contact sheet,
and leaves the stack running until Ctrl-C (`--once` stops it).
"""

import argparse
import os
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from devstack.progress import shortest

PROMPTS = (
    "a red fox in a snowy forest at dawn",
    "a cyberpunk city at night, neon rain",
    "a lighthouse in a storm",
    "hot air balloons over golden dunes",
    "a whale under the stars",
)
START_SECONDS = 180
STOP_SECONDS = 60


class DemoError(Exception):
    """The demo could not go on; the message says why."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the demo; 0 when the batch completed, 1 otherwise."""
    options = _parse(argv)
    data_dir: Path = options.data_dir.resolve()
    env_file = data_dir / "dev.env"
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with _running_stack(_free_port(options.port), data_dir, env_file) as stack:
            _main_job(env_file, options.save_to)
            if not options.once:
                _leave_running(stack)
    except KeyboardInterrupt:
        return 0
    except DemoError as error:
        _say(f"The demo failed: {error}")
        return 1
    return 0


def _parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m devstack.demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="stop the stack at the end instead of leaving it running")
    parser.add_argument("--port", type=int, default=54321, help="taken if it is free; otherwise any free one")
    parser.add_argument("--data-dir", type=Path, default=Path(".batchgen/demo"), help="what the stack keeps")
    parser.add_argument("--save-to", type=Path, default=Path("demo-output"), help="where the pictures go")
    return parser.parse_args(argv)


def _main_job(env_file: Path, save_to: Path) -> None:
    password = secrets.token_urlsafe(16)
    email = f"demo-{secrets.token_hex(4)}@example.com"
    _command(env_file, "login", "--sign-up", "--email", email, "--password-stdin", answer=password)
    _command(env_file, "submit", *PROMPTS, "--name", "Demo", "--save-to", str(save_to), "--contact-sheet")
    _say(f"The pictures and the contact sheet are in {save_to.resolve()}")


def _command(env_file: Path, *arguments: str, answer: str | None = None) -> None:
    """Show a command as a user would type it, and run it."""
    _say(f"\n$ batchgen {shlex.join(arguments)}")
    command = [sys.executable, "-m", "batchgen", "--env-file", str(env_file), *arguments]
    code = subprocess.run(command, input=answer, text=True, check=False).returncode
    if code:
        raise DemoError(f"batchgen {arguments[0]} ended with exit code {code}")


@contextmanager
def _running_stack(port: int, data_dir: Path, env_file: Path) -> Generator[subprocess.Popen[bytes]]:
    data_dir.mkdir(parents=True, exist_ok=True)
    env_file.unlink(missing_ok=True)
    log = data_dir / "worker.log"
    _say(f"$ batchgen dev --port {port}    (its worker logs to {shortest(log)})")
    stack = _start(port, data_dir, env_file, log)
    try:
        _wait_until_ready(stack, env_file)
        yield stack
    finally:
        _stop(stack)


def _start(port: int, data_dir: Path, env_file: Path, log: Path) -> subprocess.Popen[bytes]:
    """The stack in a session of its own, so that Ctrl-C reaches it through us alone."""
    command = [sys.executable, "-m", "batchgen", "dev", "--port", str(port)]
    command += ["--data-dir", str(data_dir), "--env-file", str(env_file)]
    with log.open("wb") as stderr:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=stderr, start_new_session=True)


def _wait_until_ready(stack: subprocess.Popen[bytes], env_file: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not env_file.exists():
        if stack.poll() is not None:
            raise DemoError(f"batchgen dev ended with exit code {stack.returncode}; {_last_line(env_file)}")
        if time.monotonic() > deadline:
            raise DemoError(f"batchgen dev was not ready after {START_SECONDS} s")
        time.sleep(0.1)


def _last_line(env_file: Path) -> str:
    lines = (env_file.parent / "worker.log").read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it said nothing"


def _leave_running(stack: subprocess.Popen[bytes]) -> None:
    _say("\nThe stack goes on running. Try the commands above in another terminal; Ctrl-C here stops it.")
    stack.wait()


def _stop(stack: subprocess.Popen[bytes]) -> None:
    if stack.poll() is None:
        stack.terminate()
    try:
        stack.wait(timeout=STOP_SECONDS)
    except subprocess.TimeoutExpired:
        os.killpg(stack.pid, signal.SIGKILL)
        stack.wait()


def _free_port(wanted: int) -> int:
    """The wanted port, or 0 (any) where somebody else has it."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", wanted))
        except OSError:
            _say(f"Port {wanted} is in use; the demo takes a free one.")
            return 0
    return wanted


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201


if __name__ == "__main__":
    sys.exit(main())
