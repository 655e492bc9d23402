"""Large jobs: how rows are split, and that every interruption leaves nothing out and makes nothing twice."""

import shutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import UUID, uuid4

import pytest

from batchgen.client import large_jobs
from batchgen.client.caller import Caller
from batchgen.client.large_jobs import JobProgress, JobTiming, LargeJob, split
from batchgen.errors import BackendUnavailable, InvalidRequest, LimitReached
from batchgen.models import BatchRequest, BatchStatus, BatchTotals, JobRow, Prompt, SharedSettings

USER = UUID("aaaaaaaa-0000-4000-8000-000000000001")


def rows(count: int, **settings: Any) -> list[JobRow]:
    shared = SharedSettings(**settings)
    return [JobRow(prompt=Prompt(text=f"a fox {n}"), settings=shared) for n in range(count)]


class Killed(BaseException):
    """The process ends here."""


class Project:
    """Creates batches by client_key, like the database; refuses what `refusals` hold, and may be killed."""

    def __init__(self) -> None:
        self.batches: dict[str, tuple[UUID, tuple[str, ...]]] = {}
        self.refusals: list[Exception] = []
        self.kill_before: set[int] = set()
        self.kill_after: set[int] = set()
        self.largest = 10
        self.calls = 0

    async def create_batch(self, _caller: Caller, request: BatchRequest) -> SimpleNamespace:
        self.calls += 1
        if self.calls in self.kill_before:
            raise Killed
        if self.refusals:
            raise self.refusals.pop(0)
        if len(request.prompts) > self.largest:
            raise InvalidRequest("too many", code="too_many_prompts", limit=self.largest)
        assert request.client_key
        made = uuid4(), tuple(prompt.text for prompt in request.prompts)
        batch = self.batches.setdefault(request.client_key, made)
        assert batch[1] == made[1], "a key was used for other prompts"
        if self.calls in self.kill_after:
            raise Killed
        return SimpleNamespace(id=batch[0])

    async def read_totals(self, _caller: Caller, ids: Sequence[UUID]) -> dict[UUID, BatchTotals]:
        counts = dict(self.batches.values())
        return {
            one: BatchTotals(
                id=one,
                status=BatchStatus.COMPLETED,
                total_count=len(counts[one]),
                completed_count=len(counts[one]),
                failed_count=0,
            )
            for one in ids
        }

    @property
    def texts(self) -> Counter[str]:
        return Counter(text for _, texts in self.batches.values() for text in texts)


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> Project:
    made = Project()
    monkeypatch.setattr(large_jobs, "create_batch", made.create_batch)
    monkeypatch.setattr(large_jobs, "read_totals", made.read_totals)
    return made


def job(folder: Path, some: Sequence[JobRow], **more: Any) -> LargeJob:
    caller = cast("Caller", SimpleNamespace(user_id=USER, session=None))
    timing = JobTiming(poll_seconds=0, longest_limit_seconds=0, patience_seconds=60)
    return LargeJob(caller, some, folder, "http://project", timing=timing, **more)


@pytest.mark.parametrize(
    ("count", "sizes"), [(2, [2]), (10, [10]), (11, [6, 5]), (21, [7, 7, 7]), (25, [9, 8, 8]), (500, [10] * 50)]
)
def test_rows_are_spread_evenly(count: int, sizes: list[int]) -> None:
    batches = split(rows(count), range(count), 10)

    assert [len(batch.rows) for batch in batches] == sizes
    assert [row for batch in batches for row in batch.rows] == list(range(count))


def test_batches_have_equal_settings() -> None:
    mixed = [row for pair in zip(rows(13, width=64), rows(13, width=128), strict=True) for row in pair]
    batches = split(mixed, range(26), 10)

    assert sorted(len(batch.rows) for batch in batches) == [6, 6, 7, 7]
    assert all(len({mixed[row].settings.width for row in batch.rows}) == 1 for batch in batches)


def test_a_row_that_is_alone_with_its_settings_is_refused() -> None:
    with pytest.raises(InvalidRequest) as refusal:
        split([*rows(3, width=64), *rows(1, width=128)], range(4), 10)
    assert (refusal.value.code, refusal.value.index) == ("too_few_prompts", 3)


async def test_a_job_that_is_killed_anywhere_goes_on(project: Project, tmp_path: Path) -> None:
    some = rows(95)
    project.kill_before, project.kill_after = {3, 9}, {1, 6, 12}

    kills = 0
    while True:
        try:
            report = await job(tmp_path, some).run()
        except Killed:
            kills += 1
        else:
            break

    assert kills == 5
    assert project.texts == Counter(row.prompt.text for row in some)
    assert len(report.batches) == 10
    assert report.is_completed


async def test_a_lost_journal_makes_nothing_twice(project: Project, tmp_path: Path) -> None:
    some = rows(35)
    project.kill_after = {3}
    with pytest.raises(Killed):
        await job(tmp_path, some).run()
    shutil.rmtree(tmp_path)

    await job(tmp_path, some).run()

    assert project.texts == Counter(row.prompt.text for row in some)


async def test_smaller_batches_of_the_project_are_learnt(project: Project, tmp_path: Path) -> None:
    some = rows(23)
    project.largest = 4

    report = await job(tmp_path, some).run()

    assert project.texts == Counter(row.prompt.text for row in some)
    assert [len(batch.rows) for batch in report.batches] == [4, 4, 4, 4, 4, 3]


async def test_limits_and_outages_are_waited_out(project: Project, tmp_path: Path) -> None:
    told: list[JobProgress] = []
    project.refusals = [
        LimitReached("The queue is full.", code="too_many_waiting", limit=100),
        LimitReached("The day is over.", code="daily_limit", limit=5000, retry_after_seconds=3600),
        BackendUnavailable("No answer."),
    ]

    await job(tmp_path, rows(20), on_progress=told.append).run()

    assert sum(project.texts.values()) == 20
    waits = [one.waits_for for one in told if one.waits_for]
    assert waits == ["The queue is full.", "The day is over.", "No answer."]
    assert (told[-1].submitted, told[-1].completed) == (20, 20)


async def test_a_limit_below_a_batch_makes_batches_smaller_or_is_raised(project: Project, tmp_path: Path) -> None:
    project.refusals = [LimitReached("full", code="too_many_waiting", limit=3)]
    report = await job(tmp_path, rows(12)).run()
    assert {len(batch.rows) for batch in report.batches} == {3}

    project.refusals = [LimitReached("none", code="daily_limit", limit=1)]
    with pytest.raises(LimitReached):
        await job(tmp_path, rows(14)).run()


async def test_the_same_prompts_are_submitted_again_only_if_asked(project: Project, tmp_path: Path) -> None:
    some = rows(12)
    first = await job(tmp_path, some).run()
    again = await job(tmp_path, some).run()
    assert (again.run, again.batches) == (1, first.batches)

    once_more = await job(tmp_path, some, again=True).run()

    assert once_more.run == 2
    assert sum(project.texts.values()) == 24


async def test_a_refused_row_is_named_by_its_place_in_the_job(project: Project, tmp_path: Path) -> None:
    refusal = InvalidRequest("prompts[3].text is too long.", code="too_long", index=3, field="prompts[3].text")
    project.refusals = [BackendUnavailable("x"), refusal]
    with pytest.raises(InvalidRequest) as caught:
        await job(tmp_path, rows(20)).run()
    assert (caught.value.index, caught.value.field) == (3, "prompts[3].text")

    project.kill_before = {project.calls + 2}
    with pytest.raises(Killed):
        await job(tmp_path, rows(20)).run()
    project.refusals = [refusal]
    with pytest.raises(InvalidRequest) as caught:
        await job(tmp_path, rows(20)).run()
    assert (caught.value.index, caught.value.field) == (13, "prompts[13].text")
    assert "prompt 14" in caught.value.message
