"""A run: one provider's server, batches, two workers of which one is killed every second or two, and the report."""

import asyncio
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from psycopg import sql
from psycopg.rows import dict_row
from supabase import AsyncClient

from batchgen.backend.connection import connect, disconnect
from batchgen.backend.rpc import rpc
from batchgen.settings import Settings
from devstack import StackInfo
from tests.money.faults import FaultSource
from tests.money.ledger_checks import CheckReport, RunRecords, check_run
from tests.money.provider_log import ProviderLog
from tests.money.provider_setups import PROVIDER_SETUPS, ProviderSetup
from tests.money.worker_group import WorkerGroup
from tests.support import Database, eventually

Say = Callable[[str], None]

WORKERS = 2
BATCH_SIZE = 10
SUBJECTS = ("a red boat", "a small owl", "a city at night", "an old tree", "a glass bird", "a snowy pass")
REFUSED_SHARE = 0.04
CANCELLED_OF = 4
"""One of so many batches is cancelled while it runs."""
LEASE_SECONDS = 3
LOOK_SECONDS = 0.3
PROGRESS_SECONDS = 5.0
PACE: Mapping[str, object] = {
    "max_parallel_per_user": 16,
    "retry_delays_seconds": [0.2, 0.5, 1.0],
    "max_retries": 5,
    "breaker_failures": 20,
    "breaker_open_seconds": 1.0,
    "suspect_turn_seconds": 0.5,
    "max_waiting_per_user": 1_000_000,
    "default_daily_limit": 1_000_000,
    "default_hourly_limit": 1_000_000,
}
"""Settings for a short run."""
WORKER: Mapping[str, str] = {
    "BATCHGEN_MAX_PARALLEL": "10",
    "BATCHGEN_LEASE_SECONDS": str(LEASE_SECONDS),
    "BATCHGEN_POLL_SECONDS": "1",
    "BATCHGEN_ITEM_TIMEOUT_SECONDS": "8",
    "BATCHGEN_PROVIDER_TIMEOUT_SECONDS": "2",
    "BATCHGEN_SETTLE_SECONDS": "1",
    "BATCHGEN_GRACE_SECONDS": "10",
    "BATCHGEN_REQUEST_TIMEOUT_SECONDS": "5",
    "BATCHGEN_BACKOFF_SECONDS": "0.1",
    "BATCHGEN_BACKOFF_MAX_SECONDS": "1",
    "BATCHGEN_LOG_FORMAT": "json",
}


@dataclass(frozen=True)
class Options:
    """`kills`: the least number of kills; each batch adds a pause of a worker. After the last fault everything has
    `quiet_seconds` to end.
    """

    provider: str
    seed: int
    items: int = 50
    kills: int = 8
    quiet_seconds: float = 60


@dataclass
class Run:
    options: Options
    setup: ProviderSetup
    fault_source: FaultSource
    provider_log: ProviderLog
    workers: WorkerGroup
    database: Database
    user: AsyncClient
    model_id: uuid.UUID
    say: Say
    batches: list[str] = field(default_factory=list[str])

    async def perform(self) -> CheckReport:
        progress = asyncio.create_task(self._progress())
        try:
            for _ in range(WORKERS):
                await self.workers.add()
            await self._inject_faults()
            self.say("the faults are over")
            self.fault_source.is_over.set()
            is_quiet = await self._until_quiet()
        finally:
            progress.cancel()
        await self.workers.stop()
        report = await check_run(
            RunRecords(self.setup, self.provider_log, self.database, self.batches, self.workers.logs())
        )
        if not is_quiet:
            report.violations.append(f"not everything had ended {self.options.quiet_seconds:g} s after the last fault")
        report.violations += self.workers.unexpected_exits
        report.figures["faults of the provider"] = dict(sorted(self.fault_source.injected.items()))
        report.figures["workers"] = {"killed": self.workers.kills, "paused past their leases": self.workers.pauses}
        return report

    async def _inject_faults(self) -> None:
        """Submit batches and kill workers until there were enough of both."""
        random = Random(f"{self.options.seed}/kills")
        waiting = list(self._requests())
        every = max(1, self.options.kills // (len(waiting) + 1))
        async with asyncio.TaskGroup() as group:
            while self.workers.kills < self.options.kills or waiting:
                if waiting and self.workers.kills >= len(self.batches) * every:
                    request = waiting.pop(0)
                    batch = await self._submit(request)
                    group.create_task(self.workers.pause(random, LEASE_SECONDS + random.uniform(0.2, 2)))
                    if len(self.batches) % CANCELLED_OF == 2:
                        group.create_task(self._cancel_in_the_middle(batch, request))
                await asyncio.sleep(random.uniform(0, 0.5))
                await self.workers.replace(random)

    async def _submit(self, request: Mapping[str, Any]) -> str:
        answer = await rpc(self.user, "create_batch", {"p_request": request})
        self.batches.append(str(answer["batch"]["id"]))
        return self.batches[-1]

    async def _cancel_in_the_middle(self, batch: str, request: Mapping[str, Any]) -> None:
        """Cancel the batch when half of it has been ordered."""
        prompts = [prompt["text"] for prompt in request["prompts"]]

        def is_time() -> bool:
            ordered = sum(bool(self.provider_log.of(prompt)) for prompt in prompts)
            return ordered >= BATCH_SIZE // 2 or self.workers.kills >= self.options.kills

        await eventually(is_time, self.options.quiet_seconds, every=0.1, what="half of a batch is ordered")
        await rpc(self.user, "cancel_batch", {"p_batch_id": batch})

    def _requests(self) -> Sequence[Mapping[str, Any]]:
        random = Random(f"{self.options.seed}/prompts")
        blocked = (" #blocked" if random.random() < REFUSED_SHARE else "" for _ in range(self.options.items))
        prompts = [{"text": f"{random.choice(SUBJECTS)}, number {number}{mark}"} for number, mark in enumerate(blocked)]
        return [
            {
                "prompts": prompts[start : start + BATCH_SIZE],
                "shared_settings": {"model_id": str(self.model_id), "width": 64, "height": 64},
            }
            for start in range(0, len(prompts), BATCH_SIZE)
        ]

    async def _until_quiet(self) -> bool:
        """Wait until every item is final and every order is known; False after `quiet_seconds`.

        End the leases of killed workers on open orders first.
        """
        await self.database.execute("update batchgen.orders set lease_expires_at = now() where lease_id is not null")
        clock = asyncio.get_running_loop().time
        deadline = clock() + self.options.quiet_seconds
        while clock() < deadline:
            if not any((await self._state()).values()):
                return True
            await make_orders_due(self.database, self.workers.names)
            await asyncio.sleep(LOOK_SECONDS)
        return False

    async def _state(self) -> Mapping[str, int]:
        query = (
            "select (select count(*) from public.image_generations where batch_id = any (%(batches)s)"
            "   and status in ('pending', 'processing')) as items_to_do,"
            " (select count(*) from batchgen.orders where batch_id = any (%(batches)s)) as orders_open"
        )
        row = await (await self.database.execute(query, {"batches": self.batches})).fetchone()
        assert row
        return row

    async def _progress(self) -> None:
        while True:
            await asyncio.sleep(PROGRESS_SECONDS)
            states = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in (await self._state()).items())
            self.say(
                f"{len(self.batches) * BATCH_SIZE} items submitted, {states}; "
                f"{self.provider_log.count('created')} jobs, {self.workers.kills} kills"
            )


async def run(options: Options, stack: StackInfo, folder: Path, say: Say) -> CheckReport:
    """Perform a whole run on a running stack; all logs are left in `folder`."""
    async with _prepared(options, stack, folder, say) as prepared:
        return await prepared.perform()


@asynccontextmanager
async def _prepared(options: Options, stack: StackInfo, folder: Path, say: Say) -> AsyncGenerator[Run]:
    setup = PROVIDER_SETUPS[options.provider]
    fault_source, provider_log = FaultSource(options.seed), ProviderLog(folder / "provider.jsonl", setup.price_usd)
    async with AsyncExitStack() as parts:
        database = await Database.connect(stack.database_url, autocommit=True, row_factory=dict_row)
        parts.push_async_callback(database.close)
        await parts.enter_async_context(quick_pace(database))
        server = await parts.enter_async_context(setup.server(fault_source, provider_log))
        settings = Settings.model_validate({"supabase_url": stack.url, "supabase_secret_key": stack.secret_key})
        user = await connect(settings, key=stack.publishable_key)
        parts.push_async_callback(disconnect, user)
        await user.auth.sign_up({"email": f"{uuid.uuid4().hex}@example.test", "password": uuid.uuid4().hex})
        workers = WorkerGroup({**worker_environment(stack), **setup.environment(server.url)}, folder)
        parts.push_async_callback(workers.stop)
        model_id = await setup.add_model(database, f"money-{options.provider}-{uuid.uuid4().hex[:6]}")
        yield Run(options, setup, fault_source, provider_log, workers, database, user, model_id, say)


async def make_orders_due(database: Database, workers: Sequence[str] = ()) -> None:
    """End the pauses before open orders are asked about again, also for orders of dead workers.

    `workers` are alive. Nobody can learn the outcome of a dead worker's order at OpenAI: its day is ended, too.
    """
    await database.execute(
        "update batchgen.orders set ask_at = least(ask_at, clock_timestamp()), ended_at = case"
        " when worker = any (%s) then ended_at"
        " when provider = 'openai' and asked >= 3 then least(ended_at, clock_timestamp() - interval '25 hours')"
        " else least(ended_at, clock_timestamp() - interval '31 seconds') end"
        " where ended_at is not null and lease_id is null",
        [list(workers)],
    )


def worker_environment(stack: StackInfo) -> Mapping[str, str]:
    return {**WORKER, "SUPABASE_URL": stack.url, "SUPABASE_SECRET_KEY": stack.secret_key}


@asynccontextmanager
async def quick_pace(database: Database, **more: object) -> AsyncGenerator[None]:
    """Limits and pauses for a short run, until the block ends."""
    before = await (await database.execute("select * from batchgen.settings")).fetchone()
    assert before
    changed = {**PACE, **more}
    await _set(database, changed)
    try:
        yield
    finally:
        await _set(database, {name: before[name] for name in changed})


async def _set(database: Database, columns: Mapping[str, object]) -> None:
    for name, value in columns.items():
        await database.execute(sql.SQL("update batchgen.settings set {} = %s").format(sql.Identifier(name)), [value])
