"""The commands of `batchgen schedule`."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from batchgen.cli.commands import open_client
from batchgen.cli.formatting import table_of
from batchgen.cli.options import RunAs
from batchgen.cli.output import Output
from batchgen.client.client import BatchgenClient
from batchgen.client.ids import short_id
from batchgen.client.schedules import MissedRuns, Schedule, ScheduleRun, ScheduleState, next_runs
from batchgen.cron import zone_of
from batchgen.errors import InvalidRequest
from batchgen.exit_codes import DONE
from batchgen.models import BatchRequest
from batchgen.settings import Settings
from batchgen.text import printable


def read_times(cron: str | None, at: str | None, time_zone: str | None, *, needed: bool) -> Mapping[str, Any]:
    """The times of a schedule as given on the command line, checked before anything is sent."""
    if (cron is not None and at is not None) or (needed and cron is None and at is None):
        raise InvalidRequest(
            "Give the times in exactly one way.",
            code="wrong_type",
            field="cron",
            remedy="Give --cron for many runs, or --at for one.",
        )
    if cron is not None:
        next_runs(cron, time_zone or "UTC", after=datetime.now(UTC), count=1)
    return {"cron": cron, "run_at": _read_time(at), "time_zone": time_zone}


async def create(
    out: Output, settings: Settings, run_as: RunAs, request: BatchRequest, fields: Mapping[str, Any]
) -> int:
    given: dict[str, Any] = {**fields, "missed_runs": MissedRuns(fields["missed_runs"] or MissedRuns.ONE)}
    async with await open_client(out, settings, run_as, "Creating …") as client:
        with out.spinner("Creating …"):
            created = await client.create_schedule(request, **given)
    _show(out, created)
    if not out.as_json and created.cron:
        _list_times(out, next_runs(created.cron, created.time_zone, after=datetime.now(UTC)), created.time_zone)
    return DONE


async def show_list(out: Output, settings: Settings, run_as: RunAs, limit: int) -> int:
    async with await open_client(out, settings, run_as, "Reading …") as client:
        with out.spinner("Reading …"):
            schedules = await client.schedules(limit)
    if out.as_json:
        out.json([one.model_dump(mode="json") for one in schedules])
    elif schedules:
        names = ("Schedule", "Name", "Runs", "Time zone", "State", "Next run", "Last run")
        out.show(table_of(*names, rows=[_row(one) for one in schedules]))
    else:
        out.note("No schedules yet. Make one with batchgen schedule create.")
    return DONE


async def show(out: Output, settings: Settings, run_as: RunAs, schedule_id: str, limit: int) -> int:
    async with await open_client(out, settings, run_as, "Reading …") as client:
        with out.spinner("Reading …"):
            found = await client.schedule_runs(await client.find_schedule(schedule_id), limit)
    if out.as_json:
        out.json(found)
        return DONE
    _show(out, found.schedule)
    _list_times(out, found.schedule.next_runs, found.schedule.time_zone)
    if found.runs:
        rows = [_run_row(run, found.schedule.time_zone) for run in found.runs]
        out.lines([""])
        out.show(table_of("Slot", "Outcome", "Batch", "Tries", "Reason", rows=rows, right=("Tries",)))
    return DONE


async def preview(out: Output, settings: Settings, run_as: RunAs, schedule_id: str) -> int:
    async with await open_client(out, settings, run_as, "Reading …") as client:
        with out.spinner("Reading …"):
            found = await client.schedule_runs(await client.find_schedule(schedule_id), 1)
    schedule = found.schedule
    times = schedule.next_runs
    if not times and schedule.cron and schedule.problem is None:
        times = next_runs(schedule.cron, schedule.time_zone, after=datetime.now(UTC))
    _print_preview(out, times, schedule.time_zone)
    if schedule.state is not ScheduleState.ACTIVE:
        out.note(_state_note(schedule))
    return DONE


def preview_cron(out: Output, cron: str, time_zone: str) -> int:
    """Print the next runs of an expression; this needs no project."""
    _print_preview(out, next_runs(cron, time_zone, after=datetime.now(UTC)), time_zone)
    return DONE


async def edit(
    out: Output,
    settings: Settings,
    run_as: RunAs,
    schedule_id: str,
    request: BatchRequest | None,
    fields: Mapping[str, Any],
) -> int:
    rule = MissedRuns(fields["missed_runs"]) if fields["missed_runs"] else None
    given: dict[str, Any] = {**fields, "missed_runs": rule}
    if request is None and not any(value is not None for value in fields.values()):
        raise InvalidRequest(
            "Nothing was given to change.", code="nothing_to_do", remedy="See batchgen schedule edit --help."
        )
    async with await open_client(out, settings, run_as, "Editing …") as client:
        with out.spinner("Editing …"):
            which = await client.find_schedule(schedule_id)
            edited = await client.edit_schedule(which, request=request, **given)
    _show(out, edited)
    return DONE


async def pause(out: Output, settings: Settings, run_as: RunAs, schedule_id: str) -> int:
    async with await open_client(out, settings, run_as, "Pausing …") as client:
        with out.spinner("Pausing …"):
            _show(out, await client.pause_schedule(await client.find_schedule(schedule_id)))
    return DONE


async def resume(out: Output, settings: Settings, run_as: RunAs, schedule_id: str) -> int:
    async with await open_client(out, settings, run_as, "Resuming …") as client:
        with out.spinner("Resuming …"):
            _show(out, await client.resume_schedule(await client.find_schedule(schedule_id)))
    return DONE


async def delete(out: Output, settings: Settings, run_as: RunAs, schedule_id: str) -> int:
    async with await open_client(out, settings, run_as, "Deleting …") as client:
        with out.spinner("Deleting …"):
            which = await _delete(client, schedule_id)
    if out.as_json:
        out.json({"deleted": str(which)})
    else:
        out.lines([f"Schedule {short_id(which)} deleted; its batches stay."])
    return DONE


async def _delete(client: BatchgenClient, schedule_id: str) -> UUID:
    which = await client.find_schedule(schedule_id)
    await client.delete_schedule(which)
    return which


def _read_time(text: str | None) -> datetime | None:
    """A time with an offset, or without one: then the database takes it as one of the schedule's time zone."""
    if text is None:
        return None
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(
            f"run_at is not a time: {printable(text, 60)}.",
            code="wrong_type",
            field="run_at",
            remedy="Give a time such as 2027-03-01T09:00 or 2027-03-01T09:00:00+01:00.",
        ) from None


def _show(out: Output, schedule: Schedule) -> None:
    if out.as_json:
        out.json(schedule)
        return
    name = f" {printable(schedule.name, 60)!r}" if schedule.name else ""
    out.lines([f"Schedule {short_id(schedule.id)}{name}: {_times_of(schedule)}, {schedule.state}."])
    if schedule.problem:
        out.note(printable(str(schedule.problem.get("message")), 300))


def _print_preview(out: Output, times: Sequence[datetime], time_zone: str) -> None:
    if out.as_json:
        out.json({"time_zone": time_zone, "next_runs": [time.isoformat() for time in times]})
    elif times:
        _list_times(out, times, time_zone)
    else:
        out.note("No further runs.")


def _list_times(out: Output, times: Sequence[datetime], time_zone: str) -> None:
    out.lines(_local(time, time_zone) for time in times)


def _local(time: datetime, time_zone: str) -> str:
    return time.astimezone(zone_of(time_zone)).strftime("%a %Y-%m-%d %H:%M %Z (%z)")


def _times_of(schedule: Schedule) -> str:
    if schedule.cron:
        return f"{printable(schedule.cron, 60)} in {schedule.time_zone}"
    return _local(schedule.run_at, schedule.time_zone) if schedule.run_at else ""


def _state_note(schedule: Schedule) -> str:
    match schedule.state:
        case ScheduleState.PAUSED:
            return "It is paused: batchgen schedule resume lets it run."
        case ScheduleState.STOPPED:
            return f"It is stopped: {printable(str((schedule.problem or {}).get('message')), 300)}"
        case _:
            return "It has ended."


def _row(one: Schedule) -> Sequence[str]:
    run = one.last_run
    return (
        short_id(one.id),
        printable(one.name or "", 40),
        printable(one.cron or "once", 40),
        one.time_zone,
        one.state.value,
        _local(one.next_runs[0], one.time_zone) if one.next_runs else "",
        f"{run.outcome} {_local(run.slot, one.time_zone)}" if run else "",
    )


def _run_row(run: ScheduleRun, time_zone: str) -> Sequence[str]:
    refusal = printable(str((run.refusal or {}).get("message") or ""), 200)
    again = f" Tried again at {_local(run.retry_at, time_zone)}." if run.retry_at else ""
    batch = short_id(run.batch_id) if run.batch_id else ""
    return _local(run.slot, time_zone), run.outcome.value, batch, str(run.attempts or ""), refusal + again
