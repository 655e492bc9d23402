"""The interface of image providers to the worker: submit an order, then wait for its job by the job's id."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable
from uuid import UUID

from batchgen.order_state import OVER, OrderState


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """A request for one picture. `None` means the provider's own default for the model."""

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
    """How often the item failed before and was retried; 0 on the first try."""
    key: str = ""
    """Key of the order, for idempotency keys: the same for whoever resumes it, a new one for the next order."""
    inputs: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """All inputs of the model, in the provider's own names and ranges (`batchgen.providers.inputs`)."""
    ordered_at: float | None = None
    """When the order was about to be sent, on `time.monotonic`'s clock of this process; None: unknown."""
    estimated_seconds: float | None = None
    """How long the model usually takes."""


@dataclass(frozen=True, slots=True)
class RawImage:
    """The bytes of a finished picture as the provider delivered them, not checked yet."""

    content: bytes
    seed: int | None = None
    """The seed that was used, if the provider tells."""
    version: str | None = None
    """The model version that was used, if the provider tells."""
    order: OrderState = OVER
    keeps_metadata: bool = False
    """True where the worker itself wrote the file, metadata included; never taken from a provider's answer."""


@dataclass(frozen=True, slots=True)
class RemoteImage:
    """The address of a finished picture. Fetch it at once: links expire, some within the hour."""

    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str], repr=False)
    """Headers that the download needs if the address is not public. Secret."""
    seed: int | None = None
    version: str | None = None
    order: OrderState = OVER


Picture = RawImage | RemoteImage


@dataclass(frozen=True, slots=True)
class Settlement:
    """A provider's answer about a job that nobody waits for."""

    order: OrderState
    picture: Picture | None = None
    """The picture, if the job made one that can still be fetched."""


class Provider(Protocol):
    """One image service. Every method raises a `ProviderError` and nothing else of its own.

    `submit` is the only call that costs money, and no provider repeats it. The worker stores its answer before it
    waits, so that the next worker on the item resumes the same job. All later calls get the request as well, for
    providers that keep nothing (the offline one).
    """

    name: str

    async def submit(self, request: ImageRequest) -> str:
        """Start the job and return the provider's id of it as soon as there is one."""
        ...

    async def wait(self, job_id: str, request: ImageRequest) -> Picture:
        """Wait until the job ends and return its picture. Cancelling this call leaves the job running."""
        ...

    async def cancel(self, job_id: str) -> None:
        """Cancel the job if the provider can; an ended or unknown job is not an error."""
        ...

    async def aclose(self) -> None:
        """Close connections."""
        ...


@runtime_checkable
class AccountableProvider(Provider, Protocol):
    """A provider that charges: it can be asked about orders whose answers were lost, and about what was paid.

    The worker records each order before `submit` sends it.
    """

    async def find(self, request: ImageRequest) -> str | None:
        """Find the job that an earlier `submit` with the same `key` started, if its answer was lost.

        None: there is none, so it may be ordered again. Raises `OutcomeUnknown` if the provider cannot tell.
        """
        ...

    async def settle(self, job_id: str, request: ImageRequest) -> Settlement:
        """Ask what became of a job that no item waits for: timed out, cancelled or lost. Does not wait."""
        ...


@runtime_checkable
class SynchronousProvider(AccountableProvider, Protocol):
    """A provider that answers an order with the picture itself: no other process can get it.

    `submit` creates the job's id; the first `wait` sends the order. A worker that ends meanwhile loses its picture.
    """

    is_synchronous: bool
    """Always True; marks such a provider."""
