"""Further edits in the Table Editor, beside those in test_totals_and_edits.py: each has the expected effect."""

import pytest
from database_harness import Database, refused


def set_item(db: Database, generation_id: object, **columns: object) -> None:
    for name, value in columns.items():
        db.run(f"update public.image_generations set {name} = %s where id = %s", value, generation_id)  # noqa: S608


def test_a_running_item_that_an_admin_sets_to_failed_stays_so(db: Database) -> None:
    batch = db.submit()
    claim = db.claim_one()

    set_item(db, claim["generation_id"], status="failed")

    assert db.renew(claim) == []
    with refused("PT409"):
        db.complete(claim)
    assert db.queued(claim["generation_id"]) is None
    db.complete(db.claim_one())
    assert db.totals(batch["id"]) == ("partial", 1, 1)


def test_a_waiting_item_that_an_admin_sets_to_completed_is_never_claimed(db: Database) -> None:
    batch = db.submit()

    set_item(db, batch["generations"][0]["id"], status="completed")

    [claim] = db.claim()
    assert claim["batch_index"] == 1
    db.complete(claim)
    assert db.totals(batch["id"]) == ("completed", 2, 0)


def test_a_completed_item_set_to_pending_runs_again_and_replaces_its_picture(db: Database) -> None:
    batch = db.submit()
    for claim in db.claim():
        db.complete(claim, file_size=1)
    item = batch["generations"][0]["id"]
    picture = db.value("select id from public.images where generation_id = %s", item)

    set_item(db, item, status="pending")

    assert db.totals(batch["id"]) == ("processing", 1, 0)
    db.complete(db.claim_one(), file_size=2)
    assert db.totals(batch["id"]) == ("completed", 2, 0)
    row = db.one("select * from public.images where generation_id = %s", item)
    assert (row["id"], row["file_size"]) == (picture, 2)


@pytest.mark.parametrize("code", ["blocked_by_policy", "cancelled", "crashed"])
def test_an_admin_runs_any_failed_item_again(db: Database, code: str) -> None:
    db.submit()
    claim = db.claim_one()
    db.fail(claim, code=code)

    set_item(db, claim["generation_id"], status="pending")

    assert claim["generation_id"] in {again["generation_id"] for again in db.claim()}
    assert db.value("select count(*) from batchgen.failures") == 0


def test_an_admins_retry_is_not_refused_by_the_users_limits(db: Database) -> None:
    db.run("update batchgen.settings set default_daily_limit = 2, default_hourly_limit = 2, max_waiting_per_user = 2")
    user = db.new_user()
    batch = db.submit(user)
    for claim in db.claim():
        db.fail(claim)
    with refused("PT429"):
        db.submit(user)

    db.run("update public.image_generations set status = 'pending' where batch_id = %s", batch["id"])

    assert len(db.claim()) == 2


def test_many_items_of_many_batches_are_run_again_in_one_statement(db: Database) -> None:
    batches = [db.submit() for _ in range(5)]
    for claim in db.claim():
        db.fail(claim)
    assert {db.totals(batch["id"]) for batch in batches} == {("failed", 0, 2)}

    db.run("update public.image_generations set status = 'pending' where status = 'failed'")

    assert {db.totals(batch["id"]) for batch in batches} == {("processing", 0, 0)}
    for claim in db.claim():
        db.complete(claim)
    assert {db.totals(batch["id"]) for batch in batches} == {("completed", 2, 0)}


def test_the_service_role_edits_with_the_same_effect(db: Database) -> None:
    batch = db.submit()
    for claim in db.claim():
        db.fail(claim)

    db.as_service("update public.image_generations set status = 'pending' where batch_id = %s", batch["id"])
    assert db.totals(batch["id"]) == ("processing", 0, 0)
    db.as_service("update public.image_generations set status = 'failed' where batch_index = 0")
    assert [row["batch_index"] for row in db.run("table batchgen.queue")] == [1]
    db.as_service("delete from public.batch_generations where id = %s", batch["id"])

    assert db.claim() == db.run("table batchgen.queue") == []
    assert {row["status"] for row in db.run("table public.image_generations")} == {"failed"}


def test_a_lowered_priority_goes_last_and_an_emptied_one_is_normal(db: Database) -> None:
    low, raised, normal = (db.submit(prompts=2) for _ in range(3))
    db.run("update public.image_generations set priority = -1 where batch_id = %s", low["id"])
    db.run("update public.image_generations set priority = 1 where batch_id = %s", raised["id"])
    db.run("update public.image_generations set priority = null where batch_id = %s", normal["id"])

    order = [str(db.claim_one()["batch_id"]) for _ in range(6)]

    assert order == [raised["id"]] * 2 + [normal["id"]] * 2 + [low["id"]] * 2


def test_the_priority_of_a_running_item_changes_nothing_until_it_waits_again(db: Database) -> None:
    db.submit(prompts=3)
    claim = db.claim_one()

    set_item(db, claim["generation_id"], priority=-5)

    assert len(db.renew(claim)) == 1
    db.release(claim)
    assert [next_one["batch_index"] for next_one in db.claim()] == [1, 2, 0]


def test_an_earlier_created_at_goes_first_and_an_emptied_one_keeps_its_place(db: Database) -> None:
    first, second, third = (db.submit(prompts=2) for _ in range(3))
    db.run("update public.image_generations set created_at = '2001-01-01' where batch_id = %s", third["id"])
    db.run("update public.image_generations set created_at = null where batch_id = %s", first["id"])

    order = [str(db.claim_one()["batch_id"]) for _ in range(6)]

    # One of each user's first, then one of each user's second.
    assert order == [third["id"], first["id"], second["id"]] * 2


def test_an_edited_prompt_is_what_the_worker_gets(db: Database) -> None:
    batch = db.submit()

    set_item(db, batch["generations"][0]["id"], prompt="a blue owl", seed=7, negative_prompt=None)

    claim = db.claim_one()
    assert (claim["prompt"], claim["seed"]) == ("a blue owl", 7)


@pytest.mark.parametrize("running", [True, False])
def test_an_item_taken_out_of_its_batch_leaves_the_queue(db: Database, running: bool) -> None:
    batch = db.submit()
    item = batch["generations"][0]["id"]
    claims = db.claim(1) if running else []

    set_item(db, item, batch_id=None)

    assert db.queued(item) is None
    for claim in claims:
        with refused("PT409"):
            db.complete(claim)
    assert [str(claim["generation_id"]) for claim in db.claim()] == [batch["generations"][1]["id"]]


def test_an_item_without_a_status_waits_for_nobody_until_it_has_one(db: Database) -> None:
    batch = db.submit()
    item = batch["generations"][0]["id"]
    set_item(db, item, status=None)
    assert db.queued(item) is None

    set_item(db, item, status="pending")

    assert len(db.claim()) == 2


def test_setting_an_item_to_failed_and_pending_restores_its_deleted_queue_row(db: Database) -> None:
    batch = db.submit()
    item = batch["generations"][0]["id"]
    db.run("delete from batchgen.queue where generation_id = %s", item)

    set_item(db, item, status="failed")
    set_item(db, item, status="pending")

    assert item in {str(claim["generation_id"]) for claim in db.claim()}


def test_a_finished_batch_that_is_deleted_changes_nothing_of_its_items_and_pictures(db: Database) -> None:
    batch = db.submit()
    ok, bad = db.claim()
    db.complete(ok)
    db.fail(bad, message="It took too long.")
    before = {row["id"]: row for row in db.run("table public.image_generations")}

    db.run("delete from public.batch_generations where id = %s", batch["id"])

    after = {row["id"]: row for row in db.run("table public.image_generations")}
    assert after == {key: row | {"batch_id": None} for key, row in before.items()}
    assert db.value("select count(*) from public.images") == 1
    assert db.value("select code from batchgen.failures") == "timeout"


def test_a_batch_whose_items_are_all_deleted_has_ended(db: Database) -> None:
    batch = db.submit()
    claim = db.claim_one()

    db.run("delete from public.image_generations where batch_id = %s", batch["id"])

    assert db.batch(batch["id"])["completed_at"] is not None
    assert db.totals(batch["id"]) == ("failed", 0, 0)
    assert db.claim() == []
    with refused("PT409"):
        db.complete(claim)


def test_items_of_a_model_that_is_deleted_still_run(db: Database) -> None:
    db.run("insert into public.models (name, display_name, replicate_id) values ('flux', 'Flux', 'bfl/flux')")
    batch = db.submit(shared_settings={"model_id": "bfl/flux"})

    db.run("delete from public.models where name = 'flux'")

    assert {claim["model"] for claim in db.claim()} == {"flux"}
    assert db.totals(batch["id"]) == ("processing", 0, 0)


def test_a_model_that_is_switched_off_is_not_offered_and_what_waits_still_runs(db: Database) -> None:
    db.submit()

    db.run("update public.models set is_active = false")

    with refused("PT422"):
        db.submit()
    assert len(db.claim()) == 2


def test_a_status_that_the_app_has_no_icon_for_is_refused(db: Database) -> None:
    batch = db.submit()

    for status in ("cancelled", "queued", ""):
        with refused("23514"):
            set_item(db, batch["generations"][0]["id"], status=status)
