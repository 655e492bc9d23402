"""What a screen shows of a batch, in one call."""

from datetime import datetime
from uuid import UUID

from database_harness import Database, Row, a_request, refused

DETAILS = "select public.batch_details(%s) as answer"


def details(db: Database, batch: Row) -> Row:
    """Read by the batch's owner."""
    owner: UUID = db.batch(batch["id"])["user_id"]
    return db.as_user(owner, DETAILS, batch["id"])[0]["answer"]


def seconds_from_now(answer: Row, moment: str) -> float:
    return (datetime.fromisoformat(moment) - datetime.fromisoformat(answer["now"])).total_seconds()


def finish(db: Database, seconds: float, times: int = 1) -> None:
    """Finish items of the default model that took this long."""
    for _ in range(times):
        db.submit(prompts=2)
        for claim in db.claim(2):
            started = "update public.image_generations set started_at = now() - make_interval(secs => %s) where id = %s"
            db.run(started, seconds, claim["generation_id"])
            db.complete(claim)
            ended = "update public.image_generations set completed_at = started_at + make_interval(secs => %s)"
            db.run(ended + " where id = %s", seconds, claim["generation_id"])


def estimate(db: Database, seconds: float | None) -> None:
    db.run("update batchgen.models set estimated_seconds = %s where is_default", seconds)


def test_a_new_batch_shows_what_was_asked_for(db: Database) -> None:
    request = {
        "prompts": [{"text": "a fox", "seed": 9223372036854775807, "tags": ["Red"]}, {"text": "a bird"}],
        "batch_name": "Animals",
    }
    batch = db.create(db.new_user(), request)

    answer = details(db, batch)

    shown = answer["batch"]
    assert (shown["name"], shown["status"], shown["total_count"]) == ("Animals", "pending", 2)
    assert (shown["pending_count"], shown["processing_count"], shown["cancelled_count"]) == (2, 0, 0)
    assert (shown["model_name"], shown["cost_usd"]) == ("Offline sketch", 0)
    fox, bird = answer["items"]
    assert (fox["index"], fox["prompt"], fox["status"], fox["attempt"]) == (0, "a fox", "pending", 1)
    assert fox["seed"] == "9223372036854775807"
    assert fox["tags"] == ["red"]
    assert fox["picture"] is None
    assert fox["retry_refused"]["code"] == "not_ended"
    assert not fox["may_retry"]
    assert fox["wait"]["reason"] == "queue"
    assert [fox["wait"]["position"], bird["wait"]["position"]] == [1, 2]


def test_a_running_item_shows_its_attempt_and_start(db: Database) -> None:
    batch = db.submit(prompts=2)
    [first, _] = db.claim(2)
    db.fail(first, retryable=True)
    db.make_due()
    [again] = db.claim(1)

    answer = details(db, batch)

    item = next(one for one in answer["items"] if one["id"] == str(again["generation_id"]))
    assert item["attempt"] == again["attempt"] == 2
    assert item["status"] == "processing"
    assert -60 < seconds_from_now(answer, item["started_at"]) <= 0
    assert item["wait"] is None
    assert answer["batch"]["processing_count"] == 2


def test_a_failed_item_says_whether_it_may_be_retried(db: Database) -> None:
    batch = db.submit(prompts=3)
    blocked, broken, done = db.claim(3)
    db.fail(blocked, code="blocked_by_policy", message="Not this.", retryable=False)
    db.fail(broken, code="bad_request", message="Too odd.", retryable=False)
    db.complete(done)

    items = {item["id"]: item for item in details(db, batch)["items"]}

    refused_item = items[str(blocked["generation_id"])]
    assert (refused_item["code"], refused_item["message"]) == ("blocked_by_policy", "Not this.")
    assert (refused_item["may_retry"], refused_item["may_retry_edited"]) == (False, True)
    assert refused_item["retry_refused"]["code"] == "blocked_by_policy"
    assert "another prompt" in refused_item["retry_refused"]["message"]
    retried = items[str(broken["generation_id"])]
    assert (retried["code"], retried["may_retry"], retried["retry_refused"]) == ("bad_request", True, None)
    assert retried["may_retry_edited"]
    assert items[str(done["generation_id"])]["retry_refused"]["code"] == "already_completed"


def test_may_retry_agrees_with_retry_failed(db: Database) -> None:
    """For every code that an item can fail with."""
    codes = ["cancelled", "blocked_by_policy", "outcome_unknown", "timeout", "crashed", "bad_request"]
    db.run("update batchgen.settings set max_parallel_per_user = 10")
    batch = db.submit(prompts=len(codes) + 1)
    for claim, code in zip(db.claim(), [*codes, None], strict=True):
        if code:
            db.fail(claim, code=code, message="No.", retryable=False)
        else:
            db.complete(claim)
    owner: UUID = db.batch(batch["id"])["user_id"]
    shown = {item["id"]: item["may_retry"] for item in details(db, batch)["items"]}

    [row] = db.as_user(owner, "select public.retry_failed(%s) as answer", batch["id"])

    assert {one["generation_id"] for one in row["answer"]["done"]} == {item for item, may in shown.items() if may}
    assert any(shown.values())


def test_a_finished_item_shows_its_picture(db: Database) -> None:
    batch = db.create(db.new_user(), {"prompts": [{"text": "a", "tags": ["one"]}, {"text": "b"}]})
    claim, other = db.claim(2)
    picture = {
        "width": 64,
        "height": 32,
        "file_size": 100,
        "blurhash": "L00000fQfQfQfQfQfQfQfQfQfQfQ",
        "seed": 9223372036854775807,
        "public_url": "https://example.com/a.png",
    }
    db.complete(claim, **picture)
    db.complete(other)
    owner: UUID = db.batch(batch["id"])["user_id"]
    db.as_user(owner, "select public.save_batch_images(%s)", batch["id"])
    db.as_user(owner, "select public.tag_batch_images(%s, '{two}')", batch["id"])
    db.as_user(owner, "update public.images set is_favorite = true, rating = 4 where width = 64")

    item, _ = details(db, batch)["items"]

    shown = item["picture"]
    assert {key: shown[key] for key in picture} == picture | {"seed": "9223372036854775807"}
    assert shown["storage_path"] == f"{owner}/{claim['generation_id']}.png"
    assert (shown["is_favorite"], shown["rating"], shown["saved_at"] is not None) == (True, 4, True)
    assert item["tags"] == ["one", "two"]
    assert item["status"] == "completed"
    assert item["expected_end"] is None


def test_a_deleted_picture_is_counted_and_gone(db: Database) -> None:
    batch = db.submit()
    db.complete_all(db.claim())
    owner: UUID = db.batch(batch["id"])["user_id"]
    db.as_user(owner, "select public.delete_batch_images(%s)", batch["id"])

    answer = details(db, batch)

    assert [item["picture"] for item in answer["items"]] == [None, None]
    assert answer["batch"]["deleted_count"] == 2


def test_the_end_is_expected_by_the_models_estimate_until_five_pictures_are_known(db: Database) -> None:
    estimate(db, 40)
    finish(db, 10, times=2)
    batch = db.submit(prompts=2)

    answer = details(db, batch)

    end = answer["items"][0]["expected_end"]
    assert (end["is_measured"], end["pictures"]) == (False, 4)
    assert 39 < seconds_from_now(answer, end["earliest"]) < 41
    assert end["earliest"] == end["latest"] or abs(seconds_from_now(answer, end["latest"]) - 40) < 1


def test_the_end_is_expected_from_the_mean_to_the_75th_percentile_of_the_last_twenty(db: Database) -> None:
    estimate(db, 1000)
    finish(db, 500, times=1)
    # The last twenty: 16 of 10 s, then 4 of 30 s. Mean 14 s, 75th percentile 10 s.
    finish(db, 10, times=8)
    finish(db, 30, times=2)
    batch = db.submit(prompts=2)

    answer = details(db, batch)

    end = answer["items"][0]["expected_end"]
    assert (end["is_measured"], end["pictures"]) == (True, 20)
    assert 9 < seconds_from_now(answer, end["earliest"]) < 11
    assert 13 < seconds_from_now(answer, end["latest"]) < 15
    assert answer["batch"]["expected_end"]["latest"] == answer["items"][1]["expected_end"]["latest"]


def test_items_behind_the_users_own_limit_end_in_later_rounds(db: Database) -> None:
    estimate(db, 100)
    batch = db.submit(prompts=8)
    for claim in db.claim():
        started = "update public.image_generations set started_at = now() - interval '40 seconds' where id = %s"
        db.run(started, claim["generation_id"])
        queued = "update batchgen.queue set started_at = now() - interval '40 seconds' where generation_id = %s"
        db.run(queued, claim["generation_id"])

    answer = details(db, batch)

    ends = [round(seconds_from_now(answer, item["expected_end"]["latest"]), -1) for item in answer["items"]]
    assert ends == [60, 60, 60, 160, 160, 160, 260, 260]
    assert round(seconds_from_now(answer, answer["batch"]["expected_end"]["latest"]), -1) == 260


def test_no_end_is_expected_where_it_cannot_be_foreseen(db: Database) -> None:
    estimate(db, None)
    unknown = details(db, db.submit())
    estimate(db, 10)
    batch = db.submit()
    db.run("update batchgen.queue set due_at = now() - interval '1 hour'")
    db.run("delete from batchgen.workers")

    answer = details(db, batch)

    assert [item["expected_end"] for item in unknown["items"]] == [None, None]
    assert [item["wait"]["reason"] for item in answer["items"]] == ["no_worker", "no_worker"]
    assert [item["expected_end"] for item in answer["items"]] == [None, None]
    assert answer["batch"]["expected_end"] is None


def test_a_late_item_may_end_any_moment(db: Database) -> None:
    estimate(db, 1)
    batch = db.submit()
    db.claim()
    db.run("update public.image_generations set started_at = now() - interval '1 hour'")

    answer = details(db, batch)

    assert all(0 <= seconds_from_now(answer, item["expected_end"]["latest"]) < 5 for item in answer["items"])


def test_a_retry_is_expected_after_its_delay(db: Database) -> None:
    estimate(db, 100)
    db.run("update batchgen.settings set retry_delays_seconds = '{50}'")
    batch = db.submit()
    [claim, _] = db.claim(2)
    db.fail(claim, retryable=True)

    answer = details(db, batch)

    item = next(one for one in answer["items"] if one["id"] == str(claim["generation_id"]))
    assert item["wait"]["reason"] == "retry"
    assert 140 < seconds_from_now(answer, item["expected_end"]["latest"]) < 151


def test_an_items_cost_is_that_of_its_orders(db: Database) -> None:
    db.run("update batchgen.models set provider = 'replicate', price_usd = 0.5 where is_default")
    batch = db.submit()
    claim, _ = db.claim(2)
    order = 'select public.begin_order(%s, %s, \'{"provider": "replicate"}\')'
    db.as_service(order, claim["generation_id"], claim["lease_id"])
    db.complete(claim)

    answer = details(db, batch)

    assert sorted(item["cost_usd"] for item in answer["items"]) == [0, 0.5]
    assert answer["batch"]["cost_usd"] == 0.5


def test_nobody_else_learns_that_a_batch_exists(db: Database) -> None:
    batch = db.submit()
    stranger = db.new_user()

    with refused("PT404") as of_another:
        db.as_user(stranger, DETAILS, batch["id"])
    with refused("PT404") as missing:
        db.as_user(stranger, DETAILS, UUID(int=1))

    assert of_another.detail == missing.detail
    assert of_another.detail["code"] == "batch_not_found"


def test_an_empty_batch_is_shown(db: Database) -> None:
    batch = db.submit()
    db.run("delete from public.image_generations where batch_id = %s", batch["id"])

    answer = details(db, batch)

    assert answer["items"] == []
    assert answer["batch"]["pending_count"] == 0


def test_the_waits_of_several_batches_are_those_of_each(db: Database) -> None:
    user = db.new_user()
    batches = [db.create(user, a_request(5)) for _ in range(3)]
    db.claim()
    [row] = db.as_user(user, "select public.batches_page() as answer")

    one_by_one = [details(db, batch)["items"] for batch in reversed(batches)]

    together = [one["items"] for one in row["answer"]["batches"]]
    assert [[item["wait"] for item in items] for items in together] == [
        [item["wait"] for item in items] for items in one_by_one
    ]


def test_an_items_credits_are_held_then_spent_or_free_again(db: Database) -> None:
    db.run("update batchgen.settings set credits = true")
    db.run("update public.models set cost_per_generation = 2 where is_default")
    user = db.new_user()
    db.as_service("select public.grant_credits(%s, 10)", user)
    batch = db.create(user, a_request(2))
    held = details(db, batch)
    done, failed = db.claim(2)
    db.complete(done)
    db.fail(failed, retryable=False)

    answer = details(db, batch)

    assert [item["credits"] for item in held["items"]] == [2, 2]
    spent = {item["id"]: item["credits"] for item in answer["items"]}
    assert spent == {str(done["generation_id"]): 2, str(failed["generation_id"]): 0}
    assert answer["batch"]["credits"] == 2


def test_a_rating_is_shown(db: Database) -> None:
    batch = db.submit()
    owner: UUID = db.batch(batch["id"])["user_id"]
    unrated = details(db, batch)["batch"]["rating"]

    db.as_user(owner, "select public.rate_batch(%s, 4, 'Nice.')", batch["id"])

    assert unrated is None
    rating = details(db, batch)["batch"]["rating"]
    assert (rating["stars"], rating["comment"]) == (4, "Nice.")
