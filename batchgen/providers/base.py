"""What an image provider is to the worker: submit, then wait for a job that has an id of its own."""

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """One picture to be made. `None` means: the provider's own default for the model."""

    generation_id: UUID
    prompt: str
    seed: int
    width: int
    height: int
    negative_prompt: str | None = None
    model: str | None = None
    """The model's id at the provider (`models.replicate_id`)."""
    model_version: str | None = None
    """None or '' means the provider's official version."""
    steps: int | None = None
    guidance_scale: float | None = None
    retry_count: int = 0
    """How often this generation failed before and was tried again; 0 on the first try."""


@dataclass(frozen=True, slots=True)
class GeneratedImage:
    """A finished picture, whole, as the provider delivered it."""

    content: bytes
    format: str
    """`png`, `webp`, `jpeg` or `svg`; also the file's extension in Storage."""
    width: int
    height: int
    seed: int
    """The seed really used."""


class Provider(Protocol):
    """One image service. Every method raises a `ProviderError` and nothing else of its own.

    `submit` is the only call that costs money, and nothing here repeats it. The worker stores its
    answer before it waits, so that whoever takes the item over resumes the same job. All calls after it get the
    request as well, for providers that keep nothing (the offline one).
    """

    name: str

    async def submit(self, request: ImageRequest) -> str:
        """Start the job and return the provider's own id of it, as soon as there is one."""
        ...

    async def wait(self, job_id: str, request: ImageRequest) -> GeneratedImage:
        """Wait for the job's end and return its picture. Cancelling this call leaves the job running."""
        ...

    async def cancel(self, job_id: str) -> None:
        """Stop the job where the provider can; a job that ended or is unknown is no error."""
        ...

    async def aclose(self) -> None:
        """Give back connections."""
        ...
