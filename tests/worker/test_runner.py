"""One generation, from its claim to its outcome."""

import asyncio
from io import BytesIO
from typing import NoReturn

import pytest
from PIL import Image

from batchgen.errors import InvalidRequest, OutcomeUnknown, ProviderRejected, ProviderUnavailable
from batchgen.models import GenerationStatus
from batchgen.providers.base import Output, RawImage, RemoteImage
from batchgen.queue.types import Claim, StoredImage
from scheduler.leases import Lease, Stop
from scheduler.runner import UPLOAD_SECONDS, Failed, Released, RetryLater, Succeeded
from tests.fake_queue import FakeQueue
from tests.support import eventually
from tests.worker.stage import theatre


async def test_a_picture_is_stored_and_the_item_completed() -> None:
    stage = theatre()
    (item,) = stage.queue.shelf.add("a")

    outcome = await stage.runner.run(await stage.hold_one())

    assert isinstance(outcome, Succeeded)
    assert item.status is GenerationStatus.COMPLETED
    assert item.image
    assert item.image.storage_path == f"{item.user_id}/{item.id}.png"


async def test_a_delivered_picture_is_stored_as_what_it_is() -> None:
    stage = theatre()
    (item,) = stage.queue.shelf.add("a")
    picture = BytesIO()
    Image.new("RGB", (40, 30), "teal").save(picture, "webp")
    stage.provider.delivers = RawImage(picture.getvalue())

    assert isinstance(await stage.runner.run(await stage.hold_one()), Succeeded)

    assert item.image
    assert (item.image.format, item.image.width, item.image.height) == ("webp", 40, 30)
    assert item.image.file_size == len(picture.getvalue())


@pytest.mark.parametrize(
    ("delivered", "code"),
    [
        (RawImage(b"<html>no picture</html>"), "not_a_picture"),
        (RemoteImage("http://pictures.example/a.png"), "address_refused"),
        (RemoteImage("https://127.0.0.1/a.png"), "address_refused"),
    ],
)
async def test_what_is_no_picture_or_may_not_be_fetched_fails_its_item_and_is_not_stored(
    delivered: Output, code: str
) -> None:
    stage = theatre()
    (item,) = stage.queue.shelf.add("a")
    stage.provider.delivers = delivered

    assert isinstance(await stage.runner.run(await stage.hold_one()), Failed)

    assert item.fault
    assert (item.fault.code, item.fault.retryable) == (code, False)
    assert not stage.storage.puts


async def test_an_order_whose_outcome_is_unknown_is_not_tried_again() -> None:
    stage = theatre()
    (item,) = stage.queue.shelf.add("a")
    stage.provider.script["a"] = OutcomeUnknown("The answer was lost.")

    assert isinstance(await stage.runner.run(await stage.hold_one()), Failed)

    assert item.fault
    assert item.fault.code == "outcome_unknown"


async def test_the_job_is_attached_before_anybody_waits_for_it() -> None:
    stage = theatre()
    (item,) = stage.queue.shelf.add("a")
    stage.provider.gate.clear()

    running = asyncio.create_task(stage.runner.run(await stage.hold_one()))
    await eventually(lambda: stage.provider.waiting)

    assert (item.provider, item.provider_job_id) == ("scripted", "job-1")
    stage.provider.gate.set()
    await running


async def test_a_job_that_was_left_is_resumed_and_not_bought_again() -> None:
    stage = theatre()
    (item,) = stage.queue.shelf.add("a")
    item.provider, item.provider_job_id = "scripted", "job-of-before"

    await stage.runner.run(await stage.hold_one())

    assert stage.provider.submitted == []
    assert stage.provider.waiting == ["job-of-before"]
    assert item.status is GenerationStatus.COMPLETED


async def test_a_job_of_another_provider_is_left_where_it_is() -> None:
    stage = theatre()
    (item,) = stage.queue.shelf.add("a")
    item.provider, item.provider_job_id = "elsewhere", "job-of-before"

    await stage.runner.run(await stage.hold_one())

    assert stage.provider.waiting == ["job-1"]
    assert stage.provider.cancelled == []
    assert item.provider == "scripted"


async def test_a_job_whose_lease_was_lost_before_it_was_attached_is_cancelled() -> None:
    stage = theatre()
    stage.queue.shelf.add("a")
    lease = await stage.hold_one()
    stage.queue.expire(lease.claim)

    outcome = await stage.runner.run(lease)

    assert outcome == Released(Stop.LOST)
    assert stage.provider.cancelled == ["job-1"]
    assert stage.provider.waiting == []


async def test_a_late_result_of_a_lost_lease_is_dropped() -> None:
    stage = theatre()
    (item,) = stage.queue.shelf.add("a")
    stage.provider.gate.clear()
    lease = await stage.hold_one()
    running = asyncio.create_task(stage.runner.run(lease))
    await eventually(lambda: stage.provider.waiting)
    stage.queue.expire(lease.claim)
    (theirs,) = await FakeQueue(stage.queue.shelf).claim(1)

    stage.provider.gate.set()
    outcome = await running

    assert outcome == Released(Stop.LOST)
    assert item.status is GenerationStatus.PROCESSING
    assert item.lease_id == theirs.lease_id
    assert stage.queue.discarded == [(item.id, 0)], "its file is not the item's, unless the other worker makes it so"


async def test_a_lease_that_is_lost_while_the_picture_is_being_stored_has_the_file_discarded_later() -> None:
    stage = theatre()
    (item,) = stage.queue.shelf.add("a")
    lease = await stage.hold_one()
    storing = asyncio.Event()

    async def never(*_: object, **__: object) -> NoReturn:
        storing.set()
        await asyncio.Event().wait()
        raise AssertionError("it is cut off")

    stage.storage.put = never
    running = asyncio.create_task(stage.runner.run(lease))
    await storing.wait()
    lease.stop(Stop.LOST)

    assert await running == Released(Stop.LOST)
    assert stage.queue.discarded == [(item.id, UPLOAD_SECONDS)]


async def test_a_job_that_takes_too_long_is_cancelled_and_tried_again_later() -> None:
    stage = theatre(patience={"item_timeout_seconds": 0.05})
    (item,) = stage.queue.shelf.add("a")
    stage.provider.gate.clear()

    outcome = await stage.runner.run(await stage.hold_one())

    assert isinstance(outcome, RetryLater)
    assert outcome.fault.code == "timeout"
    assert item.retry_count == 1
    assert stage.provider.cancelled == ["job-1"]


async def test_a_submit_that_hangs_ends_at_the_deadline() -> None:
    stage = theatre(patience={"item_timeout_seconds": 0.05})
    stage.queue.shelf.add("a")
    stage.provider.submit_gate.clear()

    outcome = await stage.runner.run(await stage.hold_one())

    assert isinstance(outcome, RetryLater)
    assert outcome.fault.code == "timeout"


async def test_storage_faults_do_not_make_the_picture_again() -> None:
    stage = theatre()
    (item,) = stage.queue.shelf.add("a")
    stage.storage.faults = 2

    outcome = await stage.runner.run(await stage.hold_one())

    assert isinstance(outcome, Succeeded)
    assert stage.storage.puts[item.id] == 3
    assert stage.provider.submitted == ["a"]


async def test_storage_that_stays_away_ends_the_attempt() -> None:
    stage = theatre(patience={"storage_patience_seconds": 0.05})
    stage.queue.shelf.add("a")
    stage.storage.faults = 99_999

    outcome = await stage.runner.run(await stage.hold_one())

    assert isinstance(outcome, RetryLater)
    assert outcome.fault.code == "storage_unavailable"


@pytest.mark.parametrize(
    ("error", "code", "is_final"),
    [
        (ProviderRejected("No.", code="blocked_by_policy"), "blocked_by_policy", True),
        (ProviderUnavailable("Down.", code="http_503"), "http_503", False),
        (ZeroDivisionError("sb_secret_abc"), "internal_error", False),
    ],
)
async def test_a_failure_ends_as_its_class_says(error: Exception, code: str, is_final: bool) -> None:
    stage = theatre()
    (item,) = stage.queue.shelf.add("a")
    stage.provider.script["a"] = error

    outcome = await stage.runner.run(await stage.hold_one())

    assert isinstance(outcome, Failed if is_final else RetryLater)
    assert item.fault
    assert item.fault.code == code
    assert "sb_secret" not in item.fault.message
    assert item.status is (GenerationStatus.FAILED if is_final else GenerationStatus.PENDING)


async def test_the_last_retry_that_fails_is_a_failure() -> None:
    stage = theatre()
    stage.queue.shelf.max_retries = 0
    stage.queue.shelf.add("a")
    stage.provider.script["a"] = ProviderUnavailable("Down.", code="http_503")

    outcome = await stage.runner.run(await stage.hold_one())

    assert isinstance(outcome, Failed)


async def test_a_result_waits_for_a_queue_that_is_away() -> None:
    stage = theatre()
    (item,) = stage.queue.shelf.add("a")
    stage.queue.down_calls = {"complete"}
    running = asyncio.create_task(stage.runner.run(await stage.hold_one()))
    await eventually(lambda: stage.queue.calls.count("complete") >= 3)

    stage.queue.down_calls = set()
    outcome = await running

    assert isinstance(outcome, Succeeded)
    assert item.status is GenerationStatus.COMPLETED
    assert stage.storage.puts[item.id] == 1


async def test_a_result_whose_answer_got_lost_is_written_once() -> None:
    stage = theatre()
    (item,) = stage.queue.shelf.add("a")
    stage.queue.forgets = ["complete"]

    outcome = await stage.runner.run(await stage.hold_one())

    assert outcome == Released(Stop.LOST), "nobody can tell any more whose write it was"
    assert item.status is GenerationStatus.COMPLETED


async def test_a_result_is_given_up_when_the_lease_ends_while_the_queue_is_away() -> None:
    stage = theatre(queue=FakeQueue(lease_seconds=0.1))
    stage.queue.shelf.add("a")
    stage.queue.down_calls = {"complete"}

    outcome = await stage.runner.run(await stage.hold_one())

    assert outcome == Released(Stop.LOST)


async def test_a_result_that_the_database_refuses_fails_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = theatre()
    (item,) = stage.queue.shelf.add("a")

    async def refuse(claim: Claim, image: StoredImage) -> None:
        raise InvalidRequest("p_result does not fit", code="invalid_argument")

    monkeypatch.setattr(stage.queue, "complete", refuse)

    outcome = await stage.runner.run(await stage.hold_one())

    assert isinstance(outcome, Failed)
    assert item.status is GenerationStatus.FAILED


async def test_a_cancelled_item_ends_its_job_and_fails_as_cancelled() -> None:
    stage = theatre()
    (item,) = stage.queue.shelf.add("a")
    stage.provider.gate.clear()
    lease = await stage.hold_one()
    running = asyncio.create_task(stage.runner.run(lease))
    await eventually(lambda: stage.provider.waiting)
    item.cancel_requested = True

    await stage.leases.renew()
    outcome = await running

    assert isinstance(outcome, Failed)
    assert item.fault
    assert item.fault.code == "cancelled"
    assert stage.provider.cancelled == ["job-1"]


async def test_a_cancellation_after_the_picture_is_there_keeps_the_picture() -> None:
    stage = theatre()
    (item,) = stage.queue.shelf.add("a")
    stage.queue.down_calls = {"complete"}
    lease = await stage.hold_one()
    running = asyncio.create_task(stage.runner.run(lease))
    await eventually(lambda: "complete" in stage.queue.calls)
    item.cancel_requested = True

    await stage.leases.renew()
    stage.queue.down_calls = set()

    assert isinstance(await running, Succeeded)


async def test_a_stop_before_the_work_began_leaves_the_item_alone() -> None:
    stage = theatre()
    stage.queue.shelf.add("a")
    lease: Lease = await stage.hold_one()
    lease.stop(Stop.SHUTDOWN)

    outcome = await stage.runner.run(lease)

    assert outcome == Released(Stop.SHUTDOWN)
    assert stage.provider.submitted == []
