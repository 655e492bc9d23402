"""Notify systemd of the worker's state: `sd_notify`, over the socket that NOTIFY_SOCKET names.

Written here because the libraries for it need libsystemd or have had no release since 2017.
"""

import os
import socket
from collections.abc import MutableMapping

import structlog

log: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(__name__)

READY = "READY=1\nSTATUS="
STARTING = "STATUS=Checking the project before the first claim"
STOPPING = "STOPPING=1\nSTATUS=Draining"
ALIVE = "WATCHDOG=1"
ALIVE_SHARE = 0.25
"""Of the time after which systemd restarts the worker."""


class SystemdNotifier:
    """Notifies the service manager, if there is one. Never waits or raises: that must not end a worker."""

    def __init__(self, address: str | None = None, watchdog_seconds: float | None = None) -> None:
        self._pause = None if watchdog_seconds is None else watchdog_seconds * ALIVE_SHARE
        self._alive_at = 0.0
        self._unsent: list[str] = []
        self._socket: socket.socket | None = None
        if address:
            self._connect(address)

    @classmethod
    def of_environment(cls, environment: MutableMapping[str, str] = os.environ) -> "SystemdNotifier":
        """Also removes the variables: they are for this process and not for its children."""
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
        """The event loop runs; `now` by its clock. Notifies the manager as often as it expects."""
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
            log.warning("NOTIFY_SOCKET is not the address of a unix socket: the service manager is not notified")
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._address = "\0" + address[1:] if address[0] == "@" else address

    def _send(self, message: str) -> None:
        self._unsent.append(message)
        self._flush()

    def _flush(self) -> None:
        """Send the messages; those that the manager has no room for wait for the next beat."""
        while self._unsent:
            try:
                if self._socket is not None:
                    self._socket.sendto(self._unsent[0].encode(), self._address)
            except BlockingIOError:
                return
            except OSError as error:
                log.debug("the service manager cannot be notified", reason=str(error))
            del self._unsent[0]
