"""Checks after a run: the database, Storage and the provider's log."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import psycopg
from PIL import Image
from psycopg.rows import dict_row

from tests.chaos.paid_provider_server import is_picture_of
from tests.money.ledger_checks import OWN_FAULTS

Row = dict[str, Any]
Connection = psycopg.AsyncConnection[Row]

DETAIL_ITEMS = 4
DETAIL_LINES = 40
ENDS = ("completed", "failed")


@dataclass
class CheckReport:
    """`violations` lists broken promises; `details` says more about some of them."""

    violations: list[str] = field(default_factory=list[str])
    details: list[str] = field(default_factory=list[str])
    figures: dict[str, Mapping[str, object]] = field(default_factory=dict[str, Mapping[str, object]])


@dataclass(frozen=True)
class RunRecords:
    """All records of a run. `submitted` maps each batch id to its number of prompts."""

    database_url: str
    submitted: Mapping[str, int]
    provider_log: Sequence[Mapping[str, Any]]
    worker_logs: Sequence[Path]


async def check_run(records: RunRecords) -> CheckReport:
    report = CheckReport()
    async with await Connection.connect(records.database_url, autocommit=True, row_factory=dict_row) as database:
        items = await _rows(database, "select * from public.image_generations where batch_id is not null")
        batches = await _rows(database, "select * from public.batch_generations")
        await _check_queue(report, database)
        await _check_limits(report, database)
        _check_items(report, items)
        _check_totals(report, batches, items, records.submitted)
        images = await _rows(database, "select * from public.images")
        failures = await _rows(database, "select code, count(*) from batchgen.failures group by code order by 2 desc")
    _check_images(report, items, images)
    await _check_files(report, images)
    _check_charges(report, items, records)
    events, faults = _read_logs(records.worker_logs)
    report.figures["items that failed, by code"] = {row["code"]: row["count"] for row in failures}
    report.figures["workers' log"] = events
    if faults:
        report.violations.append(f"{len(faults)} faults of workers in their logs")
        report.details += faults[:DETAIL_ITEMS]
    return report


async def _rows(database: Connection, query: str) -> list[Row]:
    return await (await database.execute(query.encode())).fetchall()


async def _check_queue(report: CheckReport, database: Connection) -> None:
    left = await _rows(database, "select * from batchgen.queue")
    if left:
        report.violations.append(f"{len(left)} rows are left in the queue")
        report.details += [f"queue: {row}" for row in left[:DETAIL_ITEMS]]


async def _check_limits(report: CheckReport, database: Connection) -> None:
    [most] = await _rows(database, "select max(per_user) as per_user, max(total) as total from chaos.most_running")
    [caps] = await _rows(database, "select max_parallel_per_user, max_parallel_global from batchgen.settings")
    report.figures["most items running at the same time"] = {
        "for one user": f"{most['per_user']} of {caps['max_parallel_per_user']}",
        "in all": f"{most['total']} of {caps['max_parallel_global']}",
    }
    if most["per_user"] is None:
        report.violations.append("no item ever ran")
    elif most["per_user"] > caps["max_parallel_per_user"] or most["total"] > caps["max_parallel_global"]:
        report.violations.append(f"the limits were exceeded: {dict(most)}")


def _check_items(report: CheckReport, items: list[Row]) -> None:
    states = Counter(str(item["status"]) for item in items)
    report.figures["items"] = {
        "in all": len(items),
        **states,
        "retries": sum(item["retry_count"] or 0 for item in items),
    }
    if open_items := [item for item in items if item["status"] not in ENDS]:
        report.violations.append(f"{len(open_items)} items are not final")
        report.details += [f"item: {item}" for item in open_items[:DETAIL_ITEMS]]
    if silent := [item for item in items if item["status"] == "failed" and not item["error_message"]]:
        report.violations.append(f"{len(silent)} items failed without a message")


def _check_totals(report: CheckReport, batches: list[Row], items: list[Row], submitted: Mapping[str, int]) -> None:
    report.figures["batches"] = {"in all": len(batches), **Counter(str(batch["status"]) for batch in batches)}
    if {str(batch["id"]) for batch in batches} != set(submitted):
        report.violations.append(f"{len(batches)} batches exist, {len(submitted)} were submitted")
    of_batch: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for item in items:
        of_batch[str(item["batch_id"])][item["status"]] += 1
    for batch in batches:
        states = of_batch[str(batch["id"])]
        counts = (batch["total_count"], batch["completed_count"], batch["failed_count"], batch["status"])
        completed, failed = states["completed"], states["failed"]
        status = "completed" if not failed else "partial" if completed else "failed"
        expected = (submitted.get(str(batch["id"])), completed, failed, status)
        if counts != expected or states.total() != batch["total_count"] or batch["completed_at"] is None:
            report.violations.append(f"batch {batch['id']} has the counts {counts}, its items {expected}")


def _check_images(report: CheckReport, items: list[Row], images: list[Row]) -> None:
    pictures = Counter(image["generation_id"] for image in images)
    for item in items:
        due = 1 if item["status"] == "completed" else 0
        if pictures[item["id"]] != due:
            report.violations.append(f"item {item['id']} is {item['status']} and has {pictures[item['id']]} pictures")


async def _check_files(report: CheckReport, images: list[Row]) -> None:
    """Check that each picture is there, whole, and belongs to its item, and that listed thumbnails are there."""
    report.figures["pictures"] = {"without a thumbnail": sum(not image["thumbnail_path"] for image in images)}
    async with httpx.AsyncClient(timeout=20) as http:
        for image in images:
            if problem := await _thumbnail_problem(http, image):
                report.violations.append(f"the thumbnail of item {image['generation_id']} is {problem}")
            answer = await http.get(image["public_url"])
            try:
                with Image.open(BytesIO(answer.content)) as picture:
                    is_own = is_picture_of(picture, str(image["generation_id"]))
                problem = None if is_own else "that of another item"
            except (OSError, SyntaxError) as error:
                problem = f"unusable: {answer.status_code}, {error}"
            if problem:
                report.violations.append(f"the picture of item {image['generation_id']} is {problem}")


async def _thumbnail_problem(http: httpx.AsyncClient, image: Row) -> str | None:
    if not image["thumbnail_path"]:  # it may be missing: it is tried once
        return None
    answer = await http.get(str(image["public_url"]).replace(image["storage_path"], image["thumbnail_path"]))
    try:
        with Image.open(BytesIO(answer.content)) as small:
            return None if small.format == "WEBP" and max(small.size) <= 512 else f"a {small.format} of {small.size}"
    except (OSError, SyntaxError) as error:
        return f"unusable: {answer.status_code}, {error}"


def _check_charges(report: CheckReport, items: list[Row], records: RunRecords) -> None:
    """Compare the charges with the delivered pictures; no item may be charged twice."""
    events = Counter(str(entry["event"]) for entry in records.provider_log)
    charged = Counter(str(entry["reference"]) for entry in records.provider_log if entry["event"] == "succeeded")
    completed = {str(item["id"]) for item in items if item["status"] == "completed"}
    twice = [reference for reference, count in charged.items() if count > 1]
    report.figures["provider's log"] = {
        **events,
        "charged per completed item, at most": max((charged[one] for one in completed), default=0),
        "charged and delivered": sum(charged[one] for one in completed),
        "charged, but the item failed": sum(count for one, count in charged.items() if one not in completed),
        "charged twice": len(twice),
    }
    if unpaid := [one for one in completed if not charged[one]]:
        report.violations.append(f"{len(unpaid)} items completed with a picture that was never charged: {unpaid[:3]}")
    if twice:
        report.violations.append(f"{len(twice)} items were charged twice")
    for reference in twice[:DETAIL_ITEMS]:
        report.details.append(f"charged twice: {reference}")
        report.details += [
            f"  provider {json.dumps(s)}" for s in records.provider_log if s.get("reference") == reference
        ]
        report.details += [f"  worker {line}" for line in _lines_about(reference, records.worker_logs)]


def _lines_about(reference: str, logs: Sequence[Path]) -> list[str]:
    """Everything that the workers logged about an item, in order of time."""
    found: list[tuple[str, str]] = []
    for log in logs:
        for line in log.read_text(errors="replace").splitlines():
            if reference in line and line.startswith("{"):
                event: dict[str, Any] = json.loads(line)
                shown = {k: v for k, v in event.items() if k not in ("batch_id", "generation_id", "exception")}
                found.append((str(event.get("timestamp")), f"{log.stem}: {json.dumps(shown)}"))
    return [line for _, line in sorted(found)][:DETAIL_LINES]


def _read_logs(logs: Sequence[Path]) -> tuple[Mapping[str, int], list[str]]:
    """Count events in the logs, and report lines that a worker must never log: faults of its own, or text that is not
    JSON.
    """
    events: Counter[str] = Counter()
    faults: list[str] = []
    for log in logs:
        lines = log.read_text(errors="replace").splitlines()
        for line in lines:
            if not line.startswith("{"):
                faults.append(f"{log.stem}: {line}")
                continue
            try:
                event: dict[str, Any] = json.loads(line)
            except ValueError:
                if line is not lines[-1]:  # a kill may cut off the last line
                    faults.append(f"{log.stem}: {line}")
                continue
            events[str(event["event"]).split(" (trigger")[0]] += 1
            if event.get("code") == "internal_error" or event["event"] in OWN_FAULTS:
                faults.append(f"{log.stem}: {line}")
    return dict(events.most_common()), faults
