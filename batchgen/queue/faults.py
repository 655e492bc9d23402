"""Turn the error of a failed attempt into the fault that the database reads. No I/O."""

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
from batchgen.order_state import OPEN, OrderState
from batchgen.queue.types import Fault

CANCELLED = Fault(code="cancelled", message="Cancelled by user")


def fault_of(error: Exception, *, provider: str | None = None, order: OrderState | None = None) -> Fault:
    """Describe to the database an attempt that failed at `provider`.

    `order` counts for more than what the error says of the order. Texts of unknown exceptions stay out.
    """
    fault = _fault(error, provider)
    known = error.order if isinstance(error, ProviderError) else fault.order
    return fault.model_copy(update={"order": known if order is None else known.merge(order)})


def _fault(error: Exception, provider: str | None) -> Fault:
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
            # It may be paid already, so that a retry would pay twice. With this code, whatever the error's own, the
            # database refuses a retry by the user.
            return Fault(code="outcome_unknown", message=str(error), provider=provider)
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
        case InvalidRequest():
            return Fault(code=error.code, message=f"The result was refused: {error.message}")
        case _:
            return _fault_of_ours(error, provider)


def _fault_of_ours(error: Exception, provider: str | None) -> Fault:
    """Describe an error that no provider reported: the provider's job, if there is one, goes on."""
    match error:
        case StorageError():
            message = "The picture could not be stored."
            return Fault(code="storage_unavailable", message=message, retryable=True, order=OPEN)
        case TimeoutError():
            message = "The picture was not ready in time."
            return Fault(
                code="timeout", message=message, retryable=True, provider=provider, provider_fault=True, order=OPEN
            )
        case _:
            message = f"The worker met an unexpected fault ({type(error).__name__})."
            return Fault(code="internal_error", message=message, retryable=True, order=OPEN)
