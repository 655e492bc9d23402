"""The command line as a process beside a real worker: exit codes, stdout and stderr."""

import asyncio
import json
import re
import signal
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable

import pytest
from PIL import Image
from shell import Shell

from tests.support import Database, User


async def test_submit_waits_and_saves_pictures_and_contact_sheet(signed_in: Shell) -> None:
    ended = await signed_in.run("submit", "a red fox", "../a blue bird", "--save-to", "out", "--contact-sheet")

    assert ended.code == 0, ended.stderr
    assert "completed: 2 of 2 done" in ended.stdout
    assert "1  out/1-a-red-fox.png" in ended.stdout
    assert "2  out/2-a-blue-bird.png" in ended.stdout
    sheet = next((signed_in.folder / "out").glob("contact-sheet-*.png"))
    for path in (signed_in.folder / "out" / "1-a-red-fox.png", sheet):
        with Image.open(path) as picture:
            assert picture.format == "PNG"


async def test_progress_without_a_terminal_is_one_plain_stderr_line_per_change(signed_in: Shell) -> None:
    ended = await signed_in.run("submit", "a fox", "evil \x1b[31m[bold]", "--wait")

    lines = ended.stderr.splitlines()
    assert any(re.match(r"item 1 \w+  a fox", line) for line in lines)
    assert any(line.startswith("item 2 completed  evil \\x1b[31m[bold]") for line in lines)
    assert "\x1b" not in ended.stdout + ended.stderr
    assert "item 1" not in ended.stdout


async def test_a_partial_batch_exits_with_1_and_prints_one_json_object(signed_in: Shell) -> None:
    ended = await signed_in.run("submit", "a fox", "a bird #fail", "--save-to", "out", "--json", "--name", "x")

    assert ended.code == 1
    assert ended.stderr == ""
    assert ended.json["batch"]["status"] == "partial"
    assert [item["status"] for item in ended.json["generations"]] == ["completed", "failed"]
    assert [file["path"] for file in ended.json["files"]] == ["out/1-a-fox.png"]
    assert (signed_in.folder / "out" / "1-a-fox.png").is_file()


async def test_prompts_are_read_from_a_file_stdin_or_json_plus_options(signed_in: Shell) -> None:
    (signed_in.folder / "prompts.txt").write_text("a fox\n\na bird\n", encoding="utf-8")
    request = json.dumps({"prompts": ["one", {"text": "two", "seed": 0}], "batch_name": "from json"})

    lines, piped = await asyncio.gather(
        signed_in.run("--json", "submit", "--file", "prompts.txt", "--seed", "7", "--width", "64"),
        signed_in.run("submit", "--json-file", "-", "--json", stdin=request),
    )

    assert [(item["prompt"], item["seed"]) for item in lines.json["generations"]] == [("a fox", 7), ("a bird", 8)]
    assert [item["prompt"] for item in piped.json["generations"]] == ["one", "two"]
    assert piped.json["generations"][1]["seed"] == 0
    assert piped.json["batch"]["name"] == "from json"


async def test_list_show_and_watch_agree_on_a_batch(signed_in: Shell) -> None:
    created = (await signed_in.run("submit", "a fox", "a bird", "--json", "--client-key", "k")).json
    batch_id = created["batch"]["id"]

    watched = await signed_in.run("watch", batch_id, "--json")
    listed, shown, again = await asyncio.gather(
        signed_in.run("list", "--json"),
        signed_in.run("show", batch_id),
        signed_in.run("submit", "a fox", "a bird", "--json", "--client-key", "k"),
    )

    snapshots = [json.loads(line) for line in watched.stdout.splitlines()]
    assert watched.code == 0
    assert snapshots[-1]["batch"]["status"] == "completed"
    assert [batch["id"] for batch in listed.json] == [batch_id]
    assert shown.code == 0
    assert f"Batch {batch_id[:8]} completed: 2 of 2 done" in shown.stdout
    assert "a fox" in shown.stdout
    assert "/storage/v1/object/public/generated-images/" not in shown.stdout
    assert again.json["batch"]["id"] == batch_id


@pytest.fixture
async def paused(database: Database) -> AsyncGenerator[Callable[[], Awaitable[object]]]:
    """Pause the provider for an hour, or until the fixture's value is called."""
    await database.execute(
        "insert into batchgen.providers (name, not_before) values ('offline', now() + interval '1 h')"
        " on conflict (name) do update set not_before = excluded.not_before"
    )

    async def end() -> object:
        return await database.execute("delete from batchgen.providers")

    yield end
    await end()


async def test_show_tells_why_an_item_waits(signed_in: Shell, paused: Callable[[], Awaitable[object]]) -> None:
    batch_id = (await signed_in.run("submit", "a fox", "a bird", "--json")).json["batch"]["id"]

    for_people, for_machines = await asyncio.gather(
        signed_in.run("show", batch_id), signed_in.run("show", batch_id, "--json")
    )
    await paused()
    await signed_in.run("watch", batch_id)
    ended = await signed_in.run("show", batch_id, "--json")

    assert for_people.stdout.count("provider until ") == 2
    waits = [item["waits_for"] for item in for_machines.json["generations"]]
    assert [(wait["reason"], wait["detail"]) for wait in waits] == [("provider", "offline")] * 2
    assert ended.json["batch"]["status"] == "completed"
    assert [item["waits_for"] for item in ended.json["generations"]] == [None, None]


async def test_show_tells_an_operator_why_an_item_waits(
    operator: Shell, user: User, paused: Callable[[], Awaitable[object]]
) -> None:
    submitted = await operator.run("submit", "a fox", "a bird", "--user", user.id, "--json")

    shown = await operator.run("show", submitted.json["batch"]["id"], "--operator", "--json")
    await paused()
    await operator.run("watch", submitted.json["batch"]["id"], "--operator")

    assert [item["waits_for"]["reason"] for item in shown.json["generations"]] == ["provider", "provider"]


async def test_a_busy_provider_uses_no_retry(signed_in: Shell) -> None:
    ended = await signed_in.run("submit", "a fox #busy:1", "a bird #busy:1", "--wait", "--json")

    assert [(item["status"], item["retry_count"]) for item in ended.json["generations"]] == [("completed", 0)] * 2


async def test_a_refused_request_exits_with_2_with_a_remedy_as_text_or_json(signed_in: Shell) -> None:
    for_people, for_machines = await asyncio.gather(
        signed_in.run("submit", "alone"), signed_in.run("submit", "a fox", " ", "--json")
    )

    assert (for_people.code, for_people.stdout) == (2, "")
    assert for_people.stderr == "Error: A batch has at least 2 prompts; this one has 1.\nSend 2 to 10 prompts.\n"
    assert (for_machines.code, for_machines.stdout) == (2, "")
    assert set(for_machines.error) == {"code", "message", "index", "field", "limit", "remedy"}
    assert (for_machines.error["code"], for_machines.error["index"]) == ("blank_prompt", 1)


async def test_a_reached_limit_exits_with_2_and_says_when_it_resets(
    signed_in: Shell, user: User, database: Database
) -> None:
    await database.execute(
        "insert into public.user_rate_limits (user_id, hourly_generations_limit) values (%s, 1)", [user.id]
    )

    for_people, for_machines = await asyncio.gather(
        signed_in.run("submit", "a fox", "a bird"), signed_in.run("submit", "a fox", "a bird", "--json")
    )

    assert (for_people.code, for_people.stdout) == (2, "")
    assert re.fullmatch(
        r"Error: Your hourly limit does not allow that: 0 of 1 items are used, and this needs 2 more\."
        r" It resets at [\d-]+ [\d:]+ UTC\.\nSend at most 1 now\.\n",
        for_people.stderr,
    )
    assert (for_machines.code, for_machines.error["code"]) == (2, "hourly_limit")
    assert for_machines.error["resets_at"]
    assert 0 < for_machines.error["retry_after_seconds"] <= 3600


async def test_another_users_batch_is_not_found(signed_in: Shell) -> None:
    ended = await signed_in.run("show", str(uuid.uuid4()), "--json")

    assert ended.code == 2
    assert ended.error["code"] == "batch_not_found"


async def test_an_operator_submits_for_a_user_and_sees_all_batches(operator: Shell, user: User) -> None:
    submitted = await operator.run("submit", "a fox", "a bird", "--user", user.id, "--json", "--wait")
    shown, nobody = await asyncio.gather(
        operator.run("show", submitted.json["batch"]["id"], "--operator", "--json"),
        operator.run("submit", "a fox", "a bird", "--operator", "--json"),
    )

    assert submitted.code == 0
    assert shown.json["batch"]["user_id"] == user.id
    assert (nobody.code, nobody.error["code"]) == (2, "user_missing")


async def test_login_stores_the_session_and_logout_removes_it(shell: Shell) -> None:
    email = f"{uuid.uuid4().hex}@example.test"
    sessions = shell.folder / "config" / "batchgen" / "sessions.json"

    signed_up = await shell.run(
        "login", "--sign-up", "--email", email, "--password-stdin", "--json", stdin="pass-word\n"
    )
    kept = sessions.read_text()
    signed_out = await shell.run("logout")
    listed = await shell.run("list")

    assert signed_up.json["email"] == email
    assert "access_token" in kept
    assert signed_out.code == 0
    assert json.loads(sessions.read_text()) == {}
    assert listed.code == 2


async def test_a_wrong_password_exits_with_2_and_is_not_printed(shell: Shell, user: User) -> None:
    ended = await shell.run("login", "--email", user.email, "--password-stdin", stdin="wr0ng-password")

    assert ended.code == 2
    assert "wr0ng-password" not in ended.stdout + ended.stderr


async def test_an_interrupt_prints_the_command_to_continue(signed_in: Shell) -> None:
    process = await signed_in.start("submit", "a fox #slow:8", "a bird #slow:8", "--wait")
    assert process.stderr
    seen = [await process.stderr.readline()]
    while b"item 1" not in seen[-1]:
        seen.append(await process.stderr.readline())

    process.send_signal(signal.SIGINT)
    _, rest = await process.communicate()

    assert process.returncode == 130
    assert b"batchgen watch " in rest.splitlines()[-1]
    assert b"Traceback" not in rest


async def test_a_batch_is_found_by_id_prefix_or_as_the_newest(signed_in: Shell, user: User, database: Database) -> None:
    first = (await signed_in.run("submit", "a fox", "a bird", "--wait", "--json")).json["batch"]["id"]
    twin = f"{first[:12]}{'0' if first[12] != '0' else '1'}{first[13:]}"
    await database.execute(
        "insert into public.batch_generations (id, user_id, name, total_count, status, created_at)"
        " values (%s, %s, 'twin', 2, 'failed', now() - interval '1 h')",
        [twin, user.id],
    )

    listed, newest, ambiguous, short = await asyncio.gather(
        signed_in.run("list"),
        signed_in.run("show", "-", "--json"),
        signed_in.run("show", first[:8], "--json"),
        signed_in.run("show", first[:13], "--json"),
    )

    assert [line.split()[0] for line in listed.stdout.splitlines()[1:]] == [first[:13], twin[:13]]
    assert newest.json["batch"]["id"] == short.json["batch"]["id"] == first
    assert (ambiguous.code, ambiguous.error["code"]) == (2, "ambiguous_id")
    assert set(ambiguous.error["limit"]) == {first, twin}


async def test_operator_rights_need_the_operator_option(operator: Shell, user: User) -> None:
    made = await operator.run("submit", "a fox", "a bird", "--user", user.id, "--wait", "--json")
    batch_id = made.json["batch"]["id"]

    refused = [await operator.run(*command) for command in (["list"], ["delete", batch_id, "--yes"], ["show", "-"])]
    listed = await operator.run("list", "--operator", "--limit", "1000")
    shown = await operator.run("show", batch_id, "--user", user.id)

    assert [ended.code for ended in refused] == [2, 2, 2]
    assert all("batchgen login" in ended.stderr and "--operator" in ended.stderr for ended in refused)
    assert listed.stderr == "Running as operator for all users.\n"
    assert listed.stdout.split()[:2] == ["Batch", "User"]
    assert f"of user {user.id[:8]} completed" in shown.stdout


async def test_models_are_found_by_id_name_display_name_or_provider_name(signed_in: Shell, operator: Shell) -> None:
    models = (await signed_in.run("models", "--json")).json
    [model] = [one for one in models if one["name"] == "offline-sketch"]
    everything = (await operator.run("models", "--all", "--json")).json
    prompts = ("submit", "a fox", "a bird", "--wait", "--json", "--model")

    codes = [(await signed_in.run(*prompts, model[key])).code for key in ("id", "name", "display_name", "replicate_id")]
    unknown = await signed_in.run(*prompts, "offline-sketsch")

    assert codes == [0, 0, 0, 0]
    assert [one["provider"] for one in models] == [None] * len(models)
    assert len(everything) > len(models)
    assert any(one["provider"] == "replicate" and not one["is_active"] for one in everything)
    assert unknown.error["code"] == "unknown_model"
    assert "Did you mean offline-sketch?" in unknown.error["remedy"]


async def test_workers_are_listed_for_operators(operator: Shell) -> None:
    ended = await operator.run("workers", "--json")

    assert ended.code == 0
    assert any(worker["is_live"] for worker in ended.json)


async def test_too_many_prompts_are_refused_with_commands_to_split_them(signed_in: Shell) -> None:
    ended = await signed_in.run("submit", *[f"a fox {n}" for n in range(11)])

    assert ended.code == 2
    assert "at most 10" in ended.stderr
    assert "split -l 10 FILE" in ended.stderr


async def test_nothing_is_submitted_or_saved_with_an_unusable_folder(signed_in: Shell) -> None:
    ended = await signed_in.run("submit", "a fox", "a bird", "--save-to", "/etc/hostname", "--json")
    listed = await signed_in.run("list", "--json")
    batch_id = (await signed_in.run("submit", "a fox", "a bird", "--wait", "--json")).json["batch"]["id"]
    saved = await signed_in.run("save", batch_id, "--to", "/etc/hostname")
    shown = (await signed_in.run("show", batch_id, "--json")).json

    assert (ended.code, ended.error["code"], listed.json) == (2, "folder_unusable", [])
    assert saved.code == 2
    assert [image["saved_at"] for image in shown["images"]] == [None, None]
