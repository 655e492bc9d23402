"""Call SQL functions through PostgREST, and translate foreign errors to ours."""

import asyncio
import json
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from datetime import datetime
from random import SystemRandom
from typing import Any, cast

import httpx
from postgrest import APIError
from supabase import AsyncClient
from supabase_auth.errors import AuthApiError, AuthError, AuthRetryableError, AuthUnknownError

from batchgen.backend.connection import Answer, watched_answer
from batchgen.backend.unreachable import no_answer
from batchgen.errors import (
    BackendUnavailable,
    BatchgenError,
    Conflict,
    InvalidRequest,
    LeaseLost,
    LimitReached,
    NotFound,
    NotSetUp,
    NotSignedIn,
)
from batchgen.text import printable

COLLISIONS = frozenset({"40001", "40P01", "55P03"})
"""SQLSTATEs of transactions that Postgres undid because another one was in their way: doing them again is right."""
COLLISION_TRIES = 6
COLLISION_PAUSE_SECONDS = 0.02

NOT_SET_UP = frozenset({"PGRST106", "PGRST202", "PGRST203", "PGRST204", "PGRST205", "42883", "42P01", "3F000"})
"""The function, table or schema does not exist (yet), or has other arguments."""
WRONG_PATH = "PGRST125"
OF_THE_REQUEST = ("21", "22", "23", "42", "44", "P0")
"""Classes of SQLSTATEs that speak of what was sent. All others (08, 25, 53, 57, XX, …) speak of the server."""
REQUESTS_REFUSED = frozenset({400, 411, 413, 414, 415, 422, 431})
"""What a gateway says of the request itself. Any other refusal of a gateway (402, 404, 405, 408, …) may pass."""
LONGEST_MESSAGE = 300


async def rpc(client: AsyncClient, name: str, arguments: Mapping[str, Any]) -> Any:
    """Call the SQL function `name` in one transaction and return its JSON.

    Transactions that collided are done again here. Raises what `translated` raises.
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
        raise BackendUnavailable(f"{name}: the answer is no JSON. Is SUPABASE_URL the project's address?")
    return data


def _parsed(answer: Answer) -> Any:
    try:
        return json.loads(answer.response.text if answer.response else "", parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise BackendUnavailable("The answer cannot be read. Is SUPABASE_URL the project's address?") from error


def _integer(digits: str) -> int | float:
    """Infinite where it has more digits than Python reads: its row is refused, and not the whole answer."""
    try:
        return int(digits)
    except ValueError:
        return float("-inf" if digits.startswith("-") else "inf")


UNREADABLE = (httpx.InvalidURL, httpx.CookieConflict, httpx.StreamError, RecursionError)
"""What an answer may do to the libraries, such as a redirect to an address that is none."""


@contextmanager
def translated(what: str = "The call") -> Generator[Answer]:
    """Turn errors of httpx, PostgREST and Auth into batchgen's own; `what` names the call in messages.

    Raises `BackendUnavailable`, `NotSignedIn`, `LeaseLost`, or `InvalidRequest` and its kinds.
    """
    answer = Answer()
    token = watched_answer.set(answer)
    try:
        yield answer
    except (APIError, AuthError, httpx.HTTPError, *UNREADABLE) as error:
        raise translate(error, status=answer.status, is_json=answer.is_json, what=what) from error
    finally:
        watched_answer.reset(token)


def translate(
    error: Exception, *, status: int | None = None, is_json: bool = True, what: str = "The call"
) -> BatchgenError:
    """The table of foreign errors. Goes by SQLSTATE and HTTP status, never by a text."""
    match error:
        case APIError():
            known = status if status is not None else _status_in(error.code)
            return _from_postgrest(error, known, what, is_json=is_json)
        case AuthRetryableError():
            if not error.status:
                return no_answer(what, error)
            return BackendUnavailable(f"{what}: Auth answered {error.status}.", remedy="Try again.")
        case AuthApiError():
            if error.status >= 500 or error.status in (402, 404, 405, 408, 429):
                return BackendUnavailable(f"{what}: Auth answered {error.status}. Try again later.")
            return NotSignedIn(f"{what}: Auth refused ({error.code or error.status}): {error.message}")
        case AuthUnknownError():
            return BackendUnavailable(f"{what}: an answer that is not Auth's. Is SUPABASE_URL the project's address?")
        case AuthError():
            return NotSignedIn(f"{what}: {error.message}")
        case _:
            return no_answer(what, error)


def _from_postgrest(error: APIError, status: int | None, what: str, *, is_json: bool) -> BatchgenError:
    code = error.code or ""
    message = printable(error.message or "", LONGEST_MESSAGE)
    if code in COLLISIONS:
        return BackendUnavailable(f"{what}: another transaction was in the way ({code}). Try again.")
    if code in NOT_SET_UP:
        return NotSetUp(f"{what} is not there ({code}): apply supabase/migrations to the project.")
    if code == WRONG_PATH:
        return BackendUnavailable(f"{what}: PostgREST knows no such path: is SUPABASE_URL the project's address alone?")
    if code.startswith("PT") and (own := _from_own_code(error, code)):
        return own
    if is_json and _is_refused_key(error, status):
        return NotSignedIn(f"{what}: the key or session is not allowed to ({code or status}): {message}")
    if _speaks_of_the_request(code, status):
        return InvalidRequest(f"{what}: {message}", code=code or str(status), remedy=error.hint)
    return BackendUnavailable(f"{what}: the project's API failed ({_both(status, code)}): {message}")


def _is_refused_key(error: APIError, status: int | None) -> bool:
    """By PostgREST, or by a gateway that answers in JSON. A bare 401 or 403 is some proxy's, and may pass."""
    code = error.code or ""
    if code == "42501" or code in ("PGRST301", "PGRST302", "PGRST303"):
        return True
    if code:
        return status in (401, 403) and code != str(status)
    return status == 401 and bool(error.message)  # "Invalid API key": the gateway of hosted projects has no codes


def _speaks_of_the_request(code: str, status: int | None) -> bool:
    if code.startswith("PGRST"):
        return code.startswith("PGRST1")
    if len(code) == 5:
        return code.startswith(OF_THE_REQUEST)
    return status in REQUESTS_REFUSED


def _both(status: int | None, code: str) -> str:
    return ", ".join(dict.fromkeys(str(one) for one in (status, code) if one))


def _from_own_code(error: APIError, code: str) -> BatchgenError | None:
    """Errors that our SQL raises on purpose; their details are JSON."""
    details = error_details(error)
    if _is_busy(error):
        return BackendUnavailable(f"{error.message} Try again.")
    if code == "PT409" and details.get("code") == "lease_lost":
        return LeaseLost(error.message)
    if code == "PT401":
        return NotSignedIn(error.message or "Nobody is signed in.")
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
    kind = {"PT409": Conflict, "PT404": NotFound, "PT422": InvalidRequest}.get(code)
    return kind(message, **more) if kind else None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _time(text: Any) -> datetime | None:
    """A time as Postgres writes it in JSON; None where there is none."""
    try:
        return datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None


def error_details(error: APIError) -> Mapping[str, Any]:
    """The error's details as an object; empty where they are none."""
    details: Any = error.details
    if isinstance(details, str):
        try:
            details = json.loads(details)
        except ValueError:
            return {}
    return cast("Mapping[str, Any]", details) if isinstance(details, dict) else {}


def _status_in(code: str | None) -> int | None:
    """postgrest-py puts the HTTP status into `code` where the answer was no JSON of PostgREST's."""
    return int(code) if code and len(code) == 3 and code.isdigit() else None


def _collided(error: BackendUnavailable) -> bool:
    cause = error.__cause__
    return isinstance(cause, APIError) and (cause.code in COLLISIONS or _is_busy(cause))


def _is_busy(error: APIError) -> bool:
    """Our SQL gave way to another transaction by itself."""
    return error.code == "PT409" and error_details(error).get("code") == "busy"
