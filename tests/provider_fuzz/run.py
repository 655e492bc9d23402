"""Rounds of replaced answers: a worker process, the cases of one user, and the untouched items of another user."""

import asyncio
import signal
import uuid
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from psycopg.rows import dict_row
from supabase import AsyncClient

from batchgen.backend.connection import connect, disconnect
from batchgen.backend.rpc import rpc
from batchgen.settings import Settings
from devstack import StackInfo
from tests.money.ledger_checks import MADE_AGAIN, OWN_FAULTS, WITHOUT_A_PICTURE
from tests.money.provider_log import ProviderLog
from tests.money.provider_setups import PROVIDER_SETUPS, ProviderSetup
from tests.money.run import quick_pace, worker_environment
from tests.provider_fuzz.cases import Case, in_groups
from tests.provider_fuzz.servers import NO_PROMPT, TARGETS, AnswerReplacer
from tests.support import Database, WorkerProcess

GROUP = 40
"""Cases that run at the same time."""
BATCH_SIZE = 10
ROUND_SECONDS = 90.0
LOOK_SECONDS = 0.25
WORKER: Mapping[str, str] = {
    "BATCHGEN_MAX_PARALLEL": "60",
    "BATCHGEN_LEASE_SECONDS": "30",
    "BATCHGEN_POLL_SECONDS": "0.5",
    "BATCHGEN_ITEM_TIMEOUT_SECONDS": "12",
    "BATCHGEN_PROVIDER_TIMEOUT_SECONDS": "4",
    "BATCHGEN_OFFLINE_SECONDS": "0",
}
PACE: Mapping[str, object] = {
    "max_parallel_per_user": 60,
    "max_parallel_global": 200,
    "max_retries": 4,
    "retry_delays_seconds": [0.1],
    "breaker_failures": 1000,
    "breaker_open_seconds": 0.1,
}
SIZE = {"width": 64, "height": 64}
ITEMS = "select id, prompt, status, error_code, error_message from public.image_generations where batch_id = any (%s)"


@dataclass
class Report:
    """`violations` lists broken promises."""

    cases: int = 0
    sent: int = 0
    completed: int = 0
    codes: dict[str, int] = field(default_factory=dict[str, int])
    violations: list[str] = field(default_factory=list[str])


@dataclass
class FuzzRun:
    """The parts of a run."""

    provider: str
    setup: ProviderSetup
    provider_log: ProviderLog
    replacer: AnswerReplacer
    database: Database
    user: AsyncClient
    other_user: AsyncClient
    model_id: uuid.UUID
    worker: WorkerProcess
    report: Report = field(default_factory=Report)

    async def run(self, cases: Sequence[Case], say: Callable[[str], None]) -> Report:
        for group in in_groups(cases, GROUP):
            await self._round(group)
            report = self.report
            say(f"{report.cases} cases, {report.sent} replaced answers, {len(report.violations)} violations")
            if self.worker.process.returncode is not None:
                self.report.violations.append(f"the worker ended with {self.worker.process.returncode}")
                return self.report
        await self._stop_worker()
        return self.report

    async def _round(self, group: Sequence[Case]) -> None:
        """Run all cases of a group at the same time. Each has its own prompt."""
        prompts = {f"a fox, case {self.report.cases + number}": case for number, case in enumerate(group)}
        padding = [] if len(prompts) % BATCH_SIZE != 1 else [f"a fox beside case {self.report.cases}"]
        for prompt, case in prompts.items():
            self.replacer.plan(prompt, case, TARGETS[self.provider].without_job)
        texts = [*prompts, *padding]
        batches = [
            await self._submit(self.user, texts[start : start + BATCH_SIZE], str(self.model_id))
            for start in range(0, len(texts), BATCH_SIZE)
        ]
        clean = [
            await self._submit(self.other_user, ["a quiet owl", "a quiet hare"], str(self.model_id)),
            await self._submit(self.other_user, ["an owl", "a hare"], "batchgen/offline-sketch"),
        ]
        await self._until_over([*batches, *clean])
        await self._check(prompts, batches, clean)
        self.report.cases += len(group)

    async def _submit(self, client: AsyncClient, prompts: Sequence[str], model: str) -> str:
        request = {"prompts": [{"text": prompt} for prompt in prompts], "shared_settings": {"model_id": model, **SIZE}}
        return str((await rpc(client, "create_batch", {"p_request": request}))["batch"]["id"])

    async def _until_over(self, batches: Sequence[str]) -> None:
        """Wait until every item is final. End waits that a provider demanded, because they may last a day."""
        clock = asyncio.get_running_loop().time
        deadline = clock() + ROUND_SECONDS
        while clock() < deadline and self.worker.process.returncode is None:
            if all(item["status"] in ("completed", "failed") for item in await self._items(batches)):
                return
            await self.database.execute("delete from batchgen.providers")
            await self.database.execute("delete from batchgen.breakers")
            await self.database.execute("update batchgen.queue set due_at = now() where state = 'delayed'")
            await asyncio.sleep(LOOK_SECONDS)

    async def _items(self, batches: Sequence[str]) -> Sequence[Mapping[str, Any]]:
        return await (await self.database.execute(ITEMS, [list(batches)])).fetchall()

    async def _check(self, prompts: Mapping[str, Case], batches: Sequence[str], clean: Sequence[str]) -> None:
        report = self.report
        for item in await self._items(clean):
            if item["status"] != "completed":
                report.violations.append(f"an untouched item of another user is not completed: {dict(item)}")
        for item in await self._items(batches):
            prompt = item["prompt"]
            details = f"{dict(item)}\n  sent {self.replacer.sent[prompt]}\n  log {list(self.provider_log.of(prompt))}"
            if problem := self._problem(item):
                report.violations.append(f"{problem}: {details}\n  planned {prompts.get(prompt)}")
            report.sent += len(self.replacer.sent[prompt])
            report.completed += item["status"] == "completed"
            if item["status"] == "failed":
                report.codes[str(item["error_code"])] = report.codes.get(str(item["error_code"]), 0) + 1

    def _problem(self, item: Mapping[str, Any]) -> str | None:
        prompt, code = item["prompt"], item["error_code"]
        if item["status"] not in ("completed", "failed"):
            return "is not final"
        if item["status"] == "failed" and not code:
            return "failed without a code"
        if code in ("crashed", "internal_error"):
            return f"ended by a fault of the worker, {code}"
        again = self._ordered_again(prompt)
        allowed = self.replacer.possible_ends[prompt] + self.replacer.possible_ends[NO_PROMPT]
        if self.provider in MADE_AGAIN:  # if its picture's content was replaced, the picture is lost
            allowed = len(self.replacer.sent[prompt]) + len(self.replacer.sent[NO_PROMPT])
        return f"ordered {again} times too often, {allowed} allowed" if again > allowed else None

    def _ordered_again(self, prompt: str) -> int:
        """The number of jobs that were created while an earlier one had not ended without a picture."""
        alive: set[str] = set()
        again = 0
        for event in self.provider_log.of(prompt):
            job, what = str(event["job"]), str(event["event"])
            if what == "created":
                again += bool(alive)
                alive.add(job)
            elif what in WITHOUT_A_PICTURE:
                alive.discard(job)
        return again

    async def _stop_worker(self) -> None:
        self.worker.send(signal.SIGTERM)
        code = await self.worker.exit_code(60)
        if code:
            self.report.violations.append(f"the worker ended with {code}: {self.worker.lines[-5:]}")
        self.report.violations += [
            f"a fault of the worker: {event}"
            for event in self.worker.events
            if event["event"] in OWN_FAULTS or event.get("code") == "internal_error"
        ]


async def fuzz(
    provider: str, cases: Sequence[Case], stack: StackInfo, folder: Path, say: Callable[[str], None] = lambda _: None
) -> Report:
    """Run all cases against one worker process on a running stack."""
    async with _prepared(provider, stack, folder) as fuzz_run:
        return await fuzz_run.run(cases, say)


@asynccontextmanager
async def _prepared(provider: str, stack: StackInfo, folder: Path) -> AsyncGenerator[FuzzRun]:
    setup = PROVIDER_SETUPS[provider]
    provider_log = ProviderLog(folder / f"{provider}.jsonl", setup.price_usd)
    async with AsyncExitStack() as parts:
        database = await Database.connect(stack.database_url, autocommit=True, row_factory=dict_row)
        parts.push_async_callback(database.close)
        await parts.enter_async_context(quick_pace(database, **PACE))
        server = TARGETS[provider].server(provider_log)
        await parts.enter_async_context(server)
        settings = Settings.model_validate({"supabase_url": stack.url, "supabase_secret_key": stack.secret_key})
        users: list[AsyncClient] = []
        for _ in range(2):
            client = await connect(settings, key=stack.publishable_key)
            parts.push_async_callback(disconnect, client)
            await client.auth.sign_up({"email": f"{uuid.uuid4().hex}@example.test", "password": uuid.uuid4().hex})
            users.append(client)
        model_id = await setup.add_model(database, f"fuzz-{provider}-{uuid.uuid4().hex[:6]}")
        worker = await WorkerProcess.start({**worker_environment(stack), **setup.environment(server.url), **WORKER})
        parts.push_async_callback(worker.end)
        replacer: AnswerReplacer = cast("Any", server).replacer
        yield FuzzRun(provider, setup, provider_log, replacer, database, users[0], users[1], model_id, worker)
        await database.execute("delete from batchgen.orders")
