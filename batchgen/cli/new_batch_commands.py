"""The commands `similar` and `again`, which submit new batches from earlier ones."""

from collections.abc import Awaitable, Callable
from uuid import UUID

from batchgen.cli.action_commands import Typed
from batchgen.cli.chosen_items import chosen_items
from batchgen.cli.commands import follow, label_of_new, open_client
from batchgen.cli.formatting import BatchLabel
from batchgen.cli.options import FollowOptions, RunAs
from batchgen.cli.output import Output
from batchgen.client.actions import Items
from batchgen.client.client import BatchgenClient
from batchgen.client.downloads import check_folder
from batchgen.exit_codes import DONE
from batchgen.models import Difference, RepeatedBatch, SharedSettings
from batchgen.settings import Settings
from batchgen.text import printable

Submit = Callable[[BatchgenClient, UUID, Items], Awaitable[RepeatedBatch]]


async def similar(
    out: Output,
    settings: Settings,
    run_as: RunAs,
    batch_id: str,
    typed: Typed,
    count: int | None,
    client_key: str | None,
    following: FollowOptions | None,
) -> int:
    async def submit(client: BatchgenClient, one: UUID, items: Items) -> RepeatedBatch:
        return await client.generate_similar(one, items, count=count, client_key=client_key)

    return await _submit(out, settings, run_as, batch_id, typed, following, submit)


async def again(
    out: Output,
    settings: Settings,
    run_as: RunAs,
    batch_id: str,
    typed: Typed,
    changes: SharedSettings,
    client_key: str | None,
    following: FollowOptions | None,
) -> int:
    async def submit(client: BatchgenClient, one: UUID, items: Items) -> RepeatedBatch:
        return await client.run_again(one, items, changes=changes, client_key=client_key)

    return await _submit(out, settings, run_as, batch_id, typed, following, submit)


async def _submit(
    out: Output,
    settings: Settings,
    run_as: RunAs,
    batch_id: str,
    typed: Typed,
    following: FollowOptions | None,
    submit: Submit,
) -> int:
    """Submit the new batch; with `following`, wait for its end, which then decides the exit code."""
    if following and following.save_to:
        check_folder(following.save_to)
    async with await open_client(out, settings, run_as, "Submitting …") as client:
        with out.spinner("Submitting …"):
            found = await client.find(batch_id)
            new = await submit(client, found.batch.id, await chosen_items(client, found.batch.id, typed))
            label = await label_of_new(client, new.batch.id)
        answer = new.model_dump(mode="json", by_alias=False)
        if following:
            out.note(f"Submitted batch {label.id}.")
            more = {"sources": answer["sources"], "differs": answer["differs"]}
            return await follow(out, client, new.batch.id, label, following, more)
    if out.as_json:
        out.json(answer)
    else:
        _print(out, new, label)
    return DONE


def _print(out: Output, new: RepeatedBatch, label: BatchLabel) -> None:
    out.lines([f"Submitted batch {label.id} with {new.batch.total_count} items."])
    out.lines(_line(difference) for difference in new.differs)
    out.note(f"Follow it with: batchgen watch {label.id}")


def _line(difference: Difference) -> str:
    if difference.field == "seed":
        return "seed: a new one for each item"
    return printable(f"{difference.field}: {_shown(difference.new)} instead of {_shown(difference.old)}")


def _shown(value: object) -> str:
    return "the model's own" if value is None else str(value)
