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
from tests.support import User, WorkerProcess, eventually

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
