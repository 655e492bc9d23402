"""Read answers of OpenAI's images API and its variants: the pictures, or the details of a refusal.

The codes are those of OpenAI's guide "Error codes" and of answers seen in public threads: Azure's `inner_error`,
LiteLLM's numbers as texts, Gemini's list with one error, xAI's two texts, OpenRouter's `metadata`, LocalAI's 200.
"""

from collections.abc import Mapping
from typing import Any, cast

from batchgen.providers.http import messages
from batchgen.providers.http.client import Answer, mapping, read_object, text
from batchgen.providers.http.refusals import Refusal

LONGEST_CODE = 200
MOST_EVENTS = 1000
"""Of an answer that is a stream of events."""

POLICY_CODES = frozenset(
    {
        "moderation_blocked",
        "content_policy_violation",
        "content_filter",
        "contentfilter",
        "responsibleaipolicyviolation",
        "safety_violation",
        "image_content_policy_violation",
        "content_moderation",
        "sensitive_words_detected",
        "inputtextsensitivecontentdetected",
        "outputimagesensitivecontentdetected",
        "prohibited_content",
        "image_safety",
    }
)
ACCOUNT_CODES = frozenset(
    {
        "insufficient_quota",
        "insufficient_user_quota",
        "insufficient_balance",
        "insufficient_credits",
        "billing_hard_limit_reached",
        "billing_not_active",
        "billing_error",
        "credit_balance_exhausted",
        "organization_spend_limit_exceeded",
        "organization_usage_limit_exceeded",
        "project_spend_limit_exceeded",
        "budget_exceeded",
        "payment_required",
    }
)
KEY_CODES = frozenset(
    {
        "invalid_api_key",
        "incorrect_api_key",
        "api_key_invalid",
        "invalid_authentication",
        "authentication_error",
        "invalid_organization",
        "account_deactivated",
        "organization_deactivated",
        "unsupported_country_region_territory",
        "ip_not_authorized",
    }
)
MODEL_CODES = frozenset(
    {
        "model_not_found",
        "model_not_available",
        "deploymentnotfound",
        "modelnotfound",
        "model_deprecated",
        "no_such_model",
    }
)
INPUT_CODES = frozenset(
    {
        "unknown_parameter",
        "unsupported_parameter",
        "unsupported_value",
        "invalid_value",
        "invalid_type",
        "invalid_size",
        "invalid_prompt",
        "missing_required_parameter",
        "string_above_max_length",
        "string_below_min_length",
        "integer_above_max_value",
        "integer_below_min_value",
        "decimal_above_max_value",
        "decimal_below_min_value",
        "invalid_image_format",
        "unprocessable_entity",
    }
)
WAIT_CODES = frozenset(
    {"rate_limit_exceeded", "rate_limit_error", "too_many_requests", "resource_exhausted", "slow_down"}
)
FAULT_CODES = frozenset(
    {
        "server_error",
        "internal_error",
        "internal_server_error",
        "overloaded_error",
        "engine_overloaded",
        "upstream_error",
    }
)
OF_MODERATION = ("moderation", "safety", "policy", "content_filter", "sensitive")
SAYS_NOTHING = frozenset(
    {
        "invalid_request_error",
        "image_generation_user_error",
        "bad_request",
        "badrequest",
        "invalid_request",
        "error",
        "none",
    }
)
"""Codes and types that are used for all kinds of refusals, so that only the words tell them apart."""


def refusal_of(answer: Answer) -> Refusal:
    """The refusal in OpenAI's error object, or in what similar servers send: a text, a `detail`, a `message`."""
    body = _body(answer)
    error = error_of(answer)
    inner = (
        error.get("innererror"),
        error.get("inner_error"),
        mapping(error.get("provider_specific_fields")).get("innererror"),
    )
    says = (error.get("message"), body.get("error"), body.get("detail"), body.get("message"), error.get("detail"))
    codes = (
        *(error.get("code"), error.get("type"), error.get("status"), body.get("code"), body.get("type")),
        *(mapping(one).get("code") for one in inner),
        *(mapping(one).get("reason") for one in _list(error.get("details"))),
    )
    return Refusal(
        message=next((word for word in says if isinstance(word, str) and word), ""),
        codes=frozenset(code.lower() for code in codes if isinstance(code, str) and len(code) <= LONGEST_CODE),
        field=text(error.get("param")),
    )


def _body(answer: Answer) -> Mapping[str, Any]:
    """The object in the answer; Gemini puts it in a list."""
    value = value_of(answer)
    listed = _list(value)
    return mapping(listed[0] if listed else value)


def error_of(answer: Answer) -> Mapping[str, Any]:
    """The error object. Some gateways send the text of another server's error object as their message."""
    error = mapping(_body(answer).get("error"))
    message = error.get("message")
    is_nested = isinstance(message, str) and message.lstrip().startswith("{")
    return mapping(mapping(read_object(text(message))).get("error")) or error if is_nested else error


def error_in(body: Mapping[str, Any]) -> bool:
    """Whether an answer with a success status reports an error."""
    return bool(body.get("error")) or body.get("type") == "error" or body.get("success") is False


def value_of(answer: Answer) -> Any:
    """The answer's JSON, or the last relevant event of a stream."""
    value = answer.as_json()
    return _last_event(answer.body) if value is None else value


def pictures_in(value: Any) -> list[Any] | None:
    """The values in the place for pictures; empty if there are none, None if no such place is known."""
    body = mapping(value)
    if isinstance(value, list) and value:
        return cast("list[Any]", value)
    if "data" in body and body["data"] is None:
        return []
    for name in ("data", "images", "image", "output"):
        found = body.get(name)
        if isinstance(found, list):
            return cast("list[Any]", found)
        if found and isinstance(found, str | dict):
            return [cast("object", found)]
    return [body] if any(body.get(name) for name in ("b64_json", "url")) else None


def _last_event(body: bytes) -> Any:
    """The last event of a stream with a picture or an error; None if the body is not a stream."""
    if not body.lstrip()[:6].startswith((b"data:", b"event:")):
        return None
    lines = [line[5:].strip() for line in body.splitlines()[-MOST_EVENTS:] if line.startswith(b"data:")]
    events = (read_object(line) for line in reversed(lines))
    return next((event for event in events if event and (pictures_in(event) or event.get("error"))), None)


def _list(value: object) -> list[Any]:
    return cast("list[Any]", value) if isinstance(value, list) else []


def status_of(answer: Answer, refusal: Refusal) -> int:
    """The real status: some gateways answer 200 and put it in the body."""
    error, body = error_of(answer), _body(answer)
    told: list[object] = [
        error.get("code"),
        error.get("status"),
        error.get("http_code"),
        body.get("status"),
        body.get("code"),
    ]
    told += [code for code in refusal.codes if code.isascii() and code.isdigit()]
    numbers = [int(one) for one in map(str, told) if len(one) == len("429") and one.isascii() and one.isdigit()]
    other = next((number for number in numbers if 400 <= number < 600), None)
    return other if other and answer.is_success else answer.status


def is_policy(status: int, refusal: Refusal) -> bool:
    """Whether the words name a policy, if neither a code nor a field says what the refusal is about."""
    specific = {code for code in refusal.codes - SAYS_NOTHING if not code.isdigit() and " " not in code}
    is_settled = any(not any(word in code for word in OF_MODERATION) for code in specific)
    if is_settled or refusal.field not in ("", "prompt"):
        return False
    return status in (200, 400, 403, 422) and messages.is_policy(refusal.message)
