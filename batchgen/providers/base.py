"""What an image provider is to the worker: submit, then wait for a job that has an id of its own."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from batchgen.orders import OVER, OrderState


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
    key: str = ""
    """Of this purchase: the same for whoever resumes it, another one for the next purchase. For idempotency keys."""
    inputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """All that the model takes, in the provider's own names and ranges (`batchgen.providers.inputs`)."""
    ordered_at: float | None = None
    """When this purchase was about to be sent, on `time.monotonic`'s clock of this process; None: nobody knows."""
    estimated_seconds: float | None = None
    """How long the model usually takes."""


@dataclass(frozen=True, slots=True)
class RawImage:
    """A finished picture in hand, as the provider delivered it: nobody has looked yet what it is."""

    content: bytes
    seed: int | None = None
    """The seed really used, where the provider tells."""
    version: str | None = None
    """The model's version really used, where the provider tells."""
    order: OrderState = OVER
    keeps_metadata: bool = False
    """True where the worker itself wrote the file, metadata included; never taken from a provider's answer."""


@dataclass(frozen=True, slots=True)
class RemoteImage:
    """A finished picture at an address, to be fetched at once: links end, some within the hour."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """What the fetch has to send, where the address is not public. Secret."""
    seed: int | None = None
    version: str | None = None
    order: OrderState = OVER


Output = RawImage | RemoteImage


@dataclass(frozen=True, slots=True)
class Settlement:
    """A provider's answer about a job that nobody waits for."""

    order: OrderState
    output: Output | None = None
    """The picture, where the job made one and it can still be had."""


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

    async def wait(self, job_id: str, request: ImageRequest) -> Output:
        """Wait for the job's end and return its picture. Cancelling this call leaves the job running."""
        ...

    async def cancel(self, job_id: str) -> None:
        """Stop the job where the provider can; a job that ended or is unknown is no error."""
        ...

    async def aclose(self) -> None:
        """Give back connections."""
        ...


@runtime_checkable
class AccountableProvider(Provider, Protocol):
    """A provider that sells: it can be asked about orders whose answer was lost, and about what was paid for.

    The worker writes each purchase down before `submit` sends it.
    """

    async def find(self, request: ImageRequest) -> str | None:
        """The id of the job that an earlier `submit` with the same `key` started, when its answer was lost.

        None: there is none, so that it may be bought. Raises `OutcomeUnknown` where the provider cannot tell.
        """
        ...

    async def settle(self, job_id: str, request: ImageRequest) -> Settlement:
        """Ask about a job that nobody waits for any more: expired, cancelled, or lost. Does not wait."""
        ...


@runtime_checkable
class SynchronousProvider(AccountableProvider, Protocol):
    """A provider that answers an order with the picture itself: no other process can ask for it.

    `submit` names the job, and the first `wait` sends the order. A worker that ends meanwhile loses the picture.
    """

    is_synchronous: bool
    """Always true: only such a provider has it."""
