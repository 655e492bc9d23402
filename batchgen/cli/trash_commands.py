"""The commands `trash`, `restore` and `empty-trash`."""

from uuid import UUID

from batchgen.cli.action_commands import Typed, act_on_items
from batchgen.cli.commands import open_client
from batchgen.cli.formatting import table_of
from batchgen.cli.options import RunAs
from batchgen.cli.output import Output
from batchgen.client.actions import Items
from batchgen.client.client import BatchgenClient
from batchgen.client.ids import short_id
from batchgen.exit_codes import DONE
from batchgen.models import ActionReport, TrashEntry
from batchgen.settings import Settings
from batchgen.text import printable


async def trash(out: Output, settings: Settings, run_as: RunAs, batch_id: str, typed: Typed) -> int:
    async def act(client: BatchgenClient, one: UUID, items: Items) -> ActionReport:
        return await client.trash_images(one, items)

    return await act_on_items(out, settings, run_as, batch_id, typed, "Moving to the trash …", act)


async def restore(out: Output, settings: Settings, run_as: RunAs, batch_id: str, typed: Typed) -> int:
    async def act(client: BatchgenClient, one: UUID, items: Items) -> ActionReport:
        return await client.restore_images(one, items)

    return await act_on_items(out, settings, run_as, batch_id, typed, "Restoring …", act)


async def show_trash(out: Output, settings: Settings, run_as: RunAs, *, limit: int, before: str | None) -> int:
    async with await open_client(out, settings, run_as, "Reading …") as client:
        with out.spinner("Reading …"):
            page = await client.trash(before=before, limit=limit)
    if out.as_json:
        out.json(page.model_dump(mode="json"))
        return DONE
    if not page.entries:
        out.note("The trash is empty." if before is None else "No older entries.")
        return DONE
    names = ("Batch", "Name", "Pictures", "Thrown away (UTC)", "Deleted (UTC)")
    out.show(table_of(*names, rows=[_row(entry) for entry in page.entries]))
    if page.next:
        out.note(f"Older entries: batchgen trash --before {page.next}")
    return DONE


async def empty_trash(out: Output, settings: Settings, run_as: RunAs) -> int:
    async with await open_client(out, settings, run_as, "Deleting …") as client:
        with out.spinner("Deleting …"):
            emptied = await client.empty_trash()
    if out.as_json:
        out.json(emptied.model_dump(mode="json"))
    else:
        out.lines([f"Deleted {emptied.images} pictures and {emptied.batches} batches."])
    return DONE


def _row(entry: TrashEntry) -> tuple[str, ...]:
    pictures = str(len(entry.images)) if entry.kind == "batch" else f"item {(entry.images[0].index or 0) + 1}"
    return (
        short_id(entry.batch_id) if entry.batch_id else "deleted",
        printable(entry.name or "", 40),
        pictures,
        f"{entry.archived_at:%Y-%m-%d %H:%M}",
        f"{entry.deleted_at:%Y-%m-%d %H:%M}",
    )
