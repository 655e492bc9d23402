"""Messages of a worker to systemd, over a datagram socket like systemd's."""

import os
import signal
import socket
import subprocess
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator
from pathlib import Path
from shutil import which

import pytest

from devstack import StackInfo
from scheduler.systemd import SystemdNotifier
from tests.support import WorkerProcess, eventually

ROOT = Path(__file__).parents[2]


class Manager:
    """The socket of a service manager; `received` has the messages in order."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.received: list[str] = []
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)

    def has_received(self, word: str, times: int = 1) -> bool:
        while True:
            try:
                self.received.append(self.socket.recv(4096).decode())
            except BlockingIOError:
                return sum(word in message.splitlines() for message in self.received) >= times


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Generator[Manager]:
    listening = Manager(f"@batchgen-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify"))
    yield listening
    listening.socket.close()


@pytest.fixture
async def start(manager: Manager) -> AsyncGenerator[Callable[..., Awaitable[WorkerProcess]]]:
    workers: list[WorkerProcess] = []

    async def start_one(**more: str) -> WorkerProcess:
        environment = {
            "NOTIFY_SOCKET": manager.address,
            "WATCHDOG_USEC": "1000000",
            "SUPABASE_SECRET_KEY": "sb_secret_for_this_test",
            "SUPABASE_URL": "http://127.0.0.1:9",
            **more,
        }
        workers.append(await WorkerProcess.start(environment))
        return workers[-1]

    yield start_one
    for worker in workers:
        await worker.end()


async def test_a_worker_notifies_systemd_when_ready_alive_and_draining(
    start: Callable[..., Awaitable[WorkerProcess]], manager: Manager, stack: StackInfo
) -> None:
    worker = await start(SUPABASE_URL=stack.url, SUPABASE_SECRET_KEY=stack.secret_key)

    await eventually(lambda: manager.has_received("READY=1"), timeout=20)
    await eventually(lambda: manager.has_received("WATCHDOG=1", 3), timeout=20)
    worker.send(signal.SIGTERM)

    assert await worker.exit_code() == 0
    assert manager.has_received("STOPPING=1")
    assert [word for word in manager.received if not word.startswith("WATCHDOG")][1:] == [
        "READY=1\nSTATUS=",
        "STOPPING=1\nSTATUS=Draining",
    ]


async def test_a_worker_without_its_project_does_not_report_ready(
    start: Callable[..., Awaitable[WorkerProcess]], manager: Manager
) -> None:
    worker = await start()

    await worker.logs("queue lost, the worker waits for it to begin")
    await eventually(lambda: manager.has_received("WATCHDOG=1", 2), timeout=20)
    assert not manager.has_received("READY=1")
    worker.send(signal.SIGTERM)

    assert await worker.exit_code() == 0
    assert manager.has_received("STOPPING=1")


async def test_a_worker_runs_on_without_its_service_manager(
    start: Callable[..., Awaitable[WorkerProcess]], manager: Manager
) -> None:
    manager.socket.close()
    worker = await start()

    await worker.logs("queue lost, the worker waits for it to begin")
    worker.send(signal.SIGTERM)

    assert await worker.exit_code() == 0


def test_systemd_variables_are_removed_from_the_environment(manager: Manager) -> None:
    environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "8000000", "WATCHDOG_PID": "1", "HOME": "/"}

    service = SystemdNotifier.of_environment(environment)
    service.beat(0)
    service.ready()
    service.close()

    assert environment == {"HOME": "/"}
    assert manager.has_received("READY=1")
    assert not manager.has_received("WATCHDOG=1")  # another process is watched


def test_watchdog_messages_follow_the_managers_interval(manager: Manager) -> None:
    service = SystemdNotifier(manager.address, watchdog_seconds=8)

    for half_seconds in range(20):
        service.beat(half_seconds / 2)
    service.close()

    assert manager.has_received("WATCHDOG=1", 5)
    assert len(manager.received) == 5


def test_a_message_refused_by_a_full_socket_is_sent_later(manager: Manager) -> None:
    service = SystemdNotifier(manager.address)
    sent = 0
    while not service._unsent:  # pyright: ignore[reportPrivateUsage]
        service.starting()
        sent += 1
    service.ready()

    assert manager.has_received("STATUS=Checking the project before the first claim", sent - 1)
    service.beat(0)
    service.close()

    assert manager.has_received("READY=1")


@pytest.mark.parametrize("address", [None, "", "vsock:2:1"])
def test_nothing_is_sent_without_a_notify_socket(address: str | None) -> None:
    service = SystemdNotifier(address, watchdog_seconds=8)

    service.ready()
    service.beat(0)
    service.close()


def test_systemd_accepts_the_unit_file(tmp_path: Path) -> None:
    program = which("systemd-analyze")
    if program is None:
        pytest.skip("systemd is not on this machine")
    unit = (ROOT / "deploy/batchgen-worker.service").read_text()
    (tmp_path / "batchgen-worker.service").write_text(unit.replace("/opt/batchgen/bin/batchgen", "/bin/true"))

    checked = subprocess.run(
        [program, "verify", "--man=no", str(tmp_path / "batchgen-worker.service")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "batchgen-worker.service" not in checked.stderr, checked.stderr
    assert checked.returncode == 0, checked.stderr
