"""The commands `models`, `workers`, `costs` and `storage check`, most of them for operators."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime

from batchgen.cli.commands import open_client
from batchgen.cli.formatting import dollars, duration_text, table_of
from batchgen.cli.identity import client_for
from batchgen.cli.options import RunAs
from batchgen.cli.output import Output
from batchgen.cli.tables import Column, FittedTable
from batchgen.client.project_queries import Costs, KnownWorker, Model
from batchgen.client.storage_check import StorageReport
from batchgen.exit_codes import DONE, WORK_FAILED
from batchgen.settings import Settings
from batchgen.text import printable

OPERATOR = RunAs(operator=True)
MOST_SHOWN = 20
"""Lines of each kind in the output for people; JSON has all of them."""


async def show_models(out: Output, settings: Settings, run_as: RunAs, *, everything: bool) -> int:
    """List the models that a request can name; for operators with their providers."""
    run_as = RunAs(operator=True) if everything else run_as
    async with await open_client(out, settings, run_as, "Reading …") as client:
        with out.spinner("Reading …"):
            models = await client.models(inactive=everything)
    if out.as_json:
        out.json([model.model_dump(mode="json") for model in models])
    elif models:
        out.show(_model_table(models, operator=client.is_operator))
    else:
        out.note("No model is active. An operator can activate one: docs/models.md.")
    return DONE


async def show_workers(out: Output, settings: Settings) -> int:
    """List the workers of the last day, the running ones first."""
    async with await client_for(settings, OPERATOR) as client:
        with out.spinner("Reading …"):
            workers = await client.workers()
    if out.as_json:
        out.json([worker.model_dump(mode="json") for worker in workers])
    elif workers:
        rows = [_worker_row(worker) for worker in workers]
        shown = ("Worker", "State", "Running", "Last seen", "Version", "Providers")
        out.show(table_of(*shown, rows=rows, right=("Running", "Last seen")))
    if not any(worker.is_live for worker in workers):
        out.note("No worker is running: start one with batchgen worker.")
    return DONE


async def show_costs(out: Output, settings: Settings, *, by: str, since: datetime | None, limit: int) -> int:
    async with await client_for(settings, OPERATOR) as client:
        with out.spinner("Adding up …"):
            costs = await client.costs(by, since=since, limit=limit)
    if out.as_json:
        out.json([one.model_dump(mode="json") for one in costs])
    elif costs:
        names = (by.capitalize(), "Attempts", "Paid", "Cost", "Unknown", "At most")
        out.show(table_of(*names, rows=[_costs_row(one) for one in costs], right=names[1:]))
    else:
        out.note("No orders yet.")
    return DONE


async def check_storage(out: Output, settings: Settings, *, fix: bool, grace_hours: float) -> int:
    """Compare bucket and rows. The exit code is 1 if differences are left."""
    async with await client_for(settings, OPERATOR) as client:
        with out.spinner("Comparing …"):
            report = await client.check_storage(fix=fix, grace_hours=grace_hours)
    _print_check(out, report, fixed=fix)
    return DONE if report.is_balanced else WORK_FAILED


def _model_table(models: Sequence[Model], *, operator: bool) -> FittedTable:
    default = [" (default)" if model.is_default else "" for model in models]
    names = [printable(model.display_name, 40) for model in models]
    expected = ["" if one.estimated_seconds is None else f"{one.estimated_seconds:g} s" for one in models]
    mine = (
        Column("Provider", [printable(model.provider or "", 20) for model in models]),
        Column("Active", ["yes" if model.is_active else "no" for model in models]),
    )
    return FittedTable(
        Column("Model", [printable(model.name, 80) for model in models]),
        Column("Name", [name + word for name, word in zip(names, default, strict=True)], min_width=12, drop=4),
        *(mine if operator else ()),
        Column("Price", [_price(model) for model in models], right=True, drop=1),
        Column("Expected", [*expected], right=True, drop=2),
        Column("Sizes", [_sizes(model) for model in models], drop=3),
        Column("Id", [str(model.id) for model in models], drop=5),
    )


def _price(model: Model) -> str:
    return "" if model.price_usd is None else dollars(model.price_usd)


def _sizes(model: Model) -> str:
    """`64x64 to 2048x2048`."""
    least = f"{model.min_width or '?'}x{model.min_height or '?'}"
    most = f"{model.max_width or '?'}x{model.max_height or '?'}"
    if "?x?" in (least, most):
        return f"{model.default_width}x{model.default_height}" if model.default_width and model.default_height else ""
    return f"{least} to {most}"


def _worker_row(worker: KnownWorker) -> Sequence[str]:
    return (
        printable(worker.worker, 60),
        "running" if worker.is_live else "gone",
        str(worker.running or ""),
        f"{duration_text(worker.seconds_ago)} ago",
        printable(worker.version or "", 20),
        printable(", ".join(worker.providers or ()), 60),
    )


def _costs_row(one: Costs) -> Sequence[str]:
    return (
        printable(one.name or one.key or "deleted", 50),
        str(one.attempts),
        str(one.paid),
        dollars(one.paid_usd),
        str(one.unknown or ""),
        dollars(one.unknown_usd) if one.unknown else "",
    )


def _print_check(out: Output, report: StorageReport, *, fixed: bool) -> None:
    if out.as_json:
        out.json({**asdict(report), "is_balanced": report.is_balanced})
        return
    out.lines([f"{report.files} files, {report.rows} rows."])
    out.lines(_limited_lines("file without a row", report.orphans))
    out.lines(_limited_lines("row without a file", [f"{lost.image_id}  {lost.storage_path}" for lost in report.lost]))
    lost = [f"{one.image_id}  {one.thumbnail_path}" for one in report.lost_thumbnails]
    out.lines(_limited_lines("row without its thumbnail", lost))
    if report.too_young:
        out.lines([f"{report.too_young} without a counterpart are within the grace period and were ignored."])
    if report.foreign_files:
        out.lines([f"{report.foreign_files} files at other paths than pictures' were ignored."])
    if fixed:
        out.lines([f"Removed {report.removed} files and archived {report.archived} rows."])
        if report.cleared:
            out.lines([f"Cleared {report.cleared} lost thumbnails. Make them again: batchgen storage thumbnails."])
    elif not report.is_balanced:
        out.note("Remove these files, archive these rows and clear these thumbnails with --fix.")
    if report.is_balanced:
        out.lines(["Bucket and rows match."])


def _limited_lines(what: str, names: Sequence[str]) -> Sequence[str]:
    lines = [printable(f"{what}: {name}") for name in names[:MOST_SHOWN]]
    more = len(names) - len(lines)
    return [*lines, f"… and {more} more"] if more else lines
