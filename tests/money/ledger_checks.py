"""Checks after a run: the ledger against the provider's log, items, batches, orders, pictures and worker logs."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import httpx

from tests.money.provider_log import ProviderLog, is_picture_of
from tests.money.provider_setups import ProviderSetup
from tests.support import Database

Row = Mapping[str, Any]

ENDS = ("completed", "failed")
WITHOUT_A_PICTURE = frozenset({"failed", "cancelled"})
SAYS_NOTHING = {"replicate": frozenset({"failed"}), "fal": frozenset({"failed", "cancelled"})}
"""Ends of a job that the provider reports without saying whether they cost."""
MADE_AGAIN = frozenset({"automatic1111"})
"""Keeps no results and costs nothing: a picture that was lost with its worker, or on the way, is made again."""
LEFT_BEHIND = frozenset(
    {"crashed", "handed_back", "cancelled", "timeout", "job_lost", "provider_unreachable", "provider_timeout"}
)
"""Outcomes of attempts that may leave the outcome of an order unknown."""
OWN_FAULTS = (
    "item stopped by a fault of the worker itself, others go on",
    "a claim met a fault of the worker itself",
    "tick failed",
    "result refused",
    "worker frozen, it ends and must be started again",
    "a part of the worker does not close in time, going on without it",
)
DETAIL_LINES = 60


@dataclass
class CheckReport:
    """`violations` lists broken promises; `details` says more about the items in them."""

    violations: list[str] = field(default_factory=list[str])
    details: list[str] = field(default_factory=list[str])
    figures: dict[str, Mapping[str, object]] = field(default_factory=dict[str, Mapping[str, object]])


@dataclass(frozen=True)
class RunRecords:
    setup: ProviderSetup
    provider_log: ProviderLog
    database: Database
    batches: Sequence[str]
    logs: Sequence[Path]


@dataclass(frozen=True)
class Item:
    """An item with its ledger rows and the provider's log of its jobs."""

    row: Row
    charges: Sequence[Row]
    events: Sequence[Row]

    @property
    def id(self) -> str:
        return str(self.row["id"])

    @property
    def prompt(self) -> str:
        return str(self.row["prompt"])

    @property
    def jobs(self) -> Sequence[str]:
        """In the order of their creation."""
        return [str(event["job"]) for event in self.events if event["event"] == "created"]

    @property
    def known_usd(self) -> Decimal:
        return sum((row["amount_usd"] for row in self.charges), Decimal(0))

    def end_of(self, job: str) -> str | None:
        ends = [str(e["event"]) for e in self.events if e["job"] == job and e["event"] not in ("created", "charged")]
        return ends[-1] if ends else None

    def orders(self) -> Mapping[str, Sequence[Row]]:
        """The ledger's rows by order."""
        keys = dict.fromkeys(str(row["order_key"]) for row in self.charges if row["order_key"])
        return {key: [row for row in self.charges if str(row["order_key"]) == key] for key in keys}


async def check_run(records: RunRecords) -> CheckReport:
    report = CheckReport()
    items = await _items(records)
    for item in items:
        problems = [*_ordered_twice(item, records), *_wrong_sums(item, records)]
        if problems:
            report.violations += [f"{item.id} ({item.prompt}): {problem}" for problem in problems]
            report.details += _details(item, records)
    _check_totals_of_money(report, items, records)
    await _check_items(report, items, records)
    await _check_orders(report, records)
    await _check_pictures(report, items, records)
    _check_logs(report, records)
    return report


async def _items(records: RunRecords) -> Sequence[Item]:
    items = await _rows(
        records,
        "select g.*, f.code from public.image_generations g left join batchgen.failures f on f.generation_id = g.id"
        " where g.batch_id = any (%s) order by g.created_at, g.batch_index",
    )
    charges = await _rows(
        records,
        "select c.* from batchgen.charges c join public.image_generations g on g.id = c.generation_id"
        " where g.batch_id = any (%s) order by c.noted_at, c.attempt",
    )
    return [
        Item(row, [c for c in charges if c["generation_id"] == row["id"]], records.provider_log.of(row["prompt"]))
        for row in items
    ]


async def _rows(records: RunRecords, query: str) -> Sequence[Row]:
    return await (await records.database.execute(query.encode(), [list(records.batches)])).fetchall()


def _ordered_twice(item: Item, records: RunRecords) -> Iterable[str]:
    """Check that each job was created only after all earlier jobs were known to have ended without a picture."""
    ends: dict[str, str | None] = {}
    remade = 0
    for event in item.events:
        job, what = str(event["job"]), str(event["event"])
        if what == "created":
            alive = [other for other, end in ends.items() if end not in WITHOUT_A_PICTURE]
            remade += bool(alive)
            if alive and records.setup.provider not in MADE_AGAIN:
                yield f"{job} was created while {alive[0]} was {ends[alive[0]] or 'alive'}"
            ends[job] = None
        elif what in ("succeeded", *WITHOUT_A_PICTURE):
            ends[job] = what
    lost = sum(row["outcome"] in LEFT_BEHIND or row["outcome"].startswith("provider_") for row in item.charges)
    if remade > lost:
        yield f"made again {remade} times, but its picture was lost at most {lost} times"


def _wrong_sums(item: Item, records: RunRecords) -> Iterable[str]:
    """Compare each order with its job, then the sums of the item."""
    provider_log, setup = records.provider_log, records.setup
    told: set[str] = set()
    open_orders = 0
    for key, rows in item.orders().items():
        job = next((name for row in reversed(rows) if (name := setup.job_in(row)) in item.jobs), None)
        amount = sum((row["amount_usd"] for row in rows), Decimal(0))
        is_open = any(row["is_unknown"] for row in rows)
        charged = Decimal(0) if job is None else provider_log.total(job=job)
        if job is not None:
            told.add(job)
        else:
            open_orders += is_open
        if not is_open and amount != charged:
            yield f"order {key}: the ledger says {amount}, the provider's log {charged} for {job}"
        if is_open and amount:
            yield f"order {key} is unknown and costs {amount}"
        if is_open and (reason := _reason_to_know(item, job, rows, records)):
            yield f"order {key} is unknown in the ledger, but {reason}"
    lost = [job for job in dict.fromkeys(item.jobs) if job not in told and provider_log.total(job=job)]
    if len(lost) > open_orders:
        yield f"{', '.join(lost)} were charged, and the ledger has {open_orders} open orders without a job"


def _reason_to_know(item: Item, job: str | None, rows: Sequence[Row], records: RunRecords) -> str | None:
    """The reason why the outcome of an order should be known; None if nobody can know it."""
    if job is not None and item.end_of(job) in SAYS_NOTHING.get(records.setup.provider, ()):
        return None
    no_answer = any(event["event"] == "no answer to the order" for event in item.events)
    was_left = any(row["outcome"] in LEFT_BEHIND for row in item.charges)
    if not (no_answer or was_left):
        return f"every order was answered, and no attempt was left behind ({[row['outcome'] for row in rows]})"
    if item.row["status"] == "completed":
        return "its item is completed"
    return None


def _check_totals_of_money(report: CheckReport, items: Sequence[Item], records: RunRecords) -> None:
    """Compare the known and unknown amounts of the ledger with the provider's charges."""
    provider_log, setup = records.provider_log, records.setup
    known = sum((item.known_usd for item in items), Decimal(0))
    settled = {
        job
        for item in items
        for rows in item.orders().values()
        if not any(row["is_unknown"] for row in rows)
        for row in rows
        if (job := setup.job_in(row)) is not None
    }
    unknown = sum(
        (provider_log.total(job=job) for item in items for job in set(item.jobs) if job not in settled), Decimal(0)
    )
    report.figures["money"] = {
        "jobs created": provider_log.count("created"),
        "jobs that succeeded": provider_log.count("succeeded"),
        "jobs that failed": provider_log.count("failed"),
        "jobs that were cancelled": provider_log.count("cancelled"),
        "charged by the server, USD": provider_log.total(),
        "in the ledger, USD": known,
        "charged, but unknown in the ledger, USD": unknown,
        "orders of unknown outcome": sum(row["is_unknown"] for item in items for row in item.charges),
        "collected late": sum(row["is_late"] for item in items for row in item.charges),
    }
    if known + unknown != provider_log.total():
        report.violations.append(f"{known} known and {unknown} unknown do not add up to {provider_log.total()}")


async def _check_items(report: CheckReport, items: Sequence[Item], records: RunRecords) -> None:
    states = Counter(str(item.row["status"]) for item in items)
    report.figures["items"] = {"in all": len(items), **states, "attempts": sum(len(i.charges) for i in items)}
    report.figures["items that failed, by code"] = Counter(
        str(item.row["code"]) for item in items if item.row["status"] == "failed"
    )
    report.violations += [f"{i.id} is {i.row['status']}" for i in items if i.row["status"] not in ENDS]
    for batch in await _rows(records, "select * from public.batch_generations where id = any (%s)"):
        own = Counter(str(item.row["status"]) for item in items if item.row["batch_id"] == batch["id"])
        counts = (batch["total_count"], batch["completed_count"], batch["failed_count"])
        if counts != (own.total(), own["completed"], own["failed"]):
            report.violations.append(f"batch {batch['id']} has the counts {counts}, its items {dict(own)}")


async def _check_orders(report: CheckReport, records: RunRecords) -> None:
    left = await _rows(records, "select * from batchgen.orders where batch_id = any (%s)")
    report.violations += [f"an order is still open: {dict(order)}" for order in left]


async def _check_pictures(report: CheckReport, items: Sequence[Item], records: RunRecords) -> None:
    """Check that a completed item has one picture, its own, and other items have none."""
    images = await _rows(
        records,
        "select i.* from public.images i join public.image_generations g on g.id = i.generation_id"
        " where g.batch_id = any (%s)",
    )
    async with httpx.AsyncClient(timeout=20) as http:
        for item in items:
            own = [image for image in images if image["generation_id"] == item.row["id"]]
            if len(own) != (item.row["status"] == "completed"):
                report.violations.append(f"{item.id} is {item.row['status']} and has {len(own)} pictures")
            for image in own:
                answer = await http.get(image["public_url"])
                try:
                    problem = None if is_picture_of(answer.content, item.prompt) else "that of another item"
                except (OSError, SyntaxError) as error:
                    problem = f"unusable: {answer.status_code}, {error}"
                if problem:
                    report.violations.append(f"the picture of {item.prompt} is {problem}")


def _check_logs(report: CheckReport, records: RunRecords) -> None:
    """Check that no worker logged a fault of its own, or a line that is not JSON."""
    for log in records.logs:
        lines = log.read_text(errors="replace").splitlines()
        if lines and _read(lines[-1]) is None:
            lines.pop()  # a kill may cut off the last line
        report.violations += [f"{log.stem}: {line}" for line in lines if _is_fault(_read(line))]


def _is_fault(event: Mapping[str, Any] | None) -> bool:
    return event is None or event.get("code") == "internal_error" or event["event"] in OWN_FAULTS


def _details(item: Item, records: RunRecords) -> Iterable[str]:
    yield f"{item.id} ({item.prompt}) ended as {item.row['status']} {item.row['code']}"
    yield from (f"  provider {json.dumps(event)}" for event in item.events)
    shown = ("attempt", "entry", "outcome", "order_key", "provider_job_id", "is_charged", "is_unknown", "is_late")
    for row in item.charges:
        yield f"  ledger {row['noted_at']:%H:%M:%S.%f} { ({name: str(row[name]) for name in shown}) }"
    lines = sorted(
        (str(event.get("timestamp")), f"  {log.stem} {line}")
        for log in records.logs
        for line in log.read_text(errors="replace").splitlines()
        if item.id in line and (event := _read(line)) is not None
    )
    yield from [line for _, line in lines][:DETAIL_LINES]


def _read(line: str) -> dict[str, Any] | None:
    try:
        event: Any = json.loads(line)
    except ValueError:
        return None
    return cast("dict[str, Any]", event) if isinstance(event, dict) and "event" in event else None
