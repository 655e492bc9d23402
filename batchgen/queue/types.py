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
from batchgen.order_state import OrderState


class Claim(Frozen):
    """A leased item, with all that a provider needs. Every write about it names the lease."""

    model_config = ConfigDict(frozen=True, extra="ignore", protected_namespaces=(), allow_inf_nan=False)

    generation_id: UUID
    lease_id: UUID
    lease_expires_at: datetime
    attempt: int
    """Counted from 1; retries and crashes count, handed-back attempts do not."""
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
    """Provider of the job that an earlier attempt left, if there is one."""
    provider_job_id: str | None = None
    """A job that an earlier attempt left running or paid for: resume it, do not order again."""
    model_provider: str = "offline"
    """The provider that now makes the pictures of this model."""
    input_spec: Mapping[str, Any] | None = None
    """The model's inputs there (`batchgen.providers.inputs`)."""
    estimated_seconds: float | None = None
    order_key: UUID | None = None
    """An order that was recorded. Without a `provider_job_id` it is unknown whether it was sent."""
    ordered_inputs: Mapping[str, Any] | None = None
    """The inputs of that order."""
    ordered_seconds_ago: float | None = None
    is_late: bool = False
    """The item had ended before its order made a picture: collect the picture, order nothing."""
    had_picture: bool = False
    """The item was completed before: caches may have a file of its plain name, so its new files get other names."""


class NewOrder(Frozen):
    """An order that is about to be sent, for `begin_order`."""

    provider: str
    model: str | None = None
    version: str | None = None
    inputs: Mapping[str, Any] = Field(default_factory=dict[str, Any])


class OpenOrder(Frozen):
    """An order of unknown outcome that no item waits for, leased to a worker that asks the provider about it."""

    order_key: UUID
    lease_id: UUID
    generation_id: UUID
    provider: str
    provider_job_id: str | None = None
    """None: it is unknown whether the order was sent."""
    model: str | None = None
    version: str | None = None
    inputs: Mapping[str, Any] = Field(default_factory=dict[str, Any])
    seed: int = 0
    ordered_seconds_ago: float


class OrderOutcome(Frozen):
    """The provider's answer about an open order, for `settle_order`."""

    order: OrderState
    has_picture: bool = False
    """True if it made a picture that can still be fetched."""


class ActiveModel(Frozen):
    """A model that requests may name, and its provider."""

    name: str
    provider: str


class StartFacts(Frozen):
    """Facts about the project that a worker reads before its first claim."""

    models: tuple[ActiveModel, ...] = ()
    pictures: str = "public"
    """`public` or `private`."""


class Renewal(Frozen):
    """A lease that is still held."""

    lease_id: UUID
    lease_expires_at: datetime | None = None
    """By the database's clock; for logs only."""
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
    """BlurHash: a short placeholder shown until the picture is loaded."""
    seed: int | None = None
    """The seed that was used, if the provider tells."""
    model_version: str | None = None
    """The model version that was used, if the provider tells."""
    is_black: bool = False
    """All pixels are black, as safety filters leave a picture."""
    thumbnail_path: str | None = None
    """The small picture in the same bucket; None if it could not be made or stored."""
    order: OrderState = OrderState()
    """The state of its order, for the ledger; not a column of `images`."""


class StorageDeletion(Frozen):
    """A file whose row is deleted, leased to the worker that is to remove it."""

    deletion_id: int
    lease_id: UUID
    bucket_id: str
    path: str


class ClaimError(Frozen):
    """The reason why recorded results came back without new work."""

    code: str
    message: str


class Completed(Frozen):
    """The answer to results that were written together, with newly claimed items."""

    lease_ids: frozenset[UUID]
    """The leases whose items are completed; the other results came too late."""
    claims: tuple[Claim, ...] = ()
    claim_error: ClaimError | None = None
    """Set if the results were written but the claim after them failed."""


class Fault(Frozen):
    """The failure of an attempt, for `fail_generation`.

    With `retry_after_seconds` the item waits that long, like all others of that provider, and no attempt is used up;
    without, `retryable` decides.
    """

    code: str
    message: str
    retryable: bool = False
    retry_after_seconds: float | None = None
    provider: str | None = None
    """The provider that asks to wait."""
    provider_fault: bool | None = None
    """For the model's breaker: True is a fault, False a correct answer of the provider, None neither."""
    model_fault: bool = False
    """With `retry_after_seconds`: the model waits, not its provider."""
    order: OrderState = OrderState()
    """If `over` is not known, the order is over unless the provider only asks to wait."""


class FailureVerdict(Frozen):
    """The database's decision on a failed attempt."""

    status: GenerationStatus
    retry_count: int
    retry_in_seconds: float | None = None


class ScheduledRun(Frozen):
    """A slot of a schedule that was tried."""

    slot: datetime
    outcome: str
    """`submitted` or `refused`."""
    batch_id: UUID | None = None
    refusal: Mapping[str, Any] | None = None


class FiredSchedule(Frozen):
    """A schedule whose due slots were decided."""

    schedule_id: UUID
    runs: tuple[ScheduledRun, ...] = ()


class ScheduleToPlan(Frozen):
    """A schedule whose next times are to be computed."""

    schedule_id: UUID
    version: int
    planned_until: str
    """As the database wrote it: the plan must name the same moment."""
    after: datetime
    """Times up to here are planned, or too old to run."""
    now: datetime
    """By the database's clock."""
    cron: str
    time_zone: str


class DueSchedules(Frozen):
    """What one call did with due schedules, and what it asks for."""

    fired: FiredSchedule | None = None
    to_plan: tuple[ScheduleToPlan, ...] = ()


class SchedulePlan(Frozen):
    """The next times of a schedule."""

    schedule_id: UUID
    version: int
    planned_until: str
    slots: tuple[datetime, ...] = ()
    is_last: bool = False
    """There are no later times."""
    problem: Mapping[str, Any] | None = None
    """Why no times can be computed."""
