"""Every error that batchgen raises. A class exists because somebody reacts differently to it.

BatchgenError
├── InvalidRequest            the caller can fix it; the command line exits with 2
│   ├── NotFound              no such batch, or not yours
│   ├── Conflict              the same client_key with another body
│   ├── LimitReached          the user has reached a limit; send again after its reset
│   └── CreditsShort          the user cannot pay; send less, or get credits first
├── NotSignedIn               log in again; exits with 2
├── BackendUnavailable        the project cannot be reached; exits with 3
│   └── NotSetUp              the migrations are missing or older; a worker does not start
├── ProviderError
│   ├── ProviderRejected      permanent: the item fails
│   ├── ProviderBusy          wait as told, then retry; no attempt is used up
│   ├── ProviderUnavailable   back off, then retry
│   ├── ModelUnusable         the operator has to fix the model's row; its items wait
│   └── OutcomeUnknown        may be paid already: never order again; a person decides
├── StorageError              back off, then retry the upload; order nothing again
│   ├── BucketMissing         the same, and nothing is ordered until the bucket is there
│   └── FileMissing           an export goes on without this picture
└── QueueError
    ├── QueueUnavailable      the worker pauses; running items go on
    │   └── KeyRefused        the same, unless it goes on for minutes: then the key is wrong
    └── LeaseLost             drop the result: another worker owns the item
"""

import re
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from batchgen.order_state import NOT_CHARGED, OPEN, OVER, OrderState

_OF_A_PROMPT = re.compile(r"prompts\[(\d{1,9})\](?:\.(.+?)(?:\[(\d{1,9})\])?)?", re.DOTALL)


class BatchgenError(Exception):
    """Base of all errors raised on purpose."""


class InvalidRequest(BatchgenError):
    """The request breaks a rule; nothing was written.

    `code` is stable and meant for programs. `index` is the prompt's position in the batch (from 0), if the error is
    about one prompt; `field` is the path in the request's JSON, such as `prompts[2].text`. `message` and `remedy` are
    for people and always count prompts from 1.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        index: int | None = None,
        field: str | None = None,
        limit: Any = None,
        remedy: str | None = None,
    ) -> None:
        path, words = _for_people(field, code)
        self.message = _with_words(message, path, words)
        super().__init__(self.message)
        self.code = code
        self.index = index
        self.field = field
        self.limit = limit
        self.remedy = _with_words(remedy, path, words) if remedy else remedy

    def as_dict(self) -> Mapping[str, Any]:
        """Return the error for JSON, with the keys of the database's own error detail."""
        return {
            "code": self.code,
            "message": self.message,
            "index": self.index,
            "field": self.field,
            "limit": self.limit,
            "remedy": self.remedy,
        }


def _for_people(field: str | None, code: str) -> tuple[str, str]:
    """Return a prompt's path and its name for people: `prompts[2].text` is "the text of prompt 3". Empty for others."""
    match = _OF_A_PROMPT.fullmatch(field or "")
    if match is None:
        return "", ""
    number, name, place = int(match[1]) + 1, match[2], match[3]
    if name is None:
        return match[0], f"prompt {number}"
    if place is not None:
        return match[0], f"{name.removesuffix('s')} {int(place) + 1} of prompt {number}"
    return match[0], f"{'' if code == 'unknown_field' else 'the '}{name} of prompt {number}"


def _with_words(sentence: str, path: str, words: str) -> str:
    if not path or path not in sentence:
        return sentence
    before, after = sentence.split(path, 1)
    if after.startswith(" has "):  # the prompt has too many tags, not its tags
        words = "prompt" + words.rpartition("prompt")[2]
    is_name = words.partition(" ")[0] not in ("the", "prompt", "tag")
    return before + (words if before or is_name else words[0].upper() + words[1:]) + after


class NotFound(InvalidRequest):
    """No such row, or the caller may not see it."""


class Conflict(InvalidRequest):
    """The same `client_key` was used before for another request."""


class LimitReached(InvalidRequest):
    """The user has reached a limit; nothing was written. `field` is the limit's name, `code` its kind.

    `resets_at` and `retry_after_seconds` are None where waiting does not help, only fewer waiting items.
    """

    def __init__(
        self,
        message: str,
        *,
        resets_at: datetime | None = None,
        retry_after_seconds: float | None = None,
        **details: Any,
    ) -> None:
        super().__init__(message, **details)
        self.resets_at = resets_at
        self.retry_after_seconds = retry_after_seconds

    def as_dict(self) -> Mapping[str, Any]:
        return {
            **super().as_dict(),
            "resets_at": self.resets_at.isoformat() if self.resets_at else None,
            "retry_after_seconds": self.retry_after_seconds,
        }


class CreditsShort(InvalidRequest):
    """The items cost more credits than the user has available; nothing was written."""

    def __init__(self, message: str, *, needed: Decimal, available: Decimal, **details: Any) -> None:
        super().__init__(message, **details)
        self.needed = needed
        self.available = available

    def as_dict(self) -> Mapping[str, Any]:
        return {**super().as_dict(), "needed": str(self.needed), "available": str(self.available)}


class NotSignedIn(BatchgenError):
    """No session, an expired one, or a refused key or password. `code` says which, `remedy` what to do."""

    def __init__(
        self, message: str, *, code: str = "not_signed_in", remedy: str = "Sign in with batchgen login."
    ) -> None:
        super().__init__(message)
        self.code = code
        self.remedy = remedy


class BackendUnavailable(BatchgenError):
    """The project's API did not answer, or answered with an error of its own."""

    def __init__(self, message: str, *, code: str = "backend_unavailable", remedy: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.remedy = remedy


class NotSetUp(BackendUnavailable):
    """A function or table is missing: the migrations were not applied, or only older ones."""


class ProviderError(BatchgenError):
    """A provider did not make the picture. `code` is stored on the item, beside the message.

    `order` is the state of the order after this error.
    """

    def __init__(self, message: str, *, code: str, order: OrderState = NOT_CHARGED) -> None:
        super().__init__(message)
        self.code = code
        self.order = order


class OutcomeUnknown(ProviderError):
    """An order was sent, no answer came, and the provider cannot say what became of it."""

    def __init__(self, message: str, *, code: str = "outcome_unknown") -> None:
        super().__init__(message, code=code, order=OVER)


class ProviderRejected(ProviderError):
    """Permanent: the provider would refuse the same request again (bad input, blocked by policy)."""


class ProviderBusy(ProviderError):
    """The provider asks to wait (HTTP 429); the wait uses up no attempt.

    A job that was asked about goes on, unless `order` is over: then the order itself was refused.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str = "provider_busy",
        retry_after_seconds: float,
        order: OrderState = OPEN,
    ) -> None:
        super().__init__(message, code=code, order=order)
        self.retry_after_seconds = retry_after_seconds


class ModelUnusable(ProviderError):
    """This model cannot be ordered for now: the operator has to fix its row (`batchgen.model_providers`) or to get
    access at the provider, or the provider limits orders of this model.

    Its items wait, and no attempt is used up; other models go on. `order` as in `ProviderBusy`.
    """

    def __init__(self, message: str, *, code: str, retry_after_seconds: float = 60, order: OrderState = OPEN) -> None:
        super().__init__(message, code=code, order=order)
        self.retry_after_seconds = retry_after_seconds


class ProviderUnavailable(ProviderError):
    """A passing fault: timeout, connection, HTTP 5xx.

    `is_provider_fault`: the fault is the provider's, not of this request alone. Such faults open the breaker.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str,
        is_provider_fault: bool = True,
        order: OrderState = NOT_CHARGED,
    ) -> None:
        super().__init__(message, code=code, order=order)
        self.is_provider_fault = is_provider_fault


class StorageError(BatchgenError):
    """Storage did not accept or return a file. The picture itself is fine."""


class BucketMissing(StorageError):
    """Storage answers, but has no such bucket."""


class FileMissing(StorageError):
    """Storage answers, but has no file at this path."""


class QueueError(BatchgenError):
    """The queue refused a call or did not answer."""


class QueueUnavailable(QueueError):
    """The database or its API cannot be reached now."""


class KeyRefused(QueueUnavailable):
    """The worker's key was refused. Gateways do that for a moment, so a worker that was accepted before goes on."""


class LeaseLost(QueueError):
    """The lease expired or was taken over: drop the result, write nothing."""
