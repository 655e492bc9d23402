"""The commands that act on a whole batch: call the library and print its report, item by item."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from batchgen.cli import formatting
from batchgen.cli.commands import follow, label_of, open_client, save_files
from batchgen.cli.formatting import BatchLabel
from batchgen.cli.options import FollowOptions, RunAs
from batchgen.cli.output import Output
from batchgen.cli.status_words import NO_FACTS
from batchgen.client.client import BatchgenClient
from batchgen.client.downloads import check_folder, check_room
from batchgen.exit_codes import DONE, WORK_FAILED
from batchgen.models import Action, ActionReport, BatchFacts
from batchgen.settings import Settings

Act = Callable[[BatchgenClient, UUID], Awaitable[ActionReport]]


async def cancel(out: Output, settings: Settings, run_as: RunAs, batch_id: str) -> int:
    return await _act(out, settings, run_as, batch_id, "Cancelling …", lambda client, one: client.cancel(one))


async def tag(out: Output, settings: Settings, run_as: RunAs, batch_id: str, tags: Sequence[str]) -> int:
    return await _act(out, settings, run_as, batch_id, "Tagging …", lambda client, one: client.tag_images(one, tags))


async def delete(out: Output, settings: Settings, run_as: RunAs, batch_id: str) -> int:
    return await _act(out, settings, run_as, batch_id, "Deleting …", lambda client, one: client.delete_images(one))


async def announce(out: Output, settings: Settings, run_as: RunAs, batch_id: str) -> str:
    """Print to stderr which batch a confirmation is about, and whose it is; return its whole id."""
    async with await open_client(out, settings, run_as, "Reading …") as client:
        with out.spinner("Reading …"):
            found = await client.find(batch_id)
            facts = await _facts(client, found.batch.id)
    out.note(formatting.heading(found.batch, label_of(client, found), facts).plain)
    return str(found.batch.id)


async def retry(out: Output, settings: Settings, run_as: RunAs, batch_id: str, following: FollowOptions | None) -> int:
    """Queue failed items again. With `following`, wait for the batch's end, which then decides the exit code."""
    if following and following.save_to:
        check_folder(following.save_to)
    async with await open_client(out, settings, run_as, "Queueing again …") as client:
        with out.spinner("Queueing again …"):
            found = await client.find(batch_id)
            report = await client.retry_failed(found.batch.id)
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


async def save(out: Output, settings: Settings, run_as: RunAs, batch_id: str, to: Path | None) -> int:
    """Mark the pictures as saved, then download them, so that none is removed meanwhile."""
    if to:
        check_folder(to)
    async with await open_client(out, settings, run_as, "Saving …") as client:
        with out.spinner("Saving …"):
            found = await client.find(batch_id)
            if to:
                check_room(to, await client.snapshot(found.batch.id))
            report = await client.keep_images(found.batch.id)
        files: dict[str, Any] = {}
        if to:
            files = await save_files(out, client, await client.snapshot(found.batch.id), FollowOptions(save_to=to))
        facts = await _facts(client, found.batch.id)
    code = _show(out, report, label_of(client, found), facts, files)
    if not out.as_json:
        out.lines(f"{file['index'] + 1}  {formatting.printable(file['path'])}" for file in files.get("files", ()))
    return code


async def _act(out: Output, settings: Settings, run_as: RunAs, batch_id: str, doing: str, act: Act) -> int:
    async with await open_client(out, settings, run_as, doing) as client:
        with out.spinner(doing):
            found = await client.find(batch_id)
            report = await act(client, found.batch.id)
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
