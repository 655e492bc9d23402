"""The types of the public API: requests for batches, and batches, generations and images as they are read."""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal, Self, cast
from uuid import UUID

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from batchgen.errors import InvalidRequest
from batchgen.validation import at_path, describe_value, refuse_unknown, to_invalid_request


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
    """The states of a batch: pending until its first item starts, final when its last item is final."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    PARTIAL = "partial"
    FAILED = "failed"

    @property
    def is_final(self) -> bool:
        return self in (BatchStatus.COMPLETED, BatchStatus.PARTIAL, BatchStatus.FAILED)


def _part(kind: type[BaseModel], value: Any, path: str, index: int | None = None) -> Any:
    """Validate a part of a request; errors name the path within the request."""
    if not isinstance(value, kind | dict):
        message = f"{path} must be an object, not {describe_value(value)}."
        remedy = f"Make {path} an object with {', '.join(kind.model_fields)}."
        raise InvalidRequest(message, code="wrong_type", field=path, index=index, remedy=remedy)
    try:
        return kind.model_validate(value)
    except InvalidRequest as error:
        raise at_path(path, error, index) from None


class Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class _Asked(Frozen):
    """Part of a request. Raises `InvalidRequest` for unknown fields and values of a wrong type."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    @model_validator(mode="wrap")
    @classmethod
    def _raise_invalid_request(cls, data: Any, handler: ModelWrapValidatorHandler[Self]) -> Self:
        refuse_unknown(cls, data)
        try:
            return handler(data)
        except ValidationError as error:
            raise to_invalid_request(error) from None


class Prompt(_Asked):
    """One picture of a batch. Only types are checked here; the database checks all limits."""

    text: str
    negative_prompt: str | None = None
    seed: int | None = None
    """A 64-bit integer; 0 is valid. If it is None, the database chooses and stores a seed."""
    tags: tuple[str, ...] = ()


class SharedSettings(_Asked):
    """Settings of all pictures of a batch; None means the model's default."""

    model_id: str | None = None
    """A model's id, name or `replicate_id`; None or '' means the default model."""
    model_version: str | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None


class Choices(_Asked):
    """Expand choices such as `{red|blue} fox` in the prompts' texts; see docs/requests.md."""

    mode: str
    """`all`: every combination becomes a prompt. `sample`: `count` of each text that has choices."""
    count: int | None = None
    seed: int | None = None
    """Makes the sample repeatable."""


class Variations(_Asked):
    """Make each prompt several times: with `count` random seeds, or with the given `seeds`."""

    count: int | None = None
    seeds: tuple[int, ...] | None = None


class TemplateUse(_Asked):
    """A template whose placeholders are filled in; its prompts are made once, or once for each of `rows`."""

    id: UUID | str
    values: Mapping[str, str | int | float] | None = None
    rows: tuple[Mapping[str, str | int | float], ...] | None = None
    values_have_choices: bool = False
    """Whether braces in values are choices; otherwise they stay as they are."""


_PARTS: Mapping[str, type[_Asked]] = {"choices": Choices, "variations": Variations, "template": TemplateUse}


class BatchRequest(_Asked):
    """A batch to create, by default of 2 to 10 prompts."""

    prompts: tuple[Prompt, ...] = ()
    shared_settings: SharedSettings = SharedSettings()
    batch_name: str | None = None
    choices: Choices | None = None
    variations: Variations | None = None
    template: TemplateUse | None = None
    """Instead of `prompts`. The other fields override the template's."""
    client_key: str | None = None
    """Makes it safe to resend the request: the same key with the same body returns the same batch."""

    @model_validator(mode="after")
    def _has_prompts(self) -> Self:
        if self.template is None and "prompts" not in self.model_fields_set:
            raise InvalidRequest(
                "prompts is missing.", code="wrong_type", field="prompts", remedy="Give prompts, or a template."
            )
        return self

    @field_validator("prompts", mode="before")
    @classmethod
    def _validate_prompts(cls, prompts: Any) -> Any:
        if not isinstance(prompts, list | tuple):
            return prompts
        return [
            _part(Prompt, item, f"prompts[{index}]", index) for index, item in enumerate(cast("list[Any]", prompts))
        ]

    @field_validator("shared_settings", mode="before")
    @classmethod
    def _validate_shared_settings(cls, settings: Any) -> Any:
        return _part(SharedSettings, settings, "shared_settings")

    @field_validator("choices", "variations", "template", mode="before")
    @classmethod
    def _validate_parts(cls, part: Any, info: ValidationInfo) -> Any:
        name = info.field_name or ""
        return None if part is None else _part(_PARTS[name], part, name)

    def body(self) -> dict[str, Any]:
        """The request as JSON for `create_batch`."""
        body = self.model_dump(mode="json", exclude_none=True)
        if self.template and not self.prompts:
            del body["prompts"]
        return body


class JobRow(Frozen):
    """One prompt of a large job, with settings of its own."""

    prompt: Prompt
    settings: SharedSettings = SharedSettings()


class ItemEdit(_Asked):
    """Changes of a failed item that is retried; None leaves a value. The database checks them like a new prompt."""

    generation_id: UUID
    prompt: str | None = None
    negative_prompt: str | None = None
    """An empty text removes the negative prompt."""
    seed: int | None = None
    model_id: str | None = None
    """A model's id, name or `replicate_id`."""


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
    """Why the item failed, as a stable code for programs; None unless it failed."""
    retry_count: int = 0
    negative_prompt: str | None = None
    model: str | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    width: int | None = None
    height: int | None = None
    generation_time_seconds: int | None = None
    """Duration of the successful attempt, rounded up."""
    started_at: datetime | None = None
    """Start of the running attempt, else of the last one."""
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
    """As given in the request."""


class Image(Frozen):
    """A finished picture: a row of `images`. Its file is in the bucket at `storage_path`."""

    id: UUID
    generation_id: UUID | None = None
    filename: str
    storage_path: str
    prompt: str
    public_url: str | None = None
    """Empty for private pictures."""
    thumbnail_path: str | None = None
    """The small picture in the same bucket: a WebP of at most 512 pixels a side. None: it has not been made."""
    width: int | None = None
    height: int | None = None
    format: str | None = None
    file_size: int | None = None
    """Bytes."""
    saved_at: datetime | None = None
    tags: tuple[str, ...] = ()
    link: str | None = None
    """An address that shows the picture, and for private pictures expires; see `BatchgenClient.with_links`."""
    thumbnail_link: str | None = None
    """The same for the thumbnail."""


class BatchSnapshot(Frozen):
    """A batch with its items and pictures, all read in one transaction."""

    batch: Batch
    generations: tuple[Generation, ...]
    images: tuple[Image, ...] = ()


class BatchFacts(Frozen):
    """Facts that the counts of a batch do not show."""

    cancelled: int = 0
    """Failed items that were cancelled."""
    deleted: int = 0
    """Completed items whose picture was deleted."""
    reopened_at: datetime | None = None
    """When final items of the batch were last queued again."""


class CreatedBatch(Frozen):
    """A batch that was just submitted."""

    id: UUID
    name: str | None = None
    status: BatchStatus
    total_count: int
    generations: tuple[Generation, ...]


class NewItemSource(Frozen):
    """From which item a new one was made."""

    index: int
    """Position of the new item in its batch."""
    generation_id: UUID
    """The earlier item."""


class Difference(Frozen):
    """A setting in which a new batch differs from the earlier one."""

    field: str
    """A field of `SharedSettings`, or `seed`: then every item has a new one."""
    old: Any = Field(default=None, validation_alias=AliasChoices("from", "old"))
    new: Any = Field(default=None, validation_alias=AliasChoices("to", "new"))


class RepeatedBatch(Frozen):
    """A batch that was made from the items of an earlier one."""

    batch: CreatedBatch
    sources: tuple[NewItemSource, ...]
    differs: tuple[Difference, ...]


class BatchTotals(Frozen):
    """Status and counts of a batch."""

    id: UUID
    name: str | None = None
    status: BatchStatus
    total_count: int
    completed_count: int
    failed_count: int


class Action(StrEnum):
    """What an action did with an item, or found already done."""

    CANCELLED = "cancelled"
    CANCEL_REQUESTED = "cancel_requested"
    """The item runs: its worker cancels the job and ends the item. A picture that is finished by then is kept."""
    ALREADY_CANCELLED = "already_cancelled"
    LEFT_RUNNING = "left_running"
    """The item runs and goes on, since only waiting items were to be cancelled."""
    REQUEUED = "requeued"
    ALREADY_WAITING = "already_waiting"
    """The item waits or runs."""
    SAVED = "saved"
    ALREADY_SAVED = "already_saved"
    TAGGED = "tagged"
    ALREADY_TAGGED = "already_tagged"
    TRASHED = "trashed"
    ALREADY_TRASHED = "already_trashed"
    RESTORED = "restored"
    NOT_IN_TRASH = "not_in_trash"
    RATED = "rated"
    ALREADY_RATED = "already_rated"
    UNTAGGED = "untagged"
    ALREADY_UNTAGGED = "already_untagged"
    DELETED = "deleted"
    ALREADY_DELETED = "already_deleted"


class ActionDone(Frozen):
    """An item in the state that the action asked for."""

    generation_id: UUID
    index: int
    action: Action
    image_id: UUID | None = None
    tags: tuple[str, ...] = ()
    """Those of the requested tags that the picture has now, or after an untag has no longer."""
    rating: int | None = None
    """The stars that the picture has now."""
    edited: tuple[str, ...] = ()
    """The fields that a retry changed."""


class ActionRefused(Frozen):
    """An item that the action could not change. `code` is stable and meant for programs."""

    generation_id: UUID
    index: int
    code: str
    message: str


class ActionReport(Frozen):
    """Result of an action on items of a batch: each is either in `done` or in `refused`, in the batch's order."""

    batch: BatchTotals
    """The batch after the action."""
    done: tuple[ActionDone, ...]
    refused: tuple[ActionRefused, ...]


class BatchRating(Frozen):
    """An owner's rating of a batch."""

    stars: int
    comment: str | None = None
    rated_at: datetime
    changed_at: datetime


class TrashedImage(Frozen):
    """A picture in the trash."""

    image_id: UUID
    generation_id: UUID | None = None
    index: int | None = None
    prompt: str
    storage_path: str
    thumbnail_path: str | None = None
    public_url: str | None = None
    width: int | None = None
    height: int | None = None
    blurhash: str | None = None


class TrashEntry(Frozen):
    """A batch in the trash with its pictures, or a single picture, which is then the only one in `images`."""

    kind: Literal["batch", "image"]
    batch_id: UUID | None = None
    """The batch; for a picture the batch that it is of, None if that was deleted."""
    name: str | None = None
    archived_at: datetime
    deleted_at: datetime
    """When a worker deletes it for good."""
    images: tuple[TrashedImage, ...] = ()


class TrashPage(Frozen):
    """A page of the trash, newest first."""

    entries: tuple[TrashEntry, ...]
    next: str | None = None
    """`before` of the next page; None after the last one."""


class EmptiedTrash(Frozen):
    """How much was deleted for good."""

    images: int
    batches: int


class WaitReason(StrEnum):
    """Why a pending item does not run: the first of these that applies."""

    RETRY = "retry"
    PROVIDER = "provider"
    BREAKER = "breaker"
    NO_WORKER = "no_worker"
    OWN_CAP = "own_cap"
    TOTAL_CAP = "total_cap"
    RUNS_ALONE = "runs_alone"
    QUEUE = "queue"


class Wait(Frozen):
    """Why a pending item does not run yet."""

    generation_id: UUID
    reason: WaitReason
    detail: str | None = None
    """The provider or the model, if one of them is the reason."""
    until: datetime | None = None
    """When the retry is due, or when the provider or model is tried again; None while one item tries the model."""
    running: int | None = None
    cap: int | None = None
    """How many items run and how many may: the user's (`own_cap`) or everybody's (`total_cap`)."""
    position: int | None = None
    """Place in the order of claims, from 1; 1000 means 1000 or more."""


class Outlook(Frozen):
    """The state of the queue for a worker whose claim returned nothing."""

    due_in_seconds: float | None = Field(default=None, ge=0, allow_inf_nan=False)
    """Until the first item that waits for its retry, provider or model may start; None if unknown."""
    delayed: int = 0
    """Items whose retry is not due yet."""
    paused: int = 0
    """Items of the providers and models in `closed`."""
    waiting: int = 0
    """Items that are due but held back by a limit."""
    running: int = 0
    closed: tuple[str, ...] = ()
    """Providers and models that get no orders at present."""
