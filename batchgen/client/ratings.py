"""Ratings of batches and of their pictures."""

from uuid import UUID

from batchgen.client.actions import Items, act
from batchgen.client.caller import Caller
from batchgen.errors import InvalidRequest
from batchgen.models import ActionReport, BatchRating


async def rate_batch(caller: Caller, batch_id: UUID, stars: int, comment: str | None) -> BatchRating:
    _check_is_owner(caller)
    arguments = {"p_batch_id": str(batch_id), "p_stars": stars, "p_comment": comment}
    return BatchRating.model_validate(await caller.rpc("rate_batch", arguments, resends=True))


async def read_rating(caller: Caller, batch_id: UUID) -> BatchRating | None:
    _check_is_owner(caller)
    found = await caller.rpc("get_batch_rating", {"p_batch_id": str(batch_id)})
    return None if found is None else BatchRating.model_validate(found)


async def rate_images(caller: Caller, batch_id: UUID, rating: int | None, items: Items) -> ActionReport:
    return await act(caller, "rate_batch_images", batch_id, items, p_rating=rating)


def _check_is_owner(caller: Caller) -> None:
    if caller.is_operator:
        raise InvalidRequest(
            "Only its owner rates a batch.", code="user_needed", remedy="Sign in as the owner: batchgen login."
        )
