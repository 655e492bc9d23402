"""`--item` of the commands that act on batches, and retries with changes, beside a real worker."""

from collections.abc import Awaitable, Callable

import pytest
from shell import Shell
from test_action_commands import finished, outcomes

from tests.support import eventually


async def test_items_are_named_by_number_or_id(signed_in: Shell) -> None:
    batch_id = await finished(signed_in, "a fox", "a bird", "a cat")
    third = (await signed_in.run("show", batch_id, "--json")).json["generations"][2]["id"]

    by_both = await signed_in.run("save", batch_id, "--item", "1", "--item", third[:8], "--to", "out", "--json")
    twice = await signed_in.run("tag", batch_id, "red", "--item", "3", "--item", third, "--json")
    untagged = await signed_in.run("untag", batch_id, "red", "--json")
    deleted = await signed_in.run("delete", batch_id, "--yes", "--item", "3", "--json")

    assert [entry["index"] for entry in by_both.json["done"]] == [0, 2]
    assert [file["path"] for file in by_both.json["files"]] == ["out/1-a-fox.png", "out/3-a-cat.png"]
    assert [entry["index"] for entry in twice.json["done"]] == [2]
    assert outcomes(untagged) == ["already_untagged", "already_untagged", "untagged"]
    assert outcomes(deleted) == ["deleted"]
    assert len((await signed_in.run("show", batch_id, "--json")).json["images"]) == 2


@pytest.mark.parametrize(
    ("typed", "code"),
    [("4", "item_not_found"), ("0", "item_not_found"), ("x", "invalid_item"), ("beef", "item_not_found")],
)
async def test_an_unknown_item_exits_with_2(signed_in: Shell, typed: str, code: str) -> None:
    batch_id = (await signed_in.run("submit", "a fox", "a bird", "--json")).json["batch"]["id"]

    ended = await signed_in.run("cancel", batch_id, "--item", typed, "--json")

    assert (ended.code, ended.stdout, ended.error["code"]) == (2, "", code)
    assert ended.error["remedy"]


async def test_a_blocked_item_runs_again_with_another_prompt(
    signed_in: Shell, limits: Callable[..., Awaitable[None]]
) -> None:
    await limits(max_retries=0)
    batch_id = await finished(signed_in, "a fox", "a cat #blocked")

    unchanged = await signed_in.run("retry", batch_id, "--item", "2", "--json")
    retried = await signed_in.run("retry", batch_id, "--item", "2", "--prompt", "a tame cat", "--wait", "--json")

    assert (unchanged.code, outcomes(unchanged)) == (1, ["blocked_by_policy"])
    assert (retried.code, outcomes(retried)) == (0, ["requeued"])
    assert retried.json["generations"][1]["prompt"] == "a tame cat"
    assert retried.json["batch"]["status"] == "completed"


async def test_running_items_finish_when_only_waiting_ones_are_cancelled(signed_in: Shell) -> None:
    prompts = [f"fox {n} #slow:6" for n in range(5)]
    batch_id = (await signed_in.run("submit", *prompts, "--json")).json["batch"]["id"]

    async def three_run() -> bool:
        shown = await signed_in.run("show", batch_id, "--json")
        return [item["status"] for item in shown.json["generations"]].count("processing") == 3

    await eventually(three_run, 20)
    cancelled = await signed_in.run("cancel", batch_id, "--waiting-only", "--json")
    ended = await signed_in.run("watch", batch_id)

    assert outcomes(cancelled) == ["left_running"] * 3 + ["cancelled"] * 2
    assert ended.code == 1
    shown = (await signed_in.run("show", batch_id, "--json")).json
    assert [item["status"] for item in shown["generations"]] == ["completed"] * 3 + ["failed"] * 2


async def test_a_batch_and_its_pictures_are_rated(signed_in: Shell) -> None:
    batch_id = await finished(signed_in, "a fox", "a bird")

    pictures = await signed_in.run("rate", batch_id, "5", "--item", "2", "--json")
    batch = await signed_in.run("rate", batch_id, "4", "--comment", "Quick \x1b[31m")
    as_json = await signed_in.run("rate", batch_id, "3", "--json")
    wrong = await signed_in.run("rate", batch_id, "6", "--json")

    assert [(entry["index"], entry["rating"]) for entry in pictures.json["done"]] == [(1, 5)]
    assert batch.stdout == f"Batch {batch_id[:8]}: 4 of 5 stars: Quick \\x1b[31m\n"
    assert (as_json.json["batch_id"], as_json.json["stars"], as_json.json["comment"]) == (batch_id, 3, None)
    assert (wrong.code, wrong.error["code"]) == (2, "wrong_usage")


async def test_a_batch_goes_to_the_trash_comes_back_and_is_deleted(signed_in: Shell) -> None:
    batch_id = await finished(signed_in, "a fox", "a bird")

    trashed = await signed_in.run("trash", batch_id, "--json")
    listed = await signed_in.run("trash", "--json")
    table = await signed_in.run("trash")
    left = await signed_in.run("list", "--json")
    restored = await signed_in.run("restore", batch_id, "--item", "2", "--json")
    emptied = await signed_in.run("empty-trash", "--yes")
    nothing = await signed_in.run("trash")

    assert outcomes(trashed) == ["trashed"] * 2
    assert [entry["batch_id"] for entry in listed.json["entries"]] == [batch_id]
    assert batch_id[:8] in table.stdout
    assert batch_id not in [batch["id"] for batch in left.json]
    assert outcomes(restored) == ["restored"]
    assert emptied.stdout == "Deleted 1 pictures and 0 batches.\n"
    assert nothing.stderr == "The trash is empty.\n"
    shown = (await signed_in.run("show", batch_id, "--json")).json
    assert [image["generation_id"] for image in shown["images"]] == [shown["generations"][1]["id"]]


async def test_a_batch_runs_again_and_makes_similar_pictures(signed_in: Shell) -> None:
    batch_id = await finished(signed_in, "a fox", "a bird")
    seeds = [item["seed"] for item in (await signed_in.run("show", batch_id, "--json")).json["generations"]]

    similar = await signed_in.run("similar", batch_id, "--item", "1", "--count", "2", "--wait", "--json")
    again = await signed_in.run("again", batch_id, "--width", "512", "--json")
    for_people = await signed_in.run("again", batch_id, "--width", "512")
    refused = await signed_in.run("similar", batch_id, "--count", "9", "--json")

    assert similar.code == 0
    assert [item["prompt"] for item in similar.json["generations"]] == ["a fox", "a fox"]
    assert [one["field"] for one in similar.json["differs"]] == ["seed"]
    assert [item["seed"] for item in again.json["batch"]["generations"]] == seeds
    assert again.json["differs"] == [{"field": "width", "old": 1024, "new": 512}]
    assert "width: 512 instead of 1024" in for_people.stdout
    assert (refused.code, refused.error["code"], refused.error["field"]) == (2, "too_many_prompts", "p_count")
