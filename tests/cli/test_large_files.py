"""`batchgen submit --file` with many prompts: everything arrives once, whatever happens in between."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from shell import Shell

from tests.support import Database, User, eventually

Limits = Callable[..., Awaitable[None]]
FAST = ("--width", "64", "--height", "64")


async def texts(database: Database, user: User) -> Counter[str]:
    query = "select prompt from public.image_generations where user_id = %s"
    return Counter(row["prompt"] for row in await (await database.execute(query, [user.id])).fetchall())


async def sizes(database: Database, user: User) -> list[int]:
    query = "select total_count from public.batch_generations where user_id = %s order by total_count"
    return [row["total_count"] for row in await (await database.execute(query, [user.id])).fetchall()]


def write(shell: Shell, name: str, content: str) -> str:
    (shell.folder / name).write_text(content)
    return name


@pytest.mark.timeout(300)
async def test_500_prompts_killed_twice_become_500_items(
    signed_in: Shell, user: User, database: Database, limits: Limits
) -> None:
    await limits(max_waiting_per_user=1000, max_parallel_per_user=1)
    prompts = [f"a fox, number {n}" for n in range(500)]
    name = write(signed_in, "500.txt", "\n".join(prompts) + "\n")

    seen = 0
    for _ in range(2):
        process = await signed_in.start("submit", "--file", name, *FAST)

        async def has_grown(least: int = seen) -> int:
            count = sum((await texts(database, user)).values())
            return count if count > least + 30 else 0

        seen = await eventually(has_grown, 60, every=0.05, what="more items")
        process.send_signal(signal.SIGKILL)
        await process.communicate()
        assert seen < 500
    ended = await signed_in.run("submit", "--file", name, *FAST, "--json", seconds=150)

    assert ended.code == 0, ended.stderr
    assert await texts(database, user) == Counter(prompts)
    assert len(ended.json["batches"]) == 50
    summary = json.loads((signed_in.folder / "500.txt.summary.json").read_text())
    assert [row["prompt"] for row in summary["rows"]] == prompts
    assert len({row["generation_id"] for row in summary["rows"]}) == 500
    # The same command again submits nothing, --again all of it.
    repeated = await signed_in.run("submit", "--file", name, *FAST, "--json")
    assert repeated.json["batches"] == [
        {**one, "status": other["status"]}
        for one, other in zip(ended.json["batches"], repeated.json["batches"], strict=True)
    ]
    assert sum((await texts(database, user)).values()) == 500
    await database.execute("delete from public.image_generations where user_id = %s", [user.id])


async def test_a_job_waits_for_room_and_for_the_end(
    signed_in: Shell, user: User, database: Database, limits: Limits
) -> None:
    await limits(max_waiting_per_user=12)
    prompts = [f"a bird, number {n}" for n in range(31)]
    name = write(signed_in, "birds.txt", "\n".join(prompts))

    ended = await signed_in.run("submit", "--file", name, *FAST, "--wait", "--save-to", "pictures", seconds=80)

    assert ended.code == 0, ended.stderr
    assert "31 prompts in 4 batches: 31 completed, 0 failed." in ended.stdout
    assert "Waiting: Your limit of waiting items" in ended.stderr
    assert await sizes(database, user) == [7, 8, 8, 8]
    assert len(list((signed_in.folder / "pictures").glob("batch-000?/*"))) == 31
    again = await signed_in.run("submit", "--file", name, *FAST, "--again", "--json")
    assert again.json["run"] == 2
    assert sum((await texts(database, user)).values()) == 62
    await database.execute("delete from public.image_generations where user_id = %s", [user.id])


async def test_one_more_prompt_than_a_batch_takes_is_spread(signed_in: Shell, user: User, database: Database) -> None:
    ended = await signed_in.run("submit", "--file", "-", *FAST, stdin="\n".join(f"a fox {n}" for n in range(11)))

    assert ended.code == 0, ended.stderr
    assert await sizes(database, user) == [5, 6]
    assert len(list(signed_in.folder.glob("batchgen-*.summary.json"))) == 1


async def test_rows_of_csv_and_json_lines_have_settings_of_their_own(
    signed_in: Shell, user: User, database: Database
) -> None:
    table = 'text,width,seed,tags\n"a red, big fox",64,0,animals;red\na bird,128,,\nan owl,64,5,\na crow,128,,\n'
    lines = '"a cat"\n{"text": "a dog", "height": 128}\n{"prompt": "a cow", "height": 128}\n"a pig"\n'

    for name, content in (("rows.csv", table), ("rows.jsonl", lines)):
        ended = await signed_in.run("submit", "--file", write(signed_in, name, content), *FAST, "--json")
        assert ended.code == 0, ended.stderr

    query = "select prompt, width, height, seed from public.image_generations where user_id = %s"
    rows = await (await database.execute(query, [user.id])).fetchall()
    made = {row["prompt"]: (row["width"], row["height"]) for row in rows}
    assert made == {
        "a red, big fox": (64, 64),
        "an owl": (64, 64),
        "a bird": (128, 64),
        "a crow": (128, 64),
        "a cat": (64, 64),
        "a pig": (64, 64),
        "a dog": (64, 128),
        "a cow": (64, 128),
    }
    assert next(row["seed"] for row in rows if row["prompt"] == "a red, big fox") == 0


@pytest.mark.parametrize(
    ("name", "content", "code", "line"),
    [
        ("a.csv", "text,widht\na,64\nb,64\n", "unknown_field", "Line 1"),
        ("a.csv", "width\n64\n", "wrong_type", "Line 1"),
        ("a.csv", "text,width\na,wide\nb,64\n", "wrong_type", "Line 2"),
        ("a.csv", "text\na,b\n", "wrong_type", "Line 2"),
        ("a.jsonl", '"a"\n{"text": 5}\n', "wrong_type", "Line 2"),
        ("a.jsonl", '"a"\n[1]\n', "wrong_type", "Line 2"),
        ("a.jsonl", '"a"\nfox\n', "invalid_json", "Line 2"),
        ("a.csv", "text,width\na,64\nb,64\nc,128\n", "too_few_prompts", "Prompt 3"),
    ],
)
async def test_wrong_rows_are_named_and_nothing_is_submitted(
    signed_in: Shell, user: User, database: Database, name: str, content: str, code: str, line: str
) -> None:
    ended = await signed_in.run("submit", "--file", write(signed_in, name, content), "--json")

    assert (ended.code, ended.error["code"]) == (2, code)
    assert line in ended.error["message"]
    assert await texts(database, user) == Counter()


async def test_a_refused_row_is_named_by_its_number(signed_in: Shell) -> None:
    prompts = [f"a fox {n}" for n in range(25)]
    prompts[17] = "x" * 5000
    ended = await signed_in.run("submit", "--file", write(signed_in, "long.txt", "\n".join(prompts)), *FAST, "--json")

    assert (ended.code, ended.error["code"], ended.error["index"]) == (2, "too_long", 17)
    assert "prompt 18" in ended.error["message"]


async def test_two_commands_at_once_submit_everything_once(signed_in: Shell, user: User, database: Database) -> None:
    prompts = [f"a fox {n}" for n in range(40)]
    name = write(signed_in, "twice.txt", "\n".join(prompts))

    both = await asyncio.gather(
        *(signed_in.run("submit", "--file", name, *FAST, "--json", seconds=80) for _ in range(2))
    )

    assert {ended.code for ended in both} <= {0, 2}
    assert 0 in {ended.code for ended in both}
    errors: list[dict[str, Any]] = [ended.error for ended in both if ended.code]
    assert all(error["code"] == "job_is_running" for error in errors)
    assert await texts(database, user) == Counter(prompts)
    await database.execute("delete from public.image_generations where user_id = %s", [user.id])
