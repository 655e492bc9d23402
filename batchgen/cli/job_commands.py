"""`batchgen submit --file` with more prompts than fit into a batch."""

import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from batchgen.cli.commands import check_target, finish_submit, open_client, submit
from batchgen.cli.job_input import LARGEST_BATCH, FileJob
from batchgen.cli.options import RunAs
from batchgen.cli.output import Output
from batchgen.client.atomic_write import write_atomically
from batchgen.client.client import BatchgenClient
from batchgen.client.downloads import check_folder, write_errors
from batchgen.client.large_jobs import MIN_BATCH_SIZE, JobProgress, JobReport, OnProgress
from batchgen.errors import InvalidRequest
from batchgen.exit_codes import DONE, WORK_FAILED
from batchgen.models import CreatedBatch
from batchgen.settings import Settings
from batchgen.text import printable

LINES_PER_JOB = 10
"""Lines of progress without a terminal, besides those that say what is waited for."""


async def submit_file(out: Output, settings: Settings, run_as: RunAs, job: FileJob) -> int:
    """Submit the prompts as one batch if the project allows it, else as a job of several."""
    following = job.following
    if job.request and (job.is_for_one_batch or len(job.rows) < MIN_BATCH_SIZE):
        return await submit(out, settings, run_as, job.request, following)
    check_target(following)
    async with await open_client(out, settings, run_as, "Submitting …") as client:
        created = await _as_one_batch(client, job)
        if created:
            return await finish_submit(out, client, created, following)
        with _progress(out, wait=following is not None) as on_progress:
            large = client.large_job(job.rows, name=job.name, again=job.again, on_progress=on_progress)
            check_folder(job.summary.parent)
            out.interrupted = "Interrupted. The same command goes on where it stopped, and submits nothing twice."
            report = await large.run(wait=following is not None)
        items = await client.job_items(report)
        summary = _summary(job, report, items)
        with write_errors(job.summary):
            write_atomically(job.summary, (json.dumps(summary, indent=1) + "\n").encode(), mode=0o644)
        if following and following.save_to:
            await _save(out, client, report, following.save_to)
    _print(out, job, report, summary)
    return DONE if following is None or report.is_completed else WORK_FAILED


async def _as_one_batch(client: BatchgenClient, job: FileJob) -> CreatedBatch | None:
    """Submit the prompts as one batch; None if they are too many for one, or a job of them has begun."""
    if job.request is None or len(job.rows) > LARGEST_BATCH or client.large_job(job.rows, name=job.name).is_known:
        return None
    try:
        return await client.submit(job.request)
    except InvalidRequest as error:
        if error.code not in ("too_many_prompts", "too_large"):
            raise
        return None


async def _save(out: Output, client: BatchgenClient, report: JobReport, folder: Path) -> None:
    """Download the pictures, each batch into a folder of its own."""
    with out.spinner("Downloading …"):
        for nth, batch in enumerate(report.batches, 1):
            if report.of(batch) and batch.batch_id:
                target = folder / f"batch-{nth:04}"
                check_folder(target)
                await client.save_images(await client.snapshot(batch.batch_id), target)


def _summary(job: FileJob, report: JobReport, items: Mapping[Any, Mapping[str, Any]]) -> dict[str, Any]:
    """The result of a job: each row with its item, and the batches."""
    rows: dict[int, dict[str, Any]] = {}
    for batch in report.batches:
        for index, row in enumerate(batch.rows):
            item = items.get((batch.batch_id, index), {"id": None, "status": "deleted", "error_code": None})
            rows[row] = {
                "row": row + 1,
                "prompt": job.rows[row].prompt.text,
                "batch_id": str(batch.batch_id),
                "generation_id": item["id"],
                "status": item["status"],
                "error_code": item["error_code"],
            }
    totals = [report.of(batch) for batch in report.batches]
    return {
        "job": report.job,
        "run": report.run,
        "name": job.name,
        "prompts": len(rows),
        "completed": sum(one.completed_count for one in totals if one),
        "failed": sum(one.failed_count for one in totals if one),
        "batches": [
            {"batch_id": str(batch.batch_id), "status": one.status.value if one else "deleted", "rows": len(batch.rows)}
            for batch, one in zip(report.batches, totals, strict=True)
        ],
        "rows": [rows[row] for row in sorted(rows)],
    }


def _print(out: Output, job: FileJob, report: JobReport, summary: Mapping[str, Any]) -> None:
    if out.as_json:
        out.json({**summary, "summary": str(job.summary)})
        return
    ended = f": {summary['completed']} completed, {summary['failed']} failed" if job.following else ""
    out.lines([f"{summary['prompts']} prompts in {len(report.batches)} batches{ended}."])
    out.lines([printable(f"Summary: {job.summary}", 500)])
    out.note("The same command shows this again and submits nothing; --again submits all of it once more.")


@contextmanager
def _progress(out: Output, *, wait: bool) -> Generator[OnProgress]:
    """One bar with the time that is left on a terminal, some lines elsewhere, nothing with --json."""
    if out.as_json:
        yield lambda _progress: None
    elif out.err.is_terminal and not out.err.is_dumb_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, TextColumn("{task.fields[why]}", style="yellow"), console=out.err) as bar:
            task = bar.add_task("Pictures" if wait else "Submitting", total=None, why="", visible=False)

            def show(progress: JobProgress) -> None:
                done = progress.ended if wait else progress.submitted
                bar.update(task, total=progress.total, completed=done, why=progress.waits_for[:200], visible=True)

            yield show
    else:
        yield _Lines(out, wait=wait)


class _Lines:
    """Progress for a log: a line for each tenth, and when something new is waited for."""

    def __init__(self, out: Output, *, wait: bool) -> None:
        self._out = out
        self._wait = wait
        self._tenth = 0
        self._waits = False

    def __call__(self, progress: JobProgress) -> None:
        done = progress.ended if self._wait else progress.submitted
        tenth = done * LINES_PER_JOB // max(progress.total, 1)
        if tenth > self._tenth:
            ended = f", {progress.failed} failed" if progress.failed else ""
            word = "ended" if self._wait else "submitted"
            self._out.note(f"{done} of {progress.total} {word}{ended}.")
            self._tenth = tenth
        if progress.waits_for and not self._waits:
            self._out.note(printable(f"Waiting: {progress.waits_for}", 300))
        self._waits = bool(progress.waits_for)
