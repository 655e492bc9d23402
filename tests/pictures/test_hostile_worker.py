"""A worker process on the real stack stores nothing that a hostile provider delivers."""

import asyncio
import base64
import itertools
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import trustme
from hostile_pictures import HTML, nested_patterns, picture, png_bomb, svg, with_png_block, zip_end
from picture_server import PRIVATE_ADDRESS, PUBLIC_ADDRESS, PictureServer, head_of

from batchgen.backend.bucket import ImageStorage
from batchgen.backend.rpc import rpc
from devstack import StackInfo
from tests.support import Database, User, WorkerProcess, eventually

ROOT = Path(__file__).parents[2]
LOOPBACK = "127.0.0.1"
GIGABYTES_5 = 5 * 1024**3
GOOD = picture("png", (96, 64))
NO_PICTURE, TOO_LARGE, REFUSED, SVG = "not_a_picture", "picture_too_large", "address_refused", "svg_not_supported"
POISON = b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><rect fill="url(' + b" " * 400 + b'"/></svg>'
ATTACKS = {
    "a web page": (HTML, NO_PICTURE),
    "a bomb": (png_bomb(30_000, 30_000), TOO_LARGE),
    "an archive before a picture": (zip_end() + GOOD, NO_PICTURE),
    "a drawing without an end": (svg("<g>")[:-6], SVG),
    "a drawing that multiplies itself": (svg(nested_patterns(6, 100)), SVG),
}
"""Each is delivered as bytes, and again from an address."""

WorkerAt = Callable[[Mapping[str, Mapping[str, str]]], Awaitable[WorkerProcess]]


@pytest.fixture
async def worker_at(
    stack: StackInfo, server: PictureServer, authority: trustme.CA, tmp_path: Path, empty_queue: None
) -> AsyncGenerator[WorkerAt]:
    """Start a worker whose provider delivers these outputs by prompt."""
    workers: list[WorkerProcess] = []

    async def start(outputs: Mapping[str, Mapping[str, str]]) -> WorkerProcess:
        task = {
            "port": server.port,
            "authority": authority.cert_pem.bytes().decode(),
            "names": {"pictures.test": [PUBLIC_ADDRESS], "inside.test": [PRIVATE_ADDRESS], LOOPBACK: [LOOPBACK]},
            "outputs": outputs,
        }
        (tmp_path / "task.json").write_text(json.dumps(task))
        environment = {
            "SUPABASE_URL": stack.url,
            "SUPABASE_SECRET_KEY": stack.secret_key,
            "HOSTILE_TASK": str(tmp_path / "task.json"),
            "PYTHONPATH": str(ROOT),
        }
        workers.append(await WorkerProcess.start(environment, module="tests.pictures.hostile_worker"))
        return workers[-1]

    yield start
    for worker in workers:
        await worker.end()


def in_hand(content: bytes) -> dict[str, str]:
    return {"content": base64.b64encode(content).decode()}


def at(path: str) -> dict[str, str]:
    return {"url": f"https://pictures.test{path}"}


async def ended(user: User, database: Database, prompts: list[str]) -> dict[str, Any]:
    """Submit a batch of these prompts and return it when it is final; `codes` has the failures by prompt."""
    request = {"prompts": [{"text": prompt} for prompt in prompts], "shared_settings": {"width": 96, "height": 64}}
    batch_id = (await rpc(user.client, "create_batch", {"p_request": request}))["batch"]["id"]

    async def look() -> dict[str, Any] | None:
        sql = "select * from public.batch_generations where id = %s and status in ('completed', 'partial', 'failed')"
        return await (await database.execute(sql, [batch_id])).fetchone()

    batch = await eventually(look, 60, every=0.1, what="the end of the batch")
    assert batch
    sql = (
        "select g.prompt, f.code from public.image_generations g join batchgen.failures f on f.generation_id = g.id"
        " where g.batch_id = %s"
    )
    rows = await (await database.execute(sql, [batch_id])).fetchall()
    return {**batch, "codes": {row["prompt"]: row["code"] for row in rows}}


async def files_of(database: Database, user: User) -> list[str]:
    """The user's files but thumbnails, by Storage's own table."""
    sql = "select name from storage.objects where name like %s and name not like %s order by name"
    found = await (await database.execute(sql, [f"{user.id}/%", "%.thumb.webp"])).fetchall()
    return [row["name"] for row in found]


async def rows_of(database: Database, user: User) -> list[str]:
    sql = "select storage_path from public.images where user_id = %s order by storage_path"
    return [row["storage_path"] for row in await (await database.execute(sql, [user.id])).fetchall()]


async def test_hostile_files_fail_their_items_and_reach_no_storage(
    worker_at: WorkerAt, server: PictureServer, user: User, database: Database
) -> None:
    outputs, expected = dict[str, dict[str, str]](), dict[str, str]()
    for number, (name, (content, code)) in enumerate(ATTACKS.items()):
        server.gives(f"/{number}.png", content, headers={"content-type": "image/png"})
        outputs |= {f"{name} in hand": in_hand(content), f"{name} from an address": at(f"/{number}.png")}
        expected |= {f"{name} in hand": code, f"{name} from an address": code}
    await worker_at(outputs)

    batch = await ended(user, database, list(outputs))

    assert batch["codes"] == expected
    assert (batch["status"], batch["failed_count"]) == ("failed", 10)
    assert await files_of(database, user) == []
    assert await rows_of(database, user) == []


async def test_hostile_addresses_are_cut_off_or_refused(
    worker_at: WorkerAt, server: PictureServer, user: User, database: Database
) -> None:
    server.says("/declared.png", [head_of(headers={"content-length": str(GIGABYTES_5)})])
    server.says("/endless.png", itertools.chain([head_of()], itertools.repeat(bytes(65_536), GIGABYTES_5 // 65_536)))
    server.redirects("/name.png", "https://inside.test/one.png")
    server.redirects("/metadata.png", "http://169.254.169.254/latest/meta-data")
    server.redirects("/plain.png", "http://pictures.test/one.png")
    paths = ("/declared.png", "/endless.png", "/name.png", "/metadata.png", "/plain.png")
    outputs = {path: at(path) for path in paths} | {
        "a private name": {"url": "https://inside.test/one.png"},
        "this machine": {"url": f"https://{LOOPBACK}:{server.port}/one.png"},
        "a file": {"url": "file:///etc/passwd"},
    }
    worker = await worker_at(outputs)

    batch = await ended(user, database, list(outputs))

    assert batch["codes"] == {
        prompt: TOO_LARGE if prompt in ("/declared.png", "/endless.png") else REFUSED for prompt in outputs
    }
    assert [seen.path for seen in server.seen if seen.path not in paths] == []
    assert {line["host"] for line in worker.named("connecting")} == {PUBLIC_ADDRESS}
    assert server.bytes_sent < 200_000_000  # of ten gigabytes: 128 MiB, and what sockets hold
    assert await files_of(database, user) == []
    assert await rows_of(database, user) == []


async def test_data_beside_a_picture_is_removed_and_the_picture_kept(
    worker_at: WorkerAt, user: User, database: Database, storage: ImageStorage
) -> None:
    polyglots = {
        "an archive behind": GOOD + zip_end(),
        "a page behind": GOOD + HTML,
        "a prompt with markup": with_png_block(GOOD, b"tEXt", b"parameters\0a poster with the text <html><body>hello"),
    }
    await worker_at({prompt: in_hand(content) for prompt, content in polyglots.items()})

    batch = await ended(user, database, list(polyglots))

    assert (batch["status"], batch["codes"]) == ("completed", {})
    assert [await storage.get(path) for path in await files_of(database, user)] == [GOOD] * 3


async def test_hostile_pictures_of_one_user_harm_no_other_user(
    worker_at: WorkerAt, user: User, new_user: Callable[[], Awaitable[User]], database: Database
) -> None:
    scan = picture("jpeg")[:-2] + b"\xff" * 40_000 + b"\xff\xd9"
    poison = {"a drawing": in_hand(POISON), "a scan": in_hand(scan), "patterns": in_hand(svg(nested_patterns(6, 100)))}
    good = {f"good {number}": in_hand(GOOD) for number in range(8)}
    await worker_at({**poison, **good})

    bad, fine = await asyncio.gather(ended(user, database, list(poison)), ended(await new_user(), database, list(good)))

    assert (bad["codes"]["a drawing"], bad["codes"]["patterns"]) == (SVG, SVG)
    assert (fine["status"], fine["completed_count"], fine["codes"]) == ("completed", 8, {})
    sql = "select max(retry_count) as most from public.image_generations where batch_id = any(%s)"
    most = await (await database.execute(sql, [[bad["id"], fine["id"]]])).fetchone()
    assert most == {"most": 0}


async def test_good_pictures_arrive_beside_hostile_ones(
    worker_at: WorkerAt, server: PictureServer, user: User, database: Database, storage: ImageStorage
) -> None:
    server.redirects("/one.png", "/two.png")
    server.gives("/two.png", GOOD)
    server.gives("/page.png", HTML, headers={"content-type": "image/png"})
    drawing = in_hand(svg('<script>alert(1)</script><rect width="9" height="9"/>'))
    await worker_at({"good": at("/one.png"), "drawing": drawing, "page": at("/page.png")})

    batch = await ended(user, database, ["good", "drawing", "page"])

    assert (batch["status"], batch["completed_count"]) == ("partial", 1)
    assert batch["codes"] == {"page": NO_PICTURE, "drawing": SVG}
    files = await files_of(database, user)
    assert files == await rows_of(database, user)
    assert [await storage.get(path) for path in files] == [GOOD]
