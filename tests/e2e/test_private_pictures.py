"""Private pictures: only their owner sees them, by links that expire, and everything works as with public ones."""

import asyncio
import json
import os
import re
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from batchgen import BatchgenClient, BatchRequest, InvalidRequest, Prompt, SharedSettings, StorageError
from batchgen.client.picture_access import PictureAccess
from devstack import StackInfo
from tests.running_app import running_app
from tests.support import Database, User, WorkerProcess, eventually

DOCUMENT = Path(__file__).parents[2] / "docs" / "javascript.md"
StartWorker = Callable[..., Awaitable[WorkerProcess]]
Run = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
async def operator(stack: StackInfo) -> AsyncGenerator[BatchgenClient]:
    """The project's operator. Pictures are public again when the test ends."""
    async with await BatchgenClient.operator(stack.url, stack.secret_key) as client:
        yield client
        await client.set_picture_access("public")


@pytest.fixture
async def owner(stack: StackInfo, user: User) -> AsyncGenerator[BatchgenClient]:
    async with await BatchgenClient.sign_in(stack.url, stack.publishable_key, user.email, user.password) as client:
        yield client


@pytest.fixture
def run(stack: StackInfo, user: User, tmp_path: Path) -> Run:
    """The command line as an operator for the user."""

    async def run(*arguments: str) -> tuple[int, str, str]:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "batchgen", *arguments),
            cwd=tmp_path,
            env={**kept, "SUPABASE_URL": stack.url, "SUPABASE_SECRET_KEY": stack.secret_key, "BATCHGEN_USER": user.id},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode(), err.decode()

    return run


async def finished_batch(owner: BatchgenClient, *prompts: str) -> Any:
    size = SharedSettings(width=640, height=320)
    request = BatchRequest(prompts=tuple(Prompt(text=text) for text in prompts), shared_settings=size)
    created = await owner.submit(request)

    async def end() -> Any:
        snapshot = await owner.snapshot(created.id)
        return snapshot if snapshot.batch.status.is_final else None

    return await eventually(end, 60, what="the end of the batch")


async def statuses(*addresses: str | None) -> list[int]:
    async with httpx.AsyncClient() as anybody:
        return [(await anybody.get(address)).status_code for address in addresses if address]


async def test_only_the_owner_sees_private_pictures(
    start_worker: StartWorker, operator: BatchgenClient, owner: BatchgenClient, new_user: Any, stack: StackInfo
) -> None:
    await operator.set_picture_access("private")
    await start_worker()
    stranger = await new_user()

    snapshot = await owner.with_links(await finished_batch(owner, "a fox", "a bird"))

    assert [image.public_url for image in snapshot.images] == [None, None]
    links = [link for image in snapshot.images for link in (image.link, image.thumbnail_link)]
    assert await statuses(*links) == [200] * 4
    paths = [path for image in snapshot.images for path in (image.storage_path, image.thumbnail_path)]
    public = [f"{stack.url}/storage/v1/object/public/generated-images/{path}" for path in paths]
    assert all(400 <= status < 500 for status in await statuses(*public))
    with pytest.raises(Exception, match=r"not_found|Object not found|404"):
        await stranger.client.storage.from_("generated-images").download(str(paths[0]))
    signed = await stranger.client.storage.from_("generated-images").create_signed_urls([str(p) for p in paths], 60)
    assert [one["error"] is not None for one in signed] == [True] * 4
    async with await BatchgenClient.sign_in(
        stack.url, stack.publishable_key, stranger.email, stranger.password
    ) as other:
        assert await other.signed_links([str(path) for path in paths]) == {}


async def test_private_pictures_are_downloaded_drawn_and_checked_as_ever(
    start_worker: StartWorker, operator: BatchgenClient, owner: BatchgenClient, run: Run, tmp_path: Path
) -> None:
    await operator.set_picture_access("private")
    await start_worker()
    snapshot = await finished_batch(owner, "a fox", "a bird")

    saved = await owner.save_images(snapshot, tmp_path / "saved")
    sheet = await owner.contact_sheet(snapshot)
    code, shown, _ = await run("show", str(snapshot.batch.id), "--long")
    watched, _, _ = await run("watch", str(snapshot.batch.id), "--save-to", "cli", "--contact-sheet")
    report = await operator.check_storage()

    assert [Image.open(BytesIO(one.path.read_bytes())).size for one in saved] == [(640, 320)] * 2
    assert Image.open(BytesIO(sheet)).width > 0
    assert (code, watched) == (0, 0)
    assert shown.count("/object/sign/generated-images/") == 4
    assert len([*(tmp_path / "cli").glob("*.webp")]) == 2
    mine = str(snapshot.images[0].storage_path).split("/")[0]
    assert not [path for path in report.orphans if path.startswith(mine)]


async def test_switching_moves_existing_pictures_both_ways_and_says_what_links_do(
    start_worker: StartWorker, operator: BatchgenClient, owner: BatchgenClient, run: Run
) -> None:
    await start_worker()
    snapshot = await finished_batch(owner, "a fox", "a bird")
    public = [image.public_url for image in snapshot.images]
    assert await statuses(*public) == [200, 200]

    code, said, _ = await run("storage", "private")
    private = await owner.with_links(await owner.snapshot(snapshot.batch.id))

    assert code == 0
    assert "Public addresses that were given out no longer work" in said
    assert "caches" in said
    assert [image.public_url for image in private.images] == [None, None]
    assert all(400 <= status < 500 for status in await statuses(*public))
    assert await statuses(*(image.link for image in private.images)) == [200, 200]

    code, said, _ = await run("storage", "public", "--json")
    again = await owner.snapshot(snapshot.batch.id)

    assert (code, json.loads(said)["pictures"]) == (0, "public")
    assert [image.public_url for image in again.images] == public
    assert await statuses(*public) == [200, 200]
    assert await statuses(*(image.link for image in private.images)) == [200, 200], "signed links live on"
    assert json.loads((await run("storage", "public", "--json"))[1])["changed"] == 0


async def test_links_are_signed_for_all_pictures_of_a_batch_in_one_request(
    start_worker: StartWorker, operator: BatchgenClient, owner: BatchgenClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    await operator.set_picture_access("private")
    await start_worker()
    snapshot = await finished_batch(owner, *[f"a fox {n}" for n in range(10)])
    requests: list[int] = []
    sign = owner._storage.sign  # pyright: ignore[reportPrivateUsage]

    async def counted(paths: Any, seconds: int) -> Any:
        requests.append(len(paths))
        return await sign(paths, seconds)

    monkeypatch.setattr(owner._storage, "sign", counted)  # pyright: ignore[reportPrivateUsage]
    linked = await owner.with_links(snapshot)

    assert requests == [20]
    assert all(image.link and image.thumbnail_link for image in linked.images)


async def test_a_worker_does_not_start_beside_a_bucket_that_shows_private_pictures(
    start_worker: StartWorker, operator: BatchgenClient, database: Database
) -> None:
    await operator.set_picture_access("private")
    await database.execute("update storage.buckets set public = true where id = 'generated-images'")

    worker = await start_worker()

    assert await worker.exit_code() == 2


async def test_links_of_no_or_endless_life_are_refused(owner: BatchgenClient) -> None:
    for seconds in (0, 366 * 86_400):
        with pytest.raises(InvalidRequest) as refused:
            await owner.signed_links(["a"], seconds)
        assert refused.value.field == "seconds"


async def test_users_switch_nothing(owner: BatchgenClient) -> None:
    access: PictureAccess = "private"
    with pytest.raises(InvalidRequest):
        await owner.set_picture_access(access)


async def test_a_missing_picture_is_an_error_of_storage(owner: BatchgenClient, user: User) -> None:
    with pytest.raises(StorageError, match="no such file"):
        await owner._storage.get(f"{user.id}/none.png")  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("access", ["private", "public"])
async def test_the_documented_javascript_shows_pictures_of_both_kinds(
    start_worker: StartWorker,
    operator: BatchgenClient,
    owner: BatchgenClient,
    user: User,
    new_user: Callable[[], Awaitable[User]],
    stack: StackInfo,
    tmp_path: Path,
    access: PictureAccess,
) -> None:
    await operator.set_picture_access(access)
    await start_worker()
    stranger = await new_user()
    snapshot = await finished_batch(owner, "a fox", "a bird")
    for name, code in re.findall(r"```js\n// (\S+)\n(.*?)```", DOCUMENT.read_text(), re.DOTALL):
        (tmp_path / name).write_text(code)
    task = {
        "recipe": str(tmp_path / "links.mjs"),
        "owner": {"email": user.email, "password": user.password},
        "stranger": {"email": stranger.email, "password": stranger.password},
        "batch": str(snapshot.batch.id),
    }

    async with running_app("links.mjs", stack, task) as app:
        mine, theirs = await app.event("owner"), await app.event("stranger")

    assert mine["statuses"] == [200] * 4
    assert {*mine["paths"]} == {p for image in snapshot.images for p in (image.storage_path, image.thumbnail_path)}
    assert theirs["statuses"] == ([] if access == "private" else [200] * 4)
