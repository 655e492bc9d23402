"""Sign in, sign up, sign out, renew: what Supabase Auth does for a user."""

from supabase import AsyncClient
from supabase_auth.types import Session as AuthSession

from batchgen.errors import InvalidRequest, NotSignedIn
from batchgen.postgrest import translated
from batchgen.session import Session


async def sign_in(supabase: AsyncClient, email: str, password: str) -> Session:
    """Raises `NotSignedIn` where the pair is not right."""
    with translated("Signing in"):
        answer = await supabase.auth.sign_in_with_password({"email": email, "password": password})
    return _session(answer.session, "Signing in gave no session.")


async def sign_up(supabase: AsyncClient, email: str, password: str) -> Session:
    """Make an account and sign in. Raises `NotSignedIn` where the project wants the address confirmed first."""
    with translated("Signing up"):
        answer = await supabase.auth.sign_up({"email": email, "password": password})
    return _session(answer.session, "The account was made. Confirm the e-mail address, then sign in.")


async def resume(supabase: AsyncClient, session: Session) -> Session:
    """Let `supabase` speak as the session's user; the answer is the session as it is now."""
    access, refresh = session.access_token.get_secret_value(), session.refresh_token.get_secret_value()
    with translated("Resuming the session"):
        answer = await supabase.auth.set_session(access, refresh)
    return _session(answer.session, "The session ended: sign in again.")


async def renew(supabase: AsyncClient, session: Session) -> Session:
    """Trade the refresh token, which works once, for new tokens; `supabase` uses them from now on."""
    with translated("Renewing the session"):
        answer = await supabase.auth.refresh_session(session.refresh_token.get_secret_value())
    return _session(answer.session, "The session ended: sign in again.")


async def sign_out(supabase: AsyncClient) -> None:
    """End this session, and no other of the same user."""
    with translated("Signing out"):
        await supabase.auth.sign_out({"scope": "local"})


def _session(answer: AuthSession | None, otherwise: str) -> Session:
    if answer is None:
        raise NotSignedIn(otherwise)
    if answer.expires_at is None:
        raise InvalidRequest("The project's Auth gave a session without an end.", code="no_expiry")
    return Session.model_validate(
        {
            "access_token": answer.access_token,
            "refresh_token": answer.refresh_token,
            "expires_at": answer.expires_at,
            "user_id": answer.user.id,
            "email": answer.user.email,
        }
    )
