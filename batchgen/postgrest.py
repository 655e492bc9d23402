"""The only module that knows PostgREST: calls, rows to models, and foreign errors to ours."""

import asyncio
import json
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

from batchgen.connection import Answer, watched_answer
from batchgen.errors import (
    BackendUnavailable,
    BatchgenError,
    Conflict,
    InvalidRequest,
    LeaseLost,
    LimitReached,
    NotFound,
    NotSignedIn,
    QueueUnavailable,
)
from batchgen.models import (
    Claim,
    Completed,
    FailureVerdict,
    Fault,
    OpenOrder,
    Order,
    OrderOutcome,
    Renewal,
    StorageDeletion,
    StoredImage,
)
from batchgen.unreachable import no_answer

COLLISIONS = frozenset({"40001", "40P01", "55P03"})
"""SQLSTATEs of transactions that Postgres undid because another one was in their way: doing them again is right."""
COLLISION_TRIES = 6
COLLISION_PAUSE_SECONDS = 0.02

NOT_SET_UP = frozenset({"PGRST202", "PGRST205", "42883", "42P01", "3F000"})
"""The function or table does not exist (yet)."""

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
        data = (await client.rpc(name, dict(arguments)).execute()).data
    if data and not answer.is_json:
        raise BackendUnavailable(f"{name}: the answer is no JSON. Is SUPABASE_URL the project's address?")
    return data


@contextmanager
def translated(what: str = "The call") -> Generator[Answer]:
    """Turn errors of httpx, PostgREST and Auth into batchgen's own; `what` names the call in messages.

    Raises `BackendUnavailable`, `NotSignedIn`, `LeaseLost`, or `InvalidRequest` and its kinds.
    """
    answer = Answer()
    token = watched_answer.set(answer)
    try:
        yield answer
    except (APIError, AuthError, httpx.HTTPError) as error:
        raise translate(error, status=answer.status, what=what) from error
    finally:
        watched_answer.reset(token)


def translate(error: Exception, *, status: int | None = None, what: str = "The call") -> BatchgenError:
    """The table of foreign errors. Goes by SQLSTATE and HTTP status, never by a text."""
    match error:
        case APIError():
            return _from_postgrest(error, status if status is not None else _status_in(error.code), what)
        case AuthRetryableError():
            if not error.status:
                return no_answer(what, error)
            return BackendUnavailable(f"{what}: Auth answered {error.status}.", remedy="Try again.")
        case AuthApiError():
            if error.status >= 500 or error.status == 429:
                return BackendUnavailable(f"{what}: Auth answered {error.status}. Try again later.")
            return NotSignedIn(f"{what}: Auth refused ({error.code or error.status}): {error.message}")
        case AuthUnknownError():
            return BackendUnavailable(f"{what}: an answer that is not Auth's. Is SUPABASE_URL the project's address?")
        case AuthError():
            return NotSignedIn(f"{what}: {error.message}")
        case _:
            return no_answer(what, error)


def _from_postgrest(error: APIError, status: int | None, what: str) -> BatchgenError:
    code = error.code or ""
    if code in COLLISIONS:
        return BackendUnavailable(f"{what}: another transaction was in the way ({code}). Try again.")
    if code in NOT_SET_UP:
        return BackendUnavailable(f"{what} is not there ({code}): apply supabase/migrations to the project.")
    if code.startswith("PT") and (own := _from_own_code(error, code)):
        return own
    if status in (401, 403) or code == "42501":
        return NotSignedIn(f"{what}: the key or session is not allowed to ({code or status}): {error.message}")
    if status is None or status >= 500 or status < 400 or status == 429:
        return BackendUnavailable(f"{what}: the project's API failed ({status}, {code}): {error.message}")
    return InvalidRequest(f"{what}: {error.message}", code=code or str(status), remedy=error.hint)


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
    than the project's "Max rows", and does not say so. Beside `QueueUnavailable` and `LeaseLost` it raises
    `NotSignedIn` where the key is no worker's key.
    """

    def __init__(self, client: AsyncClient, *, worker: str, lease_seconds: int) -> None:
        self._client = client
        self._worker = worker
        self._lease_seconds = lease_seconds

    async def claim(self, limit: int) -> Sequence[Claim]:
        answer = await self._call(
            "claim_generations_as_json", p_worker=self._worker, p_limit=limit, p_lease_seconds=self._lease_seconds
        )
        return _models(Claim, _listed(answer, "claims"))

    async def renew(self, lease_ids: Sequence[UUID]) -> Sequence[Renewal]:
        answer = await self._call(
            "renew_leases_as_json",
            p_worker=self._worker,
            p_lease_ids=_texts(lease_ids),
            p_lease_seconds=self._lease_seconds,
        )
        return _models(Renewal, _listed(answer, "renewals"))

    async def begin_order(self, claim: Claim, order: Order) -> UUID:
        return UUID(await self._call("begin_order", **_fence(claim), p_order=order.model_dump(mode="json")))

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
        return _models(Completed, [answer])[0]

    async def fail(self, claim: Claim, fault: Fault) -> FailureVerdict:
        row = await self._call("fail_generation", **_fence(claim), p_error=fault.model_dump(mode="json"))
        return _models(FailureVerdict, [row])[0]

    async def release(self, lease_ids: Sequence[UUID]) -> Sequence[UUID]:
        if not lease_ids:
            return []
        try:
            answer = await self._call(
                "release_generations_as_json", p_worker=self._worker, p_lease_ids=_texts(lease_ids)
            )
        except LeaseLost:
            return []
        return [UUID(row["lease_id"]) for row in _listed(answer, "released")]

    async def return_expired(self) -> int:
        return int(await self._call("return_expired_leases"))

    async def _call(self, name: str, **arguments: Any) -> Any:
        return await _worker_rpc(self._client, name, arguments)


class PostgrestOutbox:
    """The outbox of `batchgen.outbox.Outbox`, reached like the queue. Raises `NotSignedIn` like it, too."""

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
        return int(await _worker_rpc(self._client, "end_storage_deletions", arguments))

    async def remove_expired_images(self) -> int:
        return int(await _worker_rpc(self._client, "remove_expired_images", {}))


class PostgrestOrders:
    """The open orders of `batchgen.orders.OpenOrders`, reached like the queue. Raises `NotSignedIn` like it, too."""

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
    try:
        return await rpc(client, name, arguments)
    except BackendUnavailable as error:
        raise QueueUnavailable(str(error)) from error


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


def _models(kind: type[ModelT], rows: Any) -> list[ModelT]:
    try:
        return [kind.model_validate(row) for row in rows or ()]
    except ValidationError as error:
        raise QueueUnavailable(f"The answer is no {kind.__name__}: is the database older than the worker?") from error
