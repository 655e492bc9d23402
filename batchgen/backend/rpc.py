"""Call SQL functions through PostgREST, and translate foreign errors into batchgen's."""

import asyncio
import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from random import SystemRandom
from typing import Any, cast

import httpx
from postgrest import APIError
from supabase import AsyncClient
from supabase_auth.errors import AuthApiError, AuthError, AuthRetryableError, AuthUnknownError

from batchgen.backend.connection import WatchedResponse, watched_response
from batchgen.backend.unreachable import no_response
from batchgen.errors import (
    BackendUnavailable,
    BatchgenError,
    Conflict,
    CreditsShort,
    InvalidRequest,
    LeaseLost,
    LimitReached,
    NotFound,
    NotSetUp,
    NotSignedIn,
)
from batchgen.text import printable

COLLISIONS = frozenset({"40001", "40P01", "55P03"})
"""SQLSTATEs of serialization failures, deadlocks and lock timeouts: repeating the transaction is safe."""
COLLISION_TRIES = 6
COLLISION_PAUSE_SECONDS = 0.02

NOT_SET_UP = frozenset({"PGRST106", "PGRST202", "PGRST203", "PGRST204", "PGRST205", "42883", "42P01", "3F000"})
"""The function, table or schema does not exist (yet), or its signature differs."""
WRONG_PATH = "PGRST125"
REQUEST_CLASSES = ("21", "22", "23", "42", "44", "P0")
"""Classes of SQLSTATEs caused by the request. All others (08, 25, 53, 57, XX, …) are the server's."""
REQUEST_STATUSES = frozenset({400, 411, 413, 414, 415, 422, 431})
"""Statuses of gateways caused by the request. Any other status of a gateway (402, 404, 405, 408, …) may pass."""
LONGEST_MESSAGE = 300


async def rpc(client: AsyncClient, name: str, arguments: Mapping[str, Any]) -> Any:
    """Call the SQL function `name` in one transaction and return its JSON.

    Transactions that collided are repeated here. Raises what `translated` raises.
    """
    for tries in range(1, COLLISION_TRIES + 1):
        try:
            return await _call_once(client, name, arguments)
        except BackendUnavailable as error:
            if not _collided(error) or tries == COLLISION_TRIES:
                raise
        await asyncio.sleep(COLLISION_PAUSE_SECONDS * 2**tries * SystemRandom().random())
    raise AssertionError("the last try returns or raises")


async def _call_once(client: AsyncClient, name: str, arguments: Mapping[str, Any]) -> Any:
    with translated(name) as answer:
        try:
            data: Any = (await client.rpc(name, dict(arguments)).execute()).data
        except ValueError:  # JSON that postgrest-py does not read, such as a number of 5,000 digits
            data = _parsed(answer)
    if data and not answer.is_json:
        raise BackendUnavailable(f"{name}: the response is not JSON. Is SUPABASE_URL the project's address?")
    return data


def _parsed(answer: WatchedResponse) -> Any:
    try:
        return json.loads(answer.response.text if answer.response else "", parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise BackendUnavailable("The response cannot be read. Is SUPABASE_URL the project's address?") from error


def _integer(digits: str) -> int | float:
    """Infinity for a number with more digits than Python reads, so that only its row is refused."""
    try:
        return int(digits)
    except ValueError:
        return float("-inf" if digits.startswith("-") else "inf")


UNREADABLE = (httpx.InvalidURL, httpx.CookieConflict, httpx.StreamError, RecursionError)
"""Errors that a response can cause in the libraries, such as a redirect to an invalid address."""


@contextmanager
def translated(what: str = "The call") -> Generator[WatchedResponse]:
    """Translate errors of httpx, PostgREST and Auth into batchgen's; `what` names the call in messages.

    Raises `BackendUnavailable`, `NotSignedIn`, `LeaseLost`, or `InvalidRequest` and its kinds.
    """
    answer = WatchedResponse()
    token = watched_response.set(answer)
    try:
        yield answer
    except (APIError, AuthError, httpx.HTTPError, *UNREADABLE) as error:
        raise translate(error, status=answer.status, is_json=answer.is_json, what=what) from error
    finally:
        watched_response.reset(token)


def translate(
    error: Exception, *, status: int | None = None, is_json: bool = True, what: str = "The call"
) -> BatchgenError:
    """Translate a foreign error by its SQLSTATE and HTTP status, never by its text."""
    match error:
        case APIError():
            known = status if status is not None else _status_in(error.code)
            return _from_postgrest(error, known, what, is_json=is_json)
        case AuthRetryableError():
            if not error.status:
                return no_response(what, error)
            return BackendUnavailable(f"{what}: Auth answered {error.status}.", remedy="Try again.")
        case AuthApiError():
            if error.status >= 500 or error.status in (402, 404, 405, 408, 429):
                return BackendUnavailable(f"{what}: Auth answered {error.status}. Try again later.")
            return NotSignedIn(f"{what}: Auth refused ({error.code or error.status}): {error.message}")
        case AuthUnknownError():
            return BackendUnavailable(f"{what}: the response is not Auth's. Is SUPABASE_URL the project's address?")
        case AuthError():
            return NotSignedIn(f"{what}: {error.message}")
        case _:
            return no_response(what, error)


def _from_postgrest(error: APIError, status: int | None, what: str, *, is_json: bool) -> BatchgenError:
    code = error.code or ""
    message = printable(error.message or "", LONGEST_MESSAGE)
    if code in COLLISIONS:
        return BackendUnavailable(f"{what}: another transaction interfered ({code}). Try again.")
    if code in NOT_SET_UP:
        return NotSetUp(f"{what} does not exist ({code}): apply supabase/migrations to the project.")
    if code == WRONG_PATH:
        return BackendUnavailable(
            f"{what}: PostgREST does not know the path. Is SUPABASE_URL only the project's address, without a path?"
        )
    if code.startswith("PT") and (own := _from_own_code(error, code)):
        return own
    if is_json and _is_refused_key(error, status):
        return NotSignedIn(f"{what}: the key or session has no permission ({code or status}): {message}")
    if _is_caused_by_the_request(code, status):
        return InvalidRequest(f"{what}: {message}", code=code or str(status), remedy=error.hint)
    return BackendUnavailable(f"{what}: the project's API failed ({_status_and_code(status, code)}): {message}")


def _is_refused_key(error: APIError, status: int | None) -> bool:
    """Whether PostgREST, or a gateway that answers in JSON, refused the key. A proxy's bare 401 or 403 may pass."""
    code = error.code or ""
    if code == "42501" or code in ("PGRST301", "PGRST302", "PGRST303"):
        return True
    if code:
        return status in (401, 403) and code != str(status)
    return status == 401 and bool(error.message)  # "Invalid API key": hosted gateways send no code


def _is_caused_by_the_request(code: str, status: int | None) -> bool:
    if code.startswith("PGRST"):
        return code.startswith("PGRST1")
    if len(code) == 5:
        return code.startswith(REQUEST_CLASSES)
    return status in REQUEST_STATUSES


def _status_and_code(status: int | None, code: str) -> str:
    return ", ".join(dict.fromkeys(str(one) for one in (status, code) if one))


def _from_own_code(error: APIError, code: str) -> BatchgenError | None:
    """An error that batchgen's SQL raises on purpose; its details are JSON."""
    details = error_details(error)
    if _is_busy(error):
        return BackendUnavailable(f"{error.message} Try again.")
    if code == "PT409" and details.get("code") == "lease_lost":
        return LeaseLost(error.message)
    if code == "PT401":
        return NotSignedIn(error.message or "You are not signed in.")
    message = str(details.get("message") or error.message)
    more: dict[str, Any] = {
        "code": str(details.get("code") or code),
        "index": details.get("index"),
        "field": details.get("field"),
        "limit": details.get("limit"),
        "remedy": details.get("remedy") or error.hint,
    }
    if code == "PT429":
        times = {
            "resets_at": _time(details.get("resets_at")),
            "retry_after_seconds": _number(details.get("retry_after_seconds")),
        }
        return LimitReached(message, **times, **more)
    if code == "PT402":
        credits = {name: _credits(details.get(name)) for name in ("needed", "available")}
        return CreditsShort(message, **credits, **more)
    kind = {"PT409": Conflict, "PT404": NotFound, "PT422": InvalidRequest}.get(code)
    return kind(message, **more) if kind else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _credits(value: Any) -> Decimal:
    return Decimal(str(value)) if isinstance(value, int | float) else Decimal(0)


def _time(text: Any) -> datetime | None:
    """A time as Postgres writes it in JSON; None for anything else."""
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def error_details(error: APIError) -> Mapping[str, Any]:
    """The error's details as an object; empty if they are not JSON."""
    details: Any = error.details
    if isinstance(details, str):
        try:
            details = json.loads(details)
        except ValueError:
            return {}
    return cast("Mapping[str, Any]", details) if isinstance(details, dict) else {}


def _status_in(code: str | None) -> int | None:
    """The HTTP status, which postgrest-py puts into `code` if the response is not PostgREST's JSON."""
    return int(code) if code and len(code) == 3 and code.isdigit() else None


def _collided(error: BackendUnavailable) -> bool:
    cause = error.__cause__
    return isinstance(cause, APIError) and (cause.code in COLLISIONS or _is_busy(cause))


def _is_busy(error: APIError) -> bool:
    """Whether batchgen's SQL gave up in favour of another transaction."""
    return error.code == "PT409" and error_details(error).get("code") == "busy"
