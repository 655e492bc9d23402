"""Sign in, sign up, sign out, renew: what Supabase Auth does for a user, and why it refuses."""

from collections.abc import Callable, Generator
from contextlib import contextmanager

from pydantic import ValidationError
from supabase import AsyncClient
from supabase_auth.errors import AuthApiError, AuthError, AuthInvalidJwtError, AuthWeakPasswordError
from supabase_auth.types import Session as AuthSession

from batchgen.backend.rpc import translated
from batchgen.client.session import Session
from batchgen.errors import BackendUnavailable, BatchgenError, InvalidRequest, NotSignedIn
from batchgen.text import printable

UNCONFIRMED = "Open the link in the mail that was sent there, then sign in."
OTHER_PROJECT = frozenset({"bad_jwt", "invalid_jwt"})
TAKEN = frozenset({"user_already_exists", "email_exists"})
NO_SIGN_UP = frozenset({"signup_disabled", "email_provider_disabled"})
RATE_LIMITED = frozenset({"over_request_rate_limit", "over_email_send_rate_limit"})
BAD_ADDRESS = frozenset({"email_address_invalid", "email_address_not_authorized", "validation_failed"})


async def sign_in(supabase: AsyncClient, email: str, password: str) -> Session:
    """Raises `NotSignedIn` where the pair is not right."""
    with translated("Signing in"), _told(_sign_in_refused):
        answer = await supabase.auth.sign_in_with_password({"email": email, "password": password})
    return _session(answer.session, "Signing in gave no session.")


async def sign_up(supabase: AsyncClient, email: str, password: str) -> Session:
    """Make an account and sign in. Raises `NotSignedIn` where the project wants the address confirmed first."""
    with translated("Signing up"), _told(_sign_up_refused):
        answer = await supabase.auth.sign_up({"email": email, "password": password})
    if answer.session is None:
        raise NotSignedIn(
            "The account was made, and its e-mail address is to be confirmed.",
            code="email_not_confirmed",
            remedy=UNCONFIRMED,
        )
    return _session(answer.session, "Signing up gave no session.")


async def resume(supabase: AsyncClient, session: Session) -> Session:
    """Let `supabase` speak as the session's user; the answer is the session as it is now."""
    access, refresh = session.access_token.get_secret_value(), session.refresh_token.get_secret_value()
    with translated("Resuming the session"), _told(_session_refused):
        answer = await supabase.auth.set_session(access, refresh)
    return _session(answer.session, "The session ended.")


async def renew(supabase: AsyncClient, session: Session) -> Session:
    """Trade the refresh token, which works once, for new tokens; `supabase` uses them from now on."""
    with translated("Renewing the session"), _told(_renewal_refused):
        answer = await supabase.auth.refresh_session(session.refresh_token.get_secret_value())
    return _session(answer.session, "The session ended.")


async def sign_out(supabase: AsyncClient) -> None:
    """End this session, and no other of the same user."""
    with translated("Signing out"):
        await supabase.auth.sign_out({"scope": "local"})


OF_A_SESSION = (401, 403, 422)


@contextmanager
def _told(refused: Callable[[AuthError], BatchgenError | None]) -> Generator[None]:
    """What Auth refuses, in our words; everything else is for `translated`."""
    try:
        yield
    except AuthError as error:
        if told := _refused_to_anybody(error) or refused(error):
            raise told from error
        raise
    except ValidationError as error:
        raise BackendUnavailable("Auth's answer has not the shape that it should have.") from error


def _refused_to_anybody(error: AuthError) -> BatchgenError | None:
    status = error.status if isinstance(error, AuthApiError) else None
    if error.code in RATE_LIMITED or status == 429:
        return BackendUnavailable(
            "Auth has had too many requests for now.",
            code="rate_limited",
            remedy="Wait some minutes, then try again.",
        )
    if error.code == "user_banned":
        return NotSignedIn("This account is suspended.", code="user_banned", remedy="Ask whoever runs the project.")
    if status == 401 and error.code in (None, "no_authorization"):  # the gateway, which asks for the key alone
        return NotSignedIn(
            f"The project does not accept the key: {printable(error.message, 200)}.",
            code="key_refused",
            remedy="Check that SUPABASE_PUBLISHABLE_KEY and SUPABASE_URL belong to the same project.",
        )
    return None


def _sign_in_refused(error: AuthError) -> BatchgenError | None:
    status = error.status if isinstance(error, AuthApiError) else None
    match error.code:
        case "email_not_confirmed":
            return NotSignedIn(
                "The e-mail address is not confirmed yet.", code="email_not_confirmed", remedy=UNCONFIRMED
            )
        case "email_provider_disabled" | "provider_disabled":
            return InvalidRequest(
                "This project does not let users sign in with e-mail and password.",
                code=error.code,
                remedy="Whoever runs the project can allow it in its Auth settings.",
            )
        case "captcha_failed":
            return _captcha()
        case "invalid_credentials":
            pass
        case None if status == 400:  # as older versions of Auth say it
            pass
        case _:
            return None
    return NotSignedIn(
        "The e-mail address or the password is wrong.",
        code="invalid_credentials",
        remedy="Try again. batchgen login --sign-up makes a new account.",
    )


def _sign_up_refused(error: AuthError) -> BatchgenError | None:
    if isinstance(error, AuthWeakPasswordError) or error.code == "weak_password":
        return InvalidRequest(
            f"The password is too weak: {printable(error.message, 200)}",
            code="weak_password",
            field="password",
            remedy="Choose a longer one.",
        )
    if error.code in TAKEN:
        return InvalidRequest(
            "There is an account with this e-mail address already.",
            code="user_already_exists",
            field="email",
            remedy="Sign in without --sign-up.",
        )
    if error.code in NO_SIGN_UP:
        return InvalidRequest(
            "This project lets nobody make an account with e-mail and password.",
            code="signup_disabled",
            remedy="Whoever runs the project can allow it, or make the account, in its Auth settings.",
        )
    if error.code in BAD_ADDRESS:
        return InvalidRequest(
            f"Auth does not take the e-mail address or the password: {printable(error.message, 200)}",
            code="validation_failed",
            field="email",
            remedy="Check the address; a project may restrict which ones it takes.",
        )
    return _captcha() if error.code == "captcha_failed" else None


def _session_refused(error: AuthError) -> BatchgenError | None:
    if isinstance(error, AuthInvalidJwtError) or error.code in OTHER_PROJECT:
        return NotSignedIn(
            "The session that is kept for this address is not of this project: another one signed it.",
            code="session_of_another_project",
            remedy="Sign in with batchgen login. (A dev stack with a new --data-dir is a new project.)",
        )
    if error.code == "user_not_found":
        return NotSignedIn(
            "The account of the session that is kept for this address is not in this project.",
            code="session_of_another_project",
            remedy="Sign in with batchgen login, or make an account with batchgen login --sign-up.",
        )
    return _renewal_refused(error)


def _renewal_refused(error: AuthError) -> BatchgenError | None:
    """Whatever Auth's reason, a refresh token that it refuses is of no use any more. A gateway's refusal says nothing
    of it: a quota, a route that is missing, a page that blocks.
    """
    if isinstance(error, AuthApiError) and (error.status == 400 or (error.code and error.status in OF_A_SESSION)):
        return NotSignedIn("The session has ended, or is of another project.", code="session_ended")
    return None


def _captcha() -> InvalidRequest:
    return InvalidRequest(
        "This project wants a CAPTCHA to be solved, which no command line can.",
        code="captcha_failed",
        remedy="Whoever runs the project can switch it off in its Auth settings.",
    )


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
