"""As whom a command speaks: an operator for a named user, the signed-in user, or an operator who sees all."""

from pydantic import SecretStr

from batchgen.client import BatchgenClient
from batchgen.errors import InvalidRequest, NotSignedIn
from batchgen.session import SessionStore
from batchgen.settings import Settings


async def client_for(settings: Settings, user: str | None) -> BatchgenClient:
    """A client by this order: `user` with the secret key; the session of `batchgen login`; the secret key alone."""
    if user:
        return await BatchgenClient.operator(settings.url, secret_key(settings), user=user, settings=settings)
    store = SessionStore(settings.url)
    if session := store.load():
        key = publishable_key(settings)
        return await BatchgenClient.with_session(settings.url, key, session, store=store, settings=settings)
    if settings.supabase_secret_key:
        return await BatchgenClient.operator(settings.url, secret_key(settings), settings=settings)
    raise NotSignedIn("Nobody is signed in. Run batchgen login, or set SUPABASE_SECRET_KEY and give --user.")


def publishable_key(settings: Settings) -> str:
    return _key(settings.supabase_publishable_key, "SUPABASE_PUBLISHABLE_KEY", "users sign in with it")


def secret_key(settings: Settings) -> str:
    return _key(settings.supabase_secret_key, "SUPABASE_SECRET_KEY", "an operator's commands need it")


def _key(key: SecretStr | None, variable: str, purpose: str) -> str:
    if key is None or not key.get_secret_value():
        raise InvalidRequest(
            f"{variable} is missing: {purpose}.",
            code="key_missing",
            field=variable,
            remedy="Set it in the environment, in .env or in the file named by --env-file.",
        )
    return key.get_secret_value()
