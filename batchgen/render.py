"""What people read: tables and lines. Foreign text is made printable here, and never read as rich markup."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from rich.table import Table
from rich.text import Text

from batchgen.models import (
    ActionDone,
    ActionRefused,
    ActionReport,
    Batch,
    BatchSnapshot,
    BatchStatus,
    BatchTotals,
    Generation,
    GenerationStatus,
    Image,
    Wait,
    WaitReason,
)
from batchgen.texts import printable

WRAPPED = frozenset({"Prompt", "Error", "Name", "Tags", "Why"})
"""Columns of words; all others stay on one line."""
COUNTED = frozenset({"Attempts", "Paid", "Cost", "Unknown", "At most"})
STYLES = {
    "pending": "bright_black",
    "processing": "cyan",
    "completed": "green",
    "partial": "yellow",
    "failed": "red",
}
ICONS = {"pending": "○", "processing": "◐", "completed": "✔", "failed": "✘"}


def batch_table(batches: Sequence[Batch]) -> Table:
    table = _table("Batch", "Name", "Status", "Done", "Failed", "Created", "Took")
    for batch in batches:
        table.add_row(
            str(batch.id),
            Text(printable(batch.name or "", 40)),
            status_text(batch.status),
            f"{batch.completed_count}/{batch.total_count}",
            str(batch.failed_count or ""),
            time_text(batch.created_at),
            took_text(batch),
        )
    return table


def item_table(snapshot: BatchSnapshot, waits: Sequence[Wait] = ()) -> Table:
    """The batch's items; with `waits`, also what the pending ones wait for."""
    now = datetime.now(UTC)
    reasons = {wait.generation_id: wait_text(wait, now) for wait in waits}
    table = _table("#", "Status", "Prompt", "Seed", "Retries", "Time", "Size", "Error", *(["Waits for"] * bool(waits)))
    table.columns[2].ratio = 3
    table.columns[7].ratio = 2
    table.expand = True
    images = images_by_item(snapshot)
    for item in snapshot.generations:
        waiting = [Text(reasons.get(item.id, ""))] if waits else []
        table.add_row(
            str(item.index),
            status_text(item.status),
            Text(printable(item.prompt)),
            "" if item.seed is None else str(item.seed),
            str(item.retry_count or ""),
            "" if item.generation_time_seconds is None else f"{item.generation_time_seconds} s",
            size_text(images.get(item.id)),
            Text(printable(item.error_message or ""), style="red"),
            *waiting,
        )
    return table


def report_table(report: ActionReport) -> Table:
    """What an action did with each item, or why it did not."""
    entries = sorted([*report.done, *report.refused], key=lambda entry: entry.index)
    has_tags = any(entry.tags for entry in report.done)
    table = _table("#", "Result", *(["Tags"] * has_tags), *(["Why"] * bool(report.refused)))
    for entry in entries:
        tags = printable(", ".join(entry.tags)) if isinstance(entry, ActionDone) else ""
        why = printable(entry.message) if isinstance(entry, ActionRefused) else ""
        table.add_row(
            str(entry.index),
            _result_text(entry),
            *([Text(tags)] * has_tags),
            *([Text(why)] * bool(report.refused)),
        )
    return table


def wait_text(wait: Wait, now: datetime) -> str:
    """What an item waits for, in a few words; times of another day than `now` are told with their date."""
    until = "" if wait.until is None else moment_text(wait.until, now)
    name = printable(wait.detail or "this model", 200)
    match wait.reason:
        case WaitReason.RETRY:
            return f"retry due {until}" + (f" ({name})" if wait.detail else "")
        case WaitReason.PROVIDER:
            return f"provider until {until}" + (f" ({name})" if wait.detail else "")
        case WaitReason.BREAKER:
            return f"breaker open for {name}" + (f" until {until}" if until else ", one item is being tried")
        case WaitReason.NO_WORKER:
            return "no worker is running"
        case WaitReason.OWN_CAP:
            return f"own cap {wait.running}/{wait.cap}"
        case WaitReason.TOTAL_CAP:
            return f"total cap {wait.running}/{wait.cap}"
        case WaitReason.RUNS_ALONE:
            return "a worker that does nothing else, as one stopped while it made this"
        case WaitReason.QUEUE:
            return f"position {wait.position} in the queue" if wait.position else "its turn"


def heading(batch: Batch | BatchTotals) -> Text:
    """One line that says all of a batch but its items."""
    failed = f", {batch.failed_count} failed" if batch.failed_count else ""
    name = f" “{printable(batch.name, 60)}”" if batch.name else ""
    took = f" in {took}" if isinstance(batch, Batch) and (took := took_text(batch)) else ""
    counts = f": {batch.completed_count} of {batch.total_count} done{failed}{took}"
    return Text.assemble(f"Batch {batch.id}{name} ", status_text(batch.status), counts)


def times(batch: Batch) -> Text:
    ended = f", ended {time_text(batch.completed_at)}" if batch.completed_at else ""
    return Text(f"Submitted {time_text(batch.created_at)}{ended}")


def picture_lines(snapshot: BatchSnapshot, paths: Mapping[UUID, str] | None = None) -> Iterable[Text]:
    """For each item where its picture is: the saved file, or the address; or why there is none."""
    images = images_by_item(snapshot)
    for item in snapshot.generations:
        place = (paths or {}).get(item.id) or (images[item.id].public_url if item.id in images else None)
        if place:
            yield Text(f"{item.index}  {printable(place)}")
        elif item.status is GenerationStatus.FAILED:
            yield Text(f"{item.index}  failed: {printable(item.error_message or 'no reason was given')}", style="red")


def change_lines(last: BatchSnapshot | None, snapshot: BatchSnapshot) -> Iterable[str]:
    """What is new since `last`, a line each, for where nothing can be redrawn."""
    known = {item.id: (item.status, item.retry_count) for item in last.generations} if last else {}
    for item in snapshot.generations:
        if known.get(item.id) != (item.status, item.retry_count):
            yield _item_line(item)
    batch = snapshot.batch
    if last is None or last.batch.status is not batch.status:
        yield heading(batch).plain


def images_by_item(snapshot: BatchSnapshot) -> Mapping[UUID, Image]:
    return {image.generation_id: image for image in snapshot.images if image.generation_id}


def status_text(status: BatchStatus | GenerationStatus) -> Text:
    return Text(str(status), style=STYLES[status])


def time_text(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def moment_text(moment: datetime, now: datetime) -> str:
    """The time of day; with its date where that is not today."""
    is_today = moment.astimezone(UTC).date() == now.astimezone(UTC).date()
    return f"{moment.astimezone(UTC):%H:%M:%S} UTC" if is_today else time_text(moment)


def took_text(batch: Batch) -> str:
    return duration_text((batch.completed_at - batch.created_at).total_seconds()) if batch.completed_at else ""


def duration_text(seconds: float) -> str:
    if seconds < 60:
        return f"{max(seconds, 0):.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02d} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02d} h"


def size_text(image: Image | None) -> str:
    if image is None:
        return ""
    pixels = f"{image.width}x{image.height}" if image.width and image.height else ""
    kilobytes = f"{image.file_size / 1000:,.0f} kB" if image.file_size is not None else ""
    return " ".join(part for part in (pixels, kilobytes) if part)


def _result_text(entry: ActionDone | ActionRefused) -> Text:
    if isinstance(entry, ActionRefused):
        return Text("refused", style="yellow")
    words = entry.action.replace("_", " ")
    return Text(words, style="bright_black" if words.startswith("already") else "green")


def _item_line(item: Generation) -> str:
    retried = f" (retry {item.retry_count})" if item.retry_count else ""
    reason = f": {printable(item.error_message)}" if item.error_message else ""
    return f"item {item.index} {item.status}{retried}  {printable(item.prompt, 80)}{reason}"


def table_of(*columns: str, rows: Iterable[Sequence[str]]) -> Table:
    """A plain table."""
    table = _table(*columns)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def dollars(amount: Decimal) -> str:
    """To the cent, or as far as there is something behind it."""
    plain = f"{amount:.6f}".rstrip("0")
    whole, _, cents = plain.partition(".")
    return f"${whole}.{cents:0<2}"


def _table(*columns: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for name in columns:
        numeric = name in {"#", "Seed", "Retries", "Done", "Failed", "Took", "Time", "Size", *COUNTED}
        table.add_column(name, justify="right" if numeric else "left", no_wrap=name not in WRAPPED)
    return table
