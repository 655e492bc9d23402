"""The session of a signed-in user, and the file that keeps it between commands."""

import asyncio
import json
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast
from uuid import UUID

from platformdirs import user_config_path
from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError

from batchgen.client.atomic_write import write_atomically

LEEWAY_SECONDS = 60
"""A token that expires sooner than this is renewed first."""
LOCK_PATIENCE_SECONDS = 30.0
LOCK_PAUSE_SECONDS = 0.05


class Session(BaseModel):
    """A signed-in user. `repr` and logs do not show the tokens."""

    model_config = ConfigDict(frozen=True, hide_input_in_errors=True)

    access_token: SecretStr
    refresh_token: SecretStr
    expires_at: int
    """Unix time in seconds."""
    user_id: UUID
    email: str | None = None

    @property
    def ends_soon(self) -> bool:
        return self.expires_at - LEEWAY_SECONDS <= time.time()


class SessionStore:
    """Keeps a project's session in a file that only its owner can read. All projects share the file."""

    def __init__(self, url: str, path: Path | None = None) -> None:
        self._url = url.rstrip("/")
        self.path = path or user_config_path("batchgen") / "sessions.json"

    def load(self) -> Session | None:
        """The saved session; None if there is none or it cannot be read."""
        try:
            return Session.model_validate(self._read_all().get(self._url))
        except ValidationError:
            return None

    def other_projects(self) -> list[str]:
        """The addresses of other projects with a saved session."""
        return sorted(url for url in self._read_all() if url != self._url)

    def save(self, session: Session) -> None:
        tokens = {
            "access_token": session.access_token.get_secret_value(),
            "refresh_token": session.refresh_token.get_secret_value(),
        }
        self._write_all({**self._read_all(), self._url: session.model_dump(mode="json") | tokens})

    def forget(self) -> None:
        sessions = dict(self._read_all())
        if sessions.pop(self._url, None) is not None:
            self._write_all(sessions)

    @asynccontextmanager
    async def locked(self) -> AsyncGenerator[None]:
        """Hold this lock while renewing tokens: a refresh token works once, so two commands must not both use it.

        A lock that a killed command left behind is taken over after `LOCK_PATIENCE_SECONDS`.
        """
        lock = self.path.with_suffix(".lock")
        lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        give_up_at = time.monotonic() + LOCK_PATIENCE_SECONDS
        while not _create(lock):
            if time.monotonic() > give_up_at:
                break
            await asyncio.sleep(LOCK_PAUSE_SECONDS)
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)

    def _read_all(self) -> Mapping[str, Any]:
        try:
            content: Any = json.loads(self.path.read_text(encoding="utf-8"))
        except (FileNotFoundError, ValueError):
            return {}
        return cast("Mapping[str, Any]", content) if isinstance(content, dict) else {}

    def _write_all(self, sessions: Mapping[str, Any]) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_atomically(self.path, json.dumps(sessions, indent=1).encode())


def _create(lock: Path) -> bool:
    try:
        lock.touch(mode=0o600, exist_ok=False)
    except FileExistsError:
        return False
    return True
