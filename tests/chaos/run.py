"""A chaos run: its own dev stack, users, workers, a faulty provider and faults; then a quiet time and the report."""

import asyncio
import contextlib
import logging
import shutil
import socket
import tempfile
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom

import psycopg
import structlog

from batchgen.settings import Settings
from devstack import Stack, StackConfig, StackInfo
from scheduler.wakeup import Wakeup
from tests.chaos.chaos_provider import Keys
from tests.chaos.checks import CheckReport, RunRecords, check_run
from tests.chaos.credits import credit_violations, turn_on_credits
from tests.chaos.fault_injector import FaultInjector, Say, plan
from tests.chaos.paid_provider_server import PaidProviderServer
from tests.chaos.running_counts import record_running_counts
from tests.chaos.simulated_users import PlannedBatch, SimulatedUsers, plan_batches
from tests.chaos.worker_group import WorkerGroup

LEASE_SECONDS = 4
PROGRESS_SECONDS = 10.0
REALTIME_SECONDS = 60.0


@dataclass(frozen=True)
class Options:
    """`seconds` with faults; then everything has `quiet_seconds` to end."""

    seed: int
    seconds: float = 600
    batches: int = 200
    workers: int = 3
    users: int = 25
    keys: Keys = "chain"
    quiet_seconds: float = 180


@dataclass
class Run:
    options: Options
    folder: Path
    say: Say
    stack: Stack
    info: StackInfo
    provider: PaidProviderServer
    workers: WorkerGroup
    users: SimulatedUsers

    async def perform(self) -> CheckReport:
        options = self.options
        await record_running_counts(self.info.database_url)
        await self.users.sign_up(options.users)
        await turn_on_credits(self.info.database_url)
        self.workers.start()
        injector = FaultInjector(self.stack, self.workers, self.provider, self.say)
        progress = asyncio.create_task(self._progress())
        try:
            async with asyncio.TaskGroup() as group:
                batches = plan_batches(options.seed, options.batches, options.users, options.seconds)
                group.create_task(self.users.submit_all(batches))
                group.create_task(injector.run(plan(options.seed, options.seconds, LEASE_SECONDS)))
            self.say("the faults are over")
            self.provider.is_reliable = True
            realtime_is_back = await self._realtime_is_back()
            is_quiet = await self._until_quiet()
        finally:
            progress.cancel()
        await self.workers.stop()
        report = await check_run(
            RunRecords(self.info.database_url, self.users.submitted, self.provider.entries(), self.workers.logs())
        )
        if not is_quiet:
            report.violations.append(f"not all items were final {options.quiet_seconds:.0f} s after the last fault")
        if not realtime_is_back:
            report.violations.append(f"no Realtime event of a new batch came within {REALTIME_SECONDS:.0f} s")
        report.violations += await credit_violations(self.info.database_url)
        report.violations += self.users.problems + self.workers.unexpected_exits
        report.figures = {
            "faults injected": dict(sorted(injector.injected.items())),
            "faults of the provider": dict(sorted(self.provider.faults.items())),
            "requests": {"of users, sent again": self.users.resent},
            "workers": {"starts": self.workers.starts, "stopped with dead ticks": self.workers.gave_up},
            **report.figures,
        }
        return report

    async def _progress(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            try:
                states = await self._states()
            except psycopg.Error:
                states = "(Postgres does not answer)"
            self.say(f"          {len(self.users.submitted)} batches submitted; {states}")

    async def _states(self) -> str:
        async with await self._connect() as database:
            rows = await (
                await database.execute(
                    "select status, count(*) from public.image_generations where batch_id is not null group by 1"
                )
            ).fetchall()
        return ", ".join(f"{count} {status}" for status, count in sorted(rows)) or "no items"

    async def _until_quiet(self) -> bool:
        """Wait until the queue is empty and all batches are final; False after `quiet_seconds`."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + self.options.quiet_seconds
        while clock() < deadline:
            try:
                async with await self._connect() as database:
                    row = await (
                        await database.execute(
                            "select exists (select from batchgen.queue) or exists (select from public.batch_generations"
                            " where status in ('pending', 'processing'))"
                        )
                    ).fetchone()
                if row is not None and not row[0]:
                    return True
            except psycopg.Error as error:
                self.say(f"Postgres does not answer: {error}")
            await asyncio.sleep(0.5)
        return False

    async def _realtime_is_back(self) -> bool:
        """Check that a new subscription gets an event of a batch that is submitted after it."""
        told = asyncio.Event()
        probe = Wakeup(
            url=self.info.url, key=self.info.secret_key, wake=told.set, claimed=lambda: 0, pause=lambda _tries: 0.5
        )
        listening = asyncio.create_task(probe.run())
        try:
            async with asyncio.timeout(REALTIME_SECONDS):
                await probe.is_listening.wait()
                told.clear()  # it is set at each subscription, too
                request = {
                    "prompts": [{"text": f"the last one, {n}"} for n in range(2)],
                    "shared_settings": {"width": 64, "height": 64},
                    "client_key": "chaos-last",
                }
                await self.users.submit(PlannedBatch(0, 0, request))
                await told.wait()
        except TimeoutError:
            return False
        finally:
            listening.cancel()
            await asyncio.wait([listening])
        return True

    async def _connect(self) -> psycopg.AsyncConnection[tuple[object, ...]]:
        return await psycopg.AsyncConnection.connect(self.info.database_url, autocommit=True, connect_timeout=5)


async def run(options: Options, say: Say) -> CheckReport:
    """Perform a whole run. Keep the folder with all logs if a promise was broken."""
    folder = _new_folder()
    is_clean = False
    # the dev stack's own log goes to a file, faults that we inject included
    logging.basicConfig(filename=folder / "chaos.log", format="%(asctime)s %(name)s %(message)s", force=True)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    try:
        async with _prepared(options, folder, say) as prepared:
            report = await prepared.perform()
        is_clean = not report.violations
        return report
    finally:
        if is_clean:
            shutil.rmtree(folder, ignore_errors=True)
        else:
            say(f"logs and data: {folder}")


def _new_folder() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="batchgen-chaos-"))
    folder.chmod(0o711)  # Postgres may run as another user
    return folder


@asynccontextmanager
async def _prepared(options: Options, folder: Path, say: Say) -> AsyncGenerator[Run]:
    logs = folder / "workers"
    logs.mkdir()
    async with AsyncExitStack() as parts:
        # Durable: what is promised after a crash of Postgres must be on disk.
        stack = Stack(
            StackConfig(data_dir=folder / "stack", port=0, durable=True), lambda part, how: say(f"{part}: {how}")
        )
        stack.postgres.port = _port_to_come_back_to()
        info = await parts.enter_async_context(stack)
        provider = PaidProviderServer(options.seed, folder / "provider.jsonl")
        parts.push_async_callback(provider.stop)
        await provider.start()
        settings = Settings.model_validate({"supabase_url": info.url, "supabase_secret_key": info.secret_key})
        users = SimulatedUsers(settings, info.publishable_key)
        parts.push_async_callback(users.leave)
        workers = WorkerGroup(options.workers, _worker_environment(options, info, provider), logs)
        parts.push_async_callback(workers.stop)
        yield Run(options, folder, say, stack, info, provider, workers, users)


def _port_to_come_back_to() -> int:
    """A port below the ephemeral range: no other process takes it while Postgres is down."""
    for port in SystemRandom().sample(range(20_000, 32_000), 50):
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
    return 0


def _worker_environment(options: Options, info: StackInfo, provider: PaidProviderServer) -> dict[str, str]:
    return {
        "SUPABASE_URL": info.url,
        "SUPABASE_SECRET_KEY": info.secret_key,
        "CHAOS_PROVIDER_URL": provider.url,
        "CHAOS_KEYS": options.keys,
        "BATCHGEN_LEASE_SECONDS": str(LEASE_SECONDS),
        "BATCHGEN_POLL_SECONDS": "1",
        "BATCHGEN_ITEM_TIMEOUT_SECONDS": "8",
        "BATCHGEN_GRACE_SECONDS": "10",
        "BATCHGEN_REQUEST_TIMEOUT_SECONDS": "5",
        "BATCHGEN_BACKOFF_SECONDS": "0.1",
        "BATCHGEN_BACKOFF_MAX_SECONDS": "1",
        "BATCHGEN_LOG_FORMAT": "json",
    }
