"""What the commands do that act on a whole batch: ask the library, hand the item by item answer to the output."""

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any
from uuid import UUID

from batchgen import render
from batchgen.client import BatchgenClient
from batchgen.commands import Wanted, follow, save_files
from batchgen.identity import client_for
from batchgen.models import Action, ActionReport
from batchgen.output import DONE, WORK_FAILED, Output
from batchgen.settings import Settings

Act = Callable[[BatchgenClient], Awaitable[ActionReport]]


async def cancel(out: Output, settings: Settings, user: str | None, batch_id: UUID) -> int:
    return await _act(out, settings, user, "Cancelling …", lambda client: client.cancel(batch_id))


async def tag(out: Output, settings: Settings, user: str | None, batch_id: UUID, tags: Sequence[str]) -> int:
    return await _act(out, settings, user, "Tagging …", lambda client: client.tag_images(batch_id, tags))


async def delete(out: Output, settings: Settings, user: str | None, batch_id: UUID) -> int:
    return await _act(out, settings, user, "Deleting …", lambda client: client.delete_images(batch_id))


async def announce(out: Output, settings: Settings, user: str | None, batch_id: UUID) -> int:
    """Say on stderr which batch it is that a question is about to be asked of."""
    with out.working("Reading …"):
        async with await client_for(settings, user) as client:
            snapshot = await client.snapshot(batch_id)
    out.note(render.heading(snapshot.batch).plain)
    return DONE


async def retry(out: Output, settings: Settings, user: str | None, batch_id: UUID, wanted: Wanted | None) -> int:
    """Queue failed items again; with `wanted`, wait for the batch's end, which then decides on the exit code."""
    with out.working("Queueing again …"):
        client = await client_for(settings, user)
    async with client:
        with out.working("Queueing again …"):
            report = await client.retry_failed(batch_id)
        requeued = sum(item.action is Action.REQUEUED for item in report.done)
        if wanted is None:
            if requeued:
                out.note(f"Follow it with: batchgen watch {batch_id}")
            return _show(out, report)
        out.note(f"{requeued} of {report.batch.total_count} items are queued again.")
        answer = _as_json(report)
        return await follow(out, client, batch_id, wanted, {"done": answer["done"], "refused": answer["refused"]})


async def save(out: Output, settings: Settings, user: str | None, batch_id: UUID, to: Path | None) -> int:
    """Mark the pictures first, so that none is removed while they are downloaded."""
    with out.working("Saving …"):
        client = await client_for(settings, user)
    async with client:
        with out.working("Saving …"):
            report = await client.keep_images(batch_id)
        files: dict[str, Any] = {}
        if to:
            files = await save_files(out, client, await client.snapshot(batch_id), Wanted(save_to=to))
    code = _show(out, report, files)
    if not out.as_json:
        out.lines(f"{file['index']}  {render.printable(file['path'])}" for file in files.get("files", ()))
    return code


async def _act(out: Output, settings: Settings, user: str | None, doing: str, act: Act) -> int:
    with out.working(doing):
        async with await client_for(settings, user) as client:
            report = await act(client)
    return _show(out, report)


def _show(out: Output, report: ActionReport, files: dict[str, Any] | None = None) -> int:
    """Exit code 1 says that not one item is as it was wanted."""
    if out.as_json:
        out.json({**_as_json(report), **(files or {})})
    else:
        out.lines([render.heading(report.batch), ""])
        out.show(render.report_table(report))
    return WORK_FAILED if report.refused and not report.done else DONE


def _as_json(report: ActionReport) -> dict[str, Any]:
    """The database's own answer: an action has no keys that belong to another one."""
    return report.model_dump(mode="json", exclude_unset=True)
