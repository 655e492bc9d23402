"""As whom a command speaks: the signed-in user, or, only where that is asked for, an operator."""

from pydantic import SecretStr

from batchgen.cli.options import Asker
from batchgen.client.client import BatchgenClient
from batchgen.client.session import SessionStore
from batchgen.errors import InvalidRequest, NotSignedIn
from batchgen.settings import Settings
from batchgen.text import printable


async def client_for(settings: Settings, asker: Asker) -> BatchgenClient:
    """A client for whoever asks. Raises `NotSignedIn` where nobody is signed in and no operator was asked for."""
    if asker.is_operator:
        return await BatchgenClient.operator(settings.url, secret_key(settings), user=asker.user, settings=settings)
    store = SessionStore(settings.url)
    session = store.load()
    if session is None:
        raise _nobody(settings, store)
    key = publishable_key(settings)
    return await BatchgenClient.with_session(settings.url, key, session, store=store, settings=settings)


def _nobody(settings: Settings, store: SessionStore) -> NotSignedIn:
    elsewhere = store.other_projects()
    known = f" The sessions that are kept are for {', '.join(elsewhere)}." if elsewhere else ""
    operator = "--operator acts as operator" + ("." if settings.supabase_secret_key else ", with SUPABASE_SECRET_KEY.")
    return NotSignedIn(
        printable(f"Nobody is signed in to {settings.url}.{known}"), remedy=f"Sign in with batchgen login; {operator}"
    )


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
