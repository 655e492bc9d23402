"""The functions server: permissions of functions, and answers of broken ones."""

import os
import signal
import stat
import tomllib
from collections.abc import AsyncGenerator
from pathlib import Path

import httpx
import pytest

from devstack import Stack, StackConfig, functions
from devstack.errors import FunctionsFailed
from devstack.functions import FunctionsConfig, FunctionsServer, default_functions_dir
from tests.devstack.stack_clients import Running
from tests.support import eventually

MIGRATIONS = Path(__file__).parent / "migrations"
PYPROJECT = Path(__file__).parents[2] / "pyproject.toml"
FORBIDDEN = {
    "read": "await Deno.readTextFile('/etc/passwd')",
    "read-beside": "await Deno.readTextFile(new URL('../../outside.txt', import.meta.url))",
    "write": "await Deno.writeTextFile(new URL('./written.txt', import.meta.url), 'x')",
    "env": "Deno.env.get('HOME')",
    "run": "await new Deno.Command('id').output()",
    "net": "await fetch('http://127.0.0.1:54322/')",
    "listen": "Deno.listen({ hostname: '0.0.0.0', port: 0 })",
    "native": "Deno.dlopen('libc.so.6', {})",
    "import": "await import('https://example.com/x.ts')",
    "npm": "await import('npm:chalk')",
}
TELLS_WHAT_STOPPED_IT = """
Deno.serve(async () => {
  try {
    %s;
    return new Response("allowed");
  } catch (error) {
    return new Response(error.name);
  }
});
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "fünf, 100% #1?" / "functions"
    folder.mkdir(parents=True)
    (folder.parent / "outside.txt").write_text("secret")
    return folder


@pytest.fixture
async def server(deno: Path, folder: Path, tmp_path: Path) -> AsyncGenerator[FunctionsServer]:
    """A server of the functions in `folder`; the test writes them and starts it."""
    config = FunctionsConfig(folder, "http://127.0.0.1:54321", "sb_publishable_x", tmp_path / "deno")
    server = FunctionsServer(deno, config, tmp_path / "functions.log")
    yield server
    await server.stop()


def write(folder: Path, name: str, code: str) -> None:
    (folder / name).mkdir()
    (folder / name / "index.ts").write_text(code)


async def call(server: FunctionsServer, name: str) -> httpx.Response:
    assert server.base_url
    async with httpx.AsyncClient(base_url=server.base_url) as http:
        return await http.post(f"/functions/v1/{name}")


async def test_a_function_has_no_unneeded_permission(server: FunctionsServer, folder: Path) -> None:
    for name, code in FORBIDDEN.items():
        write(folder, name, TELLS_WHAT_STOPPED_IT % code)
    await server.start()

    answers = {name: (await call(server, name)).text for name in FORBIDDEN}

    refused = {"NotCapable", "TypeError"}  # the latter for imports from elsewhere
    assert {name: text for name, text in answers.items() if text not in refused} == {}
    assert {name for name, text in answers.items() if text == "TypeError"} == {"import", "npm"}
    assert not (folder / "write" / "written.txt").exists()


async def test_a_function_has_the_settings_of_a_hosted_one(server: FunctionsServer, folder: Path) -> None:
    names = ("SUPABASE_URL", "SUPABASE_ANON_KEY", "SUPABASE_PUBLISHABLE_KEYS")
    write(folder, "tell", f"Deno.serve(() => Response.json({list(names)}.map((name) => Deno.env.get(name))))")
    await server.start()

    told = (await call(server, "tell")).json()

    assert told == ["http://127.0.0.1:54321", "sb_publishable_x", '{"default":"sb_publishable_x"}']


async def test_broken_functions_fail_alone_with_a_log_line(
    server: FunctionsServer, folder: Path, tmp_path: Path
) -> None:
    write(folder, "good", "Deno.serve(() => new Response('good'))")
    write(folder, "broken", "this is no TypeScript")
    write(folder, "silent", "export {}")
    write(folder, "throws", "Deno.serve(() => { console.log('before'); throw new Error('in the middle') })")
    (folder / "_shared").mkdir()
    await server.start()

    answers = {
        name: await call(server, name) for name in ("good", "broken", "silent", "throws", "_shared", "nothing", "..")
    }

    assert {name: answer.status_code for name, answer in answers.items()} == {
        "good": 200,
        "broken": 503,
        "silent": 503,
        "throws": 500,
        "_shared": 404,
        "nothing": 404,
        "..": 404,
    }
    assert "in the middle" not in answers["throws"].text
    log = (tmp_path / "functions.log").read_text()
    assert "before" in log
    assert "in the middle" in log
    assert "broken:" in log


async def test_a_failed_start_of_deno_is_one_clear_line(folder: Path, tmp_path: Path) -> None:
    config = FunctionsConfig(folder, "http://127.0.0.1:54321", "sb_publishable_x", tmp_path / "deno")

    with pytest.raises(FunctionsFailed, match="Deno did not start: "):
        await FunctionsServer(tmp_path / "missing", config, tmp_path / "functions.log").start()


async def test_deno_is_restarted_when_it_dies(running: Running) -> None:
    before = running.stack.functions_pid
    assert before
    os.kill(before, signal.SIGKILL)

    async with httpx.AsyncClient(base_url=running.info.url) as http:

        async def answers_again() -> bool:
            status = (await http.post("/functions/v1/process-queue")).status_code
            return status == 401 and running.stack.functions_pid != before

        await eventually(answers_again, 20)


@pytest.mark.parametrize(
    ("deno_here", "told", "answered"),
    [(None, "", "no Deno for this platform"), (Path("/nowhere/deno"), "Deno did not start", "Deno is not available")],
)
async def test_the_stack_works_without_deno(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, deno_here: Path | None, told: str, answered: str
) -> None:
    def deno_binary(_scripts: Path) -> Path | None:
        return deno_here

    monkeypatch.setattr("devstack.stack.deno_binary", deno_binary)
    parts: dict[str, str] = {}
    config = StackConfig(tmp_path, port=0, migrations_dir=MIGRATIONS, durable=False)

    async with Stack(config, parts.__setitem__) as info, httpx.AsyncClient(base_url=info.url) as http:
        health = await http.get("/health")
        functions = await http.post("/functions/v1/process-queue")

    assert told in parts.get("Edge Functions", "")
    assert health.status_code == 200
    assert functions.status_code == 503
    assert answered in functions.json()["message"]


async def test_denos_folder_is_readable_by_its_owner_only(running: Running) -> None:
    kept = running.info.data_dir / "deno"

    assert stat.S_IMODE(kept.stat().st_mode) == 0o700
    assert list(kept.iterdir())


def test_the_wheel_contains_every_function(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    included = tomllib.loads(PYPROJECT.read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    here = {f"supabase/functions/{path.name}" for path in default_functions_dir().iterdir() if path.name != "tests"}

    monkeypatch.setattr(functions, "__file__", str(tmp_path / "site-packages" / "devstack" / "functions.py"))

    assert here == {source for source in included if source.startswith("supabase/functions/")}
    for source in here:
        assert included[source] == f"devstack/{default_functions_dir().name}/{Path(source).name}"
