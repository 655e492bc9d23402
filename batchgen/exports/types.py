"""A batch as `batch_manifest` returns it: everything that an export says of it."""

from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from pydantic import field_validator

from batchgen.models import Frozen


class ExportPicture(Frozen):
    """A row of `images`; its file is in the bucket at `storage_path`."""

    id: UUID
    storage_path: str
    format: str | None = None
    width: int | None = None
    height: int | None = None
    file_size: int | None = None
    seed: str | None = None
    """The seed that the provider used, if it told."""
    model_version: str | None = None
    """The model version that the provider used, if it told."""
    created_at: datetime | None = None
    is_archived: bool = False
    tags: tuple[str, ...] = ()


class ExportItem(Frozen):
    """One item of a batch with its pictures, oldest first."""

    id: UUID
    index: int | None = None
    status: str
    prompt: str
    negative_prompt: str | None = None
    seed: str | None = None
    model: str | None = None
    model_id: str | None = None
    provider_model: str | None = None
    width: int | None = None
    height: int | None = None
    steps: int | None = None
    guidance_scale: float | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    completed_at: datetime | None = None
    generation_seconds: int | None = None
    error_code: str | None = None
    error_message: str | None = None
    cost_usd: str | None = None
    tags: tuple[str, ...] = ()
    """Tags that the request asked for and that are not on a picture yet."""
    pictures: tuple[ExportPicture, ...] = ()

    @field_validator("seed", "cost_usd", mode="before")
    @classmethod
    def _text(cls, value: Any) -> Any:
        return value if value is None else str(value)


class ExportBatch(Frozen):
    """A batch with its items, in the batch's order."""

    id: UUID
    user_id: UUID | None = None
    name: str | None = None
    status: str
    created_at: datetime | None = None
    completed_at: datetime | None = None
    model_version: str | None = None
    """The version that the request named; None is the model's own."""
    items: tuple[ExportItem, ...] = ()

    @property
    def picture_count(self) -> int:
        return sum(len(item.pictures) for item in self.items)

    @property
    def picture_bytes(self) -> int:
        """The size of all pictures as far as their rows tell."""
        return sum(picture.file_size or 0 for item in self.items for picture in item.pictures)


class Writable(Protocol):
    """A binary stream; it need not be seekable."""

    def write(self, data: bytes, /) -> Any: ...
    def flush(self) -> Any: ...
