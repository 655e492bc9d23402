"""Submit more prompts than fit into a batch: as many batches as needed, when there is room, none of them twice.

Each batch has a `client_key` made from the job's rows, so that sending it again returns the batch that it made before.
A journal on this machine keeps the split into batches and what was sent: a job that was interrupted at any moment goes
on where it was.
"""

import asyncio
import contextlib
import hashlib
import json
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

from pydantic import ValidationError

from batchgen.backend.rpc import translated
from batchgen.client.atomic_write import write_atomically
from batchgen.client.caller import Caller
from batchgen.client.submit import create_batch
from batchgen.errors import BackendUnavailable, InvalidRequest, LimitReached
from batchgen.models import BatchRequest, BatchStatus, BatchTotals, Frozen, JobRow

DEFAULT_BATCH_SIZE = 10
MIN_BATCH_SIZE = 2
JOBS = UUID("5d2c8f6e-40cf-4c55-9d0c-5a4f3f1f7c11")
"""Namespace of the keys of batches."""
TOTALS_AT_ONCE = 100
ITEMS_OF_BATCHES_AT_ONCE = 10
"""A batch has at most 100 items, and many projects return at most 1,000 rows."""
MOST_ROWS = 100_000


class JobBatch(Frozen):
    """One batch of a job: its rows, and its id once it was created."""

    rows: tuple[int, ...]
    batch_id: UUID | None = None


class Journal(Frozen):
    """What a job has sent so far."""

    job: str
    """Hash of the job's rows and of whom they are for."""
    run: int = 1
    """Rises when a job that is complete is submitted once more."""
    batches: tuple[JobBatch, ...]

    @property
    def is_submitted(self) -> bool:
        return all(batch.batch_id for batch in self.batches)


@dataclass(frozen=True)
class JobProgress:
    """How far a job is: numbers of items."""

    total: int
    submitted: int = 0
    completed: int = 0
    failed: int = 0
    waits_for: str = ""
    """Why nothing is submitted at the moment; empty if nothing is in the way."""

    @property
    def ended(self) -> int:
        return self.completed + self.failed


@dataclass(frozen=True)
class JobReport:
    """The batches of a job, in the order of its rows."""

    job: str
    run: int
    batches: Sequence[JobBatch]
    totals: Mapping[UUID, BatchTotals]
    """Of the batches that still exist."""

    def of(self, batch: JobBatch) -> BatchTotals | None:
        """Status and counts of a batch; None if it was deleted."""
        return self.totals.get(batch.batch_id) if batch.batch_id else None

    @property
    def is_completed(self) -> bool:
        found = [self.of(batch) for batch in self.batches]
        return all(one is not None and one.status is BatchStatus.COMPLETED for one in found)


OnProgress = Callable[[JobProgress], None]


@dataclass(frozen=True)
class JobTiming:
    """Pauses in seconds."""

    poll_seconds: float = 1.0
    """Between two looks at the batches, and two tries for room."""
    longest_poll_seconds: float = 15.0
    longest_limit_seconds: float = 600.0
    """A limit that resets later is tried after this time, too: somebody may have raised it."""
    patience_seconds: float = 900.0
    """How long an outage of the project may last."""


@dataclass
class LargeJob:
    """Submits rows as batches. `folder` keeps the journals; `shared`, `name` and `project` count for all batches."""

    caller: Caller
    rows: Sequence[JobRow]
    folder: Path
    project: str
    name: str | None = None
    again: bool = False
    timing: JobTiming = field(default_factory=JobTiming)
    on_progress: OnProgress = lambda _progress: None

    def __post_init__(self) -> None:
        check_rows(self.rows)
        whom = self.caller.user_id or (self.caller.session.user_id if self.caller.session else None)
        content = [self.project.rstrip("/"), str(whom), self.name, [row.model_dump(mode="json") for row in self.rows]]
        text = json.dumps(content, sort_keys=True, ensure_ascii=True)
        self.job = hashlib.sha256(text.encode()).hexdigest()[:32]
        self._path = self.folder / f"{self.job}.json"
        self._totals: dict[UUID, BatchTotals] = {}

    @property
    def is_known(self) -> bool:
        """Whether a journal of this job exists."""
        return self._read() is not None

    async def run(self, *, wait: bool = False) -> JobReport:
        """Submit what is not yet submitted, waiting for room; with `wait`, also wait until all items have ended.

        Raises `InvalidRequest` for a row that is refused, `LimitReached` for a limit that no batch fits into, and
        `BackendUnavailable` after an outage of `patience_seconds`. Call it again to go on.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _locked(self._path.with_suffix(".lock")):
            journal = self._open()
            self._write(journal)
            while not journal.is_submitted:
                journal = await self._submit_next(journal)
                self._write(journal)
                self._report(journal)
        await self._follow(journal, until_end=wait)
        return JobReport(self.job, journal.run, journal.batches, dict(self._totals))

    def _open(self) -> Journal:
        """The journal of a run that is not complete, else of a new run."""
        known = self._read()
        if known and not (self.again and known.is_submitted):
            return known
        batches = split(self.rows, range(len(self.rows)), DEFAULT_BATCH_SIZE)
        return Journal(job=self.job, run=known.run + 1 if known else 1, batches=tuple(batches))

    async def _submit_next(self, journal: Journal) -> Journal:
        """Create the first batch that is missing, once there is room for it; or split the rest into smaller ones."""
        nth = next(nth for nth, batch in enumerate(journal.batches) if batch.batch_id is None)
        batch = journal.batches[nth]
        try:
            created = await self._when_there_is_room(journal, batch)
        except InvalidRequest as error:
            if (size := _smaller_size(error, len(batch.rows))) is None:
                raise _with_row(error, batch) from error.__cause__
            left = [row for one in journal.batches[nth:] for row in one.rows]
            rest = split(self.rows, left, size)
            return journal.model_copy(update={"batches": (*journal.batches[:nth], *rest)})
        made = batch.model_copy(update={"batch_id": created})
        return journal.model_copy(update={"batches": (*journal.batches[:nth], made, *journal.batches[nth + 1 :])})

    async def _when_there_is_room(self, journal: Journal, batch: JobBatch) -> UUID:
        """Create a batch, waiting out limits and outages. Raises a `LimitReached` that will never let it through."""
        request = self._request(journal, batch)
        pause, clock = self.timing.poll_seconds, asyncio.get_running_loop().time
        outage_ends_at: float | None = None
        while True:
            try:
                return (await create_batch(self.caller, request)).id
            except LimitReached as error:
                if _never_fits(error, len(batch.rows)):
                    raise
                outage_ends_at = None
                seconds = min(error.retry_after_seconds or pause, self.timing.longest_limit_seconds)
                waits_for = error.message
            except BackendUnavailable as error:
                outage_ends_at = outage_ends_at or clock() + self.timing.patience_seconds
                if clock() > outage_ends_at:
                    raise
                seconds, waits_for = pause, str(error)
            await self._look(journal, waits_for)
            await asyncio.sleep(max(seconds, self.timing.poll_seconds))
            pause = min(pause * 1.5, self.timing.longest_poll_seconds)

    def _request(self, journal: Journal, batch: JobBatch) -> BatchRequest:
        key = uuid5(JOBS, f"{self.job}/{journal.run}/{','.join(map(str, batch.rows))}")
        return BatchRequest(
            prompts=tuple(self.rows[row].prompt for row in batch.rows),
            shared_settings=self.rows[batch.rows[0]].settings,
            batch_name=self.name,
            client_key=str(key),
        )

    async def _follow(self, journal: Journal, *, until_end: bool) -> None:
        """Read the batches once, or until all of their items have ended."""
        pause, clock = self.timing.poll_seconds, asyncio.get_running_loop().time
        patient_until = clock() + self.timing.patience_seconds
        while True:
            try:
                await self._read_totals(journal)
                patient_until = clock() + self.timing.patience_seconds
                self._report(journal)
                if not until_end or all(one.status.is_final for one in self._totals.values()):
                    return
            except BackendUnavailable as error:
                if clock() > patient_until:
                    raise
                self._report(journal, str(error))
            await asyncio.sleep(pause)

    async def _look(self, journal: Journal, waits_for: str) -> None:
        """Read the batches for the progress; that this fails now is no reason to stop."""
        with contextlib.suppress(BackendUnavailable):
            await self._read_totals(journal)
        self._report(journal, waits_for)

    async def _read_totals(self, journal: Journal) -> None:
        ids = [batch.batch_id for batch in journal.batches if batch.batch_id]
        open_ids = [one for one in ids if one not in self._totals or not self._totals[one].status.is_final]
        found = await read_totals(self.caller, open_ids)
        for gone in set(open_ids) - set(found):
            self._totals.pop(gone, None)
        self._totals |= found

    def _report(self, journal: Journal, waits_for: str = "") -> None:
        totals = self._totals.values()
        self.on_progress(
            JobProgress(
                total=len(self.rows),
                submitted=sum(len(batch.rows) for batch in journal.batches if batch.batch_id),
                completed=sum(one.completed_count for one in totals),
                failed=sum(one.failed_count for one in totals),
                waits_for=waits_for,
            )
        )

    def _read(self) -> Journal | None:
        try:
            journal = Journal.model_validate_json(self._path.read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        rows = sorted(row for batch in journal.batches for row in batch.rows)
        return journal if rows == list(range(len(self.rows))) else None

    def _write(self, journal: Journal) -> None:
        write_atomically(self._path, journal.model_dump_json().encode(), durable=True)


def split(rows: Sequence[JobRow], which: Iterable[int], size: int) -> list[JobBatch]:
    """Split rows into batches of equal settings, each of at least two and at most `size` rows, as even as possible."""
    groups: dict[str, list[int]] = {}
    for row in which:
        groups.setdefault(rows[row].settings.model_dump_json(), []).append(row)
    batches: list[JobBatch] = []
    for group in groups.values():
        count = -(-len(group) // size)
        if len(group) < MIN_BATCH_SIZE * count:
            raise _alone(group[-1])
        smaller, more = divmod(len(group), count)
        start = 0
        for nth in range(count):
            end = start + smaller + (nth < more)
            batches.append(JobBatch(rows=tuple(group[start:end])))
            start = end
    return sorted(batches, key=lambda batch: batch.rows[0])


def check_rows(rows: Sequence[JobRow]) -> None:
    """Raise `InvalidRequest` if the rows cannot be split into batches."""
    if len(rows) > MOST_ROWS:
        raise InvalidRequest(
            f"There are {len(rows)} prompts; at most {MOST_ROWS} are submitted at once.",
            code="too_many_prompts",
            field="prompts",
            limit=MOST_ROWS,
            remedy="Split the file.",
        )
    if len(rows) < MIN_BATCH_SIZE:
        raise InvalidRequest(
            f"A batch has at least {MIN_BATCH_SIZE} prompts; there are {len(rows)}.",
            code="too_few_prompts",
            field="prompts",
            limit=MIN_BATCH_SIZE,
            remedy="Add prompts.",
        )
    split(rows, range(len(rows)), DEFAULT_BATCH_SIZE)


async def read_totals(caller: Caller, batch_ids: Sequence[UUID]) -> dict[UUID, BatchTotals]:
    """Status and counts of batches; those that were deleted are missing."""
    found: dict[UUID, BatchTotals] = {}
    for start in range(0, len(batch_ids), TOTALS_AT_ONCE):
        some = [str(one) for one in batch_ids[start : start + TOTALS_AT_ONCE]]

        async def ask(ids: Sequence[str] = some) -> Any:
            query = caller.supabase.table("batch_generations").select(
                "id,name,status,total_count,completed_count,failed_count"
            )
            with translated("Reading batches"):
                return (await query.in_("id", ids).execute()).data

        for row in await caller.call(ask):
            totals = BatchTotals.model_validate(row)
            found[totals.id] = totals
    return found


async def read_items(caller: Caller, batch_ids: Sequence[UUID]) -> dict[tuple[UUID, int], Mapping[str, Any]]:
    """The items of batches as `{id, status, error_code}`, by batch and index."""
    found: dict[tuple[UUID, int], Mapping[str, Any]] = {}
    for start in range(0, len(batch_ids), ITEMS_OF_BATCHES_AT_ONCE):
        some = [str(one) for one in batch_ids[start : start + ITEMS_OF_BATCHES_AT_ONCE]]

        async def ask(ids: Sequence[str] = some) -> Any:
            query = caller.supabase.table("image_generations").select("id,batch_id,batch_index,status,error_code")
            with translated("Reading items"):
                return (await query.in_("batch_id", ids).execute()).data

        for row in await caller.call(ask):
            item = {"id": row["id"], "status": row["status"], "error_code": row["error_code"]}
            found[UUID(row["batch_id"]), row["batch_index"]] = item
    return found


def _smaller_size(error: InvalidRequest, size: int) -> int | None:
    """A size of batches that the refusal allows, if that is smaller; None if smaller batches do not help."""
    if error.code not in ("too_many_prompts", "too_large") and not isinstance(error, LimitReached):
        return None
    allowed = error.limit if error.code != "too_large" and isinstance(error.limit, int) else size // 2
    return allowed if MIN_BATCH_SIZE <= allowed < size else None


def _never_fits(error: LimitReached, size: int) -> bool:
    """Whether the limit as a whole is smaller than the batch."""
    return isinstance(error.limit, int) and error.limit < size


def _with_row(error: InvalidRequest, batch: JobBatch) -> InvalidRequest:
    """The refusal with the number of the prompt in the job instead of in its batch."""
    if error.index is None or not 0 <= error.index < len(batch.rows):
        return error
    row = batch.rows[error.index]
    field_name = (error.field or "").replace(f"prompts[{error.index}]", f"prompts[{row}]")
    message = error.message.replace(f"prompt {error.index + 1}", f"prompt {row + 1}")
    return InvalidRequest(
        message, code=error.code, index=row, field=field_name or None, limit=error.limit, remedy=error.remedy
    )


def _alone(row: int) -> InvalidRequest:
    return InvalidRequest(
        f"Prompt {row + 1} is alone with its settings, and a batch of equal settings has at least two prompts.",
        code="too_few_prompts",
        index=row,
        field=f"prompts[{row}]",
        limit=MIN_BATCH_SIZE,
        remedy="Give it the settings of another prompt, or add one with the same settings.",
    )


@contextmanager
def _locked(path: Path) -> Generator[None]:
    """Hold the job's lock, which the system releases when the process ends. Raises `InvalidRequest` if it is held."""
    try:
        import fcntl
    except ImportError:  # pragma: no cover - Windows, where two commands at once are not noticed
        yield
        return
    with path.open("wb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InvalidRequest(
                "Another command is submitting the same prompts.",
                code="job_is_running",
                remedy="Wait for it; then the same command shows the result.",
            ) from None
        yield
