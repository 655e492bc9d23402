"""Schedules: requests that run at a time, or again and again by a cron expression."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from itertools import islice
from typing import Any
from uuid import UUID, uuid4

from batchgen.client.caller import Caller
from batchgen.client.submit import by_model_name, check_acts_for_user
from batchgen.cron import CronTimes
from batchgen.errors import BackendUnavailable, InvalidRequest, NotFound
from batchgen.models import BatchRequest, Frozen

RUNS_SHOWN = 5


class MissedRuns(StrEnum):
    """Which slots run that no worker ran in time, or that were refused."""

    SKIP = "skip"
    """None of them."""
    ONE = "one"
    """The last one."""
    ALL = "all"
    """All, up to a limit of the project."""


class ScheduleState(StrEnum):
    """The state of a schedule."""

    ACTIVE = "active"
    PAUSED = "paused"
    ENDED = "ended"
    """All of its slots are decided, and there are no more."""
    STOPPED = "stopped"
    """Its times cannot be computed: `problem` says why."""


class RunOutcome(StrEnum):
    """What became of a slot."""

    SUBMITTED = "submitted"
    REFUSED = "refused"
    MISSED = "missed"
    """The schedule's rule let it pass."""


class ScheduleRun(Frozen):
    """A decided slot of a schedule."""

    schedule_id: UUID
    slot: datetime
    outcome: RunOutcome
    fired_at: datetime
    attempts: int = 1
    batch_id: UUID | None = None
    """The batch that it made; None if it made none, or if the batch was deleted."""
    refusal: Mapping[str, Any] | None = None
    """Why its request was refused last: `code`, `message`, `field`, `limit`, `remedy`."""
    retry_at: datetime | None = None
    """When a refused slot is tried again; None if never."""


class Schedule(Frozen):
    """A schedule as its owner sees it."""

    id: UUID
    user_id: UUID
    name: str | None = None
    request: Mapping[str, Any]
    run_at: datetime | None = None
    cron: str | None = None
    time_zone: str
    missed_runs: MissedRuns
    state: ScheduleState
    paused_at: datetime | None = None
    problem: Mapping[str, Any] | None = None
    next_runs: tuple[datetime, ...] = ()
    """Up to five; a worker computes those of a new schedule within seconds."""
    last_run: ScheduleRun | None = None
    created_at: datetime
    updated_at: datetime


class ScheduleRuns(Frozen):
    """A schedule with its decided slots, the newest first."""

    schedule: Schedule
    runs: tuple[ScheduleRun, ...]


def next_runs(cron: str, time_zone: str = "UTC", *, after: datetime, count: int = RUNS_SHOWN) -> tuple[datetime, ...]:
    """The next times of a cron expression, as a worker computes them, in UTC. Raises `InvalidRequest`."""
    return tuple(islice(CronTimes(cron, time_zone).after(after), count))


async def create_schedule(caller: Caller, request: BatchRequest, fields: Mapping[str, Any]) -> Schedule:
    """Create a schedule. If no response comes, the call is sent once more: its key makes no second schedule."""
    fields = {**fields, "client_key": fields.get("client_key") or str(uuid4())}
    if caller.is_operator:
        check_acts_for_user(caller)

    async def create(one: BatchRequest) -> Schedule:
        body = {**_given(fields), "request": _body(one)}
        if caller.is_operator:
            return await _schedule(caller, "create_schedule_as", p_user_id=str(caller.user_id), p_schedule=body)
        return await _schedule(caller, "create_schedule", p_schedule=body)

    return await by_model_name(caller, request, create)


async def edit_schedule(
    caller: Caller, schedule_id: UUID, request: BatchRequest | None, fields: Mapping[str, Any]
) -> Schedule:
    await check_schedule(caller, schedule_id)

    async def edit(one: BatchRequest | None) -> Schedule:
        changes = _given(fields) | ({"request": _body(one)} if one else {})
        return await _schedule(caller, "edit_schedule", p_schedule_id=str(schedule_id), p_changes=changes)

    return await (by_model_name(caller, request, edit) if request else edit(None))


async def act_on_schedule(caller: Caller, function: str, schedule_id: UUID) -> Schedule:
    """Call `pause_schedule` or `resume_schedule`."""
    await check_schedule(caller, schedule_id)
    return await _schedule(caller, function, p_schedule_id=str(schedule_id))


async def delete_schedule(caller: Caller, schedule_id: UUID) -> None:
    """Delete a schedule. If no response comes, it is deleted once more; that it is gone then is no error."""
    await check_schedule(caller, schedule_id)
    arguments = {"p_schedule_id": str(schedule_id)}
    try:
        await caller.rpc("delete_schedule", arguments)
    except BackendUnavailable:
        try:
            await caller.rpc("delete_schedule", arguments)
        except NotFound:
            return


async def read_schedules(caller: Caller, limit: int, before: datetime | None) -> tuple[Schedule, ...]:
    arguments = {
        "p_user_id": str(caller.user_id) if caller.user_id else None,
        "p_before": before.isoformat() if before else None,
        "p_limit": limit,
    }
    rows: Sequence[Any] = await caller.rpc("get_schedules", arguments, resends=True)
    return tuple(Schedule.model_validate(row) for row in rows)


async def read_schedule_runs(caller: Caller, schedule_id: UUID, limit: int, before: datetime | None) -> ScheduleRuns:
    arguments = {
        "p_schedule_id": str(schedule_id),
        "p_before": before.isoformat() if before else None,
        "p_limit": limit,
    }
    answer = ScheduleRuns.model_validate(await caller.rpc("get_schedule_runs", arguments, resends=True))
    _check_owner(caller, answer.schedule)
    return answer


async def find_schedule(caller: Caller, schedule_id: str) -> UUID:
    """The id of a schedule, given whole or by its first digits (at least four). Raises `NotFound`."""
    digits = schedule_id.replace("-", "").lower()
    if len(digits) < 4 or len(digits) > 32 or any(digit not in "0123456789abcdef" for digit in digits):
        raise InvalidRequest(
            f"{schedule_id[:60]!r} is not an id of a schedule.",
            code="invalid_id",
            field="schedule_id",
            remedy="Give an id or its first digits, at least four: batchgen schedule list shows them.",
        )
    if len(digits) == 32:
        return UUID(digits)
    found = [one.id for one in await read_schedules(caller, 1000, None) if one.id.hex.startswith(digits)]
    if len(found) > 1:
        raise InvalidRequest(
            f"{schedule_id} begins the ids of {len(found)} schedules.",
            code="ambiguous_id",
            field="schedule_id",
            remedy="Give more digits.",
        )
    if not found:
        raise _not_found()
    return found[0]


async def check_schedule(caller: Caller, schedule_id: UUID) -> None:
    """For an operator who acts for a user: raise `NotFound` for a schedule of another one."""
    if caller.user_id:
        await read_schedule_runs(caller, schedule_id, 0, None)


def _check_owner(caller: Caller, schedule: Schedule) -> None:
    if caller.user_id and schedule.user_id != caller.user_id:
        raise _not_found()


def _not_found() -> NotFound:
    return NotFound(
        "Schedule not found, or it belongs to another user.",
        code="schedule_not_found",
        field="schedule_id",
        remedy="Use the id of one of your schedules: batchgen schedule list.",
    )


async def _schedule(caller: Caller, function: str, **arguments: Any) -> Schedule:
    answer = await caller.rpc(function, arguments, resends=True)
    return Schedule.model_validate(answer["schedule"])


def _body(request: BatchRequest) -> Mapping[str, Any]:
    return request.model_dump(mode="json", exclude_none=True, exclude={"client_key"})


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in fields.items()
        if value is not None
    }
