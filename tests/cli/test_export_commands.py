"""`batchgen export` and `batchgen import` on the stack, with a real worker."""

import asyncio
import hashlib
import json
import zipfile
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from shell import Shell

from tests.support import Database, User

SIZE = ("--width", "64", "--height", "64", "--json")


async def submitted(shell: Shell, *arguments: str) -> str:
    """The id of a batch that has ended."""
    return (await shell.run("submit", *arguments, "--wait", *SIZE)).json["batch"]["id"]


def read(path: Path) -> tuple[dict[str, Any], Mapping[str, bytes]]:
    """The manifest and the files of a ZIP."""
    with zipfile.ZipFile(path) as archive:
        assert archive.testzip() is None
        files = {name: archive.read(name) for name in archive.namelist()}
    return json.loads(files["manifest.json"]), files


def pictures(path: Path) -> list[bytes]:
    """The pictures of an export in the order of its manifest."""
    manifest, files = read(path)
    items = [item for batch in manifest["batches"] for item in batch["items"]]
    return [files[picture["file"]] for item in items for picture in item["pictures"] if picture["file"]]


async def test_an_export_imported_again_gives_the_same_bytes(signed_in: Shell) -> None:
    prompts = ["a red fox", "ثعلب \u202e أحمر", "🦊 CON", "../../etc/passwd"]
    request = {
        "prompts": [{"text": text, "negative_prompt": "blurry", "tags": ["animals"]} for text in prompts],
        "shared_settings": {"width": 96, "height": 64, "steps": 7, "guidance_scale": 3.5},
        "batch_name": "CON",
    }
    made = await signed_in.run("submit", "--json-file", "-", "--wait", "--json", stdin=json.dumps(request))
    first = signed_in.folder / "first.zip"

    exported = await signed_in.run("export", made.json["batch"]["id"], "--to", str(first), "--json")
    imported = await signed_in.run("import", str(first), "--json")
    [new] = imported.json
    await signed_in.run("watch", new["batch"]["id"])
    second = signed_in.folder / "second.zip"
    await signed_in.run("export", new["batch"]["id"], "--to", str(second))

    assert exported.code == 0
    assert (exported.json["pictures"], exported.json["missing"]) == (4, [])
    assert new["source_batch_id"] == made.json["batch"]["id"]
    assert new["batch"]["id"] != made.json["batch"]["id"]
    assert len(pictures(first)) == 4
    assert pictures(first) == pictures(second)
    manifest, files = read(first)
    for item in manifest["batches"][0]["items"]:
        [picture] = item["pictures"]
        assert picture["sha256"] == hashlib.sha256(files[picture["file"]]).hexdigest()
        assert (item["negative_prompt"], item["tags"], item["steps"]) == ("blurry", ["animals"], 7)
        assert item["completed_at"]


async def test_repeating_an_import_submits_nothing_twice(signed_in: Shell, database: Database) -> None:
    batch_id = await submitted(signed_in, "a fox", "a bird")
    await signed_in.run("export", batch_id, "--to", "export.zip")
    with zipfile.ZipFile(signed_in.folder / "export.zip") as archive:
        archive.extract("manifest.json", signed_in.folder)

    first = await signed_in.run("import", "export.zip", "--json")
    second = await signed_in.run("import", "manifest.json", "--json")
    again = await signed_in.run("import", "export.zip", "--again", "once more", "--json")

    assert first.json[0]["batch"]["id"] == second.json[0]["batch"]["id"]
    assert again.json[0]["batch"]["id"] != first.json[0]["batch"]["id"]


async def test_many_items_become_batches_of_the_allowed_size(signed_in: Shell) -> None:
    items = [{"prompt": f"a fox {number}", "seed": str(number), "width": 64, "height": 64} for number in range(23)]
    content = {"format": "batchgen-export", "format_version": 1, "batches": [{"name": "Foxes", "items": items}]}
    (signed_in.folder / "many.json").write_text(json.dumps(content))

    imported = await signed_in.run("import", "many.json", "--json")

    assert [(one["batch"]["name"], one["batch"]["total_count"]) for one in imported.json] == [
        ("Foxes (1 of 3)", 7),
        ("Foxes (2 of 3)", 8),
        ("Foxes (3 of 3)", 8),
    ]
    prompts = [item["prompt"] for one in imported.json for item in one["generations"]]
    assert prompts == [item["prompt"] for item in items]


async def test_an_import_keeps_to_the_users_own_batch_size(signed_in: Shell, user: User, database: Database) -> None:
    await database.execute(
        "insert into public.user_rate_limits (user_id, max_batch_size) values (%s, 5)"
        " on conflict (user_id) do update set max_batch_size = 5",
        [user.id],
    )
    batches = [{"items": [{"prompt": f"a fox {number}"} for number in range(count)]} for count in (2, 7)]
    content = {"format": "batchgen-export", "format_version": 1, "batches": batches}
    (signed_in.folder / "few.json").write_text(json.dumps(content))

    imported = await signed_in.run("import", "few.json", "--json")
    listed = await signed_in.run("list", "--json")

    assert [one["batch"]["total_count"] for one in imported.json] == [2, 3, 4]
    assert len(listed.json) == 3


@pytest.mark.parametrize(
    ("items", "code"),
    [
        ([{"prompt": "a fox"}], "too_few_prompts"),
        ([{"prompt": "a fox", "model": "no-such-model"}, {"prompt": "a"}], "unknown_model"),
        ([{"prompt": "a fox"}, {"prompt": "a cat", "width": 5}], "too_few_prompts"),
    ],
)
async def test_an_import_that_would_be_refused_submits_nothing(
    signed_in: Shell, items: list[dict[str, Any]], code: str
) -> None:
    good = [{"prompt": "a fox"}, {"prompt": "a bird"}]
    batches = [{"items": good}, {"items": items}]
    content = {"format": "batchgen-export", "format_version": 1, "batches": batches}
    (signed_in.folder / "bad.json").write_text(json.dumps(content))

    refused = await signed_in.run("import", "bad.json", "--json")
    listed = await signed_in.run("list", "--json")

    assert (refused.code, refused.error["code"]) == (2, code)
    assert "batches[1].items[0]" in f"{refused.error['message']} {refused.error['field']}"
    assert refused.error["remedy"]
    assert listed.json == []


async def test_another_model_replaces_one_that_is_missing(signed_in: Shell) -> None:
    models = (await signed_in.run("models", "--json")).json
    items = [{"prompt": "a fox", "model": "no-such-model"}, {"prompt": "a cat", "model": "another"}]
    content = {"format": "batchgen-export", "format_version": 1, "batches": [{"items": items}]}
    (signed_in.folder / "old.json").write_text(json.dumps(content))

    imported = await signed_in.run("import", "old.json", "--model", models[0]["name"], "--json")

    assert imported.code == 0, imported.stderr
    assert imported.json[0]["batch"]["total_count"] == 2


async def test_several_batches_have_folders_and_missing_pictures_are_told(
    signed_in: Shell, user: User, database: Database
) -> None:
    first = await submitted(signed_in, "a fox", "a bird")
    second = await submitted(signed_in, "a fox", "a hill #fail", "--name", "Hills")
    path = await (
        await database.execute(
            "select i.storage_path from public.images i join public.image_generations g on g.id = i.generation_id"
            " where g.batch_id = %s and g.batch_index = 1",
            [first],
        )
    ).fetchone()
    assert path
    await user.client.storage.from_("generated-images").remove([path["storage_path"]])

    exported = await signed_in.run("export", first, second, "--to", "both.zip")

    manifest, files = read(signed_in.folder / "both.zip")
    assert exported.code == 0
    assert exported.stdout.startswith("both.zip: 2 pictures of 2 batches")
    assert "2 pictures are missing" in exported.stderr
    assert [one["code"] for one in manifest["missing"]] == ["file_missing", "offline_failed"]
    assert sorted(name.count("/") for name in files) == [0, 0, 1, 1]


async def test_pictures_in_a_private_bucket_are_exported(signed_in: Shell, database: Database) -> None:
    batch_id = await submitted(signed_in, "a fox", "a bird")
    switch = "update storage.buckets set public = %s where id = 'generated-images'"

    await database.execute(switch, [False])
    try:
        exported = await signed_in.run("export", batch_id, "--to", "private.zip", "--json")
    finally:
        await database.execute(switch, [True])

    assert (exported.code, exported.json["missing"]) == (0, [])
    assert len(pictures(signed_in.folder / "private.zip")) == 2


async def test_an_export_goes_to_a_pipe(signed_in: Shell) -> None:
    batch_id = await submitted(signed_in, "a fox", "a bird")

    process = await signed_in.start("export", batch_id, "--to", "-")
    out, err = await process.communicate()
    (signed_in.folder / "piped.zip").write_bytes(out)

    assert process.returncode == 0, err
    assert len(pictures(signed_in.folder / "piped.zip")) == 2


async def test_a_worker_builds_an_export_that_is_downloaded(signed_in: Shell) -> None:
    batch_id = await submitted(signed_in, "a fox", "a bird")

    built = await signed_in.run("export", batch_id, "--request", "--to", "downloads", "--json")
    listed = await signed_in.run("exports", "--json")
    for_people = await signed_in.run("exports")
    nowhere = await signed_in.run("export", batch_id, "--json")

    assert built.code == 0, built.stderr
    assert built.json["status"] == "ready"
    [file] = built.json["files"]
    assert len(pictures(signed_in.folder / file)) == 2
    assert [one["id"] for one in listed.json] == [built.json["id"]]
    assert "2 pictures, until" in for_people.stdout
    assert listed.json[0]["parts"][0]["url"] in for_people.stdout
    assert (nowhere.code, nowhere.error["field"]) == (2, "to")


async def test_a_file_that_cannot_be_written_is_refused_first(signed_in: Shell) -> None:
    folder, elsewhere = await asyncio.gather(
        signed_in.run("export", "latest", "--to", ".", "--json"),
        signed_in.run("export", "latest", "--to", "no/such/folder.zip", "--json"),
    )

    assert (folder.code, folder.error["code"], folder.error["field"]) == (2, "file_unusable", "to")
    assert (elsewhere.code, elsewhere.error["code"]) == (2, "file_unusable")


async def test_another_users_batch_is_as_unknown_as_none(
    signed_in: Shell, new_user: Callable[[], Awaitable[User]]
) -> None:
    other = await new_user()
    made = await other.client.rpc(
        "create_batch", {"p_request": {"prompts": [{"text": "a fox"}, {"text": "a bird"}]}}
    ).execute()
    theirs: Any = made.data

    answers = [
        await signed_in.run("export", one, "--to", "x.zip", "--json")
        for one in (theirs["batch"]["id"], "00000000-0000-4000-8000-000000000000")
    ]

    assert [answer.code for answer in answers] == [2, 2]
    assert [answer.error["code"] for answer in answers] == ["batch_not_found"] * 2
    assert not (signed_in.folder / "x.zip").exists()
