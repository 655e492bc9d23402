"""The table of refusals: what a provider's answer without success means, by its status and its words.

Providers read their own error codes first; the table is for the rest. The first rule that fits counts.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from enum import Flag, StrEnum, auto

from pydantic import SecretStr

from batchgen.errors import ModelUnusable, ProviderBusy, ProviderError, ProviderRejected, ProviderUnavailable
from batchgen.order_state import NOT_CHARGED
from batchgen.providers.http import messages
from batchgen.providers.http.retry_after import bounded_wait

BUSY_SECONDS = 10.0
"""The wait if a provider asks for one without saying how long."""
LONGEST_WORDS = 300
"""Of a provider's words in a message."""
POLICY_CODES = frozenset(
    {
        "content_policy_violation",
        "nsfw_content_detected",
        "moderation_blocked",
        "moderation_error",
        "content_moderation",
    }
)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer without success, in the provider's own words."""

    message: str = ""
    codes: frozenset[str] = frozenset()
    """The provider's codes and types."""
    field: str = ""
    """The input that it is about."""
    status: int = 0
    model: str | None = None
    """The model that was ordered; what an answer says of it alone concerns no other model."""
    asks_to_wait: bool = False
    wait_seconds: float | None = None

    @property
    def text(self) -> str:
        """The part of the message that patterns are applied to."""
        return self.message[: messages.LONGEST_READ]


class Reason(StrEnum):
    """Why a provider refuses; the value is the error's code."""

    BUSY = "provider_busy"
    MODEL_BUSY = "model_busy"
    KEY_REFUSED = "provider_key_refused"
    ACCOUNT_EMPTY = "provider_account_empty"
    MODEL_NOT_ALLOWED = "model_not_allowed"
    MODEL_NOT_FOUND = "model_not_found"
    BLOCKED = "blocked_by_policy"
    INVALID_INPUT = "invalid_input"
    UNAVAILABLE = "provider_unavailable"
    OUT_OF_MEMORY = "out_of_memory"
    NO_API = "provider_garbage"


class Servers(Flag):
    HOSTED = auto()
    """Services with one API, such as Replicate and fal."""
    OWN = auto()
    """Servers with an address in the settings: a wrong address answers, too."""
    ALL = HOSTED | OWN


@dataclass(frozen=True, slots=True)
class Rule:
    statuses: Collection[int]
    condition: Callable[[Refusal], bool]
    reason: Reason
    servers: Servers = Servers.ALL


def always(_refusal: Refusal) -> bool:
    return True


def asks_to_wait(refusal: Refusal) -> bool:
    return refusal.asks_to_wait


def names_model(refusal: Refusal) -> bool:
    return messages.speaks_of(refusal.text, refusal.model)


def is_about_money(refusal: Refusal) -> bool:
    return messages.MONEY.search(refusal.text) is not None


def is_about_key(refusal: Refusal) -> bool:
    return messages.KEY.search(refusal.text) is not None


def is_about_key_or_account(refusal: Refusal) -> bool:
    return is_about_key(refusal) or messages.ACCOUNT_BLOCKED.search(refusal.text) is not None


def is_about_model(refusal: Refusal) -> bool:
    """The model is not for this account; other models may be."""
    is_of_a_model = refusal.field == "model" or messages.OF_A_MODEL.search(refusal.text) is not None
    return refusal.model is not None and (is_of_a_model or names_model(refusal))


def says_no_such_model(refusal: Refusal) -> bool:
    return messages.NO_MODEL.search(refusal.text) is not None


def has_policy_code(refusal: Refusal) -> bool:
    return bool(refusal.codes & POLICY_CODES)


def says_policy(refusal: Refusal) -> bool:
    """By words, which count only where no code says what the refusal is about."""
    return not refusal.codes and messages.is_policy(refusal.text)


def is_out_of_memory(refusal: Refusal) -> bool:
    return "out of memory" in refusal.message.lower()


ANY = range(1000)
CLIENT_ERRORS = range(400, 500)
SERVER_ERRORS = range(500, 1000)
INPUT_ERRORS = (400, 406, 411, 413, 414, 415, 416, 422, 431)
TRY_AGAIN = (408, 409, 425)

RULES = (
    # statuses           condition                reason                    servers
    Rule((429,),         always,                  Reason.BUSY),
    Rule((503, 529),     asks_to_wait,            Reason.BUSY),
    Rule((401, 407),     always,                  Reason.KEY_REFUSED),
    Rule((402,),         always,                  Reason.ACCOUNT_EMPTY),
    Rule((403,),         is_about_money,          Reason.ACCOUNT_EMPTY,     Servers.HOSTED),
    Rule((403,),         is_about_key_or_account, Reason.KEY_REFUSED),
    Rule((403,),         is_about_model,          Reason.MODEL_NOT_ALLOWED),
    Rule((403,),         is_about_money,          Reason.ACCOUNT_EMPTY),
    Rule((403,),         always,                  Reason.KEY_REFUSED),
    Rule(ANY,            has_policy_code,         Reason.BLOCKED,           Servers.HOSTED),
    Rule((451,),         always,                  Reason.BLOCKED,           Servers.HOSTED),
    Rule((404, 410),     always,                  Reason.MODEL_NOT_FOUND,   Servers.HOSTED),
    Rule((400, 422),     says_no_such_model,      Reason.MODEL_NOT_FOUND,   Servers.HOSTED),
    Rule(INPUT_ERRORS,   says_policy,             Reason.BLOCKED,           Servers.HOSTED),
    Rule(INPUT_ERRORS,   always,                  Reason.INVALID_INPUT,     Servers.HOSTED),
    Rule(ANY,            always,                  Reason.UNAVAILABLE,       Servers.HOSTED),
    Rule((400,),         is_about_key,            Reason.KEY_REFUSED,       Servers.OWN),
    Rule((404, 410),     names_model,             Reason.MODEL_NOT_FOUND,   Servers.OWN),
    Rule((404, 405, 410), always,                 Reason.NO_API,            Servers.OWN),
    Rule(TRY_AGAIN,      is_out_of_memory,        Reason.OUT_OF_MEMORY,     Servers.OWN),
    Rule(TRY_AGAIN,      always,                  Reason.UNAVAILABLE,       Servers.OWN),
    Rule(CLIENT_ERRORS,  always,                  Reason.INVALID_INPUT,     Servers.OWN),
    Rule(SERVER_ERRORS,  is_out_of_memory,        Reason.OUT_OF_MEMORY,     Servers.OWN),
    Rule(SERVER_ERRORS,  always,                  Reason.UNAVAILABLE,       Servers.OWN),
    Rule(ANY,            always,                  Reason.NO_API,            Servers.OWN),
)  # fmt: skip

SENTENCES = {
    Reason.BUSY: "asks to wait",
    Reason.MODEL_BUSY: "asks to wait with {model}",
    Reason.KEY_REFUSED: "does not accept the worker's key",
    Reason.ACCOUNT_EMPTY: "takes no orders from this account until it is paid up",
    Reason.MODEL_NOT_ALLOWED: "does not let this account use {model}",
    Reason.MODEL_NOT_FOUND: "does not have this model",
    Reason.BLOCKED: "blocked the prompt by its policy",
    Reason.INVALID_INPUT: "refuses the request",
    Reason.UNAVAILABLE: "answered {status}",
    Reason.OUT_OF_MEMORY: "answered {status}",
    Reason.NO_API: "answered {status}: its API is not at this address",
}


@dataclass(frozen=True, slots=True)
class Refusals:
    """The errors of one provider's refusals.

    `operator_seconds`: the wait if the operator has to act first, such as on a key; no item fails meanwhile.
    """

    service: str
    servers: Servers
    operator_seconds: float
    key: SecretStr | None = None

    def error_of(self, refusal: Refusal) -> ProviderError:
        """The error by the table."""
        rules = (one for one in RULES if self.servers in one.servers and refusal.status in one.statuses)
        reason = next((one.reason for one in rules if one.condition(refusal)), Reason.UNAVAILABLE)
        if reason is Reason.KEY_REFUSED and refusal.status != 403:  # the text may contain a part of the key
            refusal = replace(refusal, message="")
        return self.error(reason, refusal)

    def error(self, reason: Reason, refusal: Refusal) -> ProviderError:
        """The error for a reason that is known from the provider's own codes."""
        if reason is Reason.BUSY and names_model(refusal):
            reason = Reason.MODEL_BUSY
        words = "" if reason is Reason.NO_API else refusal.message
        sentence = SENTENCES[reason].format(model=refusal.model, status=refusal.status)
        message, code = self.message(sentence, words), reason.value
        busy_seconds = BUSY_SECONDS if refusal.wait_seconds is None else bounded_wait(refusal.wait_seconds)
        match reason:
            case Reason.BUSY:
                return ProviderBusy(message, code=code, retry_after_seconds=busy_seconds)
            case Reason.MODEL_BUSY:
                return ModelUnusable(message, code=code, retry_after_seconds=busy_seconds, order=NOT_CHARGED)
            case Reason.KEY_REFUSED | Reason.ACCOUNT_EMPTY:
                return ProviderBusy(message, code=code, retry_after_seconds=self.operator_seconds)
            case Reason.MODEL_NOT_ALLOWED:
                message = f"{message} {messages.remedy(words)}."
                wait = self.operator_seconds
                return ModelUnusable(message, code=code, retry_after_seconds=wait, order=NOT_CHARGED)
            case Reason.MODEL_NOT_FOUND | Reason.BLOCKED | Reason.INVALID_INPUT:
                return ProviderRejected(message, code=code)
            case Reason.UNAVAILABLE | Reason.OUT_OF_MEMORY | Reason.NO_API:
                return ProviderUnavailable(message, code=code)

    def message(self, what: str, words: object = "") -> str:
        """A sentence of ours, followed by the provider's own words: one line, not long, and without the key."""
        shown = (
            messages.shown(words, LONGEST_WORDS, secret=self.key.get_secret_value() if self.key else "")
            if words
            else ""
        )
        return f"{self.service} {what}: {shown}" if shown else f"{self.service} {what}."
