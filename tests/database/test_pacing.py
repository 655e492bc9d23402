"""Providers that ask to wait, and breakers of failing models: some items wait, others go on, nothing is lost."""

import threading
from collections.abc import Callable
from uuid import UUID

import pytest
from database_harness import OTHER_WORKER, Database, Row, connect
from paid_orders import submit_order

NO_MODEL = UUID(int=0)


def a_model(db: Database, name: str = "flux", provider: str | None = "fal") -> UUID:
    """Another model, run by another provider than the default one."""
    model_id: UUID = db.value(
        "insert into public.models (name, display_name, replicate_id, is_active)"
        " values (%s, %s, %s, true) returning id",
        name,
        name.title(),
        f"acme/{name}",
    )
    if provider:
        db.run("insert into batchgen.model_providers (model_id, provider) values (%s, %s)", model_id, provider)
    return model_id


def submit(db: Database, model_id: UUID | None = None, prompts: int = 2, user: UUID | None = None) -> Row:
    return db.submit(user, prompts, shared_settings={"model_id": str(model_id) if model_id else None})


def ask_to_wait(db: Database, claim: Row, seconds: float = 60, **more: object) -> Row:
    return db.fail(claim, code="provider_busy", retryable=True, retry_after_seconds=seconds, **more)


def break_down(db: Database, claim: Row) -> Row:
    return db.fail(claim, code="http_503", retryable=True, provider_fault=True)


def pause_ends(db: Database) -> None:
    db.run("update batchgen.providers set not_before = now() - interval '1 second'")


def open_time_ends(db: Database) -> None:
    db.run("update batchgen.breakers set opened_until = now() - interval '1 second' where opened_until is not null")


def wide(db: Database, **settings: object) -> None:
    values = {"max_parallel_per_user": 100, "max_parallel_global": 1000, "breaker_failures": 3} | settings
    for name, value in values.items():
        db.run(f"update batchgen.settings set {name} = {value}")  # noqa: S608


def models_of(claims: list[Row]) -> set[str]:
    return {claim["model"] for claim in claims}


def breaker(db: Database, model_id: UUID) -> Row | None:
    rows = db.run("select * from batchgen.breakers where model_id = %s", model_id)
    return rows[0] if rows else None


def open_breaker(db: Database, model_id: UUID) -> list[Row]:
    """Three items of three users fail by the provider's fault; returns what was claimed beside them."""
    for _ in range(3):
        submit(db, model_id)
    claims = db.claim()
    for claim in claims[:3]:
        break_down(db, claim)
    return claims[3:]


def test_a_provider_that_asks_to_wait_is_left_alone_by_every_worker(db: Database) -> None:
    submit(db, prompts=4)
    claim = db.claim_one()

    ask_to_wait(db, claim, 60)

    assert db.claim() == []
    assert db.claim(worker=OTHER_WORKER) == []
    submit(db)
    assert db.claim() == []


def test_after_its_time_a_provider_is_asked_again_and_no_attempt_is_lost(db: Database) -> None:
    batch = submit(db, prompts=4)
    ask_to_wait(db, db.claim_one())
    assert db.claim() == []

    pause_ends(db)

    assert [claim["batch_index"] for claim in db.claim()] == [1, 2, 3]
    db.make_due()
    db.run("update batchgen.settings set max_parallel_per_user = 10")
    [first] = db.claim()
    assert (first["batch_index"], first["attempt"]) == (0, 1)
    assert {db.item(item["id"])["retry_count"] for item in batch["generations"]} == {0}


def test_the_operator_may_end_a_pause(db: Database) -> None:
    submit(db, prompts=4)
    ask_to_wait(db, db.claim_one())
    assert db.claim() == []

    db.run("delete from batchgen.providers")

    assert len(db.claim()) == 3


def test_the_longest_pause_counts(db: Database) -> None:
    submit(db, prompts=3)
    first, second, third = db.claim()

    ask_to_wait(db, first, 600)
    ask_to_wait(db, second, 5)
    ask_to_wait(db, third, 10**9)

    row = db.one(
        "select name, reason, extract(epoch from not_before - now())::float8 as seconds from batchgen.providers"
    )
    assert (row["name"], row["reason"]) == ("offline", "provider_busy")
    assert 86_300 < row["seconds"] <= 86_400


def paused_seconds(db: Database) -> float:
    return db.value("select extract(epoch from not_before - clock_timestamp())::float8 from batchgen.providers")


@pytest.mark.parametrize("seconds", ["0", "-5", "0.02", "1e-400", "-1e400"])
def test_a_wait_of_no_time_is_one_second_for_the_item_and_its_provider(db: Database, seconds: str) -> None:
    submit(db, prompts=3)
    claim = db.claim_one()

    sql = "select public.fail_generation(%s, %s, %s::jsonb) as verdict"
    error = '{"retryable": true, "retry_after_seconds": ' + seconds + "}"
    [row] = db.as_service(sql, claim["generation_id"], claim["lease_id"], error)

    assert row["verdict"]["retry_in_seconds"] == 1
    assert 0.5 < db.wait_seconds(claim["generation_id"]) <= 1
    assert 0.5 < paused_seconds(db) <= 1
    assert db.claim() == []


def test_waits_of_an_item_that_is_told_to_wait_again_grow(db: Database) -> None:
    submit(db, prompts=2)
    claim = db.claim_one()
    waits = list[float]()
    for _ in range(11):
        waits.append(ask_to_wait(db, claim, 0)["retry_in_seconds"])
        db.make_due()
        claim = next(one for one in db.claim() if one["generation_id"] == claim["generation_id"])

    assert waits == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    assert db.item(claim["generation_id"])["retry_count"] == 0
    assert ask_to_wait(db, claim, 4000)["retry_in_seconds"] == 4000


def test_an_attempt_that_counts_resets_the_waits(db: Database) -> None:
    submit(db, prompts=2)
    claim = db.claim_one()
    for _ in range(3):
        ask_to_wait(db, claim, 0)
        db.make_due()
        claim = next(one for one in db.claim() if one["generation_id"] == claim["generation_id"])
    db.fail(claim, retryable=True)
    db.make_due()
    claim = next(one for one in db.claim() if one["generation_id"] == claim["generation_id"])

    assert ask_to_wait(db, claim, 0)["retry_in_seconds"] == 1


def test_pauses_of_a_refusing_provider_grow_until_it_makes_a_picture(db: Database) -> None:
    wide(db)
    submit(db, prompts=10)
    claims = db.claim(2)
    together = [ask_to_wait(db, claim, 0) for claim in claims]
    assert {one["retry_in_seconds"] for one in together} == {1}
    assert 0 < paused_seconds(db) <= 1  # those that were on their way together are one refusal
    pauses = list[int]()
    for _ in range(3):
        pause_ends(db)
        ask_to_wait(db, db.claim_one(), 0)
        pauses.append(round(paused_seconds(db)))
    assert pauses == [2, 4, 8]

    pause_ends(db)
    done, refused_next = db.claim(2)
    db.complete(done)
    ask_to_wait(db, refused_next, 0)

    assert round(paused_seconds(db)) == 1


def test_an_item_that_has_waited_long_says_so(db: Database) -> None:
    user = db.new_user()
    batch = submit(db, user=user)
    claim = db.claim_one()
    for _ in range(4):
        ask_to_wait(db, claim, 0)
        db.make_due()
        claim = next(one for one in db.claim() if one["generation_id"] == claim["generation_id"])
    ask_to_wait(db, claim, 0)
    db.run("delete from batchgen.providers")

    rows = db.as_user(user, "select * from public.batch_waits(%s)", batch["id"])

    waiting = next(row for row in rows if row["generation_id"] == claim["generation_id"])
    assert (waiting["reason"], waiting["detail"]) == ("retry", "provider_busy, told to wait 5 times")


def test_a_model_that_is_closed_alone_says_what_is_to_be_done_and_others_go_on(db: Database) -> None:
    """For example an account that may not use one model: the provider's others run, also while it is tried."""
    user = db.new_user()
    closed, open_one = a_model(db, "gated"), a_model(db, "flux")
    batch = submit(db, closed, 3, user)
    message = "Your organization must be verified to use the model gated."
    ask_to_wait(db, db.claim_one(), 300, model_fault=True, message=message)
    submit(db, open_one, 2)

    assert models_of(db.claim()) == {"acme/flux"}
    rows = db.as_user(user, "select * from public.batch_waits(%s)", batch["id"])
    assert {(row["reason"], row["detail"]) for row in rows} == {("breaker", f"Gated: {message}")}

    db.make_due()
    ask_to_wait(db, next(one for one in db.claim() if one["model"] == "acme/gated"), 300, model_fault=True)
    assert db.run("select * from batchgen.providers") == []
    submit(db, open_one, 2)
    assert models_of(db.claim()) == {"acme/flux"}


def test_other_providers_and_other_users_go_on(db: Database) -> None:
    model_id = a_model(db)
    user, other = db.new_user(), db.new_user()
    submit(db, model_id, 5, user)
    ask_to_wait(db, db.claim_one())
    submit(db, None, 2, user)
    submit(db, None, 2, other)
    submit(db, model_id, 2, other)

    claims = db.claim()

    assert models_of(claims) == {"batchgen/offline-sketch"}
    assert sorted(claim["user_id"] for claim in claims) == sorted([user, user, other, other])


def test_the_worker_may_name_the_provider(db: Database) -> None:
    model_id = a_model(db)
    submit(db)
    submit(db, model_id)

    ask_to_wait(db, db.claim_one(), provider="fal")

    assert models_of(db.claim()) == {"batchgen/offline-sketch"}


def test_an_item_that_changes_its_model_does_not_wait_for_the_old_one(db: Database) -> None:
    model_id = a_model(db)
    batch = submit(db, model_id, 3)
    ask_to_wait(db, db.claim_one())
    assert db.claim() == []

    db.run("update public.image_generations set model_id = null where batch_id = %s", batch["id"])

    assert len(db.claim()) == 2


def test_parked_items_keep_their_order_and_their_limit(db: Database) -> None:
    user = db.new_user()
    submit(db, None, 10, user)
    submit(db, None, 2)
    ask_to_wait(db, db.claim_one())
    assert db.claim() == []
    pause_ends(db)

    claims = db.claim(4)

    assert [claim["batch_index"] for claim in claims if claim["user_id"] == user] == [1, 2]
    assert len(claims) == 4


def test_a_parked_item_may_be_cancelled_deleted_and_set_back(db: Database) -> None:
    batch = submit(db, prompts=4)
    ask_to_wait(db, db.claim_one())
    assert db.claim() == []
    ids = [item["id"] for item in batch["generations"]]

    db.run("update public.image_generations set status = 'failed' where id = %s", ids[1])
    db.run("delete from public.image_generations where id = %s", ids[2])
    db.run("update public.image_generations set priority = 5 where id = %s", ids[3])
    assert db.claim() == []
    pause_ends(db)

    assert [claim["batch_index"] for claim in db.claim()] == [3]


def test_a_breaker_opens_after_faults_of_so_many_items_and_others_go_on(db: Database) -> None:
    wide(db)
    model_id = a_model(db)
    open_breaker(db, model_id)
    waiting = submit(db, model_id)
    submit(db)

    claims = db.claim()

    assert models_of(claims) == {"batchgen/offline-sketch"}
    assert {db.item(item["id"])["retry_count"] for item in waiting["generations"]} == {0}
    seconds = db.value("select extract(epoch from opened_until - now())::float8 from batchgen.breakers")
    assert 50 < seconds <= 60


def test_one_item_that_always_fails_opens_no_breaker(db: Database) -> None:
    wide(db, max_retries=20)
    submit(db)
    claim = db.claim()[0]

    for _ in range(6):
        break_down(db, claim)
        db.make_due()
        [claim] = [one for one in db.claim() if one["generation_id"] == claim["generation_id"]]

    row = breaker(db, db.waiting_row(claim["generation_id"])["model_id"])
    assert row
    assert row["failed_generation_ids"] == [claim["generation_id"]]


@pytest.mark.parametrize("answer", ["success", "refusal"])
def test_an_answer_of_the_provider_resets_the_count(db: Database, answer: str) -> None:
    wide(db)
    model_id = a_model(db)
    submit(db, model_id, 6)
    claims = db.claim()
    for claim in claims[:2]:
        break_down(db, claim)

    if answer == "success":
        db.complete(claims[2])
    else:
        db.fail(claims[2], code="blocked_by_policy", provider_fault=False)
    for claim in claims[3:5]:
        break_down(db, claim)

    row = breaker(db, model_id)
    assert row
    assert row["opened_until"] is None
    assert submit(db, model_id)["id"] in {str(claim["batch_id"]) for claim in db.claim()}


def test_faults_of_our_own_count_for_nothing(db: Database) -> None:
    wide(db)
    submit(db, prompts=10)

    for claim in db.claim():
        db.fail(claim, code="storage_unavailable", retryable=True)

    assert db.run("select * from batchgen.breakers") == []


def test_after_its_time_an_open_breaker_lets_one_item_through_and_closes_on_success(db: Database) -> None:
    wide(db)
    model_id = a_model(db)
    open_breaker(db, model_id)
    submit(db, model_id, 5)
    assert db.claim() == []

    open_time_ends(db)
    [probe] = db.claim()
    assert db.claim(worker=OTHER_WORKER) == []
    db.complete(probe)

    assert breaker(db, model_id) is None
    assert len(db.claim()) == 4


@pytest.mark.parametrize("crashed", [1, 5])
def test_an_item_that_has_ordered_is_the_first_probe(db: Database, crashed: int) -> None:
    """Asking for its job costs nothing, and a job that never ends may be what holds a local provider up."""
    wide(db)
    model_id = a_model(db)
    submit(db, model_id, 8)
    claims = db.claim()
    ordered = claims[-1]
    submit_order(db, ordered)
    for claim in claims[:3]:
        break_down(db, claim)
    db.release(*claims[3:-crashed])
    for claim in claims[-crashed:]:
        db.expire(claim)
    assert db.claim() == []

    open_time_ends(db)
    [probe] = db.claim()

    assert (probe["generation_id"], probe["provider_job_id"]) == (ordered["generation_id"], "job-1")


def test_an_item_that_has_ordered_and_waits_is_the_first_probe(db: Database) -> None:
    wide(db)
    model_id = a_model(db)
    submit(db, model_id, 8)
    claims = db.claim()
    submit_order(db, claims[-1])
    for claim in claims[:3]:
        break_down(db, claim)
    db.release(*claims[3:])
    assert db.claim() == []

    open_time_ends(db)
    [probe] = db.claim()

    assert probe["generation_id"] == claims[-1]["generation_id"]


def test_a_probe_that_fails_opens_the_breaker_again(db: Database) -> None:
    wide(db)
    model_id = a_model(db)
    open_breaker(db, model_id)
    submit(db, model_id, 5)
    open_time_ends(db)

    [probe] = db.claim()
    break_down(db, probe)

    assert db.claim() == []
    open_time_ends(db)
    assert len(db.claim()) == 1


@pytest.mark.parametrize("end", ["dies", "is handed back", "says nothing"])
def test_a_probe_without_a_verdict_does_not_close_the_model_for_ever(db: Database, end: str) -> None:
    wide(db)
    model_id = a_model(db)
    open_breaker(db, model_id)
    submit(db, model_id, 5)
    open_time_ends(db)
    [probe] = db.claim()
    assert db.claim() == []

    match end:
        case "dies":
            db.expire(probe)
        case "is handed back":
            db.release(probe)
        case _:
            db.fail(probe, code="storage_unavailable", retryable=True)

    assert len(db.claim()) == 1
    assert db.claim() == []


def test_a_late_fault_of_an_earlier_attempt_does_not_prolong_the_wait(db: Database) -> None:
    wide(db)
    model_id = a_model(db)
    late = open_breaker(db, model_id)
    before = breaker(db, model_id)

    break_down(db, late[0])

    assert breaker(db, model_id) == before


def test_a_late_success_closes_the_breaker(db: Database) -> None:
    wide(db)
    model_id = a_model(db)
    late = open_breaker(db, model_id)
    submit(db, model_id, 5)
    assert db.claim() == []

    db.complete(late[0])

    assert len(db.claim()) == 5


def test_each_model_has_its_own_probe_and_probes_keep_the_limits(db: Database) -> None:
    wide(db)
    first, second = a_model(db, "first"), a_model(db, "second")
    for model_id in (first, second):
        open_breaker(db, model_id)
    db.run("delete from public.image_generations")
    user = db.new_user()
    submit(db, first, 3, user)
    submit(db, second, 3, user)
    assert db.claim() == []
    open_time_ends(db)

    db.run("update batchgen.settings set max_parallel_per_user = 1")
    one = db.claim()
    db.run("update batchgen.settings set max_parallel_per_user = 3")
    both = one + db.claim()

    assert len(one) == 1
    assert models_of(both) == {"acme/first", "acme/second"}
    assert len(both) == 2


def test_the_thresholds_are_settings(db: Database) -> None:
    wide(db, breaker_failures=1, breaker_open_seconds=7)
    submit(db)
    first, _ = db.claim()

    break_down(db, first)
    submit(db)

    assert db.claim() == []
    assert 5 < db.value("select extract(epoch from opened_until - now())::float8 from batchgen.breakers") <= 7


def test_items_without_a_model_have_a_breaker_too(db: Database) -> None:
    wide(db, breaker_failures=1)
    batch = submit(db, prompts=4)
    db.run("update public.image_generations set model_id = null where batch_id = %s", batch["id"])

    break_down(db, db.claim_one())

    assert db.claim() == []
    assert breaker(db, NO_MODEL)


def test_eight_claimers_at_once_get_one_probe(db: Database) -> None:
    wide(db)
    model_id = a_model(db)
    open_breaker(db, model_id)
    for _ in range(8):
        submit(db, model_id, 5)
    assert db.claim() == []

    for _ in range(3):
        open_time_ends(db)
        probes = at_once(db, lambda worker, name: worker.claim(5, name))
        assert len(probes) == 1
        break_down(db, probes[0])

    open_time_ends(db)
    [probe] = at_once(db, lambda worker, name: worker.claim(5, name))
    db.complete(probe)
    assert len(at_once(db, lambda worker, name: worker.claim(5, name))) == 40 - 4


def test_faults_and_successes_at_once_deadlock_nobody_and_lose_nothing(db: Database) -> None:
    wide(
        db,
        breaker_failures=2,
        breaker_open_seconds=0,
        max_parallel_per_user=5,
        retry_delays_seconds="'{0}'",
        max_retries=20,
    )
    first, second = a_model(db, "first"), a_model(db, "second", "replicate")
    for model_id in (first, second, None) * 4:
        submit(db, model_id, 5)

    def work(worker: Database, name: str) -> list[Row]:
        for number in range(25):
            for claim in worker.claim(4, name):
                if number % 3 == 0:
                    break_down(worker, claim)
                elif number % 7 == 0:
                    ask_to_wait(worker, claim, 0.01)
                else:
                    worker.complete(claim)
        return []

    at_once(db, work)

    assert db.value("select count(*) from batchgen.queue where state = 'running'") == 0
    for _ in range(500):
        db.make_due()
        for claim in db.claim():
            db.complete(claim)
    assert db.value("select count(*) from batchgen.queue") == 0
    assert db.value("select count(*) from made.image_generations where status <> 'completed'") == 0


def test_blocked_items_are_moved_once_and_do_not_delay_others(db: Database) -> None:
    """Twenty thousand users wait for a paused provider; each claim moves a bounded part of their items."""
    wide(db, max_parallel_per_user=3, max_parallel_global=20)
    model_id = a_model(db)
    bulk_of_users(db, model_id, 20_000)
    submit(db, model_id)
    db.claim(0)  # marks who is ready
    ask_to_wait(db, db.claim_one(), 3600)
    other = submit(db)
    db.run("create table public.moves (n bigint)")
    db.run(
        "create function public.count_moves() returns trigger language plpgsql as $$ begin"
        " insert into public.moves select count(*) from new_rows; return null; end $$;"
        " create trigger count_moves after update on batchgen.queue referencing new table as new_rows"
        " for each statement execute function public.count_moves()"
    )

    claims = db.claim(5)

    assert {str(claim["batch_id"]) for claim in claims} == {other["id"]}
    assert db.value("select sum(n) from public.moves") < 12_000
    for _ in range(12):
        db.claim(0)
    assert db.value("select count(*) from batchgen.queue where state = 'waiting'") == 0
    db.run("truncate public.moves")
    db.claim(5)
    assert db.value("select coalesce(sum(n), 0) from public.moves") == 0


def bulk_of_users(db: Database, model_id: UUID, users: int) -> None:
    """Each with one waiting item of a batch of their own."""
    db.run(
        "with users as (insert into auth.users (id, email) select gen_random_uuid(), 'u' || n || '@example.com'"
        " from generate_series(1, %s) n returning id),"
        " batches as (insert into public.batch_generations (user_id, total_count, status)"
        " select id, 1, 'pending' from users returning id, user_id)"
        " insert into public.image_generations (user_id, batch_id, batch_index, prompt, model, model_id, status)"
        " select user_id, id, 0, 'a fox', 'flux', %s, 'pending' from batches",
        users,
        model_id,
    )


def at_once(db: Database, call: Callable[[Database, str], list[Row]], workers: int = 8) -> list[Row]:
    """Rows that eight workers get in simultaneous calls."""
    start = threading.Barrier(workers)
    rows: list[Row] = []
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            with connect(db.dsn) as connection:
                worker = Database(db.dsn, connection)
                start.wait(10)
                rows.extend(call(worker, f"worker-{number}"))
        except BaseException as error:  # noqa: BLE001 - handed to the test
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    return rows


def test_one_item_tries_a_model_however_many_rounds_the_claim_takes(db: Database) -> None:
    """A user with more of another model than are ranked at once makes the claim go on after it has picked the probe."""
    wide(db, breaker_failures=2)
    bad = a_model(db)
    for _ in range(2):
        submit(db, bad, 10)
    for claim in db.claim(2):
        break_down(db, claim)
    db.claim(100)
    submit(db, None, 8)
    open_time_ends(db)

    claims = db.claim(100)

    assert sum(claim["model"] == "acme/flux" for claim in claims) == 1
    assert len(claims) == 9


def test_items_behind_those_of_a_model_that_is_only_tried_start_in_the_same_claim(db: Database) -> None:
    wide(db)
    user = db.new_user()
    bad = a_model(db)
    open_breaker(db, bad)
    submit(db, bad, 5, user)
    submit(db, None, 5, user)
    open_time_ends(db)

    claims = db.claim(100)

    assert sum(claim["model"] == "acme/flux" for claim in claims) == 1
    assert sum(claim["model"] != "acme/flux" for claim in claims) == 5
