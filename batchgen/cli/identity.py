"""Make the client of a command: for the signed-in user, or for an operator if requested."""

from pydantic import SecretStr

from batchgen.cli.options import RunAs
from batchgen.client.client import BatchgenClient
from batchgen.client.session import SessionStore
from batchgen.errors import InvalidRequest, NotSignedIn
from batchgen.settings import Settings
from batchgen.text import printable


async def client_for(settings: Settings, run_as: RunAs) -> BatchgenClient:
    """A client for a command. Raises `NotSignedIn` if it runs as user and nobody is signed in."""
    if run_as.is_operator:
        return await BatchgenClient.operator(settings.url, secret_key(settings), user=run_as.user, settings=settings)
    store = SessionStore(settings.url)
    session = store.load()
    if session is None:
        raise _not_signed_in(settings, store)
    key = publishable_key(settings)
    return await BatchgenClient.with_session(settings.url, key, session, store=store, settings=settings)


def _not_signed_in(settings: Settings, store: SessionStore) -> NotSignedIn:
    elsewhere = store.other_projects()
    known = f" There are sessions for {', '.join(elsewhere)}." if elsewhere else ""
    operator = "--operator runs as operator" + ("." if settings.supabase_secret_key else ", with SUPABASE_SECRET_KEY.")
    return NotSignedIn(
        printable(f"Nobody is signed in to {settings.url}.{known}"), remedy=f"Sign in with batchgen login; {operator}"
    )


def publishable_key(settings: Settings) -> str:
    return _key(settings.supabase_publishable_key, "SUPABASE_PUBLISHABLE_KEY", "users need it to sign in")


def secret_key(settings: Settings) -> str:
    return _key(settings.supabase_secret_key, "SUPABASE_SECRET_KEY", "an operator's commands need it")


def _key(key: SecretStr | None, variable: str, purpose: str) -> str:
    if key is None:
        raise InvalidRequest(
            f"{variable} is missing: {purpose}.",
            code="key_missing",
            field=variable,
            remedy="Set it in the environment, in .env or in the file given with --env-file.",
        )
    return key.get_secret_value()
