"""An item that nobody can run fails alone, with its reason; everybody else's items in the same claim run."""

import pytest
from database_harness import Database, NewDatabase, Row

from devstack.migrations import apply_migrations, default_migrations_dir

FLAWS = {
    "prompt = ''": "no_prompt",
    "prompt = E' \\u00a0\\n'": "no_prompt",
    "prompt = repeat('x', 100001)": "prompt_too_long",
    "negative_prompt = repeat('x', 5000000)": "prompt_too_long",
    "guidance_scale = 'NaN'": "invalid_settings",
    "guidance_scale = '-infinity'": "invalid_settings",
    "guidance_scale = 1e300": "invalid_settings",
    "width = 0": "invalid_settings",
    "height = -2147483648": "invalid_settings",
    "width = 2147483647": "invalid_settings",
    "steps = 0": "invalid_settings",
}
HARMLESS = [
    "priority = -2147483648",
    "priority = 2147483647",
    "priority = null",
    "retry_count = 2147483647",
    "retry_count = -2147483648",
    "retry_count = null",
    "batch_index = -2147483648",
    "batch_index = 2147483647",
    "created_at = 'infinity'",
    "created_at = '-infinity'",
    "created_at = null",
    "completed_at = 'infinity'",
    "started_at = '-infinity'",
    "seed = -9223372036854775808",
    "model = repeat('m', 5000000)",
    "style = repeat('s', 5000000)",
    "generation_time_seconds = 2147483647",
    "error_code = repeat('e', 5000000)",
]


def victim(db: Database, edit: str) -> Row:
    """The first item of a batch, edited by an admin; its batch has another one that is as it should be."""
    batch = db.submit()
    item_id = batch["generations"][0]["id"]
    db.run(f"update public.image_generations set {edit} where id = %s", item_id)  # noqa: S608
    return batch


@pytest.mark.parametrize(("edit", "code"), FLAWS.items())
def test_an_item_that_nobody_can_run_fails_alone_and_says_why(db: Database, edit: str, code: str) -> None:
    batch = victim(db, edit)
    other = db.submit()

    claims = db.claim()

    assert {claim["generation_id"] for claim in claims} == {
        row["id"] for row in db.run("select id from made.image_generations where status = 'processing'")
    }
    assert len(claims) == 3
    item = db.item(batch["generations"][0]["id"])
    assert (item["status"], item["error_code"], item["started_at"]) == ("failed", code, None)
    assert item["error_message"]
    assert db.value("select code from batchgen.failures where generation_id = %s", item["id"]) == code
    for claim in claims:
        db.complete(claim)
    assert db.totals(batch["id"]) == ("partial", 1, 1)
    assert db.totals(other["id"]) == ("completed", 2, 0)
    assert db.value("select count(*) from batchgen.ledger where generation_id = %s", item["id"]) == 0


@pytest.mark.parametrize("edit", HARMLESS)
def test_an_admins_strange_values_stop_nobody_and_the_item_runs(db: Database, edit: str) -> None:
    batch = victim(db, edit)
    other = db.submit()
    waits = db.as_user(
        db.batch(other["id"])["user_id"], "select * from public.batch_waits(%s)", other["id"]
    ) + db.as_service("select * from public.batch_waits(%s)", batch["id"])
    assert len(waits) == 4

    claims = db.claim()

    assert len(claims) == 4
    for claim in claims:
        db.complete(claim)
    assert db.totals(batch["id"]) == ("completed", 2, 0)


@pytest.mark.parametrize("retry_count", [2147483647, -2147483648])
def test_a_retry_count_out_of_range_still_ends(db: Database, retry_count: int) -> None:
    db.submit()
    db.run("update public.image_generations set retry_count = %s", retry_count)
    claim = db.claim_one()
    for _ in range(4):
        verdict = db.fail(claim, retryable=True)
        if verdict["status"] == "failed":
            break
        db.make_due()
        claim = next(one for one in db.claim() if one["generation_id"] == claim["generation_id"])

    assert db.item(claim["generation_id"])["status"] == "failed"
    assert db.claim() is not None


def test_an_item_without_an_owner_is_its_batchs(db: Database) -> None:
    batch = db.submit()
    owner = db.batch(batch["id"])["user_id"]
    db.run("update public.image_generations set user_id = null where batch_id = %s", batch["id"])
    assert db.run("select distinct user_id from batchgen.queue") == [{"user_id": owner}]

    claims = db.claim()

    assert {claim["user_id"] for claim in claims} == {owner}
    for claim in claims:
        db.complete(claim)
    assert {row["user_id"] for row in db.run("table made.image_generations")} == {owner}
    assert db.value("select count(*) from made.images where user_id = %s", owner) == 2


def test_an_item_whose_owner_is_not_its_batchs_stays_its_owners(db: Database) -> None:
    batch, other = db.submit(), db.new_user()
    item_id = batch["generations"][0]["id"]
    db.run("update public.image_generations set user_id = %s where id = %s", other, item_id)

    claim = next(one for one in db.claim() if str(one["generation_id"]) == item_id)

    assert claim["user_id"] == other


def test_twenty_flawed_items_are_ended_in_one_claim_and_the_next_one_runs(db: Database) -> None:
    for _ in range(10):
        db.submit()
    db.run("update public.image_generations set prompt = '', priority = 5")
    db.submit()

    assert len(db.claim(2)) == 2

    assert db.value("select count(*) from made.image_generations where error_code = 'no_prompt'") == 20


async def test_rows_of_an_old_project_hold_anything_and_the_others_run(bare: NewDatabase) -> None:
    db = await bare("app_schema.sql", "seed_schema.sql")
    db.run(
        "with people as (insert into auth.users (id) select gen_random_uuid() from generate_series(1, 5) returning id),"
        " batches as (insert into public.batch_generations (user_id, total_count, status)"
        " select id, 4, 'pending' from people returning id, user_id)"
        " insert into public.image_generations (user_id, batch_id, batch_index, prompt, status, priority, retry_count,"
        " guidance_scale, created_at)"
        " select case i when 1 then null else user_id end, id, i, 'a', 'pending',"
        " case i when 2 then -2147483648 else 2147483647 end, case i when 3 then -2147483648 end,"
        " case i when 4 then 'NaN'::float end, case i when 3 then 'infinity'::timestamptz end"
        " from batches, generate_series(1, 4) i"
    )

    await apply_migrations(db.dsn, default_migrations_dir())

    claims = db.claim()
    assert len(claims) == 15
    for claim in claims:
        db.complete(claim)
    assert db.value("select count(*) from public.image_generations where error_code = 'invalid_settings'") == 5
