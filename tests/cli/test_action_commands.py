"""Commands that act on a whole batch, as processes beside a real worker."""

import asyncio
import os
import uuid
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import httpx
import pytest
from shell import Ended, Shell

from tests.support import Database, User, eventually

COMMANDS = ("cancel", "retry", "save", "tag", "delete")


def arguments(command: str, batch_id: str) -> tuple[str, ...]:
    more = {"tag": ("animals",), "delete": ("--yes",)}
    return command, batch_id, *more.get(command, ())


def outcomes(ended: Ended) -> list[str]:
    """The result for each item, in the batch's order."""
    answer: Mapping[str, Any] = ended.json
    done = [(item["index"], item["action"]) for item in answer["done"]]
    refused = [(item["index"], item["code"]) for item in answer["refused"]]
    return [outcome for _, outcome in sorted(done + refused)]


def table(ended: Ended) -> list[list[str]]:
    """The rows of the table, split into columns."""
    lines = ended.stdout.split("\n\n", 1)[1].splitlines()
    return [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines]


async def finished(shell: Shell, *prompts: str) -> str:
    """The id of a batch that has ended."""
    ended = await shell.run("submit", *prompts, "--wait", "--json")
    assert ended.code in (0, 1), ended.stderr
    return ended.json["batch"]["id"]


async def test_a_running_batch_is_cancelled_within_seconds(signed_in: Shell) -> None:
    slow = [f"fox {n} #slow:60" for n in range(4)]
    batch_id = (await signed_in.run("submit", *slow, "--json")).json["batch"]["id"]

    async def three_run() -> bool:
        shown = await signed_in.run("show", batch_id, "--json")
        return [item["status"] for item in shown.json["generations"]].count("processing") == 3

    await eventually(three_run, 20)
    cancelled = await signed_in.run("cancel", batch_id, "--json")
    watched = await signed_in.run("watch", batch_id)

    assert cancelled.code == 0
    assert outcomes(cancelled) == ["cancel_requested"] * 3 + ["cancelled"]
    assert watched.code == 1
    assert "cancelled: 0 of 4 done, 4 cancelled" in watched.stdout
    assert watched.stdout.count("cancelled: Cancelled by user") == 4


async def test_an_action_refused_for_every_item_exits_with_1_and_says_why(signed_in: Shell) -> None:
    batch_id = await finished(signed_in, "a fox", "a bird")

    for_people, for_machines = await asyncio.gather(
        signed_in.run("cancel", batch_id), signed_in.run("cancel", batch_id, "--json")
    )

    assert (for_people.code, for_people.stderr) == (1, "")
    assert for_people.stdout.startswith(f"Batch {batch_id[:8]} completed: 2 of 2 done\n")
    assert [row[:2] for row in table(for_people)] == [["#", "Result"], ["1", "refused"], ["2", "refused"]]
    assert all(row[2] for row in table(for_people))
    assert for_machines.code == 1
    assert outcomes(for_machines) == ["already_completed"] * 2


async def test_retry_with_wait_exits_as_the_batch_ends(
    signed_in: Shell, limits: Callable[..., Awaitable[None]]
) -> None:
    await limits(max_retries=0)
    batch_id = await finished(signed_in, "a fox", "a bird #fail:1", "a cat #blocked")

    await limits(max_retries=1, retry_delays_seconds=[0.05])
    retried = await signed_in.run("retry", batch_id, "--wait", "--json")

    assert retried.code == 1
    assert outcomes(retried) == ["already_completed", "requeued", "blocked_by_policy"]
    assert [item["status"] for item in retried.json["generations"]] == ["completed", "completed", "failed"]
    assert retried.json["batch"]["status"] == "partial"


async def test_retry_without_wait_prints_the_watch_command(signed_in: Shell) -> None:
    batch_id = await finished(signed_in, "a fox", "a bird #fail")

    retried = await signed_in.run("retry", batch_id)
    await signed_in.run("watch", batch_id)

    assert retried.code == 0
    assert retried.stderr == f"Follow it with: batchgen watch {batch_id[:8]}\n"
    assert [row[:2] for row in table(retried)[1:]] == [["1", "refused"], ["2", "requeued"]]


async def test_saving_keeps_the_pictures_and_downloads_them_to_a_given_folder(
    signed_in: Shell, database: Database
) -> None:
    batch_id = await finished(signed_in, "a fox", "../a bird", "a cat #fail")

    kept = await signed_in.run("save", batch_id, "--json")
    saved = await signed_in.run("save", batch_id, "--to", "out", "--json")
    for_people = await signed_in.run("save", batch_id, "--to", "out")

    assert (kept.code, outcomes(kept)) == (0, ["saved", "saved", "no_image"])
    assert "files" not in kept.json
    assert outcomes(saved) == ["already_saved", "already_saved", "no_image"]
    assert [file["path"] for file in saved.json["files"]] == ["out/1-a-fox.png", "out/2-a-bird.png"]
    assert {file.name for file in (signed_in.folder / "out").iterdir()} == {"1-a-fox.png", "2-a-bird.png"}
    assert for_people.stdout.splitlines()[-2:] == ["1  out/1-a-fox.png", "2  out/2-a-bird.png"]
    rows = await database.execute(
        "select count(*) as kept from public.images i join public.image_generations g on g.id = i.generation_id"
        " where g.batch_id = %s and i.saved_at is not null",
        [batch_id],
    )
    assert await rows.fetchone() == {"kept": 2}


async def test_tags_are_shown_normalized_and_escaped(signed_in: Shell) -> None:
    batch_id = await finished(signed_in, "a fox", "a bird")

    tagged = await signed_in.run("tag", batch_id, "Animals", " animals ", "[red]\x1b[31mx")

    assert "\x1b" not in tagged.stdout + tagged.stderr
    if tagged.code == 0:  # the database may refuse such a tag, too
        assert table(tagged)[1] == ["1", "tagged", "animals, [red]\\x1b[31mx"]
    plain = await signed_in.run("tag", batch_id, "Animals", " animals ", "--json")
    assert plain.code == 0
    assert [item["tags"] for item in plain.json["done"]] == [["animals"]] * 2


async def test_invalid_tags_exit_with_2(signed_in: Shell) -> None:
    batch_id = await finished(signed_in, "a fox", "a bird")

    tagged = await signed_in.run("tag", batch_id, " ", "--json")

    assert (tagged.code, tagged.stdout) == (2, "")
    assert tagged.error["remedy"]


async def test_deleting_removes_the_batchs_pictures_and_files_and_no_others(signed_in: Shell) -> None:
    gone, stays = [await finished(signed_in, "a fox", "a bird") for _ in range(2)]
    addresses = {
        batch_id: [image["public_url"] for image in (await signed_in.run("show", batch_id, "--json")).json["images"]]
        for batch_id in (gone, stays)
    }

    deleted = await signed_in.run("delete", gone, "--yes")

    assert deleted.code == 0
    assert table(deleted) == [["#", "Result"], ["1", "deleted"], ["2", "deleted"]]
    assert (await signed_in.run("show", gone, "--json")).json["images"] == []
    async with httpx.AsyncClient() as http:

        async def are_gone() -> bool:
            return not any([(await http.get(address)).is_success for address in addresses[gone]])

        await eventually(are_gone, 20, what="the files are removed")
        assert all([(await http.get(address)).is_success for address in addresses[stays]])


async def at_a_terminal(shell: Shell, answer: bytes, *arguments: str) -> Ended:
    """Run a command with a terminal as stdin on which `answer` is typed."""
    ours, theirs = os.openpty()
    try:
        os.write(ours, answer)
        process = await shell.start(*arguments, stdin=theirs)
        out, err = await asyncio.wait_for(process.communicate(), 60)
    finally:
        os.close(ours)
        os.close(theirs)
    return Ended(process.returncode or 0, out.decode(), err.decode())


async def test_deleting_at_a_terminal_names_the_batch_and_asks_first(signed_in: Shell) -> None:
    ended = await signed_in.run("submit", "a fox", "a bird", "--wait", "--json", "--name", "evil \x1b[31m")
    batch_id = ended.json["batch"]["id"]

    refused = await at_a_terminal(signed_in, b"\n", "delete", batch_id)
    kept = (await signed_in.run("show", batch_id, "--json")).json["images"]
    agreed = await at_a_terminal(signed_in, b"y\n", "delete", batch_id, "--json")

    assert (refused.code, refused.stdout) == (130, "")
    first, question = refused.stderr.splitlines()
    assert first.startswith(f"Batch {batch_id[:8]} “evil \\x1b[31m” completed: 2 of 2 done")
    assert question == "Delete all its pictures for good? [y/N] Nothing was deleted."
    assert len(kept) == 2
    assert agreed.code == 0
    assert outcomes(agreed) == ["deleted"] * 2


async def test_deleting_without_a_terminal_needs_the_yes_option(signed_in: Shell) -> None:
    batch_id = await finished(signed_in, "a fox", "a bird")

    ended = await signed_in.run("delete", batch_id, stdin="y\n")

    assert (ended.code, ended.stdout) == (2, "")
    assert "--yes" in ended.stderr
    assert len((await signed_in.run("show", batch_id, "--json")).json["images"]) == 2


@pytest.mark.parametrize("command", COMMANDS)
async def test_an_unknown_batch_exits_with_2(signed_in: Shell, command: str) -> None:
    ended = await signed_in.run(*arguments(command, str(uuid.uuid4())), "--json")

    assert (ended.code, ended.stdout) == (2, "")
    assert ended.error["code"] == "batch_not_found"


async def test_an_operator_acts_on_all_batches_or_only_on_the_given_users(
    operator: Shell, user: User, new_user: Callable[[], Awaitable[User]]
) -> None:
    submitted = await operator.run("submit", "a fox", "a bird", "--user", user.id, "--wait", "--json")
    batch_id, stranger = submitted.json["batch"]["id"], (await new_user()).id

    for_another = await operator.run("delete", batch_id, "--yes", "--user", stranger, "--json")
    for_the_owner, for_any = await asyncio.gather(
        operator.run("tag", batch_id, "animals", "--user", user.id, "--json"),
        operator.run("save", batch_id, "--operator", "--json"),
    )

    assert (for_another.code, for_another.error["code"]) == (2, "batch_not_found")
    assert outcomes(for_the_owner) == ["tagged"] * 2
    assert outcomes(for_any) == ["saved"] * 2
