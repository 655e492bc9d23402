"""A worker builds exports beside its items."""

import asyncio
import io
import zipfile
from collections.abc import Callable

import pytest

from batchgen.errors import InvalidRequest, LeaseLost, QueueUnavailable, StorageError
from scheduler import exports as module
from scheduler.exports import Exporter
from tests.fake_exports import FakeExportFiles, FakeExports


@pytest.fixture(autouse=True)
def without_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0)


async def download(path: str, write: Callable[[bytes], object]) -> None:
    write(path.encode() * 1000)


class Gate:
    """A download that does not end before it is opened."""

    def __init__(self) -> None:
        self.reached, self.open = asyncio.Event(), asyncio.Event()

    async def download(self, path: str, write: Callable[[bytes], object]) -> None:
        self.reached.set()
        await self.open.wait()
        write(path.encode())


async def test_exports_are_built_one_after_the_other_and_linked() -> None:
    exports, files = FakeExports(), FakeExportFiles()
    first, second = exports.ask("fox", "bird"), exports.ask("cat")

    await Exporter(exports, files, download).finish()

    assert [(done[0], done[2], done[3]) for done in exports.completed] == [
        (first.export_id, 2, 0),
        (second.export_id, 1, 0),
    ]
    [part] = exports.completed[0][1]
    assert part.path == f"{first.user_id}/{first.export_id}/{first.lease_id.hex[:8]}/{part.name}"
    assert part.url == f"https://storage/{part.path}?seconds=60"
    with zipfile.ZipFile(io.BytesIO(files.stored[part.path])) as archive:
        assert archive.testzip() is None
        assert archive.read("1-a-fox.png") == b"fox" * 1000


async def test_each_part_is_recorded_before_it_is_stored() -> None:
    exports, files = FakeExports(), FakeExportFiles()
    exports.ask(*(f"p{number:09}" for number in range(8)), part_bytes=50_000)

    await Exporter(exports, files, download).finish()

    [(_, parts, pictures, _)] = exports.completed
    assert len(parts) > 1
    assert pictures == 8
    assert exports.noted == [part.path for part in parts] == [*files.stored]
    assert all(len(content) <= 50_000 for content in files.stored.values())


async def test_storing_a_file_is_tried_again() -> None:
    exports, files = FakeExports(), FakeExportFiles(errors=[StorageError("away")] * 2)
    exports.ask("fox")

    await Exporter(exports, files, download).finish()

    assert len(exports.completed) == 1


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (StorageError("away"), ("storage_error", True)),
        (InvalidRequest("too large", code="image_refused"), ("image_refused", False)),
        (OSError(28, "No space left on device"), ("worker_error", True)),
        (KeyError("a bug"), ("internal_error", True)),
    ],
)
async def test_a_failure_is_reported_and_the_next_export_is_built(error: Exception, told: tuple[str, bool]) -> None:
    exports, files = FakeExports(), FakeExportFiles(errors=[error] * (3 if isinstance(error, StorageError) else 1))
    first, second = exports.ask("fox"), exports.ask("cat")

    await Exporter(exports, files, download).finish()

    assert exports.failed == [(first.export_id, *told)]
    assert [done[0] for done in exports.completed] == [second.export_id]


async def test_an_export_of_deleted_batches_fails_for_good() -> None:
    exports = FakeExports()
    job = exports.ask("fox")
    exports.batches.clear()

    await Exporter(exports, FakeExportFiles(), download).finish()

    assert exports.failed == [(job.export_id, "batch_not_found", False)]


async def test_a_stop_hands_the_export_back() -> None:
    exports, gate = FakeExports(), Gate()
    job = exports.ask("fox")
    exports.ask("cat")
    exporter = Exporter(exports, FakeExportFiles(), gate.download)

    await exporter.begin()
    await gate.reached.wait()
    await exporter.aclose()
    await exporter.begin()

    assert exports.failed == [(job.export_id, "handed_back", True)]
    assert len(exports.waiting) == 1


async def test_a_lost_lease_drops_the_export(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEW_SECONDS", 0)
    exports, files, gate = FakeExports(), FakeExportFiles(), Gate()

    def lose() -> None:
        if gate.reached.is_set():
            raise LeaseLost("gone")

    exports.on_renew = lose
    exports.ask("fox")

    await Exporter(exports, files, gate.download).finish()

    assert (exports.completed, exports.failed, files.stored) == ([], [], {})


async def test_a_lease_is_renewed_through_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RENEW_SECONDS", 0)
    exports, gate = FakeExports(), Gate()

    def outage() -> None:
        if len(exports.renewed) > 5:
            gate.open.set()
        raise QueueUnavailable("away")

    exports.on_renew = outage
    exports.ask("fox")

    await Exporter(exports, FakeExportFiles(), gate.download).finish()

    assert len(exports.completed) == 1


async def test_only_one_export_is_built_at_a_time() -> None:
    exports, gate = FakeExports(), Gate()
    exports.ask("fox")
    exports.ask("cat")
    exporter = Exporter(exports, FakeExportFiles(), gate.download)

    for _ in range(3):
        await exporter.begin()
    await gate.reached.wait()

    assert exports.taken == 1
    gate.open.set()
    await exporter.finish()
    assert len(exports.completed) == 2


async def test_a_run_that_is_over_hands_back_what_it_is_building() -> None:
    exports, gate = FakeExports(), Gate()
    job = exports.ask("fox")

    await Exporter(exports, FakeExportFiles(), gate.download).finish(seconds=0.05)

    assert exports.failed == [(job.export_id, "handed_back", True)]
