"""What the commands do that act on a whole batch: ask the library, hand the item by item answer to the output."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from batchgen.cli import formatting
from batchgen.cli.commands import follow, opened, save_files, who_is
from batchgen.cli.formatting import Called
from batchgen.cli.options import Asker, Wanted
from batchgen.cli.status_words import NOTHING_MORE
from batchgen.cli.streams import Output
from batchgen.client.client import BatchgenClient
from batchgen.client.downloads import check_folder, check_room
from batchgen.exit_codes import DONE, WORK_FAILED
from batchgen.models import Action, ActionReport, BatchFacts
from batchgen.settings import Settings

Act = Callable[[BatchgenClient, UUID], Awaitable[ActionReport]]


async def cancel(out: Output, settings: Settings, asker: Asker, batch_id: str) -> int:
    return await _act(out, settings, asker, batch_id, "Cancelling …", lambda client, one: client.cancel(one))


async def tag(out: Output, settings: Settings, asker: Asker, batch_id: str, tags: Sequence[str]) -> int:
    return await _act(out, settings, asker, batch_id, "Tagging …", lambda client, one: client.tag_images(one, tags))


async def delete(out: Output, settings: Settings, asker: Asker, batch_id: str) -> int:
    return await _act(out, settings, asker, batch_id, "Deleting …", lambda client, one: client.delete_images(one))


async def announce(out: Output, settings: Settings, asker: Asker, batch_id: str) -> str:
    """Say on stderr which batch it is, and whose, that a question is about to be asked of; return its whole id."""
    async with await opened(out, settings, asker, "Reading …") as client:
        with out.working("Reading …"):
            found = await client.find(batch_id)
            facts = await _facts(client, found.batch.id)
    out.note(formatting.heading(found.batch, who_is(client, found), facts).plain)
    return str(found.batch.id)


async def retry(out: Output, settings: Settings, asker: Asker, batch_id: str, wanted: Wanted | None) -> int:
    """Queue failed items again; with `wanted`, wait for the batch's end, which then decides on the exit code."""
    if wanted and wanted.save_to:
        check_folder(wanted.save_to)
    async with await opened(out, settings, asker, "Queueing again …") as client:
        with out.working("Queueing again …"):
            found = await client.find(batch_id)
            report = await client.retry_failed(found.batch.id)
        who = who_is(client, found)
        requeued = sum(item.action is Action.REQUEUED for item in report.done)
        if wanted is None:
            if requeued:
                out.note(f"Follow it with: batchgen watch {who.id}")
            return _show(out, report, who, await _facts(client, found.batch.id))
        out.note(f"{requeued} of {report.batch.total_count} items are queued again.")
        answer = _as_json(report)
        more = {"done": answer["done"], "refused": answer["refused"]}
        return await follow(out, client, found.batch.id, who, wanted, more)


async def save(out: Output, settings: Settings, asker: Asker, batch_id: str, to: Path | None) -> int:
    """Mark the pictures first, so that none is removed while they are downloaded."""
    if to:
        check_folder(to)
    async with await opened(out, settings, asker, "Saving …") as client:
        with out.working("Saving …"):
            found = await client.find(batch_id)
            if to:
                check_room(to, await client.snapshot(found.batch.id))
            report = await client.keep_images(found.batch.id)
        files: dict[str, Any] = {}
        if to:
            files = await save_files(out, client, await client.snapshot(found.batch.id), Wanted(save_to=to))
        facts = await _facts(client, found.batch.id)
    code = _show(out, report, who_is(client, found), facts, files)
    if not out.as_json:
        out.lines(f"{file['index'] + 1}  {formatting.printable(file['path'])}" for file in files.get("files", ()))
    return code


async def _act(out: Output, settings: Settings, asker: Asker, batch_id: str, doing: str, act: Act) -> int:
    async with await opened(out, settings, asker, doing) as client:
        with out.working(doing):
            found = await client.find(batch_id)
            report = await act(client, found.batch.id)
            facts = NOTHING_MORE if out.as_json else await _facts(client, found.batch.id)
    return _show(out, report, who_is(client, found), facts)


async def _facts(client: BatchgenClient, batch_id: UUID) -> BatchFacts:
    return (await client.facts([batch_id])).get(batch_id, NOTHING_MORE)


def _show(
    out: Output, report: ActionReport, who: Called, facts: BatchFacts, files: dict[str, Any] | None = None
) -> int:
    """Exit code 1 says that not one item is as it was wanted."""
    if out.as_json:
        out.json({**_as_json(report), **(files or {})})
    else:
        out.lines([formatting.heading(report.batch, who, facts), ""])
        out.show(formatting.report_table(report))
    return WORK_FAILED if report.refused and not report.done else DONE


def _as_json(report: ActionReport) -> dict[str, Any]:
    """The database's own answer: an action has no keys that belong to another one."""
    return report.model_dump(mode="json", exclude_unset=True)
