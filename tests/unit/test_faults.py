"""Classification of failures, and the waits after them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchgen.errors import (
    InvalidRequest,
    ModelUnusable,
    OutcomeUnknown,
    ProviderBusy,
    ProviderRejected,
    ProviderUnavailable,
    QueueUnavailable,
    StorageError,
)
from batchgen.order_state import CHARGED, OVER, PICTURE_LEFT, OrderState
from batchgen.queue.faults import fault_of
from scheduler.retries import backoff_seconds


@pytest.mark.parametrize(
    ("error", "code", "retryable"),
    [
        (ProviderUnavailable("Down.", code="http_503"), "http_503", True),
        (ProviderRejected("No.", code="blocked_by_policy"), "blocked_by_policy", False),
        (StorageError("Storage answered 503."), "storage_unavailable", True),
        (TimeoutError(), "timeout", True),
        (InvalidRequest("Bad path.", code="invalid_argument"), "invalid_argument", False),
        (QueueUnavailable("Down."), "internal_error", True),
        (ValueError("Bearer abc"), "internal_error", True),
    ],
)
def test_each_error_maps_to_its_code_and_retryability(error: Exception, code: str, retryable: bool) -> None:
    fault = fault_of(error)

    assert (fault.code, fault.retryable) == (code, retryable)
    assert fault.retry_after_seconds is None


def test_a_busy_providers_fault_tells_how_long_to_wait() -> None:
    fault = fault_of(ProviderBusy("Slow down.", retry_after_seconds=8))

    assert (fault.retryable, fault.retry_after_seconds) == (True, 8)


@pytest.mark.parametrize(
    ("error", "provider_fault"),
    [
        (ProviderUnavailable("Down.", code="http_503"), True),
        (TimeoutError(), True),
        (ProviderRejected("No.", code="blocked_by_policy"), False),
        (ProviderBusy("Slow down.", retry_after_seconds=8), None),
        (StorageError("Storage answered 503."), None),
        (InvalidRequest("Bad path.", code="invalid_argument"), None),
        (ValueError("ours"), None),
    ],
)
def test_only_provider_faults_count_for_the_breaker(error: Exception, provider_fault: bool | None) -> None:
    assert fault_of(error).provider_fault is provider_fault


def test_a_busy_fault_names_its_provider() -> None:
    assert fault_of(ProviderBusy("Slow down.", retry_after_seconds=8), provider="fal").provider == "fal"


def test_an_unusable_model_waits_without_its_provider() -> None:
    fault = fault_of(ModelUnusable("No inputs.", code="inputs_missing"), provider="fal")

    assert (fault.code, fault.retryable, fault.retry_after_seconds, fault.model_fault) == (
        "inputs_missing",
        True,
        60,
        True,
    )
    assert (fault.provider, fault.provider_fault, fault.order.over) == (None, None, False)


@pytest.mark.parametrize(
    ("error", "over", "charged"),
    [
        (ProviderRejected("No.", code="invalid_input"), True, False),
        (ProviderRejected("Blocked late.", code="blocked_by_policy", order=CHARGED), True, True),
        (ProviderUnavailable("Failed.", code="generation_failed", order=OVER), True, None),
        (OutcomeUnknown("Nobody knows."), True, None),
        (ProviderBusy("Slow down.", retry_after_seconds=8), False, None),
        (ProviderUnavailable("Cut.", code="download_failed", order=PICTURE_LEFT), False, True),
        (StorageError("Storage answered 503."), False, None),
        (TimeoutError(), False, None),
        (ValueError("ours"), False, None),
    ],
)
def test_a_fault_never_calls_a_running_job_free(error: Exception, over: bool, charged: bool | None) -> None:
    fault = fault_of(error)

    assert (fault.order.over, fault.order.charged) == (over, charged)


def test_given_facts_override_those_of_the_error() -> None:
    fault = fault_of(TimeoutError(), order=OrderState(True, True, queued_seconds=1, running_seconds=2))

    assert (fault.code, fault.order.over, fault.order.charged) == ("timeout", True, True)
    assert (fault.order.queued_seconds, fault.order.running_seconds) == (1, 2)


def test_a_wait_is_never_negative() -> None:
    fault = fault_of(ProviderBusy("Slow down.", retry_after_seconds=-3))

    assert fault.retry_after_seconds == 0


def test_the_text_of_an_unexpected_exception_is_not_shown() -> None:
    fault = fault_of(KeyError("sb_secret_abc"))

    assert "sb_secret" not in fault.message
    assert "KeyError" in fault.message


def test_pauses_double_up_to_the_limit() -> None:
    pauses = [backoff_seconds(tries, first=0.5, longest=3, jitter=0) for tries in range(1, 6)]

    assert pauses == [0.5, 1, 2, 3, 3]


@given(tries=st.integers(1, 10_000), jitter=st.floats(0, 1))
def test_a_pause_is_never_zero_or_above_the_limit(tries: int, jitter: float) -> None:
    pause = backoff_seconds(tries, first=0.5, longest=30, jitter=jitter)

    assert 0.25 <= pause <= 30


@pytest.mark.parametrize("code", ["outcome_unknown", "job_gone", "provider_timeout", "provider_garbage"])
def test_an_order_with_an_unknown_outcome_is_not_retryable(code: str) -> None:
    fault = fault_of(OutcomeUnknown("The answer got lost.", code=code), provider="openai")

    assert (fault.code, fault.retryable, fault.order.charged) == ("outcome_unknown", False, None)
