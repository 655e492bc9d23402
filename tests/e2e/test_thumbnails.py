"""Thumbnails on a real stack: what a list of pictures moves, caches, items that run again, and older pictures."""

import asyncio
import json
import os
import sys
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from supabase import AsyncClient

from batchgen.backend.bucket import NameTaken
from batchgen.pictures.check import CheckLimits, checked
from batchgen.pictures.temporary_files import unnamed_file, write
from batchgen.queue.picture_store import PictureStore
from batchgen.settings import Settings
from devstack import StackInfo
from tests.support import Database, User, WorkerProcess, eventually

StartWorker = Callable[..., Awaitable[WorkerProcess]]
A_YEAR = "max-age=31536000"


async def submit(user: User, *texts: str, side: int = 128) -> dict[str, Any]:
    request = {"prompts": [{"text": text} for text in texts], "shared_settings": {"width": side, "height": side}}
    answer: Any = await user.client.rpc("create_batch", {"p_request": request}).execute()
    return answer.data["batch"]


async def images_of(database: Database, user: User) -> list[dict[str, Any]]:
    query = "select * from public.images where user_id = %s order by created_at, id"
    return await (await database.execute(query, [user.id])).fetchall()


async def have_images(database: Database, user: User, number: int) -> list[dict[str, Any]]:
    async def look() -> list[dict[str, Any]]:
        found = await images_of(database, user)
        return found if len(found) == number else []

    return await eventually(look, 240, every=0.2, what=f"{number} pictures")


def size_of(content: bytes) -> tuple[int, int]:
    with Image.open(BytesIO(content)) as image:
        return image.size


async def test_the_list_of_a_hundred_pictures_moves_at_most_3_mb(
    start_worker: StartWorker, user: User, database: Database, limits: Callable[..., Awaitable[None]]
) -> None:
    await limits(max_batch_size=100, max_parallel_per_user=20)
    await start_worker(BATCHGEN_OFFLINE_SECONDS="0", BATCHGEN_OFFLINE_FORMAT="png", BATCHGEN_MAX_PARALLEL="20")
    await submit(user, *[f"a harbour with {n} boats" for n in range(100)], side=640)
    images = await have_images(database, user, 100)
    listed: Any = await user.client.table("images").select("thumbnail_path").eq("user_id", user.id).execute()
    bucket = user.client.storage.from_("generated-images")

    moved = 0
    async with httpx.AsyncClient() as http:
        for row in listed.data:
            answer = await http.get(await bucket.get_public_url(row["thumbnail_path"]))
            assert size_of(answer.content) == (512, 512)
            moved += answer.num_bytes_downloaded + len(str(answer.headers))

    assert len(listed.data) == 100
    assert moved <= 3_000_000
    assert sum(image["file_size"] for image in images) > moved, "the pictures themselves are larger"


async def test_pictures_and_thumbnails_may_be_cached_for_a_year(
    start_worker: StartWorker, user: User, database: Database
) -> None:
    await start_worker()
    await submit(user, "a fox", "a bird")
    bucket = user.client.storage.from_("generated-images")

    async with httpx.AsyncClient() as http:
        for image in await have_images(database, user, 2):
            for path in (image["storage_path"], image["thumbnail_path"]):
                answer = await http.get(await bucket.get_public_url(path))
                assert A_YEAR in answer.headers["cache-control"]


async def test_an_item_that_runs_again_gets_files_of_other_names(
    start_worker: StartWorker, user: User, database: Database
) -> None:
    """An admin sets a completed item back: caches may have its earlier files, even if they are deleted."""
    await start_worker(BATCHGEN_DELETIONS_SECONDS="0.3")
    batch = await submit(user, "a fox", "a bird")
    before = await have_images(database, user, 2)
    await user.client.rpc("delete_batch_images", {"p_batch_id": batch["id"]}).execute()
    await database.execute("update public.image_generations set status = 'pending' where batch_id = %s", [batch["id"]])

    after = await have_images(database, user, 2)

    def names(images: list[dict[str, Any]]) -> set[str]:
        return {path for image in images for path in (image["storage_path"], image["thumbnail_path"])}

    assert len(names(before) | names(after)) == 8

    async def only_the_new_ones() -> bool:
        query = "select name from storage.objects where name like %s"
        rows = await (await database.execute(query, [f"{user.id}/%"])).fetchall()
        return {row["name"] for row in rows} == names(after)

    await eventually(only_the_new_ones, 20, what="only the new files are left")


async def test_a_file_is_never_replaced_by_another_one(service: AsyncClient, settings: Settings, user: User) -> None:
    store = PictureStore(service, bucket=settings.bucket)
    user_id, generation_id = uuid.UUID(user.id), uuid.uuid4()

    async def put(colour: str) -> str:
        content = BytesIO()
        Image.new("RGB", (64, 64), colour).save(content, "png")
        with unnamed_file() as file:
            write(file, content.getvalue())
            image = checked(file, CheckLimits())
            return (await store.put(image, user_id=user_id, generation_id=generation_id)).storage_path

    path = await put("red")
    assert await put("red") == path, "an upload whose answer was lost is repeated"
    with pytest.raises(NameTaken):
        await put("blue")

    with Image.open(BytesIO(await service.storage.from_(settings.bucket).download(path))) as kept:
        assert kept.getpixel((0, 0)) == (255, 0, 0)


@pytest.fixture
async def older_pictures(
    service: AsyncClient, database: Database, user: User, settings: Settings
) -> AsyncGenerator[list[str]]:
    """Five pictures without a thumbnail, one without a file, and an SVG."""
    paths = [f"{user.id}/{uuid.uuid4()}.png" for _ in range(6)]
    bucket = service.storage.from_(settings.bucket)
    for path in paths[:5]:
        content = BytesIO()
        Image.new("RGB", (1000, 500), "teal").save(content, "png")
        await bucket.upload(path, content.getvalue(), {"content-type": "image/png"})
    for path in (*paths, f"{user.id}/drawing.svg"):
        await database.execute(
            "insert into public.images (user_id, filename, storage_path, prompt) values (%s, 'a.png', %s, 'a fox')",
            [user.id, path],
        )
    yield paths
    await database.execute("delete from public.images where user_id = %s", [user.id])


async def storage_thumbnails(stack: StackInfo, folder: Path) -> asyncio.subprocess.Process:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "batchgen", "storage", "thumbnails", "--json"),
        cwd=folder,
        env={**kept, "SUPABASE_URL": stack.url, "SUPABASE_SECRET_KEY": stack.secret_key},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_older_pictures_get_their_thumbnails_by_a_command(
    older_pictures: list[str], stack: StackInfo, user: User, database: Database, service: AsyncClient, tmp_path: Path
) -> None:
    first = await storage_thumbnails(stack, tmp_path)
    out, err = await first.communicate()

    assert first.returncode == 1, err.decode()
    answer = json.loads(out)
    assert [one["storage_path"] for one in answer["failures"] if one["storage_path"].startswith(user.id)] == [
        older_pictures[5]
    ]
    images = {image["storage_path"]: image for image in await images_of(database, user)}
    for path in older_pictures[:5]:
        small = await service.storage.from_("generated-images").download(images[path]["thumbnail_path"])
        assert size_of(small) == (512, 256)
    assert images[f"{user.id}/drawing.svg"]["thumbnail_path"] is None

    again = await storage_thumbnails(stack, tmp_path)
    out, _ = await again.communicate()
    assert json.loads(out)["made"] == 0


async def test_a_killed_run_leaves_no_file_behind_and_the_next_one_continues(
    older_pictures: list[str], stack: StackInfo, user: User, database: Database, tmp_path: Path
) -> None:
    killed = await storage_thumbnails(stack, tmp_path)

    async def begun() -> bool:
        return any(image["thumbnail_path"] for image in await images_of(database, user))

    await eventually(begun, 60, every=0.01, what="a thumbnail")
    killed.kill()
    await killed.communicate()
    await (await storage_thumbnails(stack, tmp_path)).communicate()

    named = {image["thumbnail_path"] for image in await images_of(database, user)} - {None}
    rows = await (
        await database.execute(
            "select o.name, d.path from storage.objects o left join batchgen.storage_deletions d on d.path = o.name"
            " where o.name like %s",
            [f"{user.id}/%.thumb.webp"],
        )
    ).fetchall()
    assert len(named) == 5
    assert all(row["name"] in named or row["path"] for row in rows), "a file without a row is in the outbox"
