"""Pure decisions: what a failure means for the item, and how long to wait. No I/O; randomness is handed in."""

from batchgen.errors import (
    InvalidRequest,
    ModelUnusable,
    OutcomeUnknown,
    ProviderBusy,
    ProviderError,
    ProviderRejected,
    ProviderUnavailable,
    StorageError,
)
from batchgen.models import Fault

CANCELLED = Fault(code="cancelled", message="Cancelled by user")


def fault_of(error: Exception, *, provider: str | None = None) -> Fault:
    """What the database is told about an attempt that failed at `provider`, and about its order there.

    Texts of unknown exceptions stay out of it.
    """
    fault = _meaning_of(error, provider)
    if isinstance(error, ProviderError):
        return fault.model_copy(update={"job_over": error.is_job_over, "is_charged": error.is_charged})
    # All else speaks of this side: a job that is attached goes on, or has its picture. Only what will not be tried
    # again, such as a file that Storage refuses, ends it.
    return fault.model_copy(update={"job_over": not fault.retryable})


def _meaning_of(error: Exception, provider: str | None) -> Fault:
    match error:
        case ProviderBusy():
            return Fault(
                code=error.code,
                message=str(error),
                retryable=True,
                retry_after_seconds=max(0.0, error.retry_after_seconds),
                provider=provider,
            )
        case ModelUnusable():
            return Fault(
                code=error.code,
                message=str(error),
                retryable=True,
                retry_after_seconds=error.retry_after_seconds,
                model_fault=True,
            )
        case OutcomeUnknown():
            # It may be bought already: whoever tries again would pay twice.
            return Fault(code=error.code, message=str(error), provider=provider)
        case ProviderRejected():
            return Fault(code=error.code, message=str(error), provider=provider, provider_fault=False)
        case ProviderUnavailable():
            return Fault(
                code=error.code,
                message=str(error),
                retryable=True,
                provider=provider,
                provider_fault=error.is_provider_fault,
            )
        case StorageError():
            return Fault(code="storage_unavailable", message="The picture could not be stored.", retryable=True)
        case TimeoutError():
            message = "The picture was not ready in time."
            return Fault(code="timeout", message=message, retryable=True, provider=provider, provider_fault=True)
        case InvalidRequest():
            return Fault(code=error.code, message=f"The result was refused: {error.message}")
        case _:
            message = f"The worker met an unexpected fault ({type(error).__name__})."
            return Fault(code="internal_error", message=message, retryable=True)


def backoff_seconds(tries: int, *, first: float, longest: float, jitter: float) -> float:
    """The pause after `tries` failures in a row: doubling, never above `longest`.

    `jitter` (0 to 1, random) takes up to half of it away, so that many workers do not come back as one.
    """
    whole = min(longest, first * 2.0 ** min(tries - 1, 60))
    return whole * (1 - jitter / 2)
