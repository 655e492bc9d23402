"""An authenticated connection to the project, whose token is renewed before it expires."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from typing import Any, TypeVar
from uuid import UUID

from supabase import AsyncClient

from batchgen.backend.rpc import rpc
from batchgen.client import auth
from batchgen.client.session import Session, SessionStore
from batchgen.errors import BackendUnavailable, NotSignedIn

T = TypeVar("T")

KEY_REFUSED = "Check that SUPABASE_SECRET_KEY and SUPABASE_URL belong to the same project."


class Caller:
    """A user with a session, or an operator with the secret key, who can act for one user (`user_id`)."""

    def __init__(
        self,
        supabase: AsyncClient,
        *,
        session: Session | None = None,
        store: SessionStore | None = None,
        user_id: UUID | None = None,
    ) -> None:
        self.supabase = supabase
        self.session = session
        self.user_id = user_id
        self._store = store
        self._renewing = asyncio.Lock()

    @property
    def is_operator(self) -> bool:
        return self.session is None

    @property
    def token(self) -> str:
        """The token for Realtime: the user's access token, or the operator's key."""
        return self.session.access_token.get_secret_value() if self.session else self.supabase.supabase_key

    async def begin(self) -> None:
        """Authenticate the connection as the session's user."""
        if self.session is None:
            return
        if self.session.ends_soon:
            await self.renew(self.session)
        else:
            self.session = await auth.resume(self.supabase, self.session)

    async def call(self, request: Callable[[], Awaitable[T]]) -> T:
        """Make one request with a fresh token, and once more with a new one if it is refused nevertheless."""
        await self.renew_if_needed()
        used = self.session
        try:
            return await request()
        except NotSignedIn as error:
            if used is None:
                error.code, error.remedy = "key_refused", KEY_REFUSED
                raise
            await self.renew(used)
            return await request()

    async def rpc(self, function: str, arguments: Mapping[str, Any], *, resends: bool = False) -> Any:
        """Call a SQL function and return its JSON.

        `resends`: the function is idempotent, so call it once more if no response came.
        """
        try:
            return await self.call(lambda: rpc(self.supabase, function, arguments))
        except BackendUnavailable:
            if not resends:
                raise
        return await self.call(lambda: rpc(self.supabase, function, arguments))

    async def renew_if_needed(self) -> None:
        """Renew the token if it expires soon."""
        if self.session and self.session.ends_soon:
            await self.renew(self.session)

    async def renew(self, old: Session) -> None:
        """Replace the session `old`, unless another task or command has just done so."""
        async with self._renewing, AsyncExitStack() as held:
            if self.session is not old:
                return
            if self._store:
                await held.enter_async_context(self._store.locked())
            self.session = await self._adopt_or_renew(old)
            if self._store:
                self._store.save(self.session)

    async def _adopt_or_renew(self, old: Session) -> Session:
        kept = self._store.load() if self._store else None
        if kept and kept.user_id == old.user_id and kept.refresh_token != old.refresh_token and not kept.ends_soon:
            return await auth.resume(self.supabase, kept)
        return await auth.renew(self.supabase, old)
