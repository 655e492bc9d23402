"""The queue, the outbox and the open orders, called through PostgREST."""

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, cast
from uuid import UUID

from postgrest import APIError
from pydantic import BaseModel, ValidationError
from supabase import AsyncClient

from batchgen.backend.connection import response_timeout
from batchgen.backend.rpc import error_details, rpc
from batchgen.errors import (
    BackendUnavailable,
    BatchgenError,
    InvalidRequest,
    KeyRefused,
    LeaseLost,
    NotSetUp,
    NotSignedIn,
    QueueUnavailable,
)
from batchgen.models import Outlook
from batchgen.order_state import OrderState
from batchgen.queue.types import (
    ActiveModel,
    Claim,
    Completed,
    DueSchedules,
    FailureVerdict,
    Fault,
    NewOrder,
    OpenOrder,
    OrderOutcome,
    Renewal,
    SchedulePlan,
    StartFacts,
    StorageDeletion,
    StoredImage,
)

log = logging.getLogger(__name__)

ModelT = TypeVar("ModelT", bound=BaseModel)


class PostgrestQueue:
    """Implements `batchgen.queue.ports.Queue` through PostgREST, with the project's secret key.

    Every method is one request and one transaction. Its answer is one JSON value, since PostgREST silently cuts rows
    off after the project's "Max rows". A claimed item whose row cannot be parsed is failed in here, alone. Raises
    `KeyRefused` if the key is not a worker's key. `about` describes this worker to operators.
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
        return await self._readable(listed(answer, "claims"))

    async def renew(self, lease_ids: Sequence[UUID]) -> Sequence[Renewal]:
        answer = await self._call(
            "renew_leases_as_json",
            p_worker=self._worker,
            p_lease_ids=_texts(lease_ids),
            p_lease_seconds=self._lease_seconds,
        )
        renewals = (_renewal(row) for row in listed(answer, "renewals"))
        return [renewal for renewal in renewals if renewal is not None]

    async def begin_order(self, claim: Claim, order: NewOrder) -> UUID:
        answer = await self._call("begin_order", **_fence(claim), p_order=order.model_dump(mode="json"))
        if (key := _uuid(answer)) is None:
            raise QueueUnavailable(
                "begin_order: the answer is not an order's key. Is the database older than the worker?"
            )
        return key

    async def attach_provider_job(self, claim: Claim, provider: str, job_id: str) -> None:
        await self._call("attach_provider_job", **_fence(claim), p_provider=provider, p_provider_job_id=job_id)

    async def complete(self, claim: Claim, image: StoredImage) -> None:
        await self._call("complete_generation", **_fence(claim), p_result=_columns(image))

    async def discard(self, claim: Claim, *, seconds: float, paths: Sequence[str] | None = None) -> None:
        names = {"p_user_id": str(claim.user_id), "p_generation_id": str(claim.generation_id)}
        await self._call("discard_files", **names, p_seconds=seconds, p_paths=paths)

    async def complete_and_claim(self, results: Sequence[tuple[Claim, StoredImage]], limit: int) -> Completed:
        answer = await self._call(
            "complete_and_claim",
            p_results=[{**_names(claim), "result": _columns(image)} for claim, image in results],
            p_worker=self._worker,
            p_limit=limit,
            p_lease_seconds=self._lease_seconds,
        )
        claims = listed(answer, "claims")
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
        released = (_uuid(_member(row, "lease_id")) for row in listed(answer, "released"))
        return [lease_id for lease_id in released if lease_id is not None]

    async def outlook(self) -> Outlook:
        return _model(Outlook, await self._call("queue_outlook"))

    async def return_expired(self) -> int:
        return _count(await self._call("return_expired_leases"))

    async def _readable(self, rows: Sequence[Any]) -> Sequence[Claim]:
        """Return the claims that can be parsed; fail each of the others on its own."""
        claims, broken = _sorted(Claim, rows)
        await asyncio.gather(*(self._fail_unreadable(row, fields) for row, fields in broken))
        return claims

    async def _fail_unreadable(self, row: Any, fields: Sequence[str]) -> None:
        generation_id, lease_id = _uuid(_member(row, "generation_id")), _uuid(_member(row, "lease_id"))
        told: Mapping[str, Any] = {"generation_id": str(generation_id), "lease_id": str(lease_id), "fields": fields}
        log.error("item cannot be read, it fails alone", extra=told)
        if generation_id is None or lease_id is None:  # its lease has to expire
            return
        is_ordered = bool(_member(row, "order_key") or _member(row, "provider_job_id"))
        fault = Fault(
            code="unreadable_claim",
            message=f"The item cannot be read: check its {', '.join(fields)}.",
            order=OrderState(over=not is_ordered),
        )
        try:
            await self._fail({"p_generation_id": str(generation_id), "p_lease_id": str(lease_id)}, fault)
        except BatchgenError as error:
            log.warning("item that cannot be read was not failed", extra={**told, "reason": str(error)})

    async def _fail(self, fence: Mapping[str, str], fault: Fault) -> Any:
        return await self._call("fail_generation", **fence, p_error=fault.model_dump(mode="json"))

    async def _call(self, name: str, **arguments: Any) -> Any:
        return await worker_rpc(self._client, name, arguments)


WORKER_FUNCTIONS: Mapping[str, frozenset[str]] = {
    "attach_provider_job": frozenset({"p_generation_id", "p_lease_id", "p_provider", "p_provider_job_id"}),
    "begin_order": frozenset({"p_generation_id", "p_lease_id", "p_order"}),
    "batch_manifest": frozenset({"p_batch_id"}),
    "claim_generations_as_json": frozenset({"p_worker", "p_limit", "p_lease_seconds", "p_about"}),
    "complete_and_claim": frozenset({"p_results", "p_worker", "p_limit", "p_lease_seconds"}),
    "complete_export": frozenset({"p_export_id", "p_lease_id", "p_result"}),
    "complete_generation": frozenset({"p_generation_id", "p_lease_id", "p_result"}),
    "discard_files": frozenset({"p_user_id", "p_generation_id", "p_seconds", "p_paths"}),
    "end_storage_deletions": frozenset({"p_worker", "p_lease_ids"}),
    "fail_export": frozenset({"p_export_id", "p_lease_id", "p_error"}),
    "fail_generation": frozenset({"p_generation_id", "p_lease_id", "p_error"}),
    "grant_monthly_credits": frozenset({"p_limit"}),
    "move_credit_horizon": frozenset(),
    "note_export_file": frozenset({"p_export_id", "p_lease_id", "p_path"}),
    "plan_schedules": frozenset({"p_plans"}),
    "queue_outlook": frozenset(),
    "release_generations_as_json": frozenset({"p_worker", "p_lease_ids"}),
    "remove_expired_images": frozenset(),
    "renew_export": frozenset({"p_export_id", "p_lease_id", "p_lease_seconds", "p_done"}),
    "renew_leases_as_json": frozenset({"p_worker", "p_lease_ids", "p_lease_seconds"}),
    "return_expired_leases": frozenset(),
    "run_schedules": frozenset(),
    "settle_order": frozenset({"p_order_key", "p_lease_id", "p_outcome"}),
    "take_export": frozenset({"p_worker", "p_lease_seconds"}),
    "take_open_orders_as_json": frozenset({"p_worker", "p_limit", "p_lease_seconds"}),
    "take_storage_deletions_as_json": frozenset({"p_worker", "p_limit", "p_lease_seconds"}),
}
"""The functions that this version of the worker calls, with the arguments that it sends."""


async def read_start_facts(client: AsyncClient) -> StartFacts:
    """Read what a worker needs to know of the project's database. Raises what `rpc` raises.

    Raises `NotSetUp` where a function is missing, or has other arguments than this version sends.
    """
    answer = await _whole(client, "worker_start", {})
    functions = {
        str(_member(row, "name")): frozenset(map(str, _member(row, "arguments") or ()))
        for row in listed(answer, "functions")
    }
    wrong = sorted(
        name for name, wanted in WORKER_FUNCTIONS.items() if name not in functions or not wanted <= functions[name]
    )
    if wrong:
        raise NotSetUp(
            f"The database is not of this version of batchgen: missing or different are {', '.join(wrong)}.",
            remedy="Apply supabase/migrations to the project.",
        )
    active = tuple(models(ActiveModel, listed(answer, "models")))
    return StartFacts(models=active, pictures=str(_member(answer, "pictures") or "public"))


class PostgrestOutbox:
    """Implements `batchgen.queue.ports.Outbox`; calls and raises as `PostgrestQueue`."""

    def __init__(self, client: AsyncClient, *, worker: str, lease_seconds: int) -> None:
        self._client = client
        self._worker = worker
        self._lease_seconds = lease_seconds

    async def take(self, limit: int) -> Sequence[StorageDeletion]:
        arguments = {"p_worker": self._worker, "p_limit": limit, "p_lease_seconds": self._lease_seconds}
        answer = await worker_rpc(self._client, "take_storage_deletions_as_json", arguments)
        return models(StorageDeletion, listed(answer, "deletions"))

    async def end(self, lease_ids: Sequence[UUID]) -> int:
        arguments = {"p_worker": self._worker, "p_lease_ids": _texts(lease_ids)}
        return _count(await worker_rpc(self._client, "end_storage_deletions", arguments))

    async def remove_expired_images(self) -> int:
        return _count(await worker_rpc(self._client, "remove_expired_images", {}))


async def grant_monthly_credits(client: AsyncClient, limit: int) -> int:
    """Grant the month's credits to up to `limit` users without them; return how many. Raises as `PostgrestQueue`."""
    return _count(await worker_rpc(client, "grant_monthly_credits", {"p_limit": limit}))


async def move_credit_horizon(client: AsyncClient) -> None:
    """Note how far the credit ledger is complete. Raises as `PostgrestQueue`."""
    await worker_rpc(client, "move_credit_horizon", {})


class PostgrestOpenOrders:
    """Implements `batchgen.queue.ports.OpenOrders`; calls and raises as `PostgrestQueue`."""

    def __init__(self, client: AsyncClient, *, worker: str, lease_seconds: int) -> None:
        self._client = client
        self._worker = worker
        self._lease_seconds = lease_seconds

    async def take(self, limit: int) -> Sequence[OpenOrder]:
        arguments = {"p_worker": self._worker, "p_limit": limit, "p_lease_seconds": self._lease_seconds}
        answer = await worker_rpc(self._client, "take_open_orders_as_json", arguments)
        return models(OpenOrder, listed(answer, "orders"))

    async def settle(self, order: OpenOrder, outcome: OrderOutcome) -> bool:
        arguments = {
            "p_order_key": str(order.order_key),
            "p_lease_id": str(order.lease_id),
            "p_outcome": outcome.model_dump(mode="json"),
        }
        return bool(await worker_rpc(self._client, "settle_order", arguments))


class PostgrestSchedules:
    """Implements `batchgen.queue.ports.Schedules`; calls and raises as `PostgrestQueue`."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def run_due(self) -> DueSchedules:
        return _model(DueSchedules, await worker_rpc(self._client, "run_schedules", {}))

    async def plan(self, plans: Sequence[SchedulePlan]) -> int:
        arguments = {"p_plans": [plan.model_dump(mode="json") for plan in plans]}
        return _count(await worker_rpc(self._client, "plan_schedules", arguments))


async def worker_rpc(client: AsyncClient, name: str, arguments: Mapping[str, Any]) -> Any:
    """Call a worker function. Every refusal counts as passing, except those that our own SQL raises on purpose."""
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
    """Call `rpc` with a time limit for the whole answer, since the worker is blocked while it waits."""
    try:
        async with response_timeout(client):
            return await rpc(client, name, arguments)
    except TimeoutError as error:
        raise BackendUnavailable(f"{name}: the whole answer did not come in time.") from error


def _is_our_own(error: InvalidRequest) -> bool:
    cause = error.__cause__
    return isinstance(cause, APIError) and (cause.code or "").startswith("PT") and "code" in error_details(cause)


def _names(claim: Claim) -> dict[str, str]:
    return {"generation_id": str(claim.generation_id), "lease_id": str(claim.lease_id)}


def _fence(claim: Claim) -> dict[str, str]:
    return {f"p_{name}": value for name, value in _names(claim).items()}


def _columns(image: StoredImage) -> dict[str, Any]:
    return image.model_dump(mode="json")


def _texts(ids: Sequence[UUID]) -> list[str]:
    return [str(one) for one in ids]


def listed(answer: Any, name: str) -> list[Any]:
    """Return the list `name` of an answer that is one object."""
    rows: Any = cast("Mapping[str, Any]", answer).get(name) if isinstance(answer, Mapping) else None
    if not isinstance(rows, list):
        raise QueueUnavailable(f"The answer has no list '{name}': is the database older than the worker?")
    return cast("list[Any]", rows)


def _model(kind: type[ModelT], row: Any) -> ModelT:
    try:
        return kind.model_validate(row)
    except ValidationError as error:
        raise QueueUnavailable(
            f"The answer is not a {kind.__name__}: is the database older than the worker?"
        ) from error


def models(kind: type[ModelT], rows: Sequence[Any]) -> Sequence[ModelT]:
    """Return the rows that can be parsed. Log the others; they come again when their leases expire."""
    good, broken = _sorted(kind, rows)
    for row, fields in broken:
        told = {"lease_id": str(_member(row, "lease_id")), "fields": fields}
        log.error("row cannot be read, it is skipped: %s", kind.__name__, extra=told)
    return good


def _sorted(kind: type[ModelT], rows: Sequence[Any]) -> tuple[list[ModelT], list[tuple[Any, list[str]]]]:
    """Return the rows that can be parsed, and the others with the names of their wrong fields."""
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
    """Read a renewal leniently: a row that names its lease proves that it is held."""
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
        raise QueueUnavailable("The answer is not a number: is the database older than the worker?")
    return answer
