"""Concurrent claims, completions, submissions, and an admin's edits and deletions of running items."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID

import psycopg
import pytest
from database_harness import Database, Row, connect, query

SECONDS = 3.0
LONGEST_SECONDS = 60.0
PER_USER = 3
IN_ALL = 12

# Recorded inside the claim's own transaction, at its end: what ran then by all that it could know.
RECORD_PEAKS = """
create table public.peaks (in_all bigint, of_one_user bigint);
create function public.record_peak() returns trigger language plpgsql security definer set search_path = '' as $$
begin
  insert into public.peaks
  select coalesce(sum(n), 0), coalesce(max(n), 0)
  from (select count(*) as n from batchgen.queue where state = 'running' group by user_id) running;
  return null;
end $$;
create trigger record_peak after update on batchgen.queue for each statement execute function public.record_peak();
"""


@dataclass
class LoadTest:
    dsn: str
    users: list[UUID]
    end: float = 0.0
    latest_end: float = 0.0
    at_least: Mapping[str, int] = field(default_factory=dict[str, int])
    errors: list[BaseException] = field(default_factory=list[BaseException])
    held: dict[UUID, UUID] = field(default_factory=dict[UUID, UUID])
    taken_twice: list[UUID] = field(default_factory=list[UUID])
    counts: Counter[str] = field(default_factory=Counter[str])
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, *parts: Callable[["LoadTest", Database, random.Random], None], at_least: Mapping[str, int]) -> None:
        """Run all parts at once for some seconds, and on a busy machine for as long as these counts take."""
        self.at_least = at_least
        self.end, self.latest_end = time.monotonic() + SECONDS, time.monotonic() + LONGEST_SECONDS
        threads = [threading.Thread(target=self._part, args=(n, part)) for n, part in enumerate(parts)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert self.errors == []
        assert self._missing() == {}

    def _part(self, number: int, part: Callable[["LoadTest", Database, random.Random], None]) -> None:
        try:
            with connect(self.dsn) as connection:
                database, chance = Database(self.dsn, connection), random.Random(number)
                while self._goes_on():
                    part(self, database, chance)
        except BaseException as error:  # noqa: BLE001 - handed to the test
            self.errors.append(error)

    def _goes_on(self) -> bool:
        now = time.monotonic()
        return not self.errors and (now < self.end or (now < self.latest_end and bool(self._missing())))

    def _missing(self) -> dict[str, int]:
        return {name: self.counts[name] for name, count in self.at_least.items() if self.counts[name] < count}

    def take(self, claim: Row) -> None:
        with self.lock:
            if claim["generation_id"] in self.held:
                self.taken_twice.append(claim["generation_id"])
            self.held[claim["generation_id"]] = claim["lease_id"]
            self.counts["claimed"] += 1

    def give(self, claim: Row) -> None:
        with self.lock:
            if self.held.get(claim["generation_id"]) == claim["lease_id"]:
                del self.held[claim["generation_id"]]

    @contextmanager
    def perhaps_lost(self) -> Generator[None]:
        """An admin may have ended the item: that is a lost lease, and nothing else."""
        try:
            yield
        except psycopg.Error as error:
            if error.sqlstate != "PT409":
                raise
            self.counts["lost"] += 1


def work(load: LoadTest, db: Database, chance: random.Random) -> None:
    name = f"worker-{threading.get_ident()}"
    claims = db.claim(chance.randint(1, 4), name)
    for claim in claims:
        load.take(claim)
    if claims:
        with load.perhaps_lost():
            db.renew(*claims, worker=name)
    for claim in claims:
        with load.perhaps_lost():
            if chance.random() < 0.3:
                db.attach(claim, f"job-{claim['attempt']}")
        load.give(claim)
        with load.perhaps_lost():
            end = chance.random()
            if end < 0.7:
                db.complete(claim)
            elif end < 0.8:
                db.fail(claim, retryable=False)
            elif end < 0.9:
                # Another provider's pause: the load test goes on.
                db.fail(claim, retryable=True, retry_after_seconds=0, provider="another")
            else:
                db.release(claim, worker=name)


def enqueue(load: LoadTest, db: Database, chance: random.Random) -> None:
    db.submit(chance.choice(load.users), prompts=chance.randint(2, 10))
    load.counts["batches"] += 1
    time.sleep(0.02)


def edit_as_admin(load: LoadTest, db: Database, chance: random.Random) -> None:
    """An admin's edits in the dashboard while everything runs."""
    match chance.randrange(5):
        case 0:
            db.run(
                "delete from public.batch_generations where id ="
                " (select batch_id from public.image_generations where status = 'processing' limit 1)"
            )
        case 1:
            db.run(
                "update public.image_generations set status = 'failed' where id ="
                " (select id from public.image_generations where status = 'processing' limit 1)"
            )
        case 2:
            db.run(
                "update public.image_generations set status = 'pending' where batch_id ="
                " (select batch_id from public.image_generations where status = 'failed' limit 1) and status = 'failed'"
            )
        case 3:
            db.run(
                "update public.image_generations set priority = %s where batch_id ="
                " (select batch_id from public.image_generations where status = 'processing' limit 1)",
                chance.randint(0, 2),
            )
        case _:
            db.run(
                "delete from public.image_generations where id ="
                " (select id from public.image_generations where status = 'processing' limit 1)"
            )
    load.counts["edits"] += 1
    time.sleep(0.005)


def drain(db: Database) -> None:
    for _ in range(2000):
        db.make_due()
        claims = db.claim(100)
        if not claims and db.value("select count(*) from batchgen.queue") == 0:
            return
        for claim in claims:
            db.complete(claim)
    raise AssertionError("the queue does not drain")


def wrong_totals(db: Database) -> list[Row]:
    return db.run(
        "select b.*, i.* from public.batch_generations b cross join lateral ("
        " select count(*) filter (where status = 'completed') as completed,"
        " count(*) filter (where status = 'failed') as failed, count(*) as items"
        " from public.image_generations g where g.batch_id = b.id) i"
        " where (b.completed_count, b.failed_count) is distinct from (i.completed::integer, i.failed::integer)"
        " or b.status <> case when i.completed = 0 then 'failed' when i.failed = 0 then 'completed' else 'partial' end"
        " or b.completed_at is null or i.completed + i.failed < i.items"
    )


def prepare(db: Database, users: int) -> LoadTest:
    db.run(RECORD_PEAKS)
    db.run(
        "update batchgen.settings"
        " set max_parallel_per_user = %s, max_parallel_global = %s, retry_delays_seconds = '{0}',"
        " max_waiting_per_user = 1000000, default_daily_limit = 1000000, default_hourly_limit = 1000000",
        PER_USER,
        IN_ALL,
    )
    load = LoadTest(db.dsn, [db.new_user() for _ in range(users)])
    for user in load.users:
        db.submit(user, prompts=10)
    return load


def test_eight_claimers_never_exceed_a_limit_and_never_take_an_item_twice(db: Database) -> None:
    load = prepare(db, users=5)

    load.run(*[work] * 8, enqueue, enqueue, at_least={"claimed": 100})

    peaks = db.one("select max(in_all) as in_all, max(of_one_user) as of_one_user from public.peaks")
    assert peaks == {"in_all": IN_ALL, "of_one_user": PER_USER}
    assert load.taken_twice == []
    assert load.counts["lost"] == 0
    drain(db)
    assert wrong_totals(db) == []
    assert db.value("select count(*) from made.image_generations where status not in ('completed', 'failed')") == 0
    assert db.value("select count(*) from made.images") == db.value(
        "select count(*) from made.image_generations where status = 'completed'"
    )


def test_an_admins_edits_of_running_items_cause_no_deadlock_and_no_wrong_total(db: Database) -> None:
    load = prepare(db, users=4)

    load.run(*[work] * 6, enqueue, edit_as_admin, at_least={"edits": 20})

    peaks = db.one("select max(in_all) as in_all, max(of_one_user) as of_one_user from public.peaks")
    assert peaks["in_all"] <= IN_ALL
    assert peaks["of_one_user"] <= PER_USER
    drain(db)
    assert wrong_totals(db) == []
    assert db.value("select count(*) from made.image_generations where status in ('pending', 'processing')") == 0


def test_two_items_that_end_at_once_are_both_counted(db: Database) -> None:
    batch = db.submit(prompts=3)
    first, second, third = db.claim()
    with connect(db.dsn) as other_connection:
        other = Database(db.dsn, other_connection)
        with other_connection.transaction():
            other.complete(first)
            waiting = threading.Thread(target=_complete, args=(db.dsn, second))
            waiting.start()
            _until_waiting(db)
        waiting.join()

    assert db.totals(batch["id"]) == ("processing", 2, 0)
    db.complete(third)
    assert db.totals(batch["id"]) == ("completed", 3, 0)


def test_a_completion_waits_for_a_batch_that_is_being_deleted_without_a_deadlock(db: Database) -> None:
    batch = db.submit()
    claim, _ = db.claim()
    lost: list[str | None] = []
    with connect(db.dsn) as other, other.transaction():
        other.execute("select 1 from public.batch_generations where id = %s for update", [batch["id"]])
        completing = threading.Thread(target=_complete, args=(db.dsn, claim, lost))
        completing.start()
        _until_waiting(db)
        # With the completion waiting for the batch, the deletion must still get all of its items.
        other.execute("delete from public.batch_generations where id = %s", [batch["id"]])
    completing.join()

    # The picture was finished and paid for: it is kept.
    assert lost == []
    assert db.item(claim["generation_id"])["status"] == "completed"
    assert db.value("select count(*) from batchgen.queue where generation_id = %s", claim["generation_id"]) == 0


def test_an_edit_by_hand_of_a_running_item_does_not_deadlock_with_its_completion(db: Database) -> None:
    batch = db.submit()
    claim, _ = db.claim()
    lost: list[str | None] = []
    with connect(db.dsn) as other, other.transaction():
        other.execute("select 1 from public.image_generations where id = %s for update", [claim["generation_id"]])
        completing = threading.Thread(target=_complete, args=(db.dsn, claim, lost))
        completing.start()
        _until_waiting(db)
        other.execute("update public.image_generations set status = 'failed' where id = %s", [claim["generation_id"]])
    completing.join()

    assert lost == ["PT409"]
    assert db.totals(batch["id"]) == ("processing", 0, 1)


@pytest.mark.parametrize("table", ["image_generations", "batch_generations"])
def test_a_claim_does_not_wait_for_rows_that_an_admin_holds(db: Database, table: str) -> None:
    held, free = db.submit(), db.submit()
    rows = {
        "image_generations": "select 1 from public.image_generations where batch_id = %s for update",
        "batch_generations": "select 1 from public.batch_generations where id = %s for update",
    }
    db.run("set lock_timeout = '1s'")
    with connect(db.dsn) as other, other.transaction():
        other.execute(rows[table].encode(), [held["id"]])
        claims = db.claim()

    assert {str(claim["batch_id"]) for claim in claims} == {free["id"]}
    assert {str(claim["batch_id"]) for claim in db.claim()} == {held["id"]}


def test_a_renewal_does_not_wait_and_does_not_call_a_held_row_lost(db: Database) -> None:
    db.submit()
    claims = db.claim()
    db.run("set lock_timeout = '1s'")
    with connect(db.dsn) as other, other.transaction():
        other.execute("select 1 from batchgen.queue where lease_id = %s for update", [claims[0]["lease_id"]])
        renewals = {row["lease_id"]: row for row in db.renew(*claims, lease_seconds=600)}

    assert renewals[claims[0]["lease_id"]]["lease_expires_at"] == claims[0]["lease_expires_at"]
    assert renewals[claims[1]["lease_id"]]["lease_expires_at"] > claims[1]["lease_expires_at"]


def test_a_rank_that_could_not_be_written_is_written_by_a_later_claim(db: Database) -> None:
    db.submit(prompts=3)
    with connect(db.dsn) as other, other.transaction():
        other.execute("select 1 from batchgen.queue for update")
        assert db.claim() == []

    assert len(db.claim()) == 3


def test_a_claim_outside_read_committed_is_refused(db: Database) -> None:
    with db.admin.transaction():
        db.run("set transaction isolation level repeatable read")
        with pytest.raises(psycopg.Error) as caught, db.admin.transaction():
            db.run("select * from public.claim_generations('w', 1, 60)")

    assert caught.value.sqlstate == "PT422"


def _complete(dsn: str, claim: Row, lost: list[str | None] | None = None) -> None:
    with connect(dsn) as connection:
        try:
            Database(dsn, connection).complete(claim)
        except psycopg.Error as error:
            if lost is None:
                raise
            lost.append(error.sqlstate)


def _until_waiting(db: Database) -> None:
    """Until a connection to this database waits for another one's lock, or sleeps before it tries again."""
    deadline = time.monotonic() + 30
    sql = (
        "select count(*) from pg_stat_activity where datname = current_database()"
        " and (wait_event_type = 'Lock' or wait_event = 'PgSleep')"
    )
    while not db.value(sql):
        assert time.monotonic() < deadline, "nobody waits"
        time.sleep(0.01)


@pytest.mark.parametrize("held", ["image_generations", "batch_generations"])
def test_a_held_row_delays_nobody_else(db: Database, held: str) -> None:
    """Also where the held rows come first and the claim ranks only a few rows of each user."""
    db.run("update batchgen.settings set max_parallel_per_user = 5")
    busy, held_up = db.new_user(), db.new_user()
    db.submit(busy, prompts=5)
    assert len(db.claim(2)) == 2
    batch = db.submit(held_up, prompts=5)
    key = "id" if held == "batch_generations" else "batch_id"

    with connect(db.dsn) as other, other.transaction():
        query(other, f"select from public.{held} where {key} = %s for update", batch["id"])
        claims = db.claim(10)

    assert [claim["user_id"] for claim in claims] == [busy] * 3
    assert len(db.claim(10)) == 5
