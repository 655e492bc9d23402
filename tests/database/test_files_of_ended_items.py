"""Items that end while or after their picture is stored: no file outlives its item, and no item its file."""

from collections.abc import Callable
from uuid import UUID

import psycopg
import pytest
from database_harness import OTHER_WORKER, Database, Row, a_result, connect, refused
from test_batch_actions import act
from test_batch_actions_races import BackgroundCall, until_somebody_waits
from test_outbox import STORAGE, end, expire_leases, take

from batchgen.backend.bucket import CONTENT_TYPES


@pytest.fixture
def storage(db: Database) -> Database:
    db.run(STORAGE)
    return db


def store(db: Database, claim: Row, kind: str = "png") -> str:
    """Store the picture, as a worker does before it writes the result."""
    path = f"{claim['user_id']}/{claim['generation_id']}.{kind}"
    db.run("insert into storage.objects values ('generated-images', %s) on conflict do nothing", path)
    return path


def complete(db: Database, claim: Row, kind: str = "png") -> None:
    db.complete(claim, storage_path=store(db, claim, kind), format=kind)


def drain(db: Database) -> None:
    """Time goes on, and a worker removes what the outbox has."""
    for _ in range(3):
        expire_leases(db)
        taken = take(db)
        db.run("delete from storage.objects where name = any (%s)", [row["path"] for row in taken])
        end(db, taken)


def files(db: Database) -> set[str]:
    return {row["name"] for row in db.run("select name from storage.objects")}


def named(db: Database) -> set[str]:
    return {row["storage_path"] for row in db.run("select storage_path from public.images")}


def is_over(db: Database, claim: Row) -> None:
    """The worker's next call is refused."""
    with refused("PT409"):
        db.complete(claim)


def cancelled_and_ended_by_its_worker(db: Database, claim: Row) -> None:
    act(db, claim["user_id"], "cancel", {"id": claim["batch_id"]})
    db.fail(claim, code="cancelled")


def cancelled_and_left_by_its_worker(db: Database, claim: Row) -> None:
    act(db, claim["user_id"], "cancel", {"id": claim["batch_id"]})
    db.expire(claim)
    db.return_expired()


def batch_deleted_and_left(db: Database, claim: Row) -> None:
    db.as_user(claim["user_id"], "delete from public.batch_generations where id = %s", claim["batch_id"])
    db.expire(claim)
    db.return_expired()


def batch_deleted_and_ended(db: Database, claim: Row) -> None:
    db.as_user(claim["user_id"], "delete from public.batch_generations where id = %s", claim["batch_id"])
    db.fail(claim, code="cancelled")


def user_deleted(db: Database, claim: Row) -> None:
    db.run("delete from auth.users where id = %s", claim["user_id"])
    is_over(db, claim)


def item_deleted(db: Database, claim: Row) -> None:
    db.run("delete from public.image_generations where id = %s", claim["generation_id"])
    is_over(db, claim)


def failed_by_an_admin(db: Database, claim: Row) -> None:
    db.run("update public.image_generations set status = 'failed' where id = %s", claim["generation_id"])
    is_over(db, claim)


def refused_and_failed(db: Database, claim: Row) -> None:
    with refused("PT422"):
        db.complete(claim, storage_path="elsewhere.png")
    db.fail(claim, code="invalid_result")


def crashed_for_good(db: Database, claim: Row) -> None:
    db.run(
        "update batchgen.queue set lone_crash_count = 100, ran_alone = true where generation_id = %s",
        claim["generation_id"],
    )
    db.expire(claim)
    db.return_expired()


def set_back_and_cancelled(db: Database, claim: Row) -> None:
    db.run("update public.image_generations set status = 'pending' where id = %s", claim["generation_id"])
    act(db, claim["user_id"], "cancel", {"id": claim["batch_id"]})


def handed_back_and_cancelled(db: Database, claim: Row) -> None:
    db.release(claim)
    act(db, claim["user_id"], "cancel", {"id": claim["batch_id"]})


def failed_run_again_and_cancelled_before_it_starts(db: Database, claim: Row) -> None:
    db.fail(claim)
    act(db, claim["user_id"], "retry", {"id": claim["batch_id"]})
    act(db, claim["user_id"], "cancel", {"id": claim["batch_id"]})


ENDS = [
    cancelled_and_ended_by_its_worker,
    cancelled_and_left_by_its_worker,
    batch_deleted_and_left,
    batch_deleted_and_ended,
    user_deleted,
    item_deleted,
    failed_by_an_admin,
    refused_and_failed,
    crashed_for_good,
    set_back_and_cancelled,
    handed_back_and_cancelled,
    failed_run_again_and_cancelled_before_it_starts,
]


@pytest.mark.parametrize("kind", sorted(CONTENT_TYPES))
@pytest.mark.parametrize("ended", ENDS, ids=lambda ended: ended.__name__)
def test_an_item_that_ends_after_its_picture_was_stored_leaves_no_file(
    storage: Database, ended: Callable[[Database, Row], None], kind: str
) -> None:
    storage.submit(prompts=2)
    claim, other = storage.claim(2)
    complete(storage, other)
    store(storage, claim, kind)

    ended(storage, claim)
    drain(storage)

    assert files(storage) == named(storage)


@pytest.mark.parametrize(
    "ended",
    [cancelled_and_left_by_its_worker, batch_deleted_and_left, user_deleted, item_deleted, failed_by_an_admin],
    ids=lambda ended: ended.__name__,
)
def test_a_file_that_arrives_just_after_the_end_goes_as_well(
    storage: Database, ended: Callable[[Database, Row], None]
) -> None:
    """The upload was under way: nobody looks before a minute has passed."""
    storage.submit(prompts=2)
    claim, other = storage.claim(2)
    complete(storage, other)

    ended(storage, claim)
    assert claim["generation_id"] not in {UUID(row["path"][37:73]) for row in take(storage)}
    store(storage, claim)
    drain(storage)

    assert files(storage) == named(storage)


def crashed(db: Database, claim: Row) -> None:
    db.expire(claim)
    db.return_expired()


def tried_again(db: Database, claim: Row) -> None:
    db.fail(claim, retryable=True)
    db.make_due()


def handed_back(db: Database, claim: Row) -> None:
    db.release(claim)


def set_back_by_an_admin(db: Database, claim: Row) -> None:
    db.run("update public.image_generations set status = 'pending' where id = %s", claim["generation_id"])


def completed_and_set_back(db: Database, claim: Row) -> None:
    complete(db, claim)
    set_back_by_an_admin(db, claim)


def failed_and_run_again(db: Database, claim: Row) -> None:
    db.fail(claim)
    act(db, claim["user_id"], "retry", {"id": claim["batch_id"]})


@pytest.mark.parametrize(
    "ended",
    [crashed, tried_again, handed_back, set_back_by_an_admin, completed_and_set_back, failed_and_run_again],
    ids=lambda ended: ended.__name__,
)
def test_after_two_attempts_in_two_formats_the_last_file_stays(
    storage: Database, ended: Callable[[Database, Row], None]
) -> None:
    storage.submit(prompts=2)
    claim = storage.claim_one()
    store(storage, claim, "png")

    ended(storage, claim)
    again = next(each for each in storage.claim(worker=OTHER_WORKER) if each["generation_id"] == claim["generation_id"])
    complete(storage, again, "webp")
    drain(storage)

    assert files(storage) == named(storage) == {f"{claim['user_id']}/{claim['generation_id']}.webp"}


def test_the_file_of_the_attempt_that_counts_is_never_taken_whatever_is_discarded(storage: Database) -> None:
    storage.submit(prompts=2)
    old = storage.claim_one()
    storage.expire(old)
    new = next(each for each in storage.claim() if each["generation_id"] == old["generation_id"])
    path = store(storage, new)
    discard = "select public.discard_files(%s, %s, 0)"

    storage.as_service(discard, old["user_id"], old["generation_id"])
    drain(storage)
    assert files(storage) == {path}
    complete(storage, new)
    storage.as_service(discard, old["user_id"], old["generation_id"])
    drain(storage)

    assert files(storage) == named(storage) == {path}


def test_discarded_files_are_deleted_when_the_worker_says(storage: Database) -> None:
    storage.submit(prompts=2)
    claim = storage.claim_one()
    storage.run("delete from public.image_generations where id = %s", claim["generation_id"])
    storage.run("delete from batchgen.storage_deletions")
    path = store(storage, claim, "webp")

    storage.as_service("select public.discard_files(%s, %s, 600)", claim["user_id"], claim["generation_id"])
    assert take(storage) == []
    storage.run("delete from batchgen.storage_deletions")
    storage.as_service("select public.discard_files(%s, %s, 0)", claim["user_id"], claim["generation_id"])

    assert [row["path"] for row in take(storage)] == [path]


@pytest.mark.parametrize("arguments", ["null, gen_random_uuid(), 0", "gen_random_uuid(), null, 0"])
@pytest.mark.parametrize("role", ["service_role"])
def test_arguments_that_are_missing_are_refused(shared_db: Database, arguments: str, role: str) -> None:
    with refused("PT422"):
        shared_db.as_service(f"select public.discard_files({arguments})")


@pytest.mark.parametrize("seconds", ["-1", "86401", "null", "'NaN'", "'infinity'"])
def test_a_time_out_of_range_is_refused(shared_db: Database, seconds: str) -> None:
    with refused("PT422"):
        shared_db.as_service(f"select public.discard_files(gen_random_uuid(), gen_random_uuid(), {seconds})")


def test_a_first_attempt_that_completes_leaves_nothing_to_look_after(storage: Database) -> None:
    storage.submit(prompts=2)
    for claim in storage.claim():
        complete(storage, claim)

    assert storage.run("select path from batchgen.storage_deletions") == []


def test_an_item_that_was_never_started_leaves_nothing_to_look_after(storage: Database) -> None:
    batch = storage.submit(prompts=2)
    user = storage.batch(batch["id"])["user_id"]

    act(storage, user, "cancel", batch)

    assert storage.run("select path from batchgen.storage_deletions") == []


def test_suspicions_without_a_file_are_dropped_however_many_come_first(storage: Database) -> None:
    user = storage.new_user()
    storage.run(
        "insert into batchgen.storage_deletions (path, due_at)"
        " select %s || '/' || n || '.png', now() - interval '1 hour' from generate_series(1, 500) n",
        str(user),
    )
    storage.run("insert into storage.objects values ('generated-images', %s)", f"{user}/500.png")

    assert [row["path"] for row in take(storage, 10)] == [f"{user}/500.png"]
    assert storage.value("select count(*) from batchgen.storage_deletions") == 1


def test_an_item_queued_while_its_files_are_suspected_keeps_its_new_picture(storage: Database) -> None:
    """Between a take of its file and its entry one waits for the other; what it makes then is never taken."""
    storage.submit(prompts=2)
    claim = storage.claim_one()
    store(storage, claim)
    storage.fail(claim)
    expire_leases(storage)

    def enter(db: Database) -> None:
        db.run("update public.image_generations set status = 'pending' where id = %s", claim["generation_id"])

    with connect(storage.dsn) as connection, connection.transaction():
        taken = take(Database(storage.dsn, connection), lease_seconds=600)
        entering = BackgroundCall(storage, enter)
        until_somebody_waits(storage)
    entering.answer()

    assert len(taken) == 1
    assert storage.waiting_row(claim["generation_id"])["state"] == "delayed"


def test_a_picture_whose_row_moves_leaves_no_old_file(storage: Database) -> None:
    storage.submit(prompts=2)
    claim = storage.claim_one()
    complete(storage, claim)
    moved = f"{claim['user_id']}/moved.png"
    storage.run("insert into storage.objects values ('generated-images', %s)", moved)

    storage.as_service("update public.images set storage_path = %s", moved)
    drain(storage)

    assert files(storage) == {moved}


def test_completing_is_not_held_up_by_somebody_who_takes_the_files_of_others(storage: Database) -> None:
    storage.submit(prompts=2)
    first, second = storage.claim(2)
    store(storage, first)
    storage.fail(first)
    expire_leases(storage)

    with psycopg.connect(storage.dsn) as connection:
        connection.execute("select * from public.take_storage_deletions('w', 10, 60)")
        storage.run("set lock_timeout = '2s'")
        assert storage.complete_all([second], **a_result(second))
