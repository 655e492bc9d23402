"""What a service manager wants to hear: systemd's `sd_notify`, over the socket that NOTIFY_SOCKET names.

Our own dozen lines: the libraries for it are bound to libsystemd, or have had no release since 2017.
"""

import os
import socket
from collections.abc import MutableMapping

import structlog

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

READY = "READY=1\nSTATUS="
STARTING = "STATUS=Looks at the project before the first claim"
STOPPING = "STOPPING=1\nSTATUS=Drains"
ALIVE = "WATCHDOG=1"
ALIVE_SHARE = 0.25
"""Of the time after which systemd gives the worker up."""


class SystemdNotifier:
    """Tells the manager, if there is one. Nothing here waits or raises: no worker ends for its manager's sake."""

    def __init__(self, address: str | None = None, watchdog_seconds: float | None = None) -> None:
        self._pause = None if watchdog_seconds is None else watchdog_seconds * ALIVE_SHARE
        self._alive_at = 0.0
        self._unsent: list[str] = []
        self._socket: socket.socket | None = None
        if address:
            self._connect(address)

    @classmethod
    def of_environment(cls, environment: MutableMapping[str, str] = os.environ) -> "SystemdNotifier":
        """Takes the variables out, too: they are for this process, and none that it starts."""
        address = environment.pop("NOTIFY_SOCKET", None)
        microseconds = environment.pop("WATCHDOG_USEC", "")
        pid = environment.pop("WATCHDOG_PID", str(os.getpid()))
        is_watched = microseconds.isdecimal() and int(microseconds) > 0 and pid == str(os.getpid())
        return cls(address, int(microseconds) / 1e6 if is_watched else None)

    def starting(self) -> None:
        self._send(STARTING)

    def ready(self) -> None:
        self._send(READY)

    def stopping(self) -> None:
        self._send(STOPPING)

    def beat(self, now: float) -> None:
        """The event loop runs; `now` by its clock. The manager is told as often as it has to be."""
        if self._pause is not None and now >= self._alive_at and not self._unsent:
            self._alive_at = now + self._pause
            self._unsent.append(ALIVE)
        self._flush()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
        self._socket = None

    def _connect(self, address: str) -> None:
        if address[0] not in "/@":
            log.warning("NOTIFY_SOCKET is no address of a unix socket: the service manager is not told anything")
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._address = "\0" + address[1:] if address[0] == "@" else address

    def _send(self, message: str) -> None:
        self._unsent.append(message)
        self._flush()

    def _flush(self) -> None:
        """A message that the manager has no room for is sent with the next beat."""
        while self._unsent:
            try:
                if self._socket is not None:
                    self._socket.sendto(self._unsent[0].encode(), self._address)
            except BlockingIOError:
                return
            except OSError as error:
                log.debug("the service manager does not hear", reason=str(error))
            del self._unsent[0]
