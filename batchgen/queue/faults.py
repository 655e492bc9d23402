"""What a failed attempt means for its item, as the database is told. No I/O."""

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
from batchgen.queue.types import Account, Fault

CANCELLED = Fault(code="cancelled", message="Cancelled by user")


def fault_of(
    error: Exception, *, provider: str | None = None, job_over: bool | None = None, account: Account | None = None
) -> Fault:
    """What the database is told about an attempt that failed at `provider`.

    `job_over` and `account` are what is known better than the error knows it. Texts of unknown exceptions stay out.
    """
    fault = _fault(error, provider)
    if isinstance(error, ProviderError):
        fault = fault.model_copy(update={"job_over": error.is_job_over, "is_charged": error.is_charged})
    if job_over is not None:
        fault = fault.model_copy(update={"job_over": job_over})
    return with_account(fault, account)


def with_account(fault: Fault, account: Account | None) -> Fault:
    """The fault with what is known of money and time. Of a job that goes on nobody knows yet that it costs nothing."""
    fault = fault if account is None else fault.model_copy(update=account.model_dump())
    is_early = fault.job_over is False and fault.is_charged is False
    return fault.model_copy(update={"is_charged": None}) if is_early else fault


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
            # It may be bought already: whoever tries again would pay twice. By this code, whatever went wrong there,
            # the database refuses a retry by its user.
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
    """Nothing that a provider said: its job, where there is one, goes on."""
    match error:
        case StorageError():
            message = "The picture could not be stored."
            return Fault(code="storage_unavailable", message=message, retryable=True, job_over=False)
        case TimeoutError():
            message = "The picture was not ready in time."
            return Fault(
                code="timeout", message=message, retryable=True, provider=provider, provider_fault=True, job_over=False
            )
        case _:
            message = f"The worker met an unexpected fault ({type(error).__name__})."
            return Fault(code="internal_error", message=message, retryable=True, job_over=False)
