"""`batchgen dev` as a process: the state that it leaves behind and finds again."""

import asyncio
import os
import signal
import socket
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import pytest

from tests.support import eventually


@dataclass(frozen=True)
class Dev:
    process: asyncio.subprocess.Process
    env_file: Path

    def settings(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.env_file.read_text().splitlines())

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


async def start(folder: Path, *more: str, worker: bool = False, **environment: str) -> Dev:
    (folder / "tmp").mkdir(exist_ok=True)
    env_file = folder / "test.env"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "devstack", "--port", "0", *(() if worker else ("--no-worker",))),
        *("--data-dir", str(folder / "data"), "--env-file", str(env_file), *more),
        env={**os.environ, "TMPDIR": str(folder / "tmp"), **environment},
        cwd=folder,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    return Dev(process, env_file)


async def output_until(dev: Dev, what: str) -> str:
    """The output up to this text."""
    assert dev.process.stdout
    lines: list[str] = []
    async with asyncio.timeout(100):
        while line := (await dev.process.stdout.readline()).decode():
            lines.append(line)
            if what in line:
                return "".join(lines)
    raise AssertionError("".join(lines))


async def everything_ended(processes: list[psutil.Process]) -> bool:
    _, alive = await asyncio.to_thread(psutil.wait_procs, processes, 20)
    return not alive


async def end(dev: Dev, number: signal.Signals) -> int:
    dev.process.send_signal(number)
    output, _ = await asyncio.wait_for(dev.process.communicate(), 30)
    return dev.process.returncode if dev.process.returncode is not None else len(output)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_stops_the_stack_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    dev = await start(tmp_path)
    output = await output_until(dev, "Next, in another terminal")
    family = dev.family()
    mode = dev.env_file.stat().st_mode & 0o777

    code = await end(dev, number)

    assert "development and tests only" in output
    assert mode == 0o600
    assert code == 0
    assert await everything_ended(family)
    assert not dev.env_file.exists()
    assert list((tmp_path / "tmp").iterdir()) == []


async def test_the_stack_can_be_stopped_while_it_starts(tmp_path: Path) -> None:
    dev = await start(tmp_path)
    await output_until(dev, "Postgres ")
    family = dev.family()

    assert await end(dev, signal.SIGTERM) == 0
    assert await everything_ended(family)


async def test_a_killed_stack_leaves_no_process_and_keeps_its_data(tmp_path: Path) -> None:
    dev = await start(tmp_path)
    await output_until(dev, "Next, in another terminal")
    before, family = dev.settings(), dev.family()
    async with await psycopg.AsyncConnection.connect(before["DATABASE_URL"]) as connection:
        await connection.execute("create table kept as select 1 as id")

    await end(dev, signal.SIGKILL)
    again = await start(tmp_path)
    await output_until(again, "Next, in another terminal")
    after = again.settings()
    async with await psycopg.AsyncConnection.connect(after["DATABASE_URL"]) as connection:
        found = await (await connection.execute("select id from kept")).fetchone()
    code = await end(again, signal.SIGTERM)

    assert await everything_ended(family)
    assert found == (1,)
    assert after["SUPABASE_SECRET_KEY"] == before["SUPABASE_SECRET_KEY"]
    assert code == 0


async def test_a_second_start_keeps_the_settings_file_of_the_first(tmp_path: Path) -> None:
    dev = await start(tmp_path)
    await output_until(dev, "Next, in another terminal")

    second = await start(tmp_path)
    output = await output_until(second, "Another dev stack")
    code = await second.process.wait()
    kept = dev.env_file.exists()
    await end(dev, signal.SIGTERM)

    assert f"pid {dev.process.pid}" in output
    assert code == 3
    assert kept


@pytest.mark.parametrize(
    ("file", "text", "line"),
    [
        ("keys.json", "{", "keys.json is not a file of keys"),
        ("postgres/cluster/PG_VERSION", "15\n", "contains data of Postgres 15"),
    ],
)
async def test_unusable_data_is_one_clear_line(tmp_path: Path, file: str, text: str, line: str) -> None:
    spoilt = tmp_path / "data" / file
    spoilt.parent.mkdir(parents=True)
    spoilt.write_text(text)

    dev = await start(tmp_path)
    output = await output_until(dev, line)

    assert "Traceback" not in output
    assert await dev.process.wait() == 3


async def test_each_printed_next_step_works(tmp_path: Path) -> None:
    dev = await start(tmp_path, worker=True, BATCHGEN_OFFLINE_SECONDS="0.1", XDG_CONFIG_HOME=str(tmp_path / "config"))
    await output_until(dev, "Next, in another terminal")
    steps = [line for line in (await output_until(dev, "set -a")).splitlines() if line.startswith("  ")]

    ran = [await in_a_shell(step, tmp_path) for step in steps]
    await end(dev, signal.SIGTERM)

    assert [code for code, _ in ran] == [0, 0, 0], ran
    assert "2 of 2 done" in ran[0][1]
    assert "as dev@example.com" in ran[1][1]


async def in_a_shell(line: str, folder: Path) -> tuple[int | None, str]:
    """Run a line in a shell on a machine where nobody is signed in."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", line),
        cwd=folder,
        env={**kept, "XDG_CONFIG_HOME": str(folder / "config")},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await asyncio.wait_for(process.communicate(), 60)
    return process.returncode, output.decode()


async def test_the_end_of_postgres_stops_the_stack_with_one_line(tmp_path: Path) -> None:
    dev = await start(tmp_path)
    await output_until(dev, "set -a")
    family = dev.family()

    os.kill(postmaster(tmp_path), signal.SIGKILL)
    output, _ = await asyncio.wait_for(dev.process.communicate(), 30)

    assert dev.process.returncode == 1
    assert [line for line in output.decode().splitlines() if "Postgres" in line] == [
        "batchgen dev: Postgres ended unexpectedly, so the stack stops; see data/logs/postgres.log."
    ]
    assert "Traceback" not in output.decode()
    assert await everything_ended(family)


async def test_a_dead_worker_is_reported_and_restarted(tmp_path: Path) -> None:
    dev = await start(tmp_path, "--worker-log", str(tmp_path / "worker.log"), worker=True)
    await output_until(dev, "set -a")
    [worker] = await eventually(lambda: [one for one in dev.family() if "scheduler" in one.cmdline()], 30)

    worker.send_signal(signal.SIGKILL)
    output = await output_until(dev, "is restarted")
    await end(dev, signal.SIGTERM)

    assert "batchgen dev: The worker was ended by SIGKILL and is restarted in 1 s, see worker.log" in output


async def test_a_worker_with_invalid_settings_is_not_restarted(tmp_path: Path) -> None:
    dev = await start(tmp_path, worker=True, BATCHGEN_POLL_SECONDS="often")

    output = await output_until(dev, "its settings are invalid")

    assert "BATCHGEN_POLL_SECONDS" in output
    assert await dev.process.wait() == 1


async def test_a_taken_port_is_one_line_with_a_remedy(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        dev = await start(tmp_path, "--port", str(port))
        output = await output_until(dev, "Port ")
        code = await dev.process.wait()

    assert f"Port {port} on 127.0.0.1 is in use" in output
    assert "--port 0 takes any free one" in output
    assert code == 3


def postmaster(folder: Path) -> int:
    return int((folder / "data" / "postgres" / "cluster" / "postmaster.pid").read_text().splitlines()[0])


async def test_the_demo_fails_with_a_reason_when_its_stack_ends(tmp_path: Path) -> None:
    demo = await start_demo(tmp_path)
    await output_until(demo, "The stack goes on running")
    family = demo.family()

    os.kill(postmaster(tmp_path), signal.SIGKILL)
    output, _ = await asyncio.wait_for(demo.process.communicate(), 60)

    assert demo.process.returncode == 1
    assert "batchgen dev: Postgres ended unexpectedly" in output.decode()
    assert "The demo failed: the stack has ended (batchgen dev: exit code 1)." in output.decode()
    assert await everything_ended(family)


@pytest.mark.parametrize("sign", ["$ batchgen dev", "Postgres ", "Ready", "$ echo", "$ batchgen submit", "demo-output"])
async def test_the_demo_can_be_interrupted_at_every_step(tmp_path: Path, sign: str) -> None:
    demo = await start_demo(tmp_path)
    before = await output_until(demo, sign)
    family = demo.family()

    os.killpg(demo.process.pid, signal.SIGINT)  # as a terminal does it
    after, _ = await asyncio.wait_for(demo.process.communicate(), 60)

    assert demo.process.returncode in (0, 130)
    assert "Traceback" not in before + after.decode()
    assert await everything_ended(family)


async def test_the_demo_uses_a_running_stack_and_leaves_it_running(tmp_path: Path) -> None:
    env_file = tmp_path / "data" / "dev.env"
    dev = await start(tmp_path, "--env-file", str(env_file), worker=True, BATCHGEN_OFFLINE_SECONDS="0.1")
    await output_until(dev, "set -a")

    demo = await start_demo(tmp_path)
    output = await output_until(demo, "Five pictures")
    code = await demo.process.wait()
    runs = dev.process.returncode is None
    await end(dev, signal.SIGTERM)

    assert "The stack in data is already running and is used." in output
    assert code == 0
    assert runs
    assert len(list((tmp_path / "demo-output").glob("*.png"))) == 6


async def start_demo(folder: Path, *more: str) -> Dev:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "devstack.demo", "--port", "0", "--data-dir", "data", *more),
        cwd=folder,
        env={**os.environ, "XDG_CONFIG_HOME": str(folder / "config"), "BATCHGEN_OFFLINE_SECONDS": "0.1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    return Dev(process, folder / "data" / "dev.env")
