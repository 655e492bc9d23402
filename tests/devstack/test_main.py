"""`batchgen dev` as a process: what it leaves behind, and what it finds again."""

import asyncio
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
import psycopg
import pytest


@dataclass(frozen=True)
class Dev:
    process: asyncio.subprocess.Process
    env_file: Path

    def settings(self) -> dict[str, str]:
        return dict(line.split("=", 1) for line in self.env_file.read_text().splitlines())

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


async def start(folder: Path, *more: str) -> Dev:
    (folder / "tmp").mkdir(exist_ok=True)
    env_file = folder / "test.env"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "devstack", "--port", "0", "--no-worker"),
        *("--data-dir", str(folder / "data"), "--env-file", str(env_file), *more),
        env={**os.environ, "TMPDIR": str(folder / "tmp")},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    return Dev(process, env_file)


async def said(dev: Dev, what: str) -> str:
    """All that it said until it said this."""
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
async def test_a_signal_stops_all_of_it_and_leaves_nothing(tmp_path: Path, number: signal.Signals) -> None:
    dev = await start(tmp_path)
    told = await said(dev, "Next, in another terminal")
    family = dev.family()
    mode = dev.env_file.stat().st_mode & 0o777

    code = await end(dev, number)

    assert "development and tests only" in told
    assert mode == 0o600
    assert code == 0
    assert await everything_ended(family)
    assert not dev.env_file.exists()
    assert list((tmp_path / "tmp").iterdir()) == []


async def test_it_can_be_stopped_while_it_starts(tmp_path: Path) -> None:
    dev = await start(tmp_path)
    await said(dev, "Postgres ")
    family = dev.family()

    assert await end(dev, signal.SIGTERM) == 0
    assert await everything_ended(family)


async def test_a_killed_run_takes_all_with_it_and_the_next_one_continues(tmp_path: Path) -> None:
    dev = await start(tmp_path)
    await said(dev, "Next, in another terminal")
    before, family = dev.settings(), dev.family()
    async with await psycopg.AsyncConnection.connect(before["DATABASE_URL"]) as connection:
        await connection.execute("create table kept as select 1 as id")

    await end(dev, signal.SIGKILL)
    again = await start(tmp_path)
    await said(again, "Next, in another terminal")
    after = again.settings()
    async with await psycopg.AsyncConnection.connect(after["DATABASE_URL"]) as connection:
        found = await (await connection.execute("select id from kept")).fetchone()
    code = await end(again, signal.SIGTERM)

    assert await everything_ended(family)
    assert found == (1,)
    assert after["SUPABASE_SECRET_KEY"] == before["SUPABASE_SECRET_KEY"]
    assert code == 0


async def test_a_second_start_leaves_the_settings_of_the_first_alone(tmp_path: Path) -> None:
    dev = await start(tmp_path)
    await said(dev, "Next, in another terminal")

    second = await start(tmp_path)
    told = await said(second, "Another dev stack")
    code = await second.process.wait()
    kept = dev.env_file.exists()
    await end(dev, signal.SIGTERM)

    assert f"pid {dev.process.pid}" in told
    assert code == 3
    assert kept


@pytest.mark.parametrize(
    ("file", "text", "line"),
    [
        ("keys.json", "{", "keys.json is not a file of keys"),
        ("postgres/cluster/PG_VERSION", "15\n", "holds data of Postgres 15"),
    ],
)
async def test_data_that_cannot_be_used_is_one_clear_line(tmp_path: Path, file: str, text: str, line: str) -> None:
    spoilt = tmp_path / "data" / file
    spoilt.parent.mkdir(parents=True)
    spoilt.write_text(text)

    dev = await start(tmp_path)
    told = await said(dev, line)

    assert "Traceback" not in told
    assert await dev.process.wait() == 3
