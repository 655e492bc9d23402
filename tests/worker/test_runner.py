"""One item, from its claim to its outcome."""

import asyncio
import re
from io import BytesIO
from typing import NoReturn

import pytest
from PIL import Image

from batchgen.errors import InvalidRequest, OutcomeUnknown, ProviderRejected, ProviderUnavailable, StorageError
from batchgen.models import GenerationStatus
from batchgen.providers.base import Picture, RawImage, RemoteImage
from batchgen.queue.types import Claim, StoredImage
from scheduler.leases import Lease, Stop
from scheduler.runner import UPLOAD_SECONDS, Failed, Released, RetryLater, Succeeded
from tests.fake_queue import FakeQueue
from tests.support import eventually
from tests.worker.worker_harness import worker_harness


async def test_a_picture_is_stored_and_the_item_completed() -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")

    outcome = await harness.runner.run(await harness.hold_one())

    assert isinstance(outcome, Succeeded)
    assert item.status is GenerationStatus.COMPLETED
    assert item.image
    assert item.image.storage_path == f"{item.user_id}/{item.id}.png"


async def test_a_picture_is_stored_in_its_actual_format_and_size() -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    picture = BytesIO()
    Image.new("RGB", (40, 30), "teal").save(picture, "webp")
    harness.provider.delivers = RawImage(picture.getvalue())

    assert isinstance(await harness.runner.run(await harness.hold_one()), Succeeded)

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
async def test_a_refused_output_fails_its_item_and_is_not_stored(delivered: Picture, code: str) -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    harness.provider.delivers = delivered

    assert isinstance(await harness.runner.run(await harness.hold_one()), Failed)

    assert item.fault
    assert (item.fault.code, item.fault.retryable) == (code, False)
    assert not harness.storage.puts


async def test_an_unknown_outcome_is_not_retried() -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    harness.provider.script["a"] = OutcomeUnknown("The answer was lost.")

    assert isinstance(await harness.runner.run(await harness.hold_one()), Failed)

    assert item.fault
    assert item.fault.code == "outcome_unknown"


async def test_a_job_is_attached_before_it_is_waited_for() -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    harness.provider.gate.clear()

    running = asyncio.create_task(harness.runner.run(await harness.hold_one()))
    await eventually(lambda: harness.provider.waiting)

    assert (item.provider, item.provider_job_id) == ("scripted", "job-1")
    harness.provider.gate.set()
    await running


async def test_an_earlier_job_is_resumed_and_not_ordered_again() -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    item.provider, item.provider_job_id = "scripted", "job-of-before"

    await harness.runner.run(await harness.hold_one())

    assert harness.provider.submitted == []
    assert harness.provider.waiting == ["job-of-before"]
    assert item.status is GenerationStatus.COMPLETED


async def test_a_job_of_another_provider_is_left_alone() -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    item.provider, item.provider_job_id = "elsewhere", "job-of-before"

    await harness.runner.run(await harness.hold_one())

    assert harness.provider.waiting == ["job-1"]
    assert harness.provider.cancelled == []
    assert item.provider == "scripted"


async def test_a_job_with_a_lost_lease_is_cancelled_before_attaching() -> None:
    harness = worker_harness()
    harness.queue.state.add("a")
    lease = await harness.hold_one()
    harness.queue.expire(lease.claim)

    outcome = await harness.runner.run(lease)

    assert outcome == Released(Stop.LOST)
    assert harness.provider.cancelled == ["job-1"]
    assert harness.provider.waiting == []


async def test_a_late_result_of_a_lost_lease_is_dropped() -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    harness.provider.gate.clear()
    lease = await harness.hold_one()
    running = asyncio.create_task(harness.runner.run(lease))
    await eventually(lambda: harness.provider.waiting)
    harness.queue.expire(lease.claim)
    (theirs,) = await FakeQueue(harness.queue.state).claim(1)

    harness.provider.gate.set()
    outcome = await running

    assert outcome == Released(Stop.LOST)
    assert item.status is GenerationStatus.PROCESSING
    assert item.lease_id == theirs.lease_id
    assert harness.queue.discarded == [(item.id, 0)], "its file is not the item's, unless the other worker makes it so"


async def test_a_lease_lost_during_the_upload_discards_the_file_later() -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    lease = await harness.hold_one()
    storing = asyncio.Event()

    async def never(*_: object, **__: object) -> NoReturn:
        storing.set()
        await asyncio.Event().wait()
        raise AssertionError("it is cut off")

    harness.storage.put = never
    running = asyncio.create_task(harness.runner.run(lease))
    await storing.wait()
    lease.stop(Stop.LOST)

    assert await running == Released(Stop.LOST)
    assert harness.queue.discarded == [(item.id, UPLOAD_SECONDS)]


async def test_a_job_over_its_time_is_cancelled_and_retried_later() -> None:
    harness = worker_harness(patience={"item_timeout_seconds": 0.2})
    (item,) = harness.queue.state.add("a")
    harness.provider.gate.clear()

    outcome = await harness.runner.run(await harness.hold_one())

    assert isinstance(outcome, RetryLater)
    assert outcome.fault.code == "timeout"
    assert item.retry_count == 1
    assert harness.provider.cancelled == ["job-1"]


async def test_a_hanging_submit_ends_at_the_deadline() -> None:
    harness = worker_harness(patience={"item_timeout_seconds": 0.2})
    harness.queue.state.add("a")
    harness.provider.submit_gate.clear()

    outcome = await harness.runner.run(await harness.hold_one())

    assert isinstance(outcome, RetryLater)
    assert outcome.fault.code == "timeout"


async def test_storage_errors_do_not_generate_the_picture_again() -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    harness.storage.faults = 2

    outcome = await harness.runner.run(await harness.hold_one())

    assert isinstance(outcome, Succeeded)
    assert harness.storage.puts[item.id] == 3
    assert harness.provider.submitted == ["a"]


async def test_a_lasting_storage_outage_ends_the_attempt() -> None:
    harness = worker_harness(patience={"storage_patience_seconds": 0.05})
    harness.queue.state.add("a")
    harness.storage.faults = 99_999

    outcome = await harness.runner.run(await harness.hold_one())

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
async def test_a_failure_is_final_or_retried_by_its_class(error: Exception, code: str, is_final: bool) -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    harness.provider.script["a"] = error

    outcome = await harness.runner.run(await harness.hold_one())

    assert isinstance(outcome, Failed if is_final else RetryLater)
    assert item.fault
    assert item.fault.code == code
    assert "sb_secret" not in item.fault.message
    assert item.status is (GenerationStatus.FAILED if is_final else GenerationStatus.PENDING)


async def test_an_item_fails_when_its_last_retry_fails() -> None:
    harness = worker_harness()
    harness.queue.state.max_retries = 0
    harness.queue.state.add("a")
    harness.provider.script["a"] = ProviderUnavailable("Down.", code="http_503")

    outcome = await harness.runner.run(await harness.hold_one())

    assert isinstance(outcome, Failed)


async def test_a_result_waits_for_the_queue_to_return() -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    harness.queue.down_calls = {"complete"}
    running = asyncio.create_task(harness.runner.run(await harness.hold_one()))
    await eventually(lambda: harness.queue.calls.count("complete") >= 3)

    harness.queue.down_calls = set()
    outcome = await running

    assert isinstance(outcome, Succeeded)
    assert item.status is GenerationStatus.COMPLETED
    assert harness.storage.puts[item.id] == 1


async def test_a_result_with_a_lost_answer_is_written_once() -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    harness.queue.loses_answers_of = ["complete"]

    outcome = await harness.runner.run(await harness.hold_one())

    assert outcome == Released(Stop.LOST), "nobody can tell any more whose write it was"
    assert item.status is GenerationStatus.COMPLETED


async def test_a_result_is_dropped_when_its_lease_ends_in_an_outage() -> None:
    harness = worker_harness(queue=FakeQueue(lease_seconds=0.5))
    harness.queue.state.add("a")
    harness.queue.down_calls = {"complete"}

    outcome = await harness.runner.run(await harness.hold_one())

    assert outcome == Released(Stop.LOST)


async def test_a_result_refused_by_the_database_fails_for_good(monkeypatch: pytest.MonkeyPatch) -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")

    async def refuse(claim: Claim, image: StoredImage) -> None:
        raise InvalidRequest("p_result does not fit", code="invalid_argument")

    monkeypatch.setattr(harness.queue, "complete", refuse)

    outcome = await harness.runner.run(await harness.hold_one())

    assert isinstance(outcome, Failed)
    assert item.status is GenerationStatus.FAILED


async def test_a_cancelled_item_cancels_its_job_and_fails() -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    harness.provider.gate.clear()
    lease = await harness.hold_one()
    running = asyncio.create_task(harness.runner.run(lease))
    await eventually(lambda: harness.provider.waiting)
    item.cancel_requested = True

    await harness.leases.renew()
    outcome = await running

    assert isinstance(outcome, Failed)
    assert item.fault
    assert item.fault.code == "cancelled"
    assert harness.provider.cancelled == ["job-1"]


async def test_cancelling_after_the_picture_is_made_keeps_it() -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    harness.queue.down_calls = {"complete"}
    lease = await harness.hold_one()
    running = asyncio.create_task(harness.runner.run(lease))
    await eventually(lambda: "complete" in harness.queue.calls)
    item.cancel_requested = True

    await harness.leases.renew()
    harness.queue.down_calls = set()

    assert isinstance(await running, Succeeded)


async def test_a_stop_before_the_attempt_releases_the_item() -> None:
    harness = worker_harness()
    harness.queue.state.add("a")
    lease: Lease = await harness.hold_one()
    lease.stop(Stop.SHUTDOWN)

    outcome = await harness.runner.run(lease)

    assert outcome == Released(Stop.SHUTDOWN)
    assert harness.provider.submitted == []


async def test_a_thumbnail_is_stored_beside_the_picture() -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")

    await harness.runner.run(await harness.hold_one())

    assert item.image
    path = f"{item.user_id}/{item.id}.thumb.webp"
    assert item.image.thumbnail_path == path
    with Image.open(BytesIO(harness.storage.thumbnails[path])) as small:
        assert (small.format, small.size) == ("WEBP", (40, 30))
    assert harness.queue.discarded == []


@pytest.mark.parametrize("fault", [StorageError("Storage answered 503."), RuntimeError("a bug"), TimeoutError()])
async def test_a_thumbnail_that_fails_does_not_fail_its_item(
    fault: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    harness.storage.thumbnail_fault = fault

    outcome = await harness.runner.run(await harness.hold_one())

    assert isinstance(outcome, Succeeded)
    assert item.status is GenerationStatus.COMPLETED
    assert item.image
    assert item.image.thumbnail_path is None
    assert harness.queue.discarded == [(item.id, UPLOAD_SECONDS)], "its file may have arrived"


async def test_a_thumbnail_that_is_never_stored_holds_its_item_up_for_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("scheduler.runner.THUMBNAIL_SECONDS", 0.05)
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")

    async def never(*_: object, **__: object) -> NoReturn:
        await asyncio.Event().wait()
        raise AssertionError("it is cut off")

    harness.storage.put_thumbnail = never

    assert isinstance(await harness.runner.run(await harness.hold_one()), Succeeded)
    assert item.image
    assert item.image.thumbnail_path is None


async def test_a_name_that_is_taken_is_replaced_by_one_made_from_the_content() -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    harness.storage.taken = {f"{item.id}.png", f"{item.id}.thumb.webp"}

    await harness.runner.run(await harness.hold_one())

    assert item.image
    assert re.fullmatch(rf"{item.user_id}/{item.id}\.[0-9a-f]{{16}}\.png", item.image.storage_path)
    assert re.fullmatch(rf"{item.user_id}/{item.id}\.[0-9a-f]{{16}}\.thumb\.webp", item.image.thumbnail_path or "")
    assert {item.image.storage_path, item.image.thumbnail_path} == {*harness.queue.announced}
    assert item.image.filename == f"{item.id}.png", "the name for downloads stays"


async def test_an_item_that_was_completed_before_gets_files_of_other_names() -> None:
    harness = worker_harness()
    (item,) = harness.queue.state.add("a")
    lease = await harness.hold_one()
    lease.claim = lease.claim.model_copy(update={"had_picture": True})

    await harness.runner.run(lease)

    assert item.image
    assert item.image.storage_path != f"{item.user_id}/{item.id}.png"
    assert item.image.thumbnail_path != f"{item.user_id}/{item.id}.thumb.webp"
    assert harness.storage.puts[item.id] == 1
