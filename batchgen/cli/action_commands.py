"""The commands that act on the items of a batch: call the library and print its report, item by item."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from batchgen.cli import formatting
from batchgen.cli.chosen_items import chosen_items, only_items
from batchgen.cli.commands import follow, label_of, open_client, save_files
from batchgen.cli.formatting import BatchLabel
from batchgen.cli.options import Edits, FollowOptions, RunAs
from batchgen.cli.output import Output
from batchgen.cli.status_words import NO_FACTS
from batchgen.client.actions import Items
from batchgen.client.client import BatchgenClient
from batchgen.client.downloads import check_folder, check_room
from batchgen.exit_codes import DONE, WORK_FAILED
from batchgen.models import Action, ActionReport, BatchFacts, ItemEdit
from batchgen.settings import Settings

Act = Callable[[BatchgenClient, UUID, Items], Awaitable[ActionReport]]
Typed = Sequence[str] | None
"""The values of `--item`."""


async def cancel(
    out: Output, settings: Settings, run_as: RunAs, batch_id: str, typed: Typed, *, waiting_only: bool
) -> int:
    async def act(client: BatchgenClient, one: UUID, items: Items) -> ActionReport:
        return await client.cancel(one, items, waiting_only=waiting_only)

    return await act_on_items(out, settings, run_as, batch_id, typed, "Cancelling …", act)


async def tag(out: Output, settings: Settings, run_as: RunAs, batch_id: str, tags: Sequence[str], typed: Typed) -> int:
    async def act(client: BatchgenClient, one: UUID, items: Items) -> ActionReport:
        return await client.tag_images(one, tags, items)

    return await act_on_items(out, settings, run_as, batch_id, typed, "Tagging …", act)


async def untag(
    out: Output, settings: Settings, run_as: RunAs, batch_id: str, tags: Sequence[str], typed: Typed
) -> int:
    async def act(client: BatchgenClient, one: UUID, items: Items) -> ActionReport:
        return await client.untag_images(one, tags, items)

    return await act_on_items(out, settings, run_as, batch_id, typed, "Removing tags …", act)


async def delete(out: Output, settings: Settings, run_as: RunAs, batch_id: str, typed: Typed) -> int:
    async def act(client: BatchgenClient, one: UUID, items: Items) -> ActionReport:
        return await client.delete_images(one, items)

    return await act_on_items(out, settings, run_as, batch_id, typed, "Deleting …", act)


async def rate(
    out: Output,
    settings: Settings,
    run_as: RunAs,
    batch_id: str,
    stars: int,
    comment: str | None,
    typed: Typed,
) -> int:
    """Rate the batch, or the pictures of its named items."""

    async def act(client: BatchgenClient, one: UUID, items: Items) -> ActionReport:
        return await client.rate_images(one, stars, items)

    if typed:
        return await act_on_items(out, settings, run_as, batch_id, typed, "Rating …", act)
    async with await open_client(out, settings, run_as, "Rating …") as client:
        with out.spinner("Rating …"):
            found = await client.find(batch_id)
            rating = await client.rate(found.batch.id, stars, comment)
    if out.as_json:
        out.json({"batch_id": str(found.batch.id), **rating.model_dump(mode="json")})
    else:
        words = f": {formatting.printable(rating.comment)}" if rating.comment else ""
        out.lines([f"Batch {label_of(client, found).id}: {rating.stars} of 5 stars{words}"])
    return DONE


async def announce(out: Output, settings: Settings, run_as: RunAs, batch_id: str) -> str:
    """Print to stderr which batch a confirmation is about, and whose it is; return its whole id."""
    async with await open_client(out, settings, run_as, "Reading …") as client:
        with out.spinner("Reading …"):
            found = await client.find(batch_id)
            facts = await _facts(client, found.batch.id)
    out.note(formatting.heading(found.batch, label_of(client, found), facts).plain)
    return str(found.batch.id)


async def retry(
    out: Output,
    settings: Settings,
    run_as: RunAs,
    batch_id: str,
    typed: Typed,
    edits: Edits,
    following: FollowOptions | None,
) -> int:
    """Queue failed items again. With `following`, wait for the batch's end, which then decides the exit code."""
    if following and following.save_to:
        check_folder(following.save_to)
    async with await open_client(out, settings, run_as, "Queueing again …") as client:
        with out.spinner("Queueing again …"):
            found = await client.find(batch_id)
            items = await chosen_items(client, found.batch.id, typed)
            changes = _changes(items or (), edits) if edits else None
            report = await client.retry_failed(found.batch.id, items, edits=changes)
        label = label_of(client, found)
        requeued = sum(item.action is Action.REQUEUED for item in report.done)
        if following is None:
            if requeued:
                out.note(f"Follow it with: batchgen watch {label.id}")
            return _show(out, report, label, await _facts(client, found.batch.id))
        out.note(f"{requeued} of {report.batch.total_count} items are queued again.")
        answer = _as_json(report)
        more = {"done": answer["done"], "refused": answer["refused"]}
        return await follow(out, client, found.batch.id, label, following, more)


def _changes(items: Sequence[UUID], edits: Edits) -> list[ItemEdit]:
    """The same changes for each of the items."""
    same = ItemEdit(
        generation_id=UUID(int=0),
        prompt=edits.prompt,
        negative_prompt=edits.negative_prompt,
        seed=edits.seed,
        model_id=edits.model,
    )
    return [same.model_copy(update={"generation_id": item}) for item in items]


async def save(out: Output, settings: Settings, run_as: RunAs, batch_id: str, typed: Typed, to: Path | None) -> int:
    """Mark the pictures as saved, then download them, so that none is removed meanwhile."""
    if to:
        check_folder(to)
    async with await open_client(out, settings, run_as, "Saving …") as client:
        with out.spinner("Saving …"):
            found = await client.find(batch_id)
            items = await chosen_items(client, found.batch.id, typed)
            if to:
                check_room(to, only_items(await client.snapshot(found.batch.id), items))
            report = await client.keep_images(found.batch.id, items)
        files: dict[str, Any] = {}
        if to:
            snapshot = only_items(await client.snapshot(found.batch.id), items)
            files = await save_files(out, client, snapshot, FollowOptions(save_to=to))
        facts = await _facts(client, found.batch.id)
    code = _show(out, report, label_of(client, found), facts, files)
    if not out.as_json:
        out.lines(f"{file['index'] + 1}  {formatting.printable(file['path'])}" for file in files.get("files", ()))
    return code


async def act_on_items(
    out: Output, settings: Settings, run_as: RunAs, batch_id: str, typed: Typed, doing: str, act: Act
) -> int:
    async with await open_client(out, settings, run_as, doing) as client:
        with out.spinner(doing):
            found = await client.find(batch_id)
            report = await act(client, found.batch.id, await chosen_items(client, found.batch.id, typed))
            facts = NO_FACTS if out.as_json else await _facts(client, found.batch.id)
    return _show(out, report, label_of(client, found), facts)


async def _facts(client: BatchgenClient, batch_id: UUID) -> BatchFacts:
    return (await client.facts([batch_id])).get(batch_id, NO_FACTS)


def _show(
    out: Output, report: ActionReport, label: BatchLabel, facts: BatchFacts, files: dict[str, Any] | None = None
) -> int:
    """Print the report. The exit code is 1 if every item was refused."""
    if out.as_json:
        out.json({**_as_json(report), **(files or {})})
    else:
        out.lines([formatting.heading(report.batch, label, facts), ""])
        out.show(formatting.report_table(report))
    return WORK_FAILED if report.refused and not report.done else DONE


def _as_json(report: ActionReport) -> dict[str, Any]:
    """The report as the database sent it, without the keys of other actions."""
    return report.model_dump(mode="json", exclude_unset=True)
