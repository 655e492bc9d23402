"""`batchgen dev`: run the dev stack and a worker in the foreground. Only this module reads the environment."""

import argparse
import asyncio
import contextlib
import logging
import os
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from batchgen.exit_codes import DONE, UNREACHABLE, WORK_FAILED
from devstack.errors import DevstackError, MigrationFailed, PartEnded
from devstack.files import display_path, write_private
from devstack.stack import Stack, StackConfig, StackInfo
from devstack.terminal import Terminal
from devstack.users import make_dev_account
from devstack.worker import WorkerProcess, worker_environment

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class DevOptions:
    stack: StackConfig
    env_file: Path
    worker: bool
    worker_log: Path | None = None
    brief: bool = False


def main(argv: list[str] | None = None) -> int:
    """Run until a signal. Returns 0 after an orderly stop, 1 if a part ended by itself, 3 if the start failed."""
    options = _parse(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.WARNING, format="batchgen dev: %(message)s", stream=sys.stderr)
    logging.getLogger("devstack.realtime").setLevel(logging.ERROR)  # it retries and reports to its clients
    try:
        asyncio.run(_until_signal(options))
    except KeyboardInterrupt:  # before the signal handlers were installed: nothing was started yet
        return DONE
    except PartEnded as error:
        print(f"batchgen dev: {error}", file=sys.stderr)  # noqa: T201
        return WORK_FAILED
    except MigrationFailed as error:
        folder = display_path(options.stack.data_dir)
        print(f"batchgen dev: {error} To start with an empty database, remove {folder}.", file=sys.stderr)  # noqa: T201
        return UNREACHABLE
    except DevstackError as error:
        print(f"batchgen dev: {error}", file=sys.stderr)  # noqa: T201
        return UNREACHABLE
    return DONE


def _parse(argv: Sequence[str]) -> DevOptions:
    parser = argparse.ArgumentParser(
        prog="batchgen dev", description="Run Supabase on this machine, for development and tests only."
    )
    parser.add_argument(
        "--port",
        type=_port,
        default=54321,
        metavar="N",
        help="port of all services; 0: any free one (default: 54321)",
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        default=Path(".batchgen/dev"),
        metavar="DIR",
        help="folder of all data (default: .batchgen/dev)",
    )
    parser.add_argument(
        "--env-file",
        type=Path,
        metavar="FILE",
        help="settings file, written when ready and removed at the end (default: DIR/dev.env)",
    )
    parser.add_argument("--no-worker", action="store_true", help="do not start a worker")
    parser.add_argument(
        "--worker-log", type=Path, metavar="FILE", help="write the worker's log to FILE (default: stderr)"
    )
    parser.add_argument("--brief", action="store_true", help=argparse.SUPPRESS)  # for make demo
    given = parser.parse_args(argv)
    data_dir: Path = given.data_dir.resolve()
    return DevOptions(
        stack=StackConfig(data_dir=data_dir, port=given.port, cache_dir=_cache_dir(data_dir)),
        env_file=(given.env_file or data_dir / "dev.env").resolve(),
        worker=not given.no_worker,
        brief=given.brief,
        worker_log=given.worker_log.resolve() if given.worker_log else None,
    )


def _cache_dir(data_dir: Path) -> Path | None:
    """`BATCHGEN_CACHE_DIR`; without a home folder, a folder below the data; None for the user's own cache."""
    if named := os.environ.get("BATCHGEN_CACHE_DIR"):
        return Path(named).resolve()
    return data_dir / "cache" if os.environ.get("HOME") == "" else None


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError(text)
    return port


async def _until_signal(options: DevOptions) -> None:
    stack = Stack(options.stack, (terminal := Terminal(brief=options.brief)).part)
    running = asyncio.create_task(_run(options, stack, terminal))
    signals = 0

    def stop() -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            _end_at_once(stack)
        terminal.say("Stopping.")
        running.cancel()

    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop)
    with contextlib.suppress(asyncio.CancelledError):
        await running


def _end_at_once(stack: Stack) -> None:
    """Exit without cleaning up: the kernel ends the child processes, and Postgres recovers at the next start."""
    if stack.postgres.pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(stack.postgres.pid, signal.SIGQUIT)
    os._exit(1)


async def _run(options: DevOptions, stack: Stack, terminal: Terminal) -> None:
    began = time.monotonic()
    terminal.begin(stack.data_dir)
    stack.claim()
    options.env_file.unlink(missing_ok=True)  # scripts wait for it, and a killed run may have left one
    async with stack as info:
        try:
            await _serve(options, stack, info, terminal, began)
        finally:
            options.env_file.unlink(missing_ok=True)


async def _serve(options: DevOptions, stack: Stack, info: StackInfo, terminal: Terminal, began: float) -> None:
    await make_dev_account(info.url, info.publishable_key)
    worker = WorkerProcess(worker_environment(os.environ, info.url, info.secret_key), options.worker_log)
    working = [asyncio.create_task(worker.run())] if options.worker else []
    postgres = asyncio.create_task(_ended(stack))
    try:
        options.env_file.parent.mkdir(parents=True, exist_ok=True)
        write_private(options.env_file, _settings(info))
        terminal.ready(info, options.env_file, time.monotonic() - began)
        await asyncio.gather(postgres, *working)
    finally:
        for task in (postgres, *working):
            task.cancel()
        await asyncio.wait([postgres, *working])


async def _ended(stack: Stack) -> None:
    await stack.postgres.wait()
    raise PartEnded(f"Postgres ended unexpectedly, so the stack stops; see {display_path(stack.postgres.log_file)}.")


def _settings(info: StackInfo) -> str:
    return (
        f"SUPABASE_URL={info.url}\n"
        f"SUPABASE_PUBLISHABLE_KEY={info.publishable_key}\n"
        f"SUPABASE_SECRET_KEY={info.secret_key}\n"
        f"DATABASE_URL={info.database_url}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
