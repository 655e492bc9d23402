"""`submit --preview`, and `list` with filters."""

from collections.abc import Iterable

from batchgen.cli import formatting
from batchgen.cli.commands import open_client
from batchgen.cli.formatting import dollars, duration_text, printable
from batchgen.cli.options import RunAs
from batchgen.cli.output import Output
from batchgen.cli.tables import Column, FittedTable
from batchgen.client.details import MOST_PER_PAGE, BatchDetails, BatchPreview, LimitLeft
from batchgen.client.ids import short_ids
from batchgen.exit_codes import DONE, INVALID
from batchgen.models import Batch, BatchRequest
from batchgen.settings import Settings

LIMITS = {"daily_limit": "per day", "hourly_limit": "per hour", "too_many_waiting": "waiting"}


async def preview(out: Output, settings: Settings, run_as: RunAs, request: BatchRequest) -> int:
    """Show what submitting would do. The exit code is 2 if a limit would refuse it."""
    async with await open_client(out, settings, run_as, "Checking …") as client:
        with out.spinner("Checking …"):
            shown = await client.preview(request)
    if out.as_json:
        out.json(shown.model_dump(mode="json"))
    else:
        out.show(_item_table(shown))
        out.lines(["", *_preview_lines(shown)])
    return INVALID if shown.refusal else DONE


async def find(
    out: Output,
    settings: Settings,
    run_as: RunAs,
    limit: int,
    *,
    state: str | None,
    tag: str | None,
    search: str | None,
) -> int:
    """List the newest batches in this state, with this tag, or with this text."""
    found: list[BatchDetails] = []
    async with await open_client(out, settings, run_as, "Searching …") as client:
        with out.spinner("Searching …"):
            before: str | None = None
            while len(found) < limit:
                size = min(limit - len(found), MOST_PER_PAGE)
                page = await client.page(before=before, limit=size, state=state, tag=tag, search=search)
                found += page.batches
                before = page.next
                if before is None:
                    break
            batches = [Batch.model_validate(one.batch.model_dump()) for one in found]
            ids = [] if out.as_json else [batch.id for batch in batches]
            short = await client.short_ids(ids)
    if out.as_json:
        out.json([batch.model_dump(mode="json") for batch in batches])
    elif batches:
        users = {batch.user_id for batch in batches if batch.user_id}
        facts = {one.batch.id: one.facts for one in found}
        out.show(formatting.batch_table(batches, short, facts, short_ids(users) if client.is_operator else None))
    else:
        out.note("No batch matches.")
    return DONE


def _item_table(shown: BatchPreview) -> FittedTable:
    items = shown.items
    return FittedTable(
        Column("#", [str(item.index + 1) for item in items], right=True),
        Column("Prompt", [printable(item.prompt, 400) for item in items], min_width=20),
        Column("Negative prompt", [printable(item.negative_prompt or "", 400) for item in items], 16, drop=3),
        Column("Seed", [item.seed or "random" for item in items], right=True, drop=1),
        Column("Tags", [printable(", ".join(item.tags)) for item in items], 10, drop=2),
    )


def _preview_lines(shown: BatchPreview) -> Iterable[str]:
    batch = shown.batch
    if shown.batch_id:
        yield f"Already submitted with this client key: batch {shown.batch_id}. Submitting again returns it."
        return
    parts = [
        f"{shown.count} pictures",
        printable(batch.model_name or "", 60),
        f"{batch.width}x{batch.height}" if batch.width and batch.height else "",
        f"{batch.steps} steps" if batch.steps is not None else "",
        f"guidance {batch.guidance_scale:g}" if batch.guidance_scale is not None else "",
    ]
    yield ", ".join(part for part in parts if part)
    if shown.total_usd is not None and shown.price_usd is not None:
        yield f"Price: {dollars(shown.total_usd)} ({dollars(shown.price_usd)} each)"
    if credits := shown.credits:
        yield f"Credits: {credits.total} ({credits.each} each); {credits.available} available"
    if expected := shown.expected_seconds:
        source = "measured" if expected.is_measured else "estimated"
        most = f" to {duration_text(expected.most)}" if expected.most > expected.least else ""
        yield f"Expected time: {duration_text(expected.least)}{most} ({source})"
    if shown.sample_seed:
        yield f"Sample of the choices: seed {shown.sample_seed}"
    yield "Left: " + ", ".join(_limit_text(limit) for limit in shown.limits)
    if refusal := shown.refusal:
        yield printable(f"Would be refused: {refusal.message} {refusal.remedy or ''}".strip())


def _limit_text(limit: LimitLeft) -> str:
    return f"{limit.left} of {limit.limit} {LIMITS.get(limit.code, limit.code)}"
