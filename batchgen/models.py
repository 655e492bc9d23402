"""The types that batchgen speaks in: batches, generations, claims, and requests for them."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Self, cast
from uuid import UUID

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    field_validator,
    model_validator,
)

from batchgen.asking import below, found, in_our_words, refuse_unknown
from batchgen.errors import InvalidRequest


class GenerationStatus(StrEnum):
    """The four states of an item; the app draws an icon for each and knows no fifth."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        return self in (GenerationStatus.COMPLETED, GenerationStatus.FAILED)


class BatchStatus(StrEnum):
    """The states of a batch: pending until its first item starts, final when its last one ended."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    PARTIAL = "partial"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        return self in (BatchStatus.COMPLETED, BatchStatus.PARTIAL, BatchStatus.FAILED)


def _part(kind: type[BaseModel], value: Any, path: str, index: int | None = None) -> Any:
    """A part of a request; what is wrong with it is told of its path."""
    if not isinstance(value, kind | dict):
        message = f"{path} is {found(value)}; an object is needed."
        remedy = f"Make {path} an object with {', '.join(kind.model_fields)}."
        raise InvalidRequest(message, code="wrong_type", field=path, index=index, remedy=remedy)
    try:
        return kind.model_validate(value)
    except InvalidRequest as error:
        raise below(path, error, index) from None


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Asked(_Frozen):
    """Part of a request. What it does not know, or cannot be, is refused with `InvalidRequest`, and never ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @model_validator(mode="wrap")
    @classmethod
    def _in_our_words(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        refuse_unknown(cls, data)
        try:
            return handler(data)
        except ValidationError as error:
            raise in_our_words(error) from None


class Prompt(_Asked):
    """One picture of a batch. The database checks all limits; nothing is checked twice here."""

    text: str
    negative_prompt: str | None = None
    seed: int | None = None
    """A 64-bit integer; 0 is a seed. Without one the database chooses and stores one."""
    tags: tuple[str, ...] = ()


class SharedSettings(_Asked):
    """What all pictures of a batch have in common; None means the model's default."""

    model_id: str | None = None
    """A model's id, name or `replicate_id`; None or '' is the default model."""
    model_version: str | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None


class BatchRequest(_Asked):
    """A batch to be created: 2 to 10 prompts, by default."""

    prompts: tuple[Prompt, ...]
    shared_settings: SharedSettings = SharedSettings()
    batch_name: str | None = None
    client_key: str | None = None
    """Makes a resend safe: the same key with the same body gives the same batch."""

    @field_validator("prompts", mode="before")
    @classmethod
    def _name_the_prompt(cls, prompts: Any) -> Any:
        if not isinstance(prompts, list | tuple):
            return prompts
        return [
            _part(Prompt, item, f"prompts[{index}]", index) for index, item in enumerate(cast("list[Any]", prompts))
        ]

    @field_validator("shared_settings", mode="before")
    @classmethod
    def _name_the_settings(cls, settings: Any) -> Any:
        return _part(SharedSettings, settings, "shared_settings")


class Generation(_Frozen):
    """One item of a batch, as its owner sees it."""

    id: UUID
    batch_id: UUID | None = None
    index: int = Field(validation_alias=AliasChoices("batch_index", "index"))
    prompt: str
    status: GenerationStatus
    seed: int | None = None
    error_message: str | None = None
    error_code: str | None = None
    """Why it failed, as a stable word for programs; None unless it has failed."""
    retry_count: int = 0
    negative_prompt: str | None = None
    model: str | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    width: int | None = None
    height: int | None = None
    generation_time_seconds: int | None = None
    """How long the successful attempt took, rounded up."""
    started_at: datetime | None = None
    """When the attempt that runs began, or else the last one."""
    completed_at: datetime | None = None


class Batch(_Frozen):
    """A batch without its items."""

    id: UUID
    user_id: UUID | None = None
    name: str | None = None
    status: BatchStatus
    total_count: int
    completed_count: int = 0
    failed_count: int = 0
    created_at: datetime
    completed_at: datetime | None = None
    model_version: str | None = None
    """As the request named it."""


class Image(_Frozen):
    """A finished picture. The file lies in the bucket at `storage_path`."""

    id: UUID
    generation_id: UUID | None = None
    filename: str
    storage_path: str
    prompt: str
    public_url: str | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None
    file_size: int | None = None
    """Bytes."""
    saved_at: datetime | None = None
    tags: tuple[str, ...] = ()


class BatchSnapshot(_Frozen):
    """A batch with its items and pictures, read at one time."""

    batch: Batch
    generations: tuple[Generation, ...]
    images: tuple[Image, ...] = ()


class BatchFacts(_Frozen):
    """What the counts of a batch do not tell."""

    cancelled: int = 0
    """Failed items that somebody cancelled."""
    deleted: int = 0
    """Completed items whose picture was deleted."""
    reopened_at: datetime | None = None
    """When items of the batch, which had ended, were last queued again."""


class CreatedBatch(_Frozen):
    """A batch as it was just submitted."""

    id: UUID
    name: str | None = None
    status: BatchStatus
    total_count: int
    generations: tuple[Generation, ...]


class BatchTotals(_Frozen):
    """Where a batch stands, in few words."""

    id: UUID
    name: str | None = None
    status: BatchStatus
    total_count: int
    completed_count: int
    failed_count: int


class Action(StrEnum):
    """What an action did with an item, or found done already."""

    CANCELLED = "cancelled"
    CANCEL_REQUESTED = "cancel_requested"
    """It runs: its worker stops it at the provider and ends it. A picture that is finished by then is kept."""
    ALREADY_CANCELLED = "already_cancelled"
    REQUEUED = "requeued"
    ALREADY_WAITING = "already_waiting"
    """It waits or runs."""
    SAVED = "saved"
    ALREADY_SAVED = "already_saved"
    TAGGED = "tagged"
    ALREADY_TAGGED = "already_tagged"
    DELETED = "deleted"
    ALREADY_DELETED = "already_deleted"


class ActionDone(_Frozen):
    """An item that is as the action wanted it."""

    generation_id: UUID
    index: int
    action: Action
    image_id: UUID | None = None
    tags: tuple[str, ...] = ()
    """Of the tags that were asked for, those that the picture carries now."""


class ActionRefused(_Frozen):
    """An item that the action could not change. `code` is stable and meant for programs."""

    generation_id: UUID
    index: int
    code: str
    message: str


class ActionReport(_Frozen):
    """What became of an action on a batch: each item stands in `done` or in `refused`, in the batch's order."""

    batch: BatchTotals
    """As it is after the action."""
    done: tuple[ActionDone, ...]
    refused: tuple[ActionRefused, ...]


class WaitReason(StrEnum):
    """Why a pending item does not run: the first of these that holds."""

    RETRY = "retry"
    PROVIDER = "provider"
    BREAKER = "breaker"
    NO_WORKER = "no_worker"
    OWN_CAP = "own_cap"
    TOTAL_CAP = "total_cap"
    RUNS_ALONE = "runs_alone"
    QUEUE = "queue"


class Wait(_Frozen):
    """What a pending item waits for."""

    generation_id: UUID
    reason: WaitReason
    detail: str | None = None
    """The provider or the model, where one of them is the reason."""
    until: datetime | None = None
    """When a retry is due or a provider or model is asked again; None for a model that is just being tried."""
    running: int | None = None
    cap: int | None = None
    """How many items run, and how many may: the user's own, or all."""
    position: int | None = None
    """Place in the order of claims, from 1; 1000 is that or more."""


class Claim(_Frozen):
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
    """What the model takes there (`batchgen.inputs`)."""
    estimated_seconds: float | None = None
    order_key: UUID | None = None
    """An order that was begun: with no `provider_job_id`, nobody knows whether it was sent."""
    ordered_inputs: Mapping[str, Any] | None = None
    """What that order was about to send."""
    ordered_seconds_ago: float | None = None
    is_late: bool = False
    """The item had ended, and its order turned out to have made a picture: it is collected, and nothing is bought."""


class Order(_Frozen):
    """A purchase that is about to be sent, for `begin_order`."""

    provider: str
    model: str | None = None
    version: str | None = None
    inputs: Mapping[str, Any] = Field(default_factory=dict[str, Any])


class Account(_Frozen):
    """What is known of the money and the time that an order took."""

    is_charged: bool | None = None
    """None: not known."""
    queued_seconds: float | None = None
    running_seconds: float | None = None


class OpenOrder(_Frozen):
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


class OrderOutcome(Account):
    """What the provider said of an open order, for `settle_order`."""

    is_over: bool
    has_picture: bool = False
    """It made one that can still be had."""


class ActiveModel(_Frozen):
    """A model that requests may name, and who makes its pictures."""

    name: str
    provider: str


class StartFacts(_Frozen):
    """What a worker learns of its project before its first claim."""

    models: tuple[ActiveModel, ...] = ()


class Renewal(_Frozen):
    """A lease that is still held."""

    lease_id: UUID
    lease_expires_at: datetime | None = None
    """By the database's clock; for people to read."""
    cancel_requested: bool = False


class StoredImage(_Frozen):
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
    account: Account | None = None
    """Of the order that made it: no column of `images`, but for the ledger."""


class StorageDeletion(_Frozen):
    """A file whose row is gone, leased to a worker that is to remove it."""

    deletion_id: int
    lease_id: UUID
    bucket_id: str
    path: str


class ClaimError(_Frozen):
    """Why no work came with results that were written down."""

    code: str
    message: str


class Completed(_Frozen):
    """What became of results that were written down together, and the new work that came with the answer."""

    lease_ids: frozenset[UUID]
    """Whose items are completed now; the other results came too late."""
    claims: tuple[Claim, ...] = ()
    claim_error: ClaimError | None = None
    """The results are written; the claim that should have followed failed."""


class Outlook(_Frozen):
    """What a worker that was given nothing may wait for."""

    due_in_seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Until the first item may start that waits for its time, its provider or its model; None: nobody knows."""
    delayed: int = 0
    paused: int = 0
    """Items of providers and models that are not to be asked now: `closed` names those."""
    waiting: int = 0
    """Items that are due, and have no room under a limit."""
    running: int = 0
    closed: tuple[str, ...] = ()


class Fault(_Frozen):
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
    job_over: bool | None = None
    """Whether the order ended by this. False: the next attempt asks for the same job. None: it did, unless the
    provider only asks to wait.
    """
    is_charged: bool | None = None
    """Whether the order costs money; None: not known."""
    queued_seconds: float | None = None
    running_seconds: float | None = None


class FailureVerdict(_Frozen):
    """What became of a failed attempt."""

    status: GenerationStatus
    retry_count: int
    retry_in_seconds: float | None = None
