"""Tables and lines for people. Foreign text is made printable here and never interpreted as rich markup.

People see items numbered from 1; in data and JSON the index starts at 0.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

from rich.style import Style
from rich.text import Text

from batchgen.cli.status_words import (
    NO_FACTS,
    batch_word,
    counts,
    facts_of,
    images_by_item,
    is_deleted,
    item_word,
    took_seconds,
)
from batchgen.cli.tables import Column, FittedTable
from batchgen.client.details import ExpectedEnd
from batchgen.client.ids import short_id
from batchgen.client.project_queries import Costs
from batchgen.models import (
    ActionDone,
    ActionRefused,
    ActionReport,
    Batch,
    BatchFacts,
    BatchSnapshot,
    BatchTotals,
    Generation,
    GenerationStatus,
    Image,
    Wait,
    WaitReason,
)
from batchgen.text import printable

STYLES = {
    "pending": "bright_black",
    "processing": "cyan",
    "completed": "green",
    "partial": "yellow",
    "failed": "red",
    "cancelled": "yellow",
    "deleted": "bright_black",
}
ICONS = {"pending": "○", "processing": "◐", "completed": "✔", "failed": "✘"}
LONGEST_REASON = 200
NAME_WIDTH = 8
PROMPT_WIDTH = 28
_ADDRESS = re.compile(r"https?://[!-~]+")


@dataclass(frozen=True)
class BatchLabel:
    """How a batch is shown: its short id and, for operators, its owner's."""

    id: str
    owner: str | None = None


def default_label(batch: Batch | BatchTotals) -> BatchLabel:
    """The first digits of its id."""
    return BatchLabel(short_id(batch.id))


def batch_table(
    batches: Sequence[Batch],
    short: Mapping[UUID, str] | None = None,
    facts: Mapping[UUID, BatchFacts] | None = None,
    owners: Mapping[UUID, str] | None = None,
) -> FittedTable:
    """The list of batches. `owners` are the users' short ids; with them, the table has a column for the owner."""
    short, facts = short or {}, facts or {}
    known = [(batch, facts.get(batch.id, NO_FACTS)) for batch in batches]
    return FittedTable(
        Column("Batch", [short.get(batch.id) or short_id(batch.id) for batch in batches]),
        *([Column("User", [_owner(batch, owners) for batch in batches])] if owners is not None else []),
        Column("Name", [printable(batch.name or "") for batch in batches], min_width=NAME_WIDTH),
        Column("Status", [word_text(batch_word(batch, more)) for batch, more in known]),
        Column(
            "Done",
            [f"{max(0, batch.completed_count - more.deleted)}/{batch.total_count}" for batch, more in known],
            right=True,
            drop=1,
        ),
        Column(
            "Failed",
            [str(max(0, batch.failed_count - more.cancelled) or "") for batch, more in known],
            right=True,
            drop=3,
        ),
        Column("Created (UTC)", [f"{batch.created_at.astimezone(UTC):%Y-%m-%d %H:%M}" for batch in batches], drop=2),
        Column("Took", [took_text(batch, more) for batch, more in known], right=True, drop=4),
    )


def item_table(snapshot: BatchSnapshot, waits: Sequence[Wait] = ()) -> FittedTable:
    """The batch's items, and what the pending ones wait for."""
    now = datetime.now(UTC)
    reasons = {wait.generation_id: wait_text(wait, now) for wait in waits}
    images = images_by_item(snapshot)
    items = snapshot.generations
    waiting = [reasons.get(item.id, "") for item in items]
    return FittedTable(
        Column("#", [str(item.index + 1) for item in items], right=True),
        Column("Status", [word_text(item_word(item, images)) for item in items]),
        Column("Prompt", [printable(item.prompt, 400) for item in items], min_width=PROMPT_WIDTH),
        Column("Waits for", [*waiting], min_width=14, drop=1),
        Column("Saved", ["yes" if _is_saved(images.get(item.id)) else "" for item in items], drop=4),
        Column("Retries", [str(item.retry_count or "") for item in items], right=True, drop=5),
        Column("Time", [_seconds(item) for item in items], right=True, drop=3),
        Column("Size", [size_text(images.get(item.id)) for item in items], right=True, drop=2),
        Column("Seed", ["" if item.seed is None else str(item.seed) for item in items], right=True, drop=6),
        Column("Picture", [picture_name(images.get(item.id)) for item in items], drop=7),
    )


def settings_lines(snapshot: BatchSnapshot) -> Iterable[str]:
    """The settings of the pictures: model, size, steps, guidance, tags."""
    items, images = snapshot.generations, snapshot.images
    version = snapshot.batch.model_version
    parts = [
        *_common("model", [printable(item.model or "", 60) for item in items]),
        *([f"version {printable(version, 40)}"] if version else []),
        *_common("", [f"{item.width}x{item.height}" if item.width and item.height else "" for item in items]),
        *_common("steps", ["" if item.steps is None else str(item.steps) for item in items]),
        *_common("guidance", ["" if item.guidance_scale is None else f"{item.guidance_scale:g}" for item in items]),
        *_common("negative prompt", [printable(item.negative_prompt or "", 60) for item in items]),
    ]
    if parts:
        line = ", ".join(parts)
        yield line[0].upper() + line[1:]
    tags = sorted({tag for image in images for tag in image.tags})
    if tags:
        yield "Tags: " + printable(", ".join(tags), 300)


def fault_lines(snapshot: BatchSnapshot) -> Iterable[Text]:
    """Why items failed."""
    for item in snapshot.generations:
        if item.status is GenerationStatus.FAILED:
            yield Text(f"{item.index + 1}  {fault_text(item)}", style=STYLES[item_word(item)])


def fault_text(item: Generation, limit: int = LONGEST_REASON) -> str:
    """`failed (blocked_by_policy): the reason`."""
    code = f" ({printable(item.error_code, 60)})" if item.error_code and item_word(item) == "failed" else ""
    return f"{item_word(item)}{code}: {printable(item.error_message or 'no reason was given', limit)}"


def long_lines(snapshot: BatchSnapshot, waits: Sequence[Wait] = ()) -> Iterable[Text]:
    """All details of each item, one per line."""
    now = datetime.now(UTC)
    reasons = {wait.generation_id: wait_text(wait, now) for wait in waits}
    images = images_by_item(snapshot)
    for item in snapshot.generations:
        image = images.get(item.id)
        yield Text("")
        yield Text.assemble(f"{item.index + 1}  ", word_text(item_word(item, images)), f"  {printable(item.prompt)}")
        for name, value in _details(item, image, reasons.get(item.id)):
            if value:
                yield Text(f"   {name:<10} {printable(value)}")


def report_table(report: ActionReport) -> FittedTable:
    """The result of an action on each item, or why the item was refused."""
    entries = sorted([*report.done, *report.refused], key=lambda entry: entry.index)
    done = [entry if isinstance(entry, ActionDone) else None for entry in entries]
    refused = [entry if isinstance(entry, ActionRefused) else None for entry in entries]
    return FittedTable(
        Column("#", [str(entry.index + 1) for entry in entries], right=True),
        Column("Result", [_result_text(entry) for entry in entries]),
        Column("Tags", [printable(", ".join(entry.tags)) if entry else "" for entry in done], 10, wraps=True, drop=1),
        Column("Why", [printable(entry.message) if entry else "" for entry in refused], 16, wraps=True, drop=2),
    )


def wait_text(wait: Wait, now: datetime) -> str:
    """What an item waits for, in a few words; times of another day than `now` have a date."""
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
            return "a worker without other items, since a worker crashed on it"
        case WaitReason.QUEUE:
            return f"position {wait.position} in the queue" if wait.position else "its turn"


def heading(batch: Batch | BatchTotals, label: BatchLabel | None = None, facts: BatchFacts = NO_FACTS) -> Text:
    """One line about a batch: id, name, owner, status, counts and duration."""
    label = label or default_label(batch)
    name = f" “{printable(batch.name, 60)}”" if batch.name else ""
    owner = f" of user {printable(label.owner, 60)}" if label.owner else ""
    took = f" in {took}" if isinstance(batch, Batch) and (took := took_text(batch, facts)) else ""
    word = word_text(batch_word(batch, facts))
    return Text.assemble(f"Batch {label.id}{name}{owner} ", word, f": {counts(batch, facts)}{took}")


def times(batch: Batch, facts: BatchFacts = NO_FACTS) -> Text:
    again = f", queued again {time_text(facts.reopened_at)}" if facts.reopened_at else ""
    ended = f", ended {time_text(batch.completed_at)}" if batch.completed_at else ""
    return Text(f"Submitted {time_text(batch.created_at)}{again}{ended}")


def expected_end_text(end: ExpectedEnd, now: datetime) -> str:
    """When a batch will end; times of another day than `now` have a date."""
    source = "measured" if end.is_measured else "estimated"
    if end.latest <= now:
        return f"Expected to end any moment ({source})"
    return f"Expected to end {moment_text(end.earliest, now)} to {moment_text(end.latest, now)} ({source})"


def picture_lines(
    snapshot: BatchSnapshot, paths: Mapping[UUID, str] | None = None, width: int | None = None
) -> Iterable[Text]:
    """A line per item: the saved file, else the picture's address, else why there is none.

    An address wider than `width` is replaced by the file's name, which links to it in terminals that support links.
    """
    images = images_by_item(snapshot)
    for item in snapshot.generations:
        number = f"{item.index + 1}  "
        path = (paths or {}).get(item.id)
        image = images.get(item.id)
        if path:
            yield Text(number + printable(path))
        elif image:
            address = printable(image.link or image.public_url or "")
            fits = address and (width is None or len(number) + len(address) <= width)
            yield Text(number + address) if fits else Text.assemble(number, picture_name(image))
        elif item.status is GenerationStatus.FAILED:
            yield Text(number + fault_text(item), style=STYLES[item_word(item)])
        elif is_deleted(item, images):
            yield Text(number + "deleted", style=STYLES["deleted"])


def picture_name(image: Image | None) -> Text:
    """The beginning of the file's name, linked to the address if that is valid."""
    if image is None:
        return Text("")
    name, _, suffix = printable(image.filename).rpartition(".")
    address = image.link or image.public_url
    link = address if address and _ADDRESS.fullmatch(address) else None
    return Text(f"{(name or suffix)[:8]}.{suffix[:5]}", style=Style(link=link) if link else "")


def change_lines(last: BatchSnapshot | None, snapshot: BatchSnapshot, label: BatchLabel | None = None) -> Iterable[str]:
    """A line for each change since `last`, for output that cannot be redrawn."""
    known = {item.id: (item.status, item.retry_count) for item in last.generations} if last else {}
    for item in snapshot.generations:
        if known.get(item.id) != (item.status, item.retry_count):
            yield _item_line(item)
    batch = snapshot.batch
    # The final state is the command's result and printed there.
    if (last is None or last.batch.status is not batch.status) and not batch.status.is_final:
        yield heading(batch, label, facts_of(snapshot)).plain


def word_text(word: str) -> Text:
    return Text(word, style=STYLES[word])


def time_text(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def moment_text(moment: datetime, now: datetime) -> str:
    """The time of day, with the date unless it is today."""
    is_today = moment.astimezone(UTC).date() == now.astimezone(UTC).date()
    return f"{moment.astimezone(UTC):%H:%M:%S} UTC" if is_today else time_text(moment)


def took_text(batch: Batch, facts: BatchFacts = NO_FACTS) -> str:
    seconds = took_seconds(batch, facts)
    return "" if seconds is None else duration_text(seconds)


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
    reason = f": {printable(item.error_message, LONGEST_REASON)}" if item.error_message else ""
    return f"item {item.index + 1} {item_word(item)}{retried}  {printable(item.prompt, 80)}{reason}"


def _owner(batch: Batch, owners: Mapping[UUID, str] | None) -> str:
    return (owners or {}).get(batch.user_id, str(batch.user_id)) if batch.user_id else "nobody"


def _is_saved(image: Image | None) -> bool:
    return image is not None and image.saved_at is not None


def _seconds(item: Generation) -> str:
    return "" if item.generation_time_seconds is None else f"{item.generation_time_seconds} s"


def _common(name: str, values: Sequence[str]) -> Sequence[str]:
    """`steps 20`, or `steps 20 or 30` if items differ; empty if no item has a value."""
    distinct = list(dict.fromkeys(value for value in values if value))
    shown = " or ".join(distinct[:3]) + (" and others" if len(distinct) > 3 else "")
    return [f"{name} {shown}".strip()] if distinct else []


def _details(item: Generation, image: Image | None, wait: str | None) -> Iterable[tuple[str, str]]:
    yield "id", str(item.id)
    yield "waits for", wait or ""
    yield "negative", item.negative_prompt or ""
    yield "seed", "" if item.seed is None else str(item.seed)
    yield "model", item.model or ""
    yield "size", f"{item.width}x{item.height}" if item.width and item.height else ""
    yield "steps", "" if item.steps is None else str(item.steps)
    yield "guidance", "" if item.guidance_scale is None else f"{item.guidance_scale:g}"
    yield "retries", str(item.retry_count or "")
    yield "started", time_text(item.started_at) if item.started_at else ""
    yield "ended", time_text(item.completed_at) if item.completed_at else ""
    yield "took", _seconds(item)
    yield "code", item.error_code or ""
    yield "reason", item.error_message or ""
    if image is not None:
        yield "picture", size_text(image)
        yield "file", image.storage_path
        yield "address", image.link or image.public_url or ""
        yield "thumbnail", image.thumbnail_link or image.thumbnail_path or ""
        yield "saved", time_text(image.saved_at) if image.saved_at else "no"
        yield "tags", ", ".join(image.tags)


def table_of(
    *columns: str, rows: Iterable[Sequence[str]], right: Iterable[str] = (), cut: str | None = None
) -> FittedTable:
    """A plain table. Cells of the column `cut` are shortened if the table is too wide."""
    cells = [*zip(*rows, strict=True)] or [()] * len(columns)
    return FittedTable(
        *(
            Column(
                name,
                [*values],
                min_width=NAME_WIDTH if name == cut else None,
                right=name in set(right),
                drop=place,
            )
            for place, (name, values) in enumerate(zip(columns, cells, strict=True))
        )
    )


def cost_text(cost: Costs) -> str:
    """`$0.10 for 4 of 5 attempts, and up to $0.03 for 1 that may have been charged`."""
    unknown = f", and up to {dollars(cost.unknown_usd)} for {cost.unknown} that may have been charged"
    return f"{dollars(cost.paid_usd)} for {cost.paid} of {cost.attempts} attempts" + unknown * bool(cost.unknown)


def dollars(amount: Decimal) -> str:
    """An amount with two decimals, or up to six if they are not zero."""
    plain = f"{amount:.6f}".rstrip("0")
    whole, _, cents = plain.partition(".")
    return f"${whole}.{cents:0<2}"
