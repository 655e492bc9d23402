"""The only module that knows PostgREST: calls, rows to models, and foreign errors to ours."""

import asyncio
import json
import logging
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from random import SystemRandom
from typing import Any, TypeVar, cast
from uuid import UUID

import httpx
from postgrest import APIError
from pydantic import BaseModel, ValidationError
from supabase import AsyncClient
from supabase_auth.errors import AuthApiError, AuthError, AuthRetryableError, AuthUnknownError

from batchgen.connection import Answer, watched_answer, whole_answer
from batchgen.errors import (
    BackendUnavailable,
    BatchgenError,
    Conflict,
    InvalidRequest,
    KeyRefused,
    LeaseLost,
    LimitReached,
    NotFound,
    NotSetUp,
    NotSignedIn,
    QueueUnavailable,
)
from batchgen.models import (
    ActiveModel,
    Claim,
    Completed,
    FailureVerdict,
    Fault,
    OpenOrder,
    Order,
    OrderOutcome,
    Outlook,
    Renewal,
    StartFacts,
    StorageDeletion,
    StoredImage,
)
from batchgen.texts import printable
from batchgen.unreachable import no_answer

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

log = logging.getLogger(__name__)

ModelT = TypeVar("ModelT", bound=BaseModel)


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
    details = _details(error)
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


def _details(error: APIError) -> Mapping[str, Any]:
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
    return error.code == "PT409" and _details(error).get("code") == "busy"


class PostgrestQueue:
    """The queue of `batchgen.queue.Queue`, reached through PostgREST with the project's secret key.

    Every method is one request and one transaction, and its answer is one JSON value: of rows PostgREST returns no more
    than the project's "Max rows", and does not say so. An item whose row cannot be read is failed in here, alone.
    Raises `KeyRefused` where the key is no worker's key. `about` tells operators who this worker is.
    """

    def __init__(
        self, client: AsyncClient, *, worker: str, lease_seconds: int, about: Mapping[str, Any] | None = None
    ) -> None:
        self._client = client
        self._worker = worker
        self._lease_seconds = lease_seconds
        self._about = about

    async def claim(self, limit: int) -> Sequence[Claim]:
        answer = await self._call(
            "claim_generations_as_json",
            p_worker=self._worker,
            p_limit=limit,
            p_lease_seconds=self._lease_seconds,
            p_about=self._about,
        )
        return await self._readable(_listed(answer, "claims"))

    async def renew(self, lease_ids: Sequence[UUID]) -> Sequence[Renewal]:
        answer = await self._call(
            "renew_leases_as_json",
            p_worker=self._worker,
            p_lease_ids=_texts(lease_ids),
            p_lease_seconds=self._lease_seconds,
        )
        renewals = (_renewal(row) for row in _listed(answer, "renewals"))
        return [renewal for renewal in renewals if renewal is not None]

    async def begin_order(self, claim: Claim, order: Order) -> UUID:
        answer = await self._call("begin_order", **_fence(claim), p_order=order.model_dump(mode="json"))
        if (key := _uuid(answer)) is None:
            raise QueueUnavailable("begin_order: the answer is no order's key. Is the database older than the worker?")
        return key

    async def attach_provider_job(self, claim: Claim, provider: str, job_id: str) -> None:
        await self._call("attach_provider_job", **_fence(claim), p_provider=provider, p_provider_job_id=job_id)

    async def complete(self, claim: Claim, image: StoredImage) -> None:
        await self._call("complete_generation", **_fence(claim), p_result=_columns(image))

    async def discard(self, claim: Claim, *, seconds: float) -> None:
        names = {"p_user_id": str(claim.user_id), "p_generation_id": str(claim.generation_id)}
        await self._call("discard_files", **names, p_seconds=seconds)

    async def complete_and_claim(self, results: Sequence[tuple[Claim, StoredImage]], limit: int) -> Completed:
        answer = await self._call(
            "complete_and_claim",
            p_results=[{**_names(claim), "result": _columns(image)} for claim, image in results],
            p_worker=self._worker,
            p_limit=limit,
            p_lease_seconds=self._lease_seconds,
        )
        claims = _listed(answer, "claims")
        completed = _model(Completed, {**answer, "claims": ()})
        return completed.model_copy(update={"claims": tuple(await self._readable(claims))})

    async def fail(self, claim: Claim, fault: Fault) -> FailureVerdict:
        return _model(FailureVerdict, await self._fail(_fence(claim), fault))

    async def release(self, lease_ids: Sequence[UUID]) -> Sequence[UUID]:
        if not lease_ids:
            return []
        try:
            answer = await self._call(
                "release_generations_as_json", p_worker=self._worker, p_lease_ids=_texts(lease_ids)
            )
        except LeaseLost:
            return []
        released = (_uuid(_member(row, "lease_id")) for row in _listed(answer, "released"))
        return [lease_id for lease_id in released if lease_id is not None]

    async def outlook(self) -> Outlook:
        return _model(Outlook, await self._call("queue_outlook"))

    async def return_expired(self) -> int:
        return _count(await self._call("return_expired_leases"))

    async def _readable(self, rows: Sequence[Any]) -> Sequence[Claim]:
        """The claims that can be read. The others are failed, each for itself, and harm nobody else."""
        claims, broken = _sorted(Claim, rows)
        await asyncio.gather(*(self._fail_unreadable(row, fields) for row, fields in broken))
        return claims

    async def _fail_unreadable(self, row: Any, fields: Sequence[str]) -> None:
        generation_id, lease_id = _uuid(_member(row, "generation_id")), _uuid(_member(row, "lease_id"))
        told: Mapping[str, Any] = {"generation_id": str(generation_id), "lease_id": str(lease_id), "fields": fields}
        log.error("an item cannot be read, and fails alone", extra=told)
        if generation_id is None or lease_id is None:  # it is left to the end of its lease
            return
        is_ordered = bool(_member(row, "order_key") or _member(row, "provider_job_id"))
        fault = Fault(
            code="unreadable_claim",
            message=f"The item cannot be read: look at its {', '.join(fields)}.",
            job_over=not is_ordered,
        )
        try:
            await self._fail({"p_generation_id": str(generation_id), "p_lease_id": str(lease_id)}, fault)
        except BatchgenError as error:
            log.warning("an item that cannot be read was not failed", extra={**told, "reason": str(error)})

    async def _fail(self, fence: Mapping[str, str], fault: Fault) -> Any:
        return await self._call("fail_generation", **fence, p_error=fault.model_dump(mode="json"))

    async def _call(self, name: str, **arguments: Any) -> Any:
        return await _worker_rpc(self._client, name, arguments)


WORKER_FUNCTIONS: Mapping[str, frozenset[str]] = {
    "attach_provider_job": frozenset({"p_generation_id", "p_lease_id", "p_provider", "p_provider_job_id"}),
    "begin_order": frozenset({"p_generation_id", "p_lease_id", "p_order"}),
    "claim_generations_as_json": frozenset({"p_worker", "p_limit", "p_lease_seconds", "p_about"}),
    "complete_and_claim": frozenset({"p_results", "p_worker", "p_limit", "p_lease_seconds"}),
    "complete_generation": frozenset({"p_generation_id", "p_lease_id", "p_result"}),
    "discard_files": frozenset({"p_user_id", "p_generation_id", "p_seconds"}),
    "end_storage_deletions": frozenset({"p_worker", "p_lease_ids"}),
    "fail_generation": frozenset({"p_generation_id", "p_lease_id", "p_error"}),
    "queue_outlook": frozenset(),
    "release_generations_as_json": frozenset({"p_worker", "p_lease_ids"}),
    "remove_expired_images": frozenset(),
    "renew_leases_as_json": frozenset({"p_worker", "p_lease_ids", "p_lease_seconds"}),
    "return_expired_leases": frozenset(),
    "settle_order": frozenset({"p_order_key", "p_lease_id", "p_outcome"}),
    "take_open_orders_as_json": frozenset({"p_worker", "p_limit", "p_lease_seconds"}),
    "take_storage_deletions_as_json": frozenset({"p_worker", "p_limit", "p_lease_seconds"}),
}
"""What this version of the worker calls, with the arguments that it sends."""


async def read_start_facts(client: AsyncClient) -> StartFacts:
    """What there is for a worker in the project's database. Raises what `rpc` raises.

    Raises `NotSetUp` where a function is missing, or has other arguments than this version sends.
    """
    answer = await _whole(client, "worker_start", {})
    functions = {
        str(_member(row, "name")): frozenset(map(str, _member(row, "arguments") or ()))
        for row in _listed(answer, "functions")
    }
    wrong = sorted(
        name for name, wanted in WORKER_FUNCTIONS.items() if name not in functions or not wanted <= functions[name]
    )
    if wrong:
        raise NotSetUp(
            f"The database is not of this version of batchgen: missing or different are {', '.join(wrong)}.",
            remedy="Apply supabase/migrations to the project.",
        )
    return StartFacts(models=tuple(_models(ActiveModel, _listed(answer, "models"))))


class PostgrestOutbox:
    """The outbox of `batchgen.outbox.Outbox`, reached like the queue, and raising like it."""

    def __init__(self, client: AsyncClient, *, worker: str, lease_seconds: int) -> None:
        self._client = client
        self._worker = worker
        self._lease_seconds = lease_seconds

    async def take(self, limit: int) -> Sequence[StorageDeletion]:
        arguments = {"p_worker": self._worker, "p_limit": limit, "p_lease_seconds": self._lease_seconds}
        answer = await _worker_rpc(self._client, "take_storage_deletions_as_json", arguments)
        return _models(StorageDeletion, _listed(answer, "deletions"))

    async def end(self, lease_ids: Sequence[UUID]) -> int:
        arguments = {"p_worker": self._worker, "p_lease_ids": _texts(lease_ids)}
        return _count(await _worker_rpc(self._client, "end_storage_deletions", arguments))

    async def remove_expired_images(self) -> int:
        return _count(await _worker_rpc(self._client, "remove_expired_images", {}))


class PostgrestOrders:
    """The open orders of `batchgen.orders.OpenOrders`, reached like the queue, and raising like it."""

    def __init__(self, client: AsyncClient, *, worker: str, lease_seconds: int) -> None:
        self._client = client
        self._worker = worker
        self._lease_seconds = lease_seconds

    async def take(self, limit: int) -> Sequence[OpenOrder]:
        arguments = {"p_worker": self._worker, "p_limit": limit, "p_lease_seconds": self._lease_seconds}
        answer = await _worker_rpc(self._client, "take_open_orders_as_json", arguments)
        return _models(OpenOrder, _listed(answer, "orders"))

    async def settle(self, order: OpenOrder, outcome: OrderOutcome) -> bool:
        arguments = {
            "p_order_key": str(order.order_key),
            "p_lease_id": str(order.lease_id),
            "p_outcome": outcome.model_dump(mode="json"),
        }
        return bool(await _worker_rpc(self._client, "settle_order", arguments))


async def _worker_rpc(client: AsyncClient, name: str, arguments: Mapping[str, Any]) -> Any:
    """Whatever a worker is refused may pass, except what our own SQL refuses on purpose."""
    try:
        return await _whole(client, name, arguments)
    except NotSignedIn as error:
        raise KeyRefused(str(error)) from error
    except InvalidRequest as error:
        if _is_our_own(error):
            raise
        raise QueueUnavailable(str(error)) from error
    except BackendUnavailable as error:
        raise QueueUnavailable(str(error)) from error


async def _whole(client: AsyncClient, name: str, arguments: Mapping[str, Any]) -> Any:
    """As `rpc`, and the answer has to be there whole in time: a worker stands still while it waits."""
    try:
        async with whole_answer(client):
            return await rpc(client, name, arguments)
    except TimeoutError as error:
        raise BackendUnavailable(f"{name}: the answer did not come whole in time.") from error


def _is_our_own(error: InvalidRequest) -> bool:
    cause = error.__cause__
    return isinstance(cause, APIError) and (cause.code or "").startswith("PT") and "code" in _details(cause)


def _names(claim: Claim) -> dict[str, str]:
    return {"generation_id": str(claim.generation_id), "lease_id": str(claim.lease_id)}


def _fence(claim: Claim) -> dict[str, str]:
    return {f"p_{name}": value for name, value in _names(claim).items()}


def _columns(image: StoredImage) -> dict[str, Any]:
    return image.model_dump(mode="json")


def _texts(ids: Sequence[UUID]) -> list[str]:
    return [str(one) for one in ids]


def _listed(answer: Any, name: str) -> list[Any]:
    """The list `name` of an answer that is one object."""
    rows: Any = cast("Mapping[str, Any]", answer).get(name) if isinstance(answer, Mapping) else None
    if not isinstance(rows, list):
        raise QueueUnavailable(f"The answer has no list '{name}': is the database older than the worker?")
    return cast("list[Any]", rows)


def _model(kind: type[ModelT], row: Any) -> ModelT:
    try:
        return kind.model_validate(row)
    except ValidationError as error:
        raise QueueUnavailable(f"The answer is no {kind.__name__}: is the database older than the worker?") from error


def _models(kind: type[ModelT], rows: Sequence[Any]) -> Sequence[ModelT]:
    """Those that can be read. The others are told of, and come again when their leases have ended."""
    good, broken = _sorted(kind, rows)
    for row, fields in broken:
        told = {"lease_id": str(_member(row, "lease_id")), "fields": fields}
        log.error("a row cannot be read, and is left alone: %s", kind.__name__, extra=told)
    return good


def _sorted(kind: type[ModelT], rows: Sequence[Any]) -> tuple[list[ModelT], list[tuple[Any, list[str]]]]:
    """Rows that can be read, and those that cannot with the names of their wrong fields."""
    good: list[ModelT] = []
    broken: list[tuple[Any, list[str]]] = []
    for row in rows:
        try:
            good.append(kind.model_validate(row))
        except ValidationError as error:
            problems = error.errors(include_input=False, include_url=False)
            broken.append((row, sorted({str((*problem["loc"], "row")[0]) for problem in problems})))
    return good, broken


def _renewal(row: Any) -> Renewal | None:
    """A row that names its lease is enough: it is held."""
    try:
        return Renewal.model_validate(row)
    except ValidationError:
        lease_id = _uuid(_member(row, "lease_id"))
        return lease_id and Renewal(lease_id=lease_id, cancel_requested=_member(row, "cancel_requested") is True)


def _member(row: Any, name: str) -> Any:
    return cast("Mapping[str, Any]", row).get(name) if isinstance(row, Mapping) else None


def _uuid(text: Any) -> UUID | None:
    try:
        return UUID(text) if isinstance(text, str) else None
    except ValueError:
        return None


def _count(answer: Any) -> int:
    if not isinstance(answer, int):
        raise QueueUnavailable("The answer is no number: is the database older than the worker?")
    return answer
