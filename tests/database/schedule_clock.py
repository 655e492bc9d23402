"""Schedules under a clock of the test's own: workers that look at the database at chosen moments."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from uuid import UUID

from database_harness import Database, Row, a_request

from batchgen.queue.types import ScheduleToPlan
from scheduler.schedules import plan_of


@dataclass
class Clock:
    """Moves a schedule to a time of the test's, and lets a worker look at that time."""

    db: Database

    def schedule(self, user_id: UUID, start: datetime, cron: str, time_zone: str = "UTC", **fields: object) -> UUID:
        """A schedule that was created at `start`."""
        made = create_schedule(self.db, user_id, cron=cron, time_zone=time_zone, **fields)
        self.db.run(
            "update batchgen.batch_schedules set planned_until = %s, slots = '{}' where id = %s", start, made["id"]
        )
        return UUID(made["id"])

    def look(self, now: datetime) -> list[Row]:
        """Run and plan until nothing is due at this time; the runs that were tried."""
        tried: list[Row] = []
        while True:
            fired = self.db.value("select batchgen.run_next_schedule(%s)", now)
            tried += fired["runs"] if fired else []
            planned = self.plan(now)
            if fired is None and planned == 0:
                return tried

    def plan(self, now: datetime) -> int:
        todo = [
            ScheduleToPlan.model_validate(row) for row in self.db.value("select batchgen.schedules_to_plan(%s)", now)
        ]
        plans = [plan_of(one).model_dump(mode="json") for one in todo]
        [row] = self.db.as_service("select public.plan_schedules(%s::jsonb) as taken", json.dumps(plans))
        return row["taken"]

    def live(self, start: datetime, end: datetime, every: timedelta = timedelta(minutes=1)) -> list[Row]:
        """Look at every moment from `start` to `end`."""
        runs: list[Row] = []
        now = start
        while now <= end:
            runs += self.look(now)
            now += every
        return runs

    def runs(self, schedule_id: UUID, outcome: str | None = None) -> list[Row]:
        sql = (
            "select * from batchgen.schedule_runs where schedule_id = %s and (%s::text is null or outcome = %s)"
            " order by slot"
        )
        return self.db.run(sql, schedule_id, outcome, outcome)

    def slots(self, schedule_id: UUID, outcome: str = "submitted") -> list[datetime]:
        return [run["slot"].astimezone(UTC) for run in self.runs(schedule_id, outcome)]


def create_schedule(db: Database, user_id: UUID | None, **fields: object) -> Row:
    body = {"request": a_request()} | fields
    [row] = db.as_user(user_id, "select public.create_schedule(%s::jsonb) as answer", json.dumps(body))
    return row["answer"]["schedule"]


def act(db: Database, user_id: UUID | None, function: str, schedule_id: object, *more: object) -> Row:
    places = ", ".join("%s" for _ in (schedule_id, *more))
    [row] = db.as_user(user_id, f"select public.{function}({places}) as answer", schedule_id, *more)
    return row["answer"]


def batches(db: Database, user_id: UUID) -> int:
    return db.value("select count(*)::integer from public.batch_generations where user_id = %s", user_id)


def at(text: str) -> datetime:
    """`at("2026-03-29 01:30")`, in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def times(day: str, *clocks: str) -> Sequence[datetime]:
    return [at(f"{day} {clock}") for clock in clocks]
