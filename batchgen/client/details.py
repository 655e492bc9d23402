"""Read batches with everything that a screen shows of them, page by page, and preview requests."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, TypeVar
from uuid import UUID

from pydantic import Field, ValidationError

from batchgen.client.batch_queries import no_batch
from batchgen.client.caller import Caller
from batchgen.client.submit import by_model_name, for_user
from batchgen.errors import BackendUnavailable
from batchgen.models import (
    BatchFacts,
    BatchRating,
    BatchRequest,
    BatchStatus,
    Frozen,
    GenerationStatus,
    Wait,
    WaitReason,
)

MOST_PER_PAGE = 100
FrozenT = TypeVar("FrozenT", bound=Frozen)


class ExpectedEnd(Frozen):
    """When an item or a batch will end, from the usual time of its model's pictures."""

    earliest: datetime
    latest: datetime
    is_measured: bool
    """Whether the times were measured (mean to 75th percentile of the last 20); otherwise the model's estimate."""


class ExpectedSeconds(Frozen):
    """How long a batch will take, queue included."""

    least: float
    most: float
    is_measured: bool


class ItemWait(Frozen):
    """Why an item does not run yet; the fields are those of `Wait`."""

    reason: WaitReason
    detail: str | None = None
    until: datetime | None = None
    running: int | None = None
    cap: int | None = None
    position: int | None = None


class RetryRefused(Frozen):
    """Why an item may not be retried."""

    code: str
    message: str


class Picture(Frozen):
    """An item's picture. Its file is in the bucket at `storage_path`."""

    id: UUID
    filename: str
    storage_path: str
    thumbnail_path: str | None = None
    public_url: str | None = None
    format: str | None = None
    width: int | None = None
    height: int | None = None
    file_size: int | None = None
    """Bytes."""
    blurhash: str | None = None
    seed: str | None = None
    """The seed that was used, if the provider reports it; as text, since JavaScript rounds 64-bit numbers."""
    model_version: str | None = None
    is_black: bool = False
    is_favorite: bool = False
    rating: int | None = None
    saved_at: datetime | None = None
    archived_at: datetime | None = None
    is_trashed: bool = False
    created_at: datetime | None = None


class ItemDetails(Frozen):
    """An item with everything that a screen shows of it."""

    id: UUID
    index: int
    prompt: str
    negative_prompt: str | None = None
    status: GenerationStatus
    code: str | None = None
    """Why the item failed, for programs."""
    message: str | None = None
    may_retry: bool
    retry_refused: RetryRefused | None = None
    """Why it may not be retried; None if it may."""
    may_retry_edited: bool = False
    """Whether it may be retried with edits, as an item that was blocked by policy."""
    attempt: int
    """Number of the running, next or last attempt; 0 for an item that failed before it was started."""
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    cancel_requested: bool = False
    wait: ItemWait | None = None
    expected_end: ExpectedEnd | None = None
    """None for an item that has ended, and where the end cannot be foreseen."""
    model_id: UUID | None = None
    model: str | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    seed: str | None = None
    tags: tuple[str, ...] = ()
    """Tags of the picture; before there is one, those that were requested."""
    cost_usd: Decimal = Decimal(0)
    credits: Decimal | None = None
    """Credits spent on the item or held for it; None if it never had to be paid with credits."""
    picture: Picture | None = None


class BatchTotalsAndSettings(Frozen):
    """A batch with counts, settings, cost and expected end."""

    id: UUID
    user_id: UUID | None = None
    name: str | None = None
    status: BatchStatus
    total_count: int
    completed_count: int
    failed_count: int
    pending_count: int
    processing_count: int
    cancelled_count: int
    """Failed items that were cancelled."""
    deleted_count: int
    """Completed items without a picture."""
    created_at: datetime
    completed_at: datetime | None = None
    reopened_at: datetime | None = None
    trashed_at: datetime | None = None
    model_id: str | None = None
    model_name: str | None = None
    model_version: str | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    cost_usd: Decimal = Decimal(0)
    credits: Decimal | None = None
    rating: BatchRating | None = None
    expected_end: ExpectedEnd | None = None


class BatchDetails(Frozen):
    """A batch with its items, read at one moment."""

    batch: BatchTotalsAndSettings
    items: tuple[ItemDetails, ...]
    now: datetime | None = None
    """The database's time when it was read; None within a page, which has it once."""

    @property
    def facts(self) -> BatchFacts:
        batch = self.batch
        return BatchFacts(cancelled=batch.cancelled_count, deleted=batch.deleted_count, reopened_at=batch.reopened_at)

    @property
    def waits(self) -> tuple[Wait, ...]:
        """Why its pending items do not run yet."""
        return tuple(Wait(generation_id=item.id, **dict(item.wait)) for item in self.items if item.wait)


class BatchPage(Frozen):
    """Some batches, newest first."""

    batches: tuple[BatchDetails, ...]
    next: str | None = None
    """`before` of the next page; None after the last one. A page of a search may be short although there is a next."""
    now: datetime


class PreviewedItem(Frozen):
    """An item as it would be made."""

    index: int
    prompt: str
    negative_prompt: str | None = None
    seed: str | None = None
    """None where submitting chooses one."""
    tags: tuple[str, ...] = ()


class PreviewedBatch(Frozen):
    """A batch as it would be made, with the model's defaults."""

    name: str | None = None
    model_id: str | None = None
    model_name: str | None = None
    model_version: str | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None


class LimitLeft(Frozen):
    """What is left of a limit."""

    code: str
    used: int
    limit: int
    left: int
    resets_at: datetime | None = None


class CreditsNeeded(Frozen):
    """What a batch costs in credits, and what the user has."""

    each: Decimal
    total: Decimal
    available: Decimal


class PreviewRefusal(Frozen):
    """The error with which submitting would be refused, because of a limit or for lack of credits."""

    code: str
    message: str
    field: str | None = None
    limit: Any = None
    remedy: str | None = None
    resets_at: datetime | None = None
    retry_after_seconds: float | None = None


class BatchPreview(Frozen):
    """What submitting a request would do."""

    batch: PreviewedBatch
    items: tuple[PreviewedItem, ...]
    count: int
    price_usd: Decimal | None = None
    """Price of one picture; None if it is unknown."""
    total_usd: Decimal | None = None
    expected_seconds: ExpectedSeconds | None = None
    limits: tuple[LimitLeft, ...] = Field(default=())
    credits: CreditsNeeded | None = None
    """None if the project does not use credits."""
    refusal: PreviewRefusal | None = None
    """None if submitting would succeed now."""
    batch_id: UUID | None = None
    """The batch that an earlier request with the same `client_key` made; submitting would return it."""
    sample_seed: str | None = None
    """The seed of a random sample of choices; with it in the request, submitting draws the same."""


async def read_details(caller: Caller, batch_id: UUID) -> BatchDetails:
    """A batch with everything that a screen shows of it. Raises `NotFound`."""
    details = _read(BatchDetails, "batch_details", await caller.rpc("batch_details", {"p_batch_id": str(batch_id)}))
    if caller.user_id and details.batch.user_id != caller.user_id:
        raise no_batch(batch_id)
    return details


async def read_page(
    caller: Caller, *, before: str | None, limit: int, state: str | None, tag: str | None, search: str | None
) -> BatchPage:
    """A page of the caller's batches. Raises `InvalidRequest` for invalid arguments."""
    arguments = {"p_before": before, "p_limit": limit, "p_state": state, "p_tag": tag, "p_search": search}
    if caller.user_id:
        answer = await caller.rpc("batches_page_as", {"p_user_id": str(caller.user_id), **arguments})
    else:
        answer = await caller.rpc("batches_page", arguments)
    return _read(BatchPage, "batches_page", answer)


async def preview_batch(caller: Caller, request: BatchRequest) -> BatchPreview:
    """What submitting the request would do. Raises what `submit` raises, except for limits and credits."""

    async def preview(request: BatchRequest) -> BatchPreview:
        return _read(BatchPreview, "preview_batch", await caller.rpc(*for_user(caller, "preview_batch", request)))

    return await by_model_name(caller, request, preview)


def _read(kind: type[FrozenT], function: str, answer: Mapping[str, Any] | None) -> FrozenT:
    try:
        return kind.model_validate(answer)
    except ValidationError:
        message = f"{function}: the response cannot be read. Is SUPABASE_URL the project's address?"
        raise BackendUnavailable(message) from None
