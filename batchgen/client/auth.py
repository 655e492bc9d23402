"""Sign in, sign up, renew and sign out with Supabase Auth, and translate its refusals."""

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

OPEN_THE_LINK = "Open the link in the e-mail that was sent to you, then sign in."
OTHER_PROJECT = frozenset({"bad_jwt", "invalid_jwt"})
TAKEN = frozenset({"user_already_exists", "email_exists"})
NO_SIGN_UP = frozenset({"signup_disabled", "email_provider_disabled"})
RATE_LIMITED = frozenset({"over_request_rate_limit", "over_email_send_rate_limit"})
BAD_ADDRESS = frozenset({"email_address_invalid", "email_address_not_authorized", "validation_failed"})


async def sign_in(supabase: AsyncClient, email: str, password: str) -> Session:
    """Sign in. Raises `NotSignedIn` if the e-mail address or the password is wrong."""
    with translated("Signing in"), _refusals(_sign_in_refused):
        answer = await supabase.auth.sign_in_with_password({"email": email, "password": password})
    return _session(answer.session, "Signing in returned no session.")


async def sign_up(supabase: AsyncClient, email: str, password: str) -> Session:
    """Create an account and sign in. Raises `NotSignedIn` if the project requires a confirmed address first."""
    with translated("Signing up"), _refusals(_sign_up_refused):
        answer = await supabase.auth.sign_up({"email": email, "password": password})
    if answer.session is None:
        raise NotSignedIn(
            "The account was created; its e-mail address must be confirmed first.",
            code="email_not_confirmed",
            remedy=OPEN_THE_LINK,
        )
    return _session(answer.session, "Signing up returned no session.")


async def resume(supabase: AsyncClient, session: Session) -> Session:
    """Authenticate `supabase` as the session's user; return the current session, whose tokens may be new."""
    access, refresh = session.access_token.get_secret_value(), session.refresh_token.get_secret_value()
    with translated("Resuming the session"), _refusals(_session_refused):
        answer = await supabase.auth.set_session(access, refresh)
    return _session(answer.session, "The session ended.")


async def renew(supabase: AsyncClient, session: Session) -> Session:
    """Exchange the refresh token, which works once, for new tokens; `supabase` uses them from now on."""
    with translated("Renewing the session"), _refusals(_renewal_refused):
        answer = await supabase.auth.refresh_session(session.refresh_token.get_secret_value())
    return _session(answer.session, "The session ended.")


async def sign_out(supabase: AsyncClient) -> None:
    """End this session; other sessions of the user stay."""
    with translated("Signing out"):
        await supabase.auth.sign_out({"scope": "local"})


SESSION_STATUSES = (401, 403, 422)


@contextmanager
def _refusals(translate: Callable[[AuthError], BatchgenError | None]) -> Generator[None]:
    """Raise the error that `translate` makes of a refusal; errors that it does not know are left to `translated`."""
    try:
        yield
    except AuthError as error:
        if translation := _common_refusal(error) or translate(error):
            raise translation from error
        raise
    except ValidationError as error:
        raise BackendUnavailable("Auth's response has an unexpected format.") from error


def _common_refusal(error: AuthError) -> BatchgenError | None:
    status = error.status if isinstance(error, AuthApiError) else None
    if error.code in RATE_LIMITED or status == 429:
        return BackendUnavailable(
            "Auth has received too many requests.",
            code="rate_limited",
            remedy="Wait a few minutes, then try again.",
        )
    if error.code == "user_banned":
        return NotSignedIn("This account is suspended.", code="user_banned", remedy="Ask the project's administrator.")
    if status == 401 and error.code in (None, "no_authorization"):  # the gateway, which checks only the key
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
                "The e-mail address is not confirmed yet.", code="email_not_confirmed", remedy=OPEN_THE_LINK
            )
        case "email_provider_disabled" | "provider_disabled":
            return InvalidRequest(
                "This project does not allow sign-in with e-mail and password.",
                code=error.code,
                remedy="The project's administrator can allow it in its Auth settings.",
            )
        case "captcha_failed":
            return _captcha()
        case "invalid_credentials":
            pass
        case None if status == 400:  # sent by older versions of Auth
            pass
        case _:
            return None
    return NotSignedIn(
        "The e-mail address or the password is wrong.",
        code="invalid_credentials",
        remedy="Try again, or create an account with batchgen login --sign-up.",
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
            "An account with this e-mail address already exists.",
            code="user_already_exists",
            field="email",
            remedy="Sign in without --sign-up.",
        )
    if error.code in NO_SIGN_UP:
        return InvalidRequest(
            "This project does not allow new accounts with e-mail and password.",
            code="signup_disabled",
            remedy="The project's administrator can allow it, or create the account, in its Auth settings.",
        )
    if error.code in BAD_ADDRESS:
        return InvalidRequest(
            f"Auth refuses the e-mail address or the password: {printable(error.message, 200)}",
            code="validation_failed",
            field="email",
            remedy="Check the address; the project may accept only some.",
        )
    return _captcha() if error.code == "captcha_failed" else None


def _session_refused(error: AuthError) -> BatchgenError | None:
    if isinstance(error, AuthInvalidJwtError) or error.code in OTHER_PROJECT:
        return NotSignedIn(
            "The saved session was issued by another project.",
            code="session_of_another_project",
            remedy="Sign in with batchgen login. (A dev stack with a new --data-dir is a new project.)",
        )
    if error.code == "user_not_found":
        return NotSignedIn(
            "The account of the saved session does not exist in this project.",
            code="session_of_another_project",
            remedy="Sign in with batchgen login, or create an account with batchgen login --sign-up.",
        )
    return _renewal_refused(error)


def _renewal_refused(error: AuthError) -> BatchgenError | None:
    """A refresh token that Auth refuses is useless, whatever the reason. A refusal by a gateway (a quota, a missing
    route, a block page) says nothing about the token.
    """
    if isinstance(error, AuthApiError) and (error.status == 400 or (error.code and error.status in SESSION_STATUSES)):
        return NotSignedIn("The session has ended, or belongs to another project.", code="session_ended")
    return None


def _captcha() -> InvalidRequest:
    return InvalidRequest(
        "This project requires a CAPTCHA, which a command line cannot show.",
        code="captcha_failed",
        remedy="The project's administrator can switch it off in its Auth settings.",
    )


def _session(answer: AuthSession | None, otherwise: str) -> Session:
    if answer is None:
        raise NotSignedIn(otherwise)
    if answer.expires_at is None:
        raise InvalidRequest("The project's Auth returned a session without an expiry time.", code="no_expiry")
    return Session.model_validate(
        {
            "access_token": answer.access_token,
            "refresh_token": answer.refresh_token,
            "expires_at": answer.expires_at,
            "user_id": answer.user.id,
            "email": answer.user.email,
        }
    )
