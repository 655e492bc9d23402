"""The option `--item`: items of a batch by number or id."""

from collections.abc import Sequence
from uuid import UUID

from batchgen.client.client import BatchgenClient
from batchgen.client.ids import digits_of
from batchgen.errors import InvalidRequest, NotFound
from batchgen.models import BatchSnapshot, Generation
from batchgen.text import printable

MOST_NUMBER_DIGITS = 3
"""A shorter number is an item's number, a longer one the first digits of its id."""


async def chosen_items(client: BatchgenClient, batch_id: UUID, typed: Sequence[str] | None) -> list[UUID] | None:
    """The ids of the items that `--item` names; None if it is not given.

    Raises `InvalidRequest` for text that is neither a number nor an id, and `NotFound` for an unknown item.
    """
    if not typed:
        return None
    items = (await client.snapshot(batch_id)).generations
    return list(dict.fromkeys(_item(one, items).id for one in typed))


def only_items(snapshot: BatchSnapshot, items: Sequence[UUID] | None) -> BatchSnapshot:
    """The snapshot with these items and their pictures only; the whole one if `items` is None."""
    if items is None:
        return snapshot
    return snapshot.model_copy(
        update={
            "generations": tuple(item for item in snapshot.generations if item.id in items),
            "images": tuple(image for image in snapshot.images if image.generation_id in items),
        }
    )


def _item(typed: str, items: Sequence[Generation]) -> Generation:
    remedy = f"Give a number from 1 to {len(items)}, or the first digits of an item's id: batchgen show --json."
    if typed.isascii() and typed.isdigit() and len(typed) <= MOST_NUMBER_DIGITS:
        found = [item for item in items if item.index == int(typed) - 1]
    else:
        digits = digits_of(typed, what="item", field="item", code="invalid_item", remedy=remedy)
        found = [item for item in items if item.id.hex.startswith(digits)]
    if len(found) == 1:
        return found[0]
    name = printable(typed, 60)
    if found:
        matches = [str(item.id) for item in found]
        message = f"{name} matches the ids of {len(found)} items."
        raise InvalidRequest(message, code="ambiguous_item", field="item", limit=matches, remedy="Give more digits.")
    raise NotFound(f"The batch has no item {name}.", code="item_not_found", field="item", remedy=remedy)
