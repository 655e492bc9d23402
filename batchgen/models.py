"""The types of the public API: requests for batches, and batches, generations and images as they are read."""

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

from batchgen.errors import InvalidRequest
from batchgen.validation import below, found, in_our_words, refuse_unknown


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


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Asked(Frozen):
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


class Generation(Frozen):
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


class Batch(Frozen):
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


class Image(Frozen):
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


class BatchSnapshot(Frozen):
    """A batch with its items and pictures, read at one time."""

    batch: Batch
    generations: tuple[Generation, ...]
    images: tuple[Image, ...] = ()


class BatchFacts(Frozen):
    """What the counts of a batch do not tell."""

    cancelled: int = 0
    """Failed items that somebody cancelled."""
    deleted: int = 0
    """Completed items whose picture was deleted."""
    reopened_at: datetime | None = None
    """When items of the batch, which had ended, were last queued again."""


class CreatedBatch(Frozen):
    """A batch as it was just submitted."""

    id: UUID
    name: str | None = None
    status: BatchStatus
    total_count: int
    generations: tuple[Generation, ...]


class BatchTotals(Frozen):
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


class ActionDone(Frozen):
    """An item that is as the action wanted it."""

    generation_id: UUID
    index: int
    action: Action
    image_id: UUID | None = None
    tags: tuple[str, ...] = ()
    """Of the tags that were asked for, those that the picture carries now."""


class ActionRefused(Frozen):
    """An item that the action could not change. `code` is stable and meant for programs."""

    generation_id: UUID
    index: int
    code: str
    message: str


class ActionReport(Frozen):
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


class Wait(Frozen):
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


class Outlook(Frozen):
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
