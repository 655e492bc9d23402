"""The code of docs/javascript.md works as pasted, with Supabase's own client."""

import asyncio
import os
import random
import re
import string
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from devstack import StackInfo
from devstack.node import node_binary
from devstack.users import make_dev_account
from tests.npm import npm_install
from tests.running_app import JS, running_app
from tests.support import Database, User, WorkerProcess, eventually

DOCUMENT = Path(__file__).parents[2] / "docs" / "javascript.md"
StartWorker = Callable[..., Awaitable[WorkerProcess]]


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """A folder with the files of the document, beside supabase-js."""
    for name, code in re.findall(r"```js\n// (\S+)\n(.*?)```", DOCUMENT.read_text(), re.DOTALL):
        (tmp_path / name).write_text(code)
    (tmp_path / "node_modules").symlink_to(npm_install(JS))
    return tmp_path


async def test_the_documented_javascript_program_runs(
    recipe: Path, stack: StackInfo, start_worker: StartWorker
) -> None:
    await start_worker()
    await make_dev_account(stack.url, stack.publishable_key)

    process = await asyncio.create_subprocess_exec(
        *(str(node_binary()), "example.mjs"),
        cwd=recipe,
        env={**os.environ, "SUPABASE_URL": stack.url, "SUPABASE_PUBLISHABLE_KEY": stack.publishable_key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    lines = output.decode().splitlines()

    assert process.returncode == 0, lines
    assert "completed completed completed" in lines
    assert lines[-1] == "2 of 2 done"


async def test_the_documented_client_follows_long_prompts_and_other_devices(
    recipe: Path, stack: StackInfo, start_worker: StartWorker, user: User, new_user: Callable[[], Awaitable[User]]
) -> None:
    await start_worker()
    stranger = await new_user()
    prompts = [long_prompt(seed) for seed in range(2)]
    task = {
        "recipe": str(recipe / "batchgen.mjs"),
        "owner": {"email": user.email, "password": user.password},
        "stranger": {"email": stranger.email, "password": stranger.password},
        "request": {"prompts": [{"text": prompt} for prompt in prompts]},
    }

    async with running_app("recipe.mjs", stack, task) as app:
        first, second = await app.event("done")
        await eventually(lambda: second in app.seen("laptop deleted") and second in app.seen("stranger deleted"))
        await eventually(lambda: app.seen("laptop changed"))
        states, [end], [refused] = app.seen("state"), app.seen("end"), app.seen("refused")
        added, changed = app.seen("laptop added"), app.seen("laptop changed")
        events, overheard = app.seen("event"), [*app.seen("stranger added"), *app.seen("stranger changed")]

    assert refused["code"] == "too_few_prompts"
    assert refused["remedy"]
    assert events
    assert not any(event["hasPrompt"] for event in events), "the prompts are too short to be left out of events"
    assert [item["prompt"] for item in end["items"]] == prompts
    assert all(item["prompt"] in prompts for state in states for item in state["items"])
    assert (end["batch"]["status"], end["batch"]["completed_count"]) == ("completed", 2)
    assert {image["id"] for image in added} == {first, second}
    assert all(image["public_url"] for image in added)
    assert [(image["id"], image["is_favorite"]) for image in changed] == [(first, True)]
    assert overheard == []


def long_prompt(seed: int) -> str:
    """4,000 characters that do not compress, so that Postgres stores them outside the row."""
    letters = random.Random(seed)
    return "".join(letters.choices(string.ascii_letters + string.digits + "-_", k=4000))


@pytest.mark.parametrize("version", ["1.0.0", "2.0.0"])
async def test_the_documented_client_hears_broadcasts_and_strangers_hear_nothing(
    version: str,
    recipe: Path,
    stack: StackInfo,
    user: User,
    new_user: Callable[[], Awaitable[User]],
    database: Database,
) -> None:
    stranger = await new_user()
    task = {
        "recipe": str(recipe / "batchgen.mjs"),
        "vsn": version,
        "owner": {"email": user.email, "password": user.password},
        "stranger": {"email": stranger.email, "password": stranger.password},
        "request": {"prompts": [{"text": "a secret fox"}, {"text": "a secret owl"}]},
    }

    async with running_app("live.mjs", stack, task) as app:
        created = await app.event("created")
        await eventually(lambda: app.seen("owner heard"))
        await database.execute(
            "update public.image_generations set status = 'processing' where batch_id = %s", [created["id"]]
        )
        await eventually(lambda: [news for news in app.seen("owner heard") if news["status"] == "processing"])
        heard = app.seen("owner heard")
        refusals = [*app.seen("stranger refused"), *app.seen("anonymous refused")]
        others = [*app.seen("stranger heard"), *app.seen("anonymous heard"), *app.seen("public heard")]
    await database.execute("delete from public.batch_generations where id = %s", [created["id"]])

    assert [news["status"] for news in heard] == ["pending", "processing"]
    assert {news["batch_id"] for news in heard} == {created["id"]}
    assert [len(news["items"]) for news in heard] == [2, 2]
    assert "secret" not in str(heard)
    assert "forged" not in str(heard)
    assert len(refusals) == 2
    assert all("You do not have permissions to read from this Channel topic" in refusal for refusal in refusals)
    assert others == []
