"""Concurrent batch actions and direct writes: two calls end as if one came after the other."""

import threading
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg
import pytest
from app_writes import (
    AFTER_CANCEL,
    ALLOW_EVERYTHING,
    CANCEL,
    DELETE,
    RETRY,
    codes,
    failed_batch,
    requested,
    statuses,
)
from database_harness import Database, Row, connect, refused
from test_batch_actions import act, done, refusals
from test_races import wrong_totals

Call = Callable[[Database], Any]


class BackgroundCall:
    """A call on a connection of its own, in a thread."""

    def __init__(self, db: Database, call: Call) -> None:
        self._dsn, self._call = db.dsn, call
        self._answer: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        try:
            with connect(self._dsn) as connection:
                self._answer = self._call(Database(self._dsn, connection))
        except BaseException as error:  # noqa: BLE001 - handed to the test
            self._error = error

    def answer(self) -> Any:
        self._thread.join(timeout=20)
        assert not self._thread.is_alive(), "the call hangs"
        if self._error:
            raise self._error
        return self._answer


def until_somebody_waits(db: Database) -> None:
    """Until a connection to this database waits for a lock, or looks again and again for one."""
    sql = (
        "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
        " and (wait_event_type = 'Lock' or wait_event = 'PgSleep')"
    )
    deadline = time.monotonic() + 10
    while not db.value(sql):
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.005)


def at_once(db: Database, *calls: Call) -> list[Any]:
    """All calls begin at the same time."""
    barrier = threading.Barrier(len(calls))

    def begin(call: Call) -> Call:
        def wait_and_call(other: Database) -> Any:
            barrier.wait(timeout=10)
            return call(other)

        return wait_and_call

    return [other.answer() for other in [BackgroundCall(db, begin(call)) for call in calls]]


def acting(user: UUID, action: str, batch: Row) -> Call:
    return lambda db: act(db, user, action, batch)


def sending(user: UUID, sql: str, batch: Row) -> Call:
    return lambda db: db.as_user(user, sql, batch["id"])


def completing(claim: Row) -> Call:
    return lambda db: db.complete(claim)


def test_the_second_of_two_cancels_waits_and_finds_all_cancelled(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user, prompts=3)
    with connect(db.dsn) as connection:
        first = Database(db.dsn, connection)
        with connection.transaction():
            answer = act(first, user, "cancel", batch)
            second = BackgroundCall(db, acting(user, "cancel", batch))
            until_somebody_waits(db)
        late = second.answer()

    assert done(answer) == dict.fromkeys(range(3), "cancelled")
    assert done(late) == dict.fromkeys(range(3), "already_cancelled")


def test_two_cancels_at_once_end_each_item_once(db: Database) -> None:
    for _ in range(10):
        user = db.new_user()
        batch = db.submit(user, prompts=5)

        answers = at_once(db, *[acting(user, "cancel", batch)] * 4)

        ended = [index for answer in answers for index, action in done(answer).items() if action == "cancelled"]
        assert sorted(ended) == list(range(5))
        assert db.totals(batch["id"]) == ("failed", 0, 5)


@pytest.mark.parametrize("how", ["function", "direct", "batch update"])
def test_a_cancel_beside_a_claim_stops_the_claimed_items(db: Database, how: str) -> None:
    """The claim is not committed yet when the cancel begins."""
    user = db.new_user()
    batch = db.submit(user, prompts=5)
    cancels = {
        "function": acting(user, "cancel", batch),
        "direct": sending(user, CANCEL, batch),
        "batch update": sending(user, AFTER_CANCEL, batch),
    }
    with connect(db.dsn) as connection, connection.transaction():
        claims = Database(db.dsn, connection).claim(2)
        cancel = BackgroundCall(db, cancels[how])
        until_somebody_waits(db)
    cancel.answer()

    assert len(claims) == 2
    assert statuses(db, batch) == ["processing", "processing", "failed", "failed", "failed"]
    assert requested(db) == [0, 1]
    assert db.claim() == []


@pytest.mark.parametrize("how", ["function", "direct", "batch update"])
def test_a_claim_beside_a_cancel_takes_none_of_its_items(db: Database, how: str) -> None:
    user = db.new_user()
    batch = db.submit(user, prompts=3)
    with connect(db.dsn) as connection, connection.transaction():
        other = Database(db.dsn, connection)
        if how == "function":
            act(other, user, "cancel", batch)
        else:
            other.as_user(user, CANCEL if how == "direct" else AFTER_CANCEL, batch["id"])
        db.run("set lock_timeout = '2s'")
        assert db.claim() == []

    assert statuses(db, batch) == ["failed"] * 3
    assert db.claim() == []


@pytest.mark.parametrize("how", ["function", "direct"])
def test_two_retries_at_once_queue_each_item_once_and_ask_the_limits_once(db: Database, how: str) -> None:
    asked = """
    create table public.asked (items integer);
    create or replace function batchgen.take_from_limits(p_user_id uuid, p_items integer) returns void
    language sql security definer set search_path = '' as $$ insert into public.asked values (p_items) $$;
    """
    db.run(asked)
    for _ in range(5):
        user = db.new_user()
        batch = failed_batch(db, user, "timeout", "timeout", "timeout")
        db.run("delete from public.asked")  # what its items asked for when they were new
        retry = acting(user, "retry", batch) if how == "function" else sending(user, RETRY, batch)

        at_once(db, *[retry] * 4)

        assert statuses(db, batch) == ["completed", "pending", "pending", "pending"]
        assert db.run("delete from public.asked returning items") == [{"items": 3}]
        for claim in db.claim():
            db.complete(claim)


def test_a_retry_and_a_cancel_at_once_leave_no_item_between(db: Database) -> None:
    for _ in range(10):
        user = db.new_user()
        batch = failed_batch(db, user, "timeout", "timeout")

        at_once(db, acting(user, "retry", batch), acting(user, "cancel", batch))

        ended = statuses(db, batch)[1:]
        assert ended in (["pending"] * 2, ["failed"] * 2)
        # Cancelled after the retry, or before it: what had failed then was not the cancel's.
        assert set(codes(db).values()) == ({"cancelled"} if ended[0] == "failed" else set())
        db.run("delete from public.batch_generations where id = %s", batch["id"])
        db.run("delete from public.image_generations")


def test_deleting_pictures_waits_for_a_completion_and_takes_its_picture(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user, prompts=2)
    for claim in db.claim()[:1]:
        db.complete(claim)
    running = db.one("select generation_id, lease_id from batchgen.queue") | {"user_id": user}
    with connect(db.dsn) as connection, connection.transaction():
        Database(db.dsn, connection).complete(running)
        deletion = BackgroundCall(db, acting(user, "delete", batch))
        until_somebody_waits(db)
    answer = deletion.answer()

    assert done(answer) == {0: "deleted", 1: "deleted"}
    assert db.value("select count(*) from public.images") == 0
    assert db.value("select count(*) from batchgen.storage_deletions") == 2


def test_a_completion_waits_for_the_deletion_of_pictures_and_keeps_its_own(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user, prompts=2)
    first, running = db.claim()
    db.complete(first)
    with connect(db.dsn) as connection, connection.transaction():
        answer = act(Database(db.dsn, connection), user, "delete", batch)
        completion = BackgroundCall(db, completing(running))
        until_somebody_waits(db)
    completion.answer()

    assert (done(answer), refusals(answer)) == ({0: "deleted"}, {1: "still_running"})
    assert db.value("select generation_id from public.images") == running["generation_id"]
    taken = db.as_service("select path from public.take_storage_deletions('w', 10, 60)")
    assert [row["path"] for row in taken] == [f"{user}/{first['generation_id']}.png"]


def test_a_deleted_batch_and_a_completion_at_once_end_the_item_once(db: Database) -> None:
    for _ in range(10):
        user = db.new_user()
        batch = db.submit(user)
        first, second = db.claim()

        at_once(db, completing(first), sending(user, DELETE, batch))

        assert db.item(first["generation_id"])["status"] == "completed"
        assert db.queued(first["generation_id"]) is None
        assert [renewal["cancel_requested"] for renewal in db.renew(second)] == [True]
        db.fail(second, code="cancelled")


def test_everything_at_once_leaves_right_totals_and_nothing_stuck(db: Database) -> None:
    """Users cancel, retry and delete by both ways while workers claim and finish. A deadlock that Postgres breaks, and
    an item that somebody holds too long, are refused whole and may be sent again; nothing else may fail.
    """
    db.run(ALLOW_EVERYTHING)
    user = db.new_user()
    db.run("update batchgen.settings set max_parallel_per_user = 10, retry_delays_seconds = '{0}'")
    batches = [db.submit(user, prompts=6) for _ in range(4)]
    end = time.monotonic() + 4
    latest_end = end + 30  # a busy machine claims less in four seconds
    again = {"40P01", "PT409"}
    counts: Counter[str] = Counter()

    def repeat(*steps: Call) -> Call:
        def run(other: Database) -> None:
            while time.monotonic() < end or (counts["claims"] <= 10 and time.monotonic() < latest_end):
                for step in steps:
                    try:
                        step(other)
                        counts["steps"] += 1
                    except psycopg.Error as error:
                        if error.sqlstate not in again:
                            raise
                        counts["refused"] += 1

        return run

    def work(other: Database) -> None:
        for n, claim in enumerate(other.claim(3, f"w{threading.get_ident()}")):
            counts["claims"] += 1
            if n == 0:
                other.fail(claim, retryable=True)
            elif n == 1:
                other.fail(claim)
            else:
                other.complete(claim)

    def each(sql: str) -> list[Call]:
        return [sending(user, sql, batch) for batch in batches]

    def actions(action: str) -> list[Call]:
        return [acting(user, action, batch) for batch in batches]

    def revive(other: Database) -> None:
        """So that there is something to cancel for the whole time."""
        for batch in batches:
            sql = "update public.image_generations set status = 'pending' where batch_id = %s and status = 'failed'"
            other.as_service(sql, batch["id"])

    at_once(
        db,
        repeat(work),
        repeat(work),
        repeat(*each(CANCEL), *each(AFTER_CANCEL)),
        repeat(*each(AFTER_CANCEL), *each(CANCEL)),
        repeat(*actions("cancel")),
        repeat(*each(RETRY), *actions("retry")),
        repeat(*actions("delete"), revive),
    )

    assert counts["claims"] > 10
    assert counts["steps"] > 10 * counts["refused"]
    for batch in batches:
        act(db, user, "cancel", batch)
    db.run("update batchgen.queue set lease_expires_at = now() - interval '1 second' where lease_id is not null")
    db.return_expired()
    assert db.run("select * from batchgen.queue") == []
    assert wrong_totals(db) == []


def test_a_cancel_beside_an_edit_that_does_not_end_is_refused_whole(db: Database) -> None:
    """The edit may wait for the batch that the cancel holds: the cancel gives up and can be sent again."""
    user = db.new_user()
    batch = db.submit(user, prompts=3)
    item = batch["generations"][1]["id"]
    with connect(db.dsn) as connection, connection.transaction():
        connection.execute("select 1 from public.image_generations where id = %s for update", [item])
        with refused("PT409") as refusal:
            db.as_user(user, AFTER_CANCEL, batch["id"])

    assert refusal.detail["code"] == "busy"
    assert statuses(db, batch) == ["pending"] * 3
    assert requested(db) == []
    db.as_user(user, AFTER_CANCEL, batch["id"])
    assert statuses(db, batch) == ["failed"] * 3
