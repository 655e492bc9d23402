"""Start the parts of the stack in order, keep them running, and stop them in reverse order."""

import asyncio
import contextlib
import logging
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack, ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from platformdirs import user_cache_path

from devstack import database, migrations
from devstack.errors import DevstackError, FunctionsFailed
from devstack.files import display_path
from devstack.functions import FunctionsConfig, FunctionsServer, default_functions_dir
from devstack.gateway import AdminUsers, Gateway, Upstream, listen
from devstack.keys import Keys, load_or_create_keys
from devstack.lite import LiteConfig, LiteServer
from devstack.lock import DataDirLock
from devstack.loopback import LoopbackServer
from devstack.node import deno_binary, install_packages
from devstack.postgres import PostgresServer
from devstack.realtime import RealtimeServer
from devstack.users import list_users

log = logging.getLogger(__name__)

T = TypeVar("T")
ReportPart = Callable[[str, str], None]

RESTART_PAUSES_SECONDS = (0.0, 0.5, 2.0, 5.0)


@dataclass(frozen=True)
class StackConfig:
    """`port` 0 takes any free one; `migrations_dir` and `functions_dir` default to the project's.

    `durable=False` is faster but loses data in a power cut, for tests.
    """

    data_dir: Path
    port: int = 54321
    migrations_dir: Path | None = None
    functions_dir: Path | None = None
    durable: bool = True
    cache_dir: Path | None = None


@dataclass(frozen=True)
class StackInfo:
    url: str
    publishable_key: str
    secret_key: str
    jwt_secret: str
    database_url: str
    data_dir: Path


class Stack:
    """Supabase on one machine; `report(part, detail)` is called for each part that is up."""

    def __init__(self, config: StackConfig, report: ReportPart | None = None) -> None:
        self.config = config
        self.data_dir = config.data_dir.resolve()
        self.postgres = PostgresServer(
            self.data_dir / "postgres", durable=config.durable, log_file=self._log_file("postgres")
        )
        self.realtime: RealtimeServer | None = None
        self._report = report or _report_nothing
        self._parts = AsyncExitStack()
        self._listener: socket.socket | None = None
        self._lite: LiteServer | None = None
        self._functions: FunctionsServer | None = None
        self._lite_changes = asyncio.Lock()

    async def __aenter__(self) -> StackInfo:
        return await self.start()

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def claim(self) -> socket.socket:
        """Lock the data folder and open the port, unless `start` is to do it. Raises `DataDirInUse` or `PortInUse`."""
        self.data_dir.mkdir(mode=0o711, parents=True, exist_ok=True)  # not 0700: Postgres may run as another user
        with ExitStack() as taken:
            lock = DataDirLock(self.data_dir)
            lock.acquire()
            taken.callback(lock.release)
            for private in ("logs", "storage", "deno"):
                (self.data_dir / private).mkdir(mode=0o700, exist_ok=True)
            self._listener = taken.enter_context(listen(self.config.port))
            self._parts.push(taken.pop_all())
        return self._listener

    async def start(self) -> StackInfo:
        """Start all parts; return when they are ready. A failed start stops the parts that it had started."""
        try:
            return await self._start()
        except BaseException:
            await self.stop()
            raise

    async def stop(self) -> None:
        self._listener = None
        await self._parts.aclose()

    async def restart_lite(self) -> None:
        """Restart Lite, which then sees the changes of migrations. Requests get 503 meanwhile."""
        async with self._lite_changes:
            lite = self._running_lite()
            await lite.stop()
            await lite.start()

    async def apply_migrations(self) -> list[migrations.Migration]:
        folder = self.config.migrations_dir or migrations.default_migrations_dir()
        return await migrations.apply_migrations(self.postgres.dsn(), folder)

    async def _start(self) -> StackInfo:
        listener = self._listener or self.claim()
        keys = load_or_create_keys(self.data_dir / "keys.json")
        scripts = await self._timed("Node packages", self._install_packages())
        await self._timed("Postgres", self._start_postgres())
        info = self._info(keys, listener)
        self._lite = LiteServer(scripts, self._lite_config(info), self._log_file("lite"))
        await self._timed("Database", self._prepare_database(self._lite))
        await self._timed("REST, Auth, Storage", self._start_lite(self._lite))
        realtime = await self._timed("Realtime", self._start_realtime(info))
        if deno := deno_binary(scripts):
            self._functions = FunctionsServer(deno, self._functions_config(info), self._log_file("functions"))
            await self._timed("Edge Functions", self._start_functions(self._functions))
        await self._timed("Gateway", self._start_gateway(listener, realtime, info))
        return info

    async def _timed(self, part: str, starting: Awaitable[tuple[T, str]]) -> T:
        began = time.monotonic()
        result, detail = await starting
        self._report(part, f"{detail} ({time.monotonic() - began:.1f} s)")
        return result

    async def _install_packages(self) -> tuple[Path, str]:
        def installing() -> None:
            self._report("Node packages", "installing Supabase Lite from npm, the first time only …")

        cache_dir = self.config.cache_dir or user_cache_path("batchgen")
        return await install_packages(cache_dir, installing), "installed"

    async def _start_postgres(self) -> tuple[None, str]:
        self._parts.push_async_callback(self.postgres.stop)
        await self.postgres.start()
        return None, f"on 127.0.0.1:{self.postgres.port}"

    async def _prepare_database(self, lite: LiteServer) -> tuple[None, str]:
        dsn = self.postgres.dsn()
        await database.prepare_roles(dsn)
        if not await database.has_auth_and_storage(dsn):
            await lite.provision()
            if not await database.has_auth_and_storage(dsn):
                raise DevstackError("Supabase Lite did not make the schemas auth and storage: see logs/lite.log.")
        await database.adapt_to_hosted(dsn)
        folder = self.config.migrations_dir or migrations.default_migrations_dir()
        if changed := await migrations.changed_migrations(dsn, folder):
            names = ", ".join(migration.file.name for migration in changed[:3])
            log.warning(
                "%d migrations changed after they were applied to this database (%s%s). Remove %s to start anew.",
                *(len(changed), names, ", …" if len(changed) > 3 else "", display_path(self.data_dir)),
            )
        applied = await self.apply_migrations()
        return None, f"{len(applied)} new migrations" if applied else "up to date"

    async def _start_lite(self, lite: LiteServer) -> tuple[None, str]:
        await self._supervise(lite, lite.start, self._lite_changes)
        return None, "Supabase Lite"

    async def _start_functions(self, functions: FunctionsServer) -> tuple[None, str]:
        """Start Edge Functions; the stack runs without them if that fails."""
        try:
            await self._supervise(functions, functions.start, asyncio.Lock())
        except FunctionsFailed as error:
            log.error("%s", error)  # noqa: TRY400 - the message is the whole story
            return None, f"Deno did not start, see {functions.program.log_file}"
        return None, "Deno"

    async def _supervise(
        self, server: LoopbackServer, start: Callable[[], Awaitable[None]], changes: asyncio.Lock
    ) -> None:
        """Start a server, and again whenever it dies. Hold `changes` to stop and start it on purpose."""
        self._parts.push_async_callback(server.stop)
        await start()
        name = f"devstack: keep {server.program.name} running"
        watching = asyncio.create_task(self._keep_running(server, start, changes), name=name)
        self._parts.push_async_callback(_cancel, watching)

    async def _start_realtime(self, info: StackInfo) -> tuple[RealtimeServer, str]:
        realtime = RealtimeServer(
            database_url=info.database_url,
            jwt_secret=info.jwt_secret,
            api_keys={info.publishable_key: "anon", info.secret_key: "service_role"},
        )
        self._parts.push_async_callback(realtime.stop)
        await realtime.start()
        self.realtime = realtime
        return realtime, "postgres_changes, broadcast"

    async def _start_gateway(
        self, listener: socket.socket, realtime: RealtimeServer, info: StackInfo
    ) -> tuple[None, str]:
        lite, functions = self._running_lite(), self._functions
        gateway = Gateway(
            listener,
            Upstream(lite.program.name, lambda: lite.base_url),
            Upstream(functions.program.name, lambda: functions.base_url) if functions else None,
            realtime,
            AdminUsers(info.secret_key, lambda query: list_users(info.database_url, query)),
        )
        self._parts.push_async_callback(gateway.stop)
        await gateway.start()
        return None, f"on 127.0.0.1:{_port(listener)}"

    async def _keep_running(
        self, server: LoopbackServer, start: Callable[[], Awaitable[None]], changes: asyncio.Lock
    ) -> None:
        failures, name, log_file = 0, server.program.name, server.program.log_file
        while True:
            await server.wait()
            async with changes:
                if server.base_url:  # restarted on purpose
                    continue
                await asyncio.sleep(RESTART_PAUSES_SECONDS[min(failures, len(RESTART_PAUSES_SECONDS) - 1)])
                log.warning("%s ended unexpectedly and is restarted: see %s", name, log_file)
                try:
                    await start()
                    failures = 0
                except DevstackError as error:
                    failures += 1
                    log.error("%s", error)  # noqa: TRY400 - the message is the whole story

    @property
    def lite_pid(self) -> int | None:
        """The pid of the process for REST, Auth and Storage; it changes with a restart."""
        return self._lite.pid if self._lite else None

    @property
    def functions_pid(self) -> int | None:
        """The pid of the process for Edge Functions; it changes with a restart."""
        return self._functions.pid if self._functions else None

    def _running_lite(self) -> LiteServer:
        if self._lite is None:
            raise DevstackError("The dev stack is not running: start it first.")
        return self._lite

    def _lite_config(self, info: StackInfo) -> LiteConfig:
        return LiteConfig(
            database_url=info.database_url,
            url=info.url,
            storage_dir=self.data_dir / "storage",
            jwt_secret=info.jwt_secret,
            publishable_key=info.publishable_key,
            secret_key=info.secret_key,
        )

    def _functions_config(self, info: StackInfo) -> FunctionsConfig:
        return FunctionsConfig(
            folder=self.config.functions_dir or default_functions_dir(),
            url=info.url,
            publishable_key=info.publishable_key,
            deno_dir=self.data_dir / "deno",
        )

    def _info(self, keys: Keys, listener: socket.socket) -> StackInfo:
        return StackInfo(
            url=f"http://127.0.0.1:{_port(listener)}",
            publishable_key=keys.publishable_key,
            secret_key=keys.secret_key,
            jwt_secret=keys.jwt_secret,
            database_url=self.postgres.dsn(),
            data_dir=self.data_dir,
        )

    def _log_file(self, part: str) -> Path:
        return self.data_dir / "logs" / f"{part}.log"


def _report_nothing(_part: str, _detail: str) -> None:
    pass


async def _cancel(task: asyncio.Task[None]) -> None:
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


def _port(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port
