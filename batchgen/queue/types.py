"""The types that a worker and the queue exchange: claims, orders, results and faults."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from pydantic import (
    ConfigDict,
    Field,
)

from batchgen.models import Frozen, GenerationStatus
from batchgen.orders import OrderState


class Claim(Frozen):
    """A leased item, with all that a provider needs. Only its lease allows to write about it."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=(), allow_inf_nan=False)

    generation_id: UUID
    lease_id: UUID
    lease_expires_at: datetime
    attempt: int
    """From 1; retries and crashes count, handing back does not."""
    retry_count: int
    user_id: UUID
    batch_id: UUID
    batch_index: int
    prompt: str
    negative_prompt: str | None = None
    seed: int
    model: str | None = None
    model_version: str | None = None
    width: int
    height: int
    steps: int | None = None
    guidance_scale: float | None = None
    provider: str | None = None
    """Of the order that an earlier attempt left; None where there is none."""
    provider_job_id: str | None = None
    """A job that an earlier attempt left running or paid for: resume it, do not buy again."""
    model_provider: str = "offline"
    """Who makes the pictures of this model now."""
    input_spec: Mapping[str, Any] | None = None
    """What the model takes there (`batchgen.providers.inputs`)."""
    estimated_seconds: float | None = None
    order_key: UUID | None = None
    """An order that was begun: with no `provider_job_id`, nobody knows whether it was sent."""
    ordered_inputs: Mapping[str, Any] | None = None
    """What that order was about to send."""
    ordered_seconds_ago: float | None = None
    is_late: bool = False
    """The item had ended, and its order turned out to have made a picture: it is collected, and nothing is bought."""


class NewOrder(Frozen):
    """A purchase that is about to be sent, for `begin_order`."""

    provider: str
    model: str | None = None
    version: str | None = None
    inputs: Mapping[str, Any] = Field(default_factory=dict[str, Any])


class OpenOrder(Frozen):
    """An order that nobody waits for any more and whose outcome is not known, leased to a worker that asks about it."""

    order_key: UUID
    lease_id: UUID
    generation_id: UUID
    provider: str
    provider_job_id: str | None = None
    """None: nobody knows whether it was sent."""
    model: str | None = None
    version: str | None = None
    inputs: Mapping[str, Any] = Field(default_factory=dict[str, Any])
    seed: int = 0
    ordered_seconds_ago: float


class OrderOutcome(Frozen):
    """The provider's answer about an open order, for `settle_order`."""

    order: OrderState
    has_picture: bool = False
    """It made one that can still be had."""


class ActiveModel(Frozen):
    """A model that requests may name, and who makes its pictures."""

    name: str
    provider: str


class StartFacts(Frozen):
    """What a worker learns of its project before its first claim."""

    models: tuple[ActiveModel, ...] = ()


class Renewal(Frozen):
    """A lease that is still held."""

    lease_id: UUID
    lease_expires_at: datetime | None = None
    """By the database's clock; for people to read."""
    cancel_requested: bool = False


class StoredImage(Frozen):
    """A picture in Storage, for `complete_generation`: the keys are columns of `images`."""

    storage_path: str
    filename: str
    format: str
    width: int
    height: int
    file_size: int
    public_url: str | None = None
    blurhash: str | None = None
    """A few characters that stand for the picture until it is loaded."""
    seed: int | None = None
    """The seed really used, where the provider tells."""
    model_version: str | None = None
    """The model's version really used, where the provider tells."""
    is_black: bool = False
    """All black: what safety filters leave in place of a picture."""
    order: OrderState = OrderState()
    """Of the order that made it: no column of `images`, but for the ledger."""


class StorageDeletion(Frozen):
    """A file whose row is gone, leased to a worker that is to remove it."""

    deletion_id: int
    lease_id: UUID
    bucket_id: str
    path: str


class ClaimError(Frozen):
    """Why no work came with results that were written down."""

    code: str
    message: str


class Completed(Frozen):
    """What became of results that were written down together, and the new work that came with the answer."""

    lease_ids: frozenset[UUID]
    """Whose items are completed now; the other results came too late."""
    claims: tuple[Claim, ...] = ()
    claim_error: ClaimError | None = None
    """The results are written; the claim that should have followed failed."""


class Fault(Frozen):
    """Why an attempt failed, for `fail_generation`.

    With `retry_after_seconds` the item waits as told, like all others of that provider, and no attempt is used up;
    without, `retryable` decides.
    """

    code: str
    message: str
    retryable: bool = False
    retry_after_seconds: float | None = None
    provider: str | None = None
    """Who asks to wait."""
    provider_fault: bool | None = None
    """True counts for the model's breaker; False says that the provider answered as it should; None says nothing."""
    model_fault: bool = False
    """With `retry_after_seconds`: the model waits as told, not its provider."""
    order: OrderState = OrderState()
    """Where it does not say whether the order is over: it is, unless the provider only asks to wait."""


class FailureVerdict(Frozen):
    """What became of a failed attempt."""

    status: GenerationStatus
    retry_count: int
    retry_in_seconds: float | None = None
