"""Schedules: each slot runs once, missed ones by the rule, refused ones are recorded and tried again."""

import json
import random
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID, uuid4

import psycopg
import pytest
from database_harness import Database, Row, a_request, connect, query, refused
from schedule_clock import Clock, act, at, batches, create_schedule

from batchgen.cron import CronTimes
from batchgen.errors import InvalidRequest

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture
def clock(db: Database) -> Clock:
    db.run("update batchgen.settings set max_waiting_per_user = 1000")
    return Clock(db)


# Slots


def test_each_slot_makes_one_batch_for_its_user(db: Database, clock: Clock) -> None:
    user = db.new_user()
    schedule = clock.schedule(user, at("2026-06-01 00:00"), "0 9,15 * * *", "UTC")

    clock.live(at("2026-06-01 00:00"), at("2026-06-02 23:00"), timedelta(minutes=20))

    days = ("2026-06-01", "2026-06-02")
    assert clock.slots(schedule) == [at(f"{day} {hour}:00") for day in days for hour in ("09", "15")]
    assert batches(db, user) == 4
    made = {run["batch_id"] for run in clock.runs(schedule)}
    assert len(made) == 4
    assert {db.batch(batch)["user_id"] for batch in made} == {user}


def test_a_schedule_with_a_time_runs_once_and_ends(db: Database, clock: Clock) -> None:
    user = db.new_user()
    run_at = datetime.now(UTC).replace(microsecond=0) + HOUR
    made = create_schedule(db, user, run_at=run_at.isoformat())

    assert clock.look(run_at - timedelta(seconds=1)) == []
    [run] = clock.look(run_at)
    assert clock.look(run_at + DAY) == []

    assert run["outcome"] == "submitted"
    assert act(db, user, "preview_schedule", made["id"])["schedule"]["state"] == "ended"
    assert batches(db, user) == 1


def test_a_clock_that_is_set_back_runs_no_slot_again(db: Database, clock: Clock) -> None:
    user = db.new_user()
    schedule = clock.schedule(user, at("2026-06-01 00:00"), "0 * * * *")

    clock.live(at("2026-06-01 00:30"), at("2026-06-01 05:30"), HOUR)
    clock.live(at("2026-06-01 01:30"), at("2026-06-01 06:30"), HOUR)

    assert clock.slots(schedule) == [at(f"2026-06-01 {hour:02}:00") for hour in range(1, 7)]
    assert batches(db, user) == 6


@pytest.mark.parametrize(
    ("zone", "day", "expected"),
    [
        ("Europe/Berlin", "2026-03-29", "2026-03-29 01:30"),  # 02:30 is left out: 03:30 in summer
        ("Europe/Berlin", "2026-10-25", "2026-10-25 00:30"),  # 02:30 comes twice: the first one
        ("America/New_York", "2026-03-08", "2026-03-08 07:30"),
        ("America/New_York", "2026-11-01", "2026-11-01 07:30"),
    ],
)
def test_a_daily_run_comes_once_on_days_when_the_clocks_change(
    db: Database, clock: Clock, zone: str, day: str, expected: str
) -> None:
    user, start = db.new_user(), at(f"{day} 00:00") - DAY
    schedule = clock.schedule(user, start, "30 2 * * *", zone)

    clock.live(start, start + 3 * DAY, timedelta(minutes=15))

    slots = clock.slots(schedule)
    assert len(slots) == 3
    assert slots[1] == at(expected)
    assert batches(db, user) == 3


@pytest.mark.parametrize(
    ("zone", "start", "end"),
    [
        ("Europe/Berlin", "2026-03-28 23:00", "2026-03-29 22:00"),  # 23 hours
        ("Europe/Berlin", "2026-10-24 22:00", "2026-10-25 23:00"),  # 25 hours
        ("America/New_York", "2026-03-08 05:00", "2026-03-09 04:00"),
        ("America/New_York", "2026-11-01 04:00", "2026-11-02 05:00"),
    ],
)
def test_an_hourly_run_comes_every_hour_that_passes(
    db: Database, clock: Clock, zone: str, start: str, end: str
) -> None:
    schedule = clock.schedule(db.new_user(), at(start) - timedelta(seconds=1), "0 * * * *", zone)

    clock.live(at(start), at(end) - timedelta(seconds=1), timedelta(minutes=30))

    hours = (at(end) - at(start)) // HOUR
    assert clock.slots(schedule) == [at(start) + n * HOUR for n in range(hours)]


def test_a_time_that_comes_twice_in_new_york_runs_the_first_time(db: Database, clock: Clock) -> None:
    schedule = clock.schedule(db.new_user(), at("2026-11-01 00:00"), "30 1 * * *", "America/New_York")

    clock.live(at("2026-11-01 04:00"), at("2026-11-01 12:00"), timedelta(minutes=15))

    assert clock.slots(schedule) == [at("2026-11-01 05:30")]


# Several workers


def test_three_workers_at_once_run_each_slot_once(db: Database, clock: Clock) -> None:
    users = [db.new_user() for _ in range(6)]
    schedules = [clock.schedule(user, at("2026-06-01 00:00"), "0 * * * *", missed_runs="all") for user in users]
    now = at("2026-06-01 05:30")
    while clock.plan(now):
        pass

    def work(_: int) -> None:
        with connect(db.dsn) as worker:
            while query(worker, "select batchgen.run_next_schedule(%s) as fired", now)[0]["fired"]:
                pass

    with ThreadPoolExecutor(3) as workers:
        list(workers.map(work, range(3)))
    clock.look(now)

    for user, schedule in zip(users, schedules, strict=True):
        assert clock.slots(schedule) == [at(f"2026-06-01 0{hour}:00") for hour in range(1, 6)]
        assert batches(db, user) == 5


def test_a_worker_that_dies_before_its_commit_leaves_the_slot_to_another(db: Database, clock: Clock) -> None:
    user = db.new_user()
    schedule = clock.schedule(user, at("2026-06-01 00:00"), "0 9 * * *")
    clock.plan(at("2026-06-01 08:00"))
    now = at("2026-06-01 09:00")

    with connect(db.dsn) as doomed, connect(db.dsn) as other:
        doomed.execute("begin")
        [row] = query(doomed, "select batchgen.run_next_schedule(%s) as fired, pg_backend_pid() as pid", now)
        assert row["fired"]["runs"][0]["outcome"] == "submitted"
        # The slot is being run: nobody else takes it, and nobody waits.
        assert query(other, "select batchgen.run_next_schedule(%s) as fired", now)[0]["fired"] is None
        db.run("select pg_terminate_backend(%s, 5000)", row["pid"])
        with pytest.raises(psycopg.OperationalError):
            doomed.execute("commit")
    assert batches(db, user) == 0

    [run] = clock.look(now)

    assert run["outcome"] == "submitted"
    assert batches(db, user) == 1
    assert clock.slots(schedule) == [now]


def test_a_plan_of_two_workers_counts_once(db: Database, clock: Clock) -> None:
    schedule = clock.schedule(db.new_user(), at("2026-06-01 00:00"), "0 9 * * *")
    [todo] = db.value("select batchgen.schedules_to_plan(%s)", at("2026-06-01 00:00"))
    plan = {
        "schedule_id": str(schedule),
        "version": todo["version"],
        "planned_until": todo["planned_until"],
        "slots": ["2026-06-01T09:00:00Z"],
        "is_last": False,
        "problem": None,
    }

    taken = [
        db.as_service("select public.plan_schedules(%s::jsonb) as taken", json.dumps([plan]))[0]["taken"]
        for _ in range(2)
    ]

    assert taken == [1, 0]
    assert db.value("select cardinality(slots) from batchgen.batch_schedules where id = %s", schedule) == 1


def test_a_plan_for_other_times_is_dropped(db: Database, clock: Clock) -> None:
    user = db.new_user()
    schedule = clock.schedule(user, at("2026-06-01 00:00"), "0 9 * * *")
    todo = db.value("select batchgen.schedules_to_plan(%s)", at("2026-06-01 00:00"))
    act(db, user, "edit_schedule", schedule, json.dumps({"cron": "0 10 * * *"}))

    plans = [{**todo[0], "slots": ["2026-06-01T09:00:00Z"], "is_last": False, "problem": None}]
    [row] = db.as_service("select public.plan_schedules(%s::jsonb) as taken", json.dumps(plans))

    assert row["taken"] == 0


@pytest.mark.parametrize("slots", [["2026-06-02T09:00Z", "2026-06-01T09:00Z"], ["2026-05-01T09:00Z"], ["infinity"]])
def test_plans_that_are_no_times_to_come_are_refused(db: Database, clock: Clock, slots: list[str]) -> None:
    schedule = clock.schedule(db.new_user(), at("2026-06-01 00:00"), "0 9 * * *")
    plan = {"schedule_id": str(schedule), "version": 1, "planned_until": "2026-06-01T00:00:00Z", "slots": slots}

    with refused("PT422"):
        db.as_service("select public.plan_schedules(%s::jsonb)", json.dumps([plan]))


# Missed slots


@pytest.mark.parametrize(("rule", "expected"), [("skip", 0), ("one", 1), ("all", 24)])
def test_a_day_without_a_worker_is_made_up_for_by_the_rule(
    db: Database, clock: Clock, rule: str, expected: int
) -> None:
    user = db.new_user()
    schedule = clock.schedule(user, at("2026-06-01 00:00"), "0 * * * *", missed_runs=rule)
    clock.live(at("2026-06-01 00:00"), at("2026-06-01 02:30"), timedelta(minutes=10))
    before = len(clock.slots(schedule))

    clock.look(at("2026-06-02 02:30"))  # a day later

    late = clock.slots(schedule)[before:]
    assert before == 2
    assert len(late) == expected == batches(db, user) - before
    assert late == [at("2026-06-01 03:00") + n * HOUR for n in range(24)][24 - expected :]
    assert len(clock.runs(schedule, "missed")) == 24 - expected
    # It goes on with the next slot.
    clock.look(at("2026-06-02 03:00"))
    assert clock.slots(schedule)[-1] == at("2026-06-02 03:00")


def test_a_slot_that_is_a_little_late_is_not_missed(db: Database, clock: Clock) -> None:
    schedule = clock.schedule(db.new_user(), at("2026-06-01 00:00"), "0 9 * * *", missed_runs="skip")
    clock.look(at("2026-06-01 08:00"))

    clock.look(at("2026-06-01 09:10"))

    assert clock.slots(schedule) == [at("2026-06-01 09:00")]


def test_the_rule_all_makes_up_for_a_bounded_number(db: Database, clock: Clock) -> None:
    db.run("update batchgen.settings set max_missed_runs = 5")
    schedule = clock.schedule(db.new_user(), at("2026-06-01 00:00"), "*/5 * * * *", missed_runs="all")
    clock.look(at("2026-06-01 00:01"))

    clock.look(at("2026-06-03 00:01"))

    assert clock.slots(schedule) == [at("2026-06-03 00:00") - n * timedelta(minutes=5) for n in range(4, -1, -1)]


def test_slots_older_than_the_setting_are_not_run(db: Database, clock: Clock) -> None:
    db.run("update batchgen.settings set missed_run_days = 2")
    schedule = clock.schedule(db.new_user(), at("2026-06-01 00:00"), "0 9 * * *", missed_runs="all")
    clock.look(at("2026-06-01 00:01"))

    clock.look(at("2026-06-11 10:00"))

    assert clock.slots(schedule) == [at("2026-06-10 09:00"), at("2026-06-11 09:00")]


def test_slots_that_pass_while_paused_do_not_run(db: Database, clock: Clock) -> None:
    user = db.new_user()
    made = create_schedule(db, user, cron="*/5 * * * *", missed_runs="all")
    now = datetime.now(UTC)
    clock.look(now)
    act(db, user, "pause_schedule", made["id"])
    db.run(  # paused a day ago
        "update batchgen.batch_schedules set slots = array[%s::timestamptz], planned_until = %s where id = %s",
        now - DAY,
        now - DAY,
        made["id"],
    )
    assert clock.look(now) == []

    act(db, user, "resume_schedule", made["id"])

    assert clock.look(now) == []
    assert batches(db, user) == 0
    assert len(clock.look(now + timedelta(minutes=5))) == 1


# Refusals


def test_a_refused_run_is_recorded_and_goes_on_when_there_is_room(db: Database, clock: Clock) -> None:
    user = db.new_user()
    db.run("update batchgen.settings set max_waiting_per_user = 2")
    db.submit(user)
    schedule = clock.schedule(user, at("2026-06-01 00:00"), "0 9 * * *", missed_runs="one")

    [first] = clock.live(at("2026-06-01 08:59"), at("2026-06-01 09:00"))
    assert first["outcome"] == "refused"
    assert first["refusal"]["code"] == "too_many_waiting"
    assert datetime.fromisoformat(first["retry_at"]) == at("2026-06-01 09:01")
    db.run("update batchgen.settings set max_waiting_per_user = 10")
    [second] = clock.look(at("2026-06-01 09:01"))

    assert (second["outcome"], second["attempts"]) == ("submitted", 2)
    assert clock.look(at("2026-06-01 09:05")) == []
    assert len(clock.runs(schedule)) == 1
    assert batches(db, user) == 2


def test_limits_of_the_user_hold_though_a_worker_runs_the_schedule(db: Database, clock: Clock) -> None:
    user = db.new_user()
    db.run("insert into public.user_rate_limits (user_id, daily_generations_limit) values (%s, 3)", user)
    schedule = clock.schedule(user, at("2026-06-01 00:00"), "0 * * * *")
    clock.plan(at("2026-06-01 00:00"))

    with db.acting("service_role") as worker:
        query(worker, "select public.run_schedules()")
    clock.look(at("2026-06-01 02:00"))
    clock.look(at("2026-06-01 03:00"))

    outcomes = [run["outcome"] for run in clock.runs(schedule)]
    assert outcomes.count("submitted") == 1
    assert clock.runs(schedule, "refused")[0]["refusal"]["code"] == "daily_limit"
    # And operators stay operators.
    request = json.dumps(a_request(10))
    assert db.as_service("select public.create_batch_as(%s, %s::jsonb)", user, request)


def test_a_schedule_that_skips_tries_a_refused_run_once(db: Database, clock: Clock) -> None:
    user = db.new_user()
    db.run("update batchgen.settings set max_waiting_per_user = 1")
    schedule = clock.schedule(user, at("2026-06-01 00:00"), "0 9 * * *", missed_runs="skip")

    clock.live(at("2026-06-01 08:59"), at("2026-06-01 12:00"))

    [run] = clock.runs(schedule)
    assert (run["outcome"], run["attempts"], run["retry_at"]) == ("refused", 1, None)


def test_with_the_rule_all_refused_runs_follow_in_order(db: Database, clock: Clock) -> None:
    user = db.new_user()
    db.run("update batchgen.settings set max_waiting_per_user = 2")
    schedule = clock.schedule(user, at("2026-06-01 00:00"), "0 * * * *", missed_runs="all")

    clock.live(at("2026-06-01 00:59"), at("2026-06-01 03:59"))
    assert clock.slots(schedule) == [at("2026-06-01 01:00")]
    assert clock.slots(schedule, "refused") == [at("2026-06-01 02:00")]
    db.run("update batchgen.settings set max_waiting_per_user = 1000")
    clock.live(at("2026-06-01 04:00"), at("2026-06-01 05:30"))

    assert clock.slots(schedule) == [at(f"2026-06-01 0{hour}:00") for hour in range(1, 6)]
    assert batches(db, user) == 5


def test_with_the_rule_one_a_later_slot_replaces_a_refused_one(db: Database, clock: Clock) -> None:
    user = db.new_user()
    db.run("update batchgen.settings set max_waiting_per_user = 1")
    schedule = clock.schedule(user, at("2026-06-01 00:00"), "0 * * * *", missed_runs="one")

    clock.live(at("2026-06-01 00:59"), at("2026-06-01 03:01"))
    db.run("update batchgen.settings set max_waiting_per_user = 1000")
    clock.live(at("2026-06-01 03:02"), at("2026-06-01 03:59"))

    assert clock.slots(schedule) == [at("2026-06-01 03:00")]
    assert clock.slots(schedule, "refused") == [at("2026-06-01 01:00"), at("2026-06-01 02:00")]
    assert all(run["retry_at"] is None for run in clock.runs(schedule))


def test_a_model_that_is_gone_and_a_banned_user_are_recorded(db: Database, clock: Clock) -> None:
    user, banned = db.new_user(), db.new_user()
    model = db.value("select id::text from public.models where is_active order by id limit 1")
    request = a_request(shared_settings={"model_id": model})
    gone = clock.schedule(user, at("2026-06-01 00:00"), "0 9 * * *", request=request)
    out = clock.schedule(banned, at("2026-06-01 00:00"), "0 9 * * *")
    db.run("update public.models set is_active = false where id::text = %s", model)
    db.run("alter table auth.users add column if not exists banned_until timestamptz")
    db.run("update auth.users set banned_until = now() + interval '1 year' where id = %s", banned)

    clock.live(at("2026-06-01 08:59"), at("2026-06-01 09:00"))

    [of_model], [of_user] = clock.runs(gone), clock.runs(out)
    assert of_model["refusal"]["code"] in ("inactive_model", "unknown_model")
    assert of_user["refusal"]["code"] == "user_disabled"


def test_one_that_breaks_holds_up_no_other(db: Database, clock: Clock) -> None:
    broken, fine = db.new_user(), db.new_user()
    first = clock.schedule(broken, at("2026-06-01 00:00"), "0 9 * * *")
    second = clock.schedule(fine, at("2026-06-01 00:00"), "0 9 * * *")
    db.run("update batchgen.batch_schedules set request = '{\"prompts\": 3}' where id = %s", first)
    db.run(f"alter table public.batch_generations add constraint no_luck check (user_id <> '{broken}')")

    clock.live(at("2026-06-01 08:59"), at("2026-06-01 09:00"))
    db.run("update batchgen.batch_schedules set request = %s::jsonb where id = %s", json.dumps(a_request()), first)
    clock.live(at("2026-06-01 09:01"), at("2026-06-01 09:02"))

    [run] = clock.runs(first)
    assert run["refusal"]["code"] == "internal_error"
    assert clock.slots(second) == [at("2026-06-01 09:00")]


def test_a_deleted_users_schedules_go_with_them(db: Database, clock: Clock) -> None:
    user = db.new_user()
    schedule = clock.schedule(user, at("2026-06-01 00:00"), "0 * * * *")
    clock.live(at("2026-06-01 00:59"), at("2026-06-01 01:01"))

    db.run("delete from auth.users where id = %s", user)

    assert clock.look(at("2026-06-01 05:00")) == []
    assert clock.runs(schedule) == []


# Reading and writing


def test_schedules_are_their_owners(db: Database) -> None:
    user, stranger = db.new_user(), db.new_user()
    made = create_schedule(db, user, cron="0 9 * * *")

    for function, more in (
        ("edit_schedule", ("{}",)),
        ("pause_schedule", ()),
        ("resume_schedule", ()),
        ("delete_schedule", ()),
        ("preview_schedule", ()),
        ("get_schedule_runs", ()),
    ):
        answers: list[tuple[str, Row]] = []
        for which in (made["id"], uuid4()):
            with refused("PT404") as refusal:
                act(db, stranger, function, which, *more)
            answers.append((refusal.message, refusal.detail))
        assert answers[0] == answers[1]
        with refused("PT401"):
            act(db, None, function, made["id"], *more)
    assert db.as_user(stranger, "select public.get_schedules() as answer")[0]["answer"] == []
    with refused("PT404"):
        db.as_user(stranger, "select public.get_schedules(%s)", user)
    assert len(db.as_user(user, "select public.get_schedules() as answer")[0]["answer"]) == 1
    assert len(db.as_service("select public.get_schedules(%s) as answer", user)[0]["answer"]) == 1


@pytest.mark.parametrize(
    ("fields", "code", "field"),
    [
        ({}, "wrong_type", "cron"),
        ({"cron": "0 9 * * *", "run_at": "2099-01-01T00:00Z"}, "wrong_type", "cron"),
        ({"cron": "0 9 * *"}, "invalid_cron", "cron"),
        ({"cron": "60 9 * * *"}, "invalid_cron", "cron"),
        ({"cron": "0 9 * * foo"}, "invalid_cron", "cron"),
        ({"cron": "0 0 31 2,4 *"}, "never_runs", "cron"),
        ({"cron": "*/2 * * * *"}, "too_often", "cron"),
        ({"cron": "0,59 * * * *"}, "too_often", "cron"),
        ({"cron": 5}, "wrong_type", "cron"),
        ({"cron": "0 9 * * *", "time_zone": "Europe/Nowhere"}, "unknown_time_zone", "time_zone"),
        ({"cron": "0 9 * * *", "time_zone": "europe/berlin"}, "unknown_time_zone", "time_zone"),
        ({"cron": "0 9 * * *", "time_zone": "UTC+3"}, "unknown_time_zone", "time_zone"),
        ({"cron": "0 9 * * *", "missed_runs": "some"}, "out_of_range", "missed_runs"),
        ({"cron": "0 9 * * *", "paused": "yes"}, "wrong_type", "paused"),
        ({"cron": "0 9 * * *", "nmae": "a"}, "unknown_field", "nmae"),
        ({"run_at": "tomorrow"}, "wrong_type", "run_at"),
        ({"run_at": "2020-01-01T00:00Z"}, "out_of_range", "run_at"),
        ({"run_at": "2099-13-01T00:00Z"}, "wrong_type", "run_at"),
        ({"cron": "0 9 * * *", "request": None}, "wrong_type", "request"),
        ({"cron": "0 9 * * *", "request": {"prompts": [{"text": "a"}]}}, "too_few_prompts", "prompts"),
        ({"cron": "0 9 * * *", "request": {**a_request(), "client_key": "x"}}, "unknown_field", "request.client_key"),
    ],
)
def test_what_is_no_schedule_is_refused(db: Database, fields: Row, code: str, field: str) -> None:
    user = db.new_user()
    with refused("PT422") as refusal:
        create_schedule(db, user, **fields)
    assert (refusal.detail["code"], refusal.detail["field"]) == (code, field)
    assert refusal.detail["remedy"]


def test_a_user_has_a_bounded_number_of_schedules(db: Database) -> None:
    user = db.new_user()
    db.run("update batchgen.settings set max_schedules_per_user = 1")
    create_schedule(db, user, cron="0 9 * * *")

    with refused("PT429") as refusal:
        create_schedule(db, user, cron="0 10 * * *")

    assert (refusal.detail["code"], refusal.detail["limit"]) == ("too_many_schedules", 1)


def test_a_repeated_call_makes_one_schedule(db: Database) -> None:
    user = db.new_user()
    first = create_schedule(db, user, cron="0 9 * * *", client_key="k")
    again = create_schedule(db, user, cron="0 9 * * *", client_key="k")

    assert again["id"] == first["id"]
    with refused("PT409"):
        create_schedule(db, user, cron="0 10 * * *", client_key="k")


def test_a_time_without_an_offset_is_in_the_time_zone(db: Database) -> None:
    made = create_schedule(db, db.new_user(), run_at="2030-07-01T09:00", time_zone="Europe/Berlin")

    assert datetime.fromisoformat(made["run_at"]) == at("2030-07-01 07:00")


def test_edits_take_effect_whoever_makes_them(db: Database, clock: Clock) -> None:
    user = db.new_user()
    made = create_schedule(db, user, cron="0 9 * * *", name="Foxes")
    clock.plan(datetime.now(UTC))
    assert len(act(db, user, "preview_schedule", made["id"])["next_runs"]) == 5

    edited = act(db, user, "edit_schedule", made["id"], json.dumps({"cron": "0  10 * * MON", "missed_runs": "all"}))
    assert edited["schedule"]["cron"] == "0 10 * * mon"
    assert edited["schedule"]["name"] == "Foxes"
    assert edited["schedule"]["next_runs"] == []
    clock.plan(datetime.now(UTC))
    nexts = act(db, user, "preview_schedule", made["id"])["next_runs"]
    assert [datetime.fromisoformat(time).astimezone(UTC).strftime("%a %H") for time in nexts] == ["Mon 10"] * 5
    # An admin in the Table Editor.
    db.run("update batchgen.batch_schedules set cron = '0 11 * * *' where id = %s", made["id"])
    clock.plan(datetime.now(UTC))
    nexts = act(db, user, "preview_schedule", made["id"])["next_runs"]
    assert {datetime.fromisoformat(time).astimezone(UTC).hour for time in nexts} == {11}
    with refused("PT422"):
        db.run("update batchgen.batch_schedules set cron = 'never' where id = %s", made["id"])
    db.run("update batchgen.batch_schedules set run_at = now() + interval '1 hour' where id = %s", made["id"])
    assert len(act(db, user, "preview_schedule", made["id"])["next_runs"]) == 1


def test_sql_and_python_read_the_same_expressions(db: Database) -> None:
    chance = random.Random(7)
    words = ["*", "*", "*/5", "0", "7", "1-5", "5-1", "0-6/2", "fri-sun", "mon", "jan-mar/2", "x", "*/0", "3/4", "1,2"]
    crons = [" ".join(chance.choice(words) for _ in range(5)) for _ in range(3000)]
    rows = db.run(
        "select e.cron, (select jsonb_agg(batchgen.cron_values(p.part, f.lowest, f.highest, f.names) order by f.nth)"
        " from unnest(string_to_array(e.cron, ' ')) with ordinality p (part, nth)"
        " join batchgen.cron_fields() f on f.nth = p.nth) as fields from unnest(%s::text[]) e (cron)",
        crons,
    )

    def read(cron: str) -> list[list[int]] | None:
        try:
            return [list(values) for values in CronTimes(cron).values]
        except InvalidRequest:
            return None

    of_sql = {row["cron"]: None if None in row["fields"] else row["fields"] for row in rows}
    assert of_sql == {cron: read(cron) for cron in crons}
    assert 150 < sum(fields is not None for fields in of_sql.values()) < 2900


def test_the_shortest_gap_is_what_the_times_show(db: Database) -> None:
    for cron in ("*/15 * * * *", "0,50 9-10 * * *", "5 4 * * *", "30 23,0 * * *", "*/7 1 * * *"):
        gap = db.value("select batchgen.shortest_cron_gap(string_to_array(%s, ' '))", cron)
        found = CronTimes(cron).after(at("2026-06-01 00:00"))
        times = [next(found) for _ in range(200)]
        assert gap == min((b - a).total_seconds() for a, b in pairwise(times))


def test_runs_are_listed_with_their_batches(db: Database, clock: Clock) -> None:
    user = db.new_user()
    schedule = clock.schedule(user, at("2026-06-01 00:00"), "0 9 * * *")
    clock.live(at("2026-06-01 08:59"), at("2026-06-03 09:30"), timedelta(minutes=30))

    answer = act(db, user, "get_schedule_runs", schedule)
    older = act(db, user, "get_schedule_runs", schedule, answer["runs"][0]["slot"], 1)

    assert [run["outcome"] for run in answer["runs"]] == ["submitted"] * 3
    assert [UUID(run["batch_id"]) for run in answer["runs"]] == [
        run["batch_id"] for run in reversed(clock.runs(schedule))
    ]
    assert older["runs"] == [answer["runs"][1]]
    assert answer["schedule"]["last_run"] == answer["runs"][0]
