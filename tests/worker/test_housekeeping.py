"""Files of deleted pictures are removed, expired pictures deleted, and errors in either stop nothing."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from structlog.testing import capture_logs

from scheduler.housekeeping import FILES_AT_ONCE, Housekeeping
from tests.fake_outbox import FakeFiles, FakeOutbox


@dataclass
class HousekeepingHarness:
    outbox: FakeOutbox = field(default_factory=FakeOutbox)
    files: FakeFiles = field(default_factory=FakeFiles)

    def __post_init__(self) -> None:
        self.keeping = Housekeeping(self.outbox, self.files.remove)


async def test_files_are_removed_by_bucket_and_their_entries_ended() -> None:
    harness = HousekeepingHarness()
    harness.outbox.add("a/1.png", "a/2.png")
    harness.outbox.add("b/3.png", bucket="elsewhere")

    await harness.keeping.remove_files()

    assert harness.files.removed == {"pictures": ["a/1.png", "a/2.png"], "elsewhere": ["b/3.png"]}
    assert harness.outbox.entries == {}


async def test_many_files_are_removed_in_chunks_until_none_is_left() -> None:
    harness = HousekeepingHarness()
    harness.outbox.add(*(f"a/{n}.png" for n in range(2 * FILES_AT_ONCE + 1)))

    await harness.keeping.remove_files()

    assert harness.files.calls == [FILES_AT_ONCE, FILES_AT_ONCE, 1]
    assert harness.outbox.entries == {}


async def test_a_pass_over_its_time_leaves_the_rest_to_the_next() -> None:
    harness = HousekeepingHarness()
    harness.outbox.add(*(f"a/{n}.png" for n in range(2 * FILES_AT_ONCE)))

    await harness.keeping.remove_files(seconds=0.000001)
    after_one = len(harness.outbox.entries)
    await harness.keeping.remove_files()

    assert after_one == FILES_AT_ONCE
    assert harness.outbox.entries == {}


async def test_an_empty_outbox_costs_one_request() -> None:
    harness = HousekeepingHarness()

    await harness.keeping.remove_files()

    assert harness.outbox.calls == ["take"]
    assert harness.files.calls == []


async def test_a_storage_outage_is_logged_once_and_keeps_the_entries() -> None:
    harness = HousekeepingHarness(FakeOutbox(lease_seconds=0))
    harness.outbox.add("a/1.png")
    harness.files.is_down = True

    with capture_logs() as lines:
        for _ in range(3):
            await harness.keeping.remove_files()
        kept = len(harness.outbox.entries)
        harness.files.is_down = False
        harness.outbox.lease_seconds = 60
        await harness.keeping.remove_files()

    told = [line["event"] for line in lines if line["event"].startswith("housekeeping")]
    assert told == ["housekeeping is held up, items go on", "housekeeping goes on"]
    assert kept == 1
    assert harness.outbox.entries == {}


async def test_a_storage_outage_ends_the_pass_after_one_chunk() -> None:
    harness = HousekeepingHarness()
    harness.outbox.add(*(f"a/{n}.png" for n in range(3 * FILES_AT_ONCE)))
    harness.files.is_down = True

    await harness.keeping.remove_files()

    assert harness.outbox.calls == ["take"]


async def test_an_outbox_outage_raises_nothing() -> None:
    harness = HousekeepingHarness()
    harness.outbox.is_down = True

    with capture_logs() as lines:
        await harness.keeping.remove_files()
        await harness.keeping.remove_expired_images()

    assert [line["task"] for line in lines] == ["storage deletions", "retention"]


async def test_a_file_refused_by_storage_is_logged_once_and_skipped() -> None:
    harness = HousekeepingHarness()
    harness.outbox.add("a/1.png", "bad", "a/2.png")
    harness.files.refuses = {"bad"}

    with capture_logs() as lines:
        await harness.keeping.remove_files()
        harness.outbox.end_leases()
        await harness.keeping.remove_files()

    assert harness.files.removed == {"pictures": ["a/1.png", "a/2.png"]}
    assert [entry.path for entry in harness.outbox.entries.values()] == ["bad"]
    assert [line["event"] for line in lines].count("Storage refuses to remove a file") == 1


async def test_a_file_with_a_lost_lease_keeps_its_outbox_entry() -> None:
    harness = HousekeepingHarness(FakeOutbox(lease_seconds=0))
    harness.outbox.add("a/1.png")

    await harness.keeping.remove_files()

    assert harness.files.removed == {"pictures": ["a/1.png"]}
    assert len(harness.outbox.entries) == 1, "whoever holds it now finds no file, and ends it"


async def test_expired_pictures_are_deleted_until_none_is_left() -> None:
    harness = HousekeepingHarness()
    harness.outbox.expired = [500, 500, 3]

    await harness.keeping.remove_expired_images()

    assert harness.outbox.calls.count("remove_expired_images") == 4
    assert len(harness.outbox.entries) == 1003


async def test_finishing_removes_files_of_just_expired_pictures() -> None:
    harness = HousekeepingHarness()
    harness.outbox.expired = [3]
    await harness.keeping.remove_files()
    await harness.keeping.remove_expired_images()

    await harness.keeping.finish()

    assert len(harness.files.removed["pictures"]) == 3
    assert harness.outbox.entries == {}


async def test_finishing_repeats_nothing_just_done_by_a_tick() -> None:
    harness = HousekeepingHarness()
    await harness.keeping.remove_files()
    await harness.keeping.remove_expired_images()

    await harness.keeping.finish()

    assert sorted(harness.outbox.calls) == ["remove_expired_images", "take"]


async def test_finishing_continues_a_tick_that_ran_out_of_time() -> None:
    harness = HousekeepingHarness()
    harness.outbox.add(*(f"a/{n}.png" for n in range(5 * FILES_AT_ONCE)))
    await harness.keeping.remove_files(seconds=0.000001)

    await harness.keeping.finish(seconds=0)
    after_no_time = len(harness.outbox.entries)
    await harness.keeping.finish(seconds=60)

    assert after_no_time == 4 * FILES_AT_ONCE
    assert harness.outbox.entries == {}


async def test_finishing_begins_no_pass_after_its_time() -> None:
    harness = HousekeepingHarness(FakeOutbox(lease_seconds=0))
    harness.outbox.add(*(f"a/{n}.png" for n in range(FILES_AT_ONCE)))

    async with asyncio.timeout(5):
        await harness.keeping.finish(seconds=0.1)

    assert harness.files.calls, "entries that never end keep it busy"


async def test_a_stop_ends_housekeeping_after_the_current_chunk() -> None:
    harness = HousekeepingHarness()
    harness.outbox.add(*(f"a/{n}.png" for n in range(3 * FILES_AT_ONCE)))
    removing = harness.files.remove

    async def remove_and_stop(bucket: str, paths: Sequence[str]) -> None:
        harness.keeping.stop()
        await removing(bucket, paths)

    keeping = harness.keeping = Housekeeping(harness.outbox, remove_and_stop)
    await keeping.finish()

    assert len(harness.outbox.entries) == 2 * FILES_AT_ONCE


async def test_one_worker_runs_one_pass_at_a_time() -> None:
    harness = HousekeepingHarness()
    harness.outbox.add(*(f"a/{n}.png" for n in range(FILES_AT_ONCE)))

    await asyncio.gather(harness.keeping.remove_files(), harness.keeping.remove_files())

    assert harness.outbox.calls[:3] == ["take", "end", "take"]
