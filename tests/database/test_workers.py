"""The list of workers, kept from the calls that they make anyway."""

import pytest
from database_harness import OTHER_WORKER, WORKER, Database, Row


def workers(db: Database) -> list[Row]:
    return db.as_service("select * from public.get_workers()")


def test_a_worker_is_known_from_its_first_claim_on_even_where_nothing_waits(db: Database) -> None:
    assert workers(db) == []

    db.claim()

    [worker] = workers(db)
    assert (worker["worker"], worker["is_live"], worker["running"]) == (WORKER, True, 0)
    assert worker["seconds_ago"] < 30


def test_a_worker_that_renews_is_seen(db: Database) -> None:
    db.submit()
    claims = db.claim()
    db.run("update batchgen.workers set last_seen = now() - interval '10 minutes'")
    assert [worker["is_live"] for worker in workers(db)] == [False]

    db.renew(*claims)

    assert [(worker["is_live"], worker["running"]) for worker in workers(db)] == [(True, 2)]


def test_calls_within_three_seconds_write_nothing(db: Database) -> None:
    db.claim()
    before = db.value("select ctid::text || last_seen from batchgen.workers")

    db.claim()

    assert db.value("select ctid::text || last_seen from batchgen.workers") == before


def test_a_claim_in_one_value_notes_its_worker_once_unless_it_tells_something_new(db: Database) -> None:
    def notes() -> int:
        sql = "select coalesce(sum(calls), 0)::integer from pg_stat_xact_user_functions where funcname = 'note_worker'"
        return db.value(sql)

    def notes_of_a_claim(about: str | None) -> int:
        with db.admin.transaction():
            db.run("set local track_functions = 'all'")
            before = notes()
            db.run("select public.claim_generations_as_json(%s, 5, 60, %s::jsonb)", WORKER, about)
            return notes() - before

    about = '{"version": "1.0", "providers": ["fal"]}'

    changed = '{"version": "1.1", "providers": ["fal"]}'
    assert [notes_of_a_claim(told) for told in (None, about, about, changed)] == [1, 2, 1, 2]
    assert [worker["version"] for worker in workers(db)] == ["1.1"]


def test_a_clock_that_was_set_back_does_not_keep_a_worker_alive(db: Database) -> None:
    db.claim()
    db.run("update batchgen.workers set last_seen = now() + interval '1 hour'")

    db.claim()

    assert db.value("select last_seen <= clock_timestamp() from batchgen.workers")


def test_an_idle_workers_polls_leave_one_row_version_behind(db: Database) -> None:
    """The updates are HOT: no index entry, and each clears up after the ones before."""
    db.claim()
    for _ in range(200):
        db.run("update batchgen.workers set last_seen = now() - interval '5 seconds'")
        db.claim()
    db.run("select pg_stat_force_next_flush()")

    stats = db.one(
        "select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relid = 'batchgen.workers'::regclass"
    )
    assert stats["n_tup_upd"] >= 400
    assert stats["n_tup_hot_upd"] >= 0.9 * stats["n_tup_upd"], stats
    assert db.value("select pg_relation_size('batchgen.workers')") <= 4 * 8192


def test_workers_that_were_not_seen_for_a_day_are_forgotten_when_a_new_one_comes(db: Database) -> None:
    db.claim()
    db.run("update batchgen.workers set last_seen = now() - interval '25 hours'")
    assert workers(db) == []

    db.claim(worker=OTHER_WORKER)

    assert db.run("select worker from batchgen.workers") == [{"worker": OTHER_WORKER}]


@pytest.mark.parametrize("due_seconds_ago", [0, 40])
def test_an_item_that_has_been_due_for_a_while_waits_for_a_worker_where_none_runs(
    db: Database, due_seconds_ago: int
) -> None:
    user = db.new_user()
    batch = db.submit(user)
    db.run("update batchgen.queue set due_at = now() - make_interval(secs => %s)", due_seconds_ago)

    rows = db.as_user(user, "select * from public.batch_waits(%s)", batch["id"])

    assert {row["reason"] for row in rows} == {"no_worker" if due_seconds_ago else "queue"}
    assert {row["until"] for row in rows} == {None}


def test_no_item_waits_for_a_worker_while_one_calls(db: Database) -> None:
    user = db.new_user()
    batch = db.submit(user, 5)
    db.run("update batchgen.queue set due_at = now() - interval '40 seconds'")
    db.claim()

    rows = db.as_user(user, "select * from public.batch_waits(%s)", batch["id"])
    assert [row["reason"] for row in rows] == ["own_cap", "own_cap"]

    db.run("update batchgen.workers set last_seen = now() - interval '31 seconds'")
    rows = db.as_user(user, "select * from public.batch_waits(%s)", batch["id"])
    assert [row["reason"] for row in rows] == ["no_worker", "no_worker"]


def test_the_health_of_the_queue_tells_an_idle_worker_from_none(db: Database) -> None:
    assert db.one("table batchgen.queue_health")["live_workers"] == 0

    db.claim()

    row = db.one("table batchgen.queue_health")
    assert (row["live_workers"], row["workers"], row["remark"]) == (1, 0, None)
