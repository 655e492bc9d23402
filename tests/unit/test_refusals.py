"""The table of refusals: one error for each status and text of a provider."""

import pytest
from pydantic import SecretStr

from batchgen.errors import ModelUnusable, ProviderBusy, ProviderError, ProviderRejected, ProviderUnavailable
from batchgen.order_state import NOT_CHARGED
from batchgen.providers.http.refusals import RULES, Reason, Refusal, Refusals, Servers

KEY = "secret-key-1234"
HOSTED = Refusals("replicate", Servers.HOSTED, 300, SecretStr(KEY))
OWN = Refusals("comfyui", Servers.OWN, 300, SecretStr(KEY))
MODEL = "owner/flux-dev"


@pytest.mark.parametrize("refusals", [HOSTED, OWN], ids=["hosted", "own server"])
def test_every_status_without_words_has_an_error(refusals: Refusals) -> None:
    codes = {refusals.error_of(Refusal(status=status, model=MODEL)).code for status in range(300, 600)}

    assert codes <= set(Reason)


@pytest.mark.parametrize(
    ("status", "message", "of_hosted", "of_own"),
    [
        (429, "Slow down.", "provider_busy", "provider_busy"),
        (429, "The limit of owner/flux-dev is reached.", "model_busy", "model_busy"),
        (401, "", "provider_key_refused", "provider_key_refused"),
        (402, "", "provider_account_empty", "provider_account_empty"),
        (403, "", "provider_key_refused", "provider_key_refused"),
        (403, "Your balance is exhausted.", "provider_account_empty", "provider_account_empty"),
        (403, "User is locked: top up your balance.", "provider_account_empty", "provider_key_refused"),
        (403, "You need access to owner/flux-dev.", "model_not_allowed", "model_not_allowed"),
        (404, "", "model_not_found", "provider_garbage"),
        (404, "No model owner/flux-dev.", "model_not_found", "model_not_found"),
        (400, "Invalid API key.", "invalid_input", "provider_key_refused"),
        (422, "The model does not exist.", "model_not_found", "invalid_input"),
        (422, "The prompt was flagged.", "blocked_by_policy", "invalid_input"),
        (451, "", "blocked_by_policy", "invalid_input"),
        (409, "", "provider_unavailable", "provider_unavailable"),
        (500, "CUDA out of memory", "provider_unavailable", "out_of_memory"),
        (503, "", "provider_unavailable", "provider_unavailable"),
        (302, "", "provider_unavailable", "provider_garbage"),
    ],
)
def test_a_refusal_is_sorted_by_status_and_words(status: int, message: str, of_hosted: str, of_own: str) -> None:
    refusal = Refusal(message, status=status, model=MODEL)

    assert (HOSTED.error_of(refusal).code, OWN.error_of(refusal).code) == (of_hosted, of_own)


@pytest.mark.parametrize(
    ("reason", "kind", "wait"),
    [
        (Reason.BUSY, ProviderBusy, 20),
        (Reason.MODEL_BUSY, ModelUnusable, 20),
        (Reason.KEY_REFUSED, ProviderBusy, 300),
        (Reason.ACCOUNT_EMPTY, ProviderBusy, 300),
        (Reason.MODEL_NOT_ALLOWED, ModelUnusable, 300),
        (Reason.MODEL_NOT_FOUND, ProviderRejected, None),
        (Reason.BLOCKED, ProviderRejected, None),
        (Reason.INVALID_INPUT, ProviderRejected, None),
        (Reason.UNAVAILABLE, ProviderUnavailable, None),
        (Reason.OUT_OF_MEMORY, ProviderUnavailable, None),
        (Reason.NO_API, ProviderUnavailable, None),
    ],
)
def test_a_reason_decides_on_the_kind_of_error_and_its_wait(
    reason: Reason, kind: type[ProviderError], wait: float | None
) -> None:
    error = HOSTED.error(reason, Refusal("No.", model=MODEL, wait_seconds=20))

    assert (type(error), error.code, getattr(error, "retry_after_seconds", None)) == (kind, reason, wait)


@pytest.mark.parametrize("reason", [Reason.MODEL_BUSY, Reason.MODEL_NOT_ALLOWED])
def test_a_refusal_of_one_model_ends_its_order_without_costs(reason: Reason) -> None:
    assert HOSTED.error(reason, Refusal(model=MODEL)).order == NOT_CHARGED


def test_a_key_in_a_refusal_is_not_repeated() -> None:
    shown = [
        str(HOSTED.error_of(Refusal(f"The key {KEY} is wrong.", status=status))) for status in (400, 401, 403, 422, 500)
    ]

    assert KEY not in "".join(shown)
    assert KEY not in repr(HOSTED)


def test_every_reason_but_those_of_one_model_has_a_rule() -> None:
    assert {rule.reason for rule in RULES} == set(Reason) - {Reason.MODEL_BUSY}
