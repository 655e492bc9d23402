"""Limits of users: waiting items and items per hour and day, also under concurrency; nobody raises their own."""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from database_harness import Database, NewDatabase, Row, a_request, connect, refused

from devstack.migrations import apply_migrations, default_migrations_dir

OLD_USER = UUID("11111111-1111-4111-8111-111111111111")
KEYS = {
    "daily_used",
    "daily_limit",
    "daily_reset_at",
    "hourly_used",
    "hourly_limit",
    "hourly_reset_at",
    "active_generations",
    "max_concurrent",
    "total_all_time",
    "can_generate",
    "limit_reason",
}


def own_limits(db: Database, user: UUID, **columns: object) -> None:
    """The user's row in user_rate_limits, as an admin writes it."""
    names = ", ".join(columns)
    db.run("insert into public.user_rate_limits (user_id) values (%s) on conflict do nothing", user)
    values = ", ".join(["%s"] * len(columns))
    sql = f"update public.user_rate_limits set ({names}) = row({values}) where user_id = %s"  # noqa: S608
    db.run(sql, *columns.values(), user)


def defaults(db: Database, **columns: int) -> None:
    for name, value in columns.items():
        db.run(f"update batchgen.settings set {name} = %s", value)  # noqa: S608


def used(db: Database, user: UUID) -> tuple[int, int, int]:
    row = db.one("select * from public.user_rate_limits where user_id = %s", user)
    return row["daily_generations_count"], row["hourly_generations_count"], row["total_generations_all_time"]


def told(db: Database, user: UUID) -> Row:
    return db.as_user(user, "select public.get_user_limits(%s) as answer", user)[0]["answer"]


def items_of(db: Database, user: UUID) -> int:
    return db.value("select count(*) from public.image_generations where user_id = %s", user)


# what is counted


def test_submitted_items_are_counted(db: Database) -> None:
    user = db.new_user()

    db.submit(user, 3)
    db.submit(user, 4)

    assert used(db, user) == (7, 7, 7)
    row = db.one("select *, now() as now from public.user_rate_limits where user_id = %s", user)
    assert timedelta(hours=23) < row["daily_reset_at"] - row["now"] <= timedelta(days=1)
    assert timedelta(minutes=50) < row["hourly_reset_at"] - row["now"] <= timedelta(hours=1)
    assert row["last_generation_at"] == row["updated_at"] <= row["now"]


def test_a_window_lasts_from_its_first_item_and_later_ones_do_not_prolong_it(db: Database) -> None:
    user = db.new_user()
    db.submit(user)
    first = db.one("select daily_reset_at, hourly_reset_at from public.user_rate_limits where user_id = %s", user)

    db.submit(user)

    assert first == db.one(
        "select daily_reset_at, hourly_reset_at from public.user_rate_limits where user_id = %s", user
    )


def test_a_resend_counts_once(db: Database) -> None:
    user = db.new_user()
    request = a_request(client_key="a-key")

    db.create(user, request)
    db.create(user, request)

    assert used(db, user) == (2, 2, 2)


def test_a_resend_is_answered_even_where_a_limit_is_reached_by_now(db: Database) -> None:
    user = db.new_user()
    own_limits(db, user, hourly_generations_limit=2)
    first = db.create(user, a_request(client_key="a-key"))

    again = db.create(user, a_request(client_key="a-key"))

    assert again["id"] == first["id"]


def test_a_refused_request_counts_nothing(db: Database) -> None:
    user = db.new_user()
    db.submit(user)

    with refused("PT422"):
        db.create(user, a_request(1))
    with refused("PT409"):
        db.create(user, a_request(client_key="k"))
        db.create(user, a_request(3, client_key="k"))

    assert used(db, user)[0] == 4  # both that were accepted


def test_items_without_an_owner_and_calls_for_nothing_count_nowhere(db: Database) -> None:
    user = db.new_user()

    for owner, items in ((user, 0), (user, -1), (user, None), (None, 5)):
        db.run("select batchgen.take_from_limits(%s::uuid, %s::integer)", owner, items)

    assert db.value("select count(*) from public.user_rate_limits") == 0


# what is refused


@pytest.mark.parametrize(
    ("column", "code", "window"),
    [("daily_generations_limit", "daily_limit", "1 day"), ("hourly_generations_limit", "hourly_limit", "1 hour")],
)
def test_an_own_limit_is_kept_to_the_item_and_the_refusal_says_when_it_resets(
    db: Database, column: str, code: str, window: str
) -> None:
    user = db.new_user()
    own_limits(db, user, **{column: 5})
    db.submit(user, 3)

    with refused("PT429") as refusal:
        db.submit(user, 3)

    detail = refusal.detail
    assert set(detail) == {
        "code", "message", "index", "field", "limit", "remedy", "resets_at", "retry_after_seconds"
    }  # fmt: skip
    assert (detail["code"], detail["field"], detail["limit"], detail["index"]) == (code, column, 5, None)
    assert detail["message"] == refusal.message
    assert "does not allow that: 3 of 5 items are used, and this needs 3 more." in refusal.message
    assert detail["remedy"] == "Send at most 2 now."
    resets_at = datetime.fromisoformat(detail["resets_at"])
    assert resets_at.strftime("%Y-%m-%d %H:%M:%S") in refusal.message
    assert 0 < detail["retry_after_seconds"] <= db.value("select extract(epoch from %s::interval)::int", window)
    assert abs((resets_at - datetime.now(UTC)).total_seconds() - detail["retry_after_seconds"]) < 30
    assert items_of(db, user) == 3
    assert used(db, user) == (3, 3, 3)
    db.submit(user, 2)
    assert used(db, user) == (5, 5, 5)


@pytest.mark.parametrize(
    ("setting", "code"), [("default_daily_limit", "daily_limit"), ("default_hourly_limit", "hourly_limit")]
)
def test_a_user_without_limits_of_their_own_has_the_ones_of_the_settings(db: Database, setting: str, code: str) -> None:
    defaults(db, **{setting: 4})
    user = db.new_user()
    db.submit(user, 4)

    with refused("PT429") as refusal:
        db.submit(user)

    assert (refusal.detail["code"], refusal.detail["limit"]) == (code, 4)
    assert refusal.detail["remedy"] == "Try again after it resets."
    assert db.submit(prompts=4)  # another user has their own


def test_the_defaults_are_those_of_the_documents(db: Database) -> None:
    row = db.one("select * from batchgen.settings")

    assert (row["max_waiting_per_user"], row["default_daily_limit"], row["default_hourly_limit"]) == (100, 5000, 1000)


@pytest.mark.parametrize("column", ["daily_reset_at", "hourly_reset_at"])
def test_a_window_that_is_over_begins_anew(db: Database, column: str) -> None:
    user = db.new_user()
    own_limits(db, user, daily_generations_limit=2, hourly_generations_limit=2)
    db.submit(user)
    own_limits(db, user, daily_generations_limit=None, hourly_generations_limit=None)
    own_limits(db, user, **{column.replace("reset_at", "generations_limit"): 2})
    with refused("PT429"):
        db.submit(user)

    db.run(f"update public.user_rate_limits set {column} = now() - interval '1 second'")  # noqa: S608
    db.submit(user)

    row = db.one("select *, now() as now from public.user_rate_limits")
    assert row[column.replace("reset_at", "generations_count")] == 2
    assert row[column] > row["now"]
    assert row["total_generations_all_time"] == 4


@pytest.mark.parametrize("limit", [0, -5])
def test_a_limit_of_nothing_lets_nothing_in(db: Database, limit: int) -> None:
    user = db.new_user()
    own_limits(db, user, daily_generations_limit=limit)

    with refused("PT429") as refusal:
        db.submit(user)

    assert refusal.detail["remedy"] == "Ask an admin of the project for a higher limit."


def test_the_longer_lasting_of_two_limits_is_named(db: Database) -> None:
    user = db.new_user()
    own_limits(db, user, daily_generations_limit=1, hourly_generations_limit=1)
    defaults(db, max_waiting_per_user=1)

    with refused("PT429") as refusal:
        db.submit(user)

    assert refusal.detail["code"] == "daily_limit"


def test_waiting_items_are_limited_and_running_ones_are_none(db: Database) -> None:
    defaults(db, max_waiting_per_user=4)
    user = db.new_user()
    db.submit(user, 4)
    with refused("PT429") as refusal:
        db.submit(user)
    assert (refusal.detail["code"], refusal.detail["field"]) == ("too_many_waiting", "max_waiting_per_user")
    assert (refusal.detail["limit"], refusal.detail["resets_at"], refusal.detail["retry_after_seconds"]) == (
        4,
        None,
        None,
    )
    assert refusal.detail["remedy"] == "Wait until some of them have run, or cancel some."

    db.claim(2)
    db.submit(user)

    assert items_of(db, user) == 6
    with refused("PT429"):
        db.submit(user)


def test_items_that_wait_for_a_retry_or_a_paused_provider_count_as_waiting(db: Database) -> None:
    defaults(db, max_waiting_per_user=4)
    user = db.new_user()
    db.submit(user, 4)
    delayed, told_to_wait, *_ = db.claim(4)
    db.fail(delayed, retryable=True)
    db.fail(told_to_wait, retryable=True, retry_after_seconds=60)
    db.claim(10)  # parks the rest
    assert db.value("select array_agg(distinct state::text) from batchgen.queue where state <> 'running'") == [
        "delayed",
        "parked",
    ]

    with refused("PT429") as refusal:
        db.submit(user, 4)

    assert refusal.detail["remedy"].startswith("Send at most 1 ")
    assert "3 of 4 wait, and this needs 4 more." in refusal.message


def test_the_batch_size_of_a_user_can_be_smaller_than_everybodys_and_not_larger(db: Database) -> None:
    user, other = db.new_user(), db.new_user()
    own_limits(db, user, max_batch_size=3)
    own_limits(db, other, max_batch_size=50)

    for owner, most in ((user, 3), (other, 10)):
        with refused("PT422") as refusal:
            db.submit(owner, most + 1)
        assert (refusal.detail["code"], refusal.detail["limit"]) == ("too_many_prompts", most)
        assert db.submit(owner, most)


def test_an_operator_is_not_refused_but_what_they_put_in_counts(db: Database) -> None:
    user = db.new_user()
    own_limits(db, user, daily_generations_limit=1, hourly_generations_limit=1, max_batch_size=2)
    defaults(db, max_waiting_per_user=1)

    db.as_service("select public.create_batch_as(%s, %s::jsonb)", user, json.dumps(a_request(5)))
    db.run("select public.create_batch_as(%s, %s::jsonb)", user, json.dumps(a_request(5)))

    assert used(db, user) == (10, 10, 10)
    with refused("PT429"):
        db.submit(user)


def test_a_count_at_the_end_of_its_range_stops_nobody_with_a_fault_of_ours(db: Database) -> None:
    user = db.new_user()
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    own_limits(db, user, daily_generations_count=2**31 - 1, daily_reset_at=in_an_hour)

    with refused("PT429"):
        db.submit(user)
    db.run("select public.create_batch_as(%s, %s::jsonb)", user, json.dumps(a_request()))

    assert used(db, user) == (2**31 - 1, 2, 2)


def test_a_token_of_a_user_who_is_gone_is_refused_as_signed_out(db: Database) -> None:
    for request in (a_request(), a_request(client_key="k")):
        with refused("PT401") as refusal:
            db.create(uuid4(), request)
        assert refusal.detail["code"] == "unknown_user"


# many at once


def submitted(dsn: str, user: UUID, request: Row) -> str:
    """On a connection of its own: "" where it was accepted, the refusal's SQLSTATE and code otherwise."""
    with connect(dsn) as connection, connection.transaction():
        claims = json.dumps({"sub": str(user), "role": "authenticated"})
        connection.execute("select set_config('request.jwt.claims', %s, true)", [claims])
        connection.execute("set local role authenticated")
        try:
            with connection.transaction():
                connection.execute("select public.create_batch(%s::jsonb)", [json.dumps(request)])
        except psycopg.Error as error:
            return f"{error.sqlstate} {json.loads(error.diag.message_detail or '{}').get('code')}"
        return ""


@pytest.mark.parametrize("has_row", [True, False], ids=["known", "new"])
@pytest.mark.parametrize(
    ("limit", "code"),
    [
        ({"default_daily_limit": 7}, "daily_limit"),
        ({"default_hourly_limit": 7}, "hourly_limit"),
        ({"max_waiting_per_user": 7}, "too_many_waiting"),
    ],
)
async def test_requests_at_once_never_exceed_a_limit_together(
    db: Database, limit: dict[str, int], code: str, has_row: bool
) -> None:
    defaults(db, **limit)
    user = db.new_user()
    if has_row:
        own_limits(db, user, max_batch_size=10)

    answers = await asyncio.gather(*(asyncio.to_thread(submitted, db.dsn, user, a_request()) for _ in range(12)))

    assert sorted(answers) == [""] * 3 + [f"PT429 {code}"] * 9
    assert items_of(db, user) == 6
    assert used(db, user) == (6, 6, 6)


@pytest.mark.parametrize("more", [{}, {"client_key": "a-key"}], ids=["plain", "with a key"])
async def test_a_user_who_is_deleted_meanwhile_leaves_nothing_behind(db: Database, more: Row) -> None:
    user = db.new_user()
    db.submit(user)
    async with await psycopg.AsyncConnection[Any].connect(db.dsn) as connection:
        await connection.execute("delete from auth.users where id = %s", [user])
        late = asyncio.create_task(asyncio.to_thread(submitted, db.dsn, user, a_request() | more))
        await until_waiting(db)
        await connection.commit()

    assert await late == "PT401 unknown_user"
    assert items_of(db, user) == 0
    assert db.value("select count(*) from public.user_rate_limits") == 0


async def until_waiting(db: Database) -> None:
    deadline = asyncio.get_running_loop().time() + 10
    waits = "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'"
    while not db.value(waits):
        assert asyncio.get_running_loop().time() < deadline, "nobody waits"
        await asyncio.sleep(0.01)


def pages_of_a_look_at_the_limits(db: Database, user: UUID) -> int:
    sql = "explain (analyze, buffers, format json) select * from batchgen.limit_in_the_way(%s, 1)"
    db.one(sql, user)  # the first one reads the catalog
    top = db.one(sql, user)["QUERY PLAN"][0]["Plan"]
    return top["Shared Hit Blocks"] + top["Shared Read Blocks"]


def test_a_look_at_the_limits_costs_the_same_whatever_waits(db: Database) -> None:
    defaults(db, max_waiting_per_user=50)
    user, bulk = db.new_user(), db.new_user()
    db.submit(user, 5)
    before = pages_of_a_look_at_the_limits(db, user)
    batch = "insert into public.batch_generations (user_id, total_count, status) values (%s, 0, 'pending') returning id"
    for owner in (user, bulk):
        db.run(
            "insert into public.image_generations (user_id, batch_id, batch_index, prompt, status)"
            " select %s, %s, n, 'a tree', 'pending' from generate_series(1, 6000) n",
            owner,
            db.value(batch, owner),
        )
    db.run(
        "update batchgen.queue set state = 'delayed', ready_rank = null, due_at = now() + interval '1 hour'"
        " where batch_index % 2 = 0"
    )
    db.run("vacuum analyze")

    after = pages_of_a_look_at_the_limits(db, user)

    # 50 rows are counted and no more, in a few pages of an index; a scan would read hundreds.
    assert after <= before + 20, f"{before} pages with 5 rows, {after} with 12,000"


# get_user_limits


def test_a_user_is_told_exactly_what_the_app_reads(db: Database) -> None:
    user = db.new_user()

    answer = told(db, user)

    assert set(answer) == KEYS
    assert (answer["daily_used"], answer["daily_limit"]) == (0, 5000)
    assert (answer["hourly_used"], answer["hourly_limit"]) == (0, 1000)
    assert (answer["active_generations"], answer["max_concurrent"], answer["total_all_time"]) == (0, 3, 0)
    assert (answer["can_generate"], answer["limit_reason"]) == (True, None)
    in_a_day = datetime.fromisoformat(answer["daily_reset_at"]) - datetime.now(UTC)
    in_an_hour = datetime.fromisoformat(answer["hourly_reset_at"]) - datetime.now(UTC)
    assert timedelta(hours=23) < in_a_day <= timedelta(hours=24, minutes=1)
    assert timedelta(minutes=55) < in_an_hour <= timedelta(minutes=61)
    assert db.value("select count(*) from public.user_rate_limits") == 0  # asking writes nothing


def test_a_user_sees_how_much_is_used_and_runs(db: Database) -> None:
    user = db.new_user()
    own_limits(db, user, daily_generations_limit=50, hourly_generations_limit=20, max_concurrent_generations=2)
    db.submit(user, 5)
    db.submit(db.new_user(), 5)
    db.claim(2)
    for age in ("1 minute", "2 hours"):
        db.run(
            "insert into public.image_generations (user_id, prompt, status, created_at)"
            " values (%s, 'single', 'processing', now() - %s::interval)",
            user,
            age,
        )

    answer = told(db, user)

    assert (answer["daily_used"], answer["daily_limit"], answer["hourly_used"], answer["hourly_limit"]) == (
        5,
        50,
        5,
        20,
    )
    running = db.value("select count(*) from batchgen.queue where user_id = %s and state = 'running'", user)
    assert answer["active_generations"] == running + 1
    assert (answer["max_concurrent"], answer["total_all_time"]) == (2, 5)


@pytest.mark.parametrize(
    ("limit", "sentence"),
    [
        ({"default_daily_limit": 4}, "Your daily limit is reached: 4 of 4 items are used. It resets at "),
        ({"default_hourly_limit": 4}, "Your hourly limit is reached: 4 of 4 items are used. It resets at "),
        ({"max_waiting_per_user": 4}, "Your limit of waiting items is reached: 4 of 4 wait."),
    ],
)
def test_can_generate_agrees_with_the_answer_to_the_next_request(
    db: Database, limit: dict[str, int], sentence: str
) -> None:
    defaults(db, **limit, min_batch_size=1)
    user = db.new_user()
    db.submit(user, 3)
    assert told(db, user)["can_generate"] is True
    db.submit(user, 1)

    answer = told(db, user)
    with refused("PT429") as refusal:
        db.submit(user, 1)

    assert answer["can_generate"] is False
    assert answer["limit_reason"] == refusal.message
    assert refusal.message.startswith(sentence)


def test_a_window_that_is_over_is_told_as_unused(db: Database) -> None:
    user = db.new_user()
    own_limits(db, user, daily_generations_limit=2, hourly_generations_limit=2)
    db.submit(user)
    assert told(db, user)["can_generate"] is False

    past = datetime.now(UTC) - timedelta(minutes=1)
    own_limits(db, user, daily_reset_at=past, hourly_reset_at=past)

    answer = told(db, user)
    assert (answer["daily_used"], answer["hourly_used"], answer["can_generate"]) == (0, 0, True)
    assert answer["total_all_time"] == 2


def test_limits_are_told_to_oneself_alone(db: Database) -> None:
    user, other = db.new_user(), db.new_user()
    ask = "select public.get_user_limits(%s::uuid)"

    refusals: list[Row] = []
    for somebody in (other, uuid4(), None):
        with refused("PT404") as refusal:
            db.as_user(user, ask, somebody)
        refusals.append(refusal.detail)

    assert refusals[0] == refusals[1] == refusals[2]  # whether there is such a user is not told, either
    with refused("PT401"):
        db.as_user(None, ask, user)
    with refused("42501"), db.acting("anon") as connection:
        connection.execute(ask.encode(), [user])


def test_an_operator_asks_about_anybody(db: Database) -> None:
    user = db.new_user()
    db.submit(user)

    [row] = db.as_service("select public.get_user_limits(%s) as answer", user)

    assert row["answer"]["daily_used"] == 2
    with refused("PT404"):
        db.as_service("select public.get_user_limits(%s)", uuid4())


# the table, and a project that has it already

WRITES = [
    "update public.user_rate_limits set daily_generations_limit = 1000000",
    "update public.user_rate_limits set daily_generations_count = 0, hourly_generations_count = 0",
    "delete from public.user_rate_limits",
    "insert into public.user_rate_limits (user_id) values ('{user}')",
    "insert into public.user_rate_limits (user_id) values ('{user}')"
    " on conflict (user_id) do update set max_batch_size = 9",
    "truncate public.user_rate_limits",
]


@pytest.mark.parametrize("write", WRITES)
def test_a_user_writes_no_limits_on_a_new_project(db: Database, write: str) -> None:
    user = db.new_user()
    db.submit(user)

    with refused("42501"):
        db.as_user(user, write.format(user=user))


@pytest.mark.parametrize("write", WRITES)
async def test_a_user_writes_no_limits_where_the_apps_policies_allow_it(bare: NewDatabase, write: str) -> None:
    db = await with_limits(bare)
    before = db.run("table public.user_rate_limits")

    with refused("PT403") as refusal:
        db.as_user(OLD_USER, write.format(user=OLD_USER))

    assert refusal.detail["code"] == "not_allowed"
    assert db.run("table public.user_rate_limits") == before


async def test_limits_of_an_existing_project_hold_and_its_row_stays_until_it_is_used(bare: NewDatabase) -> None:
    db = await bare("app_schema.sql", "app_limits.sql")
    before = db.run("select xmin::text, t.* from public.user_rate_limits t")
    templates = db.run("select xmin::text, t.* from public.prompt_templates t")
    policies = db.run("select * from pg_policies where tablename in ('user_rate_limits', 'prompt_templates')")

    await apply_migrations(db.dsn, default_migrations_dir())

    assert db.run("select xmin::text, t.* from public.user_rate_limits t") == before
    assert db.run("select xmin::text, t.* from public.prompt_templates t") == templates
    assert db.run("select * from pg_policies where tablename in ('user_rate_limits', 'prompt_templates')") == policies
    assert set(told(db, OLD_USER)) == KEYS
    assert (told(db, OLD_USER)["daily_used"], told(db, OLD_USER)["max_concurrent"]) == (7, 2)
    db.submit(OLD_USER, 4)
    assert used(db, OLD_USER) == (11, 4, 74)
    with refused("PT422"):
        db.submit(OLD_USER, 5)
    new = db.new_user()
    for _ in range(5):
        db.submit(new, 4)
    with refused("PT429") as refusal:  # the table's own default
        db.submit(new)
    assert (refusal.detail["code"], refusal.detail["limit"]) == ("hourly_limit", 20)


async def test_admins_and_the_service_role_set_limits_on_every_project(db: Database, bare: NewDatabase) -> None:
    for database in (db, await with_limits(bare)):
        user = database.new_user()
        database.run("insert into public.user_rate_limits (user_id, hourly_generations_limit) values (%s, 2)", user)
        database.submit(user)
        with refused("PT429"):
            database.submit(user)

        database.as_service("update public.user_rate_limits set hourly_generations_limit = 4 where user_id = %s", user)

        assert database.submit(user)


async def with_limits(bare: NewDatabase) -> Database:
    db = await bare("app_schema.sql", "app_limits.sql")
    await apply_migrations(db.dsn, default_migrations_dir())
    return db


def test_a_user_sees_the_own_limits_alone(db: Database) -> None:
    user, other = db.new_user(), db.new_user()
    db.submit(user)
    db.submit(other)

    assert [row["user_id"] for row in db.as_user(user, "table public.user_rate_limits")] == [user]
    assert db.as_user(None, "table public.user_rate_limits") == []
    for table in ("user_rate_limits", "prompt_templates"):
        with refused("42501"), db.acting("anon") as connection:
            connection.execute(f"table public.{table}".encode())


# prompt templates


def test_templates_are_the_owners_to_write_and_the_public_ones_everybodys_to_read(db: Database) -> None:
    user, other = db.new_user(), db.new_user()
    add = "insert into public.prompt_templates (user_id, name, prompt, is_public) values (%s, %s, 'a fox', %s)"
    db.as_user(user, add, user, "mine", False)
    db.as_user(user, add, user, "shared", False)
    db.run("update public.prompt_templates set is_public = true where name = 'shared'")
    db.run("insert into public.prompt_templates (name, prompt, is_public) values ('ours', 'a fox', true)")

    def names(reader: UUID) -> set[str]:
        return {row["name"] for row in db.as_user(reader, "select name from public.prompt_templates")}

    assert names(user) == {"mine", "shared", "ours"}
    assert names(other) == {"shared", "ours"}
    db.as_user(other, "update public.prompt_templates set prompt = 'mine now'")
    db.as_user(other, "delete from public.prompt_templates")
    assert db.value("select count(*) from public.prompt_templates where prompt = 'a fox'") == 3
    for owner in (user, None):
        with refused("PT403"):
            db.as_user(other, add, owner, "in your name", False)
    with refused("PT403"):
        db.as_user(user, add, user, "for all", True)
    with refused("PT403"):
        db.as_user(user, "update public.prompt_templates set user_id = %s where name = 'mine'", other)
    db.as_user(user, "update public.prompt_templates set prompt = 'an owl'")
    db.as_user(user, "delete from public.prompt_templates")
    assert {row["name"] for row in db.run("table public.prompt_templates")} == {"ours"}
