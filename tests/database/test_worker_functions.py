"""Functions for workers: states before and after each call, and the fence around every write."""

import json
from collections.abc import Callable
from uuid import uuid4

import pytest
from database_harness import OTHER_WORKER, Database, Row, refused

Call = Callable[[Database, Row], object]

FENCED: dict[str, Call] = {
    "attach": lambda db, claim: db.attach(claim, "job-1"),
    "complete": lambda db, claim: db.complete(claim),
    "fail": lambda db, claim: db.fail(claim, retryable=True),
    "release": lambda db, claim: db.release(claim),
}


def test_a_claim_leases_items_and_opens_their_batch(db: Database) -> None:
    batch = db.submit(prompts=2)

    claims = db.claim(lease_seconds=60)

    assert [claim["batch_index"] for claim in claims] == [0, 1]
    assert {claim["attempt"] for claim in claims} == {1}
    assert len({claim["lease_id"] for claim in claims}) == 2
    assert all(claim["prompt"].startswith("a red fox") for claim in claims)
    assert db.batch(batch["id"])["status"] == "processing"
    assert db.item(claims[0]["generation_id"])["status"] == "processing"
    row = db.waiting_row(claims[0]["generation_id"])
    assert (row["state"], row["worker"], row["lease_id"]) == ("running", "worker-a", claims[0]["lease_id"])


def test_a_claim_carries_all_that_a_provider_needs(db: Database) -> None:
    request = {
        "prompts": [{"text": "one", "negative_prompt": "blur", "seed": 0}, {"text": "two"}],
        "shared_settings": {"model_version": "v7", "width": 512, "height": 640, "steps": 12, "guidance_scale": 3.5},
    }
    user = db.new_user()
    db.create(user, request)

    claim = db.claim_one()

    assert (claim["prompt"], claim["negative_prompt"], claim["seed"]) == ("one", "blur", 0)
    assert (claim["model"], claim["model_version"]) == ("batchgen/offline-sketch", "v7")
    assert (claim["width"], claim["height"], claim["steps"], claim["guidance_scale"]) == (512, 640, 12, 3.5)
    assert (claim["user_id"], claim["provider"], claim["provider_job_id"]) == (user, None, None)


def test_a_claim_of_zero_items_claims_nothing(db: Database) -> None:
    db.submit()

    claims = db.claim(0)

    assert claims == []


@pytest.mark.parametrize(
    ("worker", "limit", "lease_seconds", "field"),
    [
        ("", 1, 60, "p_worker"),
        ("  ", 1, 60, "p_worker"),
        ("w" * 201, 1, 60, "p_worker"),
        ("w", -1, 60, "p_limit"),
        ("w", 10001, 60, "p_limit"),
        ("w", 1, 0, "p_lease_seconds"),
        ("w", 1, 86401, "p_lease_seconds"),
    ],
)
def test_a_claim_with_an_argument_out_of_range_is_refused(
    shared_db: Database, worker: str, limit: int, lease_seconds: int, field: str
) -> None:
    with refused("PT422") as refusal:
        shared_db.claim(limit, worker, lease_seconds)

    assert refusal.detail["field"] == field


def test_a_renewed_lease_ends_later_by_the_clock_of_the_database(db: Database) -> None:
    db.submit()
    claim = db.claim(1, lease_seconds=5)[0]

    [renewal] = db.renew(claim, lease_seconds=600)

    assert renewal["lease_id"] == claim["lease_id"]
    assert renewal["cancel_requested"] is False
    gained = renewal["lease_expires_at"] - claim["lease_expires_at"]
    assert 590 <= gained.total_seconds() <= 600


def test_a_renewal_leaves_out_leases_that_are_lost(db: Database) -> None:
    db.submit(prompts=3)
    held, expired, ended = db.claim(3)
    db.expire(expired)
    db.complete(ended)

    renewals = db.renew(held, expired, ended, {"lease_id": uuid4()})

    assert [renewal["lease_id"] for renewal in renewals] == [held["lease_id"]]


def test_a_foreign_worker_renews_nothing(db: Database) -> None:
    db.submit()
    claim = db.claim_one()

    assert db.renew(claim, worker=OTHER_WORKER) == []


@pytest.mark.parametrize("call", FENCED.values(), ids=FENCED.keys())
def test_a_stale_lease_writes_nothing(db: Database, call: Call) -> None:
    db.submit()
    late = db.claim_one()
    db.expire(late)
    db.return_expired()
    owner = next(claim for claim in db.claim(worker=OTHER_WORKER) if claim["generation_id"] == late["generation_id"])
    before = (db.item(late["generation_id"]), db.queued(late["generation_id"]))

    with refused("PT409"):
        call(db, late)

    assert (db.item(late["generation_id"]), db.queued(late["generation_id"])) == before
    assert db.complete(owner)["image_id"]


@pytest.mark.parametrize("call", FENCED.values(), ids=FENCED.keys())
def test_a_lease_past_its_end_writes_nothing_even_before_anybody_took_over(db: Database, call: Call) -> None:
    db.submit()
    claim = db.claim_one()
    db.expire(claim)

    with refused("PT409"):
        call(db, claim)

    assert db.item(claim["generation_id"])["status"] == "processing"
    assert db.value("select count(*) from made.images") == 0


@pytest.mark.parametrize("call", FENCED.values(), ids=FENCED.keys())
def test_a_lease_is_lost_when_an_admin_ended_the_item(db: Database, call: Call) -> None:
    db.submit()
    claim = db.claim_one()
    db.run("update public.image_generations set status = 'failed' where id = %s", claim["generation_id"])

    with refused("PT409"):
        call(db, claim)

    assert db.item(claim["generation_id"])["status"] == "failed"


def test_a_foreign_worker_releases_nothing(db: Database) -> None:
    db.submit()
    claim = db.claim_one()

    with refused("PT409"):
        db.release(claim, worker=OTHER_WORKER)

    assert db.item(claim["generation_id"])["status"] == "processing"


def test_a_completion_writes_item_picture_and_totals(db: Database) -> None:
    batch = db.submit()
    claim = db.claim_one()

    answer = db.complete(claim, width=64, height=32, file_size=1234, blurhash="L", public_url="https://x.test/a.png")

    image = db.one("select * from made.images")
    assert answer == {"image_id": str(image["id"])}
    assert image["generation_id"] == claim["generation_id"]
    assert (image["user_id"], image["prompt"]) == (claim["user_id"], claim["prompt"])
    assert (image["filename"], image["format"]) == (f"{claim['generation_id']}.png", "png")
    assert (image["width"], image["height"], image["file_size"]) == (64, 32, 1234)
    item = db.item(claim["generation_id"])
    assert (item["status"], item["error_message"]) == ("completed", None)
    assert item["completed_at"] is not None
    assert item["generation_time_seconds"] >= 0
    assert db.queued(claim["generation_id"]) is None
    assert db.totals(batch["id"]) == ("processing", 1, 0)


def test_a_second_completion_is_refused_and_makes_no_second_picture(db: Database) -> None:
    db.submit()
    claim = db.claim_one()
    db.complete(claim)

    with refused("PT409"):
        db.complete(claim)

    assert db.value("select count(*) from made.images") == 1


@pytest.mark.parametrize(
    "path",
    [
        "",
        "{other}/{generation}.png",
        "{generation}.png",
        "{user}x/{generation}.png",
        "/{user}/{generation}.png",
        "{user}/../{other}/a.png",
        "{user}/./a.png",
        "{user}/..",
        "{user}/",
        "{user}//a.png",
    ],
)
def test_a_picture_outside_its_owners_folder_is_refused(db: Database, path: str) -> None:
    db.submit()
    claim = db.claim_one()
    path = path.format(user=claim["user_id"], other=uuid4(), generation=claim["generation_id"])

    with refused("PT422") as refusal:
        db.complete(claim, storage_path=path)

    assert refusal.detail["field"] == "p_result.storage_path"
    assert db.item(claim["generation_id"])["status"] == "processing"
    assert db.complete(claim)["image_id"]


def test_a_result_that_does_not_fit_images_is_refused(db: Database) -> None:
    db.submit()
    claim = db.claim_one()

    with refused("PT422") as refusal:
        db.complete(claim, width="wide")

    assert refusal.detail["field"] == "p_result"


def test_requested_tags_go_on_the_picture_and_existing_ones_are_used(db: Database) -> None:
    db.run("insert into public.tags (name) values ('fox')")
    prompts = [{"text": "one", "tags": ["Fox", " Night ", "fox"]}, {"text": "two"}]
    db.create(db.new_user(), {"prompts": prompts})
    tagged, plain = db.claim()

    db.complete(tagged)
    db.complete(plain)

    rows = db.run(
        "select g.batch_index, t.name from public.image_tags x join public.tags t on t.id = x.tag_id"
        " join made.images i on i.id = x.image_id"
        " join public.image_generations g on g.id = i.generation_id order by t.name"
    )
    assert [(row["batch_index"], row["name"]) for row in rows] == [(0, "fox"), (0, "night")]
    assert db.value("select count(*) from made.tags") == 2


def test_an_item_that_ran_again_replaces_its_picture_and_keeps_the_users_edits(db: Database) -> None:
    db.submit()
    claim = db.claim_one()
    db.complete(claim)
    db.run("update public.images set is_favorite = true, rating = 5")
    db.run("update public.image_generations set status = 'pending' where id = %s", claim["generation_id"])

    again = next(c for c in db.claim() if c["generation_id"] == claim["generation_id"])
    db.complete(again, format="webp", storage_path=f"{claim['user_id']}/{claim['generation_id']}.webp")

    image = db.one("select * from made.images")
    assert (image["format"], image["is_favorite"], image["rating"]) == ("webp", True, 5)


def test_an_item_with_two_pictures_can_complete_again(db: Database) -> None:
    db.submit()
    claim = db.claim_one()
    db.complete(claim)
    db.run(
        "insert into public.images (generation_id, user_id, filename, storage_path, prompt)"
        " select generation_id, user_id, 'upscaled.png', 'x', prompt from made.images"
    )
    db.run("update public.image_generations set status = 'pending' where id = %s", claim["generation_id"])

    again = next(c for c in db.claim() if c["generation_id"] == claim["generation_id"])
    db.complete(again)

    assert db.value("select count(*) from made.images") == 2


def test_retries_wait_5_10_and_30_seconds_and_then_the_item_fails(db: Database) -> None:
    db.submit()
    waits: list[float] = []
    db.run("delete from public.image_generations where batch_index = 1")

    for retry in range(3):
        answer = db.fail(db.claim_one(), retryable=True)
        assert (answer["status"], answer["retry_count"]) == ("pending", retry + 1)
        item = db.one("select * from made.image_generations")
        assert (item["status"], item["retry_count"]) == ("pending", retry + 1)
        assert answer["retry_in_seconds"] - 1 < db.wait_seconds(item["id"]) <= answer["retry_in_seconds"]
        assert db.claim() == []
        waits.append(answer["retry_in_seconds"])
        db.make_due()
    last = db.claim_one()
    answer = db.fail(last, retryable=True)

    assert waits == [5, 10, 30]
    assert last["attempt"] == 4
    assert (answer["status"], answer["retry_count"]) == ("failed", 3)
    item = db.item(last["generation_id"])
    assert (item["status"], item["error_message"]) == ("failed", "It took too long.")
    assert item["completed_at"] is not None
    assert db.queued(last["generation_id"]) is None
    assert db.value("select code from batchgen.failures") == "timeout"


def test_a_failure_for_good_is_not_retried(db: Database) -> None:
    batch = db.submit()
    claim = db.claim_one()

    answer = db.fail(claim, code="blocked", message="Refused by policy.", retryable=False)

    assert answer == {"status": "failed", "retry_count": 0, "retry_in_seconds": None}
    assert db.item(claim["generation_id"])["error_message"] == "Refused by policy."
    assert db.totals(batch["id"]) == ("processing", 0, 1)


def test_a_provider_that_asks_to_wait_costs_no_attempt(db: Database) -> None:
    db.submit()
    claim = db.claim_one()

    answer = db.fail(claim, retryable=True, retry_after_seconds=77)

    assert answer == {"status": "pending", "retry_count": 0, "retry_in_seconds": 77}
    assert 76 < db.wait_seconds(claim["generation_id"]) <= 77
    db.make_due()
    again = next(c for c in db.claim() if c["generation_id"] == claim["generation_id"])
    assert again["attempt"] == 1


def test_a_job_that_is_paid_for_survives_a_wait_that_the_provider_asked_for(db: Database) -> None:
    db.submit()
    claim = db.claim_one()
    db.attach(claim, "job-1")

    db.fail(claim, retryable=True, retry_after_seconds=0)

    db.make_due()
    again = next(c for c in db.claim() if c["generation_id"] == claim["generation_id"])
    assert again["provider_job_id"] == "job-1"


@pytest.mark.parametrize("error", [[], "late", None], ids=["list", "text", "null"])
def test_an_error_that_is_no_object_is_refused(db: Database, error: object) -> None:
    db.submit()
    claim = db.claim_one()

    with refused("PT422"):
        db.as_service(
            "select public.fail_generation(%s, %s, to_jsonb(%s::json))",
            claim["generation_id"],
            claim["lease_id"],
            json.dumps(error),
        )


def test_an_expired_lease_goes_back_and_counts_as_a_crash(db: Database) -> None:
    db.submit()
    claim = db.claim_one()
    db.attach(claim, "job-1")
    db.expire(claim)

    returned = db.return_expired()

    assert returned == 1
    item = db.item(claim["generation_id"])
    assert (item["status"], item["retry_count"]) == ("pending", 0)
    row = db.waiting_row(claim["generation_id"])
    assert (row["state"], row["crash_count"], row["lease_id"]) == ("waiting", 1, None)
    again = next(c for c in db.claim() if c["generation_id"] == claim["generation_id"])
    assert (again["attempt"], again["provider"], again["provider_job_id"]) == (2, "replicate", "job-1")


def test_the_third_crash_fails_the_item(db: Database) -> None:
    db.submit()
    db.run("delete from public.image_generations where batch_index = 1")

    for _ in range(3):
        db.expire(db.claim_one())
        assert db.return_expired() == 1

    item = db.one("select * from made.image_generations")
    assert item["status"] == "failed"
    assert "3 times" in item["error_message"]
    assert db.value("select code from batchgen.failures") == "crashed"
    assert db.claim() == []


def test_a_claim_takes_expired_items_back_by_itself(db: Database) -> None:
    db.submit()
    for claim in db.claim():
        db.expire(claim)

    again = db.claim(worker=OTHER_WORKER) + db.claim(worker="worker-c")

    assert [claim["attempt"] for claim in again] == [2, 2]


def test_a_released_item_costs_nothing_and_keeps_its_job(db: Database) -> None:
    db.submit()
    first, second = db.claim()
    db.attach(first, "job-1")

    released = db.release(first, second)

    assert {row["generation_id"] for row in released} == {first["generation_id"], second["generation_id"]}
    assert db.item(first["generation_id"])["status"] == "pending"
    again = db.claim(worker=OTHER_WORKER)
    assert [(c["attempt"], c["provider_job_id"]) for c in again] == [(1, "job-1"), (1, None)]


def test_releasing_nothing_is_no_error(shared_db: Database) -> None:
    assert shared_db.release() == []


def test_a_failed_attempt_drops_its_job(db: Database) -> None:
    db.submit()
    claim = db.claim_one()
    db.attach(claim, "job-1")

    db.fail(claim, retryable=True)

    row = db.waiting_row(claim["generation_id"])
    assert (row["provider"], row["provider_job_id"]) == (None, None)


@pytest.mark.parametrize(("provider", "job"), [("", "job-1"), ("replicate", "")])
def test_a_job_without_a_name_is_refused(db: Database, provider: str, job: str) -> None:
    db.submit()
    claim = db.claim_one()

    with refused("PT422"):
        db.attach(claim, job, provider)


@pytest.mark.parametrize("end", ["complete", "retry", "release", "crash", "fail"])
def test_an_attempt_updates_its_item_at_most_twice(db: Database, end: str) -> None:
    db.run(
        "create table public.updates (id uuid);"
        "create function public.count_update() returns trigger language plpgsql as"
        " $$begin insert into public.updates values (new.id); return null; end$$;"
        " create trigger count_update after update on public.image_generations"
        " for each row execute function public.count_update()"
    )
    db.run("alter function public.count_update() security definer")
    db.submit()

    claim = db.claim_one()
    db.attach(claim, "job-1")
    db.renew(claim)
    match end:
        case "complete":
            db.complete(claim)
        case "retry":
            db.fail(claim, retryable=True)
        case "fail":
            db.fail(claim)
        case "release":
            db.release(claim)
        case _:
            db.expire(claim)
            db.return_expired()

    assert db.value("select count(*) from public.updates where id = %s", claim["generation_id"]) == 2
    assert db.value("select count(*) from public.updates") == 2


def test_a_finished_item_writes_its_picture_once(db: Database) -> None:
    """Each write of images is an event for every device of its user."""
    db.run(
        "create table public.writes (what text);"
        "create function public.note_write() returns trigger language plpgsql security definer as"
        " $$begin insert into public.writes values (tg_op); return null; end$$;"
        " create trigger note_write after insert or update or delete on public.images"
        " for each row execute function public.note_write()"
    )
    db.submit()

    db.complete(db.claim_one())

    assert db.run("select what from public.writes") == [{"what": "INSERT"}]
