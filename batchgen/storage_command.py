"""`batchgen storage check`: compare the bucket with the rows of `images`, say what does not balance, put it right."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta

from batchgen.connection import connect, disconnect
from batchgen.identity import secret_key
from batchgen.output import DONE, WORK_FAILED, Output
from batchgen.settings import Settings
from batchgen.storage_check import StorageCheck, StorageReport
from batchgen.texts import printable

MOST_SHOWN = 20
"""Lines of each kind for a person; JSON has them all."""


async def check_storage(out: Output, settings: Settings, *, fix: bool, grace_hours: float) -> int:
    """Exit code 0 where bucket and rows balance, at last; 1 where they do not."""
    client = await connect(settings, key=secret_key(settings))
    try:
        check = StorageCheck(client, bucket=settings.bucket, grace=timedelta(hours=grace_hours))
        with out.working("Comparing …"):
            report = await check.report()
        if fix:
            with out.working("Putting right …"):
                report = await check.fix(report)
    finally:
        await disconnect(client)
    _print(out, report, fixed=fix)
    return DONE if report.is_balanced else WORK_FAILED


def _print(out: Output, report: StorageReport, *, fixed: bool) -> None:
    if out.as_json:
        out.json({**asdict(report), "is_balanced": report.is_balanced})
        return
    out.lines([f"{report.files} files, {report.rows} rows."])
    out.lines(_some("file without a row", report.orphans))
    out.lines(_some("row without a file", [f"{lost.image_id}  {lost.storage_path}" for lost in report.lost]))
    if report.too_young:
        out.lines([f"{report.too_young} without a counterpart are younger than the grace and were left alone."])
    if report.foreign_files:
        out.lines([f"{report.foreign_files} files lie where pictures do not, and were left alone."])
    if fixed:
        out.lines([f"Removed {report.removed} files and archived {report.archived} rows."])
    elif not report.is_balanced:
        out.note("--fix removes these files and archives these rows.")
    if report.is_balanced:
        out.lines(["Bucket and rows balance."])


def _some(what: str, names: Sequence[str]) -> Sequence[str]:
    lines = [printable(f"{what}: {name}") for name in names[:MOST_SHOWN]]
    more = len(names) - len(lines)
    return [*lines, f"… and {more} more"] if more else lines
