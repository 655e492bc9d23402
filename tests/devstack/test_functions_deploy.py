"""`supabase functions deploy`, Supabase's own command line, against a fake of its Management API."""

import asyncio
import json
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from devstack.functions import default_functions_dir
from devstack.node import node_binary
from tests.npm import npm_install

ROOT = Path(__file__).parents[2]
TOOLS = ROOT / "tools"
PROJECT = "abcdefghijklmnopqrst"
SHARED = {"batch-generate": "create_batch", "batch-generate-images": "create_batch", "process-queue": "process_queue"}


class ManagementApi:
    """Keeps the deployed functions."""

    def __init__(self) -> None:
        self.files: dict[str, dict[str, str]] = {}
        self.settings: dict[str, dict[str, Any]] = {}
        self.url = ""

    async def deploy(self, request: web.Request) -> web.Response:
        name = request.query["slug"]
        form = await request.post()
        files = [value for value in form.getall("file") if isinstance(value, web.FileField)]
        self.files[name] = {file.filename: file.file.read().decode() for file in files}
        self.settings[name] = json.loads(str(form["metadata"]))
        told = {"id": name, "slug": name, "name": name, "status": "ACTIVE", "version": 1, "created_at": 1}
        return web.json_response({**told, **self.settings[name]}, status=201)

    async def other(self, _request: web.Request) -> web.Response:
        return web.json_response([])


@pytest.fixture
async def api() -> AsyncGenerator[ManagementApi]:
    api = ManagementApi()
    app = web.Application()
    app.router.add_post(f"/v1/projects/{PROJECT}/functions/deploy", api.deploy)
    app.router.add_route("*", "/{tail:.*}", api.other)
    runner = web.AppRunner(app)
    await runner.setup()
    await (site := web.TCPSite(runner, "127.0.0.1", 0)).start()
    api.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield api
    await site.stop()
    await runner.cleanup()


async def test_the_functions_are_deployed_with_all_their_imports(api: ManagementApi, tmp_path: Path) -> None:
    await asyncio.to_thread(npm_install, TOOLS)

    code, output = await deploy(api.url, tmp_path)

    assert code == 0, output
    names = {folder.name for folder in default_functions_dir().iterdir() if (folder / "index.ts").exists()}
    assert set(api.files) == names == set(SHARED)
    for name, files in api.files.items():
        here = "supabase/functions"
        shared = [f"{here}/_shared/{module}.ts" for module in (SHARED[name], "http", "project")]
        assert set(files) == {f"{here}/{name}/index.ts", f"{here}/{name}/deno.json", *shared}
        assert files == {file: (ROOT / file).read_text() for file in files}
        assert api.settings[name]["verify_jwt"] is False
        assert api.settings[name]["entrypoint_path"] == f"{here}/{name}/index.ts"


async def deploy(url: str, home: Path) -> tuple[int | None, str]:
    profile = home / "profile.yaml"
    profile.write_text(f"name: test\napi_url: {url}\ndashboard_url: {url}\nproject_host: supabase.co\n")
    env = {
        "PATH": f"{node_binary().parent}:{os.defpath}",
        "HOME": str(home),
        "SUPABASE_HOME": str(home / ".supabase"),
        "SUPABASE_ACCESS_TOKEN": "sbp_" + "0" * 40,
        "DO_NOT_TRACK": "1",
        "SUPABASE_TELEMETRY_DISABLED": "1",
        "NO_COLOR": "1",
    }
    script = TOOLS / "node_modules" / "supabase" / "dist" / "supabase.js"
    options = ("--use-api", f"--remote={PROJECT}", "--profile", str(profile), "--yes")
    process = await asyncio.create_subprocess_exec(
        *(str(node_binary()), str(script), "functions", "deploy", *options),
        cwd=ROOT,
        env=env,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 100)
    return process.returncode, output.decode()
