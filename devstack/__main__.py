"""`batchgen dev`: the dev stack and a worker in the foreground. The only place that reads the environment."""

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

from devstack.accounts import make_dev_account
from devstack.errors import DevstackError, MigrationFailed, PartEnded
from devstack.files import shortest, write_private
from devstack.progress import Progress
from devstack.stack import Stack, StackConfig, StackInfo
from devstack.worker import WorkerProcess, worker_environment

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Options:
    stack: StackConfig
    env_file: Path
    worker: bool
    worker_log: Path | None = None
    brief: bool = False


def main(argv: list[str] | None = None) -> int:
    """Run until a signal; 0 after an orderly stop, 1 when a part ended meanwhile, 3 when it could not start."""
    options = _parse(sys.argv[1:] if argv is None else argv)
    logging.basicConfig(level=logging.WARNING, format="batchgen dev: %(message)s", stream=sys.stderr)
    logging.getLogger("devstack.realtime").setLevel(logging.ERROR)  # it tries again, and whoever needs to know is told
    try:
        asyncio.run(_until_signal(options))
    except KeyboardInterrupt:  # before the loop listens to signals: nothing was started yet
        return 0
    except PartEnded as error:
        print(f"batchgen dev: {error}", file=sys.stderr)  # noqa: T201
        return 1
    except MigrationFailed as error:
        folder = shortest(options.stack.data_dir)
        print(f"batchgen dev: {error} To begin with an empty database, remove {folder}.", file=sys.stderr)  # noqa: T201
        return 3
    except DevstackError as error:
        print(f"batchgen dev: {error}", file=sys.stderr)  # noqa: T201
        return 3
    return 0


def _parse(argv: Sequence[str]) -> Options:
    parser = argparse.ArgumentParser(
        prog="batchgen dev", description="Supabase on this machine, for development and tests only."
    )
    parser.add_argument("--port", type=_port, default=54321, help="the one port of all services; 0: any free one")
    parser.add_argument("--data-dir", type=Path, default=Path(".batchgen/dev"), help="what it keeps (./.batchgen/dev)")
    parser.add_argument("--env-file", type=Path, help="written when ready, removed at the end (<data-dir>/dev.env)")
    parser.add_argument("--no-worker", action="store_true", help="start no worker")
    parser.add_argument("--worker-log", type=Path, metavar="FILE", help="the worker's log goes there; else to stderr")
    parser.add_argument("--brief", action="store_true", help=argparse.SUPPRESS)  # for make demo
    given = parser.parse_args(argv)
    data_dir: Path = given.data_dir.resolve()
    return Options(
        stack=StackConfig(data_dir=data_dir, port=given.port, cache_dir=_cache_dir(data_dir)),
        env_file=(given.env_file or data_dir / "dev.env").resolve(),
        worker=not given.no_worker,
        brief=given.brief,
        worker_log=given.worker_log.resolve() if given.worker_log else None,
    )


def _cache_dir(data_dir: Path) -> Path | None:
    """What the environment names; the data folder where there is no home; else the user's own."""
    if named := os.environ.get("BATCHGEN_CACHE_DIR"):
        return Path(named).resolve()
    return data_dir / "cache" if os.environ.get("HOME") == "" else None


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:
        raise ValueError(text)
    return port


async def _until_signal(options: Options) -> None:
    stack = Stack(options.stack, (progress := Progress(brief=options.brief)).part)
    running = asyncio.create_task(_run(options, stack, progress))
    signals = 0

    def stop() -> None:
        nonlocal signals
        signals += 1
        if signals > 1:
            _end_at_once(stack)
        progress.say("Stopping.")
        running.cancel()

    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop)
    with contextlib.suppress(asyncio.CancelledError):
        await running


def _end_at_once(stack: Stack) -> None:
    """Without this process the kernel ends the others; Postgres recovers at the next start."""
    if stack.postgres.pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(stack.postgres.pid, signal.SIGQUIT)
    os._exit(1)


async def _run(options: Options, stack: Stack, progress: Progress) -> None:
    began = time.monotonic()
    progress.begin(stack.data_dir)
    stack.claim()
    options.env_file.unlink(missing_ok=True)  # a killed run leaves one, and scripts wait for ours
    async with stack as info:
        try:
            await _serve(options, stack, info, progress, began)
        finally:
            options.env_file.unlink(missing_ok=True)


async def _serve(options: Options, stack: Stack, info: StackInfo, progress: Progress, began: float) -> None:
    await make_dev_account(info.url, info.publishable_key)
    worker = WorkerProcess(worker_environment(os.environ, info.url, info.secret_key), options.worker_log)
    working = [asyncio.create_task(worker.run())] if options.worker else []
    postgres = asyncio.create_task(_ended(stack))
    try:
        options.env_file.parent.mkdir(parents=True, exist_ok=True)
        write_private(options.env_file, _settings(info))
        progress.ready(info, options.env_file, time.monotonic() - began)
        await asyncio.gather(postgres, *working)
    finally:
        for task in (postgres, *working):
            task.cancel()
        await asyncio.wait([postgres, *working])


async def _ended(stack: Stack) -> None:
    await stack.postgres.wait()
    raise PartEnded(f"Postgres ended unexpectedly, see {shortest(stack.postgres.log_file)}: all is stopped.")


def _settings(info: StackInfo) -> str:
    return (
        f"SUPABASE_URL={info.url}\n"
        f"SUPABASE_PUBLISHABLE_KEY={info.publishable_key}\n"
        f"SUPABASE_SECRET_KEY={info.secret_key}\n"
        f"DATABASE_URL={info.database_url}\n"
    )


if __name__ == "__main__":
    sys.exit(main())
