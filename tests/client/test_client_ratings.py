"""Ratings with the library."""

from collections.abc import Awaitable, Callable

import pytest
from fake_worker import FakeWorker
from test_actions import a_finished_batch, outcomes

from batchgen import BatchgenClient, InvalidRequest, NotFound
from tests.support import User


async def test_a_batch_and_its_pictures_are_rated(client: BatchgenClient, worker: FakeWorker, user: User) -> None:
    batch = await a_finished_batch(client, worker, user, None, "timeout")

    before = await client.rating(batch.id)
    rated = await client.rate(batch.id, 4, "Quick.")
    pictures = await client.rate_images(batch.id, 5)
    some = await client.rate_images(batch.id, None, [batch.generations[0].id])

    assert before is None
    assert (rated.stars, rated.comment) == (4, "Quick.")
    assert await client.rating(batch.id) == rated
    assert outcomes(pictures) == ["rated", "no_image"]
    assert pictures.done[0].rating == 5
    assert some.done[0].rating is None


async def test_ratings_out_of_range_are_refused(client: BatchgenClient, worker: FakeWorker, user: User) -> None:
    batch = await a_finished_batch(client, worker, user, None, None)

    with pytest.raises(InvalidRequest) as refused:
        await client.rate(batch.id, 6)

    assert (refused.value.code, refused.value.field) == ("out_of_range", "p_stars")


async def test_only_the_owner_rates_a_batch(
    client: BatchgenClient,
    client_of: Callable[[User], Awaitable[BatchgenClient]],
    new_user: Callable[[], Awaitable[User]],
    operator: BatchgenClient,
    worker: FakeWorker,
    user: User,
) -> None:
    batch = await a_finished_batch(client, worker, user, None, None)
    stranger = await client_of(await new_user())

    with pytest.raises(NotFound):
        await stranger.rate(batch.id, 1)
    with pytest.raises(NotFound):
        await stranger.rating(batch.id)
    with pytest.raises(InvalidRequest) as refused:
        await operator.rate(batch.id, 1)

    assert refused.value.code == "user_needed"
    assert await client.rating(batch.id) is None
