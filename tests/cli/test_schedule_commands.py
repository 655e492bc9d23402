"""`batchgen schedule`, as processes beside a real worker."""

import json
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from shell import Shell

from tests.support import User, eventually

PROMPTS = ("a red fox", "a blue bird")


async def created(shell: Shell, *more: str) -> dict[str, Any]:
    ended = await shell.run("schedule", "create", *PROMPTS, *more, "--json")
    assert ended.code == 0, ended.stderr
    return ended.json


async def test_a_schedule_is_made_read_edited_paused_and_deleted(signed_in: Shell) -> None:
    made = await created(signed_in, "--cron", "0 9 * * mon-fri", "--time-zone", "Europe/Berlin", "--name", "Foxes")
    short = made["id"][:8]

    listed = await signed_in.run("schedule", "list")
    assert short in listed.stdout
    edited = await signed_in.run("schedule", "edit", short, "--missed", "all", "--json")
    assert (edited.json["missed_runs"], edited.json["cron"]) == ("all", "0 9 * * mon-fri")
    for command, state in (("pause", "paused"), ("resume", "active")):
        ended = await signed_in.run("schedule", command, short, "--json")
        assert ended.json["state"] == state, ended.stderr
    preview = await signed_in.run("schedule", "preview", short)
    assert len(preview.stdout.splitlines()) == 5
    assert all(" 09:00 " in line for line in preview.stdout.splitlines())
    gone = await signed_in.run("schedule", "delete", short)
    assert gone.code == 0
    again = await signed_in.run("schedule", "show", made["id"], "--json")
    assert (again.code, again.error["code"]) == (2, "schedule_not_found")


async def test_a_run_at_a_time_shows_its_batch(signed_in: Shell) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    made = await created(signed_in, "--at", soon)

    async def ran() -> dict[str, Any]:
        ended = await signed_in.run("schedule", "show", made["id"], "--json")
        return ended.json if ended.json["runs"] else {}

    shown = await eventually(ran, 30, every=0.2, what="the run")

    [run] = shown["runs"]
    assert (run["outcome"], shown["schedule"]["state"]) == ("submitted", "ended")
    batch = await signed_in.run("show", run["batch_id"], "--json")
    assert [item["prompt"] for item in batch.json["generations"]] == list(PROMPTS)
    table = await signed_in.run("schedule", "show", made["id"])
    assert "submitted" in table.stdout
    assert run["batch_id"][:8] in table.stdout


async def test_an_expression_is_previewed_without_a_project(shell: Shell) -> None:
    shell.environment.clear()
    ended = await shell.run("schedule", "preview", "30 2 * * *", "--time-zone", "America/New_York", "--json")

    assert ended.code == 0, ended.stderr
    assert len(ended.json["next_runs"]) == 5


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ((), "wrong_type"),
        (("--cron", "0 9 * * *", "--at", "2030-01-01T00:00"), "wrong_type"),
        (("--cron", "0 9 * * noday"), "invalid_cron"),
        (("--cron", "0 9 * * *", "--time-zone", "Europe/Nowhere"), "unknown_time_zone"),
        (("--at", "tomorrow"), "wrong_type"),
        (("--at", "2020-01-01T00:00Z"), "out_of_range"),
        (("--cron", "* * * * *"), "too_often"),
    ],
)
async def test_wrong_times_are_refused(signed_in: Shell, arguments: tuple[str, ...], code: str) -> None:
    ended = await signed_in.run("schedule", "create", *PROMPTS, *arguments, "--json")

    assert (ended.code, ended.error["code"]) == (2, code)
    assert ended.error["remedy"]


async def test_operators_act_for_one_user_alone(
    signed_in: Shell, operator: Shell, user: User, new_user: Callable[[], Awaitable[User]]
) -> None:
    stranger = await new_user()
    made = await operator.run("schedule", "create", *PROMPTS, "--cron", "0 9 * * *", "--user", user.id, "--json")
    assert made.code == 0, made.stderr
    which = made.json["id"]

    listed = await signed_in.run("schedule", "list", "--json")
    assert which in [one["id"] for one in listed.json]
    for command in ("pause", "resume", "show", "preview", "delete"):
        ended = await operator.run("schedule", command, which, "--user", stranger.id, "--json")
        assert (ended.code, ended.error["code"]) == (2, "schedule_not_found"), command
    ended = await operator.run("schedule", "delete", which, "--operator", "--json")
    assert json.loads(ended.stdout) == {"deleted": which}
