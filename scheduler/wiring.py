"""Build a worker from its settings and run it until a signal."""

import asyncio
import os
import secrets
import signal
import socket
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Sequence
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_network

import structlog

from batchgen import __version__
from batchgen.backend.bucket import ImageStorage, remove_files
from batchgen.backend.connection import connect, disconnect
from batchgen.errors import BatchgenError, InvalidRequest, ProviderBusy
from batchgen.exit_codes import DONE, INVALID, UNREACHABLE, WORK_FAILED
from batchgen.imaging.limits import MEBIBYTE
from batchgen.pictures.check import Checker
from batchgen.pictures.fetch import Fetcher
from batchgen.pictures.public_network import Rule
from batchgen.pictures.receive import Receiver
from batchgen.providers.base import Provider
from batchgen.providers.key_check import check_keys
from batchgen.providers.registry import OneProvider, Providers, make_providers, setting_wanted, usable_providers
from batchgen.queue.exports import ExportStore, PostgrestExports
from batchgen.queue.picture_store import PictureStore
from batchgen.queue.postgrest import (
    PostgrestOpenOrders,
    PostgrestOutbox,
    PostgrestQueue,
    PostgrestSchedules,
    grant_monthly_credits,
    move_credit_horizon,
    read_start_facts,
)
from batchgen.queue.types import StartFacts
from batchgen.settings import WorkerSettings, load
from batchgen.settings.proxies import Proxies
from scheduler.completions import Completions
from scheduler.credits import CREDITS_SECONDS, CreditHousekeeping
from scheduler.exports import EXPORT_LEASE_SECONDS, Exporter
from scheduler.housekeeping import OUTBOX_LEASE_SECONDS, PASS_SECONDS, RETENTION_SECONDS, Housekeeping
from scheduler.leases import Leases
from scheduler.logs import configure_logs
from scheduler.open_orders import LONGEST_CHUNK_SECONDS, ORDER_LEASE_SECONDS, SWEEP_SECONDS, OrderSettler
from scheduler.options import Options
from scheduler.outages import KeyIsWrong, QueueOutage
from scheduler.retries import RANDOM, RetryPolicy
from scheduler.runner import Runner
from scheduler.schedules import PASS_SECONDS as SCHEDULES_SECONDS
from scheduler.schedules import ScheduleRunner
from scheduler.slots import Slots
from scheduler.startup_check import StartupCheck, WrongSettings
from scheduler.storage_gate import StorageGate
from scheduler.systemd import SystemdNotifier
from scheduler.ticks import Tick, Ticks
from scheduler.timing import WorkerTiming
from scheduler.wakeup import Wakeup
from scheduler.watchdog import Watchdog, watched
from scheduler.worker import TicksDied, Worker

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)
HEARTBEAT_SECONDS = 0.5
TAKE_DOWN_SECONDS = 15.0
"""For each part to close. One that does not close is left to the end of the process."""

ProviderMaker = Callable[[WorkerSettings], Provider]

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)


def work(options: Options, provider_for: ProviderMaker | None = None) -> int:
    """Run a worker and return its exit code."""
    warnings: list[str] = []
    try:
        settings = load(WorkerSettings, options.env_file, warn=warnings.append)
        if provider_for is None and settings.provider == "model":
            asyncio.run(_check_reach(settings))
    except InvalidRequest as error:
        return _refuse(f"{error.message} {error.remedy or ''}")
    except ProviderBusy as error:
        return _refuse(str(error))
    handler = configure_logs(settings)
    notifier = SystemdNotifier.of_environment()
    name = settings.worker_name or f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"
    structlog.contextvars.bind_contextvars(worker=name)
    for sentence in warnings:
        log.warning(sentence)
    try:
        with closing(notifier), watched(settings.watchdog_seconds, handler) as watchdog:
            return asyncio.run(run(settings, options, name, provider_for, Liveness(notifier, watchdog)))
    except WrongSettings as error:
        return _refuse(str(error))
    except KeyIsWrong as error:
        return _refuse(f"SUPABASE_SECRET_KEY is not accepted as a worker's key. {error}")
    except TicksDied as error:
        log.critical("worker stopped", reason=str(error))
        return WORK_FAILED
    except BatchgenError as error:
        log.error("backend not reachable", reason=str(error))  # noqa: TRY400 - the message is the whole story
        return UNREACHABLE


@dataclass(frozen=True, slots=True)
class Liveness:
    """Reports to the service manager and the watchdog that the event loop runs."""

    notifier: SystemdNotifier
    watchdog: Watchdog | None = None

    @contextmanager
    def beating(self) -> Generator[None]:
        """Send beats from the running loop while the block lasts."""
        loop = asyncio.get_running_loop()
        beat: asyncio.TimerHandle | None = None

        def beat_on() -> None:
            nonlocal beat
            beat = loop.call_later(HEARTBEAT_SECONDS, beat_on)
            self.notifier.beat(loop.time())
            if self.watchdog is not None:
                self.watchdog.beat()

        beat_on()
        try:
            yield
        finally:
            if beat is not None:
                beat.cancel()

    async def report_stop(self, stopping: asyncio.Event) -> None:
        await stopping.wait()
        self.notifier.stopping()


async def run(
    settings: WorkerSettings,
    options: Options,
    name: str,
    provider_for: ProviderMaker | None = None,
    liveness: Liveness | None = None,
) -> int:
    """Build the parts, run until a signal (or once), and close everything in reverse order."""
    liveness = liveness or Liveness(SystemdNotifier())
    with liveness.beating():
        return await _run(settings, options, name, provider_for, liveness)


async def _run(
    settings: WorkerSettings, options: Options, name: str, provider_for: ProviderMaker | None, liveness: Liveness
) -> int:
    async with _running_worker(settings, name, provider_for, liveness, once=options.once) as parts:
        if options.once:
            await run_once(parts, options.max_seconds)
        else:
            await parts.worker.run()
        tally = parts.worker.tally
        log.info(
            "worker stopped", completed=tally.completed, failed=tally.failed, retried=tally.retried, left=tally.left
        )
        return WORK_FAILED if options.once and tally.failed else DONE


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """The parts that do work and that a signal stops."""

    worker: Worker
    housekeeping: Housekeeping
    settler: OrderSettler
    credits: CreditHousekeeping
    exporter: Exporter
    schedules: ScheduleRunner

    def stop(self) -> None:
        self.worker.stop()
        self.exporter.stop()
        self.schedules.stop()
        self.housekeeping.stop()
        self.settler.stop()
        self.credits.stop()


async def run_once(parts: WorkerParts, max_seconds: float | None) -> None:
    """Do all that is due. Open orders and schedules come first, so that this run makes their pictures, too."""
    clock = asyncio.get_running_loop().time
    ends_at = None if max_seconds is None else clock() + max_seconds

    def left() -> float | None:
        return None if ends_at is None else max(0.0, ends_at - clock())

    await parts.settler.finish(SWEEP_SECONDS if max_seconds is None else min(SWEEP_SECONDS, max_seconds / 4))
    await parts.credits.run()
    await parts.schedules.run(SCHEDULES_SECONDS if max_seconds is None else min(SCHEDULES_SECONDS, max_seconds / 4))
    await parts.worker.run_once(left())
    await parts.exporter.finish(left())
    await parts.housekeeping.finish(left())


@dataclass(frozen=True, slots=True)
class _Built:
    """All parts of a worker, none of which runs yet."""

    parts: WorkerParts
    startup_check: StartupCheck
    ticks: Ticks
    wakeup: Wakeup
    stand_in: str | None
    """The provider that makes the pictures of all models; None if each model has its own."""
    closing: Sequence[tuple[str, Callable[[], Awaitable[None]]]]
    """The parts to close, by name, in this order."""


@asynccontextmanager
async def _running_worker(
    settings: WorkerSettings, name: str, provider_for: ProviderMaker | None, liveness: Liveness, *, once: bool
) -> AsyncGenerator[WorkerParts]:
    """A worker with its connections, ticks and signal handlers, ready to run."""
    built = await _build(settings, name, provider_for, once=once)
    stopping = built.parts.worker.stopping
    listening: asyncio.Task[None] | None = None
    reporting = asyncio.create_task(liveness.report_stop(stopping))
    try:
        with _signals(built.parts):
            liveness.notifier.starting()
            facts = await built.startup_check.check(stopping)
            if facts is not None:
                await _check_keys(settings, facts, built.stand_in)
                _log_start(settings, facts, built.stand_in)
                liveness.notifier.ready()
            built.ticks.start()
            listening = None if once else asyncio.create_task(built.wakeup.run())
            yield built.parts
    finally:
        reporting.cancel()
        if listening:
            listening.cancel()
            await asyncio.wait([listening], timeout=TAKE_DOWN_SECONDS)
        built.ticks.stop()
        for part, close in built.closing:
            await _closed(part, close())


async def _build(settings: WorkerSettings, name: str, provider_for: ProviderMaker | None, *, once: bool) -> _Built:
    assert settings.supabase_secret_key is not None  # noqa: S101 - WorkerSettings requires it
    key = settings.supabase_secret_key.get_secret_value()
    client = await connect(settings, key=key)
    providers = OneProvider(provider_for(settings)) if provider_for else make_providers(settings)
    stand_in = _stand_in(settings, providers.get("").name if provider_for else None)
    about = {"version": __version__, "providers": _usable(settings, stand_in)}
    queue = PostgrestQueue(client, worker=name, lease_seconds=settings.lease_seconds, about=about)
    outage = QueueOutage()
    leases = Leases(queue, lease_seconds=settings.lease_seconds, outage=outage)
    retry_policy = _retry_policy(settings)
    slots = Slots(settings.max_parallel)
    completions = Completions(queue, slots)
    checker = Checker(seconds=settings.check_seconds, memory_bytes=settings.check_memory_mib * MEBIBYTE)
    receiver = Receiver(_fetcher(settings), checker)
    bucket = ImageStorage(client, bucket=settings.bucket)
    storage_gate = StorageGate(bucket.bucket)
    runner = Runner(
        queue=queue,
        completions=completions,
        providers=providers,
        receiver=receiver,
        storage=PictureStore(client, bucket=settings.bucket),
        retry_policy=retry_policy,
        storage_gate=storage_gate,
    )
    worker = Worker(
        queue=queue,
        slots=slots,
        completions=completions,
        runner=runner,
        leases=leases,
        timing=_timing(settings),
        retry_policy=retry_policy,
        outage=outage,
        can_store=lambda: storage_gate.is_open,
        dead_tick=lambda: ticks.dead(),
    )
    outbox = PostgrestOutbox(client, worker=name, lease_seconds=OUTBOX_LEASE_SECONDS)
    exports = PostgrestExports(client, worker=name, lease_seconds=EXPORT_LEASE_SECONDS)
    orders = PostgrestOpenOrders(client, worker=name, lease_seconds=ORDER_LEASE_SECONDS)
    parts = WorkerParts(
        worker,
        Housekeeping(outbox, partial(remove_files, client)),
        OrderSettler(orders, providers, wake=worker.wake),
        CreditHousekeeping(partial(grant_monthly_credits, client), partial(move_credit_horizon, client)),
        Exporter(exports, ExportStore(client), bucket.get_pieces),
        ScheduleRunner(PostgrestSchedules(client), wake=worker.wake),
    )
    ticks = Ticks(_ticks(settings, parts, leases, storage_gate, settles_at_start=not once), partial(_wake_up, leases))
    wakeup = Wakeup(
        url=settings.url,
        key=key,
        wake=worker.wake,
        claimed=lambda: slots.claimed,
        pause=lambda tries: retry_policy.pause(tries, RANDOM),
    )
    startup_check = StartupCheck(
        partial(read_start_facts, client), bucket.bucket, retry_policy, bucket_name=settings.bucket, once=once
    )
    closing = (
        ("exports", parts.exporter.aclose),
        ("providers", providers.aclose),
        ("receiver", receiver.aclose),
        ("connections", partial(disconnect, client)),
    )
    return _Built(parts, startup_check, ticks, wakeup, stand_in, closing)


async def _closed(part: str, closing: Awaitable[None]) -> None:
    try:
        async with asyncio.timeout(TAKE_DOWN_SECONDS):
            await closing
    except TimeoutError:
        log.warning("a part of the worker does not close in time, going on without it", part=part)


def _wake_up(leases: Leases, seconds: float, uncounted_seconds: float) -> None:
    """Drop the leases that expired while the process was stopped or the machine asleep: other workers have them."""
    ended = leases.drop_ended(uncounted_seconds)
    log.warning("worker was not awake", seconds=round(seconds, 1), leases_ended=ended)


async def _check_reach(settings: WorkerSettings) -> None:
    """Raises `ProviderBusy` if pictures could be ordered from here but not fetched."""
    async with _fetcher(settings) as fetcher:
        for url in Providers(settings).apis_with_links():
            await fetcher.check_reach(url)


def _fetcher(settings: WorkerSettings) -> Fetcher:
    networks = tuple(ip_network(name) for name in settings.picture_networks.split(",") if name)
    any_port = settings.picture_ports == "any"
    return Fetcher(rule=Rule(networks), proxies=Proxies.of_environment(), any_local_port=any_port)


def _log_start(settings: WorkerSettings, facts: StartFacts, stand_in: str | None) -> None:
    """Log what this worker can make, and the models that it cannot."""
    usable = _usable(settings, stand_in)
    log.info("worker starts", url=settings.url, providers=usable, max_parallel=settings.max_parallel)
    lacking: dict[str, list[str]] = {}
    for model in facts.models:
        if stand_in is None and model.provider not in usable:
            lacking.setdefault(model.provider, []).append(model.name)
    for provider, models in lacking.items():
        remedy = setting_wanted(provider)
        log.warning("models wait: their provider is not set up here", provider=provider, models=models, remedy=remedy)


async def _check_keys(settings: WorkerSettings, facts: StartFacts, stand_in: str | None) -> None:
    """Raises `WrongSettings` if a provider of an active model refuses its key; logs providers that do not answer."""
    if stand_in is not None:
        return
    wanted = {model.provider for model in facts.models}.intersection(usable_providers(settings))
    found = await check_keys(settings, wanted)
    for one in found:
        if not one.is_setting:
            log.warning("provider does not answer, its models wait", provider=one.provider, reason=one.problem)
    if wrong := [one.problem for one in found if one.is_setting]:
        raise WrongSettings(" ".join(wrong))


def _stand_in(settings: WorkerSettings, given: str | None) -> str | None:
    """The provider that makes the pictures of all models; None if each model has its own."""
    return given or ("offline" if settings.provider == "offline" else None)


def _usable(settings: WorkerSettings, stand_in: str | None) -> list[str]:
    return [stand_in] if stand_in else list(usable_providers(settings))


def _ticks(
    settings: WorkerSettings, parts: WorkerParts, leases: Leases, storage_gate: StorageGate, *, settles_at_start: bool
) -> list[Tick]:
    async def poll() -> None:
        parts.worker.wake()
        if await storage_gate.reopen():
            parts.worker.wake()

    housekeeping = parts.housekeeping
    slack = settings.request_timeout_seconds + 10
    return [
        Tick("poll", poll, settings.poll_seconds, settings.poll_seconds / 10, slack),
        Tick("renew leases", leases.renew, settings.renew_seconds, 0, slack),
        Tick(
            "return expired leases",
            parts.worker.return_expired,
            settings.lease_seconds,
            settings.lease_seconds / 4,
            slack,
        ),
        Tick(
            "open orders",
            parts.settler.sweep,
            settings.settle_seconds,
            settings.settle_seconds / 10,
            SWEEP_SECONDS + LONGEST_CHUNK_SECONDS + 3 * slack,
            at_start=settles_at_start,
        ),
        Tick(
            "schedules",
            parts.schedules.run,
            settings.poll_seconds,
            settings.poll_seconds / 10,
            SCHEDULES_SECONDS + 3 * slack,
            at_start=settles_at_start,
        ),
        Tick(
            "storage deletions",
            housekeeping.remove_files,
            settings.deletions_seconds,
            settings.deletions_seconds / 10,
            PASS_SECONDS + 3 * slack,
            at_start=True,
        ),
        Tick(
            "exports",
            parts.exporter.begin,
            settings.exports_seconds,
            settings.exports_seconds / 10,
            slack,
            at_start=True,
        ),
        Tick(
            "retention",
            housekeeping.remove_expired_images,
            RETENTION_SECONDS,
            RETENTION_SECONDS / 10,
            slack,
            at_start=True,
        ),
        Tick("credits", parts.credits.run, CREDITS_SECONDS, CREDITS_SECONDS / 10, slack, at_start=True),
    ]


def _retry_policy(settings: WorkerSettings) -> RetryPolicy:
    return RetryPolicy(
        item_timeout_seconds=settings.item_timeout_seconds,
        storage_patience_seconds=settings.storage_patience_seconds,
        backoff_seconds=settings.backoff_seconds,
        backoff_max_seconds=settings.backoff_max_seconds,
    )


def _timing(settings: WorkerSettings) -> WorkerTiming:
    return WorkerTiming(
        grace_seconds=settings.grace_seconds,
        report_seconds=settings.request_timeout_seconds,
    )


@contextmanager
def _signals(parts: WorkerParts) -> Generator[None]:
    """Drain on the first SIGTERM or SIGINT, hand back at once on the second."""
    loop = asyncio.get_running_loop()
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, parts.stop)
    try:
        yield
    finally:
        for number in STOP_SIGNALS:
            loop.remove_signal_handler(number)


def _refuse(problem: str) -> int:
    print("batchgen worker:", " ".join(problem.split()), file=sys.stderr)  # noqa: T201
    return INVALID
