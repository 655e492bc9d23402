"""The commands `export`, `exports` and `import`."""

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any
from uuid import UUID

from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

from batchgen.cli.commands import open_client
from batchgen.cli.options import RunAs
from batchgen.cli.output import Output
from batchgen.client.downloads import check_folder
from batchgen.client.exports import ExportReport, check_file
from batchgen.client.ids import short_id
from batchgen.client.requested_exports import RequestedExport
from batchgen.errors import InvalidRequest
from batchgen.exit_codes import DONE, WORK_FAILED
from batchgen.exports.build import ExportProgress, OnProgress
from batchgen.settings import Settings
from batchgen.text import printable

STDOUT = "-"
MOST_SHOWN = 20
"""Missing pictures named in the output for people; JSON and the manifest have all of them."""


async def export(
    out: Output, settings: Settings, run_as: RunAs, batch_ids: Sequence[str], to: str | None, *, request: bool
) -> int:
    """Write batches to a ZIP file or to stdout; with `request`, have a worker do it."""
    if request:
        return await _request(out, settings, run_as, batch_ids, None if to is None else Path(to))
    if to is None:
        raise InvalidRequest(
            "Say where the export goes.", code="wrong_usage", field="to", remedy="Add --to FILE.zip or --request."
        )
    _check_target(out, to)
    async with await open_client(out, settings, run_as, "Reading …") as client:
        with out.spinner("Reading …"):
            found = [await client.find(batch_id) for batch_id in batch_ids]
        with _progress(out) as on_progress:
            target = sys.stdout.buffer if to == STDOUT else Path(to)
            report = await client.export([one.batch.id for one in found], target, on_progress)
    _show(out, report)
    return DONE


async def _request(out: Output, settings: Settings, run_as: RunAs, batch_ids: Sequence[str], to: Path | None) -> int:
    """Ask for an export; with `to`, wait for it and download its files into that folder."""
    if to:
        check_folder(to)
    async with await open_client(out, settings, run_as, "Asking …") as client:
        with out.spinner("Asking …"):
            asked = await client.request_export(batch_ids)
        files: tuple[Path, ...] = ()
        if to:
            with out.spinner("Waiting for a worker …"):
                asked = await client.wait_for_export(asked.id)
            if asked.status == "ready":
                with out.spinner("Downloading …"):
                    files = await client.save_export(asked, to)
    if out.as_json:
        out.json({**asked.model_dump(mode="json"), "files": [str(file) for file in files]})
    else:
        out.lines([_line(asked), *(printable(str(file)) for file in files)])
        if asked.is_open:
            out.note("batchgen exports shows when it is ready.")
    return WORK_FAILED if asked.status == "failed" else DONE


async def show_exports(out: Output, settings: Settings, run_as: RunAs, limit: int) -> int:
    """List exports, with links while they are ready."""
    async with await open_client(out, settings, run_as, "Reading …") as client:
        with out.spinner("Reading …"):
            exports = await client.exports(limit)
    if out.as_json:
        out.json([one.model_dump(mode="json") for one in exports])
    elif not exports:
        out.note("No exports yet. Ask for one with batchgen export ID --request.")
    for one in () if out.as_json else exports:
        out.lines([_line(one), *(f"  {printable(part.url or part.path)}" for part in one.parts)])
    return DONE


def _line(export: RequestedExport) -> str:
    """An export on one line."""
    match export.status:
        case "processing":
            state = f"{export.done} of {export.pictures} pictures"
        case "ready":
            missing = f", {export.missing} missing" if export.missing else ""
            until = f"{export.expires_at:%Y-%m-%d %H:%M} UTC" if export.expires_at else "its end"
            state = f"{export.pictures} pictures{missing}, until {until}"
        case "failed":
            state = (export.error and export.error.message) or "for an unknown reason"
        case _:
            state = f"{export.pictures} pictures"
    return printable(f"Export {short_id(export.id)} of {len(export.batch_ids)} batches {export.status}: {state}.")


async def import_files(
    out: Output, settings: Settings, run_as: RunAs, files: Sequence[Path], *, model: str | None, again: str
) -> int:
    """Submit the items of exports again."""
    async with await open_client(out, settings, run_as, "Importing …") as client:
        with out.spinner("Importing …"):
            imported = await client.import_batches(files, model=model, again=again)
    if out.as_json:
        out.json(
            [
                {
                    "batch": one.batch.model_dump(mode="json", exclude={"generations"}),
                    "generations": [item.model_dump(mode="json") for item in one.batch.generations],
                    "source_batch_id": one.source_batch_id,
                }
                for one in imported
            ]
        )
        return DONE
    for one in imported:
        source = f" from {printable(one.source_batch_id, 40)}" if one.source_batch_id else ""
        out.lines([f"Batch {short_id(one.batch.id)}{source}: {one.batch.total_count} pictures."])
    out.note("Follow one with: batchgen watch ID")
    return DONE


def _check_target(out: Output, to: str) -> None:
    if to != STDOUT:
        check_file(Path(to))
    elif out.as_json:
        raise InvalidRequest(
            "--json and --to - both write to stdout.",
            code="wrong_usage",
            field="to",
            remedy="Give the name of a file with --to.",
        )
    elif sys.stdout.isatty():
        raise InvalidRequest(
            "A ZIP file is not for a terminal.",
            code="wrong_usage",
            field="to",
            remedy="Give the name of a file with --to, or send the output to a file or a pipe.",
        )


def _show(out: Output, report: ExportReport) -> None:
    if out.as_json:
        out.json(_as_json(report))
        return
    size = f"{report.picture_bytes / 1e6:.1f} MB"
    line = f"{report.pictures} pictures of {report.batches} batches, {size}"
    if report.path:
        out.lines([f"{printable(str(report.path))}: {line}."])
    else:
        out.note(f"{line}.")
    if not report.missing:
        return
    out.note(f"{len(report.missing)} pictures are missing; manifest.json says why:")
    for one in report.missing[:MOST_SHOWN]:
        out.note(f"  {short_id(one.batch_id)} {one.index + 1}: {printable(one.message, 120)}")
    if len(report.missing) > MOST_SHOWN:
        out.note(f"  and {len(report.missing) - MOST_SHOWN} more.")


def _as_json(report: ExportReport) -> dict[str, Any]:
    return {
        **asdict(report),
        "path": str(report.path) if report.path else None,
        "missing": [_plain(asdict(one)) for one in report.missing],
    }


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    return {name: str(value) if isinstance(value, UUID) else value for name, value in values.items()}


@contextmanager
def _progress(out: Output) -> Generator[OnProgress | None]:
    """A bar on a terminal, nothing elsewhere."""
    if out.as_json or not out.err.is_terminal or out.err.is_dumb_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    with Progress(*columns, console=out.err, transient=True) as bar:
        task = bar.add_task("Exporting", total=None)

        def show(progress: ExportProgress) -> None:
            counts = f"{progress.done} of {progress.total} pictures"
            bar.update(task, description=counts, completed=progress.written_bytes, total=progress.total_bytes)

        yield show
