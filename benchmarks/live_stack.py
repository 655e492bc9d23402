"""The dev stack with users and metered workers, for subjects that go through REST."""

import asyncio
import contextlib
import os
import sys
import time
import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import jwt

from benchmarks.cluster import Connection, connect
from benchmarks.machine import ROOT
from devstack import Stack, StackConfig, StackInfo

LISTENING = "listening for new batches"
START_SECONDS = 60
LONGEST_SECONDS = 300


class WorkerStuck(Exception):
    """The worker ended, or an expected event did not come."""


@dataclass(frozen=True)
class Moment:
    generation: str
    at: float
    """Seconds of CLOCK_MONOTONIC."""
    requests: int


@dataclass
class MeteredWorker:
    """A worker process and the events of its items."""

    process: asyncio.subprocess.Process
    moments: dict[str, list[Moment]] = field(default_factory=dict[str, list[Moment]])
    log: list[str] = field(default_factory=list[str])

    def all(self, event: str) -> list[Moment]:
        return self.moments.get(event, [])

    async def until(self, ready: Callable[[], bool], seconds: float = LONGEST_SECONDS) -> None:
        deadline = time.monotonic() + seconds
        while not ready():
            if self.process.returncode is not None or time.monotonic() > deadline:
                raise WorkerStuck(f"{len(self.all('done'))} items done; the worker's last lines: {self.log[-3:]}")
            await asyncio.sleep(0.005)

    async def until_done(self, items: int) -> None:
        await self.until(lambda: len(self.all("done")) >= items)
        if len(self.all("made")) < items:
            raise WorkerStuck(f"{items} items ended, but the provider made only {len(self.all('made'))} pictures")

    async def read_events(self) -> None:
        assert self.process.stdout  # noqa: S101
        async for line in self.process.stdout:
            event, generation, nanoseconds, *requests = line.decode().split()
            moment = Moment(generation, int(nanoseconds) / 1e9, int(requests[0]) if requests else 0)
            self.moments.setdefault(event, []).append(moment)

    async def read_log(self) -> None:
        assert self.process.stderr  # noqa: S101
        async for line in self.process.stderr:
            self.log.append(line.decode().rstrip())


@dataclass
class LiveStack:
    info: StackInfo
    database: Connection
    http: httpx.AsyncClient

    async def new_users(self, count: int) -> list[str]:
        """Create users and return their ids. They have no password; `token` makes their tokens."""
        ids = [str(uuid.uuid4()) for _ in range(count)]
        await self.database.execute(
            "insert into auth.users (id, email) select id, id || '@example.test' from unnest(%s::uuid[]) id", [ids]
        )
        return ids

    def token(self, user: str) -> str:
        claims = {"sub": user, "role": "authenticated", "aud": "authenticated", "exp": int(time.time()) + 3600}
        return jwt.encode(claims, self.info.jwt_secret, algorithm="HS256")

    async def submit(self, user: str, items: int) -> list[str]:
        """Create a batch as the app does; return the ids of its items."""
        headers = {"apikey": self.info.publishable_key, "authorization": f"Bearer {self.token(user)}"}
        request = {"p_request": {"prompts": [{"text": f"picture {n}"} for n in range(items)]}}
        answer = await self.http.post(f"{self.info.url}/rest/v1/rpc/create_batch", json=request, headers=headers)
        answer.raise_for_status()
        batch: dict[str, Any] = answer.json()["batch"]
        return [generation["id"] for generation in batch["generations"]]

    async def insert_batch(self, user: str, items: int) -> None:
        """Create a batch directly in the database, if creating is not what is measured."""
        prompts = ", ".join(f'{{"text": "picture {n}"}}' for n in range(items))
        await self.database.execute(
            "select public.create_batch_as(%s, %s::jsonb)", [user, f'{{"prompts": [{prompts}]}}']
        )

    async def empty(self) -> None:
        await self.database.execute("delete from public.image_generations where batch_id is not null")
        await self.database.execute("delete from public.batch_generations")
        await self.database.execute("vacuum (analyze)")

    @asynccontextmanager
    async def worker(self, *, seconds: float = 0) -> AsyncGenerator[MeteredWorker]:
        """A worker that listens for batches; its provider takes `seconds` per picture."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.metered_worker"),
            cwd=ROOT,
            env={**_plain_environment(), **self._worker_environment(seconds)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        worker = MeteredWorker(process)
        reading = [asyncio.create_task(worker.read_events()), asyncio.create_task(worker.read_log())]
        try:
            await worker.until(lambda: any(LISTENING in line for line in worker.log), START_SECONDS)
            yield worker
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
            await asyncio.gather(*reading)

    def _worker_environment(self, seconds: float) -> dict[str, str]:
        return {
            "SUPABASE_URL": self.info.url,
            "SUPABASE_SECRET_KEY": self.info.secret_key,
            "BATCHGEN_GRACE_SECONDS": "0",
            "BENCH_PROVIDER_SECONDS": str(seconds),
        }


@asynccontextmanager
async def running_stack(folder: Path) -> AsyncGenerator[LiveStack]:
    """A durable dev stack without a worker."""
    limits = httpx.Limits(max_connections=200)
    async with (
        Stack(StackConfig(data_dir=folder, port=0, durable=True)) as info,
        await connect(info.database_url) as database,
        httpx.AsyncClient(timeout=60, limits=limits) as http,
    ):
        yield LiveStack(info, database, http)


def _plain_environment() -> dict[str, str]:
    """An environment without the developer's settings."""
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
